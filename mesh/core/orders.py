"""Orders: what clients want of tasks, besides having them run: to hear of them, to end them.

Both may name tasks of any client, open, ended or unknown. What memory does not know the store is
asked for; what a client's own line still holds (`parked`) is dealt with in its turn.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.outcome import failure_body
from ..task import ENDED, Kind, State, show
from .block import Block
from .ledger import NOBODY, RECORD
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

_RUNNING = int(State.RUNNING)

#: Tasks that one WATCH or CANCEL may name: each costs a look or a record. Clients page.
SPAN_TASKS_MAX = 8192

#: A task that is an older one: its session and counter, those of the older, its outcome if any.
Older = tuple[str, int, str, int, bytes | None]


class Orders:
    """Takes clients' orders for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._ledger = core.ledger
        self._peers = core.peers
        self._fleet = core.fleet
        self._later: list[tuple[Peer, m.Cancel]] = []  # until the grace is over

    def take_watch(self, peer: Peer, message: m.Watch, now: float) -> None:
        """Tell of these tasks, now or when they end."""
        if sum(span[2] for span in message.spans) > SPAN_TASKS_MAX:
            error = m.Error("MeshError", f"WATCH takes {SPAN_TASKS_MAX} tasks at a time")
            self._peers.send(peer, error, now)
            return
        spans: list[tuple[str, int, int]] = []
        for session, first, count in message.spans:
            open_ones: set[int] = set()
            for block, low, high in self._ledger.blocks.overlapping(session, first, count):
                self._watch(peer, block)
                for i in range(low, high):
                    if block.is_open(i):
                        open_ones.add(block.first + i)
            wanted = [c for c in range(first, first + count) if c not in open_ones]
            spans += _spans(session, wanted)
        if spans:
            self._peers.owe(peer, spans)

    def tell(self, peer: Peer, answer: list[tuple[Any, ...]], now: float) -> None:
        """The store's answer: (session, counter, outcome, the older task it is and its outcome).
        What it does not know may have come since, or be what it has no room for."""
        older: list[Older] = []
        unsure: list[tuple[str, int, int]] = []
        for session, counter, record, meant in answer:
            if meant is not None:
                older.append((session, counter, *meant))
            elif record is not None:
                self._peers.tell(peer, session, [counter], [record[0]], [record[RECORD.size :]])
            elif self._watch_open(peer, session, counter):
                pass
            elif self._core.stall.reason is not None:
                unsure.append((session, counter, 1))
            else:
                text = (
                    f"no task {show(session, counter)} on mesh {self._core.mesh}, or not any more"
                )
                body = failure_body("TaskNotFound", text)
                self._peers.tell(peer, session, [counter], [Kind.REFUSED], [body])
        self.tell_older(peer, older, now)
        if unsure:
            peer.news.unsure += 1
            self._core.after_commit(partial(self._ask_again, peer, unsure))

    def _watch_open(self, peer: Peer, session: str, counter: int) -> bool:
        """Whether a task is open; `peer` will hear of it then."""
        found = self._ledger.blocks.find(session, counter)
        if found is None or not found[0].is_open(found[1]):
            return False
        self._watch(peer, found[0])
        return True

    def _watch(self, peer: Peer, block: Block) -> None:
        """`peer` hears of the tasks of `block`. Of its own it hears anyway; and who watched and has
        gone is forgotten before there are more of those than peers."""
        if block.session == peer.who:
            return
        block.watchers.add(peer.id)
        if len(block.watchers) > len(self._peers.by_id):
            block.watchers.intersection_update(self._peers.by_id)

    def _ask_again(self, peer: Peer, spans: list[tuple[str, int, int]], now: float) -> None:
        peer.news.unsure -= 1
        self._peers.owe(peer, spans)

    def parked(self, peer: Peer, spans: list[Any]) -> set[int]:
        """Which of these tasks are in a SUBMIT or PUT of `peer` that waits in its line."""
        if sum(span[2] for span in spans) > SPAN_TASKS_MAX:
            return set()  # it is refused for that
        own = {
            counter
            for session, first, count in spans
            if session == peer.who
            for counter in range(first, first + count)
        }
        found: set[int] = set()
        for envelope in (peer.parked or ()) if own else ():
            if type(envelope.message) is m.Submit:
                for row in envelope.message.blocks:
                    found |= own.intersection(range(row[0], row[0] + len(row[5])))
            elif type(envelope.message) is m.Put:
                found |= own.intersection(row[0] for row in envelope.message.rows)
        return found

    def watch_ahead(self, peer: Peer, message: m.Watch, now: float) -> m.Watch:
        """Tell of those that do not wait in the line of `peer`; what is to be told in its turn."""
        parked = self.parked(peer, message.spans)
        ahead: list[tuple[str, int, int]] = []
        for session, first, count in message.spans:
            if session != peer.who or not parked:
                ahead.append((session, first, count))
            else:
                ahead += _spans(
                    session, [c for c in range(first, first + count) if c not in parked]
                )
        self.take_watch(peer, m.Watch([list(span) for span in ahead]), now)
        return m.Watch([list(span) for span in _spans(peer.who, sorted(parked))])

    def take_cancel(
        self, peer: Peer, message: m.Cancel, now: float, *, ahead: bool = False
    ) -> None:
        """End tasks unrun; running ones too if asked. Which of those at workers have begun the
        workers know: they are asked to give them back. `ahead` of its turn it gets no verdict: some
        of its tasks are still to be taken in."""
        count = sum(span[2] for span in message.spans)
        if count > SPAN_TASKS_MAX:
            text = f"CANCEL takes {SPAN_TASKS_MAX} tasks at a time"
            self._peers.send(peer, m.Tell(message.token, "MeshError", text), now)
            return
        tasks = [
            (block, i)
            for session, first, count in message.spans
            for block, low, high in self._ledger.blocks.overlapping(session, first, count)
            for i in range(low, high)
            if block.is_open(i)
        ]
        restored_below = self._ledger.restored_below
        if not message.running and any(block.sequence < restored_below for block, _ in tasks):
            self._later.append((peer, message))  # a worker may have begun it, and is not back yet
            return
        tally = peer.tallies.pop(message.token, None) or {"cancelled": 0}
        if ahead:
            peer.tallies[message.token] = tally
        left = self._end_tasks(tasks, tally, bool(message.running), now)
        if message.running:
            self._fleet.kill_cancelled(now)

        def answered(waiting: int, now: float) -> None:
            left[:] = self._end_tasks(left, tally, False, now)
            if waiting or ahead:
                return
            ended = count - tally["cancelled"] - len(left)
            verdict = {"cancelled": tally["cancelled"], "running": len(left), "ended": ended}
            # Told when it is on disk: what was confirmed must not run after all.
            told = m.Tell(message.token, None, verdict)
            self._core.after_commit(partial(self._peers.send, peer, told))

        if left:
            self._fleet.demand(set(left), answered, now)
        else:
            answered(0, now)

    def settled(self, now: float) -> None:
        """All workers have said what they hold, or had their time: what waited for that is done.
        Who has dialled anew asks again by itself."""
        later, self._later = self._later, []
        for peer, message in later:
            if self._peers.by_id.get(peer.id) is peer:
                self.take_cancel(peer, message, now)

    def _end_tasks(
        self, tasks: list[tuple[Block, int]], tally: dict[str, int], running: bool, now: float
    ) -> list[tuple[Block, int]]:
        """Cancel those that have not ended, and count them; those left, which are at workers,
        unless `running` ones end too."""
        left: list[tuple[Block, int]] = []
        holders = self._fleet.holders() if running else {}
        for block, i in tasks:
            state = block.states[i]
            if state == _RUNNING and not running:
                left.append((block, i))
            elif state < ENDED:
                tally["cancelled"] += 1
                text = f"{show(block.session, block.first + i)} was cancelled"
                body = failure_body("CancelledError", text)
                given, lease, who = holders.get((block, i), (None, 0, NOBODY))
                if given is not None:
                    self._ledger.ran(given, lease, who, Kind.CANCELLED, body, now)
                self._ledger.end(block, i, Kind.CANCELLED, lease, body, who)
        return left

    def tell_older(self, peer: Peer, members: list[Older], now: float) -> None:
        """These tasks are older ones."""
        if not members:
            return
        rows = [[*tasks, int(outcome is not None)] for *tasks, outcome in members]
        self._peers.send(peer, m.Known(rows), now)
        missed: list[tuple[str, int, int]] = []
        for _, _, session, counter, outcome in members:
            found = self._ledger.blocks.find(session, counter)
            if outcome is not None:
                self._peers.tell(peer, session, [counter], [outcome[0]], [outcome[RECORD.size :]])
            elif found is not None and found[0].is_open(found[1]):
                self._watch(peer, found[0])
            else:  # it ended while the store was being asked
                missed.append((session, counter, 1))
        if missed:
            self._peers.owe(peer, missed)


def _spans(session: str, counters: list[int]) -> list[tuple[str, int, int]]:
    """Ascending counters as (session, first, count) runs."""
    spans: list[tuple[str, int, int]] = []
    for counter in counters:
        if spans and spans[-1][1] + spans[-1][2] == counter:
            spans[-1] = (session, spans[-1][1], spans[-1][2] + 1)
        else:
            spans.append((session, counter, 1))
    return spans
