"""Which faults a run injects, and when: a pure function of its seed.

A fault names roles and numbers, never processes: who plays the part at that moment is hit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

#: The times of the meshes under test, in seconds. A worker starved by a busy machine for as long as
#: `lost_after_s` would be given up though nobody stopped it.
HEARTBEAT_S = 0.3
LOST_AFTER_S = 3.0

#: Nobody is away for so long whose store is still there.
STORE_LOST_AFTER_S = 10.0

#: A stop that must cost nothing ends well before `lost_after_s`, one that costs a worker its tasks
#: well after: which of both it was must be plain.
SHORT_S = (0.2, 0.4 * LOST_AFTER_S)
LONG_S = (1.4 * LOST_AFTER_S, 2.0 * LOST_AFTER_S)

#: Between two faults, on average: a router or worker that was started anew should get some work
#: done before the next one.
PAUSE_S = 0.9

#: The first fault waits for work to be under way.
FIRST_S = 0.5

#: How often each kind of fault is drawn: (kind, role, weight).
KINDS: list[tuple[str, str, int]] = [
    ("kill", "slot", 22),
    ("kill", "worker", 14),
    ("kill", "router", 12),
    ("kill", "client", 7),
    ("kill", "everything", 3),
    ("stop", "slot", 6),
    ("stop", "worker", 6),
    ("stop", "router", 6),
    ("stop", "client", 5),
    ("stop long", "worker", 4),
    ("stop long", "router", 2),
    ("cut", "wire", 10),
    ("spoil", "worker", 8),
    ("wipe", "worker", 4),
    ("leave", "worker", 8),
    ("leave", "router", 3),
    ("kill", "owner", 3),
    ("kill", "owner's router", 4),
    ("kill", "owner's worker", 3),
    ("kill", "owner's slot", 4),
]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        at_s: when, from the begin of the load.
        kind: "kill" (SIGKILL), "stop", "stop long" (SIGSTOP, then SIGCONT), "leave" (SIGTERM),
            "cut" (a connection), "spoil" (results in a worker's store), "wipe" (SIGKILL, and its
            store is gone).
        role: of whom.
        number, slot: which of that role, and which slot of a worker; counted around.
        for_s: how long a stop lasts, or how long until who was ended is started again.
    """

    at_s: float
    kind: str
    role: str
    number: int
    slot: int
    for_s: float


def plan(seed: int, seconds: float) -> list[Fault]:
    """The faults of a run of `seconds`, in the order of their times."""
    chance = random.Random(f"faults {seed}")
    weights = [weight for _, _, weight in KINDS]
    faults: list[Fault] = []
    at_s = FIRST_S
    while at_s < seconds:
        kind, role, _ = chance.choices(KINDS, weights)[0]
        for_s = chance.uniform(*(LONG_S if kind == "stop long" else SHORT_S))
        number, slot = chance.randrange(60), chance.randrange(60)  # divisible by all small counts
        faults.append(Fault(at_s, kind, role, number, slot, for_s))
        at_s += chance.expovariate(1 / PAUSE_S)
    return faults
