"""Objects ⇄ payloads."""

from __future__ import annotations

import array
import dataclasses
import pickle
import subprocess
import sys
import textwrap
import threading
from typing import Any

import numpy as np
import pytest
import shapes
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import PayloadError
from mesh.protocol import payload
from mesh.protocol.payload import ALIGNMENT, BUFFER_BYTES_MIN, dump, dump_arguments, join, load

LARGE = BUFFER_BYTES_MIN // 8  # so many doubles go out of band


@dataclasses.dataclass
class Point:
    x: int
    y: int


def there_and_back(value: Any) -> Any:
    return load(join(dump(value)))


@given(shapes.values)
def test_plain_values_come_back(value: Any):
    assert there_and_back(value) == value


def test_a_small_value_is_a_plain_pickle():
    parts = dump([1, 2, 3])

    assert pickle.loads(join(parts)) == [1, 2, 3]
    assert len(parts) == 1


@pytest.mark.parametrize(
    "make",
    {
        "small": lambda: np.arange(5),
        "large": lambda: np.arange(LARGE, dtype=float),
        "empty": lambda: np.zeros((0, 3)),
        "a number": lambda: np.array(3.5),
        "Fortran order": lambda: np.asfortranarray(np.arange(4.0 * LARGE).reshape(LARGE, 4)),
        "not contiguous": lambda: np.arange(4.0 * LARGE).reshape(LARGE, 4)[:, ::2],
        "reversed": lambda: np.arange(2.0 * LARGE)[::-1],
        "read-only": lambda: np.broadcast_to(np.float64(1.0), (LARGE, 4)),
        "complex": lambda: np.arange(LARGE) * 1j,
        "records": lambda: np.zeros(LARGE, dtype=[("t", "f8"), ("n", "i4")]),
        "text": lambda: np.array(["ising", "spin"] * LARGE),
        "objects": lambda: np.array([{"a": 1}, None, "x"] * LARGE, dtype=object),
        "dates": lambda: np.arange("2020-01-01", "2030-01-01", dtype="datetime64[D]"),
        "a large scalar field": lambda: np.float32(2.5),
    }.items(),
    ids=lambda item: item[0] if isinstance(item, tuple) else None,
)
def test_an_array_comes_back(make: Any):
    given = make[1]()

    got = there_and_back(given)

    assert got.dtype == given.dtype
    np.testing.assert_array_equal(got, given)


def test_large_buffers_travel_out_of_band_and_aligned():
    big, bigger = np.arange(LARGE, dtype=float), np.arange(3 * LARGE + 1, dtype=float)

    raw = np.frombuffer(join(dump({"a": big, "b": [bigger, b"x"]})), dtype=np.uint8).copy()
    got = load(raw)

    base = raw.__array_interface__["data"][0]
    for each, sent in ((got["a"], big), (got["b"][0], bigger)):
        np.testing.assert_array_equal(each, sent)
        at = each.__array_interface__["data"][0] - base
        assert 0 < at < raw.nbytes, "it is a view of the payload, not a copy"
        assert at % ALIGNMENT == 0


@pytest.mark.parametrize("count", [5, LARGE, 20 * LARGE])
@pytest.mark.parametrize("as_came", [bytes, bytearray, memoryview])
def test_an_array_that_came_can_be_written_to(count: int, as_came: Any):
    raw = as_came(join(dump(np.zeros(count))))

    got = load(raw)
    got += 1

    assert got.sum() == count


def test_bytes_held_by_a_pickle_buffer_come_back():
    for sent in (b"short", bytes(BUFFER_BYTES_MIN), bytearray(BUFFER_BYTES_MIN)):
        assert bytes(there_and_back(pickle.PickleBuffer(sent))) == sent
    assert there_and_back(array.array("d", range(LARGE)))[-1] == LARGE - 1


def test_the_same_array_twice_travels_once():
    big = np.arange(8 * LARGE, dtype=float)

    parts = dump([big, big])

    assert len(join(parts)) < 1.5 * big.nbytes
    first, second = load(join(parts))
    assert first is second


