"""The chaos run: its judge finds each violation in a history made by hand, and lets pass what a
fault explains; its faults are a function of the seed; and a short run of a real mesh is clean."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import calls, faults, load
from bench.chaos.checker import check
from bench.chaos.harness import await_audit
from bench.chaos.history import History, read
from bench.chaos.logs import alarming

ROOT = Path(__file__).resolve().parents[1]

#: Of the processes in the histories below.
ROUTER, WORKER, SLOT, OTHER = 1, 2, 3, 4

#: A run of some seconds takes half a minute; its own deadlines are longer.
RUN_S = 400

#: With the next answer of the auditor below.
PATIENCE_S = 2.0

#: What a log holds of a task that was interrupted where Python raises nothing.
IGNORED = """\
09:00:01 k3f9x2m7.4: Exception ignored in: <function cb at 0x7fb7ccbd5da0>
09:00:01 k3f9x2m7.4: Traceback (most recent call last):
09:00:01 k3f9x2m7.4:   File "<frozen importlib._bootstrap>", line 199, in cb
09:00:01 k3f9x2m7.4:     raise KeyboardInterrupt
09:00:01 k3f9x2m7.4: KeyboardInterrupt:\x20
09:00:02 slot 1, process 17, was killed by SIGTERM; it was ended: cancelled
"""

#: Says a few things, and then nothing more, unless it was all.
AUDITOR = """
import sys, time
path, answers = sys.argv[1], int(sys.argv[2])
with open(path, "a", buffering=1) as history:
    for _ in range(answers):
        print("{}", file=history)
        time.sleep(0.1)
if answers == 1:
    time.sleep(1000)
