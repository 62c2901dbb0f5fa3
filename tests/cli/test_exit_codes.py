"""Which end is which exit code, and what is said of it."""

from __future__ import annotations

import concurrent.futures
import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from shell import Shell

from mesh import errors
from mesh.cli import COMMANDS, exits, main


def a_file(shell: Shell, content: str, mode: int = 0o600) -> Path:
    file = shell.work / "access.json"
    file.write_text(content)
    file.chmod(mode)
    return file


A_MESH = json.dumps({"mesh": "k3f9x2m7", "addresses": ["ipc:///nowhere/router.sock"], "pid": 1})


def test_usage_errors(shell: Shell) -> None:
    for command in (["--no-such-flag"], ["no-such-command"], ["status", "--no-such-flag"]):
        wrong = shell.mesh(*command, code=2)
        assert "Usage: mesh" in wrong.err and wrong.out == ""
    assert "Did you mean 'result'?" in shell.mesh("reslut", "last", code=2).err
    error = shell.mesh("status", "--no-such-flag", "--json", code=2).json["error"]
    assert error["type"] == "NoSuchOption" and "--no-such-flag" in error["message"]
    both = shell.mesh("status", "--name", "a", "--dir", "b", "--json", code=2).json["error"]
    assert "give one" in both["message"]


def test_without_a_command_and_for_help(shell: Shell) -> None:
    assert shell.mesh("--help").out.startswith("Usage: mesh")
    assert shell.mesh("--version").out.startswith("mesh, version ")
    for command in COMMANDS:
        assert f"mesh {command}" in shell.mesh(command, "-h").out


@pytest.mark.parametrize("command", ["status", "stop", "workers", "tasks", "wait", "worker"])
def test_no_router(shell: Shell, command: str) -> None:
    done = shell.mesh(command, code=3)
    assert "no access file" in done.err and "mesh up" in done.err
    error = shell.mesh(command, "--access", "nobody", "--json", code=3).json["error"]
    assert error["type"] == "RouterUnreachable" and "nobody.json" in error["message"]
    assert "mesh up" in error["hint"]


def test_nobody_at_the_address(shell: Shell) -> None:
    file = a_file(shell, A_MESH)
    assert "ipc:///nowhere" in shell.mesh("status", code=3, MESH_ACCESS=str(file)).err


@pytest.mark.parametrize("content", ["", "garbage", "[]", "{}", '{"mesh": "x", "addresses": [7]}'])
def test_an_access_file_that_is_none(shell: Shell, content: str) -> None:
    file = a_file(shell, content)
    assert "is no access file" in shell.mesh("status", "--access", file, code=4).err
    assert "is no access file" in shell.mesh("up", "--access", file, code=4).err
    assert file.read_text() == content


def test_an_access_file_that_others_can_read(shell: Shell) -> None:
    file = a_file(shell, A_MESH, 0o644)
    error = shell.mesh("status", "--access", file, "--json", code=4).json["error"]
    assert error["type"] == "AccessDenied" and "chmod 600" in error["message"]


def test_an_access_file_that_cannot_be_read(shell: Shell) -> None:
    folder = shell.work / "access.json"
    folder.mkdir()
    assert "cannot be read" in shell.mesh("status", "--access", shell.work, code=4).err
    if os.getuid():
        folder.rmdir()
        file = a_file(shell, A_MESH, 0o000)
        assert "cannot be read" in shell.mesh("status", "--access", file, code=4).err


def test_an_access_file_that_cannot_be_written(shell: Shell) -> None:
    (shell.work / "file").write_text("")
    access = shell.work / "file" / "access.json"
    refused = shell.mesh("up", "--dir", shell.folder / "m", "--access", access, code=4)
    assert str(access) in refused.err
    assert shell.left() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (click.UsageError("no"), 2),
        (errors.RouterUnreachable("no"), 3),
        (errors.AccessDenied("no"), 4),
        (TimeoutError("no"), 5),
        (concurrent.futures.TimeoutError("no"), 5),
        (errors.TaskNotFound("no"), 6),
        (errors.ResultLost("no"), 6),
        (errors.ResultUnreachable("no"), 6),
        (errors.StoreError("no"), 1),
        (errors.TaskConflict("no"), 1),
        (errors.VersionMismatch("no"), 1),
        (exits.TaskEnded("k3f9x2m7.17", errors.WorkerLost("no")), 1),
        (exits.TaskEnded("k3f9x2m7.17", concurrent.futures.CancelledError()), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (ZeroDivisionError("no"), 70),
    ],
)
def test_the_code_of_an_error(error: BaseException, code: int) -> None:
    assert exits.code_of(error) == code


@pytest.mark.parametrize("kind", [*errors.BY_NAME.values(), errors.MeshError])
def test_no_error_of_ours_is_a_bug(kind: type[errors.MeshError]) -> None:
    assert exits.code_of(kind("no")) != 70


def test_a_bug_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from mesh.cli import place

    monkeypatch.setattr(place.Place, "join", lambda self: {}["no"])
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 70
    assert "KeyError: 'no'" in done.stderr and "please report it" in done.stderr
    done = CliRunner().invoke(main, ["status", "--json"])
    assert json.loads(done.stdout)["error"]["type"] == "KeyError"


def test_help_does_not_load_what_it_does_not_need(shell: Shell) -> None:
    loaded = shell.python(
        """
        import sys
        import mesh.cli
        for name in mesh.cli.COMMANDS:
            mesh.cli.main.get_command(None, name)
        print(*sys.modules)
        """
    ).split()
    assert not {"zmq", "lmdb", "msgpack", "cloudpickle"} & set(loaded)
