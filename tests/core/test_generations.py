"""What is kept for a while goes by halves."""

from __future__ import annotations

from mesh.core.generations import Generations


def test_the_older_half_goes_at_once() -> None:
    kept: Generations[int] = Generations(100)
    kept.keep([(b"a", 1), (b"b", 2)], 51)
    assert kept.is_full
    kept.age()
    assert not kept.is_full, "there is room for as much again"
    kept.keep({b"c": 3}, 40)
    assert kept.find([b"a", b"b", b"c", b"d"]) == [1, 2, 3, None]
    kept.keep([(b"d", 4)], 10)
    assert kept.is_full
    kept.age()
    assert kept.find([b"a", b"b", b"c", b"d"]) == [None, None, 3, 4]


def test_what_is_kept_again_is_what_it_is_now() -> None:
    kept: Generations[int] = Generations(100)
    kept.keep([(b"a", 1)], 10)
    kept.age()
    kept.keep([(b"a", 2)], 10)
    assert kept.find([b"a"]) == [2]
    kept.age()
    assert kept.find([b"a"]) == [2]
    kept.forget(b"a")
    assert kept.find([b"a"]) == [None]


def test_what_is_too_large_is_full_until_it_has_gone() -> None:
    kept: Generations[int] = Generations(100)
    kept.keep([(b"a", 1)], 1000)
    kept.age()
    assert kept.is_full
    kept.age()
    assert not kept.is_full and kept.find([b"a"]) == [None]


def test_all_of_it_can_go() -> None:
    kept: Generations[int] = Generations(100)
    kept.keep([(b"a", 1)], 10)
    kept.age()
    kept.keep([(b"b", 2)], 10)
    kept.clear()
    assert kept.find([b"a", b"b"]) == [None, None]
