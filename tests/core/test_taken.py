"""What tasks take, as rows of INPUTS."""

from __future__ import annotations

import pytest

from mesh.core.placement import INPUTS_MAX, _messages, _rows
from mesh.protocol.inputs import INPUT_BYTES


def ids(count: int, of: int = 0) -> bytes:
    return b"".join(b"cccccccc%8d" % (of + n) for n in range(count))


@pytest.mark.parametrize(
    "counts",
    [
        [2],
        [0, 3, 0],
        [INPUTS_MAX],
        [1, INPUTS_MAX, 1],
        [INPUTS_MAX - 1, 1, 1],
        [3 * INPUTS_MAX + 5, 2, 0, 4 * INPUTS_MAX],
        [5] * INPUTS_MAX,
    ],
)
def test_rows_hold_what_each_lease_takes_in_order_and_no_more_than_a_message_may(counts):
    inputs = [ids(count, 10_000 * nth) for nth, count in enumerate(counts)]
    found: dict[int, bytes] = {}
    rows = list(_rows(inputs, 7))
    for first, each, taken, kinds, bodies in rows:
        assert 0 < len(taken) // INPUT_BYTES <= INPUTS_MAX and kinds is bodies is None
        at = 0
        for lease, count in enumerate(each, first):
            end = at + count * INPUT_BYTES
            found[lease] = found.get(lease, b"") + taken[at:end]
            at = end
        assert at == len(taken)
    assert [found.get(7 + nth, b"") for nth in range(len(counts))] == inputs
    assert len(rows) <= 2 * (1 + sum(counts) // INPUTS_MAX) + 1


def test_who_takes_nothing_has_no_row():
    assert list(_rows([b"", b""], 1)) == []


def test_rows_share_messages_as_far_as_there_is_room() -> None:
    sizes = [1, INPUTS_MAX - 1, 1, INPUTS_MAX, 3, 4]
    rows = [[lease, [size], bytes(16) * size, None, None] for lease, size in enumerate(sizes)]
    assert [[row[0] for row in rows] for rows in _messages(rows)] == [[0, 1], [2], [3], [4, 5]]
    assert not list(_messages([]))
