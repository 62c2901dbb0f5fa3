"""The bench's arithmetic and its references. Times are its business, and never asserted here."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

from bench import procfs, scale, table
from bench.forwarder import Forwarder
from bench.fresh import fresh
from bench.measure import Spread, interleave, percentile
from bench.meter import Meter
from bench.peers import another_worker
from bench.row import Goal, Row
from bench.subject import router_alone
from mesh import Mesh

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def a_row() -> Row:
    goal = Goal(target=3, aim=6, better="more")
    return Row("submit", "tasks/s", [400.0, 900.0, 800.0], "a pool", [100.0, 200.0, 200.0], goal)


def test_a_spread_is_the_median_and_the_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == (2.5, 1.0, 10.0)


def test_sides_are_sampled_in_turn() -> None:
    taken: list[str] = []

    def side(name: str) -> int:
        taken.append(name)
        return len(taken)

    samples = interleave({name: partial(side, name) for name in "AB"}, repeat=3, settle=0)
    assert taken == ["A", "B", "A", "B", "A", "B"]
    assert samples == {"A": [1, 3, 5], "B": [2, 4, 6]}


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)]
)
def test_a_percentile_is_one_of_the_samples(percent: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_the_percentile_of_one_sample_is_that_sample() -> None:
    assert percentile([7.0], 50) == percentile([7.0], 99) == 7.0


def test_a_ratio_is_made_of_samples_of_the_same_round() -> None:
    # The ratio of the medians would be 4.0 too, but 9.0 and 2.0 at its ends.
    assert a_row().ratio == (4.0, 4.0, 4.5)


def test_without_a_reference_there_is_no_ratio() -> None:
    assert Row("ports", "ports", [0.0]).ratio is None


@pytest.mark.parametrize(
    ("better", "reached", "verdict"),
    [
        ("more", 7.0, "aim"),
        ("more", 6.0, "aim"),
        ("more", 3.0, "met"),
        ("more", 2.9, "missed"),
        ("less", 2.0, "aim"),
        ("less", 3.0, "met"),
        ("less", 3.1, "missed"),
    ],
)
def test_a_goal_tells_aim_from_target(better: str, reached: float, verdict: str) -> None:
    aim = 6 if better == "more" else 2
    assert Goal(target=3, aim=aim, better=better).verdict(reached) == verdict


def test_a_verdict_speaks_of_the_ratio_or_of_the_value() -> None:
    row = a_row()
    assert row.verdict == "met"
    row.goal = Goal(target=3, aim=6, better="more", of="value")
    assert row.verdict == "aim"
    row.goal = None
    assert row.verdict == ""


def test_a_row_survives_json() -> None:
    data = json.loads(json.dumps(a_row().to_json()))
    assert Row.from_json(data) == a_row()
    assert data["ratio"] == {"median": 4.0, "low": 4.0, "high": 4.5}
    assert data["verdict"] == "met"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0123, "0.012"),
        (1.234, "1.23"),
        (3.0, "3"),
        (56.78, "56.8"),
        (234.5, "234"),
        (12345.6, "12,346"),
    ],
)
def test_numbers_have_three_digits_that_matter(value: float, text: str) -> None:
    assert table.number(value) == text


def test_a_text_table_is_aligned() -> None:
    title, header, first, second = table.text(
        "throughput", [a_row(), Row("idle", "%", [0.5])]
    ).splitlines()
    assert title == "== throughput"
    assert first.split("  ")[0] == "submit"
    assert header.index("unit") == first.index("tasks/s") == second.index("%")
    assert "4 (4–4.50)" in first
    assert "≥ 3 × (aim 6)" in first
    assert first.endswith("met")


def test_a_markdown_table_has_as_many_cells_in_each_line() -> None:
    title, _, *lines = table.markdown("throughput", [a_row(), Row("idle", "%", [0.5])]).splitlines()
    assert title == "### throughput"
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {len(table.HEADER) + 1}


def test_a_fresh_process_returns_what_the_function_did() -> None:
    assert fresh("measure:percentile", [1, 2, 3], 50) == 2


def test_a_fresh_process_that_fails_says_so() -> None:
    with pytest.raises(RuntimeError, match="measure:percentile ended with exit code 1"):
        fresh("measure:percentile", [], 50)


@on_linux
def test_a_process_is_known_to_proc() -> None:
    here = os.getpid()
    assert procfs.anonymous(here) > 0
    assert procfs.pss(here) > 0
    assert procfs.cpu_seconds(here) > 0
    assert here in procfs.descendants(os.getppid())


@on_linux
def test_a_listening_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in procfs.listening_ports([os.getpid()])
    assert port not in procfs.listening_ports([os.getpid()])


def test_the_forwarder_sends_everything_back_and_leaves_nothing() -> None:
    with Forwarder() as forwarder:
        messages = [bytes([n]) * 64 for n in range(10)]
        assert [forwarder.echo(message) for message in messages] == messages
    assert multiprocessing.active_children() == []


@on_linux
def test_a_crowd_joins_and_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--workers", "5", "--slots", "2", "--tasks", "200", "--idle-s", "0.1"]
    assert scale.main([*small, "--dir", str(tmp_path)]) == 0
    heading, _, row = capsys.readouterr().out.splitlines()
    assert heading.startswith("| workers |") and row.startswith("| 5 |")
    assert row.count("|") == heading.count("|")


def test_further_workers_join_through_a_meter_as_from_other_hosts(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with router_alone(str(tmp_path)) as owner:
        meter = Meter(Path(str(owner.folder)) / "access.json", tmp_path)
        try:
            joins = another_worker(str(meter.access), str(store), host="host-1", port=0)
            with joins, Mesh(access=meter.access) as mesh:
                mesh.wait_for_slots(1, 60)
                assert mesh.submit(pow, 2, 10).result(60) == 1024
        finally:
            meter.close()
    assert meter.passed > 0
