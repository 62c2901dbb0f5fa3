"""How many files a process may open: raised as far as is wished, or needed, and no further."""

from __future__ import annotations

import resource

import pytest

from mesh.errors import MeshError
from mesh.transport import descriptors

#: What is open in the processes of these tests.
OPEN = 10


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Soft and hard limit of a process that is like any other."""
    now = [100, 1000]

    def raise_to(which: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > now[1]:
            raise ValueError("not allowed to raise maximum limit")
        now[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda which: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", raise_to)
    monkeypatch.setattr(descriptors, "_open_now", lambda limit: OPEN)
    return now


@pytest.mark.parametrize(
    ("count", "wished", "then"),
    [
        (20, 0, 100),  # there are enough
        (20, 64, 100),  # also for what is wished
        (20, 500, 510),  # as many as are wished, no more
        (20, 65_000, 1000),  # as many as are allowed
        (300, 0, 310),
        (300, 20, 310),
    ],
)
def test_the_limit_is_raised_as_far_as_is_wished(
    limits: list[int], count: int, wished: int, then: int
) -> None:
    descriptors.reserve(count, "a test", wished)
    assert limits == [then, 1000]


def test_what_is_not_allowed_is_said(limits: list[int]) -> None:
    with pytest.raises(MeshError, match=r"a test needs 1010 open files, and only 100 are allowed"):
        descriptors.reserve(1000, "a test", 20)
    assert limits == [100, 1000]


def test_what_is_scarce() -> None:
    assert descriptors.is_scarce(800, 1024) and not descriptors.is_scarce(700, 1024)
