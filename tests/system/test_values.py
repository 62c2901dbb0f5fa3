"""What goes in and comes out: arguments, results and errors of every size and kind."""

from __future__ import annotations

import enum
import sys
import traceback
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sample_tasks as tasks

from mesh import Mesh, MeshError, PayloadError, TaskFailed
from mesh.core.events import Settings
from mesh.errors import RemoteTraceback
from mesh.protocol import payload

INLINE = Settings().inline_bytes


def echo(value: Any) -> Any:
    return value


# -- results and arguments of every size ----------------------------------------------------------


def bytes_whose_payload_takes(size: int) -> bytes:
    """Bytes that are exactly `size` bytes when pickled."""
    guess = bytes(size)
    excess = len(payload.join(payload.dump(guess))) - size
    value = bytes(size - excess)
    assert len(payload.join(payload.dump(value))) == size
    return value


@pytest.mark.parametrize(
    "size", [16, 4096, INLINE - 1, INLINE, INLINE + 1, 32_767, 32_768, 32_769, 100_000, 1_000_000]
)
def test_bytes_around_every_threshold_come_back_whole(mesh: Mesh, size: int) -> None:
    value = bytes_whose_payload_takes(size)
    assert mesh.submit(echo, value).result(20) == value
    assert mesh.submit_many(echo, [value, value]).results(timeout=20) == [value, value]


@pytest.mark.parametrize(("inline", "stored"), [(100, 4), (10_000, 3), (10**6, 2)])
def test_a_mesh_decides_which_results_stay_with_the_worker(
    tmp_path: Path, inline: int, stored: int
) -> None:
    """From the first task on, and never more than fits a packet."""
    with Mesh(dir=tmp_path / "own", slots=1, settings={"inline_bytes": inline}) as m:
        for size in (50, 5_000, 30_000, 40_000, 200_000):
            assert len(m.submit(bytes, size).result(20)) == size
    content = tmp_path / "own" / "worker" / "content"
    assert sum(path.is_file() for path in content.rglob("*")) == stored


@pytest.mark.parametrize("size", [0, 1, 500, 511, 512, 1000, 1024, 1025, 4095, 4096, 4097, 130_000])
def test_arrays_of_every_size_come_back_and_can_be_written_to(mesh: Mesh, size: int) -> None:
    value = np.arange(size, dtype=np.float64)

    def add_one(array: np.ndarray) -> np.ndarray:
        array += 1  # in place: what a task is given is its own
        return array

    result = mesh.submit(add_one, value).result(20)
    np.testing.assert_array_equal(result, np.arange(size) + 1)
    result += 1
    assert size == 0 or value[0] == 0, "the caller's array is the caller's"


def test_arrays_of_every_layout_come_back(mesh: Mesh) -> None:
    square = np.arange(90_000, dtype=np.float32).reshape(300, 300)
    record = np.zeros(3000, dtype=[("x", "f8"), ("name", "U5")])
    arrays = [square, square.T, square[::2, ::3], record, np.array(["a", None], dtype=object)]
    arrays += [np.array(3.5), square[:0], np.asfortranarray(square)]
    for sent, came in zip(arrays, mesh.submit_many(echo, arrays).results(timeout=20), strict=True):
        np.testing.assert_array_equal(came, sent)
        assert came.dtype == sent.dtype and came.shape == sent.shape


def test_twenty_megabytes_go_in_and_come_out(mesh: Mesh) -> None:
    value = np.random.default_rng(0).integers(0, 255, 20_000_000, dtype=np.uint8)
    future = mesh.submit(echo, value)
    np.testing.assert_array_equal(future.result(20), value)
    assert future.result(20) is future.result(20), "fetched once"


def test_a_large_result_can_be_taken_by_several_threads_and_twice(mesh: Mesh) -> None:
    from concurrent.futures import ThreadPoolExecutor

    futures = [mesh.submit(bytes, 3_000_000) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(lambda future: len(future.result(20)), futures * 2))
    assert sizes == [3_000_000] * 8
    assert len(mesh.result(futures[0].id, 20)) == 3_000_000


