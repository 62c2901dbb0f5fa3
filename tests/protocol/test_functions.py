"""Functions ⇄ payloads, and the digest that tells whether a function still is what it was."""

from __future__ import annotations

import functools
import json
import math
import os
import pickle
import statistics
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mesh.errors import PayloadError, VersionMismatch
from mesh.protocol import functions
from mesh.protocol.code import code_of
from mesh.protocol.functions import find, load, name_of, pack
from mesh.protocol.version import PYTHON

Edition = Callable[[str], Callable[..., Any]]


@pytest.fixture
def edition(tmp_path: Path) -> Iterator[Edition]:
    """Makes editions of a user's sim.py: the function `f` of a source, as if freshly imported."""

    def make(source: str) -> Callable[..., Any]:
        module = types.ModuleType("sim")
        module.__file__ = str(tmp_path / "sim.py")
        sys.modules["sim"] = module
        exec(compile(textwrap.dedent(source), module.__file__, "exec"), vars(module))
        return module.f

    yield make
    sys.modules.pop("sim", None)


def run(script: str, *, cwd: Path, seed: str = "0") -> bytes:
    """What a script of a user's prints, run in a folder of theirs."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=cwd,
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
    ).stdout


# -- by name or by value ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [pow, math.sqrt, statistics.fmean, os.path.join, np.linalg.norm, Path.cwd]
)
def test_what_every_host_has_travels_by_name(function: Callable[..., Any]):
    packed = pack(function)

    assert packed.by_name
    assert len(packed.payload) < 60
    assert load(packed.parcel.call) == function


def test_what_only_this_process_has_travels_by_value(edition: Edition):
    for function in (edition("def f(x): return x + 1"), lambda x: x + 1):
        packed = pack(function)

        assert not packed.by_name
        assert load(packed.parcel.call)(1) == 2


def test_a_wrapper_that_took_the_name_of_an_installed_function_travels_by_value():
    @functools.wraps(math.sqrt)
    def logged(x: float) -> float:
        return 2 * math.sqrt(x)

    packed = pack(logged)

    assert not packed.by_name
    assert load(packed.parcel.call)(4.0) == 4.0


def test_partials_methods_and_callable_objects_travel():
    class Model:
        def __init__(self, n: int) -> None:
            self.n = n

        def step(self, x: int) -> int:
            return x * self.n

        def __call__(self, x: int) -> int:
            return x + self.n

    assert load(pack(functools.partial(pow, 2)).parcel.call)(10) == 1024
    assert load(pack(Model(3).step).parcel.call)(5) == 15
    assert load(pack(Model(3)).parcel.call)(5) == 8
    assert load(pack([3, 1, 2].index).parcel.call)(1) == 1


def test_cached_functions_travel_and_keep_what_they_have_found(edition: Edition):
    f = edition("""
        import functools
        @functools.lru_cache(maxsize=7)
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        @functools.cache
        def table(): return [1]
        def f(): return fib(6), fib.cache_parameters()["maxsize"], table() is table()
    """)
    f()
    call = pack(f).parcel.call
    del sys.modules["sim"]

    assert load(call)() == (8, 7, True)
    assert load(pack(functools.cache(abs)).parcel.call)(-1) == 1


def test_names_are_shown_as_the_command_line_takes_them():
    assert name_of(math.sqrt) == "math:sqrt"
    assert name_of(functools.partial(math.sqrt, 2)) == "math:sqrt"
    assert name_of(textwrap.TextWrapper.wrap) == "textwrap:TextWrapper.wrap"
    assert find("textwrap:TextWrapper.wrap") is textwrap.TextWrapper.wrap


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="takes a callable first, not 42"):
        pack(42)  # type: ignore[arg-type]


def test_a_function_that_cannot_be_pickled_is_named():
    lock = threading.Lock()

    def locked() -> Any:
        return lock

    with pytest.raises(PayloadError, match=r"locked cannot be pickled: .*make it inside"):
        pack(locked)


def test_a_payload_of_a_function_that_is_not_there_says_so():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load(b"Nno_such_module:f")
    with pytest.raises(AttributeError, match="no_such_function"):
        load(b"Nmath:no_such_function")


FOLDER = {
    "helpers.py": """
        import constants
        from package import inner

        def double(x):
            return constants.TWO * x

        class Model:
            def step(self, x):
                return inner.shift(x)
    """,
    "constants.py": "TWO = 2",
    "package/__init__.py": "",
    "package/inner.py": """
        from . import depth

        def shift(x):
            return x + depth.ONE
    """,
    "package/depth.py": "ONE = 1",
}


@pytest.mark.parametrize(
    "call",
    [
        "from helpers import double\ndef f(x): return double(x)",
        "import helpers\ndef f(x): return helpers.double(x)",
        "import helpers as h\ndef f(x): return [h.double(y) for y in [x]][0]",
        "from helpers import double as f",
        "from helpers import Model\ndef f(x): return Model().step(x) + x - 1",
        "import helpers\ndef f(x): return helpers.Model().step(x) + x - 1",
        "import package.inner\ndef f(x): return package.inner.shift(x) + x - 1",
        "import helpers\nf = helpers.Model().step; g = f\ndef f(x): return g(x) + x - 1",
        "import functools, helpers\nf = functools.partial(helpers.double)",
        "import functools, helpers\nf = functools.cache(helpers.double)",
    ],
)
def test_local_modules_travel_with_a_function(call: str, tmp_path: Path):
    # Given a script beside modules of its own
    for name, source in FOLDER.items():
        file = tmp_path / "here" / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(textwrap.dedent(source))
    packing = "import sys\nsys.path.insert(0, '')\nfrom mesh.protocol.functions import pack\n"
    packed = run(
        f"{packing}{call}\nsys.stdout.buffer.write(pack(f).parcel.call)", cwd=tmp_path / "here"
    )

    # When its function is loaded where these modules are not
    got = run(
        f"from mesh.protocol.functions import load\nprint(load({packed!r})(21))", cwd=tmp_path
    )

    # Then it works all the same
    assert got.strip() == b"42"


# -- the code digest -------------------------------------------------------------------------

BASE = """
    LIMIT = 10

    def helper(x):
        return x + 1

    class Model:
        def step(self, x):
            return x - 1

    def f(x, *, factor=2):
        "Old words."
        def inner(y):
            "Old inner words."
            return y in {"a", "b"}
        return helper(x) * factor + Model().step(x) if x < LIMIT else inner(x)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Old words.", "New words."),
        ("Old inner words.", "New inner words, quite a few of them."),
        ('"Old words."', '"""Old\n        words, on lines."""'),
        ("    LIMIT = 10", "\n\n\n    # a comment\n    LIMIT = 10"),
        ("        return helper(x)", "        # why\n        return helper(x)"),
        ("return x + 1", "return (\n            x\n            + 1\n        )"),
        ("    class Model:", "    def unused(x):\n        return 7\n\n    class Model:"),
        ("def step(self, x):", "def step(self, x):\n            'Words of a method.'"),
    ],
    ids=lambda text: text.strip()[:20],
)
def test_words_and_lines_do_not_change_the_code(edition: Edition, old: str, new: str):
    assert BASE.count(old) == 1

    assert code_of(edition(BASE)) == code_of(edition(BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* factor", "+ factor"),
        ("factor=2", "factor=3"),
        ('{"a", "b"}', '{"a", "c"}'),
        ("return x + 1", "return x + 2"),
        ("return x + 1", "return x - 1"),
        ("return x - 1", "return x - 2"),
        ("LIMIT = 10", "LIMIT = 11"),
        ("x < LIMIT", "x <= LIMIT"),
        ("x, *, factor", "x, factor"),
        ("def f(x, *", "def f(x, /, *"),
        ("inner(x)", "inner(1)"),
    ],
    ids=lambda text: text.strip()[:20],
)
def test_another_code_has_another_digest(edition: Edition, old: str, new: str):
    assert BASE.count(old) >= 1

    assert code_of(edition(BASE)) != code_of(edition(BASE.replace(old, new)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "def f(x):\n  try:\n    g(x)\n  except OSError:\n    h(x)\n  k(x)",
            "def f(x):\n  try:\n    g(x)\n    k(x)\n  except OSError:\n    h(x)",
        ),
        ("def f(x): return 1", "def f(x): return 1.0"),
        ("def f(x): return 1", "def f(x): return True"),
        ("def f(x): return x", "async def f(x): return x"),
        ("def f(x): return 'a'", "def f(x): return b'a'"),
        ("def f(x): return x.real", "def f(x): return x.imag"),
        ("def f(a, b=1): return a", "def f(b, a=1): return b"),
        ("def g(n): return lambda: n\nf = g(1)", "def g(n): return lambda: n\nf = g(2)"),
        ("N = (1, 2)\ndef f(): return N", "N = (1, 3)\ndef f(): return N"),
        ("N = {'L': 64}\ndef f(): return N", "N = {'L': 128}\ndef f(): return N"),
        (
            "import functools\ndef g(x, y): return x\nf = functools.partial(g, 1)",
            "import functools\ndef g(x, y): return x\nf = functools.partial(g, 2)",
        ),
        (
            "import functools\ndef w(g): return functools.wraps(g)(lambda x: g(x))\n"
            "@w\ndef f(x): return 1",
            "import functools\ndef w(g): return functools.wraps(g)(lambda x: -g(x))\n"
            "@w\ndef f(x): return 1",
        ),
        (
            "def h(x): return 1\nclass M:\n  def f(self): return h(2)\nf = M().f",
            "def h(x): return 2\nclass M:\n  def f(self): return h(2)\nf = M().f",
        ),
        (
            "class M:\n  def __init__(self, n): self.n = n\n  def f(self): return 1\nf = M(1).f",
            "class M:\n  def __init__(self, n): self.n = n\n  def f(self): return 1\nf = M(2).f",
        ),
        (
            "class M:\n  def __init__(self): self.n = 1\n  def __call__(self): return 1\nf = M()",
            "class M:\n  def __init__(self): self.n = 1\n  def __call__(self): return 2\nf = M()",
        ),
        (
            "def a(n): return 0 if n else b(n)\ndef b(n): return a(n - 1)\nf = a",
            "def a(n): return 0 if n else b(n)\ndef b(n): return a(n - 2)\nf = a",
        ),
    ],
    ids=[
        "what the try covers", "a float", "a bool", "async", "bytes", "an attribute",
        "parameters swapped", "a closure's value", "a global", "a global dict",
        "a partial's argument", "a wrapper", "what a method calls", "a method's object",
        "a callable object", "two that call each other",
    ],
)  # fmt: skip
def test_what_looks_much_alike_is_told_apart(edition: Edition, one: str, other: str):
    assert code_of(edition(one)) == code_of(edition(one))
    assert code_of(edition(one)) != code_of(edition(other))


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nLOCK = threading.Lock()\ndef f(x): return LOCK",
        "import random\nRNG = random.Random()\ndef f(x): return RNG.random()",
        "import logging\nlog = logging.getLogger('sim')\ndef f(x): log.info(x)",
        "def f(n): return n and f(n - 1)",
        "N = []\nN.append(N)\ndef f(): return N",
    ],
    ids=["a lock", "random numbers", "a logger", "itself", "a list that contains itself"],
)
def test_what_a_function_merely_uses_does_not_change_its_code(edition: Edition, source: str):
    assert code_of(edition(source)) == code_of(edition(source))


