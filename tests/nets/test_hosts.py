"""Hosts that work together, and what is between them: walls, gateways, dead addresses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from held import Held
from hosts import BLACK_HOLE, Host, Net

from mesh import Mesh

MB = 1_000_000

PORT = 6001


def made(size: int) -> bytes:
    """So many bytes."""
    return b"m" * size


def length(*given: bytes) -> int:
    """How much it was given."""
    return sum(map(len, given))


def way_of(future: Any) -> str:
    """By which way a client has fetched a result, once. It says so in its own time."""
    while True:
        told = future.explain()["result"]["fetched"]
        for way, count in told.items():
            if count:
                return way


def fetched_by(m: Mesh, host: str) -> set[str]:
    """By which ways the worker on a host has fetched inputs. It says so in its own time."""
    found: set[str] = set()
    while not found:
        [told] = [each["fetched"] for each in m.status()["workers"] if each["host"] == host]
        found = {way for way, each in told.items() if each["count"]}
    return found


def file_of(host: Host, role: str, there: Host) -> Path:
    """What `role` needs of the mesh on a host, carried to another one."""
    file = there.folder / f"{role}.json"
    done = host.start("access", "show", "--role", role, "--access", host.access, "-o", file)
    assert done.finish().code == 0
    return file


def test_results_go_from_host_to_host_by_files_of_a_role(net: Net, tmp_path: Path) -> None:
    a, b, c, d = map(net.host, "abcd")
    a.router()
    b.worker(file_of(a, "worker", b))
    with d.entered():
        with Mesh(access=file_of(a, "client", d)) as m:
            m.wait_for_slots(1, 20)
            large = [m.submit(made, 2 * MB) for _ in range(4)]
            assert [len(each.result(20)) for each in large] == [2 * MB] * 4
            assert way_of(large[0]) == "direct"

            held = Held(m, tmp_path, "held")
            assert held.host() == "b"
            c.worker(file_of(a, "worker", c))
            m.wait_for_slots(2, 20)
            assert m.submit(length, *large).result(20) == 8 * MB
            assert fetched_by(m, "c") == {"direct"}
            held.let_go()
            assert held.future.result(20) == "b"
        with Mesh(access=a.access) as m:
            m.stop()


def test_a_wall_before_a_data_port_is_gone_around_until_it_falls(net: Net) -> None:
    a, b, d = map(net.host, "abd")
    a.router()
    b.block(PORT)
    b.worker(a.access, "--data-port", PORT)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(1, 20)
        for _ in range(5):
            future = m.submit(made, 3 * MB)
            assert len(future.result(20)) == 3 * MB
            assert way_of(future) == "relayed"
        b.unblock()
        while way_of(future) != "direct":
            future = m.submit(made, 3 * MB)
            assert len(future.result(20)) == 3 * MB
        m.stop()


def test_what_is_put_goes_around_a_wall(net: Net) -> None:
    a, b, d = map(net.host, "abd")
    a.router("--no-home")
    a.block(PORT)
    a.worker(a.access, "--home", "--data-port", PORT)
    b.worker(a.access)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(2, 20)
        content = os.urandom(20 * MB)
        table = m.put(content)
        assert table.result(20) == content
        assert m.submit(length, table, content[1:]).result(20) == 40 * MB - 1
        assert m.status()["router"]["memory_bytes"] < 100 * MB
        m.stop()


def test_a_host_that_can_only_dial_out_gives_its_results_by_way_of_the_router(
    net: Net, tmp_path: Path
) -> None:
    a, b, d = map(net.host, "abd")
    inside = net.behind_nat("n")
    a.router()
    inside.worker(a.access)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(1, 20)
        future = m.submit(made, 3 * MB)
        assert len(future.result(20)) == 3 * MB
        assert way_of(future) == "relayed"

        held = Held(m, tmp_path, "held")
        assert held.host() == "n"
        b.worker(a.access)
        m.wait_for_slots(2, 20)
        assert m.submit(length, future).result(20) == 3 * MB
        assert fetched_by(m, "b") == {"relayed"}
        theirs = m.submit(made, 2 * MB)
        assert theirs.wait(20)
        other = Held(m, tmp_path, "other")
        assert other.host() == "b"
        held.let_go()
        assert m.submit(length, theirs).result(20) == 2 * MB
        assert fetched_by(m, "n") == {"direct"}, "it may dial others"
        other.let_go()
        assert other.future.result(20) == "b"
        m.stop()


def test_behind_a_gateway_that_forwards_ports_what_is_advertised_is_reached(net: Net) -> None:
    d = net.host("d")
    inside = net.behind_nat("n", PORT, PORT + 1)
    gateway = net.hosts[-2].address
    inside.router("--listen", f"tcp://*:{PORT}", "--advertise", f"tcp://{gateway}:{PORT}")
    with d.entered(), Mesh(access=file_of(inside, "admin", d)) as m:
        data = f"tcp://{gateway}:{PORT + 1}"
        inside.worker(inside.access, "--data-port", PORT + 1, "--advertise", data)
        m.wait_for_slots(1, 20)
        future = m.submit(made, 3 * MB)
        assert len(future.result(20)) == 3 * MB
        assert way_of(future) == "direct"
        m.stop()


def test_of_several_addresses_the_first_that_answers_is_taken(net: Net) -> None:
    a, d = map(net.host, "ad")
    a.router()
    access = json.loads(a.access.read_text())
    port = access["addresses"][-1].rpartition(":")[2]
    dead, shut = f"tcp://{BLACK_HOLE}:{port}", f"tcp://{a.address}:1"
    file = d.folder / "access.json"
    file.touch(mode=0o600)

    def joined(*addresses: str) -> Mesh:
        file.write_text(json.dumps(access | {"addresses": addresses}))
        return Mesh(access=file)

    with d.entered():
        with joined(dead, shut, f"tcp://{a.address}:{port}") as m:
            assert len(m.status()["workers"]) <= 1
        file.write_text(json.dumps(access | {"addresses": [dead, shut]}))
        waits = "--router-timeout", 6, "--slots", 0, "--dir", d.folder / "store"
        said = d.start("worker", "--access", file, *waits).finish()
        assert said.code == 3
        assert f"{dead} (no answer)" in said.err
        assert f"{shut} (nobody listens there" in said.err
        with Mesh(access=a.access) as m:
            m.stop()
