"""The figures, one module each, with `measure(settings) → rows`."""

from __future__ import annotations

import importlib
from typing import Any

from ..settings import Settings

NAMES = (
    "throughput",
    "graph",
    "curve",
    "durability",
    "roundtrip",
    "payload",
    "exchange",
    "tree",
    "startup",
    "footprint",
    "memory",
    "idle",
    "soak",
)


def measure(name: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Run in a new process: the rows of one figure."""
    figure = importlib.import_module(f"{__package__}.{name}")
    return [row.to_json() for row in figure.measure(Settings(**settings))]
