"""A task's story, as far as it is recorded: the runs that did not end it, and the one that did.

Runs are written one by one and never changed. Of an error its class and the beginning of its
message are kept: tracebacks of a thousand retries would be more than the results.

    run   task id + lease u64 (big-endian)
          → worker, given, ended, kind, begun, took, error, message; times are unix seconds
"""

from __future__ import annotations

from typing import Any

from ..core.ledger import INTERRUPTED, RECORD
from ..protocol.inputs import split
from ..protocol.outcome import parse, parse_failure, parse_ref
from ..task import STATE_OF, SUCCESS, Kind, show, unkey
from . import holdings
from .rows import LEASE, pack, unpack
from .tables import Transaction

#: Of a run's error message.
MESSAGE_CHARS_MAX = 300

#: Of a task that was run a million times, the last ones are told.
RUNS_MAX = 100

#: And of one that takes the results of ten thousand, the first.
INPUTS_MAX = 100

_FIELDS = ("worker", "given_at", "ended_at", "how", "begun_at", "took_s", "error", "message")


def write_run(txn: Transaction, task: bytes, lease: int, about: list[Any], body: Any) -> None:
    """Record a run that did not end its task. `about` is worker, given, ended, kind."""
    row = [*about, *told_by(about[3], body)]
    txn.put("run", task + LEASE.pack(lease), pack(row))


def told_by(kind: int, body: Any) -> list[Any]:
    """When a run began, how long it took, and its error: of its outcome's body. Whatever a slot has
    made of it, the story goes on."""
    if kind == INTERRUPTED:
        return [None, None, None, None]
    try:
        found = parse(body)
        begun, took_s = found.begun or None, found.took_s or None
        if kind in SUCCESS:
            return [begun, took_s, None, None]
        failure, _ = parse_failure(found.rest)
    except ValueError as error:
        return [None, None, None, f"not readable: {error}"]
    return [begun, took_s, failure.kind, failure.message[:MESSAGE_CHARS_MAX]]


def read(txn: Transaction, task: bytes) -> dict[str, Any]:
    """The runs of a task, oldest first, and how it ended, if it has."""
    runs = []
    for key, raw in txn.scan("run", task, task + b"\xff" * LEASE.size):
        row = unpack(raw)
        run = {"lease": LEASE.unpack(key[len(task) :])[0]} | dict(zip(_FIELDS, row, strict=True))
        given_back = run["how"] == INTERRUPTED
        how = "interrupted" if given_back else Kind(run["how"]).name.lower()
        runs.append(run | {"how": how})
    told: dict[str, Any] = {"state": None, "runs": runs, "result": None, "moves": []}
    record = txn.get("outcome", task)
    if record is not None:
        kind, lease, store = RECORD.unpack_from(record)
        begun, took_s, error, message = told_by(kind, record[RECORD.size :])
        moved = holdings.moves(txn, task, lease)
        maker = moved[0][0] if moved else store.decode().strip("\0")
        last = {"lease": lease, "worker": maker or None}
        told["moves"] = [dict(zip(("from", "to", "at"), each, strict=True)) for each in moved]
        last |= {"how": Kind(kind).name.lower(), "begun_at": begun, "took_s": took_s}
        told["state"] = STATE_OF[Kind(kind)].word
        told["result"] = result_in(txn, record)
        if runs and runs[-1]["lease"] == lease:
            last = runs.pop() | last  # the cap was reached: it is a run as well
        runs.append(last | {"error": error, "message": message})
    told["runs"] = runs[-RUNS_MAX:]
    for run in told["runs"]:
        run["host"] = place_of(txn, run["worker"])[0]
    return told


def result_in(txn: Transaction, record: bytes) -> dict[str, Any] | None:
    """Where the result is that an outcome tells of, and how big: with which store and host, or
    with the router; None if there is none."""
    kind, lease, _ = RECORD.unpack_from(record)
    if kind not in SUCCESS:
        return None
    try:
        rest = parse(record[RECORD.size :]).rest
        ref = parse_ref(rest) if kind == Kind.STORED else None
    except ValueError:  # whatever a slot has made of it
        return None
    if ref is None:
        return {"size_bytes": len(rest), "lease": lease, "store": None, "host": None}
    host, folder = place_of(txn, ref.holder)
    place = {"store": ref.holder, "host": host, "folder": folder}
    return {"size_bytes": ref.size, "lease": ref.lease, **place}


def inputs_of(txn: Transaction, block: bytes, i: int) -> list[str]:
    """The ids of the tasks whose results a member of a block takes."""
    raw = txn.get("inputs", block)
    if raw is None:
        return []
    tasks = dict.fromkeys(split(unpack(raw)[i]))
    return [show(*unkey(task)) for task in tasks][:INPUTS_MAX]


def place_of(txn: Transaction, store: str | None) -> tuple[str | None, str | None]:
    """The host on which a store was when its worker last came, and its folder of results there."""
    raw = txn.get("host", store.encode()) if store else None
    if raw is None:
        return None, None
    host, folder = said if isinstance(said := unpack(raw), list) else (said, "")  # of before
    return str(host), str(folder) or None
