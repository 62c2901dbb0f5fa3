"""Forgetting: what somebody wants forgotten now, rather than when it is old.

An order waits until pruning is between two rounds, and the next until the one before is on disk:
so nothing is forgotten, and counted, twice. Never forgotten is a task that has not ended, nor one
whose result such a task takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..protocol import messages as m
from ..task import ENDED, key, unkey
from .block import HOLE
from .peers import Peer
from .pruning import BLOCKS_MAX, Old

if TYPE_CHECKING:
    from .router import RouterCore

#: A block of which members may be forgotten: its key, and of each that has ended the index, and
#: where it is counted.
Ended = tuple[bytes, list[tuple[int, int]]]


class Forgetting:
    """Carries out such orders for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._orders: deque[Callable[[], None]] = deque()
        self._is_busy = False

    def go_on(self) -> None:
        """Begin the next order, if there is one and pruning rests."""
        if self._orders and not self._is_busy and self._core.pruning.pause():
            self._is_busy = True
            self._orders.popleft()()

    def _over(self, peer: Peer, token: int, tally: dict[str, int], now: float) -> None:
        """An order was carried out, and that is on disk."""
        self._is_busy = False
        self._core.peers.send(peer, m.Tell(token, None, tally), now)
        self._core.drops.hurry(now)
        self._core.pruning.go_on(now)
        self.go_on()

    def _when_written(self, is_anything: bool, then: Callable[[float], None], now: float) -> None:
        """`then` comes when what this step wrote is on disk; at once, if that is nothing."""
        if is_anything:
            self._core.after_commit(then)
        else:
            then(now)

    # -- these tasks -------------------------------------------------------------------------

    def forget(self, peer: Peer, token: int, spans: list[tuple[str, int, int]]) -> None:
        """Forget these tasks. The answer: how many were `forgotten`, and how many not, because they
        are `open` or `needed` by others that are."""
        self._orders.append(partial(self._look_up, peer, token, spans))
        self.go_on()

    def _look_up(self, peer: Peer, token: int, spans: list[tuple[str, int, int]]) -> None:
        then = partial(self._found, peer, token, spans)
        self._core.lookups.ask("forgettable", spans, then)

    def _found(
        self,
        peer: Peer,
        token: int,
        spans: list[tuple[str, int, int]],
        found: list[Ended],
        now: float,
    ) -> None:
        ledger = self._core.ledger
        tally = {"forgotten": 0, "open": 0, "needed": 0}
        for session, first, count in spans:
            for block, low, high in ledger.blocks.overlapping(session, first, count):
                tally["open"] += sum(state < ENDED for state in block.states[low:high])
        for block_key, members in found:
            session, first = unkey(block_key)
            gone = []
            for i, counted in members:
                task = key(session, first + i)
                if ledger.inputs.is_needed(task) or task in self._core.recovery.running:
                    tally["needed"] += 1
                    continue
                gone.append(i)
                ledger.recent.forget(task)
                ledger.counts[counted] -= 1
                in_memory = ledger.blocks.find(session, first + i)
                if in_memory is not None:
                    in_memory[0].states[in_memory[1]] = HOLE
            tally["forgotten"] += len(gone)
            ledger.writes.append(("forget", block_key, gone, ledger.age_s))
        self._when_written(bool(found), partial(self._over, peer, token, tally), now)

    # -- all that is old ---------------------------------------------------------------------

    def prune(self, peer: Peer, token: int, older_s: float, is_rehearsal: bool) -> None:
        """Forget what ended longer ago than `older_s` of the router's uptime, but for what its
        client has not heard of; or only say what that is. The answer: how many `tasks` those are,
        the `stored_bytes` of their results, and how many are `kept` although they are as old."""
        tally = {"tasks": 0, "stored_bytes": 0, "kept": 0}
        before_s = self._core.ledger.age_s - older_s
        self._orders.append(partial(self._sweep, peer, token, before_s, is_rehearsal, tally, b""))
        self.go_on()

    def _sweep(
        self,
        peer: Peer,
        token: int,
        before_s: float,
        is_rehearsal: bool,
        tally: dict[str, int],
        behind: bytes,
    ) -> None:
        def found(answer: tuple[list[Old], int], now: float) -> None:
            rows = [old for old in answer[0] if old.ended_s < before_s]
            pruning = self._core.pruning
            gone = [old for old in rows if pruning.may_go(old)]
            tally["tasks"] += sum(old.tasks for old in gone)
            tally["stored_bytes"] += sum(old.stored_bytes for old in gone)
            tally["kept"] += sum(old.tasks for old in rows) - sum(old.tasks for old in gone)
            if not is_rehearsal:
                pruning.forget(gone, 0.0)
            is_last = len(rows) < BLOCKS_MAX
            place = rows[-1].place if rows else b""

            def committed(now: float) -> None:
                pruning.forget_sessions(sorted({old.session for old in gone}))
                if is_last:
                    self._over(peer, token, tally, now)
                else:
                    self._sweep(peer, token, before_s, is_rehearsal, tally, place)

            self._when_written(bool(gone) and not is_rehearsal, committed, now)

        self._core.lookups.ask("prunable", (behind, BLOCKS_MAX), found)