"""


class Story:
    """A history that goes well, but for what a test adds: the task "a" of the client "c"."""

    def __init__(self, **expected: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.add(0, "settings", lost_after_s=3.0, slot_losses_max=3, worker_losses_max=10)
        call = {"value": None if "error" in expected else "v", "error": None, "retries": 0}
        self.add(1, "submitting", client="c", mesh="main", calls={"a": call | expected})
        self.add(1.1, "submitted", client="c", ids={"a": "s.1"})

    def add(self, t: float, event: str, **about: Any) -> Story:
        self.events.append({"event": event, "t": t} | about)
        return self

    def flushed(self, t: float = 1.2) -> Story:
        return self.add(t, "flushed", client="c")

    def run(
        self, began: float, ended: float | None = None, how: str = "returned", pid: int = SLOT
    ) -> Story:
        self.add(began, "began", key="a", pid=pid, worker=WORKER)
        if ended is not None:
            self.add(ended, "ended", key="a", pid=pid, worker=WORKER, how=how)
        return self

    def begun(self, t: float, pid: int, worker: int) -> Story:
        return self.add(t, "began", key="a", pid=pid, worker=worker)

    def seen(self, t: float, state: str = "done", by: str = "c", **about: Any) -> Story:
        if state == "done":
            about = {"value": "v"} | about
        return self.add(t, "seen", client=by, key="a", id="s.1", state=state, **about)

    def cancelled(self, t: float, *, running: bool = False) -> Story:
        about = {"client": "c", "key": "a", "running": running}
        return self.add(t - 0.1, "cancelling", **about).add(t, "cancelled", **about, verdict=True)

    def killed(self, t: float, role: str, *pids: int) -> Story:
        return self.fault(t, "kill", role, *pids)

    def stopped(self, t: float, for_s: float, role: str, pid: int) -> Story:
        return self.fault(t, "stop", role, pid).add(t + for_s, "continued", pids=[pid])

    def fault(self, t: float, kind: str, role: str, *pids: int) -> Story:
        about = {"role": role, "name": role, "mesh": "main", "pids": list(pids)}
        return self.add(t, "fault", kind=kind, until=t + 0.01, **about)

    @property
    def rules(self) -> list[str]:
        """The rules that are broken in it."""
        return [rule for rule, _, _ in check(sorted(self.events, key=lambda event: event["t"]))]


def well() -> Story:
    """Submitted, recorded, run once, and seen."""
    return Story().flushed().run(2, 2.1).seen(2.2)


def test_what_goes_well_breaks_no_rule() -> None:
    assert well().seen(9, by="auditor").rules == []


# -- what is told ---------------------------------------------------------------------------------


def test_an_acknowledged_task_without_an_end_is_lost() -> None:
    assert Story().flushed().rules == ["lost"]
    assert Story().flushed().run(2, 2.1).seen(60, "open").rules == ["lost"]
    assert Story().flushed().seen(9, "unknown").rules == ["lost"]
    assert well().seen(9, "unknown", by="auditor").rules == ["lost"]


def test_what_was_never_acknowledged_may_be_lost() -> None:
    assert Story().rules == []
    assert Story().seen(9, "unknown").rules == []
    assert Story().run(2, 2.1).seen(2.2).seen(9, "unknown").rules == []
    again = well().add(3, "submitted", client="killed", ids={"a": "t.1"})
    assert again.add(9, "seen", client="auditor", key="a", id="t.1", state="unknown").rules == []


def test_another_outcome_for_who_asks_later_is_a_change() -> None:
    failed = {"error": "WorkerLost", "text": "gone"}
    assert "changed" in well().seen(9, "failed", by="auditor", **failed).rules
    assert "changed" in well().seen(9, by="auditor", value="w").rules


def test_what_was_cancelled_and_is_done_has_changed() -> None:
    assert Story().flushed().cancelled(1.5).run(1.4, 2).seen(2.2).rules == ["changed"]


def test_another_value_than_the_function_gives_is_wrong() -> None:
    assert Story().run(2, 2.1).seen(2.2, value="w").rules == ["wrong"]


def test_a_value_where_there_must_be_an_error_is_wrong() -> None:
    assert Story(error="TaskTimeout").run(2, 2.1).seen(2.2).rules == ["wrong"]


def test_a_value_of_what_never_ran_is_wrong() -> None:
    assert Story().seen(2.2).rules == ["wrong"]


def test_cancelled_without_a_cause_is_wrong() -> None:
    assert Story().seen(2.2, "cancelled").rules == ["wrong"]


def test_a_failure_without_a_cause_or_of_another_type_is_found() -> None:
    assert Story().run(2, 2.1).seen(2.2, "failed", error="MeshError").rules == ["failed"]
    timeout = Story(error="TaskTimeout").run(2, 2.4, "interrupted")
    assert timeout.seen(2.5, "failed", error="ValueError").rules == ["failed"]
    timeout = Story(error="TaskTimeout").run(2, 2.4, "interrupted")
    assert timeout.seen(2.5, "failed", error="TaskTimeout").rules == []


@pytest.mark.parametrize(("deaths", "rules"), [(2, ["failed"]), (3, [])])
def test_a_task_fails_with_its_slots_after_three_of_them(deaths: int, rules: list[str]) -> None:
    story = Story().flushed()
    for nth in range(deaths):
        pid = SLOT + nth
        story.run(10.0 * nth + 2, pid=pid).killed(10.0 * nth + 3, "slot", pid)
    assert story.seen(99, "failed", error="WorkerLost").rules == rules


def test_a_slot_that_was_killed_before_it_began_may_have_had_the_task_in_hand() -> None:
    story = Story().flushed().killed(1.5, "slot", 77)
    for nth in range(2):
        story.run(10.0 * nth + 2, pid=SLOT + nth).killed(10.0 * nth + 3, "slot", SLOT + nth)
    assert story.seen(99, "failed", error="WorkerLost").rules == []


def test_giving_up_before_the_retries_are_used_is_found() -> None:
    story = Story(error="ValueError", retries=1).run(2, 2.1, "raised")
    assert story.seen(2.2, "failed", error="ValueError").rules == ["given up"]
    story = Story(error="ValueError", retries=1).run(2, 2.1, "raised").run(2.3, 2.4, "raised")
    assert story.seen(2.5, "failed", error="ValueError").rules == []


# -- runs -----------------------------------------------------------------------------------------


def test_a_second_run_that_nothing_explains_is_found() -> None:
    assert Story().flushed().run(2, 2.1).run(3, 3.1, pid=OTHER).seen(4).rules == ["doubled"]


def test_a_run_after_the_result_was_seen_is_found() -> None:
    story = well().killed(2.15, "slot", SLOT).run(9, 9.1, pid=OTHER)
    assert story.rules == ["resurrected"]


def test_more_runs_than_retries_are_found() -> None:
    story = Story(error="ValueError", retries=1).flushed()
    for nth in range(3):
        story.run(2 + nth, 2.1 + nth, "raised")
    assert story.seen(9, "failed", error="ValueError").rules == ["doubled"]


@pytest.mark.parametrize("role", ["slot", "worker"])
def test_a_death_explains_a_second_run(role: str) -> None:
    story = Story().flushed().run(2).killed(3, role, WORKER if role == "worker" else SLOT)
    assert story.run(3.5, 4, pid=OTHER).seen(5).rules == []


def test_an_owner_that_leaves_ends_what_others_have_submitted() -> None:
    story = Story().flushed().run(2, 2.1).run(5, 5.1, pid=OTHER).seen(6)
    left = {"role": "owner", "name": "main", "pid": 9, "code": 0, "expected": False}
    assert story.rules == ["doubled"]
    assert story.add(2.2, "gone", **left).rules == []


def test_a_death_long_after_its_end_explains_nothing() -> None:
    story = Story().flushed().run(2, 2.1).killed(20, "slot", SLOT).run(21, 22, pid=OTHER)
    assert story.seen(23).rules == ["doubled"]


def test_a_death_long_after_explains_if_the_router_was_away_all_the_time() -> None:
    story = Story().flushed().run(2, 2.1).stopped(1.5, 20, "router", ROUTER)
    assert story.killed(20, "slot", SLOT).run(22, 23, pid=OTHER).seen(24).rules == []


@pytest.mark.parametrize(("for_s", "rules"), [(1.0, ["doubled"]), (4.0, [])])
def test_a_stop_explains_if_it_lasted(for_s: float, rules: list[str]) -> None:
    story = Story().flushed().run(2, 8).stopped(2.5, for_s, "worker", WORKER)
    assert story.run(7, 9, pid=OTHER).seen(10).rules == rules


def test_a_router_that_died_before_the_task_was_recorded_explains() -> None:
    story = Story().run(2, 2.1).killed(2.11, "router", ROUTER).run(4, 4.1)
    assert story.seen(5).rules == []
    story = Story().run(2, 2.1).seen(2.105).killed(2.11, "router", ROUTER).run(4, 4.1)
    assert story.rules == [], "and of what it has heard nobody else knows"
    story = Story().flushed().run(2, 2.1).killed(2.11, "router", ROUTER).run(4, 4.1)
    assert story.seen(5).rules == ["doubled"], "it was recorded by then"


def test_router_and_worker_may_take_an_outcome_along_that_was_told() -> None:
    story = well().killed(2.15, "everything", ROUTER, WORKER, SLOT).run(5, 5.1, pid=OTHER)
    assert story.seen(6, by="auditor").rules == []


def test_what_runs_again_after_that_may_lose_its_slot_as_any_other() -> None:
    story = well().killed(2.15, "everything", ROUTER, WORKER, SLOT)
    story.add(3, "up", role="router", name="router", pid=ROUTER + 10)
    story.run(15, pid=OTHER).killed(15.05, "slot", OTHER)
    assert story.run(17, 17.1, pid=OTHER + 1).seen(18, by="auditor").rules == []


def test_what_was_forgotten_before_the_end_was_known_explains_nothing_after_it() -> None:
    story = Story().flushed().begun(2, 11, 10).killed(2.5, "worker", 10, 11)
    story.begun(4.5, 21, 20).add(4.6, "ended", key="a", pid=21, worker=20, how="returned").seen(4.7)
    left = {"role": "owner", "name": "main", "pid": 9, "code": 0, "expected": True}
    story.add(5.5, "gone", **left).killed(6, "router", ROUTER)
    story.add(6.3, "up", role="router", name="router", pid=ROUTER + 10)
    assert story.begun(30, 22, 30).rules == ["resurrected"]


# -- cancelling -----------------------------------------------------------------------------------


def test_a_begin_after_the_cancellation_is_found() -> None:
    assert Story().cancelled(2).run(2.5, 3).seen(3, "cancelled").rules == ["uncancelled"]


def test_where_what_runs_may_be_stopped_the_word_may_travel_for_a_moment() -> None:
    story = Story().cancelled(2, running=True).run(2.5, 3, "interrupted")
    assert story.seen(3, "cancelled").rules == []
    story = Story().cancelled(2, running=True).run(20, 21).seen(21, "cancelled")
    assert story.rules == ["uncancelled"]


# -- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "about", "rule"),
    [
        ("hung", {"who": "client-1"}, "hung"),
        ("trouble", {"client": "c", "what": "flush", "error": "OSError", "text": ""}, "trouble"),
        ("leftover", {"what": "process 7: mesh worker"}, "leftover"),
        ("said", {"who": "router.log", "line": "Traceback"}, "said"),
        (
            "gone",
            {"role": "router", "name": "r", "pid": 1, "code": 1, "expected": False},
            "crashed",
        ),
    ],
)
def test_what_no_process_should_do_is_found(event: str, about: dict, rule: str) -> None:
    assert well().add(5, event, **about).rules == [rule]


def test_who_was_killed_has_not_crashed() -> None:
    about = {"role": "router", "name": "r", "pid": 1, "code": -9, "expected": True}
    assert well().add(5, "gone", **about).rules == []


def test_descriptors_that_grow_are_found() -> None:
    story = well().add(0.5, "descriptors", pid=ROUTER, count=20, when="first")
    assert story.add(9, "descriptors", pid=ROUTER, count=22, when="last").rules == []
    story = well().add(0.5, "descriptors", pid=ROUTER, count=20, when="first")
    assert story.add(9, "descriptors", pid=ROUTER, count=60, when="last").rules == ["leftover"]


# -- the plan, and a run --------------------------------------------------------------------------


def test_faults_and_load_are_functions_of_the_seed() -> None:
    assert faults.plan(7, 60) == faults.plan(7, 60) != faults.plan(8, 60)
    both = [load.steps(7, "main", "client-1.0") for _ in range(2)]
    assert [next(both[0]) for _ in range(50)] == [next(both[1]) for _ in range(50)]


def test_every_call_says_what_it_must_give() -> None:
    steps = load.steps(1, "main", "client-1.0")
    for call in (call for _ in range(300) for call in next(steps).calls):
        if call.function == "combine":
            assert call.value is None, call  # that of what it takes decides
        else:
            assert (call.value is None) != (call.error is None), call
            assert call.function == "put" or callable(getattr(calls, call.function))


def test_a_history_is_in_the_order_of_its_times(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history("late", t=2.0)
    history("early", t=1.0, key="a")
    history.close()
    assert [event["event"] for event in read(tmp_path / "history.jsonl")] == ["early", "late"]


@pytest.mark.skipif(sys.platform != "linux", reason="waits on pidfds")
@pytest.mark.parametrize(("answers", "ends"), [(40, True), (1, False)])
def test_an_auditor_may_take_its_time_as_long_as_it_has_answers(
    tmp_path: Path, answers: int, ends: bool
) -> None:
    """Each answer comes well within the patience with one, all of them well after."""
    history = tmp_path / "history.jsonl"
    History(history).close()
    auditor = subprocess.Popen([sys.executable, "-c", AUDITOR, str(history), str(answers)])
    try:
        assert await_audit(auditor.pid, history, PATIENCE_S) == ends
    finally:
        auditor.kill()
        auditor.wait()


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="waits on pidfds and reads /proc")
def test_a_short_run_is_clean(tmp_path: Path) -> None:
    report, home = tmp_path / "report.json", tmp_path / "run"
    command = ["-m", "bench.chaos", "--seconds", "7", "--seed", "12"]
    done = subprocess.run(
        [sys.executable, *command, "--json", str(report), "--keep", str(home)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_S,
    )
    assert done.returncode == 0, done.stdout
    tally = json.loads(report.read_text())
    assert tally["acknowledged"] and tally["faults"] and not tally["found"]


def test_a_log_gives_alarm_by_what_none_should_say() -> None:
    assert not [*alarming(IGNORED)]
    assert [*alarming(IGNORED.replace("KeyboardInterrupt:", "ValueError:"))]
    assert [*alarming(IGNORED.replace("Exception ignored in", "An error"))]
    assert [*alarming("\n".join(IGNORED.splitlines()[:4]))], "cut short: nobody knows"
    said = "worker-1 died (exit code 1)\nslot 2 is not started again\nall is well"
    assert [*alarming(said)] == said.splitlines()[:2]
