"""The client's core: what this process has asked for and not yet heard.

One door, `handle(event, now)`, and one exit, `settle(now)`. It keeps the link to the router,
sends again what was not recorded, matches answers to questions, and notices silence: *suspected*
after two heartbeats and a second (said once, fails nothing), *gone* after `router_timeout_s`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..protocol import messages as m
from ..protocol.link import Envelope, Gap, Link
from .events import Connected, Cut, RouterHeard, Settings, Tick
from .news import NEWS_WINDOW_BYTES, OUTCOME_BYTES
from .recorded import Recorded

#: HELLO is said again after this long without a WELCOME.
HELLO_AGAIN_S = 1.0

#: A client acknowledges so many messages at once.
ACK_AFTER = 64

#: And so many bytes of news: a quarter of what the router lets be on its way.
ACK_BYTES = NEWS_WINDOW_BYTES // 4

#: A client that has taken news acknowledges them after this long at the latest.
ACK_AFTER_S = 0.5

#: Tasks in one WATCH or CANCEL; the router takes twice as many.
PAGE_TASKS = 4096


@dataclass(slots=True)
class ClientTurn:
    """What one turn brought, in order, and wants sent.

    `news` are (session, counters, kinds, bodies); `known` are (session, counter) twice, of a task
    and of the older one that it is, and whether that has ended; `answers` are (token, error,
    value); `events` are (kind, about); `recorded_bytes` were acknowledged; `welcomed` asks the
    shell to watch what it still waits for; `reborn` says that another store answers.
    """

    sends: list[Envelope] = field(default_factory=list)
    news: list[tuple[str, list[int], bytes, list[Any]]] = field(default_factory=list)
    known: list[tuple[str, int, str, int, bool]] = field(default_factory=list)
    answers: list[tuple[int, str | None, Any]] = field(default_factory=list)
    printed: list[m.Printed] = field(default_factory=list)
    relayed: list[m.Relay] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    recorded_bytes: int = 0
    welcomed: bool = False
    reborn: bool = False
    suspected_s: float | None = None
    gone_s: float | None = None
    stopped: bool = False


def pages(spans: list[tuple[str, int, int]]) -> Iterator[list[list[Any]]]:
    """`spans` as rows, in pages that the router takes at a time."""
    page: list[list[Any]] = []
    room = PAGE_TASKS
    for session, first, count in spans:
        while count > 0:
            take = min(count, room)
            page.append([session, first, take])
            first, count, room = first + take, count - take, room - take
            if not room:
                yield page
                page, room = [], PAGE_TASKS
    if page:
        yield page


class ClientCore:
    """See the module. `session` are the eight characters that this client's task ids begin with.
    Set `about`, what HELLO says, before it dials."""

    def __init__(
        self, session: str, incarnation: bytes, router_timeout_s: float, now: float
    ) -> None:
        self.session = session
        self.incarnation = incarnation
        self.router_timeout_s = router_timeout_s
        self.about: dict[str, Any] = {}
        self.settings = Settings()
        self.link = Link(keeps=True)
        self.welcome: m.Welcome | None = None
        self.connected = False
        self._birth = b""
        self._waiting: deque[tuple[m.Message, int]] = deque()
        self._sizes: deque[tuple[int, int, m.Message]] = deque()
        self.recorded = Recorded()
        self._questions: dict[int, m.Message] = {}  # not answered
        self._last_heard = self._last_sent = now
        self._hello_at = self._tick_at = now
        self._suspected = False
        self._news_bytes = 0  # taken and not acknowledged
        self._listens_to: list[list[Any]] = []
        self._turn = ClientTurn()

    @property
    def unrecorded(self) -> bool:
        """Whether something sent is not recorded yet."""
        return bool(self._waiting or self.link.unacked)

    def send(self, message: m.Message, size: int, now: float) -> None:
        """Send `message`, now or once the link is open. `size` counts against the window.

        A question (ASK, CANCEL) is asked anew of each router that welcomes us, until it is
        answered: an answer that was on its way is nowhere kept.
        """
        if isinstance(message, (m.Ask, m.Cancel)):
            self._questions[message.token] = message
        elif self.welcome is None:
            self._waiting.append((message, size))
        if self.welcome is not None:
            self._put(message, size, now)

    def forget(self, token: int) -> None:
        """Nobody waits for the answer to a question any more: it is not asked again."""
        self._questions.pop(token, None)

    def _put(self, message: m.Message, size: int, now: float) -> None:
        self._last_sent = now
        self._turn.sends.append(self.link.stamp(message))
        self._news_bytes = 0
        if message.SEQUENCED:
            self._sizes.append((self.link.sent, size, message))

    def watch(self, spans: list[tuple[str, int, int]], now: float) -> None:
        """Ask to be told of these tasks, page by page."""
        for page in pages(spans):
            self.send(m.Watch(page), 0, now)

    def listen(self, spans: list[list[Any]], now: float) -> None:
        """Hear what these tasks print while they run, and no others: rows of LISTEN."""
        self._listens_to = spans
        if self.welcome is not None:
            self._put(m.Listen(spans), 0, now)

    def handle(self, event: Any, now: float) -> None:
        """Take in one event."""
        if type(event) is RouterHeard:
            self._on_router(event.envelope, now)
        elif type(event) is Connected:
            self.connected = True
            self._hello(now)
        elif type(event) is Cut:
            self.connected = False
            self.welcome = None
        elif type(event) is Tick:
            self._on_tick(now)

    def settle(self, now: float) -> ClientTurn:
        """What this turn brought and wants sent."""
        many = self.link.recorded - self.link.told >= ACK_AFTER or self._news_bytes >= ACK_BYTES
        due = self.link.owes_ack and now - self._last_sent >= ACK_AFTER_S
        if self.welcome is not None and (many or due):
            self._beat(now)
        turn, self._turn = self._turn, ClientTurn()
        return turn

    def deadline(self, now: float) -> float:
        """When `handle(Tick)` is due at the latest."""
        due = self._tick_at
        if self.welcome is None:
            if self.connected:
                due = min(due, self._hello_at)
        elif self.link.owes_ack:
            due = min(due, self._last_sent + ACK_AFTER_S)
        return max(due, now)

    def last_word(self) -> Envelope | None:
        """What to say before leaving: what has been heard, if the router does not know that."""
        if self.welcome is None or not self.link.owes_ack:
            return None
        return self.link.stamp(m.Beat())

    def _beat(self, now: float) -> None:
        self._last_sent = now
        self._news_bytes = 0
        self._turn.sends.append(self.link.stamp(m.Beat()))

    def _hello(self, now: float) -> None:
        sizes = {number: size for number, size, _ in self._sizes}
        numbers = [number for number, _ in self.link.unacked]
        again = self.link.open()
        resend = [
            (message, sizes.get(number, 0))
            for number, message in zip(numbers, again, strict=True)
            if not isinstance(message, (m.Watch, m.Ask, m.Cancel))  # asked anew, if still unknown
        ]
        self._waiting.extendleft(reversed(resend))
        self._sizes.clear()
        self.welcome = None
        self._hello_at = now + HELLO_AGAIN_S
        self._last_sent = now
        versions = m.VERSION_MIN, m.VERSION_MAX
        hello = m.Hello("client", self.session, self.incarnation, *versions, self.about, [])
        self._turn.sends = [self.link.stamp(hello)]  # nothing of the old session may follow

    def _on_router(self, envelope: Envelope, now: float) -> None:
        try:
            new = self.link.accept(envelope)
        except Gap:
            self._release()
            self._hello(now)
            return
        self._release()
        if not new:
            return
        self._last_heard = now
        self._suspected = False
        self.link.record(self.link.received)
        message = envelope.message
        if type(message) is m.Outcomes:
            for session, counters, kinds, bodies in message.runs:
                self._news_bytes += sum(map(len, bodies)) + OUTCOME_BYTES * len(bodies)
                self._turn.news.append((session, counters, kinds, bodies))
        elif type(message) is m.Printed:
            self._news_bytes += len(message.text)
            self._turn.printed.append(message)
        elif type(message) is m.Tell:
            self._questions.pop(message.token, None)
            self._turn.answers.append((message.token, message.error, message.value))
        elif type(message) is m.Known:
            self._turn.known += [(*row[:4], bool(row[4])) for row in message.rows]
        elif type(message) is m.Welcome:
            self._on_welcome(message, now)
        elif type(message) is m.Resync:
            self._hello(now)
        elif type(message) is m.Bye:
            self._turn.stopped = True
        elif type(message) is m.Event:
            self._turn.events.append((message.kind, message.about))
        elif type(message) is m.Relay:
            self._turn.relayed.append(message)
        elif type(message) is m.Error:
            self._turn.errors.append((message.kind, message.text))

    def _release(self) -> None:
        """What the link has let go of is recorded."""
        unacked = self.link.unacked
        while self._sizes and not (unacked and unacked[0][0] <= self._sizes[0][0]):
            _, size, message = self._sizes.popleft()
            self._turn.recorded_bytes += size
            if isinstance(message, m.Submit):
                for row in message.blocks:
                    self.recorded.add(row[0], len(row[5]))
            elif isinstance(message, m.Put):
                for row in message.rows:
                    self.recorded.add(row[0], 1)

    def _on_welcome(self, message: m.Welcome, now: float) -> None:
        self.welcome = message
        known = Settings.__dataclass_fields__
        self.settings = Settings(**{k: v for k, v in message.settings.items() if k in known})
        self._turn.welcomed = True
        if self._birth and self._birth != message.birth:
            self._turn.reborn = True
        self._birth = message.birth
        waiting, self._waiting = self._waiting, deque()
        for each, size in waiting:
            self._put(each, size, now)
        for question in self._questions.values():
            self._put(question, 0, now)
        if self._listens_to:
            self._put(m.Listen(self._listens_to), 0, now)

    def _on_tick(self, now: float) -> None:
        self._tick_at = now + self.settings.heartbeat_s / 2
        silent = now - self._last_heard
        if self.welcome is None:
            if now >= self._hello_at and self.connected:
                self._hello(now)
        elif now - self._last_sent >= self.settings.heartbeat_s:
            self._beat(now)
        suspicious_s = 2 * self.settings.heartbeat_s + 1
        patience_s = self.router_timeout_s
        if self.welcome is not None:
            patience_s = max(patience_s, suspicious_s)  # a router need not speak more often
        if silent > patience_s:
            self._turn.gone_s = silent
        elif silent > suspicious_s and not self._suspected:
            self._suspected = True
            self._turn.suspected_s = silent

    def rest(self, lost_s: float) -> None:
        """This process did not read for `lost_s`: the router's silence during it does not count."""
        self._last_heard += lost_s
