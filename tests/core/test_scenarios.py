"""Whole conversations, compared with tests/scenarios line by line.

When one changes on purpose: `pytest tests/core/test_scenarios.py --bless` writes it anew. Commit
the change only if you understand what caused it and it is what you want.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from script import play

SCENARIOS = sorted((Path(__file__).resolve().parents[1] / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_the_conversation_is_as_written(file: Path, bless: bool):
    written = file.read_text(encoding="utf-8")

    told = play(written)

    if bless:
        file.write_text(told, encoding="utf-8")
    assert bless or told == written
