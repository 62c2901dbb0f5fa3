"""The protocol's document says what the code does: messages, numbers, fields, kinds, limits."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest

from mesh.protocol import messages, packets, transfer, upload
from mesh.protocol.messages import FIELDS, MESSAGES, Block, Message
from mesh.task import Kind

TEXT = Path(messages.__file__).with_name("README.md").read_text(encoding="utf-8")
HEADING = re.compile(r"^### (\d+) ([A-Z]+), (.+)$", re.M)
ROW = re.compile(r"^\| `?(\w+)`? \|")
NAMES = {cls.__name__.upper() for cls in MESSAGES.values()}

each_message = pytest.mark.parametrize("cls", MESSAGES.values(), ids=lambda cls: cls.__name__)


def part(title: str, level: int = 2) -> str:
    """What stands below the heading that begins with `title`."""
    heading = rf"^{'#' * level} {re.escape(title)}[^\n]*\n"
    found = re.search(rf"{heading}(.*?)(?=^#{{2,{level}}} |\Z)", TEXT, re.M | re.S)
    assert found is not None, f"no heading {title}"
    return found[1]


def section(cls: type[Message]) -> str:
    return part(f"{cls.COMMAND} {cls.__name__.upper()},", level=3)


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the first table in `text` whose first header is `head`."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(f"| {head} |"):
            next(lines)  # the rule below the header
            break
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split(" | ")])
    return rows


def test_the_messages_are_those_of_the_code_under_their_numbers():
    told = {int(number): name for number, name, _ in HEADING.findall(TEXT)}

    assert told == {number: cls.__name__.upper() for number, cls in MESSAGES.items()}


@each_message
def test_the_fields_of_a_message_are_told_in_their_order(cls: type[Message]):
    assert [row[0] for row in table(section(cls), "field")] == [name for name, _ in FIELDS[cls]]


@each_message
def test_the_code_says_who_sends_a_message_to_whom_as_this_does(cls: type[Message]):
    told = {name: direction for _, name, direction in HEADING.findall(TEXT)}

    assert (cls.__doc__ or "").startswith(f"{told[cls.__name__.upper()]}. ")


@each_message
def test_a_message_says_what_answers_it(cls: type[Message]):
    assert re.search(r"\b(Reply|Replies|[Nn]o reply)\b", section(cls))


def test_the_columns_of_a_block_are_told_in_their_order():
    told = [row[0] for row in table(section(messages.Submit), "column")]

    assert told == [field.name for field in fields(Block)]


def test_which_messages_are_numbered():
    told = re.search(r"numbered\. (.+) are not:", TEXT)
    assert told is not None

    assert set(re.findall(r"[A-Z]+", told[1])) == {
        cls.__name__.upper() for cls in MESSAGES.values() if not cls.SEQUENCED
    }


def test_the_kinds_are_those_of_the_code():
    told = {(int(row[0]), row[1]) for row in table(section(messages.Done), "number")}

    assert told == {(int(kind), kind.name) for kind in Kind}


def test_no_number_is_reserved_and_used():
    reserved = table(part("Reserved"), "number")

    assert {int(row[0]) for row in reserved}.isdisjoint(MESSAGES)
    assert {row[1] for row in reserved}.isdisjoint(NAMES)


def test_no_message_is_named_that_does_not_exist():
    """Words in capitals: messages, kinds, packets, transfers, constants, and sockets' names."""
    known = NAMES | {kind.name for kind in Kind} | {row[0] for row in table(part("Limits"), "name")}
    known |= {word for word in (*vars(packets), *vars(transfer), *vars(upload)) if word.isupper()}
    known |= {"SHAPE", "MESSAGES", "VERSION_MIN", "VERSION_MAX", "HELLO_AGAIN_S", "ACK_DELAY_S"}
    known |= {"LOG_STORED", "ROUTER", "DEALER", "TCP", "SOCK_SEQPACKET", "UTF", "ASCII"}
    elsewhere = TEXT.replace(part("Reserved"), "")

    assert set(re.findall(r"\b[A-Z][A-Z_]{2,}\b", elsewhere)) - known == set()


@pytest.mark.parametrize("row", table(part("Limits"), "name"), ids=lambda row: row[0])
def test_a_limit_is_that_of_the_code(row: list[str]):
    name, module, value = row

    assert getattr(importlib.import_module(f"mesh.{module}"), name) == int(value)
