"""Every message of the protocol, once: its fields, who sends it to whom, and what it may hold.

A message is data. Fields are positional on the wire, in the order given here; `SHAPE` says what
each must look like, and decoding checks it before anything else sees the message, so that no
handler meets a half-formed one. Blobs (payloads, outcome bodies) are opaque: neither router nor
worker looks inside. README.md in this folder tells the same with every reply.

The direction "peer" is a client or a worker: whoever dialled the router.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

#: The protocol versions that this code speaks; HELLO carries them, WELCOME picks one.
VERSION_MIN = 1
VERSION_MAX = 1

#: Tasks in one block. Large enough that a message's fixed cost is shared by hundreds, small
#: enough that a block's payloads stay a quarter of a megabyte.
BLOCK_TASKS_MAX = 256

#: Counters and leases end here: they are eight bytes in a store's keys, and spans add to them.
NUMBER_MAX = 2**63 - 1

#: Maps nest no deeper: what is recorded or told on has to pack again.
DEPTH_MAX = 8

Check = Callable[[Any], bool]


def _int(value: Any) -> bool:
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _small(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _text(value: Any) -> bool:
    return type(value) is str and len(value) <= 4096


def _bytes(value: Any) -> bool:
    return type(value) is bytes and len(value) <= 64


def _map(value: Any) -> bool:
    return type(value) is dict and (not value or _plain(value, DEPTH_MAX))


def _plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind is dict:
        return depth > 0 and all(
            type(name) is str and _plain(item, depth - 1) for name, item in value.items()
        )
    if kind is list:
        return depth > 0 and all(_plain(item, depth - 1) for item in value)
    return kind in (str, int, float, bool, bytes, type(None))


def _about(value: Any) -> bool:
    """What a worker says of itself: the router counts with some of it."""
    return (
        type(value) is dict
        and _small(value.get("slots", 0))
        and _small(value.get("window", 0))
        and _dicts(value.get("running", []))
    )


def _dicts(value: Any) -> bool:
    return type(value) is list and set(map(type, value)) <= {dict}


def _about(value: Any) -> bool:
    """What a peer says of itself: anything, but what the router counts with must be numbers."""
    return (
        type(value) is dict
        and all(_small(value.get(name, 0)) for name in ("slots", "window", "pid"))
        and type(value.get("running", [])) is list
    )


def _any(value: Any) -> bool:
    return True


def _blob(value: Any) -> bool:
    return isinstance(value, (bytes, memoryview))


def _ints(value: Any) -> bool:
    return (
        type(value) is list
        and set(map(type, value)) <= {int}
        and min(value, default=0) >= 0
        and max(value, default=0) <= NUMBER_MAX
    )


def _blobs(value: Any) -> bool:
    return type(value) is list and set(map(type, value)) <= {bytes, memoryview}


def _kinds(value: Any) -> bool:
    return type(value) is bytes and max(value, default=0) <= 8


def _session(value: Any) -> bool:
    return type(value) is str and len(value) == 8 and value.isascii()


def _rows(*checks: Check) -> Check:
    def check(value: Any) -> bool:
        return type(value) is list and all(
            type(row) is list
            and len(row) == len(checks)
            and all(good(cell) for good, cell in zip(checks, row, strict=True))
            for row in value
        )

    return check


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _names(value: Any) -> bool:
    return type(value) is list and all(
        type(name) is str and 0 < len(name) <= 256 or name is None for name in value
    )


@dataclass(slots=True)
class Message:
    """What all messages share: a command number, a shape, and whether the link numbers them."""

    COMMAND: ClassVar[int]
    SHAPE: ClassVar[tuple[Check, ...]] = ()
    #: A sequenced message is numbered, acknowledged, and sent again if it was not recorded.
    SEQUENCED: ClassVar[bool] = True


@dataclass(slots=True)
class Hello(Message):
    """peer → router. Opens the next session of the link. Reply: WELCOME or ERROR.

    `held` are the leases a worker has in hand, as [lease, session, counter]: running, waiting
    there, or ended without having been acknowledged.
    """

    COMMAND = 1
    SEQUENCED = False
    SHAPE = (_text, _text, _bytes, _small, _small, _about, _rows(_int, _session, _int))

    role: str
    who: str
    incarnation: bytes
    version_min: int
    version_max: int
    about: dict[str, Any]
    held: list[list[Any]]


@dataclass(slots=True)
class Welcome(Message):
    """router → peer. The link is open; `settings` are the mesh's heartbeat and limits."""

    COMMAND = 2
    SEQUENCED = False
    SHAPE = (_text, _bytes, _int, _small, _map)

    mesh: str
    birth: bytes
    epoch: int
    version: int
    settings: dict[str, Any]


