"""The intake: what clients submit, watch and cancel.

A block is recorded once, however often it is sent: one above the highest counter recorded of its
client is new; of another one memory knows if it is open, and the store if it was ever recorded (if
not, a thread of the client was slower than the next). Members whose alias is taken become holes in
their block: by the same call they *are* the older task, by another they are refused. Whether an
alias is taken the store knows; until it has answered, the client's further messages wait in line
(`parked`), so that their order stays what it was.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from ..options import options_of, sparse
from ..protocol import messages as m
from ..protocol.outcome import failure_body
from ..task import ENDED, SUCCESS, Kind, State, key, show
from .block import HOLE, Block
from .ledger import NOBODY, RECORD
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

_RUNNING = int(State.RUNNING)

#: Tasks that one WATCH or CANCEL may name: each costs a look or a record. Clients page.
SPAN_TASKS_MAX = 8192

#: What the store knows of an alias: (session, counter, function, code, mark), and the outcome.
Known = dict[str, tuple[Any, bytes | None]]

#: A task that is an older one: its session and counter, those of the older, its outcome if any.
Older = tuple[str, int, str, int, bytes | None]


class Intake:
    """Takes clients' messages for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._ledger = core.ledger
        self._peers = core.peers
        self._fleet = core.fleet
        self._lookups = core.lookups
        self._asking = 0  # submits that wait for the store
        self._recent: Known = {}  # aliases given while some waited: their answer may be too old

    # -- submitting --------------------------------------------------------------------------

    def take_function(self, peer: Peer, message: m.Function, now: float) -> None:
        """The code behind a digest."""
        if message.digest not in self._ledger.functions:
            self._ledger.functions[message.digest] = (message.name, message.code)
            self._ledger.writes.append(
                ("function", message.digest, message.name, message.code, message.payload)
            )

    def take_group(self, peer: Peer, message: m.Group, now: float) -> None:
        """Some of a client's tasks belong together."""
        group = key(peer.who, message.first)
        self._ledger.writes.append(("group", group, message.size, message.name))

    def take_submit(self, peer: Peer, message: m.Submit, now: float) -> None:
        """Blocks of tasks. The store is asked first where memory does not tell."""
        names: list[str] = []
        doubtful: list[bytes] = []
        highest = self._ledger.sessions.get(peer.who, -1)
        for row in message.blocks:
            block = m.Block(*row)
            if block.first <= highest:
                if self._ledger.blocks.find(peer.who, block.first) is not None:
                    continue  # it was sent again
                doubtful.append(key(peer.who, block.first))
            names += [name for name in block.names or () if name is not None]
        if not names and not doubtful:
            self._record_submit(peer, message, {}, set(), now)
            return
        peer.parked = deque()
        self._asking += 1

        def found(answer: tuple[Known, set[bytes]], now: float) -> None:
            self._asking -= 1
            if self._peers.by_id.get(peer.id) is peer:  # else it has dialled anew, and sends again
                known, recorded = answer
                self._record_submit(peer, message, known | self._recent, recorded, now)
                self._core.resume(peer, now)
            if not self._asking:
                self._recent = {}

        self._lookups.ask("submitted", (names, doubtful), found)

    def _record_submit(
        self, peer: Peer, message: m.Submit, known: Known, recorded: set[bytes], now: float
    ) -> None:
        for row in message.blocks:
            sent = m.Block(*row)
            last = sent.first + len(sent.payloads) - 1
            is_open = self._ledger.blocks.find(peer.who, sent.first) is not None
            if is_open or key(peer.who, sent.first) in recorded:
                continue  # sent again because its acknowledgement was lost
            problem = self._problem(sent)
            if problem is not None:
                body = failure_body("MeshError", problem)
                count = len(sent.payloads)
                counters = list(range(sent.first, last + 1))
                self._peers.tell(
                    peer, peer.who, counters, bytes([Kind.REFUSED]) * count, [body] * count
                )
                continue
            block = Block(
                peer.who,
                sent.first,
                len(sent.payloads),
                sent.function,
                sent.options,
                sent.group,
                sent.index,
                sent.names,
                self._ledger.sequence,
            )
            self._ledger.sequence += 1
            older = self._match_names(peer, block, sent.marks, known)
            self._ledger.sessions[peer.who] = max(last, self._ledger.sessions.get(peer.who, -1))
            self._write(block, {own - block.first: (s, c) for _, own, s, c, _ in older}, sent, now)
            self._ledger.admit(block)
            self._ledger.note("submitted", block, 0, block.size)
            if older:  # and told when it is on disk: which is older must not change again
                self._core.after_commit(partial(self._tell_older, peer, older))

    def _write(
        self, block: Block, foreign: dict[int, tuple[str, int]], sent: m.Block, now: float
    ) -> None:
        header = [
            block.size,
            block.function,
            block.options,
            block.group,
            block.index,
            block.names,
            block.sequence,
            bytes(i for i, state in enumerate(block.states) if state == HOLE),
            now + self._ledger.ahead_s,
        ]
        payloads = sent.payloads if block.left else None
        self._ledger.writes.append(
            ("block", block.session, block.first, header, foreign, payloads, sent.marks)
        )
        if not block.left:  # nothing of it is a task
            self._ledger.writes.append(("close", block.key, self._ledger.age_s))

    def _problem(self, sent: m.Block) -> str | None:
        """What is wrong with a block that is well-formed, or None."""
        if sent.function not in self._ledger.functions:
            return f"function {sent.function.hex()} was never sent"
        try:
            sent.options = sparse(options_of(sent.options))
        except (TypeError, ValueError) as error:
            return str(error)
        return None

    def _match_names(
        self, peer: Peer, block: Block, marks: list[bytes] | None, known: Known
    ) -> list[Older]:
        """Members whose alias is taken: by the same call, they *are* that task, and returned; by
        another, they are refused. In `block` both become holes."""
        older: list[Older] = []
        if block.names is None or marks is None:
            return older
        name, code = self._ledger.functions[block.function]
        for i, alias in enumerate(block.names):
            if alias is None:
                continue
            taken = self._taken(alias, known)
            if taken is None:
                known[alias] = ((block.session, block.first + i, name, code, marks[i]), None)
                if self._asking:
                    self._recent[alias] = known[alias]
                continue
            session, counter, old_name, old_code, old_mark = taken
            counter_here = block.first + i
            conflict = _conflict(alias, (old_name, old_code, old_mark), (name, code, marks[i]))
            if conflict is None and (session, counter) == (block.session, counter_here):
                continue
            block.states[i] = HOLE
            block.left -= 1
            if conflict is not None:
                self._refuse(peer, block, i, conflict)
                continue
            older.append((block.session, counter_here, session, counter, known[alias][1]))
        return older

    def _tell_older(self, peer: Peer, members: list[Older], now: float) -> None:
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
            elif found is not None and found[0].states[found[1]] < ENDED:
                self._watch(peer, found[0])
            else:  # it ended while the store was being asked
                missed.append((session, counter, 1))
        if missed:
            self._peers.owe(peer, missed)

    def _refuse(self, peer: Peer, block: Block, i: int, conflict: str) -> None:
        counter, body = block.first + i, failure_body("TaskConflict", conflict)
        record = RECORD.pack(Kind.REFUSED, 0, bytes(8)) + body
        self._ledger.writes.append(("outcomes", [(key(block.session, counter), record)]))
        self._ledger.counts[State.FAILED] += 1
        self._core.after_commit(
            lambda now: self._peers.tell(peer, block.session, [counter], [Kind.REFUSED], [body])
        )

    def _taken(self, alias: str, known: Known) -> tuple[Any, ...] | None:
        """The record of the task that has `alias`, unless it ended without success."""
        entry = known.get(alias)
        if entry is None:
            return None
        record, outcome = entry
        if outcome is not None and outcome[0] not in SUCCESS:
            return None
        return tuple(record)

    # -- watching and cancelling -------------------------------------------------------------

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
                    if block.states[i] < ENDED:
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
        self._tell_older(peer, older, now)
        if unsure:
            peer.news.unsure += 1
            self._core.after_commit(partial(self._ask_again, peer, unsure))

    def _watch_open(self, peer: Peer, session: str, counter: int) -> bool:
        """Whether a task is open; `peer` will hear of it then."""
        found = self._ledger.blocks.find(session, counter)
        if found is None or found[0].states[found[1]] >= ENDED:
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
        """Which of these tasks are in a SUBMIT of `peer` that waits in its line."""
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
        tally = peer.tallies.pop(message.token, None) or {"cancelled": 0}
        if ahead:
            peer.tallies[message.token] = tally
        tasks = [
            (block, i)
            for session, first, count in message.spans
            for block, low, high in self._ledger.blocks.overlapping(session, first, count)
            for i in range(low, high)
            if block.states[i] < ENDED
        ]
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


def _conflict(alias: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> str | None:
    """Why two calls under one alias are not the same, or None. Each is (name, code, mark)."""
    if old[0] != new[0]:
        return f"id {alias!r} is a call of {old[0]}, not of {new[0]}: choose another id"
    if old[1] != new[1]:
        return (
            f"id {alias!r} was computed by an earlier version of {old[0]}, whose code has changed "
            f"since (digest {old[1].hex()[:8]}, now {new[1].hex()[:8]}): choose another id"
        )
    if old[2] != new[2]:
        return (
            f"id {alias!r} is {old[0]} with other arguments "
            f"(digest {old[2].hex()[:8]}, now {new[2].hex()[:8]}): choose another id"
        )
    return None


def _spans(session: str, counters: list[int]) -> list[tuple[str, int, int]]:
    """Ascending counters as (session, first, count) runs."""
    spans: list[tuple[str, int, int]] = []
    for counter in counters:
        if spans and spans[-1][1] + spans[-1][2] == counter:
            spans[-1] = (session, spans[-1][1], spans[-1][2] + 1)
        else:
            spans.append((session, counter, 1))
    return spans
