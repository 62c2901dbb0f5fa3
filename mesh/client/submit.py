"""The submitter: calls become tasks. What `Mesh` and its views have in common."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from functools import partial
from typing import Any

from ..errors import PayloadError
from ..options import OPTIONS, over, sparse
from ..protocol import messages as m
from ..protocol import payload
from ..protocol.functions import Packed
from ..protocol.marks import mark
from ..protocol.messages import BLOCK_TASKS_MAX
from ..protocol.outcome import failure_body
from ..protocol.parcel import Initializer
from ..task import Kind
from . import calls
from .bar import SHOW_EVERY_S, Bar
from .calls import Call
from .connection import Connection
from .future import Future
from .group import Group
from .heavy import HEAVY_BYTES, Heavy
from .pack import Packer
from .task import options_in

#: Tasks that `map` keeps on their way by default.
MAP_WINDOW = 8192


class Submitter:
    """Submits through `connection`, with the modules that functions need unless it is told not to,
    and with what is to run first in each process. Options at the call win over those of `@task`,
    these over the mesh's `own`."""

    def __init__(
        self,
        connection: Connection,
        own: dict[str, Any],
        *,
        with_modules: bool = True,
        initializer: Initializer | None = None,
    ) -> None:
        self._connection = connection
        self._own = own
        self._with_modules = with_modules
        self._packer = Packer(connection.warn, initializer, with_modules=with_modules)
        self._heavy = Heavy(connection.warn)
        self._heavy_bytes = HEAVY_BYTES + (0 if initializer is None else len(initializer.call))

    def _pack(self, fn: Callable[..., Any]) -> Packed:
        packed = self._packer.pack(fn)
        if len(packed.payload) >= self._heavy_bytes:
            self._heavy.look(fn, packed)
        return packed

    def _options(self, fn: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
        """Those of a call of `fn`: the call's, its own, the mesh's."""
        given = options_in(fn)
        if not (given or options):
            return self._own
        return over(over(self._own, given), options)

    def _encode(
        self, packed: Packed, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, bytes]:
        """The payload and the inputs of a call of `packed`; large arguments are put.

        Raises:
            PayloadError: one of the arguments cannot be pickled.
            QueueFull: the mesh has had no room for large ones for too long.
        """
        plain = payload.plain_arguments(args, kwargs)
        if plain is not None:
            return plain, b""
        connection = self._connection
        mesh, sources = connection.access.mesh, packed.parcel.sources
        parts, inputs = payload.dump_arguments(args, kwargs, mesh, self._with_modules, sources)
        return connection.puts.fit(parts, inputs)

    def submit(
        self,
        options: dict[str, Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Future:
        """See `Mesh.submit`."""
        packed = self._pack(fn)
        options = self._options(fn, options)
        alias = None
        if options:
            alias = options.get("id")
            options = sparse(options)
        if kwargs and not OPTIONS.keys().isdisjoint(kwargs):
            calls.check_names(fn, kwargs)
        connection = self._connection
        arguments, inputs = self._encode(packed, args, kwargs)
        made: list[Future] = []
        connection.outbox.add(
            packed,
            options,
            arguments,
            inputs,
            alias,
            None if alias is None else mark(args, kwargs),
            lambda counter: made.append(connection.waiting.future(counter, alias)),
        )
        return made[0]

    def put(self, obj: Any) -> Future:
        """See `Mesh.put`."""
        connection = self._connection
        try:
            parts = payload.dump(obj, with_modules=self._with_modules)
        except Exception as error:
            kind = type(obj).__qualname__
            raise PayloadError(f"{kind} cannot be pickled: {error}") from error
        made: list[Future] = []
        known = connection.puts.put(
            parts,
            lambda counter: made.append(connection.waiting.future(counter)),
        )
        if known is not None:
            future = Future(connection, connection.session, known[0])
            future.settle(Kind.STORED, known[1])
            return future
        failure = made[0].exception()
        if failure is not None:
            raise failure
        return made[0]

    def submit_many(
        self,
        options: dict[str, Any],
        fn: Callable[..., Any],
        iterables: Sequence[Iterable[Any]],
        kwargs: Iterable[dict[str, Any]] | None,
        ids: Iterable[str] | None,
        name: str | None,
    ) -> Group:
        """See `Mesh.submit_many`."""
        if not iterables and kwargs is None:
            raise TypeError("submit_many() takes at least one iterable of arguments, or kwargs=")
        if name is not None:
            calls.check_word("name=", name)
        packed = self._pack(fn)
        options = self._options(fn, options)
        if "id" in options:
            raise TypeError("a group takes ids=, one for each member, not id=")
        options = sparse(options)
        rows, size = calls.sized(iterables, kwargs)
        aliases = None if ids is None else calls.checked_ids(ids, size)
        connection = self._connection
        group = Group(
            connection, connection.session, connection.outbox.reserve(size + 1), size, name, aliases
        )
        connection.outbox.add_group(m.Group(group.first - 1, size, name))
        reached = 0
        try:
            if size:
                connection.waiting.add(group)
            for sent in self._send_members(group, packed, options, rows, aliases):
                reached = sent
        finally:  # a row that raised, too few rows, Ctrl-C: nobody may wait for what is never sent
            if reached < size:
                group.give_up(reached, "was never submitted: submit_many() did not come to it")
                connection.waiting.drop_if_ended(group)
        if reached < size:
            raise ValueError(f"by their len() the arguments are {size} rows; they gave {reached}")
        return group

    def _send_members(
        self,
        group: Group,
        packed: Packed,
        options: dict[str, Any],
        rows: Iterator[Call],
        aliases: list[str | None] | None,
    ) -> Iterator[int]:
        """Encode and send the members of a group, block by block; how many have been."""
        connection = self._connection
        encode = partial(self._encode, packed)
        for part in calls.encoded(rows, aliases is not None, encode):
            index, count = part.index, len(part.payloads)
            for i, error in part.broken:
                counter = group.first + index + i
                body = failure_body(PayloadError.__name__, str(error))
                connection.unseen.ended([counter], bytes([Kind.REFUSED]), [body])
                group.take([counter], [Kind.REFUSED], [body])
                connection.waiting.drop_if_ended(group)
            for low, high in calls.whole_runs(count, [i for i, _ in part.broken]):
                block = m.Block(
                    group.first + index + low,
                    packed.digest,
                    options,
                    group.first - 1,
                    index + low,
                    part.payloads[low:high],
                    None if aliases is None else aliases[index + low : index + high],
                    None if aliases is None else part.marks[low:high],
                    part.inputs[low:high] if any(part.inputs[low:high]) else None,
                )
                connection.outbox.add_block(packed, block)
            yield index + count

    def map(
        self,
        options: dict[str, Any],
        fn: Callable[..., Any],
        iterables: Sequence[Iterable[Any]],
        timeout: float | None,
        chunksize: int,
        buffersize: int | None,
        progress: bool,
    ) -> Iterator[Any]:
        """See `Mesh.map`."""
        if not iterables:
            raise TypeError("map() takes at least one iterable of arguments")
        if chunksize < 1:
            raise ValueError(f"chunksize must be 1 or more, not {chunksize}")
        if buffersize is not None and buffersize < 1:
            raise ValueError(f"buffersize must be 1 or more, not {buffersize}")
        window = buffersize or MAP_WINDOW
        segment = max(1, min(BLOCK_TASKS_MAX, window // 4))
        sizes = [len(each) for each in iterables if isinstance(each, Sized)]
        total = min(sizes) if len(sizes) == len(iterables) else None
        rows = zip(*iterables, strict=False)
        deadline = None if timeout is None else time.monotonic() + timeout
        packed = self._pack(fn)
        options = sparse(self._options(fn, options))
        groups: deque[Group] = deque()

        def submit_next() -> bool:
            part: list[Call] = [(row, {}) for row in itertools.islice(rows, segment)]
            if part:
                groups.append(self._segment(packed, options, part))
            return bool(part)

        while len(groups) * segment < window and submit_next():
            pass

        def results(bar: Bar | None) -> Iterator[Any]:
            taken = 0
            try:
                while groups:
                    for index in range(len(groups[0])):
                        if bar is not None:
                            _show(bar, groups[0], index, taken, deadline)
                        yield groups[0].value_in_time(index, _rest(deadline))
                        taken += 1
                    groups.popleft()
                    submit_next()
                if bar is not None:
                    bar.show(taken)
            finally:
                if bar is not None:
                    bar.close()
                spans = [span for group in groups for span in group.open_spans()]
                if spans:  # all at once: what is cancelled later would begin meanwhile
                    self._connection.cancel(spans, running=False)

        return results(Bar(total) if progress else None)

    def _segment(self, packed: Packed, options: dict[str, Any], rows: list[Call]) -> Group:
        """Tasks that are nobody's group: of `map`."""
        connection = self._connection
        counter = connection.outbox.reserve(len(rows) + 1)
        group = Group(connection, connection.session, counter, len(rows))
        encoded = [self._encode(packed, args, kwargs) for args, kwargs in rows]
        payloads, inputs = [each[0] for each in encoded], [each[1] for each in encoded]
        connection.waiting.add(group)
        taken = inputs if any(inputs) else None
        block = m.Block(group.first, packed.digest, options, None, 0, payloads, None, None, taken)
        connection.outbox.add_block(packed, block)
        return group


def _rest(deadline: float | None) -> float | None:
    """How much time is left."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _show(bar: Bar, group: Group, index: int, taken: int, deadline: float | None) -> None:
    """Show how many results were `taken` until the next one is there, or the time is over."""
    while True:
        rest = _rest(deadline)
        step = SHOW_EVERY_S if rest is None else min(rest, SHOW_EVERY_S)
        is_there = group.ends_within(index, step)
        bar.show(taken)
        if is_there or step == rest:
            return