@dataclass(slots=True)
class Beat(Message):
    """both ways. Says "alive", and carries an acknowledgement when nothing else does. No reply."""

    COMMAND = 3
    SEQUENCED = False


@dataclass(slots=True)
class Resync(Message):
    """router → peer. The router has no such link, or misses a message: say HELLO anew."""

    COMMAND = 4
    SEQUENCED = False


@dataclass(slots=True)
class Error(Message):
    """both ways. The last message could not be taken, and why; `kind` names an error class."""

    COMMAND = 5
    SEQUENCED = False
    SHAPE = (_text, _text)

    kind: str
    text: str


@dataclass(slots=True)
class Bye(Message):
    """both ways. The sender leaves on purpose: what it held is free, and is no loss."""

    COMMAND = 6
    SEQUENCED = False


@dataclass(slots=True)
class Function(Message):
    """client → router → worker. The code behind a digest, before the first task that calls it."""

    COMMAND = 10
    SHAPE = (_bytes, _text, _bytes, _blob)

    digest: bytes
    name: str
    code: bytes
    payload: Any


@dataclass(slots=True)
class Block:
    """Consecutive tasks of one client, alike in all but their arguments: one row of SUBMIT.

    `names` are their aliases, if any has one, and `marks` the digests of their arguments, by
    which the router tells the same call from another one under the same alias. Member i of the
    block is member `index + i` of `group`.
    """

    first: int
    function: bytes
    options: dict[str, Any]
    group: int | None
    index: int
    payloads: list[Any]
    names: list[str | None] | None
    marks: list[bytes] | None


def _block(row: Any) -> bool:
    return (
        type(row) is list
        and len(row) == 8
        and all(good(cell) for good, cell in zip(_BLOCK, row, strict=True))
        and 0 < len(row[5]) <= BLOCK_TASKS_MAX
        and (row[6] is None or len(row[6]) == len(row[5]) and row[7] is not None)
        and (row[7] is None or len(row[7]) == len(row[5]))
    )


_BLOCK = (_int, _bytes, _map, _maybe(_int), _int, _blobs, _maybe(_names), _maybe(_blobs))


@dataclass(slots=True)
class Submit(Message):
    """client → router. Blocks of tasks. The link's acknowledgement says that they are recorded.

    Replies: KNOWN for members whose alias is taken by the same call, OUTCOMES of kind REFUSED for
    those whose alias means another one.
    """

    COMMAND = 11
    SHAPE = (lambda rows: type(rows) is list and all(map(_block, rows)),)

    blocks: list[list[Any]]


@dataclass(slots=True)
class Group(Message):
    """client → router. `size` tasks from `first` on belong together, under `name`."""

    COMMAND = 12
    SHAPE = (_int, _int, _maybe(_text))

    first: int
    size: int
    name: str | None


