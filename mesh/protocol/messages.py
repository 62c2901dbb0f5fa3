"""Every message of the protocol, once: its fields, who sends it to whom, and what it may hold.

A message is data. Fields are positional on the wire, in the order given here; `SHAPE` says what
each must look like, and decoding checks it before anything else sees the message, so that no
handler meets a half-formed one. Blobs (payloads, outcome bodies) are opaque: neither router nor
worker looks inside. README.md in this folder tells the same with every reply.

The direction "peer" is a client or a worker: whoever dialled the router.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .block import BLOCK_TASKS_MAX as BLOCK_TASKS_MAX
from .block import Block as Block
from .block import are_blocks
from .data import Copied as Copied
from .data import Fetched as Fetched
from .data import Holders as Holders
from .data import Inputs as Inputs
from .data import Lost as Lost
from .data import Relay as Relay
from .data import Where as Where
from .dialling import Dial as Dial
from .dialling import Dialled as Dialled
from .message import Message as Message
from .printed import Listen as Listen
from .printed import Printed as Printed
from .puts import Put as Put
from .puts import Take as Take
from .puts import Taken as Taken
from .shape import (
    Check,
    is_about,
    is_any,
    is_blob,
    is_blobs,
    is_bytes,
    is_digest,
    is_int,
    is_ints,
    is_kinds,
    is_map,
    is_seconds,
    is_session,
    is_small,
    is_text,
    maybe,
    rows,
)
from .stores import Adopt as Adopt
from .stores import Adopted as Adopted
from .stores import Closed as Closed
from .stores import Offer as Offer
from .stores import Settled as Settled

#: The protocol versions that this code speaks: HELLO says both, WELCOME the router's highest.
VERSION_MIN = 3
VERSION_MAX = 3

#: A client sends a function again that it has not used for so long; a router knows one for longer.
FUNCTION_KNOWN_S = 600.0


@dataclass(slots=True)
class Hello(Message):
    """peer → router. Opens the next session of the link. Reply: WELCOME or ERROR; none to a late
    copy.

    `held` are the leases a worker has in hand, as [lease, session, counter]: running, waiting
    there, or ended without having been acknowledged.
    """

    COMMAND = 1
    SEQUENCED = False
    SHAPE = (
        is_text,
        is_text,
        is_bytes,
        is_small,
        is_small,
        is_about,
        rows(is_int, is_session, is_int),
    )

    role: str
    who: str
    incarnation: bytes
    version_min: int
    version_max: int
    about: dict[str, Any]
    held: list[list[Any]]


@dataclass(slots=True)
class Welcome(Message):
    """router → peer. The link is open. `version` is the highest the router speaks, `settings` are
    the mesh's times and limits. No reply."""

    COMMAND = 2
    SEQUENCED = False
    SHAPE = (is_text, is_bytes, is_int, is_small, is_map)

    mesh: str
    birth: bytes
    epoch: int
    version: int
    settings: dict[str, Any]


@dataclass(slots=True)
class Keys(Message):
    """router → worker. Whose keys may open its data port: public key → role. No reply."""

    COMMAND = 60
    SEQUENCED = False
    SHAPE = (is_map,)

    roles: dict[str, str]


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
    """router → peer. Something could not be taken, and why; `kind` names an error class, or is
    ``SessionTaken``. No reply."""

    COMMAND = 5
    SEQUENCED = False
    SHAPE = (is_text, is_text)

    kind: str
    text: str


@dataclass(slots=True)
class Bye(Message):
    """worker → router, router → peer. The sender leaves on purpose: what a worker held is free, and
    is no loss; with the router the mesh has ended. No reply."""

    COMMAND = 6
    SEQUENCED = False


@dataclass(slots=True)
class Function(Message):
    """client → router, router → worker. The code behind a digest, before the first task that calls
    it."""

    COMMAND = 10
    SHAPE = (is_digest, is_text, is_bytes, is_blob)

    digest: bytes
    name: str
    code: bytes
    payload: Any


@dataclass(slots=True)
class Submit(Message):
    """client → router. Blocks of tasks. The link's acknowledgement says that they are recorded.

    Replies: KNOWN for members whose alias is taken by the same call; OUTCOMES of kind REFUSED for
    those whose alias means another one, and for all of a block that cannot be taken (an unknown
    function or option: nothing of it is recorded); later, OUTCOMES for each task.
    """

    COMMAND = 11
    SHAPE = (are_blocks,)

    blocks: list[list[Any]]


@dataclass(slots=True)
class Group(Message):
    """client → router. The `size` tasks behind `first`, which is the group's own id, belong
    together, under `name`. The link's acknowledgement is the reply."""

    COMMAND = 12
    SHAPE = (is_int, is_int, maybe(is_text))

    first: int
    size: int
    name: str | None


@dataclass(slots=True)
class Known(Message):
    """router → client. Task [session, counter] is the older task [session, counter], which has
    [ended] (1) or not yet (0)."""

    COMMAND = 13
    SHAPE = (rows(is_session, is_int, is_session, is_int, is_int),)

    rows: list[list[Any]]


