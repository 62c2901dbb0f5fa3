"""Chunks: which chunk of which stored result to ask whom for next.

The state machine of everybody who fetches, worker or client: it is told what was heard and what
time it is, and says what is to be sent. A result is fetched from one holder at a time, the first of
those named that answers; a *way* leads to a holder: directly to an address, or relayed by the
router. A way that is silent or cut rests for a while, longer each time, and is then tried with one
chunk; meanwhile another is taken, a relayed one if there is no direct one. While that brings
something, what is tried is asked for there as well: behind a wall every try lasts for seconds. What
has come is never asked for again.

It must not know sockets, files or the bytes themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..protocol.outcome import Ref
from ..protocol.transfer import CHUNK_BYTES, WINDOW_CHUNKS, Get

#: Chunks on their way to one process at once, of all it fetches: 16 MB.
CHUNKS_MAX = 32

#: Of those, so many over one relayed way: they take the router's memory.
RELAYED_CHUNKS = 4

#: A way on which nothing came for so long, though something was asked for, is silent.
SILENT_S = 2.0

#: It rests this long, doubled each time up to the second.
REST_S, REST_S_MAX = 0.1, 5.0

#: A holder that is busy is asked again after this long, doubled each time up to the second.
BUSY_S, BUSY_S_MAX = 0.005, 0.5

#: After the last fetch it is remembered for so long which ways were silent or cut.
FAILED_S = 60.0

#: While a fetch has trouble, it is asked this often who else holds what it fetches.
DOUBT_S = 1.0

#: The address of the relayed way.
BY_ROUTER = ""


class Way(NamedTuple):
    """How a store is reached: at an address, or BY_ROUTER."""

    store: str
    address: str


class Request(NamedTuple):
    """A chunk that is to be asked for."""

    way: Way
    get: Get


class Failure(NamedTuple):
    """A fetch has ended without its result: the stores that are `lost` say that they have it not,
    or have given what is damaged; others have not answered."""

    token: int
    reason: str
    lost: list[str]


class _Path:
    """What is known of a way.

    Attributes:
        open: chunks that were asked for and have not come.
        heard_at: when something came, or was first asked for after that.
        failures, busy: so often in a row.
        not_before: until then it rests.
        is_tried: a chunk was asked for that another way brings as well, and has not come.
    """

    __slots__ = ("busy", "failures", "heard_at", "is_tried", "not_before", "open")

    def __init__(self) -> None:
        self.open = 0
        self.heard_at = 0.0
        self.failures = self.busy = 0
        self.not_before = 0.0
        self.is_tried = False


class Fetch:
    """One result on its way.

    Attributes:
        missing: offsets of the chunks to ask for, the next one last.
        asked: offsets that were asked for, and over which way.
        ways: to all holders, in the order in which they are to be tried.
        lost: the stores that do not have it, with what they said.
        givers: the stores of which chunks have come; `is_relayed`, whether one did by the router.
        patient_until: if nothing comes before, it ends.
        doubt_at: when it may be asked again who else holds it.
    """

    __slots__ = (
        "asked",
        "doubt_at",
        "givers",
        "is_relayed",
        "lost",
        "missing",
        "patient_until",
        "ref",
        "ways",
    )

    def __init__(self, ref: Ref) -> None:
        self.ref = ref
        self.missing = _offsets(ref.size)
        self.asked: dict[int, Way] = {}
        self.ways: list[Way] = []
        self.lost: dict[str, str] = {}
        self.givers: set[str] = set()
        self.is_relayed = False
        self.patient_until = self.doubt_at = 0.0


class Chunks:
    """The fetches of one process. `patience_s`: so long one may get nothing at all; `chance`,
    a number below 1, spreads the rests. `can_relay`: whether there is a router to relay."""

    def __init__(
        self, patience_s: float, chance: Callable[[], float], *, can_relay: bool = False
    ) -> None:
        self.patience_s = patience_s
        self.can_relay = can_relay
        self._chance = chance
        self._fetches: dict[int, Fetch] = {}
        self._paths: dict[Way, _Path] = {}
        self._open = 0
        self._token = 0

    def __len__(self) -> int:
        return len(self._fetches)

    def __getitem__(self, token: int) -> Fetch:
        return self._fetches[token]

    def __contains__(self, token: int) -> bool:
        return token in self._fetches

    @property
    def asked(self) -> set[Way]:
        """The ways over which something was asked for and has not come."""
        return {way for way, path in self._paths.items() if path.open or path.is_tried}

    # -- beginning and end -------------------------------------------------------------------

    def begin(self, ref: Ref, now: float) -> int:
        """Fetch `ref`, from where `place` says. The token of the fetch."""
        if not self._fetches:
            for way in [w for w, path in self._paths.items() if now - path.heard_at > FAILED_S]:
                del self._paths[way]
        self._token += 1
        fetch = self._fetches[self._token] = Fetch(ref)
        fetch.patient_until = now + self.patience_s
        return self._token

    def place(self, token: int, stores: Sequence[str], places: dict[str, list[str]]) -> None:
        """It is fetched from the first of `stores` that has it; `places` are the addresses at which
        they may be reached, as far as is known now."""
        fetch = self._fetches[token]
        fetch.ways = [Way(store, each) for store in stores for each in places.get(store, ())]
        if self.can_relay:
            fetch.ways += [Way(store, BY_ROUTER) for store in stores]
        for store in stores:
            if not any(way.store == store for way in fetch.ways):
                fetch.ways.append(Way(store, BY_ROUTER))  # nobody relays: it is waited for

    def end(self, token: int) -> None:
        """A fetch is over: what is still asked for it nobody waits for."""
        fetch = self._fetches.pop(token, None)
        if fetch is not None:
            for way in fetch.asked.values():
                self._close(way)
        if not self._fetches:
            # Who fetches one after the other does not run against the same wall each time.
            self._paths = {way: path for way, path in self._paths.items() if path.failures}

    # -- what is heard -----------------------------------------------------------------------

    def take(self, token: int, way: Way, offset: int, size: int, total: int, now: float) -> bool:
        """A chunk of `size` bytes has come over `way`; whether it was still missing. `is_whole`
        says whether all is there."""
        path = self._path(way)
        path.heard_at, path.failures, path.busy, path.not_before = now, 0, 0, 0.0
        path.is_tried = False
        fetch = self._fetches.get(token)
        if fetch is None or way.store in fetch.lost:
            return False
        if total != fetch.ref.size:
            self.lose(token, way.store, f"store {way.store} holds {total} bytes instead of "
                      f"{fetch.ref.size}", now)  # fmt: skip
            return False
        if size != min(CHUNK_BYTES, total - offset):
            return False
        if offset in fetch.asked:
            self._close(fetch.asked.pop(offset))
        elif offset in fetch.missing:
            fetch.missing.remove(offset)  # late: the way had been given up
        else:
            return False  # it came twice
        fetch.patient_until = now + self.patience_s
        fetch.givers.add(way.store)
        fetch.is_relayed |= way.address == BY_ROUTER
        return True

    def is_whole(self, token: int) -> bool:
        """Whether all chunks are there."""
        return not self._fetches[token].missing and not self._fetches[token].asked

    def busy(self, token: int, offset: int, now: float) -> None:
        """A holder, or the router, has no room for a chunk: later."""
        fetch = self._fetches.get(token)
        if fetch is None or offset not in fetch.asked:
            return
        fetch.patient_until = now + self.patience_s  # there is somebody
        way = fetch.asked.pop(offset)
        self._close(way)
        fetch.missing.append(offset)
        path = self._path(way)
        path.heard_at = now
        if now >= path.not_before:  # else it is the answer to what was asked along with another
            pause_s = min(BUSY_S * 2.0**path.busy, BUSY_S_MAX)
            path.busy = min(path.busy + 1, 16)
            path.not_before = now + pause_s * (0.5 + self._chance())

    def lose(self, token: int, store: str, reason: str, now: float) -> None:
        """A holder says that it does not have it, or what it has is damaged."""
        fetch = self._fetches.get(token)
        if fetch is None:
            return
        fetch.lost[store] = reason
        for offset, way in list(fetch.asked.items()):
            if way.store == store:
                self._put_back(fetch, offset)
                self._path(way).heard_at = now

    def spoiled(self, token: int, now: float) -> None:
        """All was there, and is not what the ref says: nobody who gave some of it is asked again,
        and all of it is missing."""
        fetch = self._fetches[token]
        for store in fetch.givers:
            self.lose(token, store, f"the result in store {store} is damaged: its checksum "
                      "differs", now)  # fmt: skip
        fetch.givers = set()
        fetch.missing = _offsets(fetch.ref.size)
        fetch.patient_until = now + self.patience_s

    def cut(self, address: str, now: float) -> None:
        """The connection to an address broke: what was asked for there is asked for again."""
        for way in list(self._paths):
            if way.address == address:
                self._give_up(way, now)

    def away(self, store: str, now: float) -> None:
        """The router does not reach a store either."""
        way = Way(store, BY_ROUTER)
        if way in self._paths:
            self._give_up(way, now)

    # -- what is to be done ------------------------------------------------------------------

    def requests(self, now: float) -> Iterator[Request]:
        """The chunks to ask for now: each fetch in turn gets one, as far as its window goes."""
        hungry = [token for token, fetch in self._fetches.items() if fetch.missing]
        while hungry and self._open < CHUNKS_MAX:
            still = []
            for token in hungry:
                fetch = self._fetches[token]
                way = self._way(fetch, now)
                if way is None or self._open >= CHUNKS_MAX:
                    continue
                offset = fetch.missing.pop()
                fetch.asked[offset] = way
                path = self._path(way)
                for tried in [] if path.failures else self._to_be_tried(fetch, now):
                    self._paths[tried].heard_at, self._paths[tried].is_tried = now, True
                    yield _request(token, fetch, tried, offset)
                if not path.open:
                    path.heard_at = now
                path.open += 1
                self._open += 1
                yield _request(token, fetch, way, offset)
                if fetch.missing and len(fetch.asked) < WINDOW_CHUNKS:
                    still.append(token)
            hungry = still

    def doubtful(self, now: float) -> list[int]:
        """The fetches for which others should be found: all holders are busy, silent or nowhere."""
        tokens = []
        for token, fetch in self._fetches.items():
            if now < fetch.doubt_at or not fetch.missing:
                continue
            direct = [way for way in fetch.ways if way.address != BY_ROUTER]
            paths = [self._paths.get(way) for way in direct if way.store not in fetch.lost]
            if all(path is not None and (path.failures or path.busy) for path in paths):
                fetch.doubt_at = now + DOUBT_S
                tokens.append(token)
        return tokens

    def _way(self, fetch: Fetch, now: float) -> Way | None:
        """The way over which the next chunk is to be asked for; None if that has to wait."""
        if len(fetch.asked) >= WINDOW_CHUNKS:
            return None
        wait_for_direct = False
        others = self._has_sound(fetch)
        for way in fetch.ways:
            if not self._leads(way, fetch):
                continue
            path = self._paths.get(way)
            if path is not None and path.failures and others:
                continue  # see `_to_be_tried`
            if way.address == BY_ROUTER and wait_for_direct:
                return None
            if path is None:
                return way
            if now >= path.not_before and path.open < self._room(way, path):
                return way
            wait_for_direct |= not path.failures  # it is busy, or its window full: nothing worse
        return None

    def _leads(self, way: Way, fetch: Fetch) -> bool:
        return way.store not in fetch.lost and (way.address != BY_ROUTER or self.can_relay)

    def _has_sound(self, fetch: Fetch) -> bool:
        """Whether there is a way that has not failed."""
        for way in fetch.ways:
            path = self._paths.get(way)
            if self._leads(way, fetch) and (path is None or not path.failures):
                return True
        return False

    def _to_be_tried(self, fetch: Fetch, now: float) -> list[Way]:
        """Ways that have rested, and may be there again: the next chunk is asked for there, too."""
        found = []
        for way in fetch.ways:
            path = self._paths.get(way)
            if path is None or not path.failures or path.is_tried or path.open:
                continue
            if now >= path.not_before and self._leads(way, fetch):
                found.append(way)
        return found

    def _room(self, way: Way, path: _Path) -> int:
        if path.failures:
            return 1
        return RELAYED_CHUNKS if way.address == BY_ROUTER else CHUNKS_MAX

    def silent(self, now: float) -> list[Failure]:
        """See who has been silent for too long: ways rest, and the fetches that have no hope left
        are returned; `end` them."""
        for way, path in list(self._paths.items()):
            if (path.open or path.is_tried) and now - path.heard_at >= SILENT_S:
                self._give_up(way, now)
        failures = []
        for token, fetch in self._fetches.items():
            stores = {way.store for way in fetch.ways}
            if fetch.missing and stores <= fetch.lost.keys():
                reason = next(iter(fetch.lost.values()), "no store is known to hold it")
                failures.append(Failure(token, reason, list(fetch.lost)))
            elif now >= fetch.patient_until:
                names = ", ".join(sorted(stores - fetch.lost.keys()))
                reason = f"store {names} does not answer"
                failures.append(Failure(token, reason, list(fetch.lost)))
        return failures

    def deadline(self, now: float) -> float:
        """When `requests` or `silent` have something to do that nobody's answer brings about."""
        if not self._fetches:
            return math.inf
        due = min(fetch.patient_until for fetch in self._fetches.values())
        hungry = any(fetch.missing for fetch in self._fetches.values())
        for fetch in self._fetches.values():
            if fetch.missing and fetch.doubt_at > now:
                due = min(due, fetch.doubt_at)
        for path in self._paths.values():
            if path.open or path.is_tried:
                due = min(due, path.heard_at + SILENT_S)
            if hungry and path.not_before > now:
                due = min(due, path.not_before)
        return due

    def rest(self, seconds: float) -> None:
        """This process was stopped for so long: nobody was silent meanwhile."""
        for path in self._paths.values():
            path.heard_at += seconds
        for fetch in self._fetches.values():
            fetch.patient_until += seconds

    # -- ways --------------------------------------------------------------------------------

    def _path(self, way: Way) -> _Path:
        path = self._paths.get(way)
        if path is None:
            path = self._paths[way] = _Path()
        return path

    def _close(self, way: Way) -> None:
        path = self._paths.get(way)
        if path is not None and path.open:
            path.open -= 1
            self._open -= 1

    def _put_back(self, fetch: Fetch, offset: int) -> None:
        self._close(fetch.asked.pop(offset))
        fetch.missing.append(offset)

    def _give_up(self, way: Way, now: float) -> None:
        """A way rests; what was asked for over it is missing again."""
        path = self._path(way)
        pause_s = min(REST_S * 2.0**path.failures, REST_S_MAX)
        path.failures = min(path.failures + 1, 16)
        path.is_tried = False
        path.not_before = now + pause_s * (0.5 + self._chance())
        for fetch in self._fetches.values():
            for offset, over in list(fetch.asked.items()):
                if over == way:
                    self._put_back(fetch, offset)
        path.heard_at = now


def _request(token: int, fetch: Fetch, way: Way, offset: int) -> Request:
    ref = fetch.ref
    return Request(way, Get(token, ref.task, ref.lease, ref.number, offset, CHUNK_BYTES))


def _offsets(size: int) -> list[int]:
    """Where the chunks of a result begin, the last one first; also an empty one has to be there."""
    return list(range(0, max(size, 1), CHUNK_BYTES))[::-1]
