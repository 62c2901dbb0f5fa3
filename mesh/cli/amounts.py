"""Amounts on the command line: sizes such as 20GB, durations such as 30d or 01:00:00, shares such
as 10%."""

from __future__ import annotations

import re
from typing import NamedTuple

import click

from ..options import show_size, size_of

_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*(s|min|m|h|d)?\s*")
_SECONDS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


#: A number without a unit that is below is hardly meant as bytes.
BARE_BYTES_MIN = 1_000_000


class Size(click.ParamType):
    """A number of bytes: ``20GB``. One below BARE_BYTES_MIN needs a unit."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The bytes."""
        try:
            size = size_of("it", value)
        except (TypeError, ValueError) as error:
            self.fail(str(error), param, ctx)
        if size < BARE_BYTES_MIN and str(value).strip()[-1] in "0123456789.":
            bare = str(value).strip()
            text = f"{bare} without a unit is {show_size(size)}: give one, such as {bare}GB"
            self.fail(f"{text}; {bare}B if bytes are meant", param, ctx)
        return size


class Duration(click.ParamType):
    """A number of seconds: ``90``, ``12h``, ``30d``; or as batch managers write it: ``1-02:03:04``,
    ``01:00:00``, ``30:00``."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds."""
        from ..processes.walltime import clock_s

        if seconds := clock_s(str(value)):
            return seconds
        found = _DURATION.fullmatch(str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no duration: give 90, 5m, 12h, 30d or 01:00:00", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


class Share(NamedTuple):
    """A number, or so many of a hundred."""

    number: float
    is_percent: bool

    def of(self, whole: int) -> float:
        """How many that is."""
        return whole * self.number / 100 if self.is_percent else self.number

    def whole_of(self, whole: int) -> int:
        """The same in whole ones, one at least."""
        return max(1, int(self.of(whole)))


class ShareType(click.ParamType):
    """A number of things, 1 or more, or a percentage of all: ``8``, ``50%``."""

    name = "share"

    def convert(
        self, value: str | Share, param: click.Parameter | None, ctx: click.Context | None
    ) -> Share:
        """The share."""
        if isinstance(value, Share):
            return value
        number = value.removesuffix("%")
        try:
            count = float(number) if number != value else int(number)
        except ValueError:
            count = 0
        if not 0 < count < float("inf"):
            self.fail(f"{value!r} is neither a number from 1 on nor a percentage", param, ctx)
        return Share(count, number != value)
