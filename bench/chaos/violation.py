"""A violation: what a judge finds."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """What must not be: the rule, of which task or process, and what was seen."""

    rule: str
    about: str
    text: str
