"""The source census: measure every module of Python's standard library, be killed, and carry on.

    python examples/census.py

1. One task per module, some 1,700 of them, each under the name of its module as its id. This first
   run is a child process on a fresh folder, and gets SIGKILL half-way: no goodbye, no clean-up.
2. The same lines once more, on the same folder: what was done is found, the rest runs.
3. A table of what was measured. Files that can't be parsed (the test suite has some, by design)
   are findings, not failures.
4. Another process, the `mesh` command, fetches the figures of one module by its name.

The exit code is 0 if all of this adds up. With `--once --dir FOLDER` it is a plain census that you
may kill and start again yourself.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path

from mesh import Mesh

FETCHED = "email.message"
FIGURES = ("lines", "code", "functions", "classes", "imports", "branches", "depth")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BRANCHES = (*LOOPS, ast.If, ast.IfExp, ast.BoolOp, ast.ExceptHandler, ast.match_case)
BLOCKS = (*FUNCTIONS, *LOOPS, ast.ClassDef, ast.If, ast.Try, ast.With, ast.AsyncWith, ast.Match)


# The task --------------------------------------------------------------------------------------


def census_of(path: str) -> dict:
    """The figures of one source file, or the reason why it has none."""
    source = Path(path).read_bytes()
    lines = [line.strip() for line in source.splitlines()]
    code = sum(1 for line in lines if line and not line.startswith(b"#"))
    figures = {"lines": len(lines), "code": code, "problem": None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        return figures | {"problem": f"{type(error).__name__}: {error}"}
    return figures | shape_of(tree)


def shape_of(tree: ast.Module) -> dict:
    """What a module is made of, in numbers."""
    nodes = list(ast.walk(tree))

    def count(kinds: type | tuple[type, ...]) -> int:
        return sum(isinstance(node, kinds) for node in nodes)

    return {
        "functions": count(FUNCTIONS),
        "classes": count(ast.ClassDef),
        "imports": count(IMPORTS),
        "branches": count(BRANCHES),
        "depth": depth_of(tree),
    }


def depth_of(tree: ast.Module) -> int:
    """How many blocks stand inside each other at the deepest place."""
    deepest, pending = 0, [(tree, 0)]
    while pending:
        node, depth = pending.pop()
        deepest = max(deepest, depth)
        for child in ast.iter_child_nodes(node):
            opens = isinstance(child, BLOCKS) and not is_elif(child, node)
            pending.append((child, depth + opens))
    return deepest


def is_elif(child: ast.AST, parent: ast.AST) -> bool:
    """An `elif` is an `if` inside an `if` to the tree, but stands below it in the source."""
    both_if = isinstance(child, ast.If) and isinstance(parent, ast.If)
    return both_if and child.col_offset == parent.col_offset


# The census ------------------------------------------------------------------------------------


def standard_library() -> dict[str, str]:
    """The path of every module of the running interpreter's standard library, by its name."""
    root = Path(sysconfig.get_path("stdlib"))
    modules = {}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).with_suffix("").parts
        if not {"site-packages", "dist-packages"}.intersection(name):
            modules[".".join(name).removesuffix(".__init__")] = str(path)
    return modules


def census(folder: str, slots: int) -> tuple[dict[str, dict], int, int]:
    """Measure every module: the figures by name, how many were found and how many ran."""
    modules = standard_library()
    with Mesh(dir=folder, slots=slots) as m:
        group = m.submit_many(census_of, modules.values(), ids=list(modules), name="census")
        draw = progress_bar()
        for progress in group.progress():
            draw(progress.done + progress.failed, progress.total)
        rows = dict(zip(modules, group.results()))
        status = group.status()
    found, ran = status["found"], status["done"] - status["found"]
    print(f"found {found}, ran {ran}")
    return rows, found, ran


