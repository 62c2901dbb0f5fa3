"""A real Slurm on this machine: munged, slurmctld and two slurmd, all of them ours alone."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from ending import await_end

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
PARTS = "munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel"

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


class Cluster:
    """Two nodes, n1 and n2, of two CPUs each. `env` leads commands to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}
        self._pids: list[int] = []
        self._nodes: list[subprocess.Popen[bytes]] = []
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
            self._start(
                *("munged", "--force", f"--key-file={key}", f"--socket={folder}/munge.sock"),
                *(f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log"),
                f"--seed-file={folder}/munge.seed",
            )
            self._start("slurmctld", "-f", self.env["SLURM_CONF"])
            for node in ("n1", "n2"):
                slurmd = ["slurmd", "-D", "-f", self.env["SLURM_CONF"], "-N", node]
                self._nodes.append(
                    subprocess.Popen(slurmd, env=os.environ | self.env, stderr=subprocess.DEVNULL)
                )
            # a job that runs on both says that both are there
            self._run("srun", "-N2", "-t1", "--ntasks-per-node=1", "true")
        except BaseException:
            self.close()
            raise

    def _start(self, name: str, *arguments: str) -> None:
        """Start a daemon, which goes to the background by itself when it is ready."""
        self._run(name, *arguments)
        self._pids.append(int((self.folder / f"{name}.pid").read_text()))

    def _run(self, *argv: str) -> None:
        done = subprocess.run(
            argv, env=os.environ | self.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        """No cluster any more."""
        for node in self._nodes:
            node.terminate()
            node.wait()
        for pid in reversed(self._pids):
            os.kill(pid, signal.SIGTERM)
            if not await_end(pid):
                os.kill(pid, signal.SIGKILL)
