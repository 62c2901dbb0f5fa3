"""Template: a command with places for input values, in the words of GNU parallel.

    {}      the value; of several sources, all values        {.}   without its extension
    {/}     without its folder                               {//}  its folder
    {/.}    without folder and extension                     {#}   the number of the job, from 1 on
    {2}     the value of the second source; {-1} of the last, and so on: {2.} {2/} {2//} {2/.}

A list of words is a program with its arguments: values are put into them as they are, and no shell
sees them. One text is a line for the shell, in which values are quoted, whatever is around them.
Without any place the values follow at the end. An empty text is the line that the values are.
"""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .shell_line import Place, places

SHELL = "/bin/sh"

_EXTENSION = re.compile(r"\.[^/.]+\Z")


def _folder(value: str) -> str:
    return os.path.dirname(value.rstrip("/") or "/") or "."


def _base(value: str) -> str:
    return value.rpartition("/")[2]


def _stem(value: str) -> str:
    return _EXTENSION.sub("", value)


_SHAPES: dict[str, Callable[[str], str]] = {
    "": str,
    ".": _stem,
    "/": _base,
    "//": _folder,
    "/.": lambda value: _stem(_base(value)),
}

_MARK = re.compile(
    r"\{(?:(?P<hash>#)|(?P<slot>%)|(?P<source>-?[1-9][0-9]*)?(?P<shape>//|/\.|[/.])?)\}"
)


class _Mark(NamedTuple):
    """Where something is put: its text, which source (None: all), the shape of what is put."""

    text: str
    is_number: bool
    source: int | None
    shape: str
    place: Place | None = None  # in a line for the shell

    def texts(self, values: Sequence[str], number: int) -> list[str]:
        """What is put there, value by value."""
        if self.is_number:
            return [str(number)]
        shape = _SHAPES[self.shape]
        if self.source is None:
            return [shape(value) for value in values]
        index = self.source - 1 if self.source > 0 else len(values) + self.source
        if not 0 <= index < len(values):
            sources = "one value" if len(values) == 1 else f"{len(values)} values"
            raise ValueError(f"{self.text} has no value: the input has {sources}")
        return [shape(values[index])]


_Part = str | _Mark


class Template:
    """A command with places for values.

    Args:
        command: a text, which is a line for the shell, or the words of a program's call.

    Raises:
        ValueError: there is no word, or a value could not be quoted in its place.

    Example:
        >>> Template("gzip -c {} > {.}.gz").shown(["a b.txt"])
        "gzip -c 'a b.txt' > 'a b'.gz"
        >>> Template(["echo", "{/}", "{#}"]).argv(["a/b"], 7)
        ['echo', 'b', '7']
    """

    def __init__(self, command: str | Sequence[str]) -> None:
        self.is_line = isinstance(command, str)
        words = [command] if isinstance(command, str) else list(command)
        if not words or not (self.is_line or words[0]):
            raise ValueError("a command has at least a word, the program")
        if any(words) and not any(map(_MARK.search, words)):
            words = [f"{command} {{}}"] if self.is_line else [*words, "{}"]
        self._words = [_parts(word) for word in words]
        if self.is_line:
            self._words = [_placed(words[0], self._words[0])]
        marks = [part for word in self._words for part in word if isinstance(part, _Mark)]
        self.uses_number = any(mark.is_number for mark in marks)

    def argv(self, values: Sequence[str], number: int = 0) -> list[str]:
        """The program and its arguments, with `values` put in.

        Raises:
            ValueError: there is no such value.
        """
        if self.is_line:
            return [SHELL, "-c", self._line(values, number)]
        found: list[str] = []
        for word in self._words:
            if len(word) == 1 and isinstance(word[0], _Mark):
                found += word[0].texts(values, number)
            else:
                found.append("".join(_filled(part, values, number) for part in word))
        return found

    def shown(self, values: Sequence[str], number: int = 0) -> str:
        """The same as a line that a shell would take.

        Raises:
            ValueError: there is no such value.
        """
        return self._line(values, number) if self.is_line else shlex.join(self.argv(values, number))

    def _line(self, values: Sequence[str], number: int) -> str:
        (parts,) = self._words
        return (
            "".join(_filled(part, values, number) for part in parts) if parts else " ".join(values)
        )


def _parts(word: str) -> list[_Part]:
    """The texts and marks that a word is made of."""
    parts: list[_Part] = []
    end = 0
    for found in _MARK.finditer(word):
        if found["slot"]:
            raise ValueError(
                "{%} is not known before a job runs: the command has $MESH_SLOT_NUMBER for it"
            )
        parts += [word[end : found.start()]] * (end < found.start())
        source = None if found["source"] is None else int(found["source"])
        parts.append(_Mark(found[0], bool(found["hash"]), source, found["shape"] or ""))
        end = found.end()
    return parts + [word[end:]] * (end < len(word))


def _placed(line: str, parts: list[_Part]) -> list[_Part]:
    """The parts of a line for the shell, where each mark knows what is around it."""
    around = iter(places(line, [found.span() for found in _MARK.finditer(line)]))
    return [p if isinstance(p, str) else p._replace(place=next(around)) for p in parts]


def _filled(part: _Part, values: Sequence[str], number: int) -> str:
    if isinstance(part, str):
        return part
    place = part.place
    texts = part.texts(values, number)
    return " ".join(texts if place is None else [place.quoted(text) for text in texts])
