"""The user's code is the code that runs: his own modules travel, and none runs as its old self."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from leftovers import Leftovers
from scripts import Script

from mesh import Mesh


def write(folder: Path, **files: str) -> None:
    """Files of a user's: `a__b` is b.py in the package a."""
    for name, text in files.items():
        file = folder / (name.replace("__", "/").replace("/init", "/__init__") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text) + "\n")


@pytest.fixture
def elsewhere(nothing_left_behind: Leftovers, tmp_path: Path) -> Iterator[str]:
    """The access file of a mesh with one slot that knows nothing of any script."""
    with Mesh(dir=tmp_path / "elsewhere", slots=1) as m:
        yield str(m.folder / "access.json")


def test_what_a_function_imports_when_it_runs_travels_with_it(
    script: type[Script], elsewhere: str, tmp_path: Path
) -> None:
    write(
        tmp_path,
        model__init="from .core import Model, run",
        model__core="""
            import threading
            from . import scale
            lock = threading.Lock()      # cannot be pickled
            class Model:
                def __init__(self, x): self.x = scale.FACTOR * x
            def run(model):
                from .late import total  # which imports us again
                with lock:
                    return total(model)
            """,
        model__scale="FACTOR = 10",
        model__late="""
            from .core import Model
            import tables
            def total(model):
                assert isinstance(model, Model)
                return model.x + tables.ONE
            """,
        tables="ONE = 1",
    )
    (tmp_path / "mesh").mkdir()  # where a user keeps his meshes
    printed = script(
        """
        from mesh import Mesh
        from model import Model, run

        def here(model):
            import model as package
            return package.run(model), type(model) is package.Model

        with Mesh() as m:
            print(m.submit(run, Model(2)).result())
            print(m.submit(here, Model(3)).result())
            print(type(m.submit(Model, 1).result()) is Model)
        """,
        MESH_ACCESS=elsewhere,
    ).finish()

    assert printed.splitlines() == ["21", "(31, True)", "True"]


def test_an_edited_module_never_runs_as_its_old_self(
    script: type[Script], elsewhere: str, tmp_path: Path
) -> None:
    write(tmp_path, late="X = 1", early="X = 1\ndef f(): return X", named="X = 1")
    source = """
        import importlib, os, sys, time
        from mesh import Mesh
        import early

        def lately():
            import late
            return late.X, os.getpid()

        def by_name(name="named"):
            return importlib.import_module(name).X

        def edit(name, x):
            with open(f"{name}.py", "a") as file:
                file.write(f"X = {x}\\n")

        with Mesh(slots=1) if "embedded" in sys.argv else Mesh() as m:
            (x, first), (y, again) = [m.submit(lately).result() for _ in "12"]
            print(x, y, first == again)
            edit("late", 22)
            x, other = m.submit(lately).result()
            print(x, first == other)

            print(m.submit(early.f).result())
            edit("early", 22)
            print(m.submit(early.f).result())        # as a call here would be
            importlib.reload(early)
            print(m.submit(early.f).result())

            exec("def cell(): return 1")
            print(m.submit(cell).result())
            exec("def cell(): return 22")
            print(m.submit(cell).result())

            if "embedded" in sys.argv:               # it runs here: these files are there, too
                print(m.submit(by_name).result())
                edit("named", 22)
                print(m.submit(by_name).result())
        """
    expected = ["1 1 True", "22 False", "1", "1", "22", "1", "22"]

    assert script(source, MESH_ACCESS=elsewhere).finish().splitlines() == expected

    write(tmp_path, late="X = 1", early="X = 1\ndef f(): return X")
    embedded = script(source, "embedded").finish().splitlines()
    assert embedded == [*expected, "1", "22"]


def test_two_users_have_different_versions_of_one_module_on_one_mesh(
    script: type[Script], elsewhere: str, tmp_path: Path
) -> None:
    source = """
        import sys
        from mesh import Mesh
        sys.path.insert(0, sys.argv[1])

        def f():
            import theirs
            return theirs.NAME

        with Mesh() as m:
            print(*m.submit_many(lambda _: f(), range(3)).results())
        """
    for user in ("ann", "bob"):
        write(tmp_path / user, theirs=f"NAME = {user!r}")

    for user in ("ann", "bob", "ann"):
        run = script(source, tmp_path / user, MESH_ACCESS=elsewhere)
        assert run.finish() == f"{user} {user} {user}\n"


def test_modules_stay_here_where_that_is_wanted(
    script: type[Script], elsewhere: str, tmp_path: Path
) -> None:
    write(tmp_path, only="def f(): return 1")
    printed = script(
        """
        from mesh import Mesh
        import only

        with Mesh(code=False) as m:
            try:
                m.submit(only.f).result()
            except Exception as error:
                print(type(error).__name__, error)
            print(m.submit(lambda: 2).result())
        """,
        MESH_ACCESS=elsewhere,
    ).finish()

    assert "PayloadError" in printed and "No module named 'only'" in printed
    assert printed.endswith("\n2\n")
