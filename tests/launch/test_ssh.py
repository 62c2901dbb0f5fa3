"""`mesh launch ssh`, with a real sshd of our own: two ports of it are two hosts."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from cluster import all_over
from ending import await_end
from shell import Shell
from sshd import MISSING, Sshd

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture
def hosts(shell: Shell) -> Iterator[Sshd]:
    """Two hosts."""
    made = Sshd(shell.folder / "ssh")
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (one, two)]
    # What is started through it is ours, and its home is not the real one
    made.serve("127.0.0.1", ports, {shell.VARIABLE: shell.mark, "HOME": str(shell.home)})
    yield made
    made.close()


def test_workers_stay_when_ssh_ends_and_end_with_their_mesh(shell: Shell, hosts: Sshd) -> None:
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
    told = shell.mesh("stop").out
    assert f"ended launch {second['number']}: ssh {second['job']} on {hosts.names[1]}\n" in told
    assert await_end(int(second["job"])) and up.finish().code == 0
    assert all_over(shell)


def test_a_failed_start_is_told_in_the_words_of_the_host(shell: Shell, hosts: Sshd) -> None:
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
    refused = shell.mesh("launch", "ssh", "--hosts", "/nofile", code=2)
    assert "'/nofile' does not exist" in refused.err
    (local,) = shell.mesh("launch", "local", "--slots", 1, "--json", "--kept").rows
    assert json.loads(json.dumps(local))["where"] == socket.gethostname()
    del local["schema"]
    assert shell.mesh("stop", "--json").json["launches"] == {"ended": [], "kept": [local]}
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
    assert all_over(shell)
