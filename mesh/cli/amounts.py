"""Amounts on the command line: sizes such as 20GB, durations such as 30d."""

from __future__ import annotations

import re

import click

from ..options import size_of

_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?)\s*(s|min|m|h|d)?\s*")
_SECONDS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


class Size(click.ParamType):
    """A number of bytes: ``20GB``."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The bytes."""
        try:
            text = int(value) if str(value).isdigit() else value
            return size_of("it", text)
        except (TypeError, ValueError) as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType):
    """A number of seconds: ``90``, ``12h``, ``30d``."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The seconds."""
        found = _DURATION.fullmatch(str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no duration: give seconds, or 5m, 12h, 30d", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]
