"""How long a worker goes on without a router, and that it does not wait without a word."""

from __future__ import annotations

from mesh.processes.patience import TELL_AFTER_S, Patience


def why() -> str:
    return "tcp://n1:1 (no answer)"


def test_it_says_once_in_each_silence_what_it_waits_for_and_then_ends():
    said: list[str] = []
    patience = Patience(60.0, None, said.append)
    patience.heard(100.0)
    assert patience.ended(100.0 + TELL_AFTER_S, why) is None and said == []
    for now in (106.0, 130.0, 160.0):
        assert patience.ended(now, why) is None
    assert said == ["waits for a router, 60 s at most: tcp://n1:1 (no answer)"]

    patience.heard(150.0)
    patience.rest(10.0)  # this process was stopped
    assert patience.ended(166.0, why) is None and len(said) == 2
    assert patience.ended(221.0, why) == "no router has answered for 61 s: tcp://n1:1 (no answer)"


def test_who_is_watched_has_less_patience_at_first_and_says_only_how_it_ends():
    said: list[str] = []
    patience = Patience(60.0, 15.0, said.append)
    patience.heard(0.0)
    assert patience.ended(14.0, why) is None and said == []
    assert patience.ended(16.0, why) is not None
    patience.welcomed()
    assert patience.ended(16.0, why) is None and len(said) == 1


def test_one_with_an_owner_waits_for_ever():
    said: list[str] = []
    patience = Patience(None, None, said.append)
    patience.heard(0.0)
    assert patience.ended(1e6, why) is None and said == []
