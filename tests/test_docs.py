"""What the documents show is true: blocks and examples run, every command shows an example.

In the README and in docs, `<!-- run -->` before a fenced block has it run here, and
`<!-- output -->` before the next one says what it must print; `<!-- file NAME -->` puts a block
into a file. Blocks run in their order, those of one document in one folder. The reference is what
docs/reference.py writes; links lead somewhere.
"""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import mesh
from mesh.errors import BY_NAME
from mesh.task import parse

ROOT = Path(__file__).resolve().parents[1]
MARKED_BLOCK = re.compile(r"^<!-- (run|output|file \S+) -->\n+```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
#: What differs each time: task ids (k3f9x2m7.17), mesh ids, process numbers.
VARIES = [
    (re.compile(r"\b(?=\d*[a-z])[0-9a-z]{8}\.\d+\b"), "ID"),
    (re.compile(r"^mesh [0-9a-z]{8}\b", re.M), "mesh ID"),
    (re.compile(r"^process  \d+", re.M), "process  PID"),
]


class Block(NamedTuple):
    """A block of a document: its source, and the file it goes into or the language it is run in;
    and what it prints, if the document says so."""

    source: str
    file: str | None
    language: str
    output: str | None


def blocks_of(document: Path) -> list[Block]:
    """The blocks of a document that something is done with."""
    blocks = MARKED_BLOCK.findall(document.read_text(encoding="utf-8"))
    return [
        Block(
            source,
            None if mark == "run" else mark.removeprefix("file "),
            language,
            after[2] if after and after[0] == "output" else None,
        )
        for (mark, language, source), after in zip_longest(blocks, blocks[1:])
        if mark != "output"
    ]


#: All these blocks, by the document that they are in: its name, and which of its blocks.
BLOCKS = {
    (path.relative_to(ROOT).as_posix(), nth): block
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    for nth, block in enumerate(blocks_of(path))
}


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
def newcomers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """The folder of all blocks of a document; a mesh that one of them left running is stopped."""
    folders: dict[str, Path] = {}

    def folder_of(document: str) -> Path:
        if document not in folders:
            folders[document] = tmp_path_factory.mktemp("newcomer")
        return folders[document]

    yield folder_of
    stop = [sys.executable, "-m", "mesh", "stop"]
    for folder in folders.values():
        subprocess.run(stop, cwd=folder, env=environment(folder), capture_output=True, timeout=60)


@pytest.mark.system
@pytest.mark.parametrize("where", BLOCKS, ids="{0[0]}-{0[1]}".format)
def test_blocks(where: tuple[str, int], newcomers: Callable[[str], Path]):
    block = BLOCKS[where]
    newcomer = newcomers(where[0])
    if block.file is not None:
        (newcomer / block.file).write_text(block.source, encoding="utf-8")
        return
    if block.language == "python":
        script = newcomer / "script.py"
        script.write_text(block.source, encoding="utf-8")
        command = [sys.executable, str(script)]
    else:
        command = ["bash", "-euo", "pipefail", "-c", block.source]
    printed = printed_by(command, newcomer, timeout_s=120)
    if block.output is not None:
        assert steady(printed.replace(f"{newcomer}/", "")) == steady(block.output)


def test_readme_runs_python_and_shell():
    languages = {BLOCKS[where].language for where in BLOCKS if where[0] == "README.md"}
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


@pytest.mark.system
def test_example_compress(tmp_path: Path):
    compress = ["sh", str(ROOT / "examples" / "compress.sh"), str(tmp_path)]
    printed = printed_by(compress, tmp_path, timeout_s=240)
    killed = re.search(r"^killed after (\d+) of them\nran (\d+) more$", printed, re.M)
    count = re.match(r"(\d+) files in /", printed)
    assert killed and count, printed
    assert int(killed[1]) >= 40 and int(killed[1]) + int(killed[2]) == int(count[1])


def test_every_command_has_help_with_an_example():
    from mesh.cli import main

    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        told = f"{command.help or ''}\n{command.epilog or ''}"
        assert f"mesh {name}" in told, f"the help of mesh {name} shows no example"


# -- the reference, and links ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages() -> dict[Path, Callable[[], str]]:
    """The pages of the reference, and what writes each."""
    found: dict[Path, Callable[[], str]] = runpy.run_path(str(ROOT / "docs/reference.py"))["PAGES"]
    return found


def test_the_reference_is_what_the_code_says(pages: dict[Path, Callable[[], str]]):
    stale = [path.name for path, page in pages.items() if path.read_text("utf-8") != page()]
    assert stale == [], "a docstring or a command's help has changed: python docs/reference.py"


def test_the_reference_tells_of_every_public_name(pages: dict[Path, Callable[[], str]]):
    told = set(re.findall(r"^### (\S+)$", "".join(page() for page in pages.values()), re.M))
    assert {"task", "MeshError", *mesh._HOMES, *BY_NAME} - told == set()


def anchors_of(document: Path) -> set[str]:
    """What a link may name in a document, as GitHub makes it of headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "mesh").rglob("*.md")]
    broken = [
        f"{document.relative_to(ROOT)}: {path}#{anchor}"
        for document in documents
        for path, anchor in LINK.findall(document.read_text(encoding="utf-8"))
        if "://" not in path
        and not (
            (target := (document.parent / path if path else document)).exists()
            and (not anchor or anchor in anchors_of(target))
        )
    ]
    assert broken == []
