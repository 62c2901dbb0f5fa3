"""A task's plain values: its id, its state, how it ended.

Nothing here knows of sockets, stores or processes. An id is 16 bytes, an 8-byte *session* (the
client's, eight characters, so that the bytes are the text) and an 8-byte big-endian counter: ids
of one client sort in the order of their birth, which is what keeps a synced LMDB fast.
"""

from __future__ import annotations

import struct
from enum import IntEnum

#: Characters of a session: no 0 and o, no 1 and l to confuse. 32 ** 8 ≈ 1.1e12.
ALPHABET = "23456789abcdefghijkmnpqrstuvwxyz"

SESSION_CHARS = 8

#: A counter of more digits than this is nobody's: it would not fit eight bytes.
COUNTER_CHARS_MAX = 18

#: In place of an id: what was submitted last.
LAST = "last"

_COUNTER = struct.Struct(">Q")


def session_of(entropy: bytes) -> str:
    """The eight characters of a session from eight random bytes."""
    return "".join(ALPHABET[b % len(ALPHABET)] for b in entropy[:SESSION_CHARS])


def key(session: str, counter: int) -> bytes:
    """The 16 bytes of a task id: what stores and files are keyed by."""
    return session.encode("ascii") + _COUNTER.pack(counter)


def unkey(raw: bytes) -> tuple[str, int]:
    """The session and counter of a 16-byte id."""
    return raw[:SESSION_CHARS].decode("ascii"), _COUNTER.unpack_from(raw, SESSION_CHARS)[0]


def show(session: str, counter: int) -> str:
    """A task id as people see it: ``k3f9x2m7.17``."""
    return f"{session}.{counter}"


def parse(text: str) -> tuple[str, int] | None:
    """The id that `text` shows, or None if it is not of that form (then it may be an alias)."""
    session, dot, number = text.partition(".")
    if not dot or len(session) != SESSION_CHARS or not number.isascii() or not number.isdigit():
        return None
    if any(c not in ALPHABET for c in session) or len(number) > COUNTER_CHARS_MAX:
        return None
    return session, int(number)


class State(IntEnum):
    """Where a task is in its life. The order is that of a life; all from DONE on are ends."""

    WAITING = 0
    QUEUED = 1
    RUNNING = 2
    DONE = 3
    FAILED = 4
    CANCELLED = 5
    EXPIRED = 6

    @property
    def word(self) -> str:
        """The state as users see it: ``queued``."""
        return self.name.lower()


#: From this state on nothing changes any more.
ENDED = State.DONE


class Kind(IntEnum):
    """How one run of a task ended, as its worker reports it and the router records it."""

    VALUE = 0  #: success; the body holds the result
    STORED = 1  #: success; the body is a ref, the result is with the worker
    ERROR = 2  #: the user's code raised; the body is a failure
    SLOT_LOST = 3  #: the slot died under it; the body is a failure naming signal or exit code
    TIMED_OUT = 4  #: stopped at its time_limit
    REFUSED = 5  #: could not be begun: function or arguments do not decode there
    CANCELLED = 6  #: cancelled, before or while it ran
    EXPIRED = 7  #: was not begun in time
    WORKER_LOST = 8  #: its workers died under it, as often as is allowed
    FINAL = 9  #: the user's code raised what `retry_on` does not name; the body is a failure
    OUT_OF_MEMORY = 10  #: stopped because it used more than its `memory`
    UNMET = 11  #: one of its inputs failed, was cancelled or is not known
    ASTRAY = 12  #: one of its inputs could not be had there: counts as nothing


#: The kinds that mean success.
SUCCESS = (Kind.VALUE, Kind.STORED)

#: The state in which each recorded kind leaves its task.
STATE_OF = {
    Kind.VALUE: State.DONE,
    Kind.STORED: State.DONE,
    Kind.ERROR: State.FAILED,
    Kind.SLOT_LOST: State.FAILED,
    Kind.TIMED_OUT: State.FAILED,
    Kind.REFUSED: State.FAILED,
    Kind.CANCELLED: State.CANCELLED,
    Kind.EXPIRED: State.EXPIRED,
    Kind.WORKER_LOST: State.FAILED,
    Kind.FINAL: State.FAILED,
    Kind.OUT_OF_MEMORY: State.FAILED,
    Kind.UNMET: State.FAILED,
}
