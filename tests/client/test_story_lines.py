"""A task's story, as lines for people."""

from __future__ import annotations

from typing import Any

from mesh.client.story import Story


def story(**about: Any) -> str:
    told = {"id": "cccccccc.1", "function": "sim:f", "options": {}, "runs": []}
    return str(Story(told | {"submitted_at": None, "inputs": []} | about))


def test_what_is_made_again_is_done_and_recovering():
    head = story(state="done", recovering="queued").splitlines()[0]
    assert head == (
        "cccccccc.1 sim:f: done, recovering: its result was lost, and its next run is queued"
    )


def test_what_waits_for_inputs_says_for_which():
    lines = story(state="waiting", waits_for="its input: cccccccc.0 (running)").splitlines()
    assert lines[-1] == "  waits for its input: cccccccc.0 (running)"
