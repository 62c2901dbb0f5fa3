"""Durability: what a commit of a store survives. Two levels, by one name everywhere.

`disk`: it is on the disk when it returns, and survives a power cut. `process`: it is in the page
cache, survives every kill of every process, and may be lost or torn when the machine goes down.
"""

from __future__ import annotations

from typing import Literal, get_args

Durability = Literal["disk", "process"]

LEVELS: tuple[Durability, ...] = get_args(Durability)


def level(wanted: str | None, *, temporary: bool) -> Durability:
    """The level of a mesh whose user asked for `wanted`, or for nothing.

    Raises:
        ValueError: there is no such level, or a temporary mesh is to survive a power cut.
    """
    if wanted is None:
        return "process" if temporary else "disk"
    if wanted == "process":
        return "process"
    if wanted != "disk":
        raise ValueError(f"durability={wanted!r}: give one of {', '.join(map(repr, LEVELS))}")
    if temporary:
        raise ValueError(
            "durability='disk' is for a mesh with a folder, and this one goes with its script: "
            "give dir= or name= too"
        )
    return "disk"