@dataclass(slots=True)
class Known(Message):
    """router → client. Your task [counter] is the older task [session, counter], which has
    [ended] (1) or not yet (0)."""

    COMMAND = 13
    SHAPE = (_rows(_int, _session, _int, _int),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Outcomes(Message):
    """router → client. How tasks ended: rows of [session, counters, kinds, bodies]."""

    COMMAND = 14
    SHAPE = (_rows(_session, _ints, _kinds, _blobs),)

    runs: list[list[Any]]


@dataclass(slots=True)
class Watch(Message):
    """client → router. Tell me of these tasks: rows of [session, first, count].

    Reply: OUTCOMES, at once for what has ended (REFUSED with `TaskNotFound` for what does not
    exist), later for the rest.
    """

    COMMAND = 15
    SHAPE = (_rows(_session, _int, _int),)

    spans: list[list[Any]]


@dataclass(slots=True)
class Cancel(Message):
    """client → router. End these tasks unrun; running ones too if `running`. Reply: TELL with
    the number of tasks `cancelled`, `running` (left alone) and `ended` (too late)."""

    COMMAND = 16
    SHAPE = (_int, _rows(_session, _int, _int), _any)

    token: int
    spans: list[list[Any]]
    running: bool


@dataclass(slots=True)
class Ask(Message):
    """client → router. A question or an order, by name; core/desk.py has them. Reply: TELL."""

    COMMAND = 17
    SHAPE = (_int, _text, _map)

    token: int
    what: str
    about: dict[str, Any]


@dataclass(slots=True)
class Tell(Message):
    """router → client. The answer to ASK or CANCEL; `error` names an error class, or is None."""

    COMMAND = 18
    SHAPE = (_int, _maybe(_text), _any)

    token: int
    error: str | None
    value: Any


@dataclass(slots=True)
class Tasks(Message):
    """router → worker. Rows of [session, first counter, first lease, function, options, payloads]:
    consecutive tasks under consecutive leases. Reply, in time: DONE or RETURNED for each."""

    COMMAND = 20
    SHAPE = (_rows(_session, _int, _int, _bytes, _map, _blobs),)

    pieces: list[list[Any]]


@dataclass(slots=True)
class Done(Message):
    """worker → router. Rows of [session, counters, leases, kinds, bodies], and how many tasks
    the worker will hold from now on. The link's acknowledgement says: recorded, let go."""

    COMMAND = 21
    SHAPE = (_rows(_session, _ints, _ints, _kinds, _blobs), _small)

    runs: list[list[Any]]
    window: int


@dataclass(slots=True)
class Recall(Message):
    """router → worker. Give back up to `count` tasks that have not begun. Reply: RETURNED."""

    COMMAND = 22
    SHAPE = (_small,)

    count: int


@dataclass(slots=True)
class Returned(Message):
    """worker → router. These leases were not begun and are free again; perhaps none."""

    COMMAND = 23
    SHAPE = (_ints, _small)

    leases: list[int]
    window: int


@dataclass(slots=True)
class Kill(Message):
    """router → worker. End these leases, running or not. Reply: DONE of kind CANCELLED."""

    COMMAND = 24
    SHAPE = (_ints,)

    leases: list[int]


@dataclass(slots=True)
class Leave(Message):
    """router → worker. The mesh ends: stop, now or after what runs. Reply: BYE."""

    COMMAND = 25
    SHAPE = (_any,)

    drain: bool


@dataclass(slots=True)
class Report(Message):
    """worker → router. What has changed about the worker: its slots, what each runs. No reply."""

    COMMAND = 26
    SHAPE = (_about,)

    about: dict[str, Any]


MESSAGES: dict[int, type[Message]] = {
    cls.COMMAND: cls
    for cls in (
        Hello,
        Welcome,
        Beat,
        Resync,
        Error,
        Bye,
        Function,
        Submit,
        Group,
        Known,
        Outcomes,
        Watch,
        Cancel,
        Ask,
        Tell,
        Tasks,
        Done,
        Recall,
        Returned,
        Kill,
        Leave,
        Report,
    )
}

FIELDS: dict[type[Message], tuple[str, ...]] = {
    cls: tuple(field.name for field in fields(cls)) for cls in MESSAGES.values()
}
