"""A slot's line: what it was sent and has not answered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mesh.core.line import Line

PACKETS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def line_of(sizes: list[int]) -> Line:
    """Packets of so many tasks, of leases without a gap."""
    line, lease = Line(), 0
    for size in sizes:
        line.add(lease, lease + size)
        lease += size
    return line


def test_what_is_in_hand_is_the_first_packet():
    line = line_of([2, 3])

    assert (line.first, list(line.in_hand), list(line)) == (0, [0, 1], [0, 1, 2, 3, 4])
    line.answered()
    line.answered()
    assert (line.first, list(line.in_hand), len(line)) == (2, [2, 3, 4], 3)


def test_packets_that_stay_are_not_made_one():
    line = line_of([2, 2, 2])

    line.remove([3])

    assert list(line) == [0, 1, 2, 4, 5] and list(line.in_hand) == [0, 1]


@given(PACKETS, st.data())
def test_any_leases_may_leave_and_the_rest_is_answered_in_order(sizes: list[int], data):
    """A packet that was too big to travel as one is read in part, and taken back in turns."""
    line = line_of(sizes)
    left = list(range(sum(sizes)))

    while left:
        gone = data.draw(st.sets(st.sampled_from(left)))
        line.remove(gone)
        left = [lease for lease in left if lease not in gone]
        assert list(line) == left and len(line) == len(left)
        assert all(lease in line for lease in left) and not any(lease in line for lease in gone)
        if left:
            assert line.first == left.pop(0)
            assert line.first in line.in_hand
            line.answered()

    assert (len(line), line.first, list(line.in_hand)) == (0, None, [])