def test_lambdas_and_local_classes_travel_by_value():
    class Local:
        def __init__(self, n: int) -> None:
            self.n = n

    seven = 7
    function, local = there_and_back((lambda x: x + seven, Local(3)))

    assert function(1) == 8
    assert local.n == 3


def test_a_lambda_beside_a_large_array_travels_once_and_whole():
    big = np.arange(LARGE, dtype=float)

    function, got = there_and_back((lambda x: x + 1, big))

    assert function(1) == 2
    np.testing.assert_array_equal(got, big)


def test_what_main_defines_is_known_in_another_process():
    script = """
        import sys
        from dataclasses import dataclass
        from mesh.protocol.payload import dump, join

        @dataclass
        class Point:
            x: int
            def double(self):
                return helper(self.x)

        def helper(x):
            return 2 * x

        sys.stdout.buffer.write(join(dump([Point(21)])))
    """
    raw = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, check=True
    ).stdout

    [point] = load(raw)

    assert point.double() == 42


def test_arguments_come_back():
    raw, taken = dump_arguments((1, np.arange(LARGE)), {"k": Point(1, 2)})

    assert taken == b""

    args, kwargs = load(join(raw))

    assert args[0] == 1 and args[1][-1] == LARGE - 1
    assert kwargs == {"k": Point(1, 2)}


def test_no_arguments_are_always_the_same_bytes():
    assert payload.plain_arguments((), {}) == payload.NO_ARGUMENTS
    assert load(payload.NO_ARGUMENTS) == ((), {})


def test_plain_arguments_are_few_small_atoms_by_position():
    plain = payload.plain_arguments((1, "two", 3.0, None, b"five"), {})
    assert plain is not None and load(plain) == ((1, "two", 3.0, None, b"five"), {})
    for args, kwargs in [
        ((1, [2]), {}),
        ((1,), {"k": 2}),
        (("long" * payload.ARGUMENTS_BYTES_MAX,), {}),
    ]:
        assert payload.plain_arguments(args, kwargs) is None


@pytest.mark.parametrize(
    ("args", "kwargs", "named"),
    [
        ((1, threading.Lock()), {}, r"argument 2 \(lock\)"),
        ((), {"a": 1, "guard": threading.Lock()}, r"argument guard= \(lock\)"),
        (([{"deep": threading.Lock()}],), {}, r"argument 1 \(list\)"),
    ],
    ids=["by position", "by name", "deep inside"],
)
def test_an_argument_that_cannot_be_pickled_is_named(args: Any, kwargs: Any, named: str):
    with pytest.raises(PayloadError, match=named + " cannot be pickled: .*; pass plain data"):
        dump_arguments(args, kwargs)


def test_an_error_while_pickling_is_reported_too():
    class Broken:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("in __reduce__")

    with pytest.raises(PayloadError, match=r"argument 1 \(.*Broken\).*in __reduce__"):
        dump_arguments((Broken(),), {})


@pytest.mark.parametrize(
    "cut",
    [
        b"\x01",
        b"\x01\x00\x00\x00\x00",
        b"\x01\x02\x00\x00\x00" + bytes(15),
        b"\x01\xff\xff\xff\xff" + bytes(64),
        b"\x01\x01\x00\x00\x00" + b"\xff" * 8,
    ],
    ids=repr,
)
def test_a_damaged_table_is_said_to_be_damaged(cut: bytes):
    with pytest.raises(PayloadError, match=r"cut short|damaged"):
        load(cut)


@given(st.integers(0, 3 * 8 * LARGE))
def test_a_payload_that_is_cut_short_does_not_load(length: int):
    whole = join(dump([np.arange(LARGE), np.arange(LARGE)]))

    with pytest.raises((PayloadError, pickle.UnpicklingError, EOFError)):
        load(whole[: min(length, len(whole) - 1)])