def test_a_large_function_travels(mesh: Mesh) -> None:
    table = np.arange(500_000)

    def look_up(i: int) -> int:
        return int(table[i])

    assert mesh.submit_many(look_up, [1, 499_999]).results(timeout=20) == [1, 499_999]


def test_many_large_arguments_go_through_a_bounded_window(mesh: Mesh) -> None:
    group = mesh.submit_many(len, [bytes(3_000_000) for _ in range(10)])
    assert group.results(timeout=20) == [3_000_000] * 10


# -- values of every kind -------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: float
    y: float = 0.0

    def moved(self, by: float) -> Point:
        return Point(self.x + by, self.y)


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize(
    "value",
    [None, True, 2**100, 1.5, float("inf"), "\udcff surrogate", "ünï", b"", (), [[]], {}, {1, 2}]
    + [slice(1, 2), range(3), Ellipsis, frozenset("ab"), {"nested": [({1: b"x"},)]}, Pair(1, 2)]
    + [Colour.RED, Point(1, 2), int, Point, echo, types.SimpleNamespace(a=1), Path("a/b")],
    ids=lambda value: type(value).__name__,
)
def test_plain_values_and_the_users_own_come_back_equal(mesh: Mesh, value: Any) -> None:
    came = mesh.submit(echo, value).result(20)
    if callable(value) and not isinstance(value, type):
        assert came(3) == value(3)
    else:
        assert came == value and type(came) is type(value)


def test_a_result_of_the_users_class_is_of_that_very_class(mesh: Mesh) -> None:
    came = mesh.submit(Point(1).moved, 2).result(20)
    assert type(came) is Point and came == Point(3)
    assert mesh.submit(lambda: Colour.BLUE).result(20) is Colour.BLUE


def test_an_argument_of_the_users_class_is_one_for_the_task_too(mesh: Mesh) -> None:
    def kind(value: Any) -> list[bool]:
        return [isinstance(value, Point), value == Point(1, 2), value.moved(1) == Point(2, 2)]

    assert mesh.submit(kind, Point(1, 2)).result(20) == [True, True, True]
    assert mesh.submit(lambda colour: colour is Colour.RED, Colour.RED).result(20)
    assert mesh.submit(echo, [Point(1)] * 2).result(20) == [Point(1), Point(1)]


def test_one_object_given_twice_arrives_as_one(mesh: Mesh) -> None:
    row = [1]
    assert mesh.submit(lambda a, b: a is b, row, row).result(20)


# -- errors ---------------------------------------------------------------------------------------


class Overheated(Exception):
    """An error of the user's own, with more than a message."""

    def __init__(self, message: str, degrees: float) -> None:
        super().__init__(message, degrees)
        self.degrees = degrees


