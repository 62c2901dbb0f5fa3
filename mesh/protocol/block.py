"""The block of a SUBMIT: tasks alike in all but their arguments, as one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .inputs import are_all_inputs
from .shape import is_blobs, is_digest, is_int, is_map, is_names, maybe, rows

#: Tasks in one block. Large enough that a message's fixed cost is shared by hundreds, small
#: enough that a block's payloads stay a quarter of a megabyte.
BLOCK_TASKS_MAX = 256


@dataclass(slots=True)
class Block:
    """Consecutive tasks of one client, alike in all but their arguments: one row of SUBMIT.

    `names` are their aliases, if any has one, and `marks` the digests of their arguments, by
    which the router tells the same call from another one under the same alias. Member i of the
    block is member `index + i` of `group`. `inputs` are the ids of the tasks whose results each of
    them takes, one after the other, in the order in which its payload numbers them.
    """

    first: int
    function: bytes
    options: dict[str, Any]
    group: int | None
    index: int
    payloads: list[Any]
    names: list[str | None] | None
    marks: list[bytes] | None
    inputs: list[bytes] | None = None


def are_blocks(rows: Any) -> bool:
    """A check for rows of SUBMIT."""
    return _are_rows(rows) and all(map(_fits, rows))


def _fits(row: list[Any]) -> bool:
    return (
        0 < len(row[5]) <= BLOCK_TASKS_MAX
        and (row[6] is None or len(row[6]) == len(row[5]) and row[7] is not None)
        and (row[7] is None or len(row[7]) == len(row[5]))
        and (row[8] is None or len(row[8]) == len(row[5]))
    )


#: The columns of a row.
BLOCK = (
    is_int,
    is_digest,
    is_map,
    maybe(is_int),
    is_int,
    is_blobs,
    maybe(is_names),
    maybe(is_blobs),
    maybe(are_all_inputs),
)

_are_rows = rows(*BLOCK)
