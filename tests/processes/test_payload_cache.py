"""What the router keeps of payloads and outcomes on their way."""

from __future__ import annotations

from mesh.processes.payloads import Cache


def test_the_oldest_give_way_once_they_are_on_disk() -> None:
    cache = Cache(100)
    for nth in range(4):
        cache.keep(b"%d" % nth, nth + 1, nth, 40)
    cache.trim(0)
    assert len(cache.values) == 4, "none of them can be asked for again"
    cache.trim(4)
    assert list(cache.values) == [b"3"]


def test_what_is_kept_again_stays_until_it_is_on_disk() -> None:
    cache = Cache(100)
    cache.keep(b"a", 5, "outcome", 40)
    cache.keep(b"a", 0, "outcome", 40)  # for somebody else, by whom nothing is written
    cache.keep(b"b", 6, "more", 90)
    cache.trim(4)
    assert b"a" in cache.values
    cache.trim(6)
    assert b"a" not in cache.values
