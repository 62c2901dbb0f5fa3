"""A client's shell: it remembers what it asked for and what it heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mesh.core import events
from mesh.core.client import ClientCore
from mesh.protocol import messages as m
from mesh.protocol.codec import decode
from mesh.protocol.outcome import with_store
from mesh.task import Kind, key, show

from .wire import Frames
from .words import span

if TYPE_CHECKING:
    from .world import World


@dataclass
class Task:
    """What a client knows of a task of its own."""

    payload: bytes
    options: dict[str, Any]
    alias: str | None = None
    inputs: list[tuple[str, int]] = field(default_factory=list)
    older: tuple[str, int] | None = None
    ended: tuple[int, bytes] | None = None
    recorded: bool = False


class Client:
    """A client's shell: it remembers what it asked for and what it heard."""

    def __init__(self, world: World, session: str) -> None:
        self.world = world
        self.session = session
        self.core = ClientCore(session, session.encode(), 1e9, world.now)
        self.tasks: dict[int, Task] = {}
        self.heard: dict[tuple[str, int], tuple[int, bytes, int]] = {}  # in which router's life
        self.answers: dict[int, tuple[str | None, Any]] = {}
        self.errors: list[tuple[str, str]] = []
        self.reborn = False
        self.counter = 0
        self.token = 0
        self._met = False
        self._noted: tuple[int, int] = (0, 0)
        self._others: dict[tuple[str, int], list[Task]] = {}
        self.watched: dict[tuple[str, int], tuple[str, int]] = {}  # others' → what they stand for
        self._unrecorded: deque[tuple[int, list[int]]] = deque()
        self._introduced: set[bytes] = set()
        self.due = 0.0

    def connected(self) -> None:
        """The connection came about."""
        self.handle(events.Connected())
        self.settle()

    def cut(self) -> None:
        """The connection broke."""
        self.handle(events.Cut())

    def rest(self, late_s: float) -> None:
        """It stood still."""
        self.core.rest(late_s)

    def receive(self, frames: Frames) -> None:
        """A message of the router has come."""
        self.handle(events.RouterHeard(decode(frames)))

    def handle(self, event: Any) -> None:
        """Feed the core."""
        self.core.handle(event, self.world.now)

    # -- what the script asks for ------------------------------------------------------------

    def reserve(self, count: int) -> int:
        """Counters for tasks that are sent later."""
        first = self.counter
        self.counter += count
        return first

    def submit(
        self,
        payloads: list[bytes],
        function: bytes = b"f" * 16,
        options: dict[str, Any] | None = None,
        names: list[str | None] | None = None,
        first: int | None = None,
        group: str | None = None,
        inputs: list[list[tuple[str, int]]] | None = None,
    ) -> int:
        """Submit tasks as blocks; the first one's counter. `inputs` are what each takes."""
        now = self.world.now
        if function not in self._introduced:
            self._introduced.add(function)
            name = f"sim:{function[:1].decode()}"
            self.core.send(m.Function(function, name, function[:8], b"V" + function), 0, now)
        own = None
        if group is not None:
            own = self.reserve(1)
            self.core.send(m.Group(own, len(payloads), group), 0, now)
        if first is None:
            first = self.reserve(len(payloads))
        options = options or {}
        for i, payload in enumerate(payloads):
            alias = names[i] if names is not None else None
            task = Task(payload, options, alias, inputs[i] if inputs is not None else [])
            self.tasks[first + i] = self.world.tasks[self.session, first + i] = task
        for low in range(0, len(payloads), m.BLOCK_TASKS_MAX):
            part = payloads[low : low + m.BLOCK_TASKS_MAX]
            high = low + len(part)
            marks = [payload[:8] for payload in part] if names is not None else None
            row = [first + low, function, options, own, low if own is not None else 0, part]
            row += [names[low:high] if names is not None else None, marks]
            takes = [b"".join(key(*each) for each in own) for own in (inputs or [])[low:high]]
            row.append(takes if any(takes) else None)
            self._unrecorded.append((len(part), list(range(first + low, first + high))))
            self.core.send(m.Submit([row]), len(part), now)
        return first

    def cancel(self, spans: list[tuple[str, int, int]], *, running: bool) -> int:
        """Cancel tasks; the token of the answer."""
        self.token += 1
        rows = [list(span) for span in spans]
        self.core.send(m.Cancel(self.token, rows, running), 0, self.world.now)
        return self.token

    def ask(self, what: str, **about: Any) -> int:
        """Ask the router; the token of the answer."""
        self.token += 1
        self.core.send(m.Ask(self.token, what, about), 0, self.world.now)
        return self.token

    def watch(self, spans: list[tuple[str, int, int]]) -> None:
        """Hear of anybody's tasks."""
        self.core.watch(spans, self.world.now)

    # -- what it hears -----------------------------------------------------------------------

    def settle(self) -> bool:
        """End a turn; whether there was anything to do."""
        turn = self.core.settle(self.world.now)
        self.due = self.core.deadline(self.world.now)
        for envelope in turn.sends:
            self.world.send_up(self.session, envelope)
        self.errors += turn.errors
        self.reborn |= turn.reborn
        self._recorded(turn.recorded_bytes)
        for session, counter, older_session, older, _ in turn.known:
            if (session, counter) in self.watched:
                self.watched[session, counter] = (older_session, older)
            if session == self.session:
                self._is_older(counter, (older_session, older))
        for session, counters, kinds, bodies in turn.news:
            for counter, kind, body in zip(counters, kinds, bodies, strict=True):
                self._ended(session, counter, kind, body)
        for token, error, value in turn.answers:
            self.answers[token] = error, value
        if turn.welcomed:
            if self._met:
                self.watch(self.open_spans())
                return self.settle()
            self._met = True
        return bool(turn.sends)

    def _recorded(self, count: int) -> None:
        """What is said to be recorded is."""
        while count > 0:
            size, counters = self._unrecorded.popleft()
            count -= size
            for counter in counters:
                self.tasks[counter].recorded = True
                assert self.world.is_recorded(self.session, counter), (
                    f"{show(self.session, counter)} was acknowledged and is not recorded"
                )
        assert count == 0

    def _is_older(self, counter: int, older: tuple[str, int]) -> None:
        task = self.tasks[counter]
        if task.older is None:
            task.older = older
            self._others.setdefault(older, []).append(task)
            if older in self.heard and task.ended is None:
                task.ended = self.heard[older][:2]

    def _ended(self, session: str, counter: int, kind: int, body: Any) -> None:
        end, life = (kind, bytes(body)), self.world.routers
        before = self.heard.setdefault((session, counter), (*end, life))
        is_again = (
            key(session, counter) in self.world.lost and (before[0], kind) == (Kind.STORED,) * 2
        )
        is_moved = (before[0], kind) == (Kind.STORED,) * 2 and (
            with_store(kind, before[1], "-" * 8) == with_store(kind, end[1], "-" * 8)
        )
        assert before[:2] == end or before[2] < life or is_again or is_moved, (
            f"{show(session, counter)} ended otherwise"
        )
        if session == self.session and counter in self.tasks:
            task = self.tasks[counter]
            if task.ended is None:
                task.ended = end
        for task in self._others.get((session, counter), []):
            task.ended = task.ended or end

    def note(self, say: Callable[[str], None]) -> None:
        """Say what has come to be known since the last call."""
        recorded = [counter for counter, task in self.tasks.items() if task.recorded]
        new, errors = recorded[self._noted[0] :], self.errors[self._noted[1] :]
        self._noted = len(recorded), len(self.errors)
        if new:
            say(f"{self.session} knows that {span(self.session, new)} is recorded")
        for kind, text in errors:
            say(f"{self.session} is told {kind}: {text}")

    def open_spans(self) -> list[tuple[str, int, int]]:
        """What it still wants to hear of."""
        spans: list[tuple[str, int, int]] = []
        for counter, task in sorted(self.tasks.items()):
            if task.ended is None:
                session, number = task.older or (self.session, counter)
                spans.append((session, number, 1))
        return spans + [(*task, 1) for task in self.watched.values() if task not in self.heard]
