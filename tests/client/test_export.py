"""A value in a table: as it is if JSON can say it, else as Python shows it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mesh.client.export import PLAIN_MAX, SHOWN_CHARS, plain


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2.5, 2.5),
        (None, None),
        ("text", "text"),
        (True, True),
        ((1, [2.5, "x"]), [1, [2.5, "x"]]),
        ({"E": np.float64(0.5), "n": np.int32(3)}, {"E": 0.5, "n": 3}),
        (np.arange(3), [0, 1, 2]),
        ({1: 2}, "{1: 2}"),
        (1 + 2j, "(1+2j)"),
        (Rude(), "<Rude>"),
        ([Rude()], "<list>"),
    ],
)
def test_what_is_plain_stays_as_it_is(value: Any, shown: Any):
    assert plain(value) == shown
    json.dumps(plain(value))


def test_what_is_large_is_cut_short():
    for value in (list(range(PLAIN_MAX + 1)), np.zeros((100, 100)), [[0] * 10] * PLAIN_MAX):
        text = plain(value)
        assert isinstance(text, str) and len(text) <= SHOWN_CHARS
    nested: list[Any] = []
    nested.append(nested)
    assert isinstance(plain(nested), str)
