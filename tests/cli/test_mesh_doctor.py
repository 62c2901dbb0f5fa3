"""`mesh doctor`: a line for each check, and what to do where it fails."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from shell import Done, Shell

from mesh.cli import checkup, machine
from mesh.cli.finding import FAIL, OK, WARN, Finding
from mesh.protocol import version
from mesh.store import folder as store_folder
from mesh.transport import libraries
from mesh.transport.access import Access
from mesh.transport.keys import Ring

ALONE = ["versions", "cipher", "descriptors", "processes", "memory", "addresses", "sockets"]
ALONE += ["folder", "temporary", "lmdb"]


def findings(done: Done, check: str) -> list[Any]:
    return [
        (row["verdict"], row["text"], row["advice"]) for row in done.rows if row["check"] == check
    ]


def changed(shell: Shell, name: str, **fields: Any) -> Path:
    """A copy of the mesh's access file in which something is different."""
    file = shell.folder / name
    file.touch(mode=0o600)
    file.write_text(
        json.dumps(json.loads((shell.folder / "m" / "access.json").read_text()) | fields)
    )
    return file


def test_without_a_mesh_it_looks_at_this_host_alone(shell: Shell) -> None:
    done = shell.mesh("doctor")
    lines = [line.split()[:2] for line in done.out.splitlines()]
    assert [check for _, check in lines] == [*ALONE, "mesh"]
    assert {verdict for verdict, _ in lines} <= {"ok", "warn"}
    rows = shell.mesh("doctor", "--json").rows
    assert [row["check"] for row in rows] == [*ALONE, "mesh"]
    assert all(row["schema"] == 1 and (row["advice"] or row["verdict"] == "ok") for row in rows)


def test_a_mesh_that_is_named_must_be_there(shell: Shell) -> None:
    done = shell.mesh("doctor", "--access", "nowhere", "--json", code=1)
    [(verdict, text, _)] = findings(done, "access")
    assert verdict == "fail" and "nowhere.json" in text and "mesh up" in text


def test_the_way_to_a_mesh_and_what_its_processes_say(shell: Shell) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 1)
    done = shell.mesh("doctor", "--json")
    found = [row["check"] for row in done.rows if row["check"] not in ALONE]
    assert found == ["access", "address", "address", "router", "python", "clocks", "open files"] + [
        "data ports",
        "its folder",
        "way back",
    ]
    assert {row["verdict"] for row in done.rows} <= {"ok", "warn"}
    assert "of a admin" not in done.out and "an admin" in done.out
    assert [text.split()[1] for _, text, _ in findings(done, "address")] == ["answers", "answers"]
    assert "1 worker, 1 slot" in findings(done, "router")[0][1]

    # One address of two is dead: it works, and is told; if there is no other, it fails.
    live = findings(done, "address")[1][1].split()[0]
    with socket.socket() as bound:  # and nobody listens
        bound.bind(("127.0.0.1", 0))
        dead = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        both = changed(shell, "both.json", addresses=[dead, live])
        told = findings(shell.mesh("doctor", "--json", "--access", both), "address")
        assert [verdict for verdict, _, _ in told] == ["warn", "ok"] and dead in told[0][1]
        alone = shell.mesh("doctor", "--access", changed(shell, "d.json", addresses=[dead]), code=1)
        assert f"FAIL  address      {dead}: nobody listens there" in alone.out
        assert "router" not in alone.out.split("address", 2)[2], "nothing more can be asked"

    # A worker's file, on the host where a worker does not join
    shell.mesh("access", "show", "--role", "worker", "-o", shell.folder / "w.json")
    part = shell.mesh("doctor", "--json", "--access", shell.folder / "w.json")
    assert (
        findings(part, "router")[0][0] == "ok" and "of a worker" in findings(part, "access")[0][1]
    )
    assert findings(part, "python")[0][0] == "ok"

    # Others can read it; its key is not known any more
    (shell.folder / "w.json").chmod(0o644)
    done = shell.mesh("doctor", "--json", "--access", shell.folder / "w.json", code=1)
    assert "chmod 600" in findings(done, "access")[0][1]
    (shell.folder / "w.json").chmod(0o600)
    shell.mesh("access", "renew", "--role", "worker")
    far = json.loads((shell.folder / "w.json").read_text())["keys"]
    old = changed(shell, "old.json", addresses=[live], keys=far)
    done = shell.mesh("doctor", "--json", "--access", old, code=1)
    assert findings(done, "address")[0] == (
        "fail",
        f"{live}: does not know this key",
        "have a new file made with `mesh access show --role ROLE`",
    )
    shell.mesh("stop")
    up.finish()


