"""What newcomers do, and what they read then: the offender, the place, the next step."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from scripts import Script

from mesh import Mesh, PayloadError
from mesh.client import heavy


def add(x: int, y: int = 0) -> int:
    return x + y


def divide(n: int) -> float:
    return 1 / n


def returns_a_lock() -> object:
    return {"guard": threading.Lock()}


async def is_a_generator() -> AsyncIterator[int]:
    yield 1


class Model:
    scale = staticmethod(lambda x: 2 * x)  # pickle alone cannot take it along

    def __init__(self) -> None:
        self.guard: Any = None

    def run(self, x: int) -> int:
        return int(self.scale(x))


def test_what_needs_no_care_elsewhere_needs_none_here(mesh: Mesh) -> None:
    assert mesh.submit(Model().run, 3).result(20) == 6
    assert mesh.submit_many(add, (x for x in range(3))).results(timeout=20) == [0, 1, 2]
    assert mesh.submit(print, "only printed").result(20) is None


def test_what_cannot_travel_is_named(mesh: Mesh) -> None:
    model = Model()
    model.guard = threading.Lock()
    with pytest.raises(PayloadError, match=r"Model\.run.*`self\.guard` \(lock\).*make it inside"):
        mesh.submit(model.run, 3)
    with pytest.raises(PayloadError, match=r"argument 1 \(generator\).*make it a list"):
        mesh.submit(sum, (x for x in range(3)))
    with pytest.raises(PayloadError, match=r"argument 1 \(Mesh\).*a mesh stays with its script"):
        mesh.submit(add, mesh)
    with pytest.raises(PayloadError, match=r"stays with its script.*`mesh` \(Mesh\)"):
        mesh.submit(lambda: mesh.submit(add, 1))


def test_what_cannot_come_back_is_named(mesh: Mesh) -> None:
    with pytest.raises(PayloadError, match=r"its `\['guard'\]` \(lock\); return plain data"):
        mesh.submit(returns_a_lock).result(20)
    with pytest.raises(PayloadError, match=r"generator.*make it a list"):
        mesh.submit(lambda: (x for x in "ab")).result(20)
    with pytest.raises(PayloadError, match=r"async_generator.*collect it, \[x async for"):
        mesh.submit(is_a_generator).result(20)


def test_a_call_that_is_not_quite_one(mesh: Mesh) -> None:
    with pytest.raises(TypeError, match=r"not 3: write submit\(f, x\), not submit\(f\(x\)\)"):
        mesh.submit(add(1, 2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="series 1 is 3: for a single call"):
        mesh.submit_many(add, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no argument 'retries'.*m\.options\(retries="):
        mesh.submit(add, 1, retries=3)
    with pytest.raises(TypeError, match=r"no argument 'retries'.*m\.options\(retries="):
        mesh.submit_many(add, [1], retries=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no argument 'y'.*goes into kwargs="):
        mesh.options(retries=3).submit_many(add, [1], y=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no argument 'y'.*functools\.partial"):
        mesh.map(add, [1], y=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="at least one iterable"):
        mesh.map(add)
    with pytest.raises(ValueError, match="id cannot be 'last': that means"):
        mesh.options(id="last")
    with pytest.raises(ValueError, match="an id cannot be 'last'"):
        mesh.submit_many(add, [1], ids=["last"])
    with pytest.raises(ValueError, match="name= cannot be 'last'"):
        mesh.submit_many(add, [1], name="last")
    with pytest.raises(TypeError, match="'slot': did you mean 'slots'"):
        Mesh(slot=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'n_jobs': slots= is how many"):
        Mesh(n_jobs=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'time_limt' \(did you mean 'time_limit'\?\)"):
        mesh.options(time_limt=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        mesh.submit(add, 1, z=2).result(20)


def test_a_task_that_asks_or_opens_a_mesh(mesh: Mesh) -> None:
    with pytest.raises(EOFError, match="no standard input; ask before you submit"):
        mesh.submit(input, "your name? ").result(20)
    with pytest.raises(RuntimeError, match="a task cannot open a mesh of its own"):
        mesh.submit(lambda: Mesh()).result(20)


def test_a_mesh_that_was_closed() -> None:
    with Mesh(slots=1) as m:
        future = m.submit(add, 1)
    for late in (lambda: m.submit(add, 1), lambda: m.status(), lambda: m.future("last")):
        with pytest.raises(RuntimeError, match="was closed: open another Mesh"):
            late()
    assert future.result(20) == 1


def test_a_function_that_takes_much_along_is_told_of_once_by_name(
    mesh: Mesh, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, few = bytearray(heavy.HEAVY_BYTES), bytearray(10)

    def look_up(i: int) -> int:
        return table[i] + few[i]

    assert mesh.submit(look_up, 1).result(20) == mesh.submit(look_up, 2).result(20) == 0
    [said] = [line for line in capsys.readouterr().err.splitlines() if "takes" in line]
    assert "look_up takes 10 MB along, of which most is `table`" in said
    assert "m.put(table)" in said

    monkeypatch.setattr(heavy, "FUNCTION_BYTES_MAX", heavy.HEAVY_BYTES)
    with pytest.raises(PayloadError, match=r"`table`.*of more than 10 MB are not sent"):
        mesh.submit(look_up, 3)


def test_a_script_without_a_main_guard(script: Callable[..., Script]) -> None:
    running = script(
        """
        from mesh import Mesh
        def double(x):
            return 2 * x
        print(Mesh(slots=1).submit(double, 3).result())
        """
    )
    assert running.finish() == "6\n"


def test_failures_that_nobody_has_looked_at_are_told_of_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said() -> list[str]:
        return [line for line in capsys.readouterr().err.splitlines() if "nobody" in line]

    with Mesh(slots=2) as m:
        m.submit(divide, 0)
        m.submit_many(divide, [0, 1, 0])
    [line] = said()
    assert "3 tasks failed" in line and "3× ZeroDivisionError test_mistakes.py:" in line

    with Mesh(slots=2) as m:
        seen = [m.submit(divide, 0), m.submit(divide, 1)]
        assert type(seen[0].exception(20)) is ZeroDivisionError
        group = m.submit_many(divide, [0, 1])
        assert len(group.results(errors="skip", timeout=20)) == 1
        m.submit(divide, 0).add_done_callback(lambda future: future.exception())
    assert said() == []

    with pytest.raises(KeyError), Mesh(slots=2) as m:
        m.submit(divide, 0).wait(20)
        raise KeyError("this is what the user is to look at")
    assert said() == []
