"""A real Slurm on this machine: munged, slurmctld and two slurmd, all of them ours alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from shell import Shell

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
PARTS = "munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel"

#: It answers within this, or never.
READY_S = 60.0

CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
KillWait=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=1000
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=60 State=UP OverSubscribe=YES
"""


def missing() -> str | None:
    """Why there can be no cluster here."""
    lacking = [part for part in PARTS if shutil.which(part, path=PATH) is None]
    if lacking:
        return f"{', '.join(lacking)} are not installed"
    return None if os.getuid() == 0 else "slurmctld is run by root"


def all_over(shell: Shell) -> bool:
    """Whether nothing that was launched is known any more, nor what its workers read."""
    left = (shell.home / ".mesh" / "launches").iterdir()
    return [file.read_text() for file in left] == ["{}"]  # it remembers the number


class Cluster:
    """Two nodes, n1 and n2, of two CPUs each. `env` leads commands to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}
        self._served: list[subprocess.Popen[bytes]] = []
        sockets = [socket.socket() for _ in range(3)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        host = socket.gethostname().partition(".")[0]
        (folder / "slurm.conf").write_text(CONFIG.format(host=host, folder=folder, ports=ports))
        for name in ("state", "spool-n1", "spool-n2"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        try:
            files = {"key-file": key, "socket": folder / "munge.sock"}
            files |= {f"{each}-file": folder / f"munged.{each}" for each in ("pid", "log", "seed")}
            options = [f"--{name}={file}" for name, file in files.items()]
            self._serve("munged", "--foreground", "--force", *options)
            self._serve("slurmctld", "-D", "-f", self.env["SLURM_CONF"])
            for node in ("n1", "n2"):
                self._serve("slurmd", "-D", "-f", self.env["SLURM_CONF"], "-N", node)
            begun = time.monotonic()
            while not self._says("scontrol", "ping"):  # it tells nobody that it is ready
                assert time.monotonic() - begun < READY_S, "slurmctld does not answer"
            # a job that runs on both says that both are there
            assert self._says("srun", "-N2", "-t1", "--ntasks-per-node=1", "true")
        except BaseException:
            self.close()
            raise

    def _serve(self, *argv: str) -> None:
        """Start a daemon."""
        null = subprocess.DEVNULL
        self._served.append(
            subprocess.Popen(argv, env=os.environ | self.env, stdout=null, stderr=null)
        )

    def _says(self, *argv: str) -> bool:
        """Whether a command succeeds."""
        env = os.environ | self.env
        return subprocess.run(argv, env=env, capture_output=True, timeout=60).returncode == 0

    def close(self) -> None:
        """No cluster any more."""
        for each in reversed(self._served):
            each.terminate()
            each.wait()
