"""The house rules of mesh/: imports go downwards, libraries stay at home, files stay short."""

import ast
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[1] / "mesh"
FILES = {path.relative_to(HOUSE).as_posix(): path for path in sorted(HOUSE.rglob("*.py"))}
FLOORS = [
    ("errors", "broken", "task", "options"),
    ("protocol",),
    ("core",),
    ("store", "transport"),  # siblings that never import each other
    ("processes",),
    ("client",),
    ("launch", "__init__"),
    ("cli", "__main__"),
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Who alone may import a library.
ONLY = {
    "zmq": ("transport/", "processes/", "client/"),
    "lmdb": ("store/",),
    "msgpack": ("protocol/codec.py", "store/"),
    "click": ("cli/",),
    "mesh": (),  # relative imports only: users have a mesh.py of their own
}
# The core has no sockets, clock, disk, chance or threads.
IMPURE = {"socket", "select", "selectors", "asyncio", "threading", "subprocess"}
IMPURE |= {"time", "os", "random", "secrets"}
FILE_LINES_MAX, FUNCTION_LINES_MAX = 450, 70

each_file = pytest.mark.parametrize("name", FILES)


def nodes(name: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))))


def test_every_room_is_on_a_floor():
    assert {name.removesuffix(".py").split("/")[0] for name in FILES} == set(FLOOR_OF)


@each_file
def test_imports_go_downwards(name: str):
    *here, file = name.removesuffix(".py").split("/")
    own = here[0] if here else file
    for node in nodes(name):
        if not (isinstance(node, ast.ImportFrom) and node.level):
            continue
        above = here[: len(here) + 1 - node.level]
        for alias in node.names:
            room = [*above, *(node.module or alias.name).split(".")][0]
            room = room if room in FLOOR_OF else "__init__"  # a name in mesh/__init__.py
            assert FLOOR_OF[room] <= FLOOR_OF[own], f"line {node.lineno} imports {room}"
            assert {room, own} != {"store", "transport"}, f"line {node.lineno} imports {room}"


@each_file
def test_libraries_stay_at_home(name: str):
    for node in nodes(name):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module]
        for library in (module.split(".")[0] for module in modules):
            at_home = library not in ONLY or name.startswith(ONLY[library])
            assert at_home, f"line {node.lineno} imports {library}"
            pure = not name.startswith("core/") or library not in IMPURE
            assert pure, f"line {node.lineno} imports {library}"


@each_file
def test_it_reads_well(name: str):
    module, *rest = nodes(name)
    assert ast.get_docstring(module), "a module says its duty"
    assert Path(name).stem not in {"utils", "common"}, "a file is a noun of ours, not a bucket"
    lines = FILES[name].read_text(encoding="utf-8").count("\n")
    assert lines <= FILE_LINES_MAX, f"{lines} lines: is it still one noun?"
    for node in rest:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is long"
        bare = isinstance(node, ast.ExceptHandler) and node.type is None
        assert not bare, f"line {getattr(node, 'lineno', 0)}: a bare except"
