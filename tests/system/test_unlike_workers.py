"""What workers have and tasks ask for, with real workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sample_tasks as tasks

from mesh import Mesh
from mesh.processes import gpus, memory
from mesh.processes.resources import resources_of

VARIABLES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def visible(gate: str | None = None) -> list[str | None]:
    """What a task is told of GPUs, while it holds them."""
    if gate is not None:
        tasks.hold(gate, None)
    return [os.environ.get(name) for name in VARIABLES]


def test_tasks_at_one_time_have_gpus_of_their_own(tmp_path: Path) -> None:
    with Mesh(slots=3, resources={"gpu": 2}) as m:
        with_one = m.options(resources={"gpu": 1})
        gates = [tasks.pipe_at(tmp_path / f"gate{i}") for i in range(2)]
        held = [with_one.submit(visible, gate) for gate in gates]
        waits = with_one.submit(visible)
        assert m.submit(visible).result(20) == ["", "", ""], "it passes, and sees none"

        told = waits.explain()
        assert told["is_able"] and "2 of 2 gpu in use" in str(told)
        (row,) = m.status()["workers"]
        assert row["resources"]["gpu"] == {"has": 2, "used": 2}

        for gate in gates:
            tasks.let_go(Path(gate))
        assert sorted(future.result(20) for future in held) == [["0", "0", "0"], ["1", "1", "0"]]
        assert waits.result(20) in (["0", "0", "0"], ["1", "1", "0"])
        assert m.options(resources={"gpu": 2}).submit(visible).result(20) == ["0,1", "0,1", "0,1"]


def test_what_nobody_has_waits_and_says_why() -> None:
    with Mesh(slots=1, resources={"gpu": 0, "license": 1}) as m:
        future = m.options(resources={"gpu": 1}, cpus=2).submit(pow, 2, 3)
        assert m.options(resources={"license": 1}).submit(pow, 2, 3).result(20) == 8
        told = future.explain()
        assert not told["is_able"]
        assert [row["why"] for row in told["refusals"]] == ["has 1 of cpus=2"]
        assert m.submit(visible).result(20) == [os.environ.get(name) for name in VARIABLES]
        assert m.cancel(future.id)


def test_resources_are_for_a_mesh_of_ones_own(own_mesh: Mesh) -> None:
    with pytest.raises(ValueError, match="resources="):
        Mesh(access=own_mesh.folder, resources={"gpu": 1})


def test_what_is_found_and_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 3")
    size = memory.limit()
    assert size is not None and size > 1e8
    assert resources_of(2, {}) == ({"mem": size, "gpu": 2}, ["2", "3"])
    assert resources_of(2, {"mem": 5, "gpu": 1}) == ({"mem": 5, "gpu": 1}, ["2"])
    assert resources_of(2, {"mem": 5, "gpu": 3})[1] == ["2", "3", "0"]
    assert resources_of(2, {"mem": 5, "gpu": 0}) == ({"mem": 5}, [])
    assert resources_of(0, {"gpu": 1}) == ({}, [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert resources_of(2, {"mem": 5}) == ({"mem": 5}, [])


def machine(root: Path, smi: str | None = None, **files: str) -> dict[str, str]:
    """A folder that looks like the root of a machine, and an environment with its programs."""
    root.mkdir()
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if smi is not None:
        (root / "nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n")
        (root / "nvidia-smi").chmod(0o755)
    return {"PATH": str(root)}


def test_gpus_are_found_without_their_library(tmp_path: Path) -> None:
    assert gpus.found(machine(tmp_path / "none"), tmp_path / "none") == []
    nodes = "sys__class__kfd__kfd__topology__nodes__"
    amd = {f"{nodes}0__gpu_id": "0\n", f"{nodes}1__gpu_id": "7\n", f"{nodes}2__gpu_id": "8\n"}
    assert gpus.found(machine(tmp_path / "amd", **amd), tmp_path / "amd") == ["0", "1"]
    driver = {"proc__driver__nvidia__gpus__0000:01__information": ""}
    assert gpus.found(machine(tmp_path / "nv", "exit 9", **driver), tmp_path / "nv") == ["0"]
    parts = "echo 'GPU 0: A (UUID: GPU-a)'; echo 'GPU 1: A (UUID: GPU-b)'; "
    parts += "echo '  MIG 1g Device 0: (UUID: MIG-x)'; echo '  MIG 1g Device 1: (UUID: MIG-y)'"
    whole = machine(tmp_path / "smi", parts)
    assert gpus.found(whole, tmp_path / "smi") == ["0", "MIG-x", "MIG-y"]
    assert gpus.found({"ROCR_VISIBLE_DEVICES": "1"}, tmp_path) == ["1"]
    assert gpus.found({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, tmp_path) == []


def test_memory_is_what_the_cgroups_leave_of_it(tmp_path: Path) -> None:
    def limit(name: str, **files: str) -> int | None:
        machine(tmp_path / name, None, **files)
        return memory.limit(tmp_path / name)

    total = {"proc__meminfo": "MemTotal:       1000 kB\nMemFree: 1 kB\n"}
    assert limit("bare", **total) == 1_024_000
    new = total | {
        "proc__self__cgroup": "0::/job/step\n",
        "sys__fs__cgroup__job__memory.max": "5000",
    }
    assert limit("new", **new, **{"sys__fs__cgroup__job__step__memory.max": "max"}) == 5000
    old = total | {"proc__self__cgroup": "4:cpu:/x\n7:memory:/job\n"}
    file = "sys__fs__cgroup__memory__job__memory.limit_in_bytes"
    assert limit("old", **old, **{file: "7000"}) == 7000
    assert limit("mac") is None
