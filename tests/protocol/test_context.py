"""What a task is told beside its arguments."""

from __future__ import annotations

from mesh.protocol import context
from mesh.protocol.context import PLAIN, Context


def test_a_plain_task_is_told_nothing_and_costs_nothing():
    assert context.pack({"retries": 3, "memory": 7}, 5) == b""
    assert context.parse(b"") is PLAIN


def test_what_a_piece_says_comes_back_for_the_task_at_its_place():
    options = {
        "env": {"A": "1", "B": "2"},
        "cwd": "/data",
        "member": [16, 40],
        "attempts": [[7, 2]],
        "time_limit": 1.5,
    }

    told = context.parse(context.pack(options, 3, {"B": "mine"}))

    assert told == Context({"A": "1", "B": "mine"}, "/data", 16, 43, {7: 2}, 1.5)
    assert options["env"] == {"A": "1", "B": "2"}


def test_what_the_worker_adds_is_enough_to_be_told():
    assert context.parse(context.pack({}, 0, {"DEVICE": ""})).env == {"DEVICE": ""}
