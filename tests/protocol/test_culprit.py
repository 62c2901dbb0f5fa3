"""What cannot be pickled is named by the user's own name for it."""

from __future__ import annotations

import functools
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mesh.errors import PayloadError
from mesh.protocol import functions, payload
from mesh.protocol.culprit import DEPTH_MAX, of_function, of_value

GUARD = threading.Lock()


class Model:
    def __init__(self) -> None:
        self.layers = [1, {"guard": GUARD}]

    def run(self) -> None: ...


def takes_a_variable() -> Callable[[], object]:
    gate = {"open": GUARD}
    return lambda: gate


def takes_a_global() -> object:
    return GUARD


def takes_a_default(guard: object = GUARD) -> object:
    return guard


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (takes_a_variable(), "`gate['open']` (lock)"),
        (takes_a_global, "`GUARD` (lock)"),
        (takes_a_default, "`guard` (lock)"),
        (Model().run, "`self.layers[1]['guard']` (lock)"),
        (functools.partial(print, 1, GUARD), "`argument 2` (lock)"),
        (functools.partial(print, end=[GUARD]), "`end[0]` (lock)"),
        (print, ""),
    ],
)
def test_what_a_function_takes_along_is_named(function: Callable[..., Any], named: str):
    assert of_function(function, pickle.dumps) == named


def test_the_part_of_a_value_is_named_and_not_the_value_itself():
    assert of_value(Model(), pickle.dumps) == "its `.layers[1]['guard']` (lock)"
    assert of_value((0, [GUARD]), pickle.dumps) == "its `[1][0]` (lock)"
    assert of_value(GUARD, pickle.dumps) == of_value([1], pickle.dumps) == ""


def test_what_contains_itself_or_is_very_deep_is_not_searched_for_ever():
    around: list[Any] = [GUARD]
    around.insert(0, around)
    assert of_value(around, pickle.dumps) == "", "all that it found is the list itself"
    deep: Any = GUARD
    for _ in range(3 * DEPTH_MAX):
        deep = [deep]
    assert of_value(deep, pickle.dumps) == f"its `{'[0]' * DEPTH_MAX}` (list)"


def test_errors_say_it():
    with pytest.raises(PayloadError, match=r"`gate\['open'\]` \(lock\) exists in this process alo"):
        functions.pack(takes_a_variable())
    with pytest.raises(PayloadError, match=r"argument 1 \(list\).*which is its `\[0\]` \(lock\)"):
        payload.dump_arguments(([GUARD],), {})
    with pytest.raises(PayloadError, match=r"argument 1 \(generator\).*make it a list"):
        payload.dump_arguments(((x for x in "ab"),), {})