def test_a_port_that_says_nothing_is_told_as_that(shell: Shell) -> None:
    up = shell.up("--listen", "tcp://127.0.0.1:*", "--slots", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        file = changed(shell, "silent.json", addresses=[address])
        done = shell.mesh("doctor", "--json", "--access", file, code=1)
    assert findings(done, "address")[0][:2] == ("fail", f"{address}: no answer")
    shell.mesh("stop")
    up.finish()


def verdicts(found: Any) -> list[tuple[str, str]]:
    return [(each.check, each.verdict) for each in found]


def test_a_slow_build_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "cipher_bytes_s", lambda: 25e6)
    assert verdicts(machine.check_cipher()) == [("cipher", WARN)]
    runs = {"pyzmq": "26.4.0", "libzmq": "4.3.5", "libsodium": "1.0.20"}
    monkeypatch.setattr(libraries, "versions", lambda: runs)
    [finding] = machine.check_versions()
    assert finding.verdict == WARN and "pip install -U pyzmq" in finding.advice


@pytest.mark.parametrize(("hard", "verdict"), [(30, FAIL), (1024, WARN), (65536, OK), (-1, OK)])
def test_descriptors_are_judged_by_the_hard_limit(
    monkeypatch: pytest.MonkeyPatch, hard: int, verdict: str
) -> None:
    monkeypatch.setattr(machine.resource, "getrlimit", lambda which: (30, hard))
    [finding] = machine.check_descriptors()
    assert finding.verdict == verdict and ("ulimit -Hn" in finding.advice) == (verdict != OK)


def test_folders_are_judged_by_file_system_and_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verdicts(machine.check_folder("folder", tmp_path / "not" / "yet"))[0][1] in (OK, WARN)
    usage = machine.shutil.disk_usage(tmp_path)
    for free, verdict in ((2**40, OK), (2**29, WARN), (2**20, FAIL)):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: usage._replace(free=free))  # noqa: B023
        assert verdicts(machine.check_folder("folder", tmp_path)) == [("folder", verdict)]
    monkeypatch.setattr(store_folder, "file_system_of", lambda path: "nfs4")
    [finding] = machine.check_folder("folder", tmp_path)
    assert finding.verdict == FAIL and "network file system (nfs4)" in finding.text


def told(**router: Any) -> dict[str, Any]:
    """What a mesh on another host says of itself."""
    runs = {"mesh": version.MESH, "python": version.PYTHON + ".0", "pyzmq": "27.3.0"}
    worker = {"id": "w" * 8, "host": "n3", "connected": True, "slots": [{}], "skew_s": 0.0}
    worker |= {"data": "", "versions": runs, "descriptors": [40, 20000]}
    about = {"pid": 1, "versions": runs, "clock_s": 1000.0, "descriptors": [30, 20000]}
    return {"router": about | router, "workers": [worker]}


def judged(said: dict[str, Any]) -> dict[str, Finding]:
    access = Access("mesh1234", ["tcp://192.0.2.1:1"], host="elsewhere")
    return {each.check: each for each in checkup._told(access, said, 1000.0)}


def test_what_a_mesh_says_of_itself_is_judged() -> None:
    found = judged(told())
    assert {each.verdict for name, each in found.items() if name != "data ports"} == {OK}
    assert found["data ports"].verdict == WARN and "come through the router" in str(
        found["data ports"]
    )
    other = judged(told(versions={"mesh": "9.9", "python": "3.99.1", "pyzmq": "26.0.0"}))
    assert other["python"].verdict == FAIL and "3.99 there" in other["python"].text
    assert other["versions"].verdict == WARN
    full = judged(told(descriptors=[900, 1024]))["open files"]
    assert full.verdict == WARN and "the router has 900 of 1024" in full.text
    late = judged(told(clock_s=400.0))["clocks"]
    assert late.verdict == WARN and "600.0 s behind" in late.text
    none = told()
    none["workers"] = []
    assert judged(none)["router"].verdict == WARN
    skewed = told()
    skewed["workers"][0]["skew_s"] = 90.0
    assert "worker wwwwwwww on n3 is 90.0 s ahead of" in judged(skewed)["clocks"].text


def test_an_address_of_another_host_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    own = Ring.new("k3f9x2m7").admin().cut("worker")
    access = Access("k3f9x2m7", ["tcp://login1:5555", "tcp://127.0.0.1:5"], host="login1", keys=own)
    named, loopback = checkup._addresses(access)
    assert named.text.startswith("tcp://login1:5555: nobody knows 'login1'")
    assert named.verdict == FAIL and "access file" in named.advice
    assert loopback == Finding("address", WARN, "tcp://127.0.0.1:5 is the loopback of login1")
