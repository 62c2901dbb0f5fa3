"""What enters the cores and what they want done: the words between a core and its shell.

Events are facts, in the past tense; actions are orders. A core never waits: what needs a disk goes
out as a lookup and comes back as `Found`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..protocol.data import Relay
from ..protocol.dialling import Dial
from ..protocol.link import Envelope
from ..protocol.outcome import Ref
from .arrivals import Order
from .backlog import Piece


@dataclass(slots=True)
class Heard:
    """An envelope came from `peer` (its routing id), whose key has `role`: see rights.py. It is
    `far` if it came by TCP."""

    peer: bytes
    envelope: Envelope
    role: str = "admin"
    far: bool = False


@dataclass(slots=True)
class Garbled:
    """What came from `peer` is no message; `reason` says why."""

    peer: bytes
    reason: str


@dataclass(slots=True)
class Gone:
    """`peer` cannot be reached any more: its connection broke."""

    peer: bytes


@dataclass(slots=True)
class Committed:
    """The writes handed out under `ticket`, and all before them, are on disk. `used_bytes` is how
    much room the router's records take now."""

    ticket: int
    used_bytes: int = 0


@dataclass(slots=True)
class Stalled:
    """The store has no room for the writes handed out: they are tried again. `reason` says where.
    The next `Committed` ends it. At a worker also: slot `slot` could not be handed `leases`."""

    reason: str
    slot: int = -1
    leases: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Found:
    """The answer to the lookup `token`."""

    token: int
    answer: Any


@dataclass(slots=True)
class Tick:
    """Time has passed."""


@dataclass(slots=True)
class Slice:
    """In place of payloads: those of tasks [low, high) of the block under `key`. The shell puts
    them in when it sends; the core has never seen them."""

    block: bytes
    low: int
    high: int


@dataclass(slots=True)
class Turn:
    """What one turn of the router's core wants done: send now, write, look up.

    `writes` go to the store in one transaction and come back as `Committed(ticket)`. Lookups see
    every write handed out before them.
    """

    sends: list[tuple[bytes, Envelope]] = field(default_factory=list)
    writes: list[tuple[Any, ...]] = field(default_factory=list)
    kept: list[tuple[bytes, bytes]] = field(default_factory=list)  # outcomes in them, soon sent on
    ticket: int = 0
    lookups: list[tuple[int, str, Any]] = field(default_factory=list)
    stop: bool = False
    renew: bool = False  # other keys are in the folder: `core.peers.renew` wants them


# What the peers' cores take in: workers and clients dial one router.


@dataclass(slots=True)
class RouterHeard:
    """An envelope came from the router."""

    envelope: Envelope


@dataclass(slots=True)
class Connected:
    """The connection to the router is there (again): time to say HELLO."""


@dataclass(slots=True)
class Cut:
    """The connection broke."""


@dataclass(slots=True)
class TakenIn:
    """Content that clients have left here is in the store, or is not, and why: rows of TAKEN."""

    rows: list[list[Any]]


@dataclass(slots=True)
class TimeLeft:
    """Who gives this worker its time says, asked for more, that there are `left_s` seconds;
    infinite: it has no end any more."""

    left_s: float


@dataclass(slots=True)
class Dialled:
    """It was tried to reach others, for the DIAL of this token: what came of each address."""

    token: int
    came: dict[str, str | float]


@dataclass(slots=True)
class SlotReady:
    """A slot has started and waits for work."""

    slot: int
    pid: int


@dataclass(slots=True)
class SlotAnswered:
    """Slot `slot` finished tasks: rows of (lease, kind, body, seconds, stored)."""

    slot: int
    rows: list[tuple[int, int, bytes, float, bool]]


@dataclass(slots=True)
class SlotExited:
    """The slots of `process`, by its number, are dead; `unread` leases never reached them. `how`
    says signal or exit code. What `remains` of others, by their leases: outcomes without a rest."""

    process: int
    how: str
    unread: list[int]
    remains: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class TakenBack:
    """These leases were taken out of a slot's socket before it read them."""

    slot: int
    leases: list[int]


@dataclass(slots=True)
class Weighed:
    """The memory that a lease uses in its slot, in bytes, if that is more than its limit."""

    slot: int
    lease: int
    size: int


