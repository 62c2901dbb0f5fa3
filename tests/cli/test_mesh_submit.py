"""`mesh submit`, `mesh cancel`, `mesh wait`: work, from the shell."""

from __future__ import annotations

import ast
import json
import signal

import pytest
from shell import Shell

from mesh.task import parse


def test_submit_prints_the_id_and_the_task_goes_on(meshed: Shell) -> None:
    task = meshed.submit("math:factorial", 20)
    assert parse(task) is not None
    assert meshed.mesh("result", task).out == "2432902008176640000\n"
    said = meshed.mesh("submit", "--json", "math:factorial", 3).json
    assert said == {"schema": 1, "id": said["id"]}
    assert meshed.mesh("result", said["id"]).out == "6\n"


def test_arguments_are_json_else_text(meshed: Shell) -> None:
    given = ["1", "-2.5", "true", "null", '"7"', "[1, {}]", "T=2.3", "", "--json", "-k"]
    keywords = ["-k", "a=1", "-k", "b=x=y", "-k", "c="]
    done = meshed.mesh("submit", "--wait", *keywords, "sim:echo", *given)
    args = [1, -2.5, True, None, "7", [1, {}], "T=2.3", "", "--json", "-k"]
    assert ast.literal_eval(done.out) == [args, {"a": 1, "b": "x=y", "c": ""}]


def test_local_modules_go_along_and_never_run_as_their_old_self(meshed: Shell) -> None:
    module = meshed.work / "local_law.py"
    module.write_text("from sim import scaled\ndef law(x): return scaled(x) + 1\n")
    assert meshed.mesh("submit", "--wait", "local_law:law", 2).out == "21\n"
    module.write_text("def law(x): return x\n")
    assert meshed.mesh("submit", "--wait", "local_law:law", 2).out == "2\n"


def test_wait_prints_the_value_alone_on_stdout(meshed: Shell) -> None:
    done = meshed.mesh("submit", "--wait", "sim:text", "hello")
    assert done.out == "text hello\n"
    assert parse(done.err.strip()) is not None
    assert meshed.mesh("submit", "--wait", "--json", "sim:scaled", 4).json["value"] == 40
    assert "ValueError: no" in meshed.mesh("submit", "--wait", "sim:fail", "no", code=1).err


def test_ctrl_c_while_waiting_leaves_the_task_alone(meshed: Shell) -> None:
    held = meshed.held()
    waiting = meshed.start("submit", "--wait", *held.call)
    task = waiting.line("err")
    held.await_begin()
    waiting.send(signal.SIGINT)
    assert waiting.finish().code == 130
    held.let_go()
    assert meshed.mesh("result", task).out == "held\n"


def test_an_id_of_ones_own(meshed: Shell) -> None:
    task = meshed.submit("--id", "T=2.30", "sim:run", 2.3)
    assert meshed.submit("--id", "T=2.30", "sim:run", 2.3) == task
    assert meshed.mesh("result", "T=2.30").out == "{'x': 2.3, 'seed': 0}\n"
    other = meshed.mesh("submit", "--id", "T=2.30", "sim:run", 2.4, code=1)
    assert "T=2.30" in other.err and "other arguments" in other.err
    other = meshed.mesh("submit", "--id", "T=2.30", "--json", "sim:scaled", 1, code=1)
    assert other.json["error"]["type"] == "TaskConflict"


def test_options_of_a_task(meshed: Shell) -> None:
    late = meshed.mesh("submit", "--wait", "--time-limit", 0.2, "time:sleep", 30, code=1)
    assert "time_limit" in late.err
    counter = meshed.work / "counter"
    (meshed.work / "flaky.py").write_text(
        "def flaky(path):\n"
        "    with open(path, 'a') as file:\n"
        "        file.write('.')\n"
        "        assert file.tell() == 3\n"
        "    return 'done'\n"
    )
    command = ["submit", "--wait", "--priority", 5, "--retries", 2]
    command += ["--retry-on", "AssertionError", "--backoff", 0.01, "flaky:flaky", counter]
    assert meshed.mesh(*command).out == "done\n"


