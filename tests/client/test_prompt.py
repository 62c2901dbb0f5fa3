"""Who interrupts a wait at a prompt is told what goes on."""

from __future__ import annotations

import sys

import pytest

from mesh.client.prompt import rest_told
from mesh.client.source import Source


def told(
    capsys: pytest.CaptureFixture[str], id: str, left: int, total: int, *, in_with: bool = False
) -> str:
    """What is said of an interrupted wait."""
    source = Source()
    source.is_in_with = in_with
    with pytest.raises(KeyboardInterrupt), rest_told(source, id, lambda: left, total):
        raise KeyboardInterrupt
    return capsys.readouterr().err


def test_at_a_prompt_it_is_said_how_many_go_on_and_how_to_end_them(capsys, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)

    group, task = told(capsys, "k3f9x2m7.0", 1400, 2000), told(capsys, "k3f9x2m7.17", 1, 1)

    assert group == (
        "mesh: 1,400 of 2,000 tasks of k3f9x2m7.0 go on; m.cancel('k3f9x2m7.0') ends them\n"
    )
    assert task == "mesh: k3f9x2m7.17 goes on; m.cancel('k3f9x2m7.17') ends it\n"


def test_nothing_is_said_in_a_script_in_a_with_or_of_what_has_ended(capsys, monkeypatch):
    monkeypatch.delattr(sys, "ps1", raising=False)
    assert told(capsys, "k3f9x2m7.0", 14, 20) == ""

    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert told(capsys, "k3f9x2m7.0", 14, 20, in_with=True) == ""
    assert told(capsys, "k3f9x2m7.0", 0, 20) == ""
