"""Runs of counters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.core.recorded import Recorded


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20))))
def test_it_holds_what_was_added_in_as_few_runs_as_possible(spans: list[tuple[int, int]]):
    recorded = Recorded()
    for first, count in spans:
        recorded.add(first, count)

    whole = {c for first, count in spans for c in range(first, first + count)}
    assert {c for c in range(100) if c in recorded} == whole
    runs = sum(c - 1 not in whole for c in whole)
    assert len(recorded._firsts) == len(recorded._ends) == runs
