"""Notices: what a router tells without having been asked, in words for the user."""

from __future__ import annotations

from typing import Any

from ..core.notices import NO_ABLE, NO_ROOM, NO_WORKER, ROOM

#: These keep tasks waiting until somebody does something.
OF_TASKS = {NO_WORKER, NO_ABLE}


def words(kind: str, about: dict[str, Any], access: str) -> str | None:
    """What to say of an event of this kind, if anything. `access` is how a worker would join."""
    if kind == NO_WORKER:
        return (
            f"tasks wait ({about.get('queued', '?')}), and the mesh has had no worker with a slot "
            f"for {about.get('for_s', 0):.0f} s: start one with `mesh worker --access {access}`"
        )
    if kind == NO_ABLE:
        return f"tasks wait for {about.get('waits_for', 'a worker that can run them')}"
    if kind == NO_ROOM:
        reason = about.get("reason", "its disk is full")
        return f"the mesh cannot record more, and waits until it can: {reason}"
    if kind == ROOM:
        return "the mesh has room again, and goes on"
    return None
