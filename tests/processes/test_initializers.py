"""What runs first in a process: once, for whom it counts, and what it leaves."""

from __future__ import annotations

import functools
import multiprocessing
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from typing import Any

import pytest

from mesh import InitializerFailed, MeshError
from mesh.client.initializer import check_context, initializer_of
from mesh.errors import PayloadError
from mesh.processes.initializers import Initializers
from mesh.protocol import context, functions, namespaces, parcel
from mesh.protocol.functions import Packed
from mesh.protocol.parcel import Initializer, Parcel, Source

SCRIPT = """
    import functools
    calls = []
    table, state, STEPS = None, {}, 1
    class Model:
        net = None
        def net_of(self): return self.net
    @functools.cache
    def cached(): return object()
    def set_up(a, b=0):
        global table, new
        table, new = (a, b), "new"
        state["a"] = a
        Model.net = "net"
        steps_of()
        cached()
    def steps_of(): return STEPS
    def look(): return table, new, dict(state), Model.net, STEPS, cached()
    def ask(models): return [model.net_of() for model in models]
    def keep(*args):
        global table
        table = args
    def kept_now(): return table
    def fail(): raise ValueError("no luck")
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A user's script, as a module that goes by value."""
    module = types.ModuleType("sim")
    module.__file__ = "/home/ann/sim.py"  # not installed
    monkeypatch.setitem(sys.modules, "sim", module)
    exec(textwrap.dedent(SCRIPT), vars(module))
    return module


