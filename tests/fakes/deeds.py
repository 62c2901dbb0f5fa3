"""Deeds: what the tasks of a test do, by their payloads, and what comes of it."""

from __future__ import annotations

from mesh.protocol.outcome import body as body_of
from mesh.protocol.outcome import failure_body
from mesh.task import Kind

#: What the tasks of a test do, by payload.
OK, STORED, ERROR, FLAKY, KILLER, FOREVER = b"ok", b"stored", b"error", b"flaky", b"killer", b"stay"


def value_of(payload: bytes) -> bytes:
    """The outcome of a task with this payload that ends well."""
    return body_of(1.0, 0.01, b"", b"value of " + payload)


def outcome_of(payload: bytes, runs: int) -> tuple[int, bytes] | None:
    """How a task with this payload ends when its slot is done with it; None if it stays."""
    if payload.startswith(STORED):
        return Kind.STORED, b""  # the ref is made where it is stored
    if payload.startswith(ERROR) or payload.startswith(FLAKY) and runs < 1:
        return Kind.ERROR, failure_body("TaskFailed", "as it was told")
    if payload.startswith((OK, FLAKY)):
        return Kind.VALUE, value_of(payload)
    return None
