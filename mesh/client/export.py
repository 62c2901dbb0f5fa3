"""Export: tasks as a table, a row each, for a spreadsheet, pandas or a line of jq.

Rows come from the mesh's records page by page and are written as they come: a million take no more
memory than a thousand. Nothing that stays with a worker is fetched: of such a result its size is
told. What cannot be unpickled here is said to be so, in its place, and stops nobody.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

from ..protocol import functions, inputs, outcome, parcel, payload
from ..task import SUCCESS, Kind, show, unkey
from . import failures, roll
from .roll import Span
from .saving import target, told_of
from .source import Source

#: What a table is written as, by the ending of its file's name.
FORMATS = ("csv", "jsonl")

#: What has no plain form is shown as Python shows it, up to so many characters.
SHOWN_CHARS = 200

#: Lists and dicts are plain if they hold no more than this, in all.
PLAIN_MAX = 1000

#: Columns before the arguments, and behind them.
BEFORE = ("index", "id", "name", "function")
BEHIND = (
    *("state", "result", "result_bytes", "error", "where"),
    *("host", "begun_at", "took_s", "attempts"),
)

_PLAIN = (type(None), bool, int, float, str)


class _Input:
    """Stands for the result of another task among the arguments."""

    def __init__(self, task: str) -> None:
        self._task = task

    def __repr__(self) -> str:
        return f"<{self._task}>"


class _Signatures:
    """The parameters of functions, as far as they can be had here."""

    def __init__(self, connection: Source) -> None:
        self._connection = connection
        self._known: dict[bytes | None, inspect.Signature] = {}

    def of(self, digest: bytes | None) -> inspect.Signature:
        """The parameters of a function; those of one that takes anything, if they are not known."""
        if digest not in self._known:
            self._known[digest] = self._look_up(digest)
        return self._known[digest]

    def _look_up(self, digest: bytes | None) -> inspect.Signature:
        told = [] if digest is None else self._connection.ask("function", {"digest": digest})
        try:
            return inspect.signature(functions.load(parcel.parse(told[2]).call))
        except Exception:  # whatever importing or unpickling it raises; some built-ins have none
            return inspect.signature(lambda *args, **kwargs: None)


def rows(connection: Source, spans: Sequence[Span]) -> Iterator[dict[str, Any]]:
    """See `Group.rows`."""
    signatures = _Signatures(connection)
    for index, told in enumerate(roll.call(connection, spans, whole=True)):
        row = {"index": index} | {name: told[name] for name in ("id", "name", "function")}
        row["arguments"] = _arguments(told, signatures)
        row |= {"state": told["state"], **_result(told), **_error(told)}
        yield row | {name: told[name] for name in ("host", "begun_at", "took_s", "attempts")}


def write(connection: Source, spans: Sequence[Span], path: str, format: str | None = None) -> int:
    """Write the table of some tasks to `path`, where ``-`` is standard output, in a format that is
    told by its ending; how many rows.

    Raises:
        ValueError: the ending tells none.
        MeshError: the file cannot be written.
    """
    format = format or path.rpartition(".")[2].lower()
    if format not in FORMATS:
        raise ValueError(f"{path!r} is no table: its name ends in .csv or .jsonl")
    table = rows(connection, spans)
    with told_of(path), target(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="", write_through=True)
        try:
            return _write_lines(table, text) if format == "jsonl" else _write_csv(table, text)
        finally:
            text.detach()


def _write_lines(table: Iterator[dict[str, Any]], file: IO[str]) -> int:
    count = 0
    for row in table:
        file.write(json.dumps(row) + "\n")
        count += 1
    return count


def _write_csv(table: Iterator[dict[str, Any]], file: IO[str]) -> int:
    writer = csv.writer(file)
    count = 0
    names: list[str] | None = None
    for row in table:
        arguments = row["arguments"]
        if names is None:
            names = list(arguments)
            columns = [f"arg_{n}" if n in (*BEFORE, *BEHIND) else n for n in names]
            writer.writerow([*BEFORE, *columns, *BEHIND])
        cells = [row[name] for name in BEFORE]
        cells += [arguments.get(name) for name in names]
        cells += [row[name] for name in BEHIND]
        writer.writerow([json.dumps(c) if isinstance(c, (list, dict)) else c for c in cells])
        count += 1
    return count


def _arguments(told: dict[str, Any], signatures: _Signatures) -> dict[str, Any]:
    """What a task was called with, by the names of its function's parameters, all of them."""
    signature = signatures.of(told["digest"])
    raw = told["arguments"]
    if raw is None:
        return dict.fromkeys(signature.parameters)
    names = [_Input(show(*unkey(task))) for task in inputs.split(told["inputs"])]
    if raw[:1] == payload.LAST_INPUT:
        return dict.fromkeys(signature.parameters, "(large)")
    try:
        with inputs.Given(names):
            args, kwargs = payload.load(raw)
        given = signature.bind(*args, **kwargs).arguments
    except Exception as error:
        why = f"(cannot be shown here: {type(error).__name__})"
        return dict.fromkeys(signature.parameters, why)
    return {name: plain(given[name]) if name in given else None for name in signature.parameters}


def _result(told: dict[str, Any]) -> dict[str, Any]:
    kind, rest = told["kind"], told["rest"]
    if kind not in SUCCESS or rest is None:
        return {"result": None, "result_bytes": None}
    if kind == Kind.STORED:
        return {"result": None, "result_bytes": outcome.parse_ref(rest).size}
    try:
        value = plain(payload.load(rest))
    except Exception as error:
        value = f"(cannot be shown here: {type(error).__name__})"
    return {"result": value, "result_bytes": len(rest)}


def _error(told: dict[str, Any]) -> dict[str, Any]:
    kind, rest = told["kind"], told["rest"]
    if kind is None or kind in SUCCESS or rest is None:
        return {"error": None, "where": None}
    failure, _ = outcome.parse_failure(rest)
    name, where, message = failures.of_failure(kind, failure)
    return {"error": f"{name}: {message}" if message else name, "where": where or None}


def plain(value: Any) -> Any:
    """A value as JSON can say it, if it is plain, as numbers and small arrays of NumPy are; else as
    Python shows it, cut short."""
    try:
        return _plain(value, iter(range(PLAIN_MAX)))
    except Exception:
        return _shown(value)


def _plain(value: Any, room: Iterator[int]) -> Any:
    """
    Raises:
        TypeError: it is not plain.
        StopIteration: it holds too much.
    """
    next(room)
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(each, room) for each in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {str(name): _plain(each, room) for name, each in value.items()}
    if hasattr(value, "tolist") and getattr(value, "size", PLAIN_MAX) < PLAIN_MAX:
        return _plain(value.tolist(), room)
    raise TypeError(f"{type(value).__qualname__} is not plain")


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # a user's __repr__ may do anything
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
