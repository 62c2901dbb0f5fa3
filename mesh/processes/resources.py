"""Resources: what a worker has besides slots: what was declared, else what is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..core.need import GPU, MEM
from . import gpus, memory


class Resources(NamedTuple):
    """Amounts by name, and the GPUs among them, as the environment names them."""

    amounts: dict[str, int]
    devices: list[str]


def resources_of(slots: int, declared: Mapping[str, int]) -> Resources:
    """What a worker with so many slots has. None declared of something is nothing to be given away:
    tasks see all GPUs then."""
    if not slots:
        return Resources({}, [])
    amounts = dict(declared)
    size = None if MEM in amounts else memory.limit()
    if size is not None:
        amounts[MEM] = size
    devices: list[str] = []
    if amounts.get(GPU) != 0:
        devices = gpus.found()
        count = amounts.setdefault(GPU, len(devices))
        others = (str(number) for number in range(count) if str(number) not in devices)
        devices = [*devices, *others][:count]
    return Resources({name: count for name, count in amounts.items() if count}, devices)
