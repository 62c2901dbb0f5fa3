"""What it costs to be a client over encrypted TCP, and one that is some way off."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..delay import Delay
from ..measure import interleave, seconds_of
from ..reference import warm_up
from ..row import Goal, Row
from ..settings import Settings
from ..subject import durable_mesh
from ..work import identity, noop

if TYPE_CHECKING:
    from mesh import Mesh

ARGUMENT_BYTES = 1_000

#: Each way: hosts of one city.
DELAY_S = 0.002

HERE, NEAR, FAR = "over ipc", "over TCP with CURVE", "the same, 2 ms away"

CURVE = Goal(target=0.9, aim=1.0, better="more")
DELAYED = Goal(target=0.8, aim=0.95, better="more")


@contextmanager
def clients(settings: Settings) -> Iterator[dict[str, Mesh]]:
    """Three of one mesh: in its own folder of sockets, through its port, and far from that."""
    from mesh import Mesh

    with ExitStack() as opened:
        enter = opened.enter_context
        owner = enter(durable_mesh(settings.folder, listen="tcp://127.0.0.1:*"))
        told = json.loads((Path(str(owner.folder)) / "access.json").read_text())
        near = next(each for each in told["addresses"] if each.startswith("tcp://"))
        delay = Delay(int(near.rpartition(":")[2]), DELAY_S)
        opened.callback(delay.close)
        folder = Path(enter(tempfile.TemporaryDirectory()))
        found = {}
        addresses = {HERE: told["addresses"][0], NEAR: near, FAR: delay.address}
        for number, (name, address) in enumerate(addresses.items()):
            file = folder / f"{number}.json"
            file.touch(0o600)
            file.write_text(json.dumps(told | {"addresses": [address]}))
            found[name] = enter(Mesh(access=file))
            warm_up(found[name])
        yield found


def no_ops(mesh: Mesh, count: int) -> float:
    """Tasks per second of one `submit_many`."""
    return count / seconds_of(lambda: mesh.submit_many(noop, range(count)).results())


def with_arguments(mesh: Mesh, count: int) -> float:
    """The same of tasks that are given 1 kB each, and give it back."""
    given = [number.to_bytes(4, "big") * (ARGUMENT_BYTES // 4) for number in range(count)]
    return count / seconds_of(lambda: mesh.submit_many(identity, given).results())


def measure(settings: Settings) -> list[Row]:
    count = settings.pick(20_000, quick=2_000)
    rows = []
    with clients(settings) as found:
        for what, take in (("no-ops", no_ops), ("1 kB there and back", with_arguments)):
            sides = {name: partial(take, mesh, count) for name, mesh in found.items()}
            taken = interleave(sides, settings.repeat)
            pairs = ((NEAR, HERE, CURVE), (FAR, NEAR, DELAYED))
            rows += [
                Row(f"{what}, {name}", "tasks/s", taken[name], beside, taken[beside], goal)
                for name, beside, goal in pairs
            ]
    return rows
