"""Joining a mesh by its access file: several clients, and who outlives whom."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import types
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import sample_tasks as tasks

from mesh import Mesh, MeshError, RouterUnreachable, TaskNotFound


@pytest.fixture
def owner(tmp_path: Path, nothing_left_behind):
    """A mesh with a folder, which others join."""
    with Mesh(dir=tmp_path / "own", slots=2) as m:
        yield m


def test_a_second_process_works_with_the_results_of_the_first(owner: Mesh, script) -> None:
    mine = owner.submit(bytes, 100_000)
    named = owner.options(id="T=2.3").submit(pow, 2, 10)
    group = owner.submit_many(pow, range(5), [2] * 5)
    owner.flush(20)
    theirs = script(
        """
        import sys
        from mesh import Mesh
        folder, mine, group = sys.argv[1:]
        with Mesh(access=folder) as m:
            print(len(m.result(mine)), m.result("T=2.3"), m.result(group))
            print(m.submit(lambda x: x + 1, 41).result())
            f = m.options(id="theirs").submit(bytes, 200_000)
            print(m.future("T=2.3").result(), m.group(group)[3].result())
        print(f.done())
        """,
        owner.folder,
        mine.id,
        group.id,
    )
    assert theirs.finish().splitlines() == [
        "100000 1024 [0, 1, 4, 9, 16]",
        "42",
        "1024 9",
        "True",
    ]
    assert len(owner.result("theirs", 20)) == 200_000, "it outlives who submitted it"
    assert owner.submit(pow, 2, 3).result(20) == 8
    assert named.result() == 1024


@pytest.mark.parametrize("way", ["folder", "file", "name", "environment", "dir"])
def test_there_are_several_ways_to_join(
    owner: Mesh, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = owner.folder / "access.json"
    id = owner.submit(pow, 2, 10).id
    arguments: dict[str, object] = {}
    if way == "folder":
        arguments = {"access": owner.folder}
    elif way == "file":
        arguments = {"access": str(file)}
    elif way == "name":
        home = Path.home() / ".mesh"
        home.mkdir(mode=0o700)
        (home / "lab.json").touch(mode=0o600)
        (home / "lab.json").write_text(file.read_text())
        arguments = {"access": "lab"}
    elif way == "environment":
        monkeypatch.setenv("MESH_ACCESS", str(file))
    else:
        arguments = {"dir": owner.folder}
    with Mesh(**arguments) as joined:
        assert "joined" in repr(joined)
        assert joined.result(id, 20) == 1024
        assert joined.status()["mesh"] == owner.status()["mesh"]
    assert owner.submit(pow, 2, 3).result(20) == 8


def test_the_environment_does_not_stop_a_mesh_from_being_embedded_by_name(
    owner: Mesh, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MESH_ACCESS", str(owner.folder))
    with Mesh(slots=1) as embedded:
        assert "embedded" in repr(embedded)
    with Mesh(dir=tmp_path / "other", slots=1) as embedded:
        assert "embedded" in repr(embedded)


def test_two_clients_wait_for_the_same_task(owner: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    future = owner.options(id="shared").submit(tasks.hold, gate, "value")
    owner.flush(20)
    with Mesh(access=owner.folder) as joined:
        watching = joined.future("shared")
        submitted = joined.options(id="shared").submit(tasks.hold, gate, "value")
        assert not watching.done()
        tasks.let_go(gate)
        assert [each.result(20) for each in (future, watching, submitted)] == ["value"] * 3


def test_either_client_can_cancel(owner: Mesh, tmp_path: Path) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    future = owner.submit(tasks.say_and_sleep, begun, 600)
    tasks.heard_at(begun)
    with Mesh(access=owner.folder) as joined:
        assert joined.cancel(future.id) == 1
    with pytest.raises(CancelledError):
        future.result(20)


def test_leaving_does_not_wait_for_what_others_submitted(owner: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    future = owner.submit(tasks.hold, gate, "value")
    owner.flush(20)
    with Mesh(access=owner.folder) as joined:
        watching = joined.future(future.id)
    assert not future.done()
    assert watching.done() and isinstance(watching.exception(), MeshError)
    tasks.let_go(gate)
    assert future.result(20) == "value"


def test_a_joined_client_that_leaves_by_an_error_cancels_its_own_alone(
    owner: Mesh, tmp_path: Path
) -> None:
    gate, begun = tasks.pipe_at(tmp_path / "gate"), tasks.pipe_at(tmp_path / "begun")
    others = owner.submit(tasks.hold, gate, "value")
    with pytest.raises(KeyError), Mesh(access=owner.folder) as joined:
        running, queued = joined.submit(tasks.say_and_sleep, begun, 600), joined.submit(pow, 2, 3)
        tasks.heard_at(begun)
        raise KeyError
    assert running.cancelled()
    assert queued.cancelled()
    tasks.let_go(gate)
    assert others.result(20) == "value"


SUBMITS_AND_WAITS = """
    import sys
    from mesh import Mesh
    folder, gate, begun = sys.argv[1:]

    def hold(gate, begun):
        with open(begun, "w"):
            pass
        with open(gate) as opened:
            opened.read()
        return "whole"

    with Mesh(access=folder) as m:
        f = m.submit(hold, gate, begun)
        m.flush()
        print(f.id, flush=True)
        {then}
