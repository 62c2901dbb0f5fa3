"""Pruning: history goes when it is old, or when there is too much of it; in small steps.

A block whose tasks have all ended goes `ttl_s` after that, counted in the router's uptime: a folder
on which no mesh runs does not age. When the records take more than `quota_bytes`, blocks go before
that, oldest first, but none before its client has heard how it ended, and none that is so young
that it may be sent again by one that has just lost its connection. If that does not suffice, new
tasks wait (stall.py) until something has ended and been heard of: they do not come and go at the
edge of the quota, but wait until a part of it is free, or for some seconds at least.

A block stays as long as one that takes its results: what is lost is made again from its inputs. The
store puts it aside meanwhile, so that it is not looked at again and again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..options import show_size
from ..task import ENDED, key, unkey

if TYPE_CHECKING:
    from .router import RouterCore

#: The store is asked whether anything is to go after so many heartbeats.
PRUNE_BEATS = 5

#: Blocks in one step: a few thousand tasks, some milliseconds of the store's thread.
BLOCKS_MAX = 16

#: Beyond so much of the quota new tasks wait although more is being forgotten: they come faster.
BEYOND_PART = 1.1

#: Once the quota is used up, so much of it is to be free before new tasks are taken; or, where no
#: more can be forgotten, whatever is free after so long.
SPARE_PART = 0.05
FULL_S = 10.0

#: Looking through all that may not go yet takes at most this part of the time.
BUSY_PART = 0.1

#: The router's age is recorded this often; a router that is killed has aged less, by so much.
AGE_EVERY_S = 60.0


class Old(NamedTuple):
    """An ended block, as the store tells of it."""

    place: bytes  # where it is in the order of ends
    ended_s: float  # the router's age when it ended
    block: bytes
    session: str
    heard_s: float  # of a client that is gone: up to when it had heard all
    counts: list[int]  # how many of its tasks are in each state that is an end, and of its puts
    is_taken: bool = False  # by a block whose record is there
    size: int = 0
    stored_bytes: int = 0  # of its results that are with workers

    @property
    def tasks(self) -> int:
        """How many tasks it has; puts are none."""
        return sum(self.counts[:-1])


class Pruning:
    """Has `core`'s store forget."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._is_asking = False
        self._next_at = 0.0
        self._began_at = 0.0
        self._from = b""  # where the next step begins: behind those that must stay
        self._age_at = 0.0
        self._full_at = 0.0  # when the quota was found used up

    def tick(self, now: float) -> None:
        """Record the router's age, and see whether anything is to go."""
        core = self._core
        if now >= self._age_at:
            self._age_at = now + AGE_EVERY_S
            core.ledger.writes.append(("age", core.ledger.age_s))
        if not self._is_asking and now >= self._next_at and core.stall.reason is None:
            self._began_at = now
            self._ask()

    def pause(self) -> bool:
        """Rest until `go_on`, if it rests now; tasks that are taken meanwhile are gathered."""
        if self._is_asking:
            return False
        self._is_asking = True
        self._core.ledger.inputs.touched = set()
        return True

    def go_on(self, now: float) -> None:
        """The pause is over."""
        self._is_asking = False
        self._core.ledger.inputs.touched = None
        self._next_at = now

    def may_go(self, old: Old) -> bool:
        """Whether a block may be forgotten because somebody wants that: its client has heard of it,
        and will not send it again; and nobody takes its results."""
        settled_s = self._core.ledger.age_s - 2 * self._core.settings.lost_after_s
        if old.is_taken or self._is_needed(old):
            return False
        return old.ended_s < settled_s and self._is_heard(old)

    def measured(self, used: int, now: float) -> None:
        """A commit has left the records with so much."""
        core = self._core
        if core.stall.full is not None or used <= core.settings.quota_bytes:
            return
        self._next_at = now
        if used > core.settings.quota_bytes * BEYOND_PART:
            self._fill(used, now)

    def _ask(self) -> None:
        self._is_asking = True
        self._core.ledger.inputs.touched = set()
        about = (self._from, BLOCKS_MAX)
        self._core.lookups.ask("prunable", about, self._found)

    def _found(self, answer: tuple[list[Old], int], now: float) -> None:
        """The store's oldest blocks, and how much room its records take."""
        core = self._core
        rows, used = answer
        settings = core.settings
        quota, is_full = settings.quota_bytes, core.stall.full is not None
        too_much = used > quota * (1 - SPARE_PART if is_full else 1)
        before_s = core.ledger.age_s - settings.ttl_s
        settled_s = core.ledger.age_s - 2 * settings.lost_after_s
        due = [
            old
            for old in rows
            if old.ended_s < before_s
            or too_much
            and old.ended_s < settled_s
            and self._is_heard(old)
        ]
        more = len(rows) == BLOCKS_MAX and (too_much or len(due) == len(rows))
        self._from = rows[-1].place if more else b""
        held = [(old.place, old.block) for old in due if old.is_taken]
        if held:
            core.ledger.writes.append(("hold", held))
        gone = [old for old in due if not old.is_taken and not self._is_needed(old)]
        core.ledger.inputs.touched = None
        if gone:
            self.forget(gone, core.settings.ttl_s)
            core.after_commit(partial(self._go_on, {old.session for old in gone}))
            return
        if more:
            self._ask()
            return
        self._is_asking = False
        core.desk.forgetting.go_on()
        pause_s = (now - self._began_at) * (1 / BUSY_PART - 1)
        self._next_at = now + max(PRUNE_BEATS * settings.heartbeat_s, pause_s)
        if used > quota:
            self._fill(used, now)
        elif not too_much or now >= self._full_at + FULL_S:
            core.stall.ease()

    def _fill(self, used: int, now: float) -> None:
        """New tasks wait from now on."""
        core = self._core
        if core.stall.full is None:
            self._full_at = now
        core.stall.fill(
            f"the records take {show_size(used)}, more than the quota of "
            f"{show_size(core.settings.quota_bytes)}, and too little may be forgotten yet"
        )

    def _go_on(self, sessions: set[str], now: float) -> None:
        self.forget_sessions(sorted(sessions))
        self._ask()

    def forget_sessions(self, sessions: list[str]) -> None:
        """Forget clients that are gone, if no block of theirs is left. A client that is there is
        forgotten when it goes. One that has come, submitted and gone while the store was asked is
        known by its highest counter."""
        ledger, by_who = self._core.ledger, self._core.peers.by_who
        highest = {each: ledger.sessions.get(each) for each in sessions}

        def found(empty: list[str], now: float) -> None:
            for session in empty:
                is_gone = ("client", session) not in by_who
                if is_gone and ledger.sessions.get(session) == highest[session]:
                    ledger.sessions.pop(session, None)

        self._core.lookups.ask("empty", sessions, found)

    def _is_needed(self, old: Old) -> bool:
        """Whether a task takes a result of a block that the store, when it was asked, did not know
        to be taken."""
        session, first = unkey(old.block)
        if self._core.ledger.blocks.find(session, first) is not None:
            return True  # some of it is made again
        needs = self._core.ledger.inputs.is_needed
        return any(needs(key(session, first + i)) for i in range(old.size))

    def _is_heard(self, old: Old) -> bool:
        """Whether the client that submitted a block has heard how all of it ended."""
        owner = self._core.peers.by_who.get(("client", old.session))
        return old.ended_s < (old.heard_s if owner is None else owner.news.heard_s)

    def forget(self, gone: list[Old], after_s: float) -> None:
        """Forget these blocks, and have workers told so `after_s` from their end."""
        ledger = self._core.ledger
        rows = [(old.place, old.block, old.ended_s + after_s) for old in gone]
        if rows:
            ledger.writes.append(("prune", rows))
            ledger.recent.clear()
        for old in gone:
            for nth, count in enumerate(old.counts):
                ledger.counts[ENDED + nth] -= count
