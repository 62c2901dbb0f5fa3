"""What clients of a chaos run do: a pure function of the seed, the client and its life.

Each call has a *key*, unique but for calls under an id of the user's own, which several clients
submit: those are the same call, and the same task. What it must give is part of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from . import calls
from .graphs import SHAPES
from .step import SIZES, Call, Step

#: Ids of the users' own: few enough that several clients come to the same ones.
ALIASES = 200

#: Of the process that runs it, by a multiple; and what the task then really takes.
MEMORY_BYTES = 120_000_000
SWOLLEN_BYTES = 200_000_000

#: What each step of a client is: (name, weight).
STEPS: list[tuple[str, int]] = [
    ("single", 20),
    ("group", 16),
    ("napping group", 8),
    ("alias", 12),
    ("alias group", 5),
    ("large result", 8),
    ("large argument", 6),
    ("fail", 6),
    ("flaky", 7),
    ("outlast", 3),
    ("swell", 1),
    ("die", 3),
    ("die for good", 1),
    ("cancel", 7),
    ("cancel running", 5),
    *((name, weight) for name, (_, weight) in SHAPES.items()),
]


def steps(seed: int, mesh: str, client: str) -> Iterator[Step]:
    """What `client` (its name has its life in it) does on `mesh`, without end."""
    chance = random.Random(f"load {seed} {client}")
    weights = [weight for _, weight in STEPS]
    number = 0
    while True:
        (what, _) = chance.choices(STEPS, weights)[0]
        key = f"{client}.{number}"
        if what in SHAPES:
            *before, made = SHAPES[what][0](chance, mesh, key)
            for each in before:
                yield Step(each, chance.random() < 0.1, False, 0.0, more=True)
        else:
            made = _calls(what, chance, mesh, key)
        pause_s = min(0.6, chance.expovariate(1 / 0.12))
        yield Step(made, chance.random() < 0.3, chance.random() < 0.15, pause_s)
        number += 1


def _calls(what: str, chance: random.Random, mesh: str, key: str) -> list[Call]:
    if what == "group":
        options = {"priority": chance.randrange(3)}
        return [_echo(f"{key}.{i}", options) for i in range(chance.randint(2, 60))]
    if what == "napping group":
        return [_nap(f"{key}.{i}", chance) for i in range(chance.randint(2, 12))]
    if what == "alias group":
        first = chance.randrange(ALIASES)
        return [_alias(mesh, first + i) for i in range(chance.randint(2, 15))]
    return [_single(what, chance, mesh, key)]


def _single(what: str, chance: random.Random, mesh: str, key: str) -> Call:
    if what == "single":
        return _echo(key, {}) if chance.random() < 0.6 else _nap(key, chance)
    if what == "alias":
        return _alias(mesh, chance.randrange(ALIASES))
    if what == "large result":
        size = chance.choice(SIZES)
        return Call(key, "large", (size,), value=calls.fingerprint(calls.content(key, size)))
    if what == "large argument":
        data = calls.content(key, chance.choice(SIZES))
        return Call(key, "weigh", (data,), value=calls.fingerprint(calls.fingerprint(data)))
    if what == "fail":
        options = {"retries": chance.randrange(3), "backoff": 0.1}
        return Call(key, "fail", options=options, error="ValueError")
    if what == "flaky":
        times = chance.randint(1, 3)
        options = {"retries": times, "backoff": 0.05}
        return Call(key, "flaky", ("TRACE", times), options, calls.fingerprint(key))
    if what == "outlast":
        return Call(key, "outlast", options={"time_limit": 0.3}, error="TaskTimeout")
    if what == "swell":
        options = {"memory": MEMORY_BYTES}
        return Call(key, "swell", (SWOLLEN_BYTES,), options, error="TaskOutOfMemory")
    if what == "die":
        return Call(key, "die", ("TRACE", chance.randint(1, 2)), value=calls.fingerprint(key))
    if what == "die for good":
        return Call(key, "die", ("TRACE", 1_000), error="WorkerLost")
    cancel = "queued" if what == "cancel" else "running"
    seconds = round(chance.uniform(0.05, 3.0), 2)
    return Call(key, "nap", (seconds,), value=calls.fingerprint(key), cancel=cancel)


def _echo(key: str, options: dict[str, Any]) -> Call:
    return Call(key, "echo", options=options, value=calls.fingerprint(key))


def _nap(key: str, chance: random.Random) -> Call:
    seconds = round(chance.expovariate(1 / 0.15), 2)
    return Call(key, "nap", (min(seconds, 2.0),), value=calls.fingerprint(key))


def _alias(mesh: str, number: int) -> Call:
    """The same call whoever makes it."""
    key = f"{mesh}/alias-{number % ALIASES}"
    return Call(key, "nap", (0.02,), {"id": key}, calls.fingerprint(key))
