"""Waiting: who in this process waits for which task.

A client's own tasks are waited for by a future each or by their group; any task at all may be
waited for by others besides: futures made by id, members of foreign groups, members that turned
out to be older tasks. News settles whoever waits. The I/O thread brings news, threads of the
script come to wait: `_lock` is between them.
"""

from __future__ import annotations

import threading
from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Any

from ..errors import TaskNotFound
from ..protocol import outcome
from ..task import SUCCESS, Kind
from .future import Future
from .group import Group

if TYPE_CHECKING:
    from .source import Source

Span = tuple[str, int, int]


def is_not_found(kind: int, body: Any) -> bool:
    """Whether an outcome says that the router does not know the task."""
    if kind != Kind.REFUSED:
        return False
    failure, _ = outcome.parse_failure(outcome.parse(body).rest)
    return failure.kind == TaskNotFound.__name__


class Waiting:
    """What waits in the client whose own tasks are those of `session`."""

    def __init__(self, connection: Source, session: str) -> None:
        self._connection = connection
        self._session = session
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._futures: dict[int, Future] = {}
        self._groups: dict[int, Group] = {}
        self._firsts: list[int] = []
        self._others: dict[tuple[str, int], list[Future | tuple[Group, int]]] = {}
        self._joined_groups: dict[str, list[Group]] = {}  # by session: others' groups, or earlier
        self._joined: set[Future] = set()  # submitted here, and found to be an older task
        self._leaving = False
        self._error: BaseException | None = None

    # -- for the threads of the script -------------------------------------------------------

    def future(self, counter: int, alias: str | None = None) -> Future:
        """A future for a task that is about to be submitted, under the user's own id `alias`."""
        future = Future(self._connection, self._session, counter, alias)
        future.is_live = True
        self._futures[counter] = future
        return future

    def add(self, group: Group) -> None:
        """A group whose blocks are about to be submitted."""
        group.is_live = True
        with self._lock:
            self._groups[group.first] = group
            insort(self._firsts, group.first)

    def own(self, session: str, counter: int) -> Future | None:
        """The future of a task submitted here that has not ended."""
        return self._futures.get(counter) if session == self._session else None

    def join(self, session: str, counter: int) -> Future:
        """A further future for any task."""
        future = Future(self._connection, session, counter)
        with self._lock:
            self._others.setdefault((session, counter), []).append(future)
        self._fail_late(future)
        return future

    def _fail_late(self, future: Future) -> None:
        """Who comes to wait when no more news will come is told at once."""
        if self._error is not None:
            future.fail(self._error)

    def join_group(self, group: Group) -> None:
        """A group that was submitted elsewhere, or earlier."""
        with self._lock:
            self._joined_groups.setdefault(group.key[0], []).append(group)
            for index, session, counter, count in group.older:
                for i in range(count):
                    self._others.setdefault((session, counter + i), []).append((group, index + i))

    def follow(self, group: Group, old: Group, again: set[int]) -> None:
        """A group whose members are those of `old`, but for `again`: new tasks in their places."""
        ended: list[tuple[int, int, Any]] = []
        with self._lock:  # else news might come in between
            for i in range(len(old)):
                if i in again:
                    continue
                task, raw = old.task_of(i), old.raw(i)
                group.is_older(i, *task, ended=raw is not None and raw[0] in SUCCESS)
                if raw is None:
                    self._others.setdefault(task, []).append((group, i))
                else:
                    ended.append((group.first + i, *raw))
        if ended:
            counters, kinds, bodies = zip(*ended)
            group.take(counters, kinds, list(bodies))

    def member(self, group: Group, index: int) -> Future:
        """A future for a member of a group."""
        with self._lock:  # else `is_older` might come in between
            task = group.task_of(index)
            future = Future(self._connection, *task, group.alias_of(index))
            future.is_live = group.is_live
            self._others.setdefault(task, []).append(future)
        raw = group.raw(index)
        if raw is not None:  # its news has come already, or comes now: who takes it out settles it
            with self._lock:
                waiting = self._others.get(task, [])
                mine = any(each is future for each in waiting)
                if mine:
                    waiting[:] = [each for each in waiting if each is not future]
                    if not waiting:
                        del self._others[task]
            if mine:
                future.settle(*raw)
        self._fail_late(future)
        return future

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until nothing this client submitted is open."""
        with self._lock:
            return self._idle.wait_for(
                lambda: self._nothing_open or self._error is not None, timeout
            )

    @property
    def _nothing_open(self) -> bool:
        return not (self._futures or self._groups or self._joined)

    def own_spans(self) -> list[Span]:
        """The client's own tasks that have not ended."""
        with self._lock:
            return self._own_spans()

    def _own_spans(self) -> list[Span]:
        spans = [(self._session, counter, 1) for counter in sorted(self._futures)]
        for group in self._groups.values():
            spans += [span for span in group.open_spans() if span[0] == self._session]
        return spans

    def wait_for_own(self, timeout: float) -> bool:
        """Wait until none of the client's own tasks is open: they have just been cancelled."""
        with self._lock:
            self._leaving = True
            return self._idle.wait_for(
                lambda: not self._has_own or self._error is not None, timeout
            )

    @property
    def _has_own(self) -> bool:
        return bool(self._futures) or any(group.own_left for group in self._groups.values())

    def all_spans(self) -> list[Span]:
        """Everything that is waited for."""
        with self._lock:
            others = [(s, c, 1) for s, c in self._others if not self._is_open(s, c)]
            for groups in self._joined_groups.values():
                others += [span for group in groups for span in group.open_spans()]
            return self._own_spans() + others

    def _is_open(self, session: str, counter: int) -> bool:
        """Whether it is an own task whose end is not known, perhaps still to be sent; call with
        the lock held."""
        if session != self._session:
            return False
        group = self._group_at(counter)
        is_member = group is not None and group.raw(counter - group.first) is None
        return is_member or counter in self._futures

    # -- for the I/O thread ------------------------------------------------------------------

    def is_older(
        self, session: str, counter: int, older_session: str, older: int, ended: bool
    ) -> None:
        """A task is an older one: who waits for it waits for that."""
        with self._lock:
            waiting = self._others.pop((session, counter), [])
            if session == self._session:
                future = self._futures.pop(counter, None)
                if future is not None:
                    self._joined.add(future)
                    waiting.append(future)
                group = self._group_at(counter)
                if group is not None:
                    waiting.append((group, counter - group.first))
            for group in self._joined_groups.get(session, ()):
                if group.first <= counter < group.end:
                    waiting.append((group, counter - group.first))
            for each in waiting:
                if isinstance(each, Future):
                    each.is_older(older_session, older)
                else:
                    each[0].is_older(each[1], older_session, older, ended=ended)
            if waiting:
                self._others.setdefault((older_session, older), []).extend(waiting)

    def news(self, session: str, counters: list[int], kinds: bytes, bodies: list[Any]) -> None:
        """Tasks have ended."""
        if session == self._session and Kind.REFUSED in kinds:
            # After a new HELLO we ask for all our tasks, those too that are about to be sent: what
            # the router does not know is only gone if it has been there.
            is_recorded = self._connection.is_recorded
            with self._lock:
                known = [
                    n
                    for n, body in enumerate(bodies)
                    if is_recorded(counters[n])
                    or not (is_not_found(kinds[n], body) and self._is_open(session, counters[n]))
                ]
            counters = [counters[n] for n in known]
            kinds, bodies = bytes(kinds[n] for n in known), [bodies[n] for n in known]
        if session == self._session and counters:
            with self._lock:
                group = self._group_at(counters[0])
            if group is not None and min(counters) >= group.first and max(counters) < group.end:
                group.take(counters, kinds, bodies)
                self._tell_others(session, counters, kinds, bodies)
                self.drop_if_ended(group)
                self._tell_idle()
                return
        if session == self._session:
            self._take(counters, kinds, bodies)
        self._tell_others(session, counters, kinds, bodies)
        self._tell_idle()

    def _take(self, counters: list[int], kinds: bytes, bodies: list[Any]) -> None:
        """Tasks of several groups have ended, or of none."""
        members: dict[Group, list[int]] = {}
        mine: list[int] = []  # those of the group that was last
        low = high = 0  # and its counters
        for nth, counter in enumerate(counters):
            if low <= counter < high:
                mine.append(nth)
                continue
            future = self._futures.pop(counter, None)
            if future is not None:
                if not future.done():
                    future.settle(kinds[nth], bodies[nth])
                continue
            with self._lock:
                group = self._group_at(counter)
            if group is not None:
                low, high = group.first, group.end
                mine = members.setdefault(group, [])
                mine.append(nth)
        for group, mine in members.items():
            group.take(*([column[nth] for nth in mine] for column in (counters, kinds, bodies)))
            self.drop_if_ended(group)

    def _tell_idle(self) -> None:
        if self._leaving or self._nothing_open:
            with self._lock:
                self._idle.notify_all()

    def _tell_others(
        self, session: str, counters: list[int], kinds: bytes, bodies: list[Any]
    ) -> None:
        with self._lock:  # a member's future may be joining them
            groups = list(self._joined_groups.get(session, ()))
        low, high = (min(counters), max(counters)) if groups else (0, 0)
        for group in groups:
            if high < group.first or low >= group.end:
                continue
            mine = [nth for nth, c in enumerate(counters) if group.first <= c < group.end]
            if len(group.older):
                mine = [n for n in mine if group.is_own(counters[n])]
            group.take(
                [counters[n] for n in mine], [kinds[n] for n in mine], [bodies[n] for n in mine]
            )
            self.drop_if_ended(group)
        with self._lock:
            if not self._others:
                return
        for nth, counter in enumerate(counters):
            with self._lock:
                targets = self._others.pop((session, counter), [])
            for target in targets:
                if isinstance(target, Future):
                    self._joined.discard(target)
                    if not target.done():
                        target.settle(kinds[nth], bodies[nth])
                else:
                    group, i = target
                    group.take([group.first + i], [kinds[nth]], [bodies[nth]])
                    self.drop_if_ended(group)

    def fail(self, error: BaseException) -> None:
        """No more news will come: everything that waits is told why."""
        with self._lock:
            self._error = error
            waiting: list[Future | Group] = [*self._futures.values(), *self._groups.values()]
            for targets in self._others.values():
                waiting += [t if isinstance(t, Future) else t[0] for t in targets]
            for groups in self._joined_groups.values():
                waiting += groups
            self._idle.notify_all()
        for each in waiting:
            each.fail(error)

    def _group_at(self, counter: int) -> Group | None:
        """The group of an own task; call with the lock held."""
        at = bisect_right(self._firsts, counter) - 1
        if at < 0:
            return None
        group = self._groups[self._firsts[at]]
        return group if counter < group.end else None

    def drop_if_ended(self, group: Group) -> None:
        """Wait no more for a group whose members have all ended."""
        if not group.ended:
            return
        with self._lock:
            session = group.key[0]
            joined = self._joined_groups.pop(session, [])
            if left := [each for each in joined if each is not group]:
                self._joined_groups[session] = left
            if self._groups.get(group.first) is group:  # another client's may begin there, too
                del self._groups[group.first]
                self._firsts.pop(bisect_right(self._firsts, group.first) - 1)
                self._idle.notify_all()
