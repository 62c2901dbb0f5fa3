"""What commands print: JSON, a line each, or short aligned tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

#: Raised whenever the shape of what ``--json`` prints changes so that a program would notice.
SCHEMA = 1

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


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns, each as wide as it must be; numbers to the right."""
    rows = [list(row) for row in rows]
    texts = [list(header), *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [
        bool(rows) and all(isinstance(row[i], (int, float)) for row in rows)
        for i in range(len(header))
    ]
    for text in texts:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(text, widths, right, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def seconds(count: float) -> str:
    """A duration: ``2 h 5 min``."""
    if count < 60:
        return f"{count:.0f} s"
    minutes, rest = divmod(int(count), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(count: float) -> str:
    """An amount of memory: ``30 MB``."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 1000 and unit != "TB":
        count, unit = count / 1000, next(units)
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"


def many(count: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
