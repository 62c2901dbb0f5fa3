"""The wall clock jumps, as it does when a laptop wakes, a battery is empty or ntpd begins: nobody
is given up, nothing ends early or late, nothing runs twice.

A small library before the C library's (`clock_shift.c`) shifts the wall clock of script, router,
worker and slots at once. The monotonic clock goes on as it does.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

DAY_S = 86_400

SWEEP = """
    import os, struct, sys, time
    from mesh import Mesh, TaskTimeout

    folder, traces, clock, *jumps = sys.argv[1:]
    soon = {"heartbeat_s": 0.1, "lost_after_s": 0.6}

    def nap(traces, i, seconds):
        import time
        with open(f"{traces}/{i}", "ab") as file:
            file.write(b".")
        time.sleep(seconds)
        return i, time.time()

    def fail_once(traces):
        with open(f"{traces}/fails", "ab") as file:
            file.write(b".")
            if file.tell() == 1:
                raise OSError("once")
        return "in the end"

    def jump(seconds):
        with open(clock, "r+b") as file:
            file.write(struct.pack("q", int(seconds)))

    with Mesh(dir=folder, slots=2, settings=soon) as m:
        begun, start = time.time(), time.monotonic()
        before = m.submit(nap, traces, "before", 0.0).result()[1]
        workers = [each["incarnation"] for each in m.status()["workers"]]
        group = m.options(time_limit=30).submit_many(
            nap, [traces] * 40, range(40), [0.05] * 40
        )
        again = m.options(retries=1, backoff=0.5).submit(fail_once, traces)
        limited = m.options(time_limit=1.0).submit(nap, traces, "limited", 600)
        for each in jumps:
            jump(each)
            group[10].result(15)        # these waits are of seconds, not of days
            m.wait_for_slots(2, 15)
            m.flush(15)
        print(all(row[0] == i for i, row in enumerate(group.results(timeout=15))))
        print(again.result(15))
        try:
            limited.result(15)
        except TaskTimeout:
            print("timed out")
        print([each["incarnation"] for each in m.status()["workers"]] == workers)
        large = m.submit(bytes, 100_000)
        print(len(large.result(15)))
        later = m.submit(nap, traces, "after", 0.0).result(15)[1]
        print(round((later - before) / 86_400), round((time.time() - begun) / 86_400))
        print(time.monotonic() - start < 3600, m.status()["router"]["uptime_s"] < 3600)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that shifts clocks."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    made = tmp_path_factory.mktemp("clock") / "clock_shift.so"
    source = Path(__file__).with_name("clock_shift.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", made, source, "-ldl"]
    subprocess.run(list(map(str, command)), check=True)
    return made


@pytest.mark.parametrize(
    "jumps",
    [(DAY_S,), (-DAY_S,), (DAY_S, -DAY_S, 0, 3 * DAY_S)],
    ids=["forward", "back", "to and fro"],
)
def test_a_day_more_or_less_on_the_wall_clock_changes_nothing(
    script, library: Path, tmp_path: Path, jumps: tuple[int, ...]
) -> None:
    traces, clock = tmp_path / "traces", tmp_path / "clock"
    traces.mkdir()
    clock.write_bytes(struct.pack("q", 0))
    environment = {"LD_PRELOAD": str(library), "MESH_TEST_CLOCK": str(clock)}
    each = script(SWEEP, tmp_path / "own", traces, clock, *jumps, **environment)
    days = jumps[-1] // DAY_S
    assert each.finish().splitlines() == [
        "True",
        "in the end",
        "timed out",
        "True",
        "100000",
        f"{days} {days}",
        "True True",
    ]
    runs = {path.name: path.stat().st_size for path in traces.iterdir()}
    assert runs.pop("fails") == 2
    assert set(runs.values()) == {1} and len(runs) == 40 + 3
    # The router and the worker have lived by the shifted clock, too: their logs say so.
    for name in ("router", "worker"):
        last = (tmp_path / "own" / "log" / f"{name}.log").read_text().splitlines()[-1]
        said = time.strptime(last[:19], "%Y-%m-%d %H:%M:%S")
        assert abs(time.mktime(said) - time.time() - jumps[-1]) < 3600, last
