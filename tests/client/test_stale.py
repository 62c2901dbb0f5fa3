"""Files that were edited after they were imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.client.stale import LOOK_EVERY_S, Stale


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of a user's that is imported."""
    file = tmp_path / "stale_sim.py"
    file.write_text("X = 1")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("stale_sim")
    yield file
    del sys.modules["stale_sim"]


def test_an_edit_is_told_once_and_not_if_it_was_imported_again(sim: Path):
    said: list[str] = []
    stale = Stale(said.append)
    stale.know(["stale_sim", "no_such_module", "sys"])
    stale.look(0.0)
    assert said == []

    sim.write_text("X = 22")
    stale.look(LOOK_EVERY_S / 2)
    assert said == []  # files are looked at no more often
    for now in (1, 2, 3):
        stale.look(now * LOOK_EVERY_S)
    assert len(said) == 1
    assert said[0].startswith(f"{sim} was edited") and "importlib.reload(stale_sim)" in said[0]

    sim.write_text("X = 333")
    importlib.reload(sys.modules["stale_sim"])
    stale.look(4 * LOOK_EVERY_S)
    assert len(said) == 1

    sim.unlink()
    stale.look(5 * LOOK_EVERY_S)
    assert len(said) == 2
