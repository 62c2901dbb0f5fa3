"""Meaning: which task or group a user's text stands for: an id, a prefix, an alias, or "last"."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from ..task import COUNTER_CHARS_MAX, SESSION_CHARS, key, unkey
from .rows import TEXT_ERRORS, unpack
from .tables import KEY_BYTES_MAX, Transaction


def alias_key(alias: str) -> bytes:
    """What an alias is kept under: itself, or as much of it as a key may hold, and a digest."""
    raw = alias.encode("utf-8", TEXT_ERRORS)
    if len(raw) <= KEY_BYTES_MAX:
        return raw
    return raw[: KEY_BYTES_MAX - 32] + blake2b(raw, digest_size=32).digest()


def texts(
    txn: Transaction, asked: list[tuple[str, tuple[str, int] | None]]
) -> list[list[Any] | None]:
    """What each of these texts means; with a text comes the id that it shows, if it shows one."""
    return [_meaning(txn, text, parsed) for text, parsed in asked]


def _meaning(txn: Transaction, text: str, parsed: tuple[str, int] | None) -> list[Any] | None:
    """["task" | "group", session, counter, size] of what a user's text means: never a task that
    is an older one, of which no news would come."""
    if text == "last":
        last = txn.get("meta", b"last")
        parsed = unkey(last) if last is not None else None
    else:
        raw = txn.get("alias", alias_key(text)) if text else None
        if raw is not None:
            return ["task", *unpack(raw)[:2], 1]
        parsed = parsed or _prefixed(txn, text)
    if parsed is None:
        return None
    group = txn.get("group", key(*parsed))
    if group is not None:
        return ["group", *parsed, unpack(group)[0]]
    older = txn.get("foreign", key(*parsed))
    if older is not None:
        return ["task", *unkey(older), 1]
    return ["task", *parsed, 1] if exists(txn, *parsed) else None


def _prefixed(txn: Transaction, text: str) -> tuple[str, int] | None:
    """``k3f.17`` where one session alone begins with k3f."""
    prefix, dot, number = text.partition(".")
    if not (dot and prefix.isascii() and number.isascii() and number.isdigit()):
        return None
    if len(prefix) > SESSION_CHARS or len(number) > COUNTER_CHARS_MAX:
        return None
    sessions = []
    for session, _ in txn.scan("session", prefix.encode()):
        if not session.startswith(prefix.encode()):
            break
        sessions.append(session.decode())
    return (sessions[0], int(number)) if prefix and len(sessions) == 1 else None


def exists(txn: Transaction, session: str, counter: int) -> bool:
    """Whether some block holds this task."""
    found = txn.before("block", key(session, counter))
    if found is None or found[0][:8] != session.encode():
        return False
    return bool(counter - unkey(found[0])[1] < unpack(found[1])[0])
