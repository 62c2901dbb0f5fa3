"""What the documents show is true: README blocks and examples run, every command shows an example.

In the README, `<!-- run -->` before a fenced block has it run here, and `<!-- output -->` before
the next one says what it must print. Blocks run in their order, in one folder.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import click
import pytest

from mesh.task import parse

ROOT = Path(__file__).resolve().parents[1]
MARKED_BLOCK = re.compile(r"^<!-- (run|output) -->\n+```(\w*)\n(.*?)^```$", re.M | re.S)
#: What differs each time: task ids (k3f9x2m7.17), mesh ids, process numbers.
VARIES = [
    (re.compile(r"\b(?=\d*[a-z])[0-9a-z]{8}\.\d+\b"), "ID"),
    (re.compile(r"^mesh [0-9a-z]{8}\b", re.M), "mesh ID"),
    (re.compile(r"^process  \d+", re.M), "process  PID"),
]


def readme_blocks() -> list[tuple[str, str, str | None]]:
    """Language and source of each block to run, and what it prints if the README says so."""
    blocks = MARKED_BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    return [
        (language, source, after[2] if after and after[0] == "output" else None)
        for (mark, language, source), after in zip_longest(blocks, blocks[1:])
        if mark == "run"
    ]


def test_the_ids_that_are_shown_can_occur():
    files = [ROOT / "README.md", *(ROOT / "mesh").rglob("*.py"), *(ROOT / "mesh").rglob("*.md")]
    shown = [id for file in files for id in VARIES[0][0].findall(file.read_text(encoding="utf-8"))]

    assert len(shown) > 10 and [id for id in shown if parse(id) is None] == []


def steady(text: str) -> str:
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return text.strip()


def environment(home: Path) -> dict[str, str]:
    """A newcomer's: an empty home, no mesh about, and the commands of this interpreter."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"HOME": str(home), "PATH": path}
    env.pop("MESH_ACCESS", None)
    return env


def printed_by(command: list[str], folder: Path, timeout_s: float) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of all README blocks; a mesh that one of them left running is stopped."""
    folder = tmp_path_factory.mktemp("newcomer")
    yield folder
    stop = [sys.executable, "-m", "mesh", "stop"]
    subprocess.run(stop, cwd=folder, env=environment(folder), capture_output=True, timeout=60)


@pytest.mark.system
@pytest.mark.parametrize("block", readme_blocks())
def test_readme(block: tuple[str, str, str | None], newcomer: Path):
    language, source, expected = block
    if language == "python":
        script = newcomer / "script.py"
        script.write_text(source, encoding="utf-8")
        command = [sys.executable, str(script)]
    else:
        command = ["bash", "-euo", "pipefail", "-c", source]
    printed = printed_by(command, newcomer, timeout_s=60)
    if expected is not None:
        assert steady(printed.replace(f"{newcomer}/", "")) == steady(expected)


def test_readme_runs_python_and_shell():
    languages = {language for language, _, _ in readme_blocks()}
    assert "python" in languages and len(languages) > 1


@pytest.mark.system
def test_example_census(tmp_path: Path):
    census = [sys.executable, str(ROOT / "examples" / "census.py")]
    printed = printed_by(census, tmp_path, timeout_s=240)
    assert re.search(r"^found \d+, ran \d+$", printed, re.M), printed
    assert "$ mesh result email.message" in printed


@pytest.mark.system
def test_example_sweep(tmp_path: Path):
    sweep = [sys.executable, str(ROOT / "examples" / "sweep.py"), "--quick"]
    printed_by(sweep, tmp_path, timeout_s=60)
    assert (tmp_path / "ising.png").read_bytes().startswith(b"\x89PNG")


def test_every_command_has_help_with_an_example():
    from mesh.cli import main

    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        told = f"{command.help or ''}\n{command.epilog or ''}"
        assert f"mesh {name}" in told, f"the help of mesh {name} shows no example"