def test_a_called_helper_in_another_module_counts(tmp_path: Path, edition: Edition):
    for number, same in ((1, True), (2, False)):
        digests = []
        for returned in (1, number):
            helpers = types.ModuleType("helpers")
            helpers.__file__ = str(tmp_path / "helpers.py")
            sys.modules["helpers"] = helpers
            exec(f"def g(x): return {returned}\ndef unused(): {number}", vars(helpers))
            digests.append(code_of(edition("import helpers\ndef f(x): return helpers.g(x)")))

        assert (digests[0] == digests[1]) is same
    del sys.modules["helpers"]


SCRIPT = """
    import functools, json, math, os
    from dataclasses import dataclass
    from enum import Enum
    from mesh.protocol.code import code_of

    WORDS = {"alpha", "beta", "gamma", "delta"}
    TABLE = {word: len(word) for word in WORDS}

    class Colour(Enum):
        RED = "r"
        BLUE = "b"

    @dataclass
    class Model:
        names: frozenset = frozenset(WORDS)
        def step(self, x): return x in {"a", "b", "c"}

    def constants(x): return x in {"spin", "up", "down"} or x in (None, ..., 1j, b"x")
    def defaults(x, names=frozenset(WORDS), colour=Colour.RED): return x in names
    def globals_(x): return x in WORDS or TABLE
    def nested(x): return [y for y in x if y in {"p", "q", "r"}] + (lambda: {"s", "t", "u"})()
    def classes(x): return Model().step(x), Colour(x)
    def recursive(x): return recursive(x - 1) or classes(x)

    print(json.dumps([code_of(f).hex() for f in (
        constants, defaults, globals_, nested, classes, recursive, Model().step,
        functools.partial(constants, WORDS), functools.partial(math.sqrt, 2), math.sqrt,
        lambda x: x in {"one", "two", "three"},
    )]))
"""


