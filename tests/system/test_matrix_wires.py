"""Wires that drop, repeat, hold up and cut, between real processes: nothing is lost or doubled.

Both the client and the workers talk to the router through a proxy. `MESH_WIRE_SEEDS=0:50` tries
more of its seeds, `MESH_LONG=10` more tasks with each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from matrix import LONG, SOON, Crowd, access_by, address_of, counts, router_of
from scripts import another_worker
from tcp_proxy import TcpProxy
from zmq_proxy import ZmqProxy

import mesh as mesh_package
from mesh import Mesh

SEEDS = range(*map(int, os.environ.get("MESH_WIRE_SEEDS", "0:1").split(":")))

TROUBLES = {
    "drops": {"drop": 0.05},
    "repeats": {"repeat": 0.2},
    "delays": {"delay": 0.2, "delay_s": 0.3},
    "cuts": {"cut_every_s": 0.5},
    "all": {"drop": 0.02, "repeat": 0.05, "delay": 0.05, "cut_every_s": 0.7},
}


@pytest.fixture
def bare(tmp_path: Path, nothing_left_behind) -> Iterator[Mesh]:
    """A mesh without slots that notices silence soon; its own client has a good wire."""
    with Mesh(dir=tmp_path / "own", slots=0, settings=SOON) as m:
        yield m


@pytest.fixture
def front(nothing_left_behind) -> str:
    """Where a proxy may listen: a path that is short enough."""
    return f"ipc://{os.environ['XDG_RUNTIME_DIR']}/front.sock"


def waves(mesh: Mesh, tmp_path: Path, until) -> None:
    """Crowds of tasks, one after another, until enough has happened; two of them at least."""
    name = 0
    while name < 2 * LONG or not until():
        name += 1
        crowd = Crowd(tmp_path / f"traces{name}")
        group = crowd.submit(mesh, 300, nap_s=0.005)
        single = mesh.submit(pow, 2, name)
        large = mesh.submit(bytes, 50_000 + name)
        assert single.result(25) == 2**name
        assert len(large.result(25)) == 50_000 + name
        crowd.check(group, 300, again=0)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("seed", SEEDS)
def test_all_tasks_end_once_whatever_the_wire_does(
    bare: Mesh, front: str, tmp_path: Path, trouble: str, seed: int
) -> None:
    with ZmqProxy(front, address_of(bare.folder), seed, **TROUBLES[trouble]) as proxy:
        access = access_by(front, bare.folder, tmp_path / "by_proxy.json")
        with (
            another_worker(access, tmp_path / "a", 1),
            another_worker(access, tmp_path / "b", 1),
            Mesh(access=access) as m,
        ):
            wanted = {"drop": "dropped", "repeat": "repeated", "delay": "delayed"}
            names = [wanted[each] for each in TROUBLES[trouble] if each in wanted]
            names += ["cut"] if "cut_every_s" in TROUBLES[trouble] else []
            waves(m, tmp_path, lambda: all(proxy.met[name] > 2 for name in names))
            proxy.calm()
            assert m.wait_for_slots(2, 20) == 2
            told = counts(m)
            assert set(told) == {"done"} and told["done"] % 302 == 0, told


def test_a_router_killed_behind_a_bad_wire_is_found_again(
    bare: Mesh, front: str, tmp_path: Path
) -> None:
    """Its peers see no connection break: they are told to greet it by itself."""
    with ZmqProxy(front, address_of(bare.folder), 1, drop=0.02, repeat=0.05) as proxy:
        access = access_by(front, bare.folder, tmp_path / "by_proxy.json")
        with another_worker(access, tmp_path / "a", 2), Mesh(access=access) as m:
            crowd = Crowd(tmp_path / "traces")
            group = crowd.submit(m, 1000, nap_s=0.005)
            for i in (50, 300):
                group[i].result(20)
                os.kill(router_of(bare), 9)
            crowd.check(group, 1000, again=0)
            proxy.calm()


@pytest.mark.parametrize("seed", SEEDS)
def test_over_tcp_connections_are_reset_and_bytes_come_late(
    tmp_path: Path, nothing_left_behind, seed: int
) -> None:
    up = [sys.executable, "-m", "mesh", "up", "--dir", tmp_path / "own", "--slots", "0"]
    path = str(Path(mesh_package.__file__).parents[1])
    with subprocess.Popen(
        [*map(str, up), "--listen", "tcp://127.0.0.1:*", "--json"],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        host, _, port = address_of(tmp_path / "own").removeprefix("tcp://").rpartition(":")
        with TcpProxy((host, int(port)), seed, delay_s=0.02, cut_every_s=0.5) as proxy:
            access = access_by(proxy.address, tmp_path / "own", tmp_path / "by_proxy.json")
            with (
                another_worker(access, tmp_path / "a", 1),
                another_worker(access, tmp_path / "b", 1),
                Mesh(access=access) as m,
            ):
                waves(m, tmp_path, lambda: proxy.met["cut"] > 5)
                proxy.calm()
                told = counts(m)
                assert set(told) == {"done"} and told["done"] % 302 == 0, told
        process.send_signal(2)
        assert process.wait(20) == 0
