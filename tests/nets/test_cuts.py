"""Hosts that are cut off and come back, and a router and workers that start again meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import sample_tasks as tasks
import sweep
from held import Held
from hosts import Host, Net

from mesh import Mesh
from mesh.protocol import outcome

MB = 1_000_000


def made(folder: str, name: str, size: int) -> bytes:
    """So many bytes, and a trace of the run."""
    tasks.note(folder, name)
    return b"m" * size


def length(*given: bytes) -> int:
    """How much it was given."""
    return sum(map(len, given))


class Watched(bytearray):
    """Memory for a result that says when some of it has come."""

    came: threading.Event

    def __setitem__(self, where: Any, content: Any) -> None:
        super().__setitem__(where, content)
        self.came.set()


def traces_in(folder: Path) -> Path:
    (folder / "traces").mkdir()
    return folder / "traces"


def ref_of(future: Any) -> outcome.Ref:
    """What stands for a result."""
    return outcome.parse_ref(outcome.parse(future._raw[1]).rest)


def await_away(m: Mesh, host: Host) -> None:
    """Until the router has given up the worker on a host."""
    while any(each["host"] == host.name and each["connected"] for each in m.status()["workers"]):
        pass


def test_what_a_host_had_that_is_cut_off_runs_elsewhere_and_then_it_works_again(
    net: Net, tmp_path: Path
) -> None:
    a, b, c, d = map(net.host, "abcd")
    a.router()
    for each in (b, c):
        each.worker(a.access)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(2, 20)
        held = {each.host(): each for each in (Held(m, tmp_path, name) for name in "xy")}
        assert set(held) == {"b", "c"}
        b.cut()
        held["c"].let_go()
        assert held["c"].future.result(20) == "c"
        assert held["b"].host() == "c", "it begins again"
        with held["b"].let_all_go():
            assert held["b"].future.result(20) == "c"
            b.heal()
            m.wait_for_slots(2, 20)
        again = [Held(m, tmp_path, name) for name in "zw"]
        assert {each.host() for each in again} == {"b", "c"}
        for each in again:
            each.let_go()
            each.future.result(20)
        assert m.result(held["b"].future.id) == "c", "what is recorded stays"
        m.stop()


def test_a_fetch_goes_on_where_the_link_was_cut(net: Net, tmp_path: Path) -> None:
    a, b, d = map(net.host, "abd")
    a.router()
    b.worker(a.access)
    size, traces = 200 * MB, traces_in(tmp_path)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(1, 20)
        future = m.submit(made, str(traces), "one", size)
        assert future.wait(20)
        Watched.came = threading.Event()

        def cut() -> None:
            Watched.came.wait(20)
            b.cut()

        cutting = threading.Thread(target=cut)
        cutting.start()
        got: list[Any] = []
        ref = ref_of(future)
        fetching = threading.Thread(
            target=lambda: got.append(m._connection.fetch(ref, 40, Watched))
        )
        fetching.start()
        cutting.join()
        await_away(m, b)
        assert not got, "it was cut in the middle"
        b.heal()
        fetching.join()
        assert len(got[0]) == ref.size
        assert tasks.runs(traces) == {"one": 1}
        m.stop()


def test_ten_thousand_tasks_are_done_though_a_host_is_cut_off_in_the_middle(net: Net) -> None:
    a, b, c, d = map(net.host, "abcd")
    a.router()
    for each in (b, c):
        each.worker(a.access)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(2, 20)
        sweep.survives(m, b, slots=2)
        m.stop()


def test_hosts_go_on_exchanging_while_the_router_is_started_again(net: Net, tmp_path: Path) -> None:
    a, b, c, d = map(net.host, "abcd")
    router = a.router()
    b.worker(a.access)
    traces = traces_in(tmp_path)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(1, 20)
        count, size = 20, 10 * MB
        group = m.submit_many(made, [str(traces)] * count, map(str, range(count)), [size] * count)
        assert group.wait(20)
        held = Held(m, tmp_path, "held")  # in the slot of who has it all
        assert held.host() == "b"
        takes = m.submit(length, *group)
        m.flush(20)
        c.worker(a.access)
        while not any((c.folder / "store" / "incoming").iterdir()):
            pass
        router.process.kill()
        router.finish()
        assert not takes.done()
        a.router()
        assert takes.result(30) == count * size
        held.let_go()
        assert held.future.result(20) == "b"
        assert tasks.runs(traces) == dict.fromkeys(map(str, range(count)), 1)
        m.stop()


def test_a_worker_that_comes_back_with_its_store_serves_what_it_had(
    net: Net, tmp_path: Path
) -> None:
    a, b, d = map(net.host, "abd")
    a.router()
    worker = b.worker(a.access, "--data-port", 6001)
    traces = traces_in(tmp_path)
    with d.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(1, 20)
        first = m.submit(made, str(traces), "first", 5 * MB)
        second = m.submit(made, str(traces), "second", 5 * MB)
        assert len(first.result(20)) == 5 * MB
        assert second.wait(20)
        worker.process.kill()
        worker.finish()
        b.worker(a.access, "--data-port", 6002)
        assert len(second.result(20)) == 5 * MB
        assert tasks.runs(traces) == {"first": 1, "second": 1}
        m.stop()
