"""An sshd of our own, with keys of its own: nothing of this machine's or the user's is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")

#: Why there can be none here, or None.
MISSING = "ssh and sshd are not installed" if SSHD is None or shutil.which("ssh") is None else None


class Sshd:
    """Hosts to be reached as `names`, with ``ssh -F config``; files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._daemons: list[subprocess.Popen[str]] = []
        self.names: list[str] = []
        for key in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
            )
        self.config = folder / "config"
        self.config.write_text(
            f"IdentityFile {folder / 'user'}\nUserKnownHostsFile {folder / 'known'}\n"
        )

    def serve(
        self,
        address: str,
        ports: Sequence[int],
        env: dict[str, str],
        inside: Sequence[str] = (),
    ) -> None:
        """Listen there; what is started through it has `env`. `inside` begins the command."""
        host_key = (self._folder / "host.pub").read_text()
        with (self._folder / "known").open("a") as known:
            known.writelines(f"[{address}]:{port} {host_key}" for port in ports)
        served = self._folder / f"sshd_config-{len(self._daemons)}"
        served.write_text(
            "".join(f"Port {port}\n" for port in ports)
            + f"ListenAddress {address}\nHostKey {self._folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self._folder / 'user.pub'}\nStrictModes no\nPermitRootLogin yes\n"
            f"SetEnv {' '.join(f'{name}={value}' for name, value in env.items())}\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in
        daemon = subprocess.Popen(
            [*inside, str(SSHD), "-f", str(served), "-D", "-e"], stderr=subprocess.PIPE, text=True
        )
        self._daemons.append(daemon)
        assert daemon.stderr is not None
        for _ in ports:
            assert "listening" in daemon.stderr.readline()
        self.names += [f"{address}:{port}" for port in ports]

    def close(self) -> None:
        """No host any more."""
        for daemon in self._daemons:
            daemon.terminate()
            daemon.communicate()
