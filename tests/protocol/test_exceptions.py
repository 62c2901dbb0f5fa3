"""An exception arrives as the class that was raised, with what it had, whatever makes it."""

from __future__ import annotations

import sys

import pytest

from mesh.protocol import exceptions, payload


class Plain(ValueError):
    pass


class Measured(Exception):
    def __init__(self, value: float, unit: str) -> None:
        super().__init__(f"{value} {unit}")
        self.value = value


class Keyed(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


class NoFile(FileNotFoundError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "not there", path)


class Own(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("made of two")
        self.both = one, two

    def __reduce__(self) -> object:
        return Own, self.both


class Mute(Exception):
    def __init__(self) -> None:
        super().__init__()
        self.file = sys.stdout.buffer if hasattr(sys.stdout, "buffer") else open(0)  # noqa: SIM115
        self.held = memoryview(b"that nothing can pickle")


def arrived(error: BaseException) -> BaseException:
    loaded = payload.load(exceptions.dump(error, 10_000))
    assert type(loaded) is type(error) and str(loaded) == str(error)
    return loaded


def test_the_constructor_of_its_class_may_take_anything():
    assert arrived(Plain("a", 1)).args == ("a", 1)
    assert arrived(Measured(1.5, "T")).args == ("1.5 T",)
    assert arrived(Measured(1.5, "T")).value == 1.5  # type: ignore[attr-defined]
    assert arrived(Keyed(code=7)).code == 7  # type: ignore[attr-defined]
    missing = arrived(NoFile("/nowhere"))
    assert isinstance(missing, NoFile) and (missing.errno, missing.filename) == (2, "/nowhere")
    assert arrived(Own(1, 2)).both == (1, 2)  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups of exceptions came with 3.11")
def test_those_in_a_group_as_well():
    group = arrived(
        ExceptionGroup("two", [ValueError("a"), ExceptionGroup("in", [Measured(1.5, "T")])])  # noqa: F821
    )

    first, inner = group.exceptions  # type: ignore[attr-defined]
    assert type(first) is ValueError and inner.exceptions[0].value == 1.5


def test_what_was_noted_and_no_traceback_comes_along():
    try:
        raise Measured(1.5, "T")
    except Measured as error:
        error.note = "a note"  # type: ignore[attr-defined]
        caught = error

    loaded = arrived(caught)
    assert loaded.note == "a note" and loaded.__traceback__ is None  # type: ignore[attr-defined]


def test_one_that_cannot_travel_or_is_too_large_is_nothing():
    assert exceptions.dump(Mute(), 10_000) == b""
    assert exceptions.dump(Plain("x" * 20_000), 10_000) == b""
