"""The intake: what clients submit.

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
from typing import TYPE_CHECKING, Any, NamedTuple

from ..options import options_of, sparse
from ..protocol import messages as m
from ..protocol.inputs import split
from ..protocol.outcome import failure_body
from ..task import SUCCESS, Kind, State, key, unkey
from .block import HOLE, Block
from .input import Record
from .ledger import RECORD, record_of
from .orders import Older
from .peers import Peer

if TYPE_CHECKING:
    from .router import RouterCore

_RUNNING = int(State.RUNNING)

#: What the store knows of an alias: (session, counter, function, code, mark), and the outcome.
Known = dict[str, tuple[Any, bytes | None]]


class Answers(NamedTuple):
    """What the store knows of a SUBMIT: its aliases, which of its blocks are recorded, and of its
    inputs which task each means, and how that ended, if it has."""

    known: Known
    recorded: set[bytes]
    inputs: dict[bytes, tuple[bytes, bytes | None]]

    def records(self) -> dict[bytes, Record]:
        """How the inputs ended."""
        return {
            task: record_of(outcome)
            for task, outcome in self.inputs.values()
            if outcome is not None
        }


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
        self._core.unused.touch(message.digest, now)
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
        inputs: dict[bytes, None] = {}
        doubtful: list[bytes] = []
        new: list[tuple[bytes, bytes]] = []
        highest = self._ledger.sessions.get(peer.who, -1)
        for row in message.blocks:
            block = m.Block(*row)
            self._core.unused.touch(block.function, now)
            if block.first <= highest:
                if self._ledger.blocks.find(peer.who, block.first) is not None:
                    continue  # it was sent again
                doubtful.append(key(peer.who, block.first))
            names += [name for name in block.names or () if name is not None]
            if block.inputs is not None:
                inputs.update(dict.fromkeys(split(b"".join(block.inputs))))
            end = block.first + len(block.payloads)
            new.append((key(peer.who, block.first), key(peer.who, end)))
        first = min(new)[0] if new else b""  # most inputs are of a message before
        others = [t for t in inputs if t < first or not any(low <= t < high for low, high in new)]
        told = Answers({}, set(), {})
        self._submit(peer, message, (names, doubtful, others), told, now)

    def _submit(
        self, peer: Peer, message: m.Submit, about: tuple[Any, ...], told: Answers, now: float
    ) -> None:
        """Record a message, when the store has told what memory does not."""
        names, doubtful, inputs = about
        recent = dict(self._ledger.recent.of(inputs))  # now: what was, may have been forgotten
        unknown = self._ledger.inputs.unknown(inputs)
        asked = [t for t in unknown if t not in recent and not self._is_settled(t, told)]
        if not names and not doubtful and not asked:
            told.inputs.update((task, (task, outcome)) for task, outcome in recent.items())
            self._record_submit(peer, message, told, now)
            if self._ledger.writes:  # what they take is kept until it is on disk, with them
                self._ledger.kept += recent.items()
            if peer.is_parked:
                self._core.resume(peer, now)
            return
        if not peer.is_parked:
            peer.parked = deque()
        self._asking += 1

        def found(answer: Answers, now: float) -> None:
            self._asking -= 1
            if self._peers.by_id.get(peer.id) is peer:  # else it has dialled anew, and sends again
                told.known.update(answer.known | self._recent)
                told.recorded.update(answer.recorded)
                told.inputs.update(answer.inputs)
                for meant, outcome in answer.inputs.values():
                    if outcome is not None:
                        self._ledger.recent.is_taken(unkey(meant)[0])
                self._submit(peer, message, ([], [], inputs), told, now)
            if not self._asking:
                self._recent = {}

        self._ledger.inputs.touch(inputs)
        self._lookups.ask("submitted", (names, doubtful, asked), found)

    def _is_settled(self, task: bytes, told: Answers) -> bool:
        """Whether the store has told all of an input that memory does not know: that it does not
        exist, too. The older task that it is may have ended while the store was being asked."""
        if task not in told.inputs:
            return False
        meant, outcome = told.inputs[task]
        return outcome is not None or meant == task or not self._ledger.inputs.unknown([meant])

    def _resolved(self, inputs: list[bytes] | None, told: Answers) -> list[bytes] | None:
        """Inputs, with the older tasks in place of those that are such."""
        if inputs is None:
            return None
        meant = {task: older for task, (older, _) in told.inputs.items() if older != task}
        if not meant:
            return inputs
        return [b"".join(meant.get(task, task) for task in split(ids)) for ids in inputs]

    def _record_submit(self, peer: Peer, message: m.Submit, told: Answers, now: float) -> None:
        unmet: list[tuple[Block, int, str]] = []
        for row in message.blocks:
            sent = m.Block(*row)
            last = sent.first + len(sent.payloads) - 1
            is_open = self._ledger.blocks.find(peer.who, sent.first) is not None
            if is_open or key(peer.who, sent.first) in told.recorded:
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
            older = self._match_names(peer, block, sent.marks, told)
            block.inputs = self._resolved(sent.inputs, told)
            self._ledger.sessions[peer.who] = max(last, self._ledger.sessions.get(peer.who, -1))
            self._write(block, {own - block.first: (s, c) for _, own, s, c, _ in older}, sent, now)
            causes = self._ledger.admit(block, told.records())
            unmet += [(block, i, cause) for i, cause in causes.items()]
            self._ledger.note("submitted", block, 0, block.size)
            if older:  # and told when it is on disk: which is older must not change again
                self._core.after_commit(partial(self._core.orders.tell_older, peer, older))
        for block, i, cause in unmet:  # when all are in: who takes these is told the first cause
            self._ledger.inputs.fail(block, i, cause)

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
        if block.inputs is not None:
            self._ledger.writes.append(("inputs", block.key, block.inputs))
        if not block.left:  # nothing of it is a task
            self._ledger.writes.append(("close", block.key, self._ledger.age_s))

    def _problem(self, sent: m.Block) -> str | None:
        """What is wrong with a block that is well-formed, or None."""
        if sent.function not in self._ledger.functions:
            return f"function {sent.function.hex()} is not known, or not any more: submit it again"
        try:
            sent.options = sparse(options_of(sent.options))
        except (TypeError, ValueError) as error:
            return str(error)
        return None

    def _match_names(
        self, peer: Peer, block: Block, marks: list[bytes] | None, told: Answers
    ) -> list[Older]:
        """Members whose alias is taken: by the same call, they *are* that task, and returned; by
        another, they are refused. In `block` both become holes; `told` knows it from now on, for
        what comes behind may take them, in the same block."""
        older: list[Older] = []
        known = told.known
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
            own = key(block.session, counter_here)
            if conflict is not None:
                told.inputs[own] = (own, self._refuse(peer, block, i, conflict))
                continue
            outcome = known[alias][1]
            told.inputs[own] = (key(session, counter), outcome)
            older.append((block.session, counter_here, session, counter, outcome))
        return older

    def _refuse(self, peer: Peer, block: Block, i: int, conflict: str) -> bytes:
        """A member is refused; its outcome."""
        counter, body = block.first + i, failure_body("TaskConflict", conflict)
        record = RECORD.pack(Kind.REFUSED, 0, bytes(8)) + body
        self._ledger.writes.append(("outcomes", [(key(block.session, counter), record)]))
        self._ledger.counts[State.FAILED] += 1
        self._core.after_commit(
            lambda now: self._peers.tell(peer, block.session, [counter], [Kind.REFUSED], [body])
        )
        return record

    def _taken(self, alias: str, known: Known) -> tuple[Any, ...] | None:
        """The record of the task that has `alias`, unless it ended without success."""
        entry = known.get(alias)
        if entry is None:
            return None
        record, outcome = entry
        if outcome is not None and outcome[0] not in SUCCESS:
            return None
        return tuple(record)


#: Of an id that means another call by now.
_REMEDY = "choose another id, or `mesh forget` the old one"


def _conflict(alias: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> str | None:
    """Why two calls under one alias are not the same, or None. Each is (name, code, mark)."""
    if old[0] != new[0]:
        return f"id {alias!r} is a call of {old[0]}, not of {new[0]}: {_REMEDY}"
    if old[1] != new[1]:
        return (
            f"id {alias!r} was computed by an earlier version of {old[0]}, whose code has changed "
            f"since (digest {old[1].hex()[:8]}, now {new[1].hex()[:8]}): {_REMEDY}"
        )
    if old[2] != new[2]:
        return (
            f"id {alias!r} is {old[0]} with other arguments "
            f"(digest {old[2].hex()[:8]}, now {new[2].hex()[:8]}): {_REMEDY}"
        )
    return None