@pytest.mark.parametrize(
    "wrong",
    [
        ["sim"],
        ["sim:"],
        [":run"],
        ["no_such_module:run"],
        ["os.no_such_module:run"],
        ["sim:no_such_function"],
        ["sim:SCALE"],
        ["-k", "novalue", "sim:run"],
        ["-k", "not-a-name=1", "sim:run"],
        ["--retries", "many", "sim:run"],
        ["--retries", "-1", "sim:run"],
        ["--backoff", "-1", "sim:run"],
        ["--time-limit", "0", "sim:run"],
        ["--id", "", "sim:run"],
        [],
    ],
)
def test_what_cannot_be_submitted_is_a_usage_error(shell: Shell, wrong: list[str]) -> None:
    refused = shell.mesh("submit", *wrong, code=2)
    assert refused.out == "" and "Error: " in refused.err


def test_files_of_the_folder_are_not_taken_for_libraries(shell: Shell) -> None:
    up = shell.up()
    for name in ("click", "zmq", "msgpack", "queue", "subprocess"):
        (shell.work / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    assert shell.mesh("result", "last").out == "40\n"
    shell.mesh("stop")
    assert up.finish().code == 0


def test_a_module_that_does_not_import_shows_where(meshed: Shell) -> None:
    (meshed.work / "broken.py").write_text("x = 1 / 0\n")
    refused = meshed.mesh("submit", "broken:run", code=1)
    assert "x = 1 / 0" in refused.err and "ZeroDivisionError" in refused.err
    (meshed.work / "needy.py").write_text("import no_such_module\n")
    refused = meshed.mesh("submit", "needy:run", code=1)
    assert "no_such_module" in refused.err


def test_wait_for_tasks(meshed: Shell) -> None:
    good, bad = meshed.submit("sim:scaled", 1), meshed.submit("sim:fail", "no")
    assert meshed.mesh("wait", good).out == "1 done\n"
    assert meshed.mesh("wait", good, bad, code=1).out == "1 done, 1 failed\n"
    ends = meshed.mesh("wait", good, bad, "--json", code=1).json
    ended = {"done": 1, "failed": 1, "cancelled": 0, "expired": 0}
    assert ends == {"schema": 1, **ended, "causes": []}, "those of groups alone"
    held = meshed.held()
    task = meshed.submit(*held.call)
    late = meshed.mesh("wait", task, "--timeout", 0.2, "--json", code=5).json["error"]
    assert late["type"] == "TimeoutError" and task in late["message"]
    held.await_begin()
    held.let_go()
    meshed.mesh("wait", task)
    assert meshed.mesh("wait", "--slots", 2).out == "2 slots ready\n"
    assert meshed.mesh("wait", "--slots", 99, "--timeout", 0.2, code=5).out == ""


def test_wait_for_all_that_is_open(meshed: Shell) -> None:
    assert meshed.mesh("wait").out == "no task is open\n"
    held = meshed.held()
    tasks = [meshed.submit(*held.call), meshed.submit("sim:scaled", 1)]
    held.await_begin()
    assert "not ended" in meshed.mesh("wait", "--timeout", 0.2, code=5).err
    waiting = meshed.start("wait")
    held.let_go()
    assert waiting.finish().code == 0
    assert [meshed.mesh("result", task).code for task in tasks] == [0, 0]


def test_cancel(meshed: Shell) -> None:
    held = [meshed.held() for _ in range(2)]
    running = [meshed.submit(*each.call) for each in held]
    for each in held:
        each.await_begin()
    queued = meshed.submit("sim:scaled", 1)
    assert meshed.mesh("cancel", queued, running[0]).out == "cancelled 2 tasks\n"
    assert meshed.mesh("cancel", queued).out == "cancelled 0 tasks\n"
    gone = meshed.mesh("cancel", "nobody", running[1], code=6)  # the others are, all the same
    assert "nobody" in gone.err and gone.out == "cancelled 1 task\n"
    assert "cancelled" in meshed.mesh("result", running[1], code=1).err
    ends = meshed.mesh("wait", queued, *running, "--json", code=1).json
    assert ends["cancelled"] == 3
    assert meshed.mesh("cancel", queued, "--json").json == {"schema": 1, "cancelled": 0}


def test_a_task_that_asks_the_mesh_is_told_why_it_cannot(meshed: Shell) -> None:
    refused = meshed.mesh("status", code=1, MESH_SLOT="1")
    assert "a task cannot use a mesh" in refused.err
    assert json.loads(meshed.mesh("status", "--json", code=1, MESH_SLOT="1").out)["error"]
