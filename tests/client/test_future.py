"""A future that raises leaves no cycle behind, and one that is taken for its value says so."""

from __future__ import annotations

import gc
import inspect
import weakref
from collections.abc import Callable, Iterable, Sized
from typing import Any

import pytest
from test_waiting import OWN, Nobody

from mesh.client.future import Future
from mesh.errors import TaskFailed
from mesh.protocol.outcome import failure_body
from mesh.task import Kind


def failed() -> Future:
    """A future of a task that raised."""
    future = Future(Nobody(), OWN, 17)
    future.settle(Kind.ERROR, failure_body("theirs.Odd", "why"))
    return future


def arguments_shown(held: list[Future]) -> dict[str, object]:
    """The arguments of `result` that a shell finds in the traceback; the future is `held` no
    more."""
    try:
        held.pop().result(1.0)
    except TaskFailed as error:
        assert error.__traceback__ is not None and error.__traceback__.tb_next is not None
        found = inspect.getargvalues(error.__traceback__.tb_next.tb_frame)
        return {name: found.locals[name] for name in found.args}
    raise AssertionError("it has not raised")


def test_an_error_shows_the_arguments_of_result_and_keeps_no_future_alive():
    held = [failed()]
    gone = weakref.ref(held[0])
    gc.disable()
    try:
        assert arguments_shown(held)["timeout"] == 1.0
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "slip",
    [
        lambda f: f + 1,
        lambda f: 2 * f,
        lambda f: sum([f, f]),
        lambda f: pow(f, 2, 5),
        lambda f: f < 3,
        lambda f: sorted([f, f]),
        lambda f: f.mean(),
    ],
)
def test_who_takes_it_for_its_value_is_told_what_that_is(slip: Callable[[Any], object]):
    with pytest.raises((TypeError, AttributeError), match=r"its value.*\.result\(\)"):
        slip(failed())


class Symbol:
    """Of a library that makes expressions of whatever it is given."""

    def __radd__(self, other: object) -> str:
        return "other + symbol"

    def __gt__(self, other: object) -> str:
        return "symbol > other"


def test_who_tries_what_it_is_able_to_do_finds_what_any_future_does():
    future: Any = failed()

    assert not isinstance(future, (Sized, Iterable)) and future == future and bool(future)
    assert not hasattr(future, "shape") and not hasattr(future, "__array__")
    assert future + Symbol() == "other + symbol" and (future < Symbol()) == "symbol > other"
    with pytest.raises(AttributeError, match=r"no attribute '_repr_html_'$"):
        future._repr_html_()
