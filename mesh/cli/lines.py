"""What commands print: JSON, a line each, or short aligned tables for people."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

#: Raised whenever the shape of what ``--json`` prints changes so that a program would notice.
SCHEMA = 1

#: Rows of a table that are looked at before any is printed.
TABLE_ROWS = 1000

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """``--json``, as the argument `as_json`; remembered for errors, too."""

    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
        if isinstance(ctx.obj, dict):
            ctx.obj["json"] = value
        return value

    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        is_eager=True,
        callback=remember,
        help="Print JSON for programs; errors too.",
    )(command)


def print_json(data: dict[str, Any]) -> None:
    """One line of JSON."""
    click.echo(json.dumps({"schema": SCHEMA} | data, default=_plain))


def _plain(value: Any) -> Any:
    """What JSON has no word for: arrays and numbers of NumPy, sets."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{type(value).__qualname__} is nothing that JSON has")


def warn(line: str) -> None:
    """What the user should know, now."""
    click.echo(f"mesh: {line}", err=True)


def warner(as_json: bool) -> Callable[[str], None]:
    """`warn`, or the same as lines of a log for programs."""
    if not as_json:
        return warn
    from ..processes.log import Log

    return Log(sys.stderr, as_json=True)


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Columns, each as wide as it must be, numbers to the right; how many rows. Of a long table it
    prints what it has seen, and makes columns wider when it must."""
    texts, widths, count = [list(header)], [0] * len(header), 0
    more = iter(rows)
    while (page := list(itertools.islice(more, TABLE_ROWS))) or texts:
        count += len(page)
        texts += [[_cell(cell) for cell in row] for row in page]
        columns = [*zip(*texts, strict=True)]
        widths = [max(width, *map(len, column)) for width, column in zip(widths, columns)]
        right = [all(isinstance(cell, (int, float)) for cell in column) for column in zip(*page)]
        for text in texts:
            cells = [
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(text, widths, right or [False] * len(text))
            ]
            click.echo("  ".join(cells).rstrip())
        texts = []
    return count


def _cell(value: Any) -> str:
    """What a cell shows: in one line, and nothing that a terminal would obey."""
    text = "-" if value is None else str(value)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(each: str) -> str:
    return each if each.isprintable() else each.encode("unicode_escape").decode()


def many(count: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
