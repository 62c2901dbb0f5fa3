"""The router's records: what must survive it, and how it is looked up again.

Layout (schema 5; all keys sort):

    meta      mesh, birth, epoch, schema, counts, last
    block     id of its first task → msgpack header: shared, immutable
    args      the same key         → msgpack list of payloads: immutable
    inputs    the same key         → msgpack list of task ids, one after the other for each task
    taker     the same key + that of a block which takes its results → nothing
    held      the same key         → nothing; it would be forgotten, were it not for its takers
    open      the same key         → nothing; while some task of the block has not ended
    ended     age when it ended, the same key → nothing; from then on
    over      the same key         → that age
    outcome   task id              → kind, lease, store id, body: written once, and anew when what
                                     was lost has been made again
    tries     task id              → how often it was begun in vain
    run       task id + lease      → a run that did not end its task: see store/story.py
    alias     a user's id          → the task it means, and what call that was
    function  digest               → name, code digest, payload
    group     group id             → size, name, older members: see store/groups.py
    named     digest of a group's name + group id → nothing
    foreign   task id              → the older task that this one is: its alias was taken
    session   a client's session   → the highest counter recorded
    heard     a client's session   → age up to which it had heard of all, when it left
    worker    store id             → what its worker said of itself, while it is present
    host      store id             → where its worker was last: host, and folder there
    begun     store id             → what its worker was known to run: incarnation, tasks, leases
    lost      task id + lease      → nothing; its stored result is gone, said its holder; or why, if
                                     it was evicted
    moved     task id + lease      → from which store to which what it left has moved, and when
    fetched   task id              → nothing; a client has fetched its stored result
    copy      task id + lease + store id → nothing; that store has a copy of what the lease left
    gone      store id             → nothing; nobody waits for it any more
    drop      store id + task id + lease → age from which its holder is told to let go of it

A task without an outcome in an open block is queued: there is no state to keep in step. `apply`
takes the core's writes; `look_up` its questions; both speak the core's words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..core.intake import Answers
from ..core.puts import PUT
from ..core.restored import Restored
from ..errors import StoreError
from ..task import STATE_OF, Kind, key, show, unkey
from . import groups, holdings, inspection, lineage, meaning, pruning, restoring, roll, story
from .durability import Durability
from .meaning import alias_key
from .rows import pack, unpack
from .seal import Seal
from .tables import LmdbTables, Tables, Transaction

#: Raised whenever the layout changes so that an older Mesh would misread it.
SCHEMA = 5

#: Older layouts that are read as they are, and go on as this one: 2 knew no runs, hosts, times, 3
#: no inputs, and 4 found no group by its name.
UPGRADED = (2, 3, 4)

#: What the arguments of a call are told as that were put: they are in no list.
ARGUMENTS = "(arguments)"

#: Tables whose rows hold nothing packed.
BARE = (
    "meta",
    "taker",
    "held",
    "open",
    "ended",
    "over",
    "outcome",
    "foreign",
    "lost",
    "fetched",
    "copy",
    "gone",
    "named",
)

TABLES = (
    "meta",
    "block",
    "args",
    "inputs",
    "taker",
    "held",
    "open",
    "ended",
    "over",
    "outcome",
    "tries",
    "run",
    "alias",
    "function",
    "group",
    "named",
    "foreign",
    "session",
    "heard",
    "worker",
    "host",
    "begun",
    "lost",
    "moved",
    "fetched",
    "copy",
    "gone",
    "drop",
)


class Records:
    """The records in `tables`. `entropy` are 16 random bytes for a store that is new. With
    `is_read` nothing is written: the store is there, of whichever schema that can be read."""

    def __init__(self, tables: Tables, entropy: bytes, mesh: str, *, is_read: bool = False) -> None:
        self.tables = tables
        with tables.begin() as txn:
            schema = txn.get("meta", b"schema")
        if schema is None and not is_read:
            with tables.begin(write=True) as txn:
                txn.put("meta", b"schema", pack(SCHEMA))
                txn.put("meta", b"birth", entropy)
                txn.put("meta", b"mesh", mesh.encode())
        elif schema is not None and unpack(schema) in UPGRADED and not is_read:
            with tables.begin(write=True) as txn:
                self._upgrade(txn, unpack(schema))
        elif schema is None or unpack(schema) not in (SCHEMA, *UPGRADED):
            schema = pack(0) if schema is None else schema
            raise StoreError(
                f"the store has schema {unpack(schema)}, this Mesh reads schema {SCHEMA}: "
                f"use the Mesh version that wrote it, or another folder"
            )
        self._apply: dict[str, Callable[..., None]] = {
            "block": self._write_block,
            "inputs": lineage.write_inputs,
            "outcomes": lambda txn, items: txn.put_many("outcome", items),
            "close": pruning.close,
            "prune": pruning.prune,
            "unused": pruning.forget_functions,
            "forget": pruning.forget,
            "hold": lineage.hold,
            **holdings.WRITES,
            "dropped": pruning.dropped,
            "age": lambda txn, age_s: txn.put("meta", b"age", pack(age_s)),
            "heard": pruning.hear,
            "tries": lambda txn, task, tries: txn.put("tries", task, pack(tries)),
            "run": story.write_run,
            "begun": self._write_begun,
            "function": self._write_function,
            "group": groups.write,
            "worker": self._write_worker,
            "counts": lambda txn, counts: txn.put("meta", b"counts", pack(counts)),
        }
        self._look_up: dict[str, Callable[[Transaction, Any], Any]] = {
            "submitted": self._submitted,
            "outcomes": self._outcomes,
            "ended": self._ended,
            "texts": meaning.texts,
            "group": groups.group,
            "roll": roll.read,
            "function": _function_of,
            "story": self._story,
            **pruning.LOOK_UP,
            "makers": restoring.makers,
            **holdings.LOOK_UP,
        }

    def _upgrade(self, txn: Transaction, schema: int) -> None:
        """What schema 2 did not know: when its blocks ended. They have, as of now. And what none
        knew: the names of groups."""
        for block in [block for block, _ in txn.scan("block")] if schema == 2 else []:
            if txn.get("open", block) is None:
                pruning.close(txn, block, 0.0)
        groups.name_all(txn)
        txn.put("meta", b"schema", pack(SCHEMA))

    # -- writing ---------------------------------------------------------------------------

    def apply(self, writes: list[tuple[Any, ...]]) -> int:
        """Record `writes`, in order, in one transaction; how much room all records take then."""
        with self.tables.begin(write=True) as txn:
            self._write(txn, writes)
            return txn.used_bytes()

    def _write(self, txn: Transaction, writes: list[tuple[Any, ...]]) -> None:
        for what, *about in writes:
            self._apply[what](txn, *about)

    def _write_block(
        self,
        txn: Transaction,
        session: str,
        first: int,
        header: list[Any],
        foreign: dict[int, tuple[str, int]],
        payloads: list[Any] | None,
        marks: list[bytes] | None,
    ) -> None:
        size, function, _, group, _, names, _, holes = header[:8]
        block = key(session, first)
        txn.put("block", block, pack(header))
        if payloads is not None:
            txn.put("args", block, pack(payloads))
            txn.put("open", block, b"")
        highest = unpack(txn.get("session", session.encode()) or b"\x00")
        txn.put("session", session.encode(), pack(max(first + size - 1, highest)))
        last = key(session, first + size - 1) if group is None else key(session, group)
        txn.put("meta", b"last", last)
        if names is not None and marks is not None:
            name, code, _ = unpack(txn.get("function", function) or b"\x93\xa0\xc4\x00\xc4\x00")
            for i, alias in enumerate(names):
                if alias is not None and i not in holes:
                    record = [session, first + i, name, code, marks[i]]
                    txn.put("alias", alias_key(alias), pack(record))
        for i, task in foreign.items():
            txn.put("foreign", key(session, first + i), key(*task))

    def _write_function(
        self, txn: Transaction, digest: bytes, name: str, code: bytes, payload: Any
    ) -> None:
        txn.put("function", digest, pack([name, code, payload]))

    def _write_worker(self, txn: Transaction, who: str, about: dict[str, Any] | None) -> None:
        if about is None:
            txn.delete("worker", who.encode())
        else:
            txn.put("worker", who.encode(), pack(about))
            place = [str(about.get("host", "?")), str(about.get("content", ""))]
            txn.put("host", who.encode(), pack(place))

    def _write_begun(self, txn: Transaction, who: str, begun: list[Any] | None) -> None:
        if begun is None:
            txn.delete("begun", who.encode())
        else:
            txn.put("begun", who.encode(), pack(begun))

    # -- looking up ------------------------------------------------------------------------

    def look_up(self, what: str, about: Any) -> Any:
        """Answer one of the core's lookups."""
        with self.tables.begin() as txn:
            return self._look_up[what](txn, about)

    def look_up_amid(
        self, writes: list[tuple[Any, ...]], lookups: list[tuple[str, Any]]
    ) -> list[Any]:
        """Answer `lookups` as if `writes`, which find no room, were recorded: they will be. But
        what nobody may be told before it is on disk is not there yet: that a task was cancelled or
        refused, or is an older one."""
        with self.tables.rehearse() as txn:
            self._write(txn, writes)
            answers = [self._look_up[what](txn, about) for what, about in lookups]
        for nth, (what, about) in enumerate(lookups):
            if what == "outcomes":
                pairs = zip(answers[nth], self.look_up(what, about), strict=True)
                answers[nth] = [row if _may_be_told(row) else sure for row, sure in pairs]
        return answers

    def _submitted(
        self, txn: Transaction, about: tuple[list[str], list[bytes], list[bytes]]
    ) -> Answers:
        """Of some aliases who has them, of some blocks which are there, and of some inputs what
        they mean and how they ended. Who has lost its result has its alias no more."""
        aliases, blocks, tasks = about
        found: dict[str, Any] = {}
        for alias in aliases:
            raw = txn.get("alias", alias_key(alias))
            if raw is not None:
                record = unpack(raw)
                task = key(record[0], record[1])
                outcome = txn.get("outcome", task)
                if not restoring.is_lost(txn, task, outcome):
                    found[alias] = (record, outcome)
        recorded = {block for block in blocks if txn.get("block", block) is not None}
        inputs = {}
        for task in tasks:
            meant = txn.get("foreign", task) or task
            inputs[task] = (meant, restoring.outcome(txn, meant))
        return Answers(found, recorded, inputs)

    def _outcomes(
        self, txn: Transaction, spans: list[tuple[str, int, int]]
    ) -> list[tuple[str, int, bytes | None, tuple[str, int, bytes | None] | None]]:
        answer: list[tuple[str, int, bytes | None, tuple[str, int, bytes | None] | None]] = []
        for session, first, count in spans:
            for counter in range(first, first + count):
                task = key(session, counter)
                record, older = txn.get("outcome", task), None
                if record is None and (meant := txn.get("foreign", task)) is not None:
                    older = (*unkey(meant), txn.get("outcome", meant))
                answer.append((session, counter, record, older))
        return answer

    def _ended(self, txn: Transaction, about: tuple[list[int], int, bytes]) -> list[dict[str, Any]]:
        """Tasks in some states, from a key on."""
        states, limit, first = about
        rows: list[dict[str, Any]] = []
        for task, record in txn.scan("outcome", first):
            state = STATE_OF[Kind(record[0])]
            if state in states:
                if len(rows) == limit:
                    break
                session, counter = unkey(task)
                call = self._call_of(txn, session, counter)
                if call["function"] == ARGUMENTS:
                    continue  # nobody has asked for it by itself
                stored = story.result_in(txn, record) if record[0] == Kind.STORED else None
                rows.append(
                    {"id": show(session, counter), "state": state.word}
                    | call
                    | ({} if stored is None else {"result": stored})
                )
        return rows

    def _call_of(self, txn: Transaction, session: str, counter: int) -> dict[str, Any]:
        found = txn.before("block", key(session, counter))
        if found is None or found[0][:8] != session.encode():
            return {"name": None, "function": None}
        header = unpack(found[1])
        names, function = header[5], txn.get("function", header[1])
        i = counter - unkey(found[0])[1]
        return {
            "name": names[i] if names is not None and i < len(names) else None,
            "function": _function_name(header, function),
        }

    def _story(self, txn: Transaction, task: tuple[str, int]) -> dict[str, Any] | None:
        """What is recorded of one task: None if it does not exist."""
        if not meaning.exists(txn, *task):
            return None
        block, raw = txn.before("block", key(*task))  # type: ignore[misc]  # it exists
        header = unpack(raw)
        group = header[3]
        return {
            "id": show(*task),
            **self._call_of(txn, *task),
            "group": None if group is None else show(task[0], group),
            "options": header[2],
            "submitted_at": header[8] if len(header) > 8 else None,
            "inputs": story.inputs_of(txn, block, task[1] - unkey(block)[1]),
            **story.read(txn, key(*task)),
        }

    # -- reading for dispatch, and at start ------------------------------------------------

    def payloads(self, block: bytes) -> list[Any]:
        """The payloads of a block, in order."""
        with self.tables.begin() as txn:
            raw = txn.get("args", block)
        if raw is None:
            raise StoreError(f"the arguments of block {show(*unkey(block))} are missing")
        return list(unpack(raw))

    def outcomes(self, tasks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """How these tasks ended, as the router recorded it."""
        with self.tables.begin() as txn:
            for task in tasks:
                raw = txn.get("outcome", task)
                if raw is None:
                    raise StoreError(f"how {show(*unkey(task))} ended is not recorded")
                yield task, raw

    def function(self, digest: bytes) -> Any:
        """The payload of a function."""
        with self.tables.begin() as txn:
            raw = txn.get("function", digest)
        if raw is None:
            raise StoreError(f"function {digest.hex()} is missing")
        return unpack(raw)[2]

    def read(self) -> Restored:
        """What the last life has left, as that life."""
        with self.tables.begin() as txn:
            epoch = int.from_bytes(txn.get("meta", b"epoch") or b"", "big")
            return restoring.restored(txn, epoch)

    def restore(self) -> Restored:
        """Everything the core needs to go on, and the next epoch, recorded before its first use."""
        with self.tables.begin(write=True) as txn:
            epoch = int.from_bytes(txn.get("meta", b"epoch") or b"", "big") + 1
            txn.put("meta", b"epoch", epoch.to_bytes(8, "big"))
            return restoring.restored(txn, epoch)

    def close(self) -> None:
        """Let go of the tables."""
        self.tables.close()


def _function_of(txn: Transaction, digest: bytes) -> list[Any] | None:
    """The name, code digest and payload of a function."""
    raw = txn.get("function", digest)
    return None if raw is None else list(unpack(raw))


def _function_name(header: list[Any], raw: bytes | None) -> str | None:
    """What a task calls, as people see it."""
    if header[1] == PUT:
        return ARGUMENTS if header[2].get("argument") else "(put)"
    return None if raw is None else str(unpack(raw)[0])


def _may_be_told(row: tuple[str, int, bytes | None, Any]) -> bool:
    """Whether an answer of `_outcomes` is one that clients hear before it is on disk."""
    _, _, record, older = row
    return older is None and (record is None or record[0] not in (Kind.CANCELLED, Kind.REFUSED))


def open_records(
    home: Path, entropy: bytes, mesh: str, durability: Durability, *, temporary: bool = False
) -> Records:
    """The records in `home`, a folder that is prepared and owned; `entropy` and `mesh` are for a
    store that is new. One that is in doubt is inspected first; a `temporary` one never is, since
    no other boot will see it.

    Raises:
        StoreError: they are damaged, or torn by a power cut; what to do then. Another version
            wrote them.
    """
    data = home / "records.mdb"
    seal = None if temporary else Seal(data)
    doubt = seal.doubt() if seal is not None else None
    if seal is not None and doubt is not None:
        wrong = (
            "it was being changed at durability 'process', which survives no power cut"
            if seal.is_torn()
            else inspection.damage(data, "checking")
        )
        if wrong is not None:
            raise StoreError(
                f"{data} is damaged ({doubt}): {wrong}. Move {home} away to start anew: the tasks "
                f"and small results recorded there are lost, and run again when they are submitted"
            )
    inspected = doubt is not None or temporary  # nobody else can have touched that
    tables = LmdbTables(data, TABLES, durability=durability, seal=seal, inspected=inspected)
    try:
        return Records(tables, entropy, mesh)
    except BaseException:
        tables.close()
        raise
