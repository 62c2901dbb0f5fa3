"""`mesh launch ssh`, with a real sshd of our own: two ports of it are two hosts."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ending import await_end
from shell import Shell

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")

pytestmark = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None, reason="ssh and sshd are not installed"
)


class Hosts:
    """An sshd on two ports, and how to reach it: as `names`, with ``ssh -F config``."""

    def __init__(self, shell: Shell) -> None:
        folder = shell.folder / "ssh"
        folder.mkdir()
        for key in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True
            )
        with socket.socket() as one, socket.socket() as two:
            for each in (one, two):
                each.bind(("127.0.0.1", 0))
            self.ports = [each.getsockname()[1] for each in (one, two)]
        self.names = [f"127.0.0.1:{port}" for port in self.ports]
        host_key = (folder / "host.pub").read_text()
        (folder / "known").write_text("".join(f"[127.0.0.1]:{p} {host_key}" for p in self.ports))
        self.config = folder / "config"
        self.config.write_text(
            f"IdentityFile {folder / 'user'}\nUserKnownHostsFile {folder / 'known'}\n"
        )
        served = folder / "sshd_config"
        served.write_text(
            "".join(f"Port {port}\n" for port in self.ports)
            + f"ListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder / 'user.pub'}\nStrictModes no\nPermitRootLogin yes\n"
            # What is started through it is ours, and its home is not the real one
            f"SetEnv {shell.VARIABLE}={shell.mark} HOME={shell.home}\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it locks itself in
        self.sshd = subprocess.Popen(
            [str(SSHD), "-f", served, "-D", "-e"], stderr=subprocess.PIPE, env=shell.env, text=True
        )
        assert self.sshd.stderr is not None
        for _ in self.ports:
            assert "listening" in self.sshd.stderr.readline()

    def close(self) -> None:
        """No host any more."""
        self.sshd.terminate()
        self.sshd.communicate()


@pytest.fixture
def hosts(shell: Shell) -> Iterator[Hosts]:
    """Two hosts."""
    made = Hosts(shell)
    yield made
    made.close()


def test_workers_stay_when_ssh_ends_and_end_with_their_mesh(shell: Shell, hosts: Hosts) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    launch = ["launch", "ssh", *hosts.names, "--slots", 1]
    rows = shell.mesh(*launch, "--json", "--", "-F", hosts.config).rows
    assert [row["where"] for row in rows] == hosts.names
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    assert shell.mesh("wait", "--slots", 2, "--timeout", 30).code == 0
    assert [row["state"] for row in shell.mesh("launches", "--json").rows] == ["running"] * 2

    first, second = rows
    shell.mesh("launches", "cancel", first["number"])
    assert await_end(int(first["job"]))
    (left,) = shell.mesh("launches", "--json").rows
    assert left["number"] == second["number"]
    shell.mesh("stop")
    assert await_end(int(second["job"])) and up.finish().code == 0
    assert not list((shell.home / ".mesh" / "launches").iterdir())


def test_a_failed_start_is_told_in_the_words_of_the_host(shell: Shell, hosts: Hosts) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    first, second = hosts.names
    ours = ["--", "-F", hosts.config]
    for given, why in (
        ([first, second, "--python", "/no/python"], "/no/python: No such file"),
        ([first, "--setup", "echo no such module >&2; false"], "no such module"),
        ([first, "--worker-option=--no-such"], "--no-such"),
    ):
        refused = shell.mesh("launch", "ssh", *given, *ours, code=1)
        assert why in refused.err and given[0] in refused.err
        assert shell.mesh("launches", "--json").rows == [], "it was checked on one host alone"

    some = shell.mesh("launch", "ssh", first, "127.0.0.1:1", "--slots", 1, "--json", *ours, code=1)
    assert "Connection refused" in some.err
    (started,) = some.rows
    assert started["where"] == first
    shell.mesh("stop")
    assert await_end(int(started["job"])) and up.finish().code == 0


def test_a_mesh_without_tcp_says_what_to_do(shell: Shell) -> None:
    up = shell.up()
    assert "--listen any" in shell.mesh("launch", "ssh", "n1", code=1).err
    (local,) = shell.mesh("launch", "local", "--slots", 1, "--json").rows
    assert json.loads(json.dumps(local))["where"] == socket.gethostname()
    shell.mesh("stop")
    assert await_end(int(local["job"])) and up.finish().code == 0


def test_a_script_has_workers_elsewhere_while_it_runs(shell: Shell) -> None:
    printed = shell.python(
        """
        from mesh import Local, Mesh
        m = Mesh(launch=Local(slots=1))
        m.wait_for_slots(1, 30)
        print(m.submit(pow, 2, 10).result(), len(m.status()["workers"]))
        """  # it is closed when the interpreter ends: the hardest moment for it
    )
    assert printed.split() == ["1024", "2"]
    assert not list((shell.home / ".mesh" / "launches").iterdir())