def killed_half_way(folder: str, slots: int) -> bool:
    """Run the census in a child process, and kill it when it says that half is done."""
    command = [sys.executable, __file__, "--once", "--dir", folder, "--slots", str(slots)]
    draw = progress_bar()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if said := re.match(r"(\d+) of (\d+)$", line.strip()):
                done, total = map(int, said.groups())
                draw(done, total)
                if 2 * done >= total:
                    child.kill()
                    return True
    return False


def fetch(folder: str, name: str) -> str:
    """What `mesh result NAME` prints: the result, long after the process that asked for it."""
    command = [sys.executable, "-m", "mesh", "result", name, "--dir", folder]
    print("\n$ mesh", *command[3:])
    return subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.strip()


# What you see ----------------------------------------------------------------------------------


def progress_bar() -> Callable[[int, int], None]:
    """A function that draws how far we are: a bar on a terminal, elsewhere a line per tenth."""
    if sys.stdout.isatty():
        return draw_bar
    told = -1

    def tell(done: int, total: int) -> None:
        nonlocal told
        if 10 * done // total > told:
            told = 10 * done // total
            print(f"{done} of {total}", flush=True)

    return tell


def draw_bar(done: int, total: int, width: int = 50) -> None:
    filled = width * done // total
    end = "\n" if done == total else ""
    print(f"\r{'█' * filled}{'░' * (width - filled)} {done} of {total}", end=end, flush=True)


def print_table(rows: dict[str, dict], top: int = 12) -> None:
    """The longest modules, the sum (or, for the depth, the maximum) of all, and what is odd."""
    measured = {name: row for name, row in rows.items() if not row["problem"]}
    longest = sorted(measured, key=lambda name: -measured[name]["lines"])[:top]
    width = max(map(len, longest))

    print(f"\n{'module':{width}}", *(f"{figure:>9}" for figure in FIGURES))
    for name in longest:
        print(f"{name:{width}}", *(f"{measured[name][figure]:>9,}" for figure in FIGURES))
    totals = [sum(row[figure] for row in measured.values()) for figure in FIGURES[:-1]]
    totals.append(max(row["depth"] for row in measured.values()))
    print(f"{f'all {len(measured):,}':{width}}", *(f"{total:>9,}" for total in totals))

    problems = {name: row["problem"] for name, row in rows.items() if row["problem"]}
    print(f"\n{len(problems)} can't be parsed:" if problems else "\nAll can be parsed.")
    for name, problem in problems.items():
        print(f"  {name}: {textwrap.shorten(problem, 70)}")


# The show --------------------------------------------------------------------------------------


def show(folder: str, slots: int) -> None:
    """The census, killed and carried on; raises SystemExit where something doesn't add up."""
    print("A first run, to be killed half-way:")
    if not killed_half_way(folder, slots):
        raise SystemExit("the first run ended before it could be killed")

    print("\nKilled. The same once more:")
    rows, found, ran = census(folder, slots)
    print_table(rows)
    if not (found > 0 and ran > 0 and found + ran == len(rows)):
        raise SystemExit(f"found {found} and ran {ran}: of {len(rows)}, both were to have a share")

    fetched = fetch(folder, FETCHED)
    print(fetched)
    if str(rows[FETCHED]["lines"]) not in fetched:
        raise SystemExit(f"these aren't the figures of {FETCHED}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dir", help="folder of the mesh (default: a temporary one)")
    # Two by default: on a wide machine all would be over before there was a half-way.
    parser.add_argument("--slots", type=int, default=2, help="tasks at a time (default: 2)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder")
    parser.add_argument("--once", action="store_true", help="one run that nobody kills")
    options = parser.parse_args()

    folder = options.dir or tempfile.mkdtemp(prefix="census-")
    if not options.once and Path(folder).exists() and any(Path(folder).iterdir()):
        parser.error(f"{folder} isn't empty: the show needs a fresh folder, or --once carries on")
    try:
        if options.once:
            rows, _, _ = census(folder, options.slots)
            print_table(rows)
        else:
            show(folder, options.slots)
    finally:
        if options.keep or options.dir:
            print(f"\nAll of it stays in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
