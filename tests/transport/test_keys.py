"""Keys: cut down to a role, written and read again, and never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mesh.errors import AccessDenied
from mesh.transport.access import Access
from mesh.transport.keys import ADMIN, CLIENT, ROLES, WORKER, Keys, Pair, Ring, ring_in

MESH = "k3f9x2m7"


@pytest.fixture(scope="module")
def ring() -> Ring:
    return Ring.new(MESH, "any")


def test_an_admin_cuts_out_what_one_role_needs(ring: Ring) -> None:
    admin = ring.admin()
    for role in (CLIENT, WORKER):
        cut = admin.cut(role)
        assert (cut.role, cut.own, cut.others, cut.ring) == (role, ring.roles[role], {}, None)
        assert cut.router == ring.router.public
        assert cut.cut(role) == cut
        with pytest.raises(AccessDenied, match=f"role {role} cannot be cut down to role admin"):
            cut.cut(ADMIN)
    assert admin.cut(ADMIN).others == {}, "no keys of others"


def test_they_are_the_same_after_a_file(ring: Ring, tmp_path: Path) -> None:
    for keys in (ring.admin(), ring.admin(whole=True), ring.admin().cut(WORKER)):
        assert Keys.from_json(json.loads(json.dumps(keys.as_json()))) == keys
    assert ring_in(tmp_path) is None
    ring.write(tmp_path)
    assert ring_in(tmp_path) == ring
    (tmp_path / "keys.json").chmod(0o640)
    with pytest.raises(AccessDenied, match=r"keys\.json can be read by others: chmod 600"):
        ring_in(tmp_path)


def test_no_secret_is_shown(ring: Ring) -> None:
    access = Access(MESH, ["tcp://127.0.0.1:1"], keys=ring.admin(whole=True))
    secrets = {pair.secret for pair in (ring.router, *ring.roles.values())}
    assert len(secrets) == 4
    for shown in (repr(ring), repr(access), f"{ring.admin()}", str(ring.router)):
        assert not any(secret in shown for secret in secrets)


def test_renewed_are_those_that_were_named(ring: Ring) -> None:
    renewed = ring.renewed([WORKER])
    assert (renewed.mesh, renewed.router, renewed.listen) == (ring.mesh, ring.router, ring.listen)
    assert [role for role in ROLES if renewed.roles[role] != ring.roles[role]] == [WORKER]
    assert set(renewed.role_of().values()) == set(ROLES)
    assert ring.roles[WORKER].public not in renewed.role_of()


@pytest.mark.parametrize(
    "data",
    [None, [], {}, {"router": "x"}, {"router": "y" * 40}, {"router": "y" * 40, "role": "king"}]
    + [{"router": "y" * 40, "role": "client", "own": ["y" * 40]}]
    + [{"router": "y" * 40, "role": "client", "own": ["y" * 40, "y" * 39 + '"']}]
    + [{"router": "y" * 40, "role": "client", "own": ["y" * 40] * 2, "others": 3}]
    + [{"router": "y" * 40, "role": "client", "own": ["y" * 40] * 2, "ring": {}}],
)
def test_what_is_no_keys_is_refused(data: object) -> None:
    with pytest.raises(AccessDenied):
        Keys.from_json(data)


def test_a_pair_is_fresh() -> None:
    assert Pair.new() != Pair.new()
