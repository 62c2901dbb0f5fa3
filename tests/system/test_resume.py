"""Killed and run again: what ended is found, what did not is run, and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import sample_tasks as tasks
from ending import await_end
from leftovers import Leftovers

from mesh import Mesh, TaskConflict, TaskNotFound
from mesh.processes import local

TOTAL = 60

SWEEP = """
    import sys
    from mesh import Mesh

    folder, traces, stop = sys.argv[1:]

    def simulate(i, traces, stop):
        import os, time
        with open(f"{traces}/{i}", "ab") as file:
            file.write(b".")
        if os.path.exists(stop):        # from the member it names on, they go no further
            with open(stop) as file:
                first = int(file.read())
            if i >= first:
                if i == first:
                    with open(f"{stop}-said", "w"):
                        pass
                time.sleep(600)
        return i * i

    with Mesh(dir=folder, slots=2) as m:
        g = m.submit_many(
            simulate, range(TOTAL), [traces] * TOTAL, [stop] * TOTAL,
            ids=[f"i={i}" for i in range(TOTAL)],
        )
        m.flush()
        print("submitted", flush=True)
        rows = g.results()
        status = g.status()
        print(rows == [i * i for i in range(TOTAL)], status["found"], status["done"], flush=True)
""".replace("TOTAL", str(TOTAL))


def all_gone(leftovers: Leftovers) -> bool:
    return all(await_end(pid, 5) for pid in leftovers.processes())


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


def kill_at(script, tmp_path: Path, traces: Path, member: int, leftovers: Leftovers) -> None:
    """Run the sweep, and kill it when it has come to `member`; it gets no further."""
    stop = tmp_path / "stop"
    stop.write_text(str(member))
    said = tasks.pipe_at(tmp_path / "stop-said")
    each = script(SWEEP, tmp_path / "own", traces, stop)
    assert each.line() == "submitted"
    tasks.heard_at(said)
    each.kill()
    assert all_gone(leftovers)
    os.unlink(said)
    stop.unlink()


def test_a_sweep_killed_half_way_goes_on_where_it_was(
    script, tmp_path: Path, traces: Path, nothing_left_behind: Leftovers
) -> None:
    half = TOTAL // 2
    kill_at(script, tmp_path, traces, half, nothing_left_behind)
    ran_before = tasks.runs(traces)
    assert 0 < len(ran_before) <= half + 2, "two slots"

    arguments = (tmp_path / "own", traces, tmp_path / "stop")
    second = script(SWEEP, *arguments)
    whole, found, done = second.finish().split()[1:]
    assert whole == "True" and int(done) == TOTAL
    assert f"tasks go on that an earlier script has left in {tmp_path / 'own'}" in second.errors()
    again = {name for name, count in tasks.runs(traces).items() if count > 1}
    assert all(count <= 2 for count in tasks.runs(traces).values())
    # What was running runs again, and what ended in the last milliseconds, before it was on disk.
    assert again <= ran_before.keys() and len(again) < len(ran_before)
    # What was left in the queue runs as soon as the mesh is there, perhaps before it is asked for.
    assert len(ran_before) - len(again) <= int(found) <= TOTAL
    assert sum(tasks.runs(traces).values()) == TOTAL + len(again)

    third = script(SWEEP, *arguments)
    _, found, done = third.finish().split()[1:]
    assert int(found) == int(done) == TOTAL, "the third time all is there"
    assert "earlier script" not in third.errors()
    assert sum(tasks.runs(traces).values()) == TOTAL + len(again)


def test_a_sweep_survives_being_killed_again_and_again(
    script, tmp_path: Path, traces: Path, nothing_left_behind: Leftovers
) -> None:
    for member in (10, 25, 40):
        kill_at(script, tmp_path, traces, member, nothing_left_behind)
    arguments = (tmp_path / "own", traces, tmp_path / "stop")
    whole, found, done = script(SWEEP, *arguments).finish().split()[1:]
    assert whole == "True" and int(done) == TOTAL and int(found) > 0
    assert max(tasks.runs(traces).values()) <= 4


def test_what_was_submitted_is_there_after_a_kill_even_if_nobody_waited(
    script, tmp_path: Path, traces: Path, nothing_left_behind: Leftovers
) -> None:
    """Acknowledged is on disk: the id that flush() stands for leads to the result."""
    each = script(
        """
        import sys
        from mesh import Mesh
        m = Mesh(dir=sys.argv[1], slots=0)
        f = m.submit(pow, 2, 10)
        g = m.submit_many(pow, range(300), [2] * 300, name="squares")
        m.flush()
        print(f.id, g.id, flush=True)
        g.results()
        """,
        tmp_path / "own",
    )
    single, group = each.line().split()
    each.kill()
    assert all_gone(nothing_left_behind)
    with Mesh(dir=tmp_path / "own", slots=2) as m:
        assert m.result(single, 20) == 1024
        assert m.result(group, 20) == [i * i for i in range(300)]
        assert m.group(group).name == "squares"


def test_a_task_that_was_found_is_found_by_its_own_id_too(tmp_path: Path) -> None:
    """Also by who has not submitted it: `last` means it, and `mesh submit` may have printed it."""
    own = []
    for _ in range(2):
        with Mesh(dir=tmp_path / "own", slots=1) as m:
            own.append(m.options(id="two to the ten").submit(pow, 2, 10))
            assert own[-1].result(20) == 1024
            session = m._connection.session
    with Mesh(dir=tmp_path / "own", slots=0) as m:
        for id in (f"{session}.0", "last"):
            assert m.result(id, 20) == 1024
            assert m.future(id).id == own[0].id


def test_results_outlive_their_mesh(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "own", slots=2) as m:
        small, large = m.submit(pow, 2, 10), m.submit(bytes, 3_000_000)
        printed = m.submit(print, "x" * 50_000)
        failed = m.submit(tasks.fail, "as ever")
        ids = [each.id for each in (small, large, printed, failed)]
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        assert m.result(ids[0], 20) == 1024
        assert len(m.result(ids[1], 20)) == 3_000_000
        assert m.future(ids[2]).logs() == "x" * 50_000 + "\n"
        with pytest.raises(ValueError, match="as ever"):
            m.result(ids[3], 20)
        status = m.status()["tasks"]
        assert (status["done"], status["failed"]) == (3, 1)


def test_leaving_waits_for_older_tasks_that_were_submitted_again(
    script, tmp_path: Path, traces: Path
) -> None:
    with Mesh(dir=tmp_path / "own", slots=0) as m:
        futures = [m.options(id="one").submit(tasks.note, str(traces), "one")]
        m.flush(20)
        m.stop(drain=False)  # with a task in its queue
    assert not futures[0].done() or futures[0].exception() is not None
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        again = m.options(id="one").submit(tasks.note, str(traces), "one", 0.0)
        same = m.options(id="one").submit(tasks.note, str(traces), "one")
    assert same.done() and same.result() == "one"
    assert isinstance(again.exception(), TaskConflict)
    assert tasks.runs(traces) == {"one": 1}


def test_an_id_with_another_call_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    def cube(x: int) -> int:
        return x**3

    with Mesh(dir=tmp_path / "own", slots=1) as m:
        assert m.submit_many(pow, [1, 2, 3], [2, 2, 2], ids="abc").results(timeout=20) == [1, 4, 9]
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        group = m.submit_many(pow, [1, 5, 3, 7], [2, 2, 2, 2], ids="abcd")
        assert group.wait(20)
        assert group.results(errors="skip") == [1, 9, 49]
        error = group.errors()[1]
        assert isinstance(error, TaskConflict)
        assert "'b'" in str(error) and "other arguments" in str(error) and "pow" in str(error)

        other = m.options(id="a").submit(cube, 1)
        with pytest.raises(
            TaskConflict, match=r"'a' is a call of builtins:pow.*not of .*cube.*forget"
        ):
            other.result(20)
        assert m.result("a", 20) == 1 and m.result("b", 20) == 4, "the first ones stay"


def test_an_id_whose_code_has_changed_is_refused_by_name(script, tmp_path: Path) -> None:
    source = """
        import sys
        from mesh import Mesh, TaskConflict

        def work(x):
            {comment}
            return x + {constant}

        with Mesh(dir=sys.argv[1], slots=1) as m:
            try:
                g = m.submit_many(work, [1, 2], ids=["one", "two"])
                print(g.results(), g.status()["found"])
            except TaskConflict as error:
                print(error)
    """

    def run(constant: int, comment: str = "pass") -> str:
        text = source.replace("{constant}", str(constant)).replace("{comment}", comment)
        return script(text, tmp_path / "own").finish().strip()

    assert run(10) == "[11, 12] 0"
    assert run(10, comment="pass  # a comment changes nothing") == "[11, 12] 2"
    said = run(11)
    assert "'one'" in said and "__main__:work" in said and "code has changed" in said
    assert run(10) == "[11, 12] 2"


def test_what_failed_or_was_cancelled_runs_again_under_its_id(tmp_path: Path) -> None:
    (tmp_path / "trace").mkdir()
    arguments = (str(tmp_path / "trace"), 2)
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        with pytest.raises(OSError, match="run 1"):
            m.options(id="flaky").submit(tasks.fail_until, *arguments).result(20)
        begun = tasks.pipe_at(tmp_path / "begun")
        held = m.submit(tasks.say_and_sleep, begun, 600)
        tasks.heard_at(begun)
        cancelled = m.options(id="late").submit(pow, 2, 3)
        assert cancelled.cancel()
        m.cancel(held.id)
        assert m.options(id="late").submit(pow, 2, 3).result(20) == 8, "also in the same life"
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        assert m.options(id="flaky").submit(tasks.fail_until, *arguments).result(20) == 2
        assert m.result("flaky", 20) == 2
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        assert m.options(id="flaky").submit(tasks.fail_until, *arguments).result(20) == 2
    assert (tmp_path / "trace" / "runs").stat().st_size == 2


def test_a_group_is_found_again_with_its_older_members(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        m.submit_many(pow, [1, 2], [2, 2], ids=["1", "2"]).results(timeout=20)
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        group = m.submit_many(pow, [1, 2, 3], [2, 2, 2], ids=["1", "2", "3"], name="more")
        assert group.results(timeout=20) == [1, 4, 9]
        assert group.status()["found"] == 2
        assert group[0].result(20) == 1 and group[0].id == m.future("1").id
        id = group.id
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        assert m.result(id, 20) == [1, 4, 9]
        assert [future.result(20) for future in m.group(id)] == [1, 4, 9]
        session, _, counter = id.partition(".")
        by_their_ids = [m.future(f"{session}.{int(counter) + 1 + i}") for i in range(3)]
        assert [future.result(20) for future in by_their_ids] == [1, 4, 9]
        with pytest.raises(TaskNotFound):
            m.result("4")


def test_a_name_stands_for_a_folder_of_that_name() -> None:
    import shutil
    import uuid

    name = f"test-{uuid.uuid4().hex[:12]}"
    folder = Path(f"/var/tmp/mesh-{os.getuid()}") / name
    try:
        with Mesh(name=name, slots=1) as m:
            assert m.folder == folder
            id = m.submit(pow, 2, 10).id
        with Mesh(name=name) as m:
            assert m.result(id, 20) == 1024
        assert folder.stat().st_mode & 0o077 == 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_folder_left_by_a_killed_mesh_is_taken_over_even_if_its_pid_lives_on(
    script, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    """After a reboot, the router's old process id may be anybody's."""
    import json

    each = script(
        """
        import signal, sys
        from mesh import Mesh
        m = Mesh(dir=sys.argv[1], slots=1)
        m.wait_for_slots(1)
        print(m.status()["router"]["pid"], m.status()["workers"][0]["pid"], flush=True)
        signal.pause()
        """,
        tmp_path / "own",
    )
    router, worker = map(int, each.line().split())
    for pid in (each.pid, router, worker):  # all at once: nobody can tidy up
        os.kill(pid, signal.SIGKILL)
    each.process.wait()
    assert all_gone(nothing_left_behind)
    file = tmp_path / "own" / "access.json"
    access = json.loads(file.read_text())
    file.write_text(json.dumps(access | {"pid": os.getpid()}))
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        assert "embedded" in repr(m)
        assert m.submit(pow, 2, 3).result(20) == 8


def test_run_again_at_once_a_script_waits_for_the_end_of_the_mesh_it_had(
    script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left_behind: Leftovers
) -> None:
    killed = script(
        """
        import signal, sys
        from mesh import Mesh
        with Mesh(dir=sys.argv[1], slots=1) as m:
            m.wait_for_slots(1)
            f = m.submit(pow, 2, 10)
            f.result()
            print(f.id)
            status = m.status()
            print(status["router"]["pid"], status["workers"][0]["pid"], flush=True)
            signal.pause()
        """,
        tmp_path / "own",
    )
    task, parts = killed.line(), [int(each) for each in killed.line().split()]
    for pid in parts:
        os.kill(pid, signal.SIGSTOP)  # they have not heard yet that their owner is gone
    killed.kill()
    vacate = local.store_folder.vacate

    def waits(folder: Path, *names: str) -> None:
        for pid in parts:
            os.kill(pid, signal.SIGCONT)
        vacate(folder, *names)

    monkeypatch.setattr(local.store_folder, "vacate", waits)
    with Mesh(dir=tmp_path / "own", slots=1) as again:
        assert "where a mesh is alive" not in repr(again)
        assert again.result(task) == 1024
        assert again.submit(pow, 2, 11).result() == 2048
