"""A mesh's own life: opened, left, closed, forked, killed, and who outlives whom."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest
import sample_tasks as tasks
from ending import await_end
from leftovers import Leftovers

from mesh import Mesh, MeshError, RouterUnreachable, WorkerLost
from mesh.processes import local, spawn
from mesh.store.folder import InUse, Lock

#: After its script was killed, a mesh is gone within this.
GONE_S = 5.0


def all_gone(leftovers: Leftovers) -> bool:
    """Whether all processes of the test end by themselves, soon."""
    deadline = time.monotonic() + GONE_S
    return all(
        await_end(pid, max(0.0, deadline - time.monotonic())) for pid in leftovers.processes()
    )


# -- leaving --------------------------------------------------------------------------------------


def test_leaving_waits_for_what_was_submitted(tmp_path: Path) -> None:
    with Mesh(slots=2) as m:
        single = m.submit(tasks.note, str(tmp_path / "home"), "single", 0.1)
        group = m.submit_many(tasks.note, [str(tmp_path / "home")] * 20, map(str, range(20)))
    assert single.done() and single.result() == "single"
    assert group.results() == [str(i) for i in range(20)]
    assert len(tasks.runs(tmp_path / "home")) == 21


def test_leaving_by_an_error_cancels_what_runs_and_what_waits(tmp_path: Path) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    with pytest.raises(KeyError, match="the user's"), Mesh(slots=1) as m:
        running = m.submit(tasks.say_and_sleep, begun, 600)
        waiting = m.submit_many(tasks.nap, [600] * 10)
        tasks.heard_at(begun)
        raise KeyError("the user's own")
    assert running.cancelled()
    assert all(isinstance(error, CancelledError) for error in waiting.errors().values())
    assert len(waiting.errors()) == 10


def test_what_leaving_cancels_may_clean_up(tmp_path: Path) -> None:
    begun, trace = tasks.pipe_at(tmp_path / "begun"), tmp_path / "trace"

    def stay(begun: str, trace: str) -> None:
        try:
            tasks.say_and_sleep(begun, 600)
        except KeyboardInterrupt:
            time.sleep(0.2)
            with open(trace, "w") as file:
                file.write("saved")

    with pytest.raises(KeyError), Mesh(slots=1) as m:
        m.submit(stay, begun, str(trace))
        tasks.heard_at(begun)
        raise KeyError
    assert trace.read_text() == "saved"


def test_shutdown_can_cancel_instead_of_waiting(tmp_path: Path) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    m = Mesh(slots=1)
    running, waiting = m.submit(tasks.say_and_sleep, begun, 600), m.submit(tasks.nap, 600)
    tasks.heard_at(begun)
    m.shutdown(cancel_futures=True)
    assert running.cancelled() and waiting.cancelled()


def test_shutdown_without_waiting_returns_at_once_and_ends_in_the_background(
    tmp_path: Path,
) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    m = Mesh(slots=1)
    future = m.submit(tasks.say_and_hold, begun, gate, "whole")
    tasks.heard_at(begun)
    m.shutdown(wait=False)
    assert not future.done()
    with pytest.raises(RuntimeError, match="closed"):
        m.submit(pow, 2, 2)
    tasks.let_go(gate)
    assert future.result(20) == "whole"
    for thread in threading.enumerate():
        if thread.name == "mesh-close":
            thread.join(20)


def test_after_leaving_nothing_new_is_taken_and_it_is_said_why() -> None:
    with Mesh(slots=1) as m:
        future = m.submit(pow, 2, 3)
    for use in (
        lambda: m.submit(pow, 2, 3),
        lambda: m.submit_many(pow, [2], [3]),
        lambda: m.map(pow, [2], [3]),
        lambda: m.flush(),
        lambda: m.status(),
        lambda: m.result(future.id),
        lambda: m.wait_for_slots(1),
        lambda: m.options(priority=1).submit(pow, 2, 3),
    ):
        with pytest.raises(RuntimeError, match="this mesh was closed: open another"):
            use()
    assert future.result() == 8, "what has come stays"
    m.shutdown()
    m.shutdown(wait=False)
    assert "closed" in repr(m)


def test_a_large_result_that_was_not_taken_in_time_says_that_the_mesh_is_gone() -> None:
    with Mesh(slots=1) as m:
        taken, late = m.submit(bytes, 100_000), m.submit(bytes, 100_000)
        assert len(taken.result(20)) == 100_000
    assert len(taken.result()) == 100_000
    with pytest.raises(MeshError, match=r"closed|stopped"):
        late.result()


def test_a_mesh_can_be_opened_again_and_again_in_one_script() -> None:
    for i in range(3):
        with Mesh(slots=1) as m:
            assert m.submit(pow, 2, i).result(20) == 2**i


def test_several_meshes_live_side_by_side() -> None:
    with Mesh(slots=1) as one, Mesh(slots=1) as other:
        futures = [m.submit(tasks.pid) for m in (one, other)]
        assert len({future.result(20) for future in futures}) == 2
        assert one.folder != other.folder


def test_many_threads_may_use_and_close_one_mesh() -> None:
    m = Mesh(slots=2)

    def work(i: int) -> str:
        try:
            for k in range(200):
                m.submit(pow, i, k)
                if i == 3 and k == 100:
                    m.shutdown()
        except RuntimeError as error:
            return str(error)
        return "done"

    with ThreadPoolExecutor(4) as threads:
        said = set(threads.map(work, range(4)))
    assert all(line == "done" or "closed" in line for line in said)
    m.shutdown()


def test_arguments_that_say_where_a_mesh_is_exclude_each_other(tmp_path: Path) -> None:
    for wrong in (
        {"access": "x", "slots": 1},
        {"access": "x", "dir": str(tmp_path)},
        {"access": "x", "name": "x"},
        {"dir": str(tmp_path), "name": "x"},
        {"name": "../x"},
        {"name": ""},
        {"slots": -1},
        {"slots": True},
    ):
        with pytest.raises(ValueError):
            Mesh(**wrong)


def test_a_mesh_without_slots_takes_tasks_and_runs_none() -> None:
    with Mesh(slots=0) as m:
        future = m.submit(pow, 2, 2)
        m.flush(20)
        assert m.status()["tasks"]["queued"] == 1
        assert future.cancel()


def test_repr_says_which_mesh_and_why(tmp_path: Path) -> None:
    with Mesh(dir=tmp_path / "here", slots=1) as m:
        assert "embedded" in repr(m) and "dir=" in repr(m) and str(tmp_path / "here") in repr(m)
        with Mesh(access=tmp_path / "here") as joined:
            assert "joined" in repr(joined) and "access=" in repr(joined)


def test_a_mesh_that_was_forgotten_is_closed_at_the_end_of_its_script(script) -> None:
    printed = script(
        """
        from mesh import Mesh
        m = Mesh(slots=1)
        f = m.submit(pow, 2, 3)
        f.add_done_callback(lambda f: print("done", f.result(), flush=True))
        """
    ).finish()
    assert printed == "done 8\n"


# -- inside a task, after a fork ------------------------------------------------------------------


def open_a_mesh() -> str:
    try:
        Mesh(slots=1)
    except RuntimeError as error:
        return str(error)
    return "it opened"


def test_a_task_cannot_open_a_mesh_and_is_told_what_to_do(mesh: Mesh) -> None:
    assert "return the values" in mesh.submit(open_a_mesh).result(20)


def in_a_fork(work) -> str:
    """What `work()` says in a fork of this process."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write, str(work()).encode())
        except BaseException as error:
            os.write(write, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as said:
        answer = said.read()
    os.waitpid(pid, 0)
    return answer


def test_a_fork_of_the_script_cannot_use_its_mesh_and_does_it_no_harm(tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    with Mesh(slots=1) as m:
        done, open_ = m.submit(pow, 2, 3), m.submit(tasks.hold, gate)
        assert done.result(20) == 8
        for use in (lambda: m.submit(pow, 2, 2), open_.result, lambda: open_.exception(), m.status):
            assert "fork of the one that opened the mesh" in in_a_fork(use)
        assert in_a_fork(done.result) == "8"
        assert in_a_fork(m.shutdown) == "None"
        tasks.let_go(gate)
        assert m.submit(pow, 2, 4).result(20) == 16


def test_a_fork_of_the_script_can_have_a_mesh_of_its_own() -> None:
    def work() -> int:
        with Mesh(slots=1) as own:
            return own.submit(pow, 2, 5).result(20)

    with Mesh(slots=1) as m:
        assert in_a_fork(work) == "32"
        assert m.submit(pow, 2, 4).result(20) == 16


def test_a_fork_beside_a_mesh_that_could_not_begin_knows_of_it(tmp_path: Path) -> None:
    owned = Lock(tmp_path)
    with pytest.raises(InUse) as kept:
        local.LocalMesh(local.Plan(tmp_path, 0), print)
    assert in_a_fork(local._forked) == "None" and kept.traceback
    owned.release()


# -- scripts --------------------------------------------------------------------------------------


def test_a_script_needs_no_main_guard(script) -> None:
    printed = script(
        """
        import dataclasses
        from mesh import Mesh, task

        print("top level")

        @dataclasses.dataclass
        class Point:
            x: int

        class Oops(Exception):
            pass

        FACTOR = 10

        @task(retries=1)
        def scaled(point):
            if point.x < 0:
                raise Oops(point.x)
            return Point(point.x * FACTOR)

        with Mesh(slots=2) as m:
            print(m.submit(lambda x: x + 1, 1).result())
            print(m.submit(scaled, Point(2)).result() == Point(20))
            print(list(m.map(scaled, map(Point, range(3)))))
            try:
                m.submit(scaled, Point(-1)).result()
            except Oops as error:
                print("caught", error)
        """
    ).finish()
    assert printed.splitlines() == [
        "top level",
        "2",
        "True",
        "[Point(x=0), Point(x=10), Point(x=20)]",
        "caught -1",
    ]


def test_a_script_may_come_by_standard_input_or_the_command_line(script, tmp_path: Path) -> None:
    source = "from mesh import Mesh\nwith Mesh(slots=1) as m: print(m.submit(lambda: 42).result())"
    runs = script("import subprocess, sys; print(sys.executable)")
    python = runs.finish().strip()
    path = str(Path(__import__("mesh").__file__).parents[1])
    for command, given in (([python, "-c", source], None), ([python, "-"], source)):
        done = subprocess.run(
            command,
            input=given,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout == "42\n", done.stderr


def test_a_task_runs_where_its_script_runs_and_imports_what_it_imports(
    script, tmp_path: Path
) -> None:
    (tmp_path / "sim.py").write_text("import inner\nclass Model:\n    x = inner.X\n")
    (tmp_path / "inner.py").write_text("X = 7\n")
    (tmp_path / "mesh.py").write_text("raise SystemExit('the wrong mesh')\n")
    printed = script(
        """
        import os, sys
        here = sys.path.pop(0)      # the folder of this script has a mesh.py of its own
        from mesh import Mesh
        sys.path.insert(0, here)
        import sim

        def where():
            return os.getcwd()

        def late():
            import inner
            return inner.X

        def same(model):
            return isinstance(model, sim.Model), model.x

        with Mesh(slots=1) as m:
            print(m.submit(where).result() == os.getcwd())
            print(m.submit(late).result())
            print(m.submit(same, sim.Model()).result())
            print(m.submit(sim.Model).result().x)
        """
    ).finish()
    assert printed.splitlines() == ["True", "7", "(True, 7)", "7"]


# -- interrupts and kills -------------------------------------------------------------------------

RUNS_LONG = """
    import sys
    from mesh import Mesh

    def work(gate, begun):
        import time
        with open(begun, "w"):
            pass
        time.sleep(600)

    with Mesh(slots=1, **{arguments}) as m:
        f = m.submit(work, *sys.argv[1:])
        print(m.folder, flush=True)
        {wait}
"""


def running(script, tmp_path: Path, wait: str, arguments: str = "{}"):
    """A script whose task has begun, and the folder of its mesh."""
    begun = tasks.pipe_at(tmp_path / "begun")
    source = RUNS_LONG.replace("{wait}", wait).replace("{arguments}", arguments)
    each = script(source, "unused", begun)
    folder = Path(each.line())
    tasks.heard_at(begun)
    return each, folder


@pytest.mark.parametrize(
    "wait", ["f.result()", "pass  # waits at the end of the with block"], ids=["inside", "leaving"]
)
def test_an_interrupted_script_ends_at_once_and_takes_its_mesh_with_it(
    script, tmp_path: Path, wait: str, nothing_left_behind: Leftovers
) -> None:
    each, folder = running(script, tmp_path, wait)
    each.send(signal.SIGINT)
    assert await_end(each.pid, GONE_S)
    assert each.process.wait() == -signal.SIGINT or "KeyboardInterrupt" in each.errors()
    assert all_gone(nothing_left_behind)
    assert not folder.exists()


def test_an_interrupt_of_the_terminal_does_not_hit_the_tasks(
    script, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    printed = script(
        """
        import os, signal
        from mesh import Mesh
        with Mesh(slots=1) as m:
            f = m.submit(lambda: __import__("time").sleep(0.3) or "whole")
            m.wait_for_slots(1)
            try:
                os.killpg(0, signal.SIGINT)     # what a terminal does
                f.result()
            except KeyboardInterrupt:
                print(f.result())
        """
    ).finish()
    assert printed == "whole\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_script_takes_its_temporary_mesh_with_it(
    script, tmp_path: Path, number: int, nothing_left_behind: Leftovers
) -> None:
    each, folder = running(script, tmp_path, "f.result()")
    assert len(nothing_left_behind.processes()) == 5  # script, router, worker, warden, slot
    each.send(number)
    each.process.wait()
    assert all_gone(nothing_left_behind)
    assert not folder.exists()


def test_a_killed_script_leaves_the_folder_it_named(
    script, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    each, folder = running(script, tmp_path, "f.result()", f"{{'dir': {str(tmp_path / 'own')!r}}}")
    each.kill()
    assert all_gone(nothing_left_behind)
    assert folder == tmp_path / "own" and (folder / "router").is_dir()


@pytest.mark.parametrize("name", ["router", "worker"])
def test_who_has_lost_its_owner_before_it_is_ready_leaves_nothing(
    tmp_path: Path, name: str
) -> None:
    folder, log = tmp_path / "own", tmp_path / "log"
    options = {
        "folder": str(folder if name == "router" else folder / "worker"),
        "access": str(folder / "access.json"),
        "slots": 1,
        "durability": "process",
        "temporary": True,
    }
    folder.mkdir(mode=0o700)
    (life, held), (answer, ready) = os.pipe(), os.pipe()
    process = spawn.service(name, options | {"ready": ready}, log, [life, ready])
    for each in (life, held, answer, ready):  # as if it had been killed just now
        os.close(each)
    assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()
    assert not folder.exists()


def test_a_fork_that_lives_on_does_not_keep_the_mesh_of_a_killed_script(
    script, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    begun = tasks.pipe_at(tmp_path / "begun")
    each = script(
        """
        import os, sys, time
        from mesh import Mesh
        with Mesh(slots=1) as m:
            m.wait_for_slots(1)
            pid = os.fork()
            if not pid:
                time.sleep(600)
            print(pid, m.status()["router"]["pid"], m.status()["workers"][0]["pid"], flush=True)
            m.submit(time.sleep, 600).result()
        """,
        begun,
    )
    child, router, worker = map(int, each.line().split())
    each.kill()
    try:
        assert await_end(router, GONE_S) and await_end(worker, GONE_S)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_task_that_was_left_in_a_thread_does_not_keep_anything_alive(
    nothing_left_behind: Leftovers,
) -> None:
    def leave_a_thread() -> int:
        threading.Thread(target=time.sleep, args=[600]).start()
        return os.getpid()

    with Mesh(slots=1) as m:
        assert m.submit(leave_a_thread).result(20) > 0
        assert m.submit(pow, 2, 2).result(20) == 4
    assert all_gone(nothing_left_behind)


def test_a_command_that_a_task_left_running_ends_with_the_mesh(
    nothing_left_behind: Leftovers,
) -> None:
    def leave_a_command() -> int:
        return subprocess.Popen(["sleep", "600"]).pid

    with Mesh(slots=1) as m:
        pid = m.submit(leave_a_command).result(20)
    assert await_end(pid, GONE_S)


@pytest.mark.parametrize("end", [tasks.exit_at_once, tasks.kill_itself])
def test_what_a_task_started_ends_with_a_slot_that_dies_by_itself(
    own_mesh: Mesh, tmp_path: Path, end: Callable[[int], None]
) -> None:
    def start_and_die(said: str, end: Callable[[int], None]) -> None:
        command = subprocess.Popen(["sleep", "600"])
        with open(said, "w") as file:
            file.write(str(command.pid))
        end(signal.SIGSEGV)

    said = tasks.pipe_at(tmp_path / "said")
    future = own_mesh.submit(start_and_die, said, end)
    for _ in range(3):  # its runs
        assert await_end(int(tasks.heard_at(said)), GONE_S)
    with pytest.raises(WorkerLost):
        future.result(20)


def test_leaving_waits_for_no_answer_that_will_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LEAVE_S", 1.0)
    m = Mesh(dir=tmp_path / "own", slots=1)
    future = m.submit(pow, 2, 10)
    assert future.result(20) == 1024
    m.flush(20)
    router = m.status()["router"]["pid"]
    os.kill(router, signal.SIGSTOP)
    begun = time.monotonic()
    m.shutdown()
    assert time.monotonic() - begun < 15
    assert await_end(router, 0)
    with Mesh(dir=tmp_path / "own", slots=1) as m:
        assert m.result(future.id, 20) == 1024


def test_a_collected_mesh_object_does_no_harm() -> None:
    m = Mesh(slots=1)
    m.shutdown()
    del m
    gc.collect()
    with pytest.raises(RouterUnreachable):
        Mesh(access="/nonexistent/access.json")
    gc.collect()
