"""Addresses: taken apart, put together, made numeric, and published."""

from __future__ import annotations

import pytest

from mesh.errors import MeshError
from mesh.transport import interfaces


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("tcp://127.0.0.1:5555", ("127.0.0.1", 5555)),
        ("tcp://[::1]:5555", ("::1", 5555)),
        ("tcp://*:*", ("*", 0)),
        ("tcp://login1:0", ("login1", 0)),
        ("tcp://login1", None),
        ("tcp://login1:65536", None),
        ("tcp://::1:5555", None),
        ("tcp://:5555", None),
        ("udp://login1:5555", None),
        ("login1:5555", None),
    ],
)
def test_an_address_is_host_and_port(address: str, parts: tuple[str, int] | None) -> None:
    assert interfaces.parse(address) == parts
    if parts is not None and parts[1]:
        assert interfaces.show(*parts) == address


@pytest.mark.parametrize(
    ("address", "can_be"),
    [("tcp://10.0.0.1:5555", True), ("tcp://mesh.example.org:5555", True)]
    + [("tcp://[fd00::2]:5555", True), ("tcp://login_1:5555", True), ("tcp://*:5555", False)]
    + [("tcp://0.0.0.0:5555", False), ("tcp://[::]:5555", False), ("tcp://10.0.0.1:*", False)]
    + [("tcp://10.0.0.1:0", False), ("mesh.example.org:5555", False), ("any", False)]
    + [("tcp://a;b:5555", False), ("tcp://a b:5555", False), ("tcp://a#b:5555", False)],
)
def test_what_others_dial_is_one_host_and_one_port(address: str, can_be: bool) -> None:
    assert interfaces.is_dialled(address) == can_be


def test_a_name_is_looked_up_once_and_here() -> None:
    assert interfaces.numeric("tcp://localhost:5555") in (
        "tcp://127.0.0.1:5555",
        "tcp://[::1]:5555",
    )
    assert interfaces.numeric("tcp://*:*") == "tcp://*:0"
    with pytest.raises(MeshError, match="nobody knows"):
        interfaces.numeric("tcp://no-such-host.invalid:5555")


def test_what_is_bound_to_all_is_published_as_each_the_loopback_last() -> None:
    found = interfaces.published("tcp://0.0.0.0:5555")
    assert found[-1] == "tcp://127.0.0.1:5555" and len(set(found)) == len(found)
    assert not any(map(interfaces.is_loopback, found[:-1]))
    assert set(found) <= set(interfaces.published("tcp://[::]:5555"))
    assert interfaces.published("tcp://10.1.2.3:5555") == ["tcp://10.1.2.3:5555"]
    assert interfaces.here("tcp://0.0.0.0:5555") == "tcp://127.0.0.1:5555"


@pytest.mark.parametrize(
    ("address", "is_loopback"),
    [("tcp://127.0.0.2:1", True), ("tcp://[::1]:1", True), ("tcp://10.0.0.1:1", False)]
    + [("tcp://*:1", False), ("tcp://[fd00::2]:1", False), ("tcp://login1:1", False)],
)
def test_what_only_this_host_reaches(address: str, is_loopback: bool) -> None:
    assert interfaces.is_loopback(address) == is_loopback
