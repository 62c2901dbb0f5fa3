"""The values of `mesh run`: the examples of GNU parallel's manual, and what is refused."""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from mesh.cli.rows import VALUE_BYTES_MAX, Array, sources, split


def rows_of(
    line: str, arrays: Sequence[str] = (), files: Sequence[str] = (), columns: str | None = None
) -> list[str]:
    """The rows of a command line, as text."""
    _, given = split(line.split())
    pattern = None if columns is None else re.compile(columns)
    made = sources(given, [Array(text) for text in arrays], files, b"\n", pattern)
    rows = [" ".join(row) for row in made]
    assert made.count() in (None, len(rows))
    return rows


@pytest.fixture
def abc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the manual's examples, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, lines in {"abc-file": "A B C", "def-file": "D E F", "cut": "A B"}.items():
        Path(name).write_text(lines.replace(" ", "\n") + "\n" * (name != "cut"))
    Path("csv").write_text("f1\tf2\nA B\tC\n")


@pytest.mark.usefixtures("abc")
@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("echo ::: A B C", ["A", "B", "C"]),
        ("echo :::: abc-file", ["A", "B", "C"]),
        ("echo :::: cut", ["A", "B"]),
        ("echo ::: A B ::: D E", ["A D", "A E", "B D", "B E"]),
        ("echo :::: cut ::: D E", ["A D", "A E", "B D", "B E"]),
        ("echo ::: A B :::: def-file", ["A D", "A E", "A F", "B D", "B E", "B F"]),
        ("echo :::: cut cut", ["A A", "A B", "B A", "B B"]),
        ("echo ::: A B C :::+ D E F", ["A D", "B E", "C F"]),
        ("echo ::: A B C D E :::+ 1 2 3", ["A 1", "B 2", "C 3"]),
        ("echo ::: a b :::+ 1 2 ::: X Y", ["a 1 X", "a 1 Y", "b 2 X", "b 2 Y"]),
        ("echo ::: a b :::+ 1 2 ::: X Y :::+ 3 4", ["a 1 X 3", "a 1 Y 4", "b 2 X 3", "b 2 Y 4"]),
        ("echo ::: 1 2 ::::+ abc-file", ["1 A", "2 B"]),
        (":::", []),
        ("echo ::: a ::: ", []),
    ],
)
def test_the_examples_of_gnu_parallel(line: str, rows: list[str]) -> None:
    assert rows_of(line) == rows


@pytest.mark.usefixtures("abc")
def test_files_arrays_and_columns() -> None:
    assert rows_of("echo", files=["abc-file"]) == ["A", "B", "C"]
    assert rows_of("echo ::: x", arrays=["1-2"]) == ["1 x", "2 x"]
    assert rows_of("echo :::: csv", columns="\t") == ["f1 f2", "A B C"]
    assert rows_of("echo ::: a,b c,d", columns=",") == ["a b", "c d"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1-3", ["1", "2", "3"]),
        ("1-9:4", ["1", "5", "9"]),
        ("0,7,3-4", ["0", "7", "3", "4"]),
        ("5", ["5"]),
        ("1-2%8", ["1", "2"]),
    ],
)
def test_arrays(text: str, numbers: list[str]) -> None:
    array = Array(text)
    assert [*array] == [(number,) for number in numbers]
    assert len(array) == len(numbers)
    assert array.at_once == (8 if "%" in text else None)


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "1-5:0", "1,,2", "1-2%", "1-2%0"])
def test_what_is_no_array(text: str) -> None:
    with pytest.raises(ValueError, match="1-1000"):
        Array(text)


def test_a_million_numbers_cost_nothing() -> None:
    made = sources([], [Array("1-1000000"), Array("1-1000000")], [], b"\n", None)
    assert made.count() == 10**12
    assert [*itertools.islice(made, 2)] == [("1", "1"), ("1", "2")]


def test_the_first_source_is_read_as_it_comes(tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    os.mkfifo(endless)
    written = threading.Event()

    def write() -> None:
        with endless.open("w") as pipe:
            pipe.write("a\nb\n")
            pipe.flush()
            assert written.wait(60)

    writer = threading.Thread(target=write)
    writer.start()
    rows = iter(sources([("::::", [str(endless)]), (":::", ["x", "y"])], [], [], b"\n", None))
    assert [next(rows) for _ in range(4)] == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    written.set()
    writer.join()
    assert next(rows, None) is None


def test_names_that_are_no_text_and_long_lines(tmp_path: Path) -> None:
    file = tmp_path / "values"
    file.write_bytes(b"\xff\n\nlast")
    (first,), *others = sources([("::::", [str(file)])], [], [], b"\n", None)
    assert os.fsencode(first) == b"\xff" and others == [("",), ("last",)]
    file.write_bytes(b"a\0b\nc\0")
    assert [*sources([("::::", [str(file)])], [], [], b"\0", None)] == [("a",), ("b\nc",)]
    file.write_bytes(b"a\n" + b"x" * (VALUE_BYTES_MAX + 1))
    with pytest.raises(click.ClickException, match="values: more than 131071 bytes"):
        list(sources([("::::", [str(file)])], [], [], b"\n", None))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("echo :::+ a", "goes along with a source"),
        ("echo ::::", "names of files"),
        ("echo :::: /no/such/file", "/no/such/file cannot be read: No such file"),
        ("echo :::: /", "Is a directory"),
        ("echo :::: - ::: a :::: -", "one source only"),
    ],
)
def test_sources_that_cannot_be(line: str, why: str) -> None:
    with pytest.raises(click.UsageError, match=why):
        sources(split(line.split())[1], [], [], b"\n", None)
