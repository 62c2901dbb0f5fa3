"""Meaning: which task or group a user's text stands for: an id, a prefix, an alias, the name of a
group, of several that of the newest, or "last"."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from ..task import COUNTER_CHARS_MAX, LAST, SESSION_CHARS, key, show, unkey
from . import groups
from .rows import TEXT_ERRORS, unpack
from .tables import KEY_BYTES_MAX, Transaction

#: Of the ids that a prefix may be of, so many are told.
CANDIDATES_MAX = 5


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
    is an older one, of which no news would come. ["several", …] with some of the ids, one more than
    are told if there are more, of which it is a prefix."""
    if text == LAST:
        last = txn.get("meta", b"last")
        parsed = unkey(last) if last is not None else None
    else:
        raw = txn.get("alias", alias_key(text)) if text else None
        if raw is not None:
            return ["task", *unpack(raw)[:2], 1]
        candidates = [parsed] if parsed is not None else _prefixed(txn, text)
        if len(candidates) > 1:
            return ["several", *(show(*each) for each in candidates)]
        parsed = candidates[0] if candidates else groups.named(txn, text)
    if parsed is None:
        return None
    group = txn.get("group", key(*parsed))
    if group is not None:
        return ["group", *parsed, unpack(group)[0]]
    older = txn.get("foreign", key(*parsed))
    if older is not None:
        return ["task", *unkey(older), 1]
    return ["task", *parsed, 1] if exists(txn, *parsed) else None


def _prefixed(txn: Transaction, text: str) -> list[tuple[str, int]]:
    """The tasks and groups of that number whose sessions begin so: ``k3f.17``. Not more of them
    than one more than are told."""
    prefix, dot, number = text.partition(".")
    if not (dot and prefix and prefix.isascii() and number.isascii() and number.isdigit()):
        return []
    if len(prefix) > SESSION_CHARS or len(number) > COUNTER_CHARS_MAX:
        return []
    found: list[tuple[str, int]] = []
    for session, _ in txn.scan("session", prefix.encode()):
        if not session.startswith(prefix.encode()) or len(found) > CANDIDATES_MAX:
            break
        task = (session.decode(), int(number))
        known = (txn.get(table, key(*task)) is not None for table in ("group", "foreign"))
        if any(known) or exists(txn, *task):
            found.append(task)
    return found


def exists(txn: Transaction, session: str, counter: int) -> bool:
    """Whether some block holds this task, and it is not forgotten."""
    found = txn.before("block", key(session, counter))
    if found is None or found[0][:8] != session.encode():
        return False
    header, index = unpack(found[1]), counter - unkey(found[0])[1]
    return index < header[0] and not (len(header) > 9 and index in header[9])
