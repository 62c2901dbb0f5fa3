"""Words: messages and writes as lines of a transcript."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mesh.protocol import messages as m
from mesh.protocol.inputs import split
from mesh.protocol.link import Envelope
from mesh.task import Kind, show, unkey


def taken_by(rows: list[list[Any]]) -> Iterator[tuple[int, list[bytes]]]:
    """The leases of INPUTS, each with what it takes."""
    for first, counts, ids, _, _ in rows:
        at = 0
        for nth, count in enumerate(counts):
            if count:
                yield first + nth, split(ids)[at : at + count]
            at += count


def describe(envelope: Envelope) -> str:
    """A message as a line of a transcript."""
    message = envelope.message
    words = WORDS.get(type(message))
    text = words(message) if words is not None else ""
    line = f"{type(message).__name__} {text}".strip()
    return f"{line}  (acknowledges {envelope.ack})" if envelope.ack else line


def span(session: str, counters: list[int]) -> str:
    """Counters as 0..3,7."""
    runs: list[list[int]] = []
    for counter in counters:
        if runs and runs[-1][1] + 1 == counter:
            runs[-1][1] = counter
        else:
            runs.append([counter, counter])
    texts = (str(low) if low == high else f"{low}..{high}" for low, high in runs)
    return f"{session}.{','.join(texts)}"


def ends(session: str, counters: list[int], kinds: bytes) -> str:
    """How tasks ended: 0..3 VALUE, 4 ERROR."""
    texts = []
    for kind in dict.fromkeys(kinds):
        these = [counter for counter, each in zip(counters, kinds) if each == kind]
        texts.append(f"{span(session, these)} {Kind(kind).name}")
    return ", ".join(texts)


def describe_about(about: dict[str, Any]) -> str:
    number = about.get("lease")
    return lease(number) if type(number) is int else str(about or "")


def describe_spans(spans: list[Any]) -> str:
    texts = []
    for session, first, count in spans:
        last = f"..{first + count - 1}" if count != 1 else ""
        texts.append(f"{session}.{first}{last}")
    return ", ".join(texts)


def lease(number: int) -> str:
    """A lease as epoch/number."""
    return f"{number >> 40}/{number & (1 << 40) - 1}"


def leases(numbers: list[int]) -> str:
    return ", ".join(map(lease, numbers)) or "nothing"


def describe_pieces(message: m.Tasks) -> str:
    texts = []
    for session, first, number, _, options, payloads in message.pieces:
        tasks = span(session, list(range(first, first + len(payloads))))
        texts.append(f"{tasks} by lease {lease(number)}" + (f" {options}" if options else ""))
    return "; ".join(texts)


def describe_blocks(message: m.Submit) -> str:
    texts = []
    for first, _, options, _, _, payloads, names, *_ in message.blocks:
        text = span("", list(range(first, first + len(payloads))))
        texts.append(text + (f" {options}" if options else "") + (f" {names}" if names else ""))
    return "; ".join(texts)


WORDS: dict[type[m.Message], Callable[[Any], str]] = {
    m.Hello: lambda hello: f"held: {leases([row[0] for row in hello.held])}",
    m.Welcome: lambda welcome: f"epoch {welcome.epoch}",
    m.Error: lambda error: f"{error.kind}: {error.text}",
    m.Function: lambda function: function.name,
    m.Submit: describe_blocks,
    m.Group: lambda group: f"{group.name!r} of {group.size} from .{group.first} on",
    m.Known: lambda known: ", ".join(
        f"{show(*row[:2])} is {show(*row[2:4])}{', ended' if row[4] else ''}" for row in known.rows
    ),
    m.Outcomes: lambda news: "; ".join(ends(run[0], run[1], run[2]) for run in news.runs),
    m.Watch: lambda watch: describe_spans(watch.spans),
    m.Cancel: lambda cancel: (
        describe_spans(cancel.spans) + (", running or not" if cancel.running else "")
    ),
    m.Ask: lambda ask: f"{ask.what} {describe_about(ask.about)}".strip(),
    m.Tell: lambda tell: f"{tell.error}: {tell.value}" if tell.error else str(tell.value),
    m.Tasks: describe_pieces,
    m.Inputs: lambda inputs: "; ".join(
        f"of {lease(first)}: {', '.join(show(*unkey(each)) for each in ids)}"
        for first, ids in taken_by(inputs.rows)
    ),
    m.Lost: lambda lost: "; ".join(f"{show(*row[:2])} by {lease(row[2])}" for row in lost.rows),
    m.Done: lambda done: (
        "; ".join(f"{ends(run[0], run[1], run[3])} by {leases(run[2])}" for run in done.runs)
        + f", takes {done.window}"
    ),
    m.Recall: lambda recall: (
        str(recall.count) + (f" and {leases(recall.leases)}" if recall.leases else "")
    ),
    m.Returned: lambda returned: f"{leases(returned.leases)}, takes {returned.window}",
    m.Kill: lambda kill: leases(kill.leases),
    m.Leave: lambda leave: "when what runs has ended" if leave.within_s else "now",
}


def describe_write(what: str, about: list[Any]) -> str:
    """A write as a line of a transcript."""
    if what == "block":
        session, first, header, foreign = about[:4]
        text = f"block {span(session, list(range(first, first + header[0])))}"
        for i, older in sorted(foreign.items()):
            text += f", .{first + i} is {show(*older)}"
        return text
    if what == "outcomes":
        by_session: dict[str, tuple[list[int], bytearray]] = {}
        for task, record in about[0]:
            session, counter = unkey(task)
            counters, kinds = by_session.setdefault(session, ([], bytearray()))
            counters.append(counter)
            kinds.append(record[0])
        return "outcome " + "; ".join(ends(s, c, bytes(k)) for s, (c, k) in by_session.items())
    if what == "tries":
        errors, slots, workers, _ = about[1]
        where = show(*unkey(about[0]))
        return f"tries of {where}: {errors} errors, {slots} slots and {workers} workers lost"
    if what == "run":
        task, number, run, _ = about
        kind = Kind(run[3]).name.lower().replace("_", " ") if run[3] >= 0 else "interrupted"
        return f"run of {show(*unkey(task))} by lease {lease(number)}: {kind}"
    if what in ("close", "group"):
        return f"{what} {show(*unkey(about[0]))}"
    if what == "found":
        return f"found: no more lost is the result of lease {lease(about[1])}"
    if what == "lost":
        return f"lost: the result of lease {lease(about[1])}"
    if what == "worker":
        return f"worker {about[0]} {'is gone' if about[1] is None else 'is there'}"
    return f"{what} {about[1] if what == 'function' else ''}".strip()