@dataclass(slots=True)
class Printed:
    """What the run under `lease` that began at `begun` has printed, from byte `at` of it on."""

    lease: int
    begun: float
    at: int
    text: bytes


@dataclass(slots=True)
class Arrived:
    """This input is here."""

    ref: Ref


@dataclass(slots=True)
class Missed:
    """An input could not be brought here. The stores that are `lost` were to have it and have it
    not, or not whole; if they are none, nobody has answered."""

    ref: Ref
    reason: str
    lost: list[str]


@dataclass(slots=True)
class Listed:
    """What the store holds of its own, from some place on: rows of session, counter, lease; and
    where the next ones begin, None if there are no more."""

    rows: list[list[Any]]
    behind: bytes | None


@dataclass(slots=True)
class Oldest:
    """What the store has had for longest, oldest first: copies, and its own from some place on.
    Rows of session, counter, lease, bytes."""

    copies: list[list[Any]]
    own: list[list[Any]]


@dataclass(slots=True)
class Owned:
    """What was adopted is in the store as its own: rows of session, counter, lease, the store it
    was with; and why it is not, "" if it is."""

    rows: list[list[Any]]


@dataclass(slots=True)
class WorkerTurn:
    """What one turn wants done. `tasks` are (slot, piece, low, high) by index within the piece."""

    sends: list[Envelope] = field(default_factory=list)
    functions: list[tuple[int, bytes]] = field(default_factory=list)
    tasks: list[tuple[int, Piece, int, int]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    retire: list[int] = field(default_factory=list)  # slots that idle, and are to be replaced
    harsher: list[tuple[int, bool]] = field(default_factory=list)  # slot, SIGKILL or SIGTERM
    kills: list[tuple[int, int]] = field(default_factory=list)  # slot, the lease that must end
    weigh: list[tuple[int, int, int]] = field(default_factory=list)  # slot, lease, its limit
    look: bool = False  # tell what has been printed by what runs and is listened to
    take_back: list[int] = field(default_factory=list)
    store: list[tuple[int, int, bytes]] = field(default_factory=list)  # ticket, kind, body
    take: list[tuple[int, list[list[Any]]]] = field(default_factory=list)  # ticket, rows of TAKE
    drop: list[tuple[bytes, int]] = field(default_factory=list)  # task, lease: not needed any more
    told: list[tuple[bytes, int]] = field(default_factory=list)  # task, lease: stored, and recorded
    drop_ticket: int = 0  # that is told under it, after what is to be stored
    fetch: list[Order] = field(default_factory=list)  # inputs that are to be brought
    relayed: list[Relay] = field(default_factory=list)  # what came by way of the router
    moved: list[Order] = field(default_factory=list)  # who holds those that are on their way
    let_in: dict[str, str] | None = None  # who may ask for results here: public key → role
    list_behind: bytes | None = None  # have what the store holds listed, from behind this on
    oldest_behind: tuple[int, bytes] | None = None  # the same of the oldest: lease, task
    warning: str | None = None  # for people, once
    ask_time: bool = False  # ask who gives it its time whether there is more
    dial: list[Dial] = field(default_factory=list)  # others that are to be tried to be reached
    own: list[tuple[int, list[Ref]]] = field(default_factory=list)  # ticket, copies that it keeps
    stop: str | None = None  # leave the mesh, and why


@dataclass(slots=True)
class Settings:
    """The times and caps of a mesh, given by the router to all in WELCOME. Seconds.

    Each is set by itself: who sets `heartbeat_s` to 0.2 sets `lost_after_s`, too.
    """

    heartbeat_s: float = 2.0  # idle that long, say "alive"
    lost_after_s: float = 10.0  # silent that long, given up
    far_factor: float = 3.0  # who is reached by TCP has so many times as long
    slot_losses_max: int = 3  # a task that kills its slot this often fails
    worker_losses_max: int = 10  # the same for whole workers: rarely the task's fault
    inline_bytes: int = 8192  # a larger result stays with its worker
    store_lost_after_s: float = 600.0  # what was with a worker that is gone for so long is lost
    fetch_timeout_s: float = 60.0  # nothing of an input came for so long: its task goes back
    ttl_s: float = 30 * 86400.0  # so long after its end a task is forgotten: of the router's uptime
    quota_bytes: int = 16 * 2**30  # of the router's records; beyond it the oldest are forgotten