@dataclass(slots=True)
class Outcomes(Message):
    """router → client. How tasks ended: rows of [session, counters, kinds, bodies]."""

    COMMAND = 14
    SHAPE = (rows(is_session, is_ints, is_kinds, is_blobs),)

    runs: list[list[Any]]


@dataclass(slots=True)
class Watch(Message):
    """client → router. Tell me of these tasks: rows of [session, first, count].

    Replies: OUTCOMES, at once for what has ended (REFUSED with `TaskNotFound` for what does not
    exist), later for the rest; KNOWN for what is an older task; or ERROR alone, if these are too
    many.
    """

    COMMAND = 15
    SHAPE = (rows(is_session, is_int, is_int),)

    spans: list[list[Any]]


@dataclass(slots=True)
class Cancel(Message):
    """client → router. End these tasks unrun; running ones too if `running`. Reply: TELL with
    the number of tasks `cancelled`, `running` (left alone) and `ended` (too late)."""

    COMMAND = 16
    SHAPE = (is_int, rows(is_session, is_int, is_int), is_any)

    token: int
    spans: list[list[Any]]
    running: bool


@dataclass(slots=True)
class Ask(Message):
    """client → router. A question or an order, by name; core/desk.py has them. Reply: TELL."""

    COMMAND = 17
    SHAPE = (is_int, is_text, is_map)

    token: int
    what: str
    about: dict[str, Any]


@dataclass(slots=True)
class Tell(Message):
    """router → client. The answer to ASK or CANCEL; `error` names an error class, or is None."""

    COMMAND = 18
    SHAPE = (is_int, maybe(is_text), is_any)

    token: int
    error: str | None
    value: Any


@dataclass(slots=True)
class Tasks(Message):
    """router → worker. Rows of [session, first counter, first lease, function, options, payloads]:
    consecutive tasks under consecutive leases. Reply, in time: DONE or RETURNED for each."""

    COMMAND = 20
    SHAPE = (rows(is_session, is_int, is_int, is_digest, is_map, is_blobs),)

    pieces: list[list[Any]]


@dataclass(slots=True)
class Done(Message):
    """worker → router. Rows of [session, counters, leases, kinds, bodies], and how many tasks
    the worker will hold from now on. The link's acknowledgement says: recorded, let go."""

    COMMAND = 21
    SHAPE = (rows(is_session, is_ints, is_ints, is_kinds, is_blobs), is_small)

    runs: list[list[Any]]
    window: int


@dataclass(slots=True)
class Recall(Message):
    """router → worker. Give back these leases and up to `count` others, unless they have begun.
    Reply: RETURNED."""

    COMMAND = 22
    SHAPE = (is_small, is_ints)

    count: int
    leases: list[int]


@dataclass(slots=True)
class Returned(Message):
    """worker → router. These leases were not begun and are free again; perhaps none."""

    COMMAND = 23
    SHAPE = (is_ints, is_small)

    leases: list[int]
    window: int


@dataclass(slots=True)
class Kill(Message):
    """router → worker. End these leases, running or not. Reply: DONE, of kind CANCELLED but for
    what ended by itself meanwhile; none for what is not held."""

    COMMAND = 24
    SHAPE = (is_ints,)

    leases: list[int]


@dataclass(slots=True)
class Leave(Message):
    """router → worker. The mesh ends: stop, now or after what runs. Reply: BYE."""

    COMMAND = 25
    SHAPE = (is_seconds,)

    within_s: float


@dataclass(slots=True)
class Report(Message):
    """worker → router. What has changed about the worker: its slots, what each runs. No reply."""

    COMMAND = 26
    SHAPE = (is_about,)

    about: dict[str, Any]


@dataclass(slots=True)
class Drop(Message):
    """router → worker. What these leases stored is not needed any more: rows of [session, counter,
    lease]. Reply: DROPPED."""

    COMMAND = 27
    SHAPE = (rows(is_session, is_int, is_int),)

    leases: list[list[Any]]


@dataclass(slots=True)
class Dropped(Message):
    """worker → router. The rows of a DROP: nothing that these leases stored is there any more. The
    link's acknowledgement is the reply."""

    COMMAND = 28
    SHAPE = (rows(is_session, is_int, is_int),)

    leases: list[list[Any]]


@dataclass(slots=True)
class Event(Message):
    """router → client. What a client should know without having asked. May be lost. No reply."""

    COMMAND = 32
    SEQUENCED = False
    SHAPE = (is_text, is_map)

    kind: str
    about: dict[str, Any]


MESSAGES: dict[int, type[Message]] = {
    cls.COMMAND: cls
    for cls in (
        Hello,
        Welcome,
        Beat,
        Keys,
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
        Drop,
        Dropped,
        Inputs,
        Copied,
        Where,
        Holders,
        Relay,
        Lost,
        Event,
        Fetched,
        Put,
        Take,
        Taken,
        Offer,
        Settled,
        Adopt,
        Adopted,
        Closed,
        Listen,
        Printed,
        Dial,
        Dialled,
    )
}

#: What a message consists of: the names of its fields, and what each must look like.
FIELDS: dict[type[Message], tuple[tuple[str, Check], ...]] = {
    cls: tuple((field.name, check) for field, check in zip(fields(cls), cls.SHAPE, strict=True))
    for cls in MESSAGES.values()
}
