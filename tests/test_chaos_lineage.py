"""The judge of chaos runs finds what must not be of tasks that take the results of others."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from bench.chaos import calls, graphs
from bench.chaos.checker import check
from bench.chaos.spoiling import spoil, wipe
from mesh.protocol.outcome import stored_name
from mesh.task import key, show

WORKER, SLOT, OTHER = 2, 3, 4

#: The ids of the tasks below.
IDS = {"a": "sssssss1.1", "b": "sssssss1.2", "c": "sssssss1.3", "p": "sssssss1.9"}

VALUE = calls.fingerprint("a")
OBJECT = calls.fingerprint("p")


def value_of(name: str, took: list[str]) -> str:
    return calls.fingerprint(calls.content(calls.mixture(name, took), 5))


class Graph:
    """A history: "b" takes "a" and the object "p", "c" takes "b"; all are recorded at 1.2."""

    def __init__(self, **of_a: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.add(0, "settings", lost_after_s=3.0, slot_losses_max=3, worker_losses_max=10)
        self.submit("p", {"value": OBJECT, "put": True}, recorded=True)
        self.submit("a", {"value": VALUE} | of_a)
        self.submit("b", {"size": 5, "data": None, "takes": ["a", "p"]})
        self.submit("c", {"size": 5, "data": None, "takes": ["b"]})
        self.add(1.2, "flushed", client="c")

    def submit(self, name: str, call: dict[str, Any], **about: Any) -> Graph:
        call = {"value": None, "error": None, "retries": 0} | call
        self.add(1, "submitting", client="c", mesh="main", calls={name: call})
        return self.add(1.1, "submitted", client="c", ids={name: IDS[name]}, **about)

    def add(self, t: float, event: str, **about: Any) -> Graph:
        self.events.append({"event": event, "t": t} | about)
        return self

    def run(
        self, name: str, began: float, how: str | None = "returned", pid: int = SLOT, **about: Any
    ) -> Graph:
        if name != "a":
            about = {"took": [VALUE, OBJECT] if name == "b" else [B_VALUE]} | about
        self.add(began, "began", key=name, pid=pid, worker=WORKER, **about)
        if how is not None:
            self.add(began + 0.1, "ended", key=name, pid=pid, worker=WORKER, how=how)
        return self

    def seen(self, t: float, name: str, state: str = "done", by: str = "c", **about: Any) -> Graph:
        if state == "done":
            values = {"a": VALUE, "b": B_VALUE, "c": C_VALUE, "p": OBJECT}
            about = {"value": values[name]} | about
        return self.add(t, "seen", client=by, key=name, id=IDS[name], state=state, **about)

    def unmet(self, name: str, why: str) -> Graph:
        return self.seen(5, name, "failed", error="DependencyFailed", text=f"task X: {why}")

    def spoiled(self, t: float, *names: str) -> Graph:
        about = {"role": "worker", "name": "worker-1", "mesh": "main", "pids": []}
        ids = [IDS[name] for name in names]
        return self.add(t, "fault", kind="spoil", **about, ids=ids, until=t + 0.01)

    @property
    def rules(self) -> list[str]:
        """The rules that are broken in it."""
        return [rule for rule, _, _ in check(sorted(self.events, key=lambda event: event["t"]))]


B_VALUE = value_of("b", [VALUE, OBJECT])
C_VALUE = value_of("c", [B_VALUE])


def well() -> Graph:
    """All ran once and were seen."""
    graph = Graph().run("a", 2).run("b", 2.2).run("c", 2.4)
    return graph.seen(2.3, "a").seen(2.35, "b").seen(2.6, "c").seen(2.6, "p")


def failed() -> Graph:
    """All but the object have failed, with "a"."""
    graph = Graph(value=None, error="ValueError").run("a", 2, "raised").seen(2.6, "p")
    return graph.seen(2.3, "a", "failed", error="ValueError", text="a")


def cancelled() -> Graph:
    """All but the object have failed, because "a" was cancelled."""
    about = {"client": "c", "key": "a", "running": False}
    graph = Graph().add(1.3, "cancelling", **about).add(1.4, "cancelled", **about, verdict=True)
    return graph.seen(2.3, "a", "cancelled").seen(2.6, "p")


def test_what_goes_well_breaks_no_rule() -> None:
    assert well().rules == []


# -- values, and when they are there --------------------------------------------------------------


def test_another_value_than_that_of_what_it_took_is_wrong() -> None:
    graph = Graph().run("a", 2).run("b", 2.2).run("c", 2.4).seen(3, "a").seen(3, "c").seen(3, "p")
    assert graph.seen(3, "b", value=value_of("b", [OBJECT, VALUE])).rules == ["wrong"]


def test_a_run_that_took_something_else_is_found() -> None:
    graph = Graph().run("a", 2).run("b", 2.2, took=[VALUE, VALUE]).run("c", 2.4)
    assert graph.seen(3, "a").seen(3, "b").seen(3, "c").seen(3, "p").rules == ["wrong input"]


def test_a_begin_before_the_end_of_an_input_is_found() -> None:
    graph = Graph().run("a", 2).run("b", 2.05, pid=OTHER).run("c", 2.4)
    assert graph.seen(3, "a").seen(3, "b").seen(3, "c").seen(3, "p").rules == ["early"]


# -- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("story", [failed, cancelled])
def test_what_takes_what_failed_or_was_cancelled_fails_for_that(story: Any) -> None:
    why = f"its input {IDS['a']} failed: ValueError: a"
    assert story().unmet("b", why).unmet("c", why).rules == []


def test_a_cause_that_is_not_the_first_is_found() -> None:
    why = f"its input {IDS['a']} failed: ValueError: a"
    other = f"its input {IDS['b']} failed: DependencyFailed"
    assert failed().unmet("b", why).unmet("c", other).rules == ["no cause"]


@pytest.mark.parametrize("named", ["a", "p"])
def test_who_fails_for_what_is_done_is_found(named: str) -> None:
    graph = Graph().run("a", 2).seen(2.3, "a").seen(2.6, "p")
    why = f"its input {IDS[named]} failed: ValueError: a"
    assert graph.unmet("b", why).unmet("c", why).rules == ["no cause", "no cause"]


def test_what_is_done_though_an_input_was_cancelled_is_found() -> None:
    graph = cancelled().run("a", 1.35).run("b", 2).run("c", 3)
    assert graph.seen(4, "b").seen(4, "c").rules == ["in spite"]


def test_what_must_fail_and_has_a_value_is_found() -> None:
    graph = failed().run("b", 3).run("c", 4).seen(5, "b").seen(5, "c")
    assert sorted({*graph.rules}) == ["early", "in spite", "wrong", "wrong input"]


def test_what_takes_what_never_ends_is_lost_with_it() -> None:
    graph = Graph().seen(2, "p").seen(9, "a", "open").seen(9, "b", "open").seen(9, "c", "open")
    assert graph.rules == ["lost", "lost", "lost"]


# -- what is lost ---------------------------------------------------------------------------------


def test_a_run_more_is_explained_if_what_was_made_is_spoiled() -> None:
    assert well().run("a", 9, pid=OTHER).rules == ["doubled"]
    assert well().spoiled(8, "b").run("a", 9, pid=OTHER).rules == ["doubled"]
    assert well().spoiled(8, "a").run("a", 9, pid=OTHER).rules == []
    assert well().run("a", 7, pid=OTHER).spoiled(8, "a").rules == ["doubled"]


def test_a_router_that_dies_takes_along_what_is_being_made_again() -> None:
    """That a lost result is being made again is in its memory alone."""
    graph = well().spoiled(8, "a").run("a", 9, pid=OTHER).run("a", 10)
    assert graph.rules == ["doubled"]
    killed = {"kind": "kill", "role": "router", "name": "router", "mesh": "main", "pids": [9]}
    graph.add(9.05, "fault", **killed, until=9.06)
    graph.add(9.5, "up", role="router", name="router", pid=10)
    assert graph.rules == []


def test_what_is_put_twice_may_be_one_and_is_asked_for_once() -> None:
    graph = well()
    graph.events = [e for e in graph.events if (e["event"], e.get("key")) != ("seen", "p")]
    assert graph.rules == ["lost"]
    again = {"value": OBJECT, "put": True, "error": None, "retries": 0}
    graph.add(1.05, "submitting", client="c", mesh="main", calls={"q": again})
    graph.add(1.15, "submitted", client="c", ids={"q": IDS["p"]}, recorded=True)
    graph.add(2.6, "seen", client="c", key="q", id=IDS["p"], state="done", value=OBJECT)
    assert graph.rules == []


def test_nothing_is_lost_that_was_not_spoiled() -> None:
    lost = {"state": "lost", "by": "auditor", "text": "it is gone"}
    assert well().seen(9, "a", **lost).rules == ["lost result"]
    assert well().spoiled(8, "a").seen(9, "a", **lost).rules == []


def test_it_is_made_again_for_who_has_its_future_unless_it_takes_what_nobody_can_make() -> None:
    lost = f"the result of {IDS['b']} is lost"
    for live in (True, False):
        graph = well().spoiled(8, "b").seen(9, "b", "lost", text=lost, live=live)
        assert graph.rules == ["not made again"] * live
    lost += f", and its input, the result of {IDS['p']}, is lost, and it was stored"
    assert well().spoiled(8, "b", "p").seen(9, "b", "lost", text=lost, live=True).rules == []


def test_who_takes_an_object_that_was_spoiled_may_fail() -> None:
    graph = Graph().run("a", 2).seen(2.3, "a").seen(2.6, "p")
    why = f"ResultLost: the result of {IDS['p']} is lost, and it was stored and not computed"
    assert graph.unmet("b", why).unmet("c", why).rules == ["no cause", "no cause"]
    assert graph.spoiled(3, "p").rules == []


def test_what_runs_once_only_is_not_made_again_and_excuses_who_takes_it() -> None:
    lost = f"the result of {IDS['a']} is lost, and its task was submitted with rerun=False"
    graph = Graph(rerun=False).run("a", 2).seen(2.3, "a").seen(2.6, "p").spoiled(3, "a")
    graph.unmet("b", lost).unmet("c", lost)
    assert graph.seen(5, "a", "lost", text=lost, live=True).rules == []
    assert graph.run("a", 9, pid=OTHER).rules == ["doubled"]


# -- the load, and the fault ----------------------------------------------------------------------


@pytest.mark.parametrize("shape", graphs.SHAPES)
def test_nobody_takes_what_comes_later(shape: str) -> None:
    maker, _ = graphs.SHAPES[shape]
    for seed in range(50):
        before: list[str] = []
        for step in maker(random.Random(seed), "main", "k"):
            taken = {take.key for call in step for take in call.takes if take.key}
            assert taken <= {*before}, seed
            assert len({call.function for call in step}) == 1, "they are one group"
            before += [call.key for call in step]
        assert len(set(before)) == len(before)


def store(folder: Path) -> dict[str, Path]:
    """The results in a store: id → file."""
    made = {}
    for counter in range(20):
        path = folder / "content" / stored_name(key("abcdefgh", counter), 1, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(99))
        made[show("abcdefgh", counter)] = path
    return made


def test_a_store_that_is_wiped_is_not_there_any_more(tmp_path: Path) -> None:
    made = store(tmp_path / "worker")
    assert wipe(tmp_path / "worker") == sorted(made)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("choice", range(6))
def test_what_is_spoiled_is_not_what_it_was_and_the_rest_is(choice: int, tmp_path: Path) -> None:
    whole = {id: (path, path.read_bytes()) for id, path in store(tmp_path).items()}

    ids = spoil(tmp_path / "content", choice)

    assert ids
    for id, (path, raw) in whole.items():
        assert (path.exists() and path.read_bytes() == raw) == (id not in ids), id
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) <= len(whole)
