"""Clients that are killed with work in flight, and clients that are deaf: what they had submitted
ends, once, and nothing of them stays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sample_tasks as tasks
from ending import await_end
from leftovers import Leftovers
from matrix import Crowd, counts, router_of

from mesh import Mesh

#: Silence is noticed so soon that a client outlasts it with ease.
AT_ONCE = {"heartbeat_s": 0.1, "lost_after_s": 0.6}


@pytest.fixture
def owner(tmp_path: Path, nothing_left_behind: Leftovers) -> Iterator[Mesh]:
    """A mesh that others join."""
    with Mesh(dir=tmp_path / "own", slots=2, settings=AT_ONCE) as m:
        m.wait_for_slots(2, 20)
        yield m


SUBMITS = """
    import sys
    from mesh import Mesh

    def square(i, traces):
        with open(f"{traces}/{i}", "ab") as file:
            file.write(b".")
        return i * i

    folder, traces, how = sys.argv[1:]
    where = {"access": folder} if how == "joined" else {"dir": folder, "slots": 2}
    m = Mesh(**where)
    i = 0
    while True:
        futures = [m.submit(square, i + k, traces) for k in range(200)]
        m.flush()
        print(i, futures[0].id, flush=True)     # so many are acknowledged
        i += 200
"""


def kill_while_submitting(script, folder: Path, traces: Path, how: str) -> tuple[str, int]:
    """Run SUBMITS, kill it between two acknowledgements; its session, and how many it knows of."""
    traces.mkdir()
    each = script(SUBMITS, folder, traces, how)
    for _ in range(4):
        line = each.line()
    each.kill()
    rest = each.process.stdout.read().decode()  # acknowledged as well, and said too late
    first, id = (rest.splitlines() or [line])[-1].split()
    return id.partition(".")[0], int(first) + 200


def check_session(mesh: Mesh, session: str, acknowledged: int, traces: Path) -> int:
    """All that was acknowledged has its result, and so has whatever else was recorded; how many."""
    known = 0
    for i in range(acknowledged):
        assert mesh.result(f"{session}.{i}", 20) == i * i
    while mesh.status()["tasks"]["queued"] + mesh.status()["tasks"]["running"]:
        pass  # each question is a round trip
    known = mesh.status()["tasks"]["done"]
    assert counts(mesh) == {"done": known} and known >= acknowledged
    runs = tasks.runs(traces)
    assert len(runs) == known, "what ran is what was recorded"
    return known


def test_a_joined_client_killed_while_it_submits(owner: Mesh, script, tmp_path: Path) -> None:
    """Several, one after another: the router keeps no descriptor of theirs."""
    router = router_of(owner)
    done = 0
    open_files = len(os.listdir(f"/proc/{router}/fd"))
    for i in range(3):
        traces = tmp_path / f"traces{i}"
        session, acknowledged = kill_while_submitting(script, owner.folder, traces, "joined")
        for k in range(0, acknowledged, 50):
            assert owner.result(f"{session}.{k}", 20) == k * k
        while counts(owner).keys() - {"done"}:
            pass
        runs = tasks.runs(traces)
        assert len(runs) >= acknowledged and set(runs.values()) == {1}
        done += len(runs)
        assert counts(owner) == {"done": done}
    while len(os.listdir(f"/proc/{router}/fd")) > open_files:
        owner.status()
    assert router_of(owner) == router


def test_an_embedded_client_killed_while_it_submits(
    script, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    """Its mesh goes with it; in its folder is all that it was told of, and the next one ends it."""
    traces = tmp_path / "traces"
    session, acknowledged = kill_while_submitting(script, tmp_path / "own", traces, "embedded")
    assert all(map(await_end, nothing_left_behind.processes()))
    with Mesh(dir=tmp_path / "own", slots=2) as m:
        check_session(m, session, acknowledged, traces)


DEAF = """
    import ctypes, sys
    from mesh import Mesh

    def work(i, traces):
        with open(f"{traces}/{i}", "ab") as file:
            file.write(b".")
        return i * i

    folder, traces, how = sys.argv[1:]
    soon = {"heartbeat_s": 0.1, "lost_after_s": 0.6}
    embedded = {"dir": folder + "2", "slots": 2, "settings": soon}
    with Mesh(**({"access": folder} if how == "joined" else embedded)) as m:
        for wave in range(2):
            first = m.submit_many(work, range(1000), [traces] * 1000)
            m.flush()
            single = m.submit(pow, 2, wave)
            ctypes.PyDLL(None).usleep(1_500_000)    # no thread of this process runs
            late = m.submit(pow, 3, wave)
            print(first.results() == [i * i for i in range(1000)], single.result(), late.result())
"""


@pytest.mark.parametrize("how", ["joined", "embedded"])
def test_a_client_that_holds_its_interpreter_for_long_misses_nothing(
    owner: Mesh, script, tmp_path: Path, how: str
) -> None:
    """Its router gives it up; what ended meanwhile it hears when it is back."""
    traces = tmp_path / "traces"
    traces.mkdir()
    each = script(DEAF, owner.folder, traces, how)
    crowd = Crowd(tmp_path / "crowd")
    crowd.check(crowd.submit(owner, 500, nap_s=0.005), 500, again=0)  # nobody else is concerned
    assert each.finish().splitlines() == ["True 1 1", "True 2 3"]
    assert tasks.runs(traces) == {str(i): 2 for i in range(1000)}