class Slot:
    """Runs what is submitted to one mesh in this process, as slots do."""

    def __init__(self, initializers: Initializers, initializer: Initializer | None) -> None:
        self.initializers, self.initializer = initializers, initializer
        self.called = 0
        self.struck = False

    def world(self) -> Any:
        return self.initializer and self.initializers.world(self.initializer)

    def is_struck(self) -> bool:
        return self.struck

    def call(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self.called += 1
        return function(*args, **kwargs)

    def begin(self) -> BaseException | None:
        assert self.initializer is not None
        return self.initializers.run(self.initializer, self)  # type: ignore[arg-type]

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        come = parcel.parse(functions.pack(function).at("/home", self.initializer).payload)
        if come.initializer is not None:
            assert self.initializers.run(come.initializer, self) is None  # type: ignore[arg-type]
        return functions.load(come.call)(*args)


NewSlot = Callable[..., Slot]


@pytest.fixture
def slot(monkeypatch: pytest.MonkeyPatch) -> Iterator[NewSlot]:
    initializers = Initializers()

    def new(initializer: Any = None, *initargs: Any) -> Slot:
        made = Slot(initializers, initializer_of(initializer, initargs, with_modules=True))
        monkeypatch.setattr(namespaces, "ask", made.world)
        return made

    yield new


def test_what_it_sets_is_there_for_all_functions_of_its_mesh(slot: NewSlot, script: Any):
    first = slot(script.set_up, 3)

    seen = first.run(script.look)
    assert seen[:5] == ((3, 0), "new", {"a": 3}, "net", 1)
    assert first.run(lambda: script.table) == (3, 0), "of a module that comes as such, too"
    assert first.run(script.look)[5] is seen[5], "one cache"
    assert first.run(script.ask, [script.Model()]) == ["net"]
    assert first.called == 1
    assert slot().run(lambda: (script.table, script.state)) == (None, {}), "others have their own"
    assert (script.table, script.state) == (None, {})


def test_what_it_did_not_touch_is_as_it_was_when_a_function_was_submitted(
    slot: NewSlot, script: Any
):
    first = slot(script.set_up, 3)
    assert first.run(script.look)[4] == 1

    script.STEPS = 2

    assert first.run(script.look)[4] == 2


def test_it_is_known_by_its_code_and_arguments(slot: NewSlot, script: Any):
    counts = []
    for initargs in ((1,), (1,), (2,)):
        one = slot(script.keep, *initargs)
        assert one.run(script.kept_now) == initargs
        counts.append(one.called)

    assert counts == [1, 0, 1]


def test_one_that_raised_is_told_again_and_is_an_error_of_both_trees(slot: NewSlot, script: Any):
    one = slot(script.fail)
    told = [one.begin() for _ in range(2)]

    assert one.called == 1
    for error in told:
        assert isinstance(error, InitializerFailed)
        assert isinstance(error, MeshError) and isinstance(error, BrokenExecutor)
        assert str(error) == "the initializer of this mesh failed: ValueError: no luck"
        assert isinstance(error.__cause__, ValueError)


def test_after_one_that_raised_a_task_that_is_run_again_needs_another_process(
    slot: NewSlot, script: Any
):
    one, other = slot(script.fail), slot(script.set_up, 1)
    again = context.PLAIN._replace(attempts={7: 2})
    why_not = one.initializers.why_not

    assert one.begin() and other.begin() is None

    assert why_not(one.initializer, context.PLAIN) is None
    assert "run again" in (why_not(one.initializer, again) or "")
    assert why_not(other.initializer, again) is why_not(None, again) is None


def test_threads_wait_for_the_first_and_an_interrupted_one_is_begun_anew(slot: NewSlot):
    initializers = slot().initializers
    began, goes_on = threading.Event(), threading.Event()
    told: list[BaseException | None] = []
    first, second, struck = (Slot(initializers, Initializer(b"i", b"", {})) for _ in range(3))
    first.initializer = second.initializer = struck.initializer = initializer_of(
        len, ("",), with_modules=True
    )

    def interrupted(*_: Any) -> None:
        began.set()
        goes_on.wait(20)
        raise KeyboardInterrupt

    first.call = interrupted  # type: ignore[method-assign]
    threads = [threading.Thread(target=lambda: told.append(first.begin()))]
    threads[0].start()
    assert began.wait(20)
    waits = threading.Thread(target=lambda: told.append(struck.begin()))
    waits.start()
    struck.struck = True
    initializers.wake()
    waits.join(20)
    assert isinstance(told.pop(), KeyboardInterrupt), "who waits can be interrupted"
    threads.append(threading.Thread(target=lambda: told.append(second.begin())))
    threads[1].start()
    goes_on.set()
    for each in threads:
        each.join(20)

    assert sorted(type(each).__name__ for each in told) == ["KeyboardInterrupt", "NoneType"]
    assert second.called == 1


def test_it_travels_with_the_function_and_changes_no_id():
    source = Source("/x/helper.py", False, b"X = 1", b"12345678")
    newer = source._replace(text=b"X = 2")
    first = Initializer(b"d" * 16, b"Nos:getpid", {"helper": source, "more": source})
    packed = Packed(b"", "m:f", b"code", b"", True, Parcel(b"Nmath:sqrt", "", {"helper": newer}))

    placed = packed.at("/home", first)
    come = parcel.parse(placed.payload)

    assert (come.call, come.home) == (b"Nmath:sqrt", "/home")
    assert come.initializer is not None and come.initializer[:2] == (b"d" * 16, b"Nos:getpid")
    assert come.sources == {"helper": newer, "more": source}, "the function's win"
    assert (placed.code, placed.name) == (packed.code, packed.name)
    assert placed.digest != packed.at("/home").digest
    with pytest.raises(PayloadError, match="cut short"):
        parcel.parse(placed.payload[: -len("Nmath:sqrt")])


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ((5, ()), TypeError, "initializer is a callable, not 5"),
        ((print, "path"), TypeError, r"initargs is a tuple of arguments.*not 'path'"),
        ((print, 5), TypeError, "initargs is a tuple"),
        ((print, (threading.Lock(),)), PayloadError, "function builtins:print cannot be pickled"),
        ((print, (bytes(300_000_000),)), PayloadError, "have it read a file.*are not sent"),
    ],
)
def test_what_cannot_be_one_is_refused(given: Any, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        initializer_of(*given, with_modules=True)


def test_a_context_of_multiprocessing_is_accepted_and_nothing_else():
    check_context(None)
    check_context(multiprocessing.get_context("spawn"))
    with pytest.raises(TypeError, match=r"mp_context is what multiprocessing\.get_context"):
        check_context("spawn")


def test_without_one_there_is_none_and_a_partial_is_one():
    assert initializer_of(None, (1, 2), with_modules=True) is None
    assert initializer_of(functools.partial(print, 1), (), with_modules=True) is not None
