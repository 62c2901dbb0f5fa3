"""Jobs of `mesh run`: what is known of them later, in which order they are printed, and how many
are on their way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pytest

from mesh import Command, CommandFailed, TaskTimeout
from mesh.cli.feed import KEPT_MAX, Feed
from mesh.cli.joblog import COLUMNS, Joblog
from mesh.cli.jobs import Ending, Job
from mesh.cli.jobtree import Jobtree
from mesh.cli.live import LivePrinter
from mesh.cli.plan import Plan
from mesh.cli.printer import Printer
from mesh.cli.rows import Sources

DONE = Ending(b"out\n", b"err\n", 0, None, "n1", 12.5, 0.25, None)
FAILED = DONE._replace(exit_code=3, error=CommandFailed("no"))
KILLED = DONE._replace(exit_code=None, signal=9, error=CommandFailed("no"))
LATE = Ending(b"", b"", None, None, "", 0.0, 0.0, TaskTimeout("late"))


def job(value: str, number: int = 1, command: str = "") -> Job:
    return Job(number, (value,), command or f"echo {value}")


def test_a_job_log_has_the_columns_of_gnu_parallel(tmp_path: Path) -> None:
    log = Joblog(str(tmp_path / "log"), goes_on=False)
    for number, ending in enumerate([DONE, FAILED, KILLED, LATE], 1):
        log.write(job("a\nb", number), ending)
    log.close()
    assert (tmp_path / "log").read_text().split("\n") == [
        "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand",
        "1\tn1\t12.500\t     0.250\t0\t4\t0\t0\techo a\0b",
        "2\tn1\t12.500\t     0.250\t0\t4\t3\t0\techo a\0b",
        "3\tn1\t12.500\t     0.250\t0\t4\t-1\t9\techo a\0b",
        "4\t-\t0.000\t     0.000\t0\t0\t-1\t0\techo a\0b",
        "",
    ]


def test_a_job_log_knows_jobs_by_their_commands_each_as_often_as_it_ended(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = Joblog(str(file), goes_on=False)
    for number, value, ending in [(1, "a", DONE), (2, "a", DONE), (3, "b", FAILED), (4, "c", LATE)]:
        log.write(job(value, number), ending)
    log.write(job("c", 4), DONE)  # it was run again
    log.close()
    with file.open("ab") as cut:
        cut.write(b"5\tn1\t12.500\t0.25\t0\t4\t0\t0\techo d")  # and the next line cut short

    again = Joblog(str(file), goes_on=True)
    assert [again.ended(job("a", 9), well=True) for _ in range(3)] == [True, True, False]
    assert not again.ended(job("b"), well=True) and again.ended(job("b"), well=False)
    assert again.ended(job("c"), well=True) and not again.ended(job("c"), well=False)
    assert not again.ended(job("d"), well=True)
    again.write(job("d", 5), DONE)
    again.close()
    assert file.read_bytes().endswith(b"echo d\n5\tn1\t12.500\t     0.250\t0\t4\t0\t0\techo d\n")
    assert file.read_text().count(COLUMNS[-1]) == 1


def test_a_file_that_is_no_job_log(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("dear diary\n")
    with pytest.raises(click.UsageError, match="is no job log"):
        Joblog(str(tmp_path / "log"), goes_on=True)
    with pytest.raises(click.UsageError, match="No such file"):
        Joblog(str(tmp_path / "no" / "log"), goes_on=False)


def test_a_tree_of_results(tmp_path: Path) -> None:
    tree = Jobtree(str(tmp_path))
    two = Job(7, ("a/b", "..\\"), "echo two")
    tree.write(two, DONE)
    place = tmp_path / "1" / "a\\_b" / "2" / "..\\\\"
    assert {each.name: each.read_text() for each in place.iterdir()} == {
        "stdout": "out\n",
        "stderr": "err\n",
        "seq": "7",
        "command": "echo two",
        "exit": "0\n",
    }
    assert tree.ended(two, well=True) and not tree.ended(two, well=False)
    assert not tree.ended(two._replace(command="echo 2"), well=True)
    tree.write(two, LATE)
    assert (place / "exit").read_text() == "TaskTimeout\n"
    assert tree.ended(two, well=False) and not tree.ended(two, well=True)
    (place / "exit").unlink()  # killed in between
    assert not tree.ended(two, well=False)


def test_any_value_has_a_folder_of_its_own(tmp_path: Path) -> None:
    tree = Jobtree(str(tmp_path))
    values = ["", ".", "..", "\\", "\\.", "/", "\\_", "x" * 300, "x" * 299, "\udcff"]
    for value in values:
        tree.write(Job(1, (value,), value), DONE)
    assert all(tree.ended(Job(1, (value,), value), well=True) for value in values)
    assert len([*(tmp_path / "1").iterdir()]) == len(values) and len([*tmp_path.iterdir()]) == 1


def plan(values: list[str], records: list[Any], **how: bool) -> list[tuple[int, str]]:
    how = {"resume": False, "retry_failed": False} | how
    made = Plan(Command("echo"), Sources([[[(v,) for v in values]]]), records, **how)
    found = [(each.number, each.values[0]) for each in made.jobs(lambda job: "x" in job.values)]
    assert made.total() == len(found)
    return found


def test_what_is_run_again(tmp_path: Path) -> None:
    tree = Jobtree(str(tmp_path))
    tree.write(job("a"), DONE)
    tree.write(job("b"), FAILED)
    assert plan(["a", "b", "c"], [tree]) == [(1, "a"), (2, "b"), (3, "c")]
    assert plan(["c", "b", "a"], [tree], resume=True) == [(1, "c"), (2, "b")]
    assert plan(["c", "b", "a", "x"], [tree], retry_failed=True) == [(2, "b"), (4, "x")]
    with pytest.raises(click.ClickException, match="input 2: a NUL in it"):
        plan(["a", "\0"], [])


def test_a_job_is_known_by_command_and_values_not_by_its_number() -> None:
    first = job("a", 1).id("here")
    assert first == job("a", 2).id("here")
    others = [job("a").id("there"), job("b", 1, "echo a").id("here")]
    others.append(job("a")._replace(nth=2).id("here"))
    assert len({first, *others}) == 4


@pytest.mark.parametrize("in_order", [True, False])
def test_what_is_printed_when(in_order: bool, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    printer = Printer(in_order=in_order, tagged=True, aside=nullcontext)
    for nth in (1, 0, 2):
        printer.take(
            nth, f"t.{nth}", job(str(nth)), DONE._replace(stdout=b"x\ny\rz\n" if nth else b"end")
        )
    one, two = b"1\tx\n1\ty\rz\n", b"2\tx\n2\ty\rz\n"
    out, err = capfdbinary.readouterr()
    assert out == (b"0\tend" + one if in_order else one + b"0\tend") + two
    assert sorted(err.splitlines()) == [b"0\terr", b"1\terr", b"2\terr"] and printer.printed == 3


def test_lines_are_printed_as_they_come(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    printer = LivePrinter(tagged=True, aside=nullcontext)
    printer.show("t.1", "early\n")  # before it was said which job that is
    printer.begin("t.0", job("a"))
    printer.show("t.0", "one\ntwo\n")
    printer.begin("t.1", job("b"))
    printer.take(1, "t.1", job("b"), DONE)
    printer.begin("t.2", job("c"))
    printer.take(2, "t.2", job("c"), DONE)  # nothing was heard of it while it ran
    out, err = capfdbinary.readouterr()
    assert out == b"a\tone\na\ttwo\nb\tearly\nc\tout\n" and err == b"c\terr\n"
    assert printer.printed == 2


class Task(Future):
    """The future of a task, as far as a feed needs one."""

    id = "k3f9x2m7.1"


class Endless:
    """Jobs without an end, and their futures."""

    def __init__(self) -> None:
        self.futures: list[Task] = []
        self.grown = threading.Condition()

    def jobs(self) -> Iterator[Job]:
        return (job(str(number), number) for number in itertools.count(1))

    def submit(self, job: Job) -> Any:
        with self.grown:
            self.futures.append(Task())
            self.grown.notify()
        return self.futures[-1]

    def await_begun(self, count: int) -> None:
        with self.grown:
            assert self.grown.wait_for(lambda: len(self.futures) >= count, 60)


def test_no_more_are_begun_than_may_be_on_their_way() -> None:
    endless = Endless()
    feed = Feed(endless.jobs(), endless.submit, lambda: 3)
    turns = feed.turns(0.01)
    assert next(turns) is None
    endless.await_begun(3)
    assert feed.begun == 3
    endless.futures[1].set_result("b")
    turn = next(filter(None, turns))
    assert (turn.nth, turn.job.values) == (1, ("2",)) and turn.future.result() == "b"
    endless.await_begun(4)

    feed.stop()
    assert all(future.done() for future in endless.futures)
    assert sorted(turn.nth for turn in turns if turn) == [0, 2, 3] and feed.begun == 4


def test_what_is_kept_for_its_turn_is_bounded() -> None:
    endless = Endless()
    asked = 0

    def at_once() -> int:
        nonlocal asked
        with endless.grown:
            asked += 1
            endless.grown.notify()
        return 2

    feed = Feed(endless.jobs(), endless.submit, at_once)
    turns = feed.turns(60)
    next_one = threading.Thread(target=next, args=[turns])
    next_one.start()
    for nth in range(1, KEPT_MAX + 2):  # all but the first end, and nobody is done with any
        endless.await_begun(nth + 1)
        endless.futures[nth].set_result(None)
        if nth == 1:
            next_one.join()
        else:
            next(turns)
    with endless.grown:
        before = asked
    while asked < before + 2:  # it has looked again whether one more may be begun
        feed.settled(0)
        with endless.grown:
            endless.grown.wait_for(lambda: asked >= before + 2, 0.05)
    assert feed.begun == KEPT_MAX + 2
    feed.settled(1)
    endless.await_begun(KEPT_MAX + 3)
    feed.stop()


def test_a_source_that_breaks_is_told() -> None:
    def broken() -> Iterator[Job]:
        yield job("a")
        raise click.ClickException("input 2")

    done = Task()
    done.set_result(None)
    feed = Feed(broken(), lambda job: done, lambda: 9)  # type: ignore[arg-type,return-value]
    with pytest.raises(click.ClickException, match="input 2"):
        list(feed.turns(60))
