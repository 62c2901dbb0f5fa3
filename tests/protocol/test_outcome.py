"""Outcome bodies, refs and failures as bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import BY_NAME, Failure
from mesh.protocol import outcome
from mesh.protocol.outcome import Ref

texts = st.text(st.characters(exclude_categories=["Cs"]))
failures = st.tuples(texts, texts, texts, texts, st.integers(0, 2**31))


def parts(failure: Failure) -> tuple[Any, ...]:
    return failure.kind, failure.message, failure.traceback, failure.host, failure.pid


@given(
    st.floats(0, 2e9), st.floats(0, 1e6, width=32), st.binary(), st.binary(), st.integers(0, 255)
)
def test_a_body_comes_back_in_its_parts(
    begun: float, took_s: float, log: bytes, rest: bytes, flags: int
):
    raw = outcome.body(begun, took_s, log, rest, flags)

    assert outcome.parse(raw) == (flags, begun, took_s, log, rest)
    assert outcome.parse(memoryview(raw)) == (flags, begun, took_s, log, rest)


def test_the_rest_is_not_copied():
    raw = bytearray(outcome.body(0.0, 0.0, b"log", b"rest"))

    found = outcome.parse(raw)
    raw[-4:] = b"REST"

    assert found.rest == b"REST"


def test_a_body_that_is_cut_short_says_so():
    raw = outcome.body(1.0, 2.0, b"a log", b"")

    for length in range(len(raw)):
        with pytest.raises(ValueError, match="outcome"):
            outcome.parse(raw[:length])


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
)
def test_a_ref_comes_back(task: bytes, lease: int, index: int, size: int, crc: int):
    ref = Ref(task, lease, index, size, crc, b"k3f9x2m2")

    raw = outcome.REF.pack(*ref)

    assert outcome.parse_ref(raw) == ref
    assert outcome.parse_ref(memoryview(raw)).holder == "k3f9x2m2"


@pytest.mark.parametrize("raw", [b"", bytes(outcome.REF.size - 1), bytes(outcome.REF.size + 1)])
def test_what_is_no_ref_says_so(raw: bytes):
    with pytest.raises(ValueError, match="a ref of"):
        outcome.parse_ref(raw)


@given(failures, st.binary())
def test_a_failure_comes_back(values: tuple[Any, ...], exception: bytes):
    raw = outcome.pack_failure(Failure(*values), exception)

    failure, rest = outcome.parse_failure(raw)

    assert parts(failure) == values
    assert rest == exception


def test_a_text_that_is_not_utf8_is_kept_readable():
    raw = outcome.pack_failure(Failure("builtins.OSError", "caf\udce9.dat", "", "host", 1))

    assert outcome.parse_failure(raw)[0].message == "caf\\udce9.dat"


@pytest.mark.parametrize("character", ["x", "é", "\N{SNOWMAN}", "\N{GRINNING FACE}", "\udce9"])
def test_of_a_long_text_whole_characters_are_kept(character: str):
    for shift in range(4):
        text = character * outcome.TEXT_BYTES_MAX + "!" * shift

        raw = outcome.pack_failure(Failure("builtins.ValueError", text, text, "host", 1))

        kept = outcome.parse_failure(raw)[0].message
        end = text.encode("utf-8", "backslashreplace").decode()
        assert end.endswith(kept)
        assert outcome.TEXT_BYTES_MAX - 4 < len(kept.encode()) <= outcome.TEXT_BYTES_MAX


def test_a_failure_that_is_cut_short_says_so():
    raw = outcome.pack_failure(Failure("builtins.ValueError", "no", "Traceback", "host", 12345))

    for length in range(len(raw)):
        with pytest.raises(ValueError):
            outcome.parse_failure(raw[:length])


@given(st.binary(max_size=80))
def test_random_bytes_raise_nothing_but_a_value_error(raw: bytes):
    for parse in (outcome.parse, outcome.parse_ref, outcome.parse_failure):
        try:
            parse(raw)
        except ValueError:
            pass


@pytest.mark.parametrize("kind", BY_NAME)
def test_a_failure_of_ours_carries_its_class_and_place(kind: str):
    raw = outcome.failure_body(kind, "it is gone", "node7", 42)

    failure, pickled = outcome.parse_failure(outcome.parse(raw).rest)

    assert parts(failure) == (kind, "it is gone", "", "node7", 42)
    assert not len(pickled)
