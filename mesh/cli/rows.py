"""Rows: the input values of `mesh run`, job by job, read as they are needed.

Sources are lists of words (``:::``), files (``::::``, standard input) and ranges of numbers
(``--array``). Several make all combinations, the last one changing fastest; one that is linked
(``:::+``, ``::::+``) goes along with the source before it, as far as the shorter of them does. The
first source is read line by line, as jobs are begun: it may be endless. What is combined with it is
kept in memory.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence, Sized

import click

#: Words that begin a source; one with ``+`` goes along with the source before it.
WORDS, FILES = ":::", "::::"
MARKERS = {WORDS, f"{WORDS}+", FILES, f"{FILES}+"}

#: A value is a word of a command at last, and the kernel takes no longer ones.
VALUE_BYTES_MAX = 128 * 1024 - 1

READ_BYTES = 64 * 1024

#: Standard input, in place of a file.
STDIN = "-"

_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+)(?::([0-9]+))?)?")

#: Values of one job.
Row = tuple[str, ...]


class Array:
    """The numbers that ``1-9:2,20`` means, as text; ``%4`` behind them is `at_once`.

    Raises:
        ValueError: it means none.
    """

    def __init__(self, text: str) -> None:
        numbers, _, at_once = text.partition("%")
        self.at_once = int(at_once) if at_once.isdecimal() and int(at_once) else None
        found = [_RANGE.fullmatch(part) for part in numbers.split(",")]
        self._ranges = [_range(each) for each in found if each is not None]
        if None in found or not all(self._ranges) or "%" in text and self.at_once is None:
            raise ValueError(f"{text!r} are no numbers: give 1-1000, 1-9:2, 3,5,8-10 or 1-1000%4")

    def __len__(self) -> int:
        return sum(map(len, self._ranges))

    def __iter__(self) -> Iterator[Row]:
        for numbers in self._ranges:
            for number in numbers:
                yield (str(number),)


def _range(found: re.Match[str]) -> range:
    low, high, step = found.groups()
    return range(int(low), int(high or low) + 1, int(step or 1)) if step != "0" else range(0)


class Lines:
    """The lines of an open file, which are read once, as they come.

    Args:
        descriptor: of the file. It is never read through a buffer that has a lock: a thread that
            waits in there would keep the interpreter from ending.
        name: of the file, for people.
        separator: what ends a line.
        columns: what separates the values of a line, if it has several.
    """

    def __init__(
        self, descriptor: int, name: str, separator: bytes, columns: re.Pattern[str] | None
    ) -> None:
        self._descriptor = descriptor
        self._name = name
        self._separator = separator
        self._columns = columns

    def __iter__(self) -> Iterator[Row]:
        for line in self._lines():
            yield _row(os.fsdecode(line), self._columns)

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        while more := os.read(self._descriptor, READ_BYTES):
            *lines, rest = (rest + more).split(self._separator)
            yield from lines
            if len(rest) > VALUE_BYTES_MAX:
                separated = "a NUL" if self._separator == b"\0" else "the end of a line"
                raise click.ClickException(
                    f"{self._name}: more than {VALUE_BYTES_MAX} bytes without {separated} are no "
                    f"value that a command can take: give its values line by line, or -0"
                )
        if rest:
            yield rest


class Sources:
    """Sources of values; those that go along with each other are a list."""

    def __init__(self, linked: list[list[Iterable[Row]]]) -> None:
        self._linked = linked

    def count(self) -> int | None:
        """How many rows there are; None if that is known when all are read."""
        count = 1
        for sources in self._linked:
            sizes = [len(each) if isinstance(each, Sized) else None for each in sources]
            if None in sizes:
                return None
            count *= min(size for size in sizes if size is not None)
        return count

    def __iter__(self) -> Iterator[Row]:
        return _combined(self._linked[0], [*map(_again, self._linked[1:])])


def _combined(
    first: Iterable[Iterable[Row]], others: Sequence[list[Iterable[Row]]]
) -> Iterator[Row]:
    for rows in zip(*first):
        row: Row = sum(rows, ())
        if others:
            yield from (row + more for more in _combined(others[0], others[1:]))
        else:
            yield row


def _again(sources: list[Iterable[Row]]) -> list[Iterable[Row]]:
    """Sources that can be gone through again and again."""
    return [each if isinstance(each, Sized) else list(each) for each in sources]


def split(words: Sequence[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """A command line as the words of the command, and the sources behind it."""
    command: list[str] = []
    given: list[tuple[str, list[str]]] = []
    for word in words:
        if word in MARKERS:
            given.append((word, []))
        else:
            (given[-1][1] if given else command).append(word)
    return command, given


def sources(
    given: Sequence[tuple[str, list[str]]],
    arrays: Sequence[Array],
    files: Sequence[str],
    separator: bytes,
    columns: re.Pattern[str] | None,
) -> Sources:
    """The sources of a command line: of ``--array``, of ``-a``, and behind the command.

    Raises:
        click.UsageError: a file cannot be opened, or is named without a need.
    """
    linked: list[list[Iterable[Row]]] = [[each] for each in arrays]
    stdins = 0
    for marker, words in [*((FILES, [file]) for file in files), *given]:
        made: list[Iterable[Row]]
        if marker.startswith(FILES):
            made = [_opened(file, separator, columns) for file in words]
            stdins += words.count(STDIN)
        else:
            made = [[_row(word, columns) for word in words]]
        if not words and marker.startswith(FILES):
            raise click.UsageError(f"{marker} takes the names of files, or - for standard input")
        if not marker.endswith("+"):
            linked += [[each] for each in made]
        elif linked:
            linked[-1] += made
        else:
            raise click.UsageError(
                f"{marker} goes along with a source, and there is none before it"
            )
    if stdins > 1:
        raise click.UsageError("standard input can be one source only")
    if not linked:
        if sys.stdin.isatty():
            click.echo("mesh: reading values from the terminal, a line each", err=True)
        linked = [[_opened(STDIN, separator, columns)]]
    return Sources(linked)


def _row(text: str, columns: re.Pattern[str] | None) -> Row:
    return (text,) if columns is None else tuple(columns.split(text))


def _opened(file: str, separator: bytes, columns: re.Pattern[str] | None) -> Lines:
    if file == STDIN:
        return Lines(0, "standard input", separator, columns)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        os.read(descriptor, 0)  # a folder opens, and cannot be read
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    return Lines(descriptor, file, separator, columns)
