"""Calls through the client: submit, groups, map, options."""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sample_tasks as tasks

from mesh import Mesh, TaskNotFound, TaskOutOfMemory, TaskTimeout, task
from mesh.options import OPTIONS


def add(a: int, b: int = 0, *, c: int = 0) -> int:
    return a + b + c


# -- submit --------------------------------------------------------------------------------------


def test_a_call_gives_its_result(mesh: Mesh) -> None:
    future = mesh.submit(add, 1, b=2, c=3)
    assert future.result(20) == 6
    assert future.done() and not future.cancelled() and not future.running()
    assert future.exception(20) is None


def test_positional_only_names_of_submit_are_the_users_own(mesh: Mesh) -> None:
    assert mesh.submit(dict, fn=1, self=2, options=3).result(20) == {
        "fn": 1,
        "self": 2,
        "options": 3,
    }


def test_all_kinds_of_callables_travel(mesh: Mesh) -> None:
    offset = 10

    def closure(x: int) -> int:
        return x + offset

    class Adder:
        def __init__(self, by: int) -> None:
            self.by = by

        def __call__(self, x: int) -> int:
            return x + self.by

        def method(self, x: int) -> int:
            return x - self.by

        @staticmethod
        def static(x: int) -> int:
            return 2 * x

    calls = [
        (pow, (2, 5), 32),
        (os.path.join, ("a", "b"), "a/b"),
        ("{}!".format, ("hey",), "hey!"),
        (lambda x: x * x, (7,), 49),
        (closure, (1,), 11),
        (functools.partial(add, 1, c=5), (2,), 8),
        (Adder(3), (1,), 4),
        (Adder(3).method, (1,), -2),
        (Adder.static, (4,), 8),
        (complex, (1, 2), 1 + 2j),
        (functools.partial(functools.partial(add, 1), 2), (), 3),
    ]
    futures = [mesh.submit(function, *args) for function, args, _ in calls]
    assert [future.result(20) for future in futures] == [expected for _, _, expected in calls]


def test_a_function_that_changes_between_calls_is_sent_anew(mesh: Mesh) -> None:
    values = []
    for step in range(3):

        def current() -> int:
            return step  # noqa: B023  # the very point

        values.append(mesh.submit(current))
    scale = {"by": 1}

    def scaled(x: int) -> int:
        return x * scale["by"]

    before = mesh.submit(scaled, 5)
    scale["by"] = 7
    after = mesh.submit(scaled, 5)
    assert [each.result(20) for each in values] == [0, 1, 2]
    assert (before.result(20), after.result(20)) == (5, 35)


def test_arguments_are_taken_as_they_are_at_the_call(mesh: Mesh) -> None:
    row = [1, 2]
    future = mesh.submit(sum, row)
    row.append(1000)
    assert future.result(20) == 3


def test_what_cannot_be_called_is_refused_at_once(mesh: Mesh) -> None:
    with pytest.raises(TypeError, match="callable"):
        mesh.submit(3)  # type: ignore[arg-type]
    assert mesh.submit(add, 1).result(20) == 1


def test_thousands_of_calls_from_several_threads_all_come_back(mesh: Mesh) -> None:
    def work(thread: int) -> list[int]:
        futures = [mesh.submit(add, thread, i) for i in range(500)]
        return [future.result(30) for future in futures]

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(work, range(4)))
    assert answers == [[thread + i for i in range(500)] for thread in range(4)]


def test_task_ids_are_distinct_and_show_their_order(mesh: Mesh) -> None:
    ids = [mesh.submit(add, i).id for i in range(10)]
    sessions = {id.partition(".")[0] for id in ids}
    numbers = [int(id.partition(".")[2]) for id in ids]
    assert len(sessions) == 1 and numbers == sorted(set(numbers))


# -- groups --------------------------------------------------------------------------------------


def test_a_group_gives_its_results_in_order(mesh: Mesh) -> None:
    group = mesh.submit_many(add, range(300), range(300))
    assert group.results(timeout=20) == [2 * i for i in range(300)]
    assert len(group) == 300
    assert group[299].result(20) == 598 and group[-1].id == group[299].id
    assert [future.result(20) for future in group[1:4]] == [2, 4, 6]
    with pytest.raises(IndexError):
        group[300]


def test_a_group_takes_keyword_arguments_ids_and_a_name(mesh: Mesh) -> None:
    group = mesh.submit_many(
        add, [1, 2], kwargs=[{"c": 10}, {"b": 20}], ids=["one", "two"], name="sums"
    )
    assert group.results(timeout=20) == [11, 22]
    assert mesh.result("two", 20) == 22
    assert mesh.group(group.id).name == "sums"
    only_keywords = mesh.submit_many(add, kwargs=({"a": i} for i in range(3)))
    assert only_keywords.results(timeout=20) == [0, 1, 2]


