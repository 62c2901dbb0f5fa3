"""The outbox: between the threads that submit and the one that sends.

Submitting threads append; the I/O thread takes what has gathered and makes blocks of it:
consecutive tasks alike in function and options. What is queued here or not yet recorded by the
router counts against a window of bytes; when it is full, `submit` waits. That is the
backpressure: a script cannot outrun its mesh by more than the window.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from ..errors import QueueFull
from ..protocol import messages as m
from ..protocol import outcome
from ..protocol.functions import Packed
from ..protocol.messages import BLOCK_TASKS_MAX
from ..task import Kind

#: Bytes that may be on their way to the router's disk: milliseconds of its work.
WINDOW_BYTES = 8 * 1024 * 1024

#: What is put is in a file of the home worker: it counts this part of what fills memory. So much of
#: a disk may be written to before any of it is in the store.
CONTENT_PART = 16

#: What a task counts beside its payload.
TASK_BYTES = 64

#: Functions that a client remembers to have sent: a script that makes one for each call has many.
INTRODUCED_MAX = 4096

#: A message is closed when its payloads reach this size.
MESSAGE_BYTES = 256 * 1024

#: Puts in one message.
PUTS_MAX = 256

#: One submitted task: counter, function, options, payload, inputs, alias, mark.
Item = tuple[int, bytes, dict[str, Any], bytes, bytes, str | None, bytes | None]


class Outbox:
    """See the module. `wake` tells the I/O thread that there is something. While the mesh has no
    room to record what is sent (`no_room` says why), a thread waits `patience_s` for it."""

    def __init__(self, wake: Callable[[], None], patience_s: float) -> None:
        self._patience_s = patience_s
        self.no_room: str | None = None
        self._wake = wake
        # Taken itself, never through its condition: `with` keeps a lock of C whole under Ctrl-C,
        # and a condition's own `__enter__` may be interrupted with the lock in its hand.
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._items: list[Item | m.Message] = []
        # A Ctrl-C may come between any two steps of a thread that submits: what is queued is what
        # is in `_items`, and its bytes are counted anew, by the I/O thread, when it is taken.
        self._queued_bytes = 0
        self._sent_bytes = 0
        self.gathered = 0  # how many items the last `take` took
        self._counter = 0
        self._introduced: dict[bytes, float] = {}  # functions, by when they were last used
        self._closed: BaseException | None = None

    def reserve(self, count: int) -> int:
        """The first of `count` consecutive counters that are nobody else's."""
        with self._lock:
            first = self._counter
            self._counter += count
            return first

    def add(
        self,
        function: Packed,
        options: dict[str, Any],
        payload: bytes,
        inputs: bytes,
        alias: str | None,
        mark: bytes | None,
        register: Callable[[int], None],
    ) -> None:
        """Queue one task. `register(counter)` is called before anything can answer for it, and not
        before it is queued: nobody may wait for what is never sent."""
        with self._lock:
            self._make_room(len(payload) + len(inputs) + TASK_BYTES)
            counter = self._counter
            self._counter += 1
            self._introduce(function)
            self._items.append((counter, function.digest, options, payload, inputs, alias, mark))
            register(counter)
        self._wake()

    def add_group(self, group: m.Group) -> None:
        """Queue a group, before its members."""
        with self._lock:
            self._make_room(TASK_BYTES)
            self._items.append(group)
        self._wake()

    def await_room(self, size: int) -> None:
        """Wait until `size` bytes of content may be on their way to a store, besides those that
        are: before they are written.

        Raises:
            QueueFull: see `_wait_for`.
        """
        with self._lock:
            self._make_room(size // CONTENT_PART, 0)

    def add_put(
        self,
        counter: int,
        kind: int,
        body: bytes,
        is_argument: bool,
        register: Callable[[int], None],
    ) -> None:
        """Queue a put, before what takes it. `register(counter)` is called before anything can
        answer for it."""
        put = m.Put([[counter, bytes([kind]), body, int(is_argument)]])
        with self._lock:
            self._make_room(0, _size_of(put))
            self._items.append(put)
            register(counter)
        self._wake()

    def add_block(self, function: Packed, block: m.Block) -> None:
        """Queue a block made elsewhere, whose counters were reserved."""
        row = _row(block)
        size = _bytes_of(row)
        with self._lock:
            self._make_room(size)
            self._introduce(function)
            self._items.append(m.Submit([row]))
        self._wake()

    def _introduce(self, function: Packed) -> None:
        """Send a function before a task of it, unless that was done lately."""
        now, introduced = time.monotonic(), self._introduced
        if now - introduced.get(function.digest, -math.inf) > m.FUNCTION_KNOWN_S:
            self._items.append(
                m.Function(function.digest, function.name, function.code, function.payload)
            )
            if len(introduced) >= INTRODUCED_MAX:
                introduced.clear()  # they are sent once more
        introduced[function.digest] = now

    def _make_room(self, size: int, queued: int | None = None) -> None:
        """Wait until there is room for `size`; so much is `queued` then, if it differs."""
        if self._is_crowded(size) and self._closed is None:
            self._wake()
            self._wait_for(lambda: self._closed is not None or not self._is_crowded(size), None)
        if self._closed is not None:
            raise self._closed
        self._queued_bytes += size if queued is None else queued

    def _is_crowded(self, size: int) -> bool:
        there = self._queued_bytes + self._sent_bytes
        return there > 0 and there + size > WINDOW_BYTES

    def _wait_for(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `done()`; False if that takes longer than `timeout`.

        Raises:
            QueueFull: the mesh has had no room for `patience_s`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not done():
            rest = None if deadline is None else deadline - time.monotonic()
            if rest is not None and rest <= 0:
                return False
            reason = self.no_room
            if reason is None:
                self._room.wait(rest)
                continue
            patience = self._patience_s if rest is None else min(rest, self._patience_s)
            eased = self._room.wait_for(lambda: self.no_room is None or done(), patience)
            if not eased and patience == self._patience_s:
                raise QueueFull(
                    f"the mesh could not record more for {self._patience_s:g} s: {reason}. "
                    f"What was recorded is safe, the rest is sent when there is room"
                )
        return True

    def stalled(self, reason: str | None) -> None:
        """The mesh has no room to record more, and why; None: it has again."""
        with self._lock:
            self.no_room = reason
            self._room.notify_all()

    def released(self, size: int) -> None:
        """The router has recorded this much."""
        with self._lock:
            self._sent_bytes -= size
            self._room.notify_all()

    def flush(self, timeout: float | None) -> bool:
        """Wait until everything is recorded; False if that took too long."""
        with self._lock:
            self._wait_for(lambda: self._is_empty or self._closed is not None, timeout)
            if self._closed is not None and not self._is_empty:
                raise self._closed
            return self._is_empty

    @property
    def _is_empty(self) -> bool:
        return not self._items and not self._sent_bytes

    def close(self, error: BaseException) -> None:
        """Take no more: who waits or comes later gets `error`."""
        with self._lock:
            self._closed = error
            self._room.notify_all()

    def take(self) -> list[tuple[m.Message, int]]:
        """What has gathered, as messages with the bytes each counts."""
        with self._lock:
            messages = _messages_of(self._items)
            self.gathered = len(self._items)
            self._sent_bytes += sum(size for _, size in messages)
            self._items, self._queued_bytes = [], 0
            if messages:
                self._room.notify_all()
        return messages


def _messages_of(items: list[Item | m.Message]) -> list[tuple[m.Message, int]]:
    """What is put goes first, together: the store takes it in together, and who takes it is
    behind."""
    messages: list[tuple[m.Message, int]] = []
    puts = [row for item in items if type(item) is m.Put for row in item.rows]
    for at in range(0, len(puts), PUTS_MAX):
        put = m.Put(puts[at : at + PUTS_MAX])
        messages.append((put, _size_of(put)))
    gathered: list[Item] = []
    for item in items:
        if type(item) is tuple:
            gathered.append(item)
            continue
        if type(item) is m.Put:
            continue
        if gathered:
            messages += _submits(gathered)
            gathered = []
        assert isinstance(item, m.Message)
        messages.append((item, _size_of(item)))
    return messages + _submits(gathered)


def _size_of(message: m.Message) -> int:
    if isinstance(message, m.Group):
        return TASK_BYTES
    if isinstance(message, m.Put):
        return sum(map(_bytes_of_put, message.rows))
    if not isinstance(message, m.Submit):
        return 0
    return sum(map(_bytes_of, message.blocks))


def _bytes_of_put(row: list[Any]) -> int:
    _, kind, body, _ = row
    size = TASK_BYTES + len(body)
    if kind[0] == Kind.STORED:
        size += outcome.parse_ref(outcome.rest_of(body)).size // CONTENT_PART
    return size


def _bytes_of(row: list[Any]) -> int:
    payloads, inputs = row[5], row[8]
    size = sum(map(len, payloads)) + TASK_BYTES * len(payloads)
    return size if inputs is None else size + sum(map(len, inputs))


def _submits(items: list[Item]) -> list[tuple[m.Message, int]]:
    """Consecutive items as messages of blocks."""
    messages: list[tuple[m.Message, int]] = []
    blocks: list[list[Any]] = []
    size = 0
    start = 0
    while start < len(items):
        counter, function, options, payload, inputs, alias, _ = items[start]
        end = start + 1
        bytes_here = len(payload) + len(inputs)
        while (
            end < len(items)
            and end - start < BLOCK_TASKS_MAX
            and bytes_here < MESSAGE_BYTES
            and items[end][0] == counter + end - start
            and items[end][1] == function
            and items[end][2] == options
            and (items[end][5] is None) == (alias is None)
        ):
            bytes_here += len(items[end][3]) + len(items[end][4])
            end += 1
        run = items[start:end]
        names = [item[5] for item in run] if alias is not None else None
        marks = [item[6] for item in run] if alias is not None else None
        payloads = [item[3] for item in run]
        taken = [item[4] for item in run]
        row = [counter, function, options, None, 0, payloads, names, marks]
        blocks.append([*row, taken if any(taken) else None])
        size += bytes_here + TASK_BYTES * len(run)
        start = end
        if size >= MESSAGE_BYTES or len(blocks) >= 64:
            messages.append((m.Submit(blocks), size))
            blocks, size = [], 0
    if blocks:
        messages.append((m.Submit(blocks), size))
    return messages


def _row(block: m.Block) -> list[Any]:
    return [
        block.first,
        block.function,
        block.options,
        block.group,
        block.index,
        block.payloads,
        block.names,
        block.marks,
        block.inputs,
    ]
