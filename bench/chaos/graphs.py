"""Graphs of calls: what clients of a chaos run submit whose tasks take the results of others.

Each is a list of steps, in the order in which they are submitted: nobody takes what comes later.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from . import calls
from .step import SIZES, Call, Take

#: Graphs under ids of the users' own: few enough that several clients come to the same ones.
ALIASES = 30

#: Arguments that travel in a message, and such as are left with the home worker.
DATA = (500, 20_000, 200_000, 3_000_000)

#: One graph: its steps' calls.
Graph = list[list[Call]]

#: What makes a graph of this key.
Maker = Callable[[random.Random, str, str], Graph]


def combine(
    chance: random.Random, key: str, takes: list[Take], *, data: int = 0, large: float = 0.3
) -> Call:
    """A call that combines what it takes. `large`: how likely its value is."""
    size = chance.choice(SIZES) if chance.random() < large else chance.randint(1, 2_000)
    seconds = chance.choice([0.0, 0.0, 0.0, 0.01, 0.1])
    raw = calls.content(f"{key}/data", data)
    fingerprint = calls.fingerprint(raw) if data else None
    arguments = (size, seconds, False, raw)
    return Call(key, "combine", arguments, takes=tuple(takes), data=fingerprint)


def source(chance: random.Random, key: str) -> Call:
    """A call that takes nothing, and gives something."""
    if chance.random() < 0.5:
        return large(chance, key)
    return Call(key, "nap", (0.02,), value=calls.fingerprint(key))


def large(chance: random.Random, key: str) -> Call:
    """A call whose result stays with its worker."""
    size = chance.choice(SIZES)
    return Call(key, "large", (size,), value=calls.fingerprint(calls.content(key, size)))


def futures(keys: list[str]) -> list[Take]:
    """All of these."""
    return [Take("future", key) for key in keys]


def chain(chance: random.Random, mesh: str, key: str) -> Graph:
    """Each takes the one before."""
    made: Graph = [[source(chance, f"{key}.0")]]
    for number in range(1, chance.randint(3, 25)):
        takes = futures([f"{key}.{number - 1}"])
        made.append([combine(chance, f"{key}.{number}", takes, large=0.2)])
    return made


def diamond(chance: random.Random, mesh: str, key: str) -> Graph:
    """One, a group that takes it, and one that takes the group."""
    top, sides = f"{key}.top", [f"{key}.{i}" for i in range(chance.randint(2, 8))]
    group = [combine(chance, side, futures([top])) for side in sides]
    bottom = [Take("group", sides[0])] if chance.random() < 0.5 else futures(sides)
    return [[source(chance, top)], group, [combine(chance, f"{key}.bottom", bottom)]]


def reduction(chance: random.Random, mesh: str, key: str) -> Graph:
    """Many leaves, and a tree over them; or one that takes them all."""
    count, size = chance.randint(8, 60), chance.choice(SIZES[:3])
    keys = [f"{key}.{i}" for i in range(count)]
    if chance.random() < 0.5:
        leaves = [Call(each, "echo", value=calls.fingerprint(each)) for each in keys]
    else:
        values = {each: calls.fingerprint(calls.content(each, size)) for each in keys}
        leaves = [Call(each, "large", (size,), value=values[each]) for each in keys]
    made: Graph = [leaves]
    if chance.random() < 0.3:
        return [*made, [combine(chance, f"{key}.all", [Take("group", keys[0])])]]
    width, level = chance.randint(3, 8), 0
    while len(keys) > 1:
        level += 1
        parts = [keys[at : at + width] for at in range(0, len(keys), width)]
        keys = [f"{key}.{level}.{i}" for i in range(len(parts))]
        pairs = zip(keys, parts, strict=True)
        made.append([combine(chance, each, futures(part)) for each, part in pairs])
    return made


def lattice(chance: random.Random, mesh: str, key: str) -> Graph:
    """Each takes some of those before; some of them fail, die, are cancelled, or run once only."""
    keys: list[str] = []
    made: Graph = []
    for number in range(chance.randint(5, 16)):
        name = f"{key}.{number}"
        if len(keys) < 2 or chance.random() < 0.2:
            call = _of_any_end(chance, name)
        else:
            some = chance.sample(keys, min(len(keys), chance.randint(1, 4)))
            call = combine(chance, name, futures(some))
            if chance.random() < 0.05:
                call = replace(call, cancel="queued")
            elif chance.random() < 0.08:
                size, seconds, _, data = call.arguments
                options, arguments = {"retries": 1, "backoff": 0.05}, (size, seconds, True, data)
                call = replace(call, arguments=arguments, options=options, error="ValueError")
        keys.append(name)
        made.append([call])
    return made


def _of_any_end(chance: random.Random, key: str) -> Call:
    """A source that comes to a good end, or not."""
    what = chance.random()
    if what < 0.15:
        return Call(key, "fail", error="ValueError")
    if what < 0.3:
        options = {"retries": 1, "backoff": 0.05}
        return Call(key, "flaky", ("TRACE", 1), options, calls.fingerprint(key))
    if what < 0.4:
        return Call(key, "die", ("TRACE", 1), value=calls.fingerprint(key))
    if what < 0.6:
        cancel = chance.choice(["queued", "running"])
        seconds = round(chance.uniform(0.1, 1.5), 2)
        return Call(key, "nap", (seconds,), value=calls.fingerprint(key), cancel=cancel)
    if what < 0.7:
        return replace(large(chance, key), options={"rerun": False})
    return source(chance, key)


def put(chance: random.Random, mesh: str, key: str) -> Graph:
    """An object that a group takes; perhaps one that was put before."""
    word, size = f"{mesh}/object-{chance.randrange(8)}", chance.choice([300, *SIZES])
    if chance.random() < 0.5:
        word = f"{key}/object"
    value = calls.fingerprint(calls.content(word, size))
    objects = [Call(f"{key}.put", "put", (word, size), value=value)]
    takers = [f"{key}.{i}" for i in range(chance.randint(2, 12))]
    group = [combine(chance, each, futures([f"{key}.put"]), large=0.2) for each in takers]
    return [objects, group, [combine(chance, f"{key}.last", futures([*takers, f"{key}.put"]))]]


def direct(chance: random.Random, mesh: str, key: str) -> Graph:
    """Arguments that are large themselves, beside futures."""
    some = [source(chance, f"{key}.{i}") for i in range(chance.randint(1, 3))]
    takes = futures([each.key for each in some])
    last = combine(chance, f"{key}.last", takes, data=chance.choice(DATA))
    return [*([each] for each in some), [last]]


def others(chance: random.Random, mesh: str, key: str) -> Graph:
    """What others have submitted, and something that follows."""
    takes = [Take("other", number=chance.randrange(100)) for _ in range(chance.randint(1, 4))]
    first = combine(chance, f"{key}.0", [*takes, *futures([f"{key}.own"])])
    last = combine(chance, f"{key}.1", futures([f"{key}.0"]))
    return [[source(chance, f"{key}.own")], [first], [last]]


def stored(chance: random.Random, mesh: str, key: str) -> Graph:
    """What was made some time ago, and may be lost by now; and something that follows."""
    keys = [f"{key}.{i}" for i in range(chance.randint(1, 6))]
    numbers = [chance.sample(range(300), chance.randint(1, 4)) for _ in keys]
    pairs = zip(keys, numbers, strict=True)
    group = [
        combine(chance, each, [Take("stored", number=n) for n in some]) for each, some in pairs
    ]
    return [group, [combine(chance, f"{key}.last", futures(keys))]]


def alias(chance: random.Random, mesh: str, key: str) -> Graph:
    """The same graph whoever makes it: a source, and what takes it."""
    number = chance.randrange(ALIASES)
    names = [f"{mesh}/graph-{number}-{part}" for part in ("source", "middle", "end")]
    same = random.Random(names[0])
    first = large(same, names[0]) if number % 2 else source(same, names[0])
    middle = combine(same, names[1], futures(names[:1]))
    end = combine(same, names[2], futures(names[:2]))
    return [[_named(each)] for each in (first, middle, end)]


def _named(call: Call) -> Call:
    options = {"id": call.key}
    return Call(call.key, call.function, call.arguments, options, call.value, takes=call.takes)


#: Name → maker, and how often it is drawn.
SHAPES: dict[str, tuple[Maker, int]] = {
    "chain": (chain, 4),
    "diamond": (diamond, 5),
    "reduction": (reduction, 4),
    "lattice": (lattice, 7),
    "put": (put, 5),
    "direct": (direct, 4),
    "others": (others, 7),
    "stored": (stored, 8),
    "alias graph": (alias, 4),
}
