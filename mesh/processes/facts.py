"""Facts: what a process says of itself that no core knows: its versions, its clock, how many
descriptors it has open and may have."""

from __future__ import annotations

import time
from typing import Any

from ..protocol import messages as m
from ..protocol import version
from ..transport import descriptors, libraries


def lasting() -> dict[str, Any]:
    """What stays as it is."""
    return {"versions": version.own() | libraries.versions()}


def passing() -> dict[str, Any]:
    """What is so at this moment."""
    return {"clock_s": time.time(), "descriptors": list(descriptors.usage())}


def complete(message: m.Message) -> None:
    """Put in what a worker's core does not have: it says of itself what is so as it is sent."""
    if isinstance(message, (m.Hello, m.Report)):
        message.about = message.about | passing()