def test_the_digest_is_the_same_in_every_process(tmp_path: Path):
    seeds = ("0", "1", "4242", "random")

    digests = [json.loads(run(SCRIPT, cwd=tmp_path, seed=seed)) for seed in seeds]

    for each in zip(*digests):
        assert len(set(each)) == 1
    assert len(set(digests[0])) == len(digests[0])


def test_a_loaded_function_has_the_code_it_had(edition: Edition):
    function = edition(BASE)

    assert code_of(load(pack(function).parcel.call)) == code_of(function)


def test_the_payload_is_a_plain_pickle_behind_a_letter_and_the_python_it_is_for(edition: Edition):
    packed = pack(edition("def f(x): return x + 1"))

    assert packed.parcel.call[:3] == b"V" + bytes(sys.version_info[:2])
    assert pickle.loads(packed.parcel.call[3:])(1) == 2
    assert len(packed.digest) == functions.DIGEST_BYTES
    assert len(packed.code) == functions.CODE_BYTES


def test_the_bytecode_of_another_python_is_refused_by_name(edition: Edition):
    call = pack(edition("def f(x): return x + 1")).parcel.call
    other = call[:1] + bytes([3, 99]) + call[3:]

    with pytest.raises(VersionMismatch, match=rf"by Python 3\.99, and this is Python {PYTHON}"):
        load(other)