class HoldsAFile(Exception):
    """Cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.file = open(sys.executable, "rb")  # noqa: SIM115


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def slots_of(mesh: Mesh) -> set[int]:
    (worker,) = mesh.status()["workers"]
    return {slot["pid"] for slot in worker["slots"]}


def overheat() -> None:
    raise Overheated("too hot", 451.0)


def raise_it(kind: type[BaseException], *args: Any) -> None:
    raise kind(*args)


def test_an_error_comes_back_with_the_remote_traceback_as_its_cause(mesh: Mesh) -> None:
    future = mesh.submit(overheat)
    with pytest.raises(Overheated, match="too hot") as caught:
        future.result(20)
    assert caught.value.degrees == 451.0
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in overheat" in str(cause) and "451" in str(cause) and "process" in str(cause)
    assert "mesh/processes" not in str(cause), "our own frames are no concern of the user's"
    assert "in overheat" in "".join(traceback.format_exception(caught.value))
    assert future.exception() is caught.value and future.done() and not future.cancelled()


def test_causes_notes_and_chains_of_an_error_are_in_its_text(mesh: Mesh) -> None:
    def chained() -> None:
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as error:
            raise KeyError("spin") from error

    with pytest.raises(KeyError, match="spin") as caught:
        mesh.submit(chained).result(20)
    assert "ZeroDivisionError" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("error", "args", "text"),
    [
        (HoldsAFile, ("held",), "HoldsAFile: held"),
        (Unspeakable, (), "its message cannot be had"),
    ],
)
def test_an_error_that_cannot_be_rebuilt_arrives_as_task_failed_with_its_text(
    mesh: Mesh, error: type[Exception], args: tuple[str, ...], text: str
) -> None:
    future = mesh.submit(raise_it, error, *args)
    with pytest.raises((TaskFailed, Unspeakable)) as caught:
        future.result(20)
    if error is not Unspeakable:
        assert text in str(caught.value) and future.id in str(caught.value)
        assert caught.value.failure is not None and caught.value.failure.pid > 0
    assert "in raise_it" in str(caught.value.__cause__)


def test_leaving_by_sys_exit_fails_the_task_and_ends_nobody_else(mesh: Mesh) -> None:
    """A script that asks for the result must not be ended by it: TaskFailed, not SystemExit."""
    slots = slots_of(mesh)
    for kind, args, text in (
        (SystemExit, (3,), "SystemExit: 3"),
        (KeyboardInterrupt, (), "KeyboardInterrupt"),
        (GeneratorExit, (), "GeneratorExit"),
    ):
        future = mesh.submit(raise_it, kind, *args)
        with pytest.raises(TaskFailed, match=text):
            future.result(20)
        assert isinstance(future.exception(), TaskFailed)
    with pytest.raises(TaskFailed, match="SystemExit"):
        mesh.submit(sys.exit).result(20)
    assert slots_of(mesh) == slots


def test_a_task_may_raise_the_errors_that_waiting_raises_too(mesh: Mesh) -> None:
    future = mesh.submit(raise_it, TimeoutError, "the instrument is slow")
    assert isinstance(future.exception(20), TimeoutError)
    with pytest.raises(TimeoutError, match="instrument"):
        future.result(20)
    assert isinstance(mesh.submit(raise_it, MeshError, "mine").exception(20), MeshError)


def test_a_failed_future_raises_the_same_error_each_time(mesh: Mesh) -> None:
    future = mesh.submit(tasks.fail, "again")
    errors = []
    for _ in range(2):
        with pytest.raises(ValueError, match="again") as caught:
            future.result(20)
        errors.append(caught.value)
    assert errors[0] is errors[1] is future.exception()


def test_an_error_with_a_huge_message_or_traceback_arrives(mesh: Mesh) -> None:
    with pytest.raises(ValueError, match="xxxx"):
        mesh.submit(tasks.fail, "x" * 1000).result(20)
    with pytest.raises((ValueError, TaskFailed), match="xxxx"):
        mesh.submit(tasks.fail, "x" * 1_000_000).result(20)
    with pytest.raises((ValueError, TaskFailed)):
        mesh.submit(tasks.fail, "\N{SNOWMAN}" * 1_000_000).result(20)

    def deep(n: int) -> None:
        deep(n - 1) if n else tasks.fail("at the bottom")

    with pytest.raises(ValueError, match="at the bottom"):
        mesh.submit(deep, 900).result(20)
    with pytest.raises(RecursionError):
        mesh.submit(deep, 10**6).result(20)


# -- what cannot travel ---------------------------------------------------------------------------


class Stubborn:
    def __init__(self, error: type[BaseException] = RuntimeError) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error("I stay here")


def test_an_argument_that_cannot_be_pickled_is_named(mesh: Mesh) -> None:
    import threading

    with pytest.raises(PayloadError, match=r"argument 2 \(lock\).*cannot be pickled"):
        mesh.submit(echo, 1, threading.Lock())
    with pytest.raises(PayloadError, match=r"argument device= \(Stubborn\).*I stay here"):
        mesh.submit(echo, device=Stubborn())
    with pytest.raises(PayloadError, match="argument 1"):
        mesh.submit(echo, (i for i in range(3)))
    assert mesh.submit(echo, 1).result(20) == 1


def test_a_function_that_cannot_be_pickled_is_named(mesh: Mesh) -> None:
    held = open(sys.executable, "rb")  # noqa: SIM115

    def reads() -> bytes:
        return held.read(1)

    with held, pytest.raises(PayloadError, match=r"function test_values:.*reads.*make it inside"):
        mesh.submit(reads)
    with pytest.raises(PayloadError):
        mesh.submit_many(reads, kwargs=[{}])
    assert mesh.submit(echo, 1).result(20) == 1


def test_a_result_that_cannot_be_pickled_fails_its_task_alone(mesh: Mesh) -> None:
    import threading

    def locked(x: int) -> Any:
        return threading.Lock() if x == 1 else x

    group = mesh.submit_many(locked, range(3))
    assert group.wait(20)
    assert group.results(errors="skip") == [0, 2]
    (error,) = group.errors().values()
    assert isinstance(error, PayloadError) and "result (lock) cannot be pickled" in str(error)
    with pytest.raises(PayloadError, match="result"):
        mesh.submit(Stubborn, KeyboardInterrupt).result(20)
    with pytest.raises(PayloadError, match="result"):
        mesh.submit(iter, [1]).result(20) if sys.version_info >= (3, 14) else mesh.submit(
            lambda: (x for x in [1])
        ).result(20)


def test_an_argument_that_cannot_be_unpickled_there_fails_its_task_alone(mesh: Mesh) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (tasks.fail, ("it was a trap",))

    class Exit:
        def __reduce__(self) -> Any:
            return (sys.exit, (7,))

    with pytest.raises(PayloadError, match=r"cannot be loaded on the worker.*it was a trap"):
        mesh.submit(echo, Trap()).result(20)
    with pytest.raises(PayloadError, match="SystemExit"):
        mesh.submit(echo, Exit()).result(20)
    assert mesh.submit(echo, 1).result(20) == 1


def test_one_bad_member_fails_alone_wherever_it_stands(mesh: Mesh) -> None:
    import threading

    for at in (0, 2, 4):
        arguments: list[Any] = list(range(5))
        arguments[at] = threading.Lock()
        group = mesh.submit_many(echo, arguments)
        assert group.wait(20)
        assert group.results(errors="skip") == [i for i in range(5) if i != at]
        assert isinstance(group.errors()[at], PayloadError)
        assert "argument 1 (lock)" in str(group.errors()[at])
    group = mesh.submit_many(echo, [threading.Lock(), threading.Lock()])
    assert group.wait(20) and len(group.errors()) == 2
    with pytest.raises(PayloadError):
        group.results()
    with pytest.raises(PayloadError):
        group[1].result(20)


def test_a_mesh_can_be_left_when_the_last_member_could_not_be_sent() -> None:
    import threading

    with Mesh(slots=1) as m:
        mixed = m.submit_many(echo, [1, 2, threading.Lock()])
        none = m.submit_many(echo, [threading.Lock()])
    assert mixed.results(errors="skip") == [1, 2] and none.results(errors="skip") == []


def test_a_result_whose_class_is_not_here_says_so(mesh: Mesh) -> None:
    def foreign() -> Any:
        module = types.ModuleType("only_there")
        sys.modules["only_there"] = module
        exec("class Thing:\n    pass", module.__dict__)
        return module.Thing()

    future = mesh.submit(foreign)
    with pytest.raises(PayloadError, match=r"result of .* cannot be unpickled here.*only_there"):
        future.result(20)
    assert future.exception() is None, "the task itself went well"


def test_an_error_whose_class_is_not_here_is_told_in_words(mesh: Mesh) -> None:
    def foreign() -> None:
        module = types.ModuleType("only_there_too")
        sys.modules["only_there_too"] = module
        exec("class Oops(Exception):\n    pass", module.__dict__)
        raise module.Oops("over there")

    with pytest.raises(TaskFailed, match=r"only_there_too\.Oops: over there"):
        mesh.submit(foreign).result(20)


def test_a_module_that_is_not_there_is_named_with_advice(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("only_here")
    monkeypatch.setitem(sys.modules, "only_here", module)
    exec("def work():\n    return 1", module.__dict__)
    with pytest.raises(PayloadError, match="No module named 'only_here'; install the module"):
        mesh.submit(module.work).result(20)
    assert mesh.submit(echo, 1).result(20) == 1
