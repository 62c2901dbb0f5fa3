"""The mark of a call's arguments: equal for equal arguments, in every process."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import shapes
from hypothesis import given

from mesh.protocol.marks import MARK_BYTES, mark

#: Calls as source, evaluated in other processes: the same line must give the same mark there.
CALLS = """
mark((1, 2.5, "x", b"y", None, True, 3j), {})
mark(({"spin", "up", "down", "left", "right"},), {})
mark((frozenset(range(100)) | frozenset("abcdefgh"),), {})
mark(({name: len(name) for name in {"alpha", "be", "gam", "d"}},), {})
mark((), {name: 0 for name in {"alpha", "be", "gam", "d"}})
mark(([{"deep": ({"a", "b", "c"}, [1])}],), {})
mark((Plain({"a", "b", "c", "d"}),), {})
mark((Slotted({"a", "b", "c", "d"}),), {})
mark((Data({"a", "b", "c", "d"}, ["x" + "y", "xy"]),), {})
mark((np.arange(10.0), np.float32(1.5)), {})
mark((collections.OrderedDict(a={"x", "y", "z"}),), {})
mark((collections.Counter("mississippi"),), {})
mark((pathlib.PurePath("a/b"), datetime.date(2024, 5, 17), decimal.Decimal("1.5")), {})
mark((Colour.RED, {Colour.RED, Colour.GREEN}), {})
mark((len, Data, np.sin, collections), {})
mark((square, lambda x: x in {"a", "b", "c"}), {})
mark((functools.partial(square, 3),), {})
""".strip().splitlines()

PRELUDE = """
import collections, dataclasses, datetime, decimal, enum, functools, pathlib
import numpy as np
from mesh.protocol.marks import mark

class Plain:
    def __init__(self, names): self.names = names

class Slotted:
    __slots__ = ("names",)
    def __init__(self, names): self.names = names

@dataclasses.dataclass
class Data:
    names: set
    texts: list

class Colour(enum.Enum):
    RED = 1
    GREEN = 2

def square(x):
    return x * x
"""


@pytest.fixture(scope="module")
def elsewhere() -> list[list[str]]:
    """The marks of CALLS in processes with other hash seeds."""
    lines = [PRELUDE, *(f"print({call}.hex())" for call in CALLS)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", "\n".join(lines)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "1", "4242")
    ]
    return [run.communicate()[0].splitlines() for run in runs]


@pytest.mark.parametrize("nth", range(len(CALLS)), ids=CALLS.__getitem__)
def test_equal_arguments_have_equal_marks_in_every_process(nth: int, elsewhere: list[list[str]]):
    assert len({marks[nth] for marks in elsewhere}) == 1


def test_different_arguments_have_different_marks_in_every_process(elsewhere: list[list[str]]):
    assert [len(set(marks)) for marks in elsewhere] == [len(CALLS)] * len(elsewhere)


def test_a_mark_is_short():
    assert len(mark((1,), {})) == MARK_BYTES


@given(shapes.values)
def test_equal_values_have_equal_marks(value: Any):
    assert mark((value,), {}) == mark((rebuilt(value),), {})


def rebuilt(value: Any) -> Any:
    """An equal value, of other objects, whose dicts were filled the other way round."""
    if isinstance(value, dict):
        return {rebuilt(k): rebuilt(v) for k, v in reversed(value.items())}
    if isinstance(value, list):
        return [rebuilt(item) for item in value]
    if isinstance(value, str):
        return "".join(list(value))
    return value


@given(shapes.values, shapes.values)
def test_different_values_have_different_marks(one: Any, other: Any):
    same = mark((one,), {}) == mark((other,), {})

    assert same == (typed(one) == typed(other))


def typed(value: Any) -> Any:
    """`value` with its types, so that 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return dict, frozenset((typed(k), typed(v)) for k, v in value.items())
    if isinstance(value, list):
        return list, tuple(map(typed, value))
    return type(value), repr(value)


APART = [
    (1,),
    (1.0,),
    (True,),
    ("1",),
    (b"1",),
    (bytearray(b"1"),),
    (None,),
    (),
    ((),),
    ([],),
    ({},),
    (set(),),
    ([1],),
    ((1,),),
    ([[1]],),
    ([1, 2],),
    ([2, 1],),
    ([[1], 2],),
    ([1, [2]],),
    ({1: 2},),
    ({2: 1},),
    ("ab", "c"),
    ("a", "bc"),
    ({1, 2},),
    (frozenset({1, 2}),),
    (0.0,),
    (-0.0,),
    (np.arange(3),),
    (np.arange(3.0),),
    (np.arange(4),),
    (np.arange(4).reshape(2, 2),),
    (len,),
    (max,),
]


def test_what_differs_in_type_order_or_nesting_has_marks_of_its_own():
    for one, other in itertools.combinations(APART, 2):
        assert mark(one, {}) != mark(other, {}), (one, other)


def test_keywords_are_not_positions_and_their_order_does_not_count():
    assert mark((1,), {}) != mark((), {"a": 1})
    assert mark((), {"a": 1, "b": 2}) == mark((), {"b": 2, "a": 1})
    assert mark((), {"a": 1, "b": 2}) != mark((), {"a": 2, "b": 1})


def test_two_objects_that_differ_in_a_field_differ():
    class Thing:
        def __init__(self, n: int) -> None:
            self.n = n

    assert mark((Thing(1),), {}) == mark((Thing(1),), {})
    assert mark((Thing(1),), {}) != mark((Thing(2),), {})


def test_two_lambdas_that_differ_in_a_constant_differ():
    assert mark((lambda x: x + 1,), {}) != mark((lambda x: x + 2,), {})


def test_arrays_that_look_alike_and_are_stored_otherwise_are_equal():
    matrix = np.arange(12.0).reshape(3, 4)

    assert mark((matrix[:, ::2],), {}) == mark((matrix[:, ::2].copy(),), {})


def test_what_contains_itself_has_a_mark():
    ring: list[Any] = [1]
    ring.append(ring)

    assert mark((ring,), {}) == mark((ring,), {})


def test_what_is_shared_many_times_over_is_walked_once():
    tree: Any = [0]
    for _ in range(45):
        tree = [tree, tree]

    start = time.perf_counter()
    mark((tree,), {})

    assert time.perf_counter() - start < 5


def test_what_is_nested_very_deep_has_a_mark():
    deep: Any = 0
    for _ in range(300):
        deep = [deep]

    assert mark((deep,), {}) != mark(([deep],), {})
