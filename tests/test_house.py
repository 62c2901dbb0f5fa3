"""The house's documents say what the code does: the map, a task's life, the names of tests."""

import re
from pathlib import Path

import pytest

from mesh.core.life import TRANSITIONS, Cause
from mesh.task import State

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "mesh"
TEXT = (HOUSE / "README.md").read_text(encoding="utf-8")
NAMING = "guarantees.md", "matrix.md"


def part(title: str) -> str:
    """What stands below a heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert found is not None, f"no heading {title}"
    return found[1]


def files() -> list[str]:
    paths = (path for path in HOUSE.rglob("*") if path.is_file())
    return sorted(p.relative_to(HOUSE).as_posix() for p in paths if "__pycache__" not in p.parts)


def test_the_map_shows_every_file_and_no_other():
    shown = re.findall(r"^- `([^`]+)`: \S", part("Map"), re.M)

    assert sorted(shown) == files()


def test_the_table_of_a_tasks_life_is_that_of_the_core():
    rows = [line for line in part("The life of a task").splitlines() if line.startswith("|")]
    (_, *causes), _, *told = ([cell.strip() for cell in row[1:-1].split("|")] for row in rows)

    assert sorted(causes) == sorted(cause.name.lower() for cause in Cause)
    assert sorted(row[0] for row in told) == sorted(state.word for state in State)
    table = {
        (State[row[0].upper()], Cause[cause.upper()]): State[cell.upper()]
        for row in told
        for cause, cell in zip(causes, row[1:], strict=True)
        if cell
    }
    assert table == TRANSITIONS


NAMED = {
    named
    for document in NAMING
    for named in re.findall(
        r"`(tests/\S+?\.py)::(\w+)`", (ROOT / "docs" / document).read_text(encoding="utf-8")
    )
}


@pytest.mark.parametrize("named", sorted(NAMED), ids="::".join)
def test_a_test_that_a_document_names_exists(named: tuple[str, str]):
    file, test = named

    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M)
