"""Which modules travel as sources."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import PayloadError
from mesh.protocol import modules, parcel
from mesh.protocol.functions import pack
from mesh.protocol.parcel import Parcel


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is looked for modules in, and forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def imports(text: str, package: str = "") -> list[str]:
    return list(modules.imported(compile(text, "f.py", "exec"), package))


def test_all_that_may_be_a_module_is_told_also_of_what_is_defined_inside():
    text = "import a.b\ndef f():\n  from c import d\n  class X:\n    def g(self): import e as h"

    assert imports(text) == ["a", "a.b", "c", "c.d", "e"]


def test_relative_imports_are_from_their_package():
    assert imports("from . import a", "p.q") == ["p", "p.q", "p.q.a"]
    assert imports("from ..b import c", "p.q") == ["p", "p.b", "p.b.c"]
    assert imports("from ...b import c", "p.q") == []


def test_local_modules_are_found_with_what_they_import_and_nothing_is_run(project: Path):
    (project / "first.py").write_text("import second, os, numpy, no_such\nraise SystemExit\n")
    (project / "second.py").write_text("def f():\n    import folder.inner\n")
    (project / "folder").mkdir()  # without an __init__.py
    (project / "folder" / "inner.py").write_text("import broken")
    (project / "broken.py").write_text("def")

    found = modules.sources(["first", "numpy.linalg", "json", "mesh"], "f")

    assert list(found) == ["broken", "first", "folder", "folder.inner", "second"]
    assert found["first"].path == str(project / "first.py")
    assert (found["folder"].is_package, found["folder"].text) == (True, b"")


def test_what_is_installed_to_be_edited_is_local(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    lab = tmp_path_factory.mktemp("src") / "lab.py"
    lab.write_text("X = 1")

    class Finder:  # as setuptools leaves one in site-packages
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            return spec_from_file_location(name, lab) if name == "lab" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])

    assert list(modules.sources(["lab"], "f")) == ["lab"]
    importlib.import_module("lab")
    assert list(modules.sources(["lab"], "f")) == ["lab"]


def test_an_edit_is_another_source(project: Path):
    file = project / "edited.py"
    file.write_text("X = 1")
    old = modules.sources(["edited"], "f")["edited"]
    assert modules.sources(["edited"], "f")["edited"] is old

    file.write_text("X = 22")

    new = modules.sources(["edited"], "f")["edited"]
    assert (new.text, new.digest == old.digest) == (b"X = 22", False)


def test_too_much_is_refused_and_named(project: Path, monkeypatch: pytest.MonkeyPatch):
    (project / "table.py").write_text("X = '" + "x" * 2000 + "'")
    (project / "small.py").write_text("import table")
    monkeypatch.setattr(modules, "SOURCES_BYTES_MAX", 1000)

    with pytest.raises(PayloadError, match=r"function f imports .* largest table, small: install"):
        modules.sources(["small"], "f")


def test_an_edit_of_what_is_imported_later_is_another_code(project: Path):
    def f() -> Any:
        import later

        return later.X

    codes = set()
    for text in ("X = 1", "X = 1  # a remark", "X = 22"):
        (project / "later.py").write_text(text)
        codes.add(pack(f).code)

    assert len(codes) == 2


def test_a_parcel_comes_back(project: Path):
    (project / "a.py").write_text("X = 'é'")
    sent = Parcel(b"Nmath:sqrt", "/home/é", modules.sources(["a"], "f"))

    got = parcel.parse(parcel.pack(sent))

    assert got == sent and bytes(got.call) == sent.call


@pytest.mark.parametrize("raw", [b"", b"\xff" * 5, b"\x00\x00\x09\x00\x00\x00garbage!!N"])
def test_what_is_no_parcel_is_told_so(raw: bytes):
    with pytest.raises(PayloadError, match="in no parcel"):
        parcel.parse(raw)