"""


def test_the_tasks_of_a_joined_client_that_was_killed_go_on(
    owner: Mesh, script, tmp_path: Path
) -> None:
    gate, begun = tasks.pipe_at(tmp_path / "gate"), tasks.pipe_at(tmp_path / "begun")
    each = script(SUBMITS_AND_WAITS.replace("{then}", "f.result()"), owner.folder, gate, begun)
    id = each.line()
    tasks.heard_at(begun)
    each.kill()
    tasks.let_go(gate)
    assert owner.result(id, 20) == "whole"


def test_a_client_that_detached_leaves_its_tasks_behind(
    owner: Mesh, script, tmp_path: Path
) -> None:
    for then in ("m.detach()", "m.detach(); raise SystemExit(0)"):
        gate, begun = tasks.pipe_at(tmp_path / "gate"), tasks.pipe_at(tmp_path / "begun")
        each = script(SUBMITS_AND_WAITS.replace("{then}", then), owner.folder, gate, begun)
        id = each.line()
        tasks.heard_at(begun)
        each.finish()
        tasks.let_go(gate)
        assert owner.result(id, 20) == "whole"
        os.unlink(gate)
        os.unlink(begun)
    with pytest.raises(MeshError, match="embedded"):
        owner.detach()


def test_an_interrupted_joined_client_cancels_its_own(owner: Mesh, script, tmp_path: Path) -> None:
    for then in ("f.result()", "pass"):  # inside the block, and while it is left
        gate, begun = tasks.pipe_at(tmp_path / "gate"), tasks.pipe_at(tmp_path / "begun")
        each = script(SUBMITS_AND_WAITS.replace("{then}", then), owner.folder, gate, begun)
        future = owner.future(each.line())
        tasks.heard_at(begun)
        each.send(signal.SIGINT)
        each.process.wait()
        with pytest.raises(CancelledError):
            future.result(20)
        os.unlink(gate)
        os.unlink(begun)


def test_a_client_whose_mesh_was_stopped_is_told_so(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "own", slots=1) as owner:
        joined = Mesh(access=owner.folder)
        done, queued = joined.submit(pow, 2, 3), joined.submit(tasks.nap, 600)
        assert done.result(20) == 8
        owner.stop(drain=False)
        for ask in (queued.result, joined.status, lambda: joined.submit(pow, 2, 3)):
            with pytest.raises(MeshError, match=r"router\.sock was stopped"):
                ask()
        assert done.result() == 8
        joined.shutdown()


def test_a_client_of_a_mesh_whose_owner_was_killed_is_not_told_that_it_was_stopped(
    script, tmp_path: Path
) -> None:
    each = script(
        """
        import sys, time
        from mesh import Mesh
        with Mesh(dir=sys.argv[1], slots=1) as m:
            print("up", flush=True)
            time.sleep(600)
        """,
        tmp_path / "own",
    )
    assert each.line() == "up"
    joined = Mesh(access=tmp_path / "own")
    open_ = joined.submit(tasks.nap, 600)
    joined.flush(20)
    os.kill(each.pid, signal.SIGKILL)
    for ask in (open_.result, joined.status):
        with pytest.raises(RouterUnreachable, match=r"router\.sock ended, for its owner is gone"):
            ask()
    joined.shutdown()


def test_a_client_whose_mesh_is_gone_is_told_who_where_and_how_long(script, tmp_path: Path) -> None:
    each = script(
        """
        import sys, time
        from mesh import Mesh
        with Mesh(dir=sys.argv[1], slots=1) as m:
            m.wait_for_slots(1)
            status = m.status()
            print(status["router"]["pid"], status["workers"][0]["pid"], flush=True)
            time.sleep(600)
        """,
        tmp_path / "own",
    )
    pids = map(int, each.line().split())
    joined = Mesh(access=tmp_path / "own", router_timeout=1)
    done, open_ = joined.submit(pow, 2, 3), joined.submit(tasks.nap, 600)
    group = joined.submit_many(tasks.nap, [600] * 3)
    assert done.result(20) == 8
    joined.flush(20)
    os.kill(each.pid, signal.SIGSTOP)  # who sees its owner go says so before it dies
    for pid in (*pids, each.pid):
        os.kill(pid, signal.SIGKILL)
    for ask in (
        open_.result,
        group.results,
        group[1].result,
        joined.status,
        lambda: joined.submit(pow, 2, 3),
        lambda: joined.result("last"),
        lambda: joined.wait_for_slots(1),
    ):
        with pytest.raises(RouterUnreachable, match=r"router\.sock has not answered for \d+ s"):
            ask()
    with pytest.raises(RouterUnreachable):
        group[2].result()  # first asked for when all is over
    assert isinstance(open_.exception(), ConnectionError)
    assert done.result() == 8
    joined.shutdown()
    with Mesh(dir=tmp_path / "own", slots=1) as again:  # what was left of it is put to use
        for id in (open_.id, group.id):
            again.cancel(id)
        assert again.result(done.id, 20) == 8


def test_a_router_that_has_nothing_to_say_is_not_given_up(owner: Mesh) -> None:
    with Mesh(access=owner.folder, router_timeout=0.1) as joined:
        assert joined.submit(tasks.nap, 1.5, "rested").result(20) == "rested"


def test_nobody_is_there_behind_an_old_access_file(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        access = json.loads((m.folder / "access.json").read_text())
    old = tmp_path / "old.json"
    old.touch(mode=0o600)
    old.write_text(json.dumps(access))
    with pytest.raises(RouterUnreachable, match=r"Is it running\? Start one"):
        Mesh(access=old)
    with pytest.raises(RouterUnreachable, match="no access file"):
        Mesh(access=tmp_path / "own")


def test_what_a_client_does_not_know_it_is_told(owner: Mesh) -> None:
    with Mesh(access=owner.folder) as joined:
        with pytest.raises(TaskNotFound):
            joined.result("nobody")
        with pytest.raises(TaskNotFound):
            joined.group("last")


def test_a_mesh_without_a_worker_says_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    said: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(sys, "stderr", types.SimpleNamespace(write=said.put, flush=lambda: None))
    with Mesh(slots=0, settings={"heartbeat_s": 0.5}) as m:
        m.submit(pow, 2, 3)
        line = said.get(timeout=20)
        assert "tasks wait (1), and the mesh has had no worker with a slot for" in line
        assert line.endswith("; Ctrl-C cancels those of this script")
        assert f"`mesh worker --access {m.folder}`" in line
        m.shutdown(cancel_futures=True)
