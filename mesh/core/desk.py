"""The router's desk: answers to ASK.

Each question is a method `_ask_<name>(peer, token, about, now)`. What RAM knows is answered in the
same turn; what only the store knows goes out as a lookup. An answer is plain msgpack data: the
command line prints it, `Mesh.status()` returns it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from ..protocol import messages as m
from ..protocol.inputs import INPUT_BYTES, are_inputs
from ..protocol.shape import is_int, is_seconds, is_session, is_text
from ..task import ENDED, State, key, parse, show, unkey
from . import roll, story
from .dialling import Dialling
from .forgetting import Forgetting
from .ledger import PUTS, RECORD
from .orders import SPAN_TASKS_MAX
from .peers import Peer
from .rights import may_ask

if TYPE_CHECKING:
    from .router import RouterCore

#: Rows in one answer to "tasks": a page. The asker pages on with `after`, the last row's id and
#: state.
PAGE_TASKS = 1000


#: What a worker says of what it keeps (see keeping.py), and of its process.
SAID = (
    *("results", "stored_bytes", "served", "fetched"),
    *("data", "versions", "descriptors", "slots_by"),
)


class Desk:
    """Answers for `core`."""

    def __init__(self, core: RouterCore) -> None:
        self.core = core
        self._want_slots: list[tuple[Peer, int, int]] = []
        self._want_stores: list[tuple[Peer, int, list[str], float]] = []
        self._questions: dict[str, Callable[[Peer, int, dict[str, Any], float], None]] = {
            "status": self._ask_status,
            "workers": self._ask_workers,
            "tasks": self._ask_tasks,
            "resolve": self._ask_resolve,
            "locate": self._ask_locate,
            "home": self._ask_home,
            "group": self._ask_group,
            "regroup": self._ask_regroup,
            "roll": self._ask_roll,
            "function": self._ask_function,
            "explain": self._ask_explain,
            "count": self._ask_count,
            "slots": self._ask_slots,
            "lost": self._ask_lost,
            "again": self._ask_again,
            "newest": self._ask_newest,
            "stop": self._ask_stop,
            "renew": self._ask_renew,
            "forget": self._ask_forget,
            "prune": self._ask_prune,
            "forget workers": self._ask_forget_workers,
            "dial": self._ask_dial,
        }
        self.forgetting, self.dialling = Forgetting(core), Dialling(core)
        self.renews = False  # somebody says that there are other keys

    def take_ask(self, peer: Peer, message: m.Ask, now: float) -> None:
        """Answer one question; an unknown or ill-formed one is told so."""
        ask = self._questions.get(message.what)
        if ask is None:
            self._tell(peer, message.token, now, error=f"no question {message.what!r}")
            return
        if not may_ask(peer.rights, message.what):
            text = f"{message.what} is for an admin: use the access file that the mesh has made"
            self.core.peers.send(peer, m.Tell(message.token, "AccessDenied", text), now)
            return
        try:
            ask(peer, message.token, message.about, now)
        except Exception as error:  # `about` is anything that msgpack can hold
            self._tell(peer, message.token, now, error=f"{message.what}: {error!r}")

    def _tell(
        self, peer: Peer, token: int, now: float, value: Any = None, error: str | None = None
    ) -> None:
        if error is not None:
            self.core.peers.send(peer, m.Tell(token, "MeshError", error), now)
        else:
            self.core.peers.send(peer, m.Tell(token, None, value), now)

    def _ask_status(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        counts = self.core.recovery.counts()
        value = {
            "mesh": self.core.mesh,
            "router": {"epoch": self.core.epoch},  # the shell adds pid, address, uptime, memory
            "workers": self._workers(now),
            "fetches": self.core.fetches.told(),
            "tasks": {state.word: counts[state] for state in State},
            "puts": counts[PUTS],
            "recovering": len(self.core.recovery.running),
            "settings": asdict(self.core.settings),
        }
        self._tell(peer, token, now, value)

    def _ask_workers(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        self._tell(peer, token, now, self._workers(now))

    def _workers(self, now: float) -> list[dict[str, Any]]:
        rows = []
        for worker in self.core.fleet:
            about = worker.about
            rows.append(
                {
                    "id": worker.who,
                    "host": about.get("host"),
                    "pid": about.get("pid"),
                    "incarnation": worker.incarnation.hex(),
                    "slots": about.get("running", []),
                    "held": len(worker.held),
                    "resources": worker.capacity.shown(),
                    "ends_s": worker.capacity.left_s(now),
                    "window": worker.window,
                    "home": bool(about.get("home")),
                    **{each: about.get(each) for each in SAID},
                    "skew_s": round(worker.skew_s, 3),
                    "connected": worker.peer is not None,
                    "last_seen_s": (
                        round(now - worker.peer.last_heard, 3) if worker.peer is not None else None
                    ),
                }
            )
        return rows

    def _ask_tasks(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """A page of tasks: open ones from memory, then ended ones from the store, each in the order
        of their ids."""
        states = {State[word.upper()] for word in about.get("states", [])} or set(State)
        limit = max(0, min(int(about.get("limit", PAGE_TASKS)), PAGE_TASKS))
        session, counter, all_open_told = "", -1, False
        if about.get("after") is not None:
            id, word = about["after"]
            last = parse(id)
            if last is None:
                raise ValueError(f"{id!r} is no task id")
            (session, counter), all_open_told = last, State[word.upper()] >= ENDED
        rows = [] if all_open_told else self._open_tasks(states, limit, session, counter)
        ended = sorted(int(state) for state in states if state >= ENDED)
        if not ended or len(rows) == limit:
            self._tell(peer, token, now, rows)
            return
        self.core.lookups.ask(
            "ended",
            (ended, limit - len(rows), key(session, counter + 1) if all_open_told else b""),
            lambda answer, now: self._tell(peer, token, now, rows + self._marked(answer)),
        )

    def _marked(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ended tasks, with those marked that are made again."""
        running = {show(*unkey(task)) for task in self.core.recovery.running}
        return [row | {"recovering": True} if row["id"] in running else row for row in rows]

    def _open_tasks(
        self, states: set[State], limit: int, session: str, counter: int
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for block, low in self.core.ledger.blocks.behind(session, counter):
            for i in range(low, block.size):
                if len(rows) == limit:
                    return rows
                state = block.states[i]
                if state in states and block.is_open(i):
                    rows.append(
                        {
                            "id": show(block.session, block.first + i),
                            "name": block.names[i] if block.names is not None else None,
                            "function": self.core.ledger.functions[block.function][0],
                            "state": State(state).word,
                        }
                    )
        return rows

    def _ask_resolve(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """Texts → what each means: [kind, session, counter, size]; ["several", id, …]; or None.

        A text is a task or group id, a unique prefix of one, an alias, or ``last``.
        """
        self.core.lookups.ask(
            "texts",
            [(text, parse(text)) for text in about["texts"]],
            lambda answer, now: self._tell(peer, token, now, answer),
        )

    def _ask_explain(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """All that is known of one task: its runs, where it is, and what it waits for."""
        session, counter = about["session"], about["counter"]
        if not (is_session(session) and is_int(counter)):
            raise ValueError(f"no task {session!r}.{counter!r}")

        ask = partial(self.core.lookups.ask, "story", (session, counter))

        def found(told: dict[str, Any] | None, now: float, *, again: bool = True) -> None:
            if told is not None:
                told = told | story.of_open_task(self.core, session, counter, now)
                if told["state"] is None and again:  # it has ended since the store was asked
                    ask(partial(found, again=False))
                    return
                told |= story.of_result(self.core, session, counter, told)
            self._tell(peer, token, now, told)

        ask(found)

    def _ask_locate(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """Store ids → where they are now. One that is away has `lost_after_s` to come back, as
        after a restart of the mesh; then its place is None."""
        until = now + self.core.settings.lost_after_s
        self._want_stores.append((peer, token, [str(store) for store in about["stores"]], until))
        self.tick(now)

    def tick(self, now: float) -> None:
        """Answer who waits for stores, if they are there or have had their time; and for those that
        dial."""
        self.dialling.tick(now)
        waiting, self._want_stores = self._want_stores, []
        for peer, token, stores, until in waiting:
            places = {store: self.core.fleet.place_of(store) for store in stores}
            gone = [s for s in stores if places[s] is None and self.core.holders.is_gone(s, now)]
            places |= {store: [] for store in gone}  # nowhere, and not awaited any more
            left = self.core.handover.left  # others have what was there
            if now < until and any(p is None and s not in left for s, p in places.items()):
                self._want_stores.append((peer, token, stores, until))
            else:
                self._tell(peer, token, now, places)

    def _ask_home(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """Where content is to be left that is put: a store id and its place; None if the mesh has
        no home worker just now."""
        home = self.core.fleet.home
        value = None
        if home is not None:
            value = [home.who, *(self.core.fleet.place_of(home.who) or ["", "", ""])]
        self._tell(peer, token, now, value)

    def _ask_group(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """A group's record: its size, name, and the members that are older tasks."""
        if not is_session(about["session"]):
            raise ValueError(f"no session {about['session']!r}")
        group = key(about["session"], about["first"])
        self.core.lookups.ask(
            "group", group, lambda answer, now: self._tell(peer, token, now, answer)
        )

    def _ask_regroup(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """A group of the asker in place of another, some members of which, the rows [index,
        session, counter, count], are older tasks. Answered when that is on disk."""
        first, size, name = about["first"], about["size"], about["name"]
        session, counter = about["old"]
        if not (is_int(first) and is_int(size) and (name is None or is_text(name))):
            raise ValueError(f"no group of {size!r} behind {first!r}")
        if not (is_session(session) and is_int(counter)):
            raise ValueError(f"no group {session!r}.{counter!r}")
        if not all(_is_run(row, size) for row in about["rows"]):
            raise ValueError(f"not all are members of a group of {size}")
        groups = key(peer.who, first), key(session, counter)
        self.core.ledger.writes.append(("group", groups[0], size, name, about["rows"], groups[1]))
        self.core.after_commit(lambda now: self._tell(peer, token, now, True))

    def _ask_roll(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """What became of each task of some spans: see core/roll.py."""
        spans = [(session, first, count) for session, first, count in about["spans"]]
        if not all(is_session(s) and is_int(first) and is_int(n) for s, first, n in spans):
            raise ValueError(f"no spans: {spans!r}")
        if sum(count for _, _, count in spans) > PAGE_TASKS:
            raise ValueError(f"{PAGE_TASKS} tasks at a time")
        roll.call(self.core, spans, bool(about["whole"]), partial(self._tell, peer, token))

    def _ask_function(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """The name, code digest and payload of a function, by its digest."""
        self.core.lookups.ask(
            "function", about["digest"], lambda answer, now: self._tell(peer, token, now, answer)
        )

    def _ask_count(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """How many tasks of some spans are in each state that is not an end."""
        counts = {state.word: 0 for state in State if state < ENDED}
        for session, first, count in about["spans"]:
            for block, low, high in self.core.ledger.blocks.overlapping(session, first, count):
                for state in State:
                    if state < ENDED:
                        counts[state.word] += block.states.count(state, low, high)
                for i in block.recovering:
                    if low <= i < high:
                        counts[State(block.states[i]).word] -= 1
        self._tell(peer, token, now, counts)

    def _ask_slots(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """Answered once at least `count` slots are ready."""
        self._want_slots.append((peer, token, int(about["count"])))
        self.slots_changed(now)

    def slots_changed(self, now: float) -> None:
        """Answer who waits for slots, if there are enough now, or for the store of a worker."""
        self.tick(now)
        if not self._want_slots:
            return
        ready = sum(len(w.about.get("running", [])) for w in self.core.fleet if w.peer is not None)
        waiting, self._want_slots = self._want_slots, []
        for peer, token, count in waiting:
            if self.core.peers.by_id.get(peer.id) is not peer:
                continue  # it asks anew, if it is still there
            if ready >= count:
                self._tell(peer, token, now, ready)
            else:
                self._want_slots.append((peer, token, count))

    def _ask_lost(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """A store has lost the result of a lease: unless it is with another one by now, its alias
        is free. Answered when that is on disk."""
        task, lease, store = about["task"], about["lease"], about["store"]
        if not are_inputs(task) or len(task) != INPUT_BYTES or not is_int(lease):
            raise ValueError(f"no lease {lease!r} of {task!r}")
        if not is_session(store):
            raise ValueError(f"no store {store!r}")
        self.core.ledger.writes.append(("lost", task, lease, store))
        self.core.ledger.recent.forget(task)

        def look(now: float) -> None:
            self.core.lookups.ask("why lost", (task, lease), told)

        def told(why: str, now: float) -> None:
            self._tell(peer, token, now, why or True)

        self.core.after_commit(look)

    def _ask_again(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """A client that submitted a task, or the same call again, waits for its result, which is
        lost. Answered when that has been made again."""
        session, counter, lease = about["session"], about["counter"], about["lease"]
        if not (is_session(session) and is_int(counter) and is_int(lease)):
            raise ValueError(f"no lease {lease!r} of {session!r}.{counter!r}")
        self.core.recovery.wait(peer, token, key(session, counter), lease)

    def _ask_forget(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """Forget tasks that have ended: see `Forgetting.forget`. Answered when that is on disk."""
        spans = [(session, first, count) for session, first, count in about["spans"]]
        if not all(is_session(s) and is_int(first) and is_int(n) for s, first, n in spans):
            raise ValueError(f"no spans: {spans!r}")
        if sum(count for _, _, count in spans) > SPAN_TASKS_MAX:
            raise ValueError(f"{SPAN_TASKS_MAX} tasks at a time")
        self.forgetting.forget(peer, token, spans)

    def _ask_prune(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """Forget what is older than `older_s`, by default `ttl_s`; or tell what that is, if it is a
        rehearsal: see `Forgetting.prune`."""
        older_s = about.get("older_s")
        older_s = self.core.settings.ttl_s if older_s is None else older_s
        if not is_seconds(older_s):
            raise ValueError(f"no time: {older_s!r}")
        self.forgetting.prune(peer, token, older_s, bool(about.get("is_rehearsal")))

    def _ask_forget_workers(
        self, peer: Peer, token: int, about: dict[str, Any], now: float
    ) -> None:
        """Workers that will not come back, by store id: what was with them is lost at once. The
        answer, when that is on disk: of each ``forgotten``, ``live`` (it is connected, and was left
        alone) or ``unknown``."""
        stores = list(dict.fromkeys(about["stores"]))
        if not all(map(is_session, stores)):
            raise ValueError(f"no stores: {stores!r}")

        def found(known: list[bool], now: float) -> None:
            told = {}
            for store, is_known in zip(stores, known, strict=True):
                if self.core.fleet.place_of(store) is not None:
                    told[store] = "live"
                elif not is_known:
                    told[store] = "unknown"
                else:
                    told[store] = "forgotten"
                    self.core.holders.forget(store, now)
            self.core.after_commit(lambda now: self._tell(peer, token, now, told))

        self.core.lookups.ask("stores", stores, found)

    def _ask_newest(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """How a task ended, as it is recorded now: its result may have been made again."""
        session, counter = about["session"], about["counter"]
        if not (is_session(session) and is_int(counter)):
            raise ValueError(f"no task {session!r}.{counter!r}")

        def found(answer: list[tuple[Any, ...]], now: float) -> None:
            record = answer[0][2]
            value = None if record is None else [record[0], record[RECORD.size :]]
            self._tell(peer, token, now, value)

        self.core.lookups.ask("outcomes", [(session, counter, 1)], found)

    def _ask_renew(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        self._tell(peer, token, now, True)
        self.renews = True

    def _ask_dial(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        """What of the asker's addresses can be reached from where workers are: by worker, its host
        and what came of each address; None if it has not said."""
        self.dialling.ask(about, partial(self._tell, peer, token), now)

    def _ask_stop(self, peer: Peer, token: int, about: dict[str, Any], now: float) -> None:
        within_s = about.get("within_s", math.inf)
        if not is_seconds(within_s):
            raise ValueError(f"no time: {within_s!r}")
        self._tell(peer, token, now, True)
        self.core.stop(within_s, now)


def _is_run(row: Any, size: int) -> bool:
    """Whether a row tells of members of a group of that size: index, session, counter, count."""
    index, session, counter, count = row
    numbers = is_int(index) and is_int(counter) and is_int(count)
    return numbers and is_session(session) and index + count <= size
