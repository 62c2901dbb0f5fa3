"""A line for the shell, and the places in it where values are put.

How a value must be quoted depends on what is around its place: nothing, double or single quotes, a
``$(…)`` inside of quotes. Where no quoting is certain to keep a value from being read as code, in
backticks, ``$((…))``, ``${…}``, a here-document, a comment, it is refused. The line is read as
POSIX says; nothing in it is expanded or run here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import NamedTuple

#: What surrounds a place that takes values.
PLAIN, DOUBLE, SINGLE = "plain", "double quotes", "single quotes"

#: And what surrounds one that does not.
_SUBSHELL, _BACKTICKS, _ARITHMETIC, _BRACES, _COMMENT = (
    "( )", "backticks", "$(( ))", "${ }", "a comment",
)  # fmt: skip
_TAKING = {PLAIN, DOUBLE, SINGLE, _SUBSHELL}

_BARE = re.compile(r"[A-Za-z0-9_@%+:,./-]+")
_RESERVED = {
    "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "in",
    "time", "function", "select",
}  # fmt: skip

#: In double quotes these mean something.
_SPECIAL = re.compile(r'([\\"$`])')


class Place(NamedTuple):
    """What surrounds a value, and the character that follows it."""

    inside: str
    after: str = ""

    def quoted(self, value: str) -> str:
        """`value` as it must be written here."""
        if self.inside == DOUBLE:
            return _SPECIAL.sub(r"\\\1", value)
        if self.inside == SINGLE:
            return value.replace("'", "'\\''")
        if _BARE.fullmatch(value) and value not in _RESERVED and self.after not in ("<", ">"):
            return value
        quoted = shlex.quote(value)
        return quoted if quoted != value else f"'{value}'"


def places(line: str, spans: Iterable[tuple[int, int]]) -> list[Place]:
    """What surrounds each of these stretches of `line`, in which values are put; in their order.

    Raises:
        ValueError: a value cannot be quoted there.
    """
    reader = _Reader(line)
    found: list[Place] = []
    for start, end in spans:
        found.append(Place(reader.go_to(start), line[end : end + 1]))
        reader.at = end
    return found


class _Reader:
    """Reads a line as the shell does, as far as quoting goes."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.at = 0
        self._inside = [PLAIN]
        self._lost = ""  # what from here on makes it uncertain
        self._document = False  # with the next line a here-document begins
        if re.search(r"\besac\b", line) and "$(" in line:
            self._lost = "a line with `case` and $( )"

    def go_to(self, index: int) -> str:
        """Read on to `index`; what surrounds it."""
        while self.at < index:
            self.at += self._step(self._inside[-1], self.line[self.at])
        inside, before = self._inside[-1], self.line[index - 1 : index]
        if self.at > index or before == "$" and inside != SINGLE:
            self._refuse(f"after {before}")
        if self._lost or inside not in _TAKING:
            self._refuse(f"in {self._lost or inside}")
        return PLAIN if inside == _SUBSHELL else inside

    def _refuse(self, where: str) -> None:
        raise ValueError(
            f"a value cannot be quoted safely {where}: give the value to a shell of its own, as in "
            f"sh -c 'echo \"$1\"' sh {{}}"
        )

    def _step(self, inside: str, char: str) -> int:
        """Take in one thing; how many characters that was."""
        if inside == SINGLE:
            return self._leave_at("'", char)
        if inside == _COMMENT:
            return self._leave_at("\n", char)
        if char == "\\":
            return 2
        if inside == _BACKTICKS:
            return self._leave_at("`", char)
        if inside in (_BRACES, _ARITHMETIC):
            return self._step_expansion(inside, char)
        if char == "`":
            return self._enter(_BACKTICKS, 1)
        if char == "$":
            return self._step_dollar(inside)
        if char == '"':
            return self._leave_at(char, char) if inside == DOUBLE else self._enter(DOUBLE, 1)
        return 1 if inside == DOUBLE else self._step_plain(char)

    def _step_dollar(self, inside: str) -> int:
        line, at = self.line, self.at
        if line.startswith("$((", at):
            return self._enter(_ARITHMETIC, 3)
        if line.startswith("$(", at):
            return self._enter(_SUBSHELL, 2)
        if line.startswith("${", at):
            return self._enter(_BRACES, 2)
        if line.startswith("$'", at) and inside != DOUBLE:
            self._lost = "what follows $'"
        return 1

    def _step_plain(self, char: str) -> int:
        if char == "'":
            return self._enter(SINGLE, 1)
        if char == "(":
            return self._enter(_SUBSHELL, 1)
        if char == ")" and self._inside[-1] == _SUBSHELL:
            return self._leave_at(")", char)
        if char == "#" and self.line[self.at - 1 : self.at] in ("", *" \t\n;&|("):
            return self._enter(_COMMENT, 1)
        if char == "<" and self.line.startswith("<<", self.at):
            self._document = True
            return 2
        if char == "\n" and self._document:
            self._lost = "a here-document"
        return 1

    def _step_expansion(self, inside: str, char: str) -> int:
        """Quotes and expansions within expansions: what follows is anybody's guess."""
        if char in "'\"`$":
            self._lost = f"what follows {inside} with more in it than names"
        if inside == _BRACES:
            return self._leave_at("}", char)
        if self.line.startswith("))", self.at):
            self._inside.pop()
            return 2
        return 1

    def _enter(self, what: str, length: int) -> int:
        self._inside.append(what)
        return length

    def _leave_at(self, end: str, char: str) -> int:
        if char == end:
            self._inside.pop()
        return 1
