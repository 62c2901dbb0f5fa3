"""Rows as a table, for a terminal or for a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .measure import Spread
from .row import Goal, Row

HEADER = ("what", "mesh", "unit", "beside", "its median", "ratio", "goal", "verdict")


def number(value: float) -> str:
    """Three digits that mean something, and no more."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    decimals = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{decimals}f}"


def spread(of: Spread) -> str:
    """The median, then the range where there is one."""
    median, low, high = map(number, of)
    return median if low == high else f"{median} ({low}–{high})"


def goal(of: Goal, unit: str) -> str:
    sign = "≥" if of.better == "more" else "≤"
    suffix = " ×" if of.of == "ratio" else f" {unit}"
    aim = f" (aim {of.aim:g})" if of.aim != of.target else ""
    return f"{sign} {of.target:g}{suffix}{aim}"


def cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        spread(row.value),
        row.unit,
        row.reference,
        number(Spread.of(row.theirs).median) if row.theirs else "",
        spread(row.ratio) if row.ratio else "",
        goal(row.goal, row.unit) if row.goal else "",
        row.verdict,
    )


def text(title: str, rows: Sequence[Row]) -> str:
    """Columns aligned by blanks."""
    lines = [HEADER, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    body = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines
    )
    return "\n".join([f"== {title}", *body, ""])


def markdown(title: str, rows: Sequence[Row]) -> str:
    """The same as a Markdown section."""

    def line(of: Iterable[str]) -> str:
        return f"| {' | '.join(of)} |"

    lines = [HEADER, ["---"] * len(HEADER), *map(cells, rows)]
    return "\n".join([f"### {title}", "", *map(line, lines), ""])
