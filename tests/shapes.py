"""Hypothesis strategies that build every message of the protocol from its SHAPE.

A new message, or a new field, is covered by the tests that use `messages` without further ado; a
new kind of check has to be added to `BASIC`, and a KeyError here says which.
"""

from __future__ import annotations

import inspect
from typing import Any

from hypothesis import strategies as st

from mesh.protocol import block, shape
from mesh.protocol import messages as m
from mesh.protocol.codec import FRAME_BYTES
from mesh.protocol.inputs import are_inputs
from mesh.task import key

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
sessions = st.text("23456789abcdefgh", min_size=8, max_size=8)
counters = st.one_of(st.integers(0, 50), st.integers(0, shape.NUMBER_MAX))
#: Small ones mostly, now and then one that has to travel in a frame of its own.
blobs = st.one_of(
    st.binary(max_size=40),
    st.integers(FRAME_BYTES - 1, FRAME_BYTES + 1).map(bytes),
)
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=40),
)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)

#: Task ids, one after the other.
ids = st.lists(st.tuples(sessions, counters).map(lambda task: key(*task)), max_size=3).map(b"".join)

BASIC: dict[Any, st.SearchStrategy[Any]] = {
    shape.is_int: counters,
    shape.is_small: st.integers(0, 2**31 - 1),
    shape.is_seconds: st.floats(0, allow_nan=False) | st.integers(0, 2**31),
    shape.is_text: texts,
    shape.is_bytes: st.binary(max_size=64),
    shape.is_digest: st.binary(min_size=1, max_size=64),
    shape.is_map: st.dictionaries(texts, values, max_size=4),
    shape.is_any: values,
    shape.is_blob: blobs,
    are_inputs: ids,
    shape.is_ints: st.lists(counters, max_size=5),
    shape.is_blobs: st.lists(blobs, max_size=5),
    shape.is_kinds: st.lists(st.integers(0, 8), max_size=5).map(bytes),
    shape.is_session: sessions,
    shape.is_texts: st.lists(texts, max_size=3),
    shape.is_dialled: st.dictionaries(texts, texts | st.floats(0, 1e6), max_size=3),
    shape.is_names: st.lists(st.none() | texts.filter(bool), max_size=5),
    shape.is_about: st.fixed_dictionaries(
        {"slots": st.integers(0, 64), "window": st.integers(0, 4096)},
        optional={
            "host": texts,
            "versions": st.dictionaries(texts, texts, max_size=2),
            "clock_s": st.floats(0, 1e18),
            "descriptors": st.lists(counters, max_size=3),
        },
    ),
}


def field(check: Any) -> st.SearchStrategy[Any]:
    """What satisfies one check of a SHAPE."""
    if check in BASIC:
        return BASIC[check]
    if check is m.Submit.SHAPE[0]:
        return st.lists(blocks(), max_size=3)
    inner = inspect.getclosurevars(check).nonlocals
    if "checks" in inner:
        return st.lists(st.tuples(*map(field, inner["checks"])).map(list), max_size=3)
    return st.none() | field(inner["check"])


@st.composite
def blocks(draw: st.DrawFn) -> list[Any]:
    """One row of SUBMIT: as many names and marks as payloads."""
    row = [draw(field(check)) for check in block.BLOCK[:5]]
    payloads = draw(st.lists(blobs, min_size=1, max_size=5))
    size = len(payloads)
    marks = draw(st.none() | st.lists(st.binary(max_size=8), min_size=size, max_size=size))
    names = None
    if marks is not None:
        name = st.none() | texts.filter(bool)
        names = draw(st.none() | st.lists(name, min_size=size, max_size=size))
    taken = draw(st.none() | st.lists(ids, min_size=size, max_size=size))
    return [*row, payloads, names, marks, taken]


def message(cls: type[m.Message]) -> st.SearchStrategy[m.Message]:
    """Messages of one class."""
    return st.tuples(*map(field, cls.SHAPE)).map(lambda values: cls(*values))


messages = st.sampled_from(list(m.MESSAGES.values())).flatmap(message)
