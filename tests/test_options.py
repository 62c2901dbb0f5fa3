"""Options: what they may be, and what users are told otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.options import OPTIONS, options_of, show_size, sparse


class Local(Exception):
    pass


def test_what_is_not_said_is_the_default_and_does_not_travel():
    assert options_of(dict.fromkeys(OPTIONS)) == {name: each[0] for name, each in OPTIONS.items()}
    assert sparse(options_of({"retries": 0, "priority": 3, "backoff": 0.1})) == {"priority": 3}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (OSError, ["builtins.OSError"]),
        ((OSError, "sim.Diverged"), ["builtins.OSError", "sim.Diverged"]),
        ("Diverged", ["Diverged"]),
        ({Local}, [f"{__name__}.Local"]),
    ],
    ids=str,
)
def test_classes_of_errors_travel_by_name(given: Any, names: list[str]):
    assert options_of({"retry_on": given}) == {"retry_on": names}
    assert options_of({"retry_on": names}) == {"retry_on": names}, "the router checks again"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1000, 1000),
        ("1000", 1000),
        ("1000B", 1000),
        ("2GB", 2_000_000_000),
        ("2.5 GB", 2_500_000_000),
        ("2GiB", 2**31),
        ("2G", 2**31),
        ("500m", 500 * 2**20),
        ("1TiB", 2**40),
        ("64kB", 64_000),
    ],
)
def test_memory_in_bytes_and_words(text: Any, size: int):
    assert options_of({"memory": text}) == {"memory": size}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.7, "1.0 kB"),
        (1500, "1.5 kB"),
        (9960, "10 kB"),
        (999_700, "1.0 MB"),
        (30_474_240, "30 MB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_in_words(count: float, text: str):
    assert show_size(count) == text


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("memory", "two", TypeError),
        ("memory", "2XB", TypeError),
        ("memory", 2.5, TypeError),
        ("memory", 0, ValueError),
        ("memory", "0GB", ValueError),
        ("memory", 2**63, ValueError),
        ("retries", -1, ValueError),
        ("retries", 2.5, TypeError),
        ("retries", True, TypeError),
        ("priority", 2**31, ValueError),
        ("priority", "high", TypeError),
        ("backoff", -1, ValueError),
        ("backoff", float("inf"), ValueError),
        ("backoff", float("nan"), ValueError),
        ("backoff", "1s", TypeError),
        ("time_limit", 0, ValueError),
        ("time_limit", float("nan"), ValueError),
        ("retry_on", 5, TypeError),
        ("retry_on", int, TypeError),
        ("retry_on", [], ValueError),
        ("retry_on", OSError("an error, not a class"), TypeError),
        ("retry", 1, TypeError),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: Any, error: type[Exception]):
    with pytest.raises(error, match=name):
        options_of({name: value})