def test_the_shortest_iterable_decides_even_beside_an_endless_one(mesh: Mesh) -> None:
    group = mesh.submit_many(pow, range(4), itertools.repeat(2))
    assert group.results(timeout=20) == [0, 1, 4, 9]
    assert mesh.submit_many(pow, itertools.count(), [2, 2]).results(timeout=20) == [0, 1]
    assert mesh.submit_many(add, itertools.count(), kwargs=[{"c": 1}]).results(timeout=20) == [1]


def test_an_empty_group_has_ended(mesh: Mesh) -> None:
    group = mesh.submit_many(add, [])
    assert group.results(timeout=20) == [] and group.wait(20) and len(group) == 0
    assert list(group.progress())[-1].total == 0


def test_members_of_a_running_group_can_be_held_as_futures(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    group = mesh.submit_many(tasks.hold, [gate], ["value"])
    first, again = group[0], group[0]
    assert not first.done()
    tasks.let_go(gate)
    assert (first.result(20), again.result(20)) == ("value", "value")


def test_errors_of_a_group_are_raised_skipped_or_returned(mesh: Mesh) -> None:
    def odd(x: int) -> int:
        if x % 2:
            raise ValueError(f"{x} is odd")
        return x

    group = mesh.submit_many(odd, range(6))
    assert group.wait(20)
    with pytest.raises(ValueError, match="1 is odd"):
        group.results()
    assert group.results(errors="skip") == [0, 2, 4]
    returned = group.results(errors="return")
    assert returned[::2] == [0, 2, 4]
    assert [str(error) for error in returned[1::2]] == ["1 is odd", "3 is odd", "5 is odd"]
    assert {i: str(e) for i, e in group.errors().items()} == {i: f"{i} is odd" for i in (1, 3, 5)}
    status = group.status()
    assert (status["done"], status["failed"], status["total"]) == (3, 3, 6)
    with pytest.raises(ValueError, match="errors="):
        group.results(errors="ignore")


def test_an_error_of_a_group_is_raised_before_the_rest_has_ended(
    mesh: Mesh, tmp_path: Path
) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")

    def fail_or_hold(path: str | None) -> None:
        if path is None:
            raise ValueError("at once")
        tasks.hold(path)

    group = mesh.submit_many(fail_or_hold, [gate, None])
    with pytest.raises(ValueError, match="at once"):
        group.results(timeout=20)
    tasks.let_go(gate)
    assert group.wait(20)


def test_waiting_for_a_group_can_end_too_early(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    group = mesh.submit_many(tasks.hold, [gate])
    assert not group.wait(0.01)
    with pytest.raises(TimeoutError, match="1 of 1"):
        group.results(timeout=0.01)
    tasks.let_go(gate)
    assert group.wait(20)


def test_progress_ends_with_everything_done(mesh: Mesh) -> None:
    group = mesh.submit_many(tasks.nap, [0.01] * 20)
    steps = list(group.progress())
    assert (steps[-1].done, steps[-1].failed, steps[-1].total) == (20, 0, 20)
    assert [step.done for step in steps] == sorted({step.done for step in steps})


def test_ids_must_be_distinct_strings_and_as_many_as_the_calls(mesh: Mesh) -> None:
    for ids, error in (
        (["a"], "1 ids for 2 calls"),
        (["a", "a"], "'a' is there twice"),
        (["a", 3], "not 3"),
        (["a", ""], "not ''"),
    ):
        with pytest.raises((ValueError, TypeError), match=error):
            mesh.submit_many(add, [1, 2], ids=ids)
    with pytest.raises(TypeError, match="at least one iterable"):
        mesh.submit_many(add)
    assert mesh.submit_many(add, [1]).results(timeout=20) == [1]


# -- map -----------------------------------------------------------------------------------------


def test_map_gives_results_in_order(mesh: Mesh) -> None:
    assert list(mesh.map(add, range(1000), range(1000))) == [2 * i for i in range(1000)]
    assert list(mesh.map(add, [])) == []


def test_map_takes_from_an_endless_source_only_what_its_window_holds(mesh: Mesh) -> None:
    taken = 0

    def source():
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = mesh.map(add, source(), buffersize=16)
    assert taken <= 16, "submitted at the call"
    assert list(itertools.islice(results, 100)) == list(range(1, 101))
    assert taken <= 100 + 2 * 16
    results.close()


def test_map_that_is_left_cancels_all_that_is_open_at_once(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[int] = []
    cancel = mesh._connection.cancel
    monkeypatch.setattr(
        mesh._connection,
        "cancel",
        lambda spans, **more: orders.append(len(spans)) or cancel(spans, **more),
    )
    results = mesh.map(add, range(20_000))
    assert next(results) == 0
    results.close()
    assert len(orders) == 1, "what is cancelled by a later order begins meanwhile"


def test_map_gives_each_result_as_soon_as_it_is_there(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    results = mesh.map(lambda path: path and tasks.hold(path, "held"), [None, gate])
    assert next(results) is None  # though the second one has not ended
    tasks.let_go(gate)
    assert next(results) == "held"


def test_map_gives_what_comes_before_an_error(mesh: Mesh) -> None:
    results = mesh.map(lambda x: 6 // x, [3, 2, 0, 1])
    assert (next(results), next(results)) == (2, 3)
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_map_submits_its_first_window_at_the_call(mesh: Mesh, tmp_path: Path) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    results = mesh.map(tasks.hold, [gate], [5])
    tasks.let_go(gate)  # the task is there, though nobody has asked for its result
    assert list(results) == [5]


def test_map_has_a_timeout_from_the_call_on(mesh: Mesh, tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    results = mesh.map(tasks.say_and_hold, [begun], [gate], timeout=0.05)
    tasks.heard_at(begun)
    with pytest.raises(TimeoutError):
        list(results)
    tasks.let_go(gate)


def test_map_refuses_sizes_below_one(mesh: Mesh) -> None:
    for wrong in ({"chunksize": 0}, {"buffersize": 0}):
        with pytest.raises(ValueError, match="must be 1 or more"):
            mesh.map(add, [1], **wrong)
    assert list(mesh.map(add, [1], chunksize=100, buffersize=1)) == [1]


# -- options -------------------------------------------------------------------------------------


def test_an_unknown_option_lists_all(mesh: Mesh) -> None:
    for wrong in (lambda: mesh.options(retry=3), lambda: task(retry=3)):
        with pytest.raises(TypeError) as caught:
            wrong()
        for name in ("retry", "id", *OPTIONS):
            assert name in str(caught.value)
    with pytest.raises(ValueError, match="retries"):
        mesh.options(retries=-1)
    with pytest.raises(TypeError, match="time_limit"):
        mesh.options(time_limit="soon")


def test_an_id_of_ones_own_leads_to_the_task(mesh: Mesh) -> None:
    future = mesh.options(id="T=2.3").submit(add, 1)
    assert mesh.result("T=2.3", 20) == 1
    assert mesh.future("T=2.3").id == future.id
    assert mesh.result(future.id, 20) == 1


def test_the_same_id_again_is_the_same_task(mesh: Mesh, tmp_path: Path) -> None:
    once = mesh.options(id="once")
    gate = tasks.pipe_at(tmp_path / "gate")
    running, joined = once.submit(tasks.hold, gate, 4), once.submit(tasks.hold, gate, 4)
    tasks.let_go(gate)
    assert (running.result(20), joined.result(20)) == (4, 4)
    found = once.submit(tasks.hold, gate, 4)  # would wait for ever, were it run again
    assert found.result(20) == 4
    assert found.id == joined.id == running.id


def test_retries_are_further_runs_after_an_error(mesh: Mesh, tmp_path: Path) -> None:
    assert mesh.options(retries=2).submit(tasks.fail_until, str(tmp_path), 3).result(20) == 3
    (tmp_path / "runs").unlink()
    with pytest.raises(OSError, match="run 2"):
        mesh.options(retries=1).submit(tasks.fail_until, str(tmp_path), 5).result(20)
    assert (tmp_path / "runs").stat().st_size == 2


@pytest.mark.parametrize("error", [OSError, "OSError", (KeyError, "builtins.Exception")], ids=str)
def test_only_after_some_errors(mesh: Mesh, tmp_path: Path, error: Any) -> None:
    view = mesh.options(retries=2, retry_on=error, backoff=0)
    assert view.submit(tasks.fail_until, str(tmp_path), 3).result(20) == 3


def test_an_error_that_retry_on_leaves_out_is_the_end(mesh: Mesh, tmp_path: Path) -> None:
    view = mesh.options(retries=2, retry_on=[KeyError, ConnectionError])
    with pytest.raises(OSError, match="run 1"):
        view.submit(tasks.fail_until, str(tmp_path), 3).result(20)


def test_a_task_that_waits_for_its_next_run_can_be_cancelled(mesh: Mesh) -> None:
    waiting = mesh.options(retries=1, backoff=600).submit(int, "no number")
    watched = mesh.submit(pow, 2, 3)
    assert watched.result(20) == 8
    while mesh.status()["tasks"]["waiting"] == 0:  # each question is a round trip
        assert not waiting.done()
    assert waiting.cancel()


def test_larger_priorities_go_first(tmp_path: Path) -> None:
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    order = tmp_path / "order"

    def mark(letter: str) -> None:
        with open(order, "a") as file:
            file.write(letter)

    with Mesh(slots=1) as m:
        m.submit(tasks.say_and_hold, begun, gate)
        tasks.heard_at(begun)
        for letter, priority in (("d", -1), ("b", 0), ("c", 0), ("a", 5)):
            m.options(priority=priority).submit(mark, letter)
        m.flush(20)
        tasks.let_go(gate)
    assert order.read_text() == "abcd"


def test_a_time_limit_stops_a_run_and_says_so(mesh: Mesh) -> None:
    text = r"time_limit of 0\.2 s on .*, and was stopped: it was interrupted$"
    with pytest.raises(TaskTimeout, match=text) as caught:
        mesh.options(time_limit=0.2).submit(tasks.nap, 60).result(20)
    assert not isinstance(caught.value, TimeoutError)
    assert mesh.options(time_limit=60).submit(add, 1).result(20) == 1


@pytest.mark.parametrize("how", ["itself", "child"])
def test_a_run_that_takes_more_memory_than_it_may_is_stopped(mesh: Mesh, how: str) -> None:
    view = mesh.options(memory="200MB", retries=3)
    with pytest.raises(
        TaskOutOfMemory, match=r"it was killed by SIGKILL; its limit is memory=200 MB$"
    ) as caught:
        view.submit(tasks.grow, 1000, how).result(20)
    assert isinstance(caught.value, MemoryError)
    assert view.submit(tasks.grow, 20, how).result(20) == 20, "and what stays below it is not"


def test_a_time_limit_stops_what_holds_the_interpreter_and_masks_signals(mesh: Mesh) -> None:
    def stubborn() -> None:
        import ctypes
        import signal

        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))
        ctypes.PyDLL(None).sleep(60)  # PyDLL keeps the interpreter's lock

    with pytest.raises(TaskTimeout, match=r"and was stopped: it was killed by SIGKILL$"):
        mesh.options(time_limit=0.2).submit(stubborn).result(20)
    assert mesh.submit(add, 1).result(20) == 1


def test_options_of_the_call_win_over_the_tasks(mesh: Mesh, tmp_path: Path) -> None:
    @task(retries=2)
    def stubborn() -> int:
        return tasks.fail_until(str(tmp_path), 3)

    assert mesh.submit(stubborn).result(20) == 3
    (tmp_path / "runs").unlink()
    with pytest.raises(OSError, match="run 1"):
        mesh.options(retries=0).submit(stubborn).result(20)


def test_a_function_with_options_stays_a_plain_callable(mesh: Mesh) -> None:
    @task
    def plain(x: int) -> int:
        return x + 1

    @task(retries=1, priority=2)
    def marked(x: int) -> int:
        """Doc."""
        return x + 2

    assert (plain(1), marked(1), marked.__doc__, marked.__name__) == (2, 3, "Doc.", "marked")
    assert mesh.submit(plain, 1).result(20) == 2
    assert mesh.submit_many(marked, [1, 2]).results(timeout=20) == [3, 4]


def test_a_view_with_options_is_an_executor_that_can_be_refined(mesh: Mesh) -> None:
    view = mesh.options(retries=1).options(priority=3)
    assert view.submit(add, 1).result(20) == 1
    assert list(view.map(add, [1, 2])) == [1, 2]
    assert view.submit_many(add, [1, 2]).results(timeout=20) == [1, 2]
    with mesh.options(retries=1) as inside:
        assert inside.submit(add, 1).result(20) == 1
    assert mesh.submit(add, 2).result(20) == 2, "closing a view closes nothing"
    with pytest.raises(TypeError, match="ids="):
        mesh.options(id="x").submit_many(add, [1])


# -- asking --------------------------------------------------------------------------------------


def test_flush_waits_until_everything_is_recorded(mesh: Mesh) -> None:
    future = mesh.submit(add, 1)
    mesh.flush(20)
    assert future.result(20) == 1
    mesh.flush()


def test_what_does_not_exist_is_not_found(mesh: Mesh) -> None:
    group = mesh.submit_many(add, [1])
    single = mesh.submit(add, 1)
    for call, id in (
        (mesh.result, "nobody"),
        (mesh.future, "k3f9x2m2.17"),
        (mesh.group, "k3f9x2m2.17"),
        (mesh.cancel, "nobody"),
        (mesh.future, group.id),
        (mesh.group, single.id),
        (mesh.result, single.id.partition(".")[0] + ".999999999"),
    ):
        with pytest.raises(TaskNotFound):
            call(id)
    with pytest.raises(TaskNotFound, match="is no id"):
        mesh.result("")
    with pytest.raises(TypeError):
        mesh.result(None)
    assert mesh.result(group.id, 20) == [1]


def test_a_task_is_found_by_a_prefix_and_as_the_last_one(mesh: Mesh) -> None:
    future = mesh.submit(add, 41, 1)
    session, _, number = future.id.partition(".")
    assert mesh.result(f"{session[:3]}.{number}", 20) == 42
    assert mesh.result("last", 20) == 42


def test_status_tells_what_the_mesh_does(own_mesh: Mesh, tmp_path: Path) -> None:
    mesh = own_mesh
    begun, gate = tasks.pipe_at(tmp_path / "begun"), tasks.pipe_at(tmp_path / "gate")
    assert mesh.wait_for_slots(2, timeout=20) == 2
    assert mesh.submit(add, 1).result(20) == 1
    with pytest.raises(ValueError):
        mesh.submit(tasks.fail, "no").result(20)
    mesh.submit(tasks.say_and_hold, begun, gate)
    pid = int(tasks.heard_at(begun))
    status = mesh.status()
    assert status["schema"] == 1
    assert set(status["tasks"]) == {
        "waiting", "queued", "running", "done", "failed", "cancelled", "expired",
    }  # fmt: skip
    counts = {word: count for word, count in status["tasks"].items() if count}
    assert counts == {"running": 1, "done": 1, "failed": 1}
    assert {"pid", "epoch", "address", "uptime_s", "memory_bytes"} <= set(status["router"])
    (worker,) = status["workers"]
    assert {"id", "host", "pid", "incarnation", "slots", "last_seen_s"} <= set(worker)
    assert pid in {slot["pid"] for slot in worker["slots"]}
    tasks.let_go(gate)


def test_waiting_for_more_slots_than_there_are_ends_in_time(mesh: Mesh) -> None:
    with pytest.raises(TimeoutError, match=r"3 slots within 0\.1 s"):
        mesh.wait_for_slots(3, timeout=0.1)
    assert mesh.wait_for_slots(2, timeout=20) == 2


def test_slots_run_side_by_side(mesh: Mesh, tmp_path: Path) -> None:
    gates = [tasks.pipe_at(tmp_path / f"gate{i}") for i in range(2)]
    begun = [tasks.pipe_at(tmp_path / f"begun{i}") for i in range(2)]
    futures = mesh.submit_many(tasks.say_and_hold, begun, gates)
    pids = {tasks.heard_at(pipe) for pipe in begun}  # both have begun, none has ended
    assert len(pids) == 2 and str(os.getpid()) not in pids
    for gate in gates:
        tasks.let_go(gate)
    assert futures.wait(20)


def test_a_submitting_thread_waits_when_too_much_is_on_its_way(mesh: Mesh) -> None:
    block = bytes(1 << 20)
    futures = [mesh.submit(len, block) for _ in range(40)]  # five windows
    assert {future.result(30) for future in futures} == {1 << 20}


def test_a_thread_that_asks_does_not_stop_another_from_submitting(
    mesh: Mesh, tmp_path: Path
) -> None:
    gate = tasks.pipe_at(tmp_path / "gate")
    held = mesh.submit(tasks.hold, gate, "held")
    waiter = threading.Thread(target=held.result, args=[20])
    waiter.start()
    assert mesh.submit(add, 1).result(20) == 1
    tasks.let_go(gate)
    waiter.join()


# -- slots that are replaced ---------------------------------------------------------------------


@pytest.mark.parametrize(("count", "most"), [(7, 1), (100, 8)])
def test_a_slot_is_replaced_after_so_many_tasks(
    nothing_left_behind: object, count: int, most: int
) -> None:
    with Mesh(slots=2, max_tasks_per_child=most) as m:
        runs = Counter(m.submit_many(tasks.pid_of_slot, range(count)).results())
    assert sum(runs.values()) == count
    assert max(runs.values()) <= most


def test_a_slot_is_replaced_after_at_least_one_task() -> None:
    with pytest.raises(ValueError, match="max_tasks_per_child"):
        Mesh(max_tasks_per_child=0)
