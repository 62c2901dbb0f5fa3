"""Writes the reference from what the code says of itself: docstrings, and the help of commands.

    python docs/reference.py    writes docs/reference/python.md and docs/reference/commands.md

Nothing is said here: what is wrong in the reference is wrong in a docstring. `tests/test_docs.py`
compares the pages with what this would write. What a page holds does not depend on the version of
Python or of click.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

FOLDER = Path(__file__).parent / "reference"

#: The page of Python: its headings, and what is told of under each.
PYTHON = {
    "A mesh": ["client.mesh:Mesh", "client.view:View"],
    "What comes back": [
        "client.future:Future",
        "client.story:Story",
        "client.group:Group",
        "client.account:Progress",
        "client.failures:Failures",
        "client.failures:Cause",
        "client.failures:Errors",
        "client.kept:Kept",
    ],
    "What is submitted": [
        "client.task:task",
        "client.command:Command",
        "client.command:Completed",
    ],
    "Inside a task": ["processes.running:current", "processes.running:Running"],
    "Workers elsewhere": [
        "launch.start:Start",
        "launch.ssh:Ssh",
        "launch.batch:Batch",
        "launch.slurm:Slurm",
        "launch.pbs:Pbs",
        "launch.mpi:Mpi",
        "launch.local:Local",
    ],
}

#: What other parts of Mesh call, and no script: by class.
INTERNAL = {
    "Mesh": {"submitter", "unfinished", "renew_keys", "dial"},
    "Future": {"meaning", "reference", "outcome", "settle", "is_older", "fail", "stop"},
    "Group": {
        "key", "task_of", "alias_of", "members", "reference", "value", "outcome", "value_in_time",
        "ends_within", "end", "ended", "take", "give_up", "own_left", "is_older", "raw",
        "open_spans", "fail", "is_own", "first_failed", "error_of", "catch_up", "look",
        "stop", "listen", "unlisten", "broken",
    },
    "Kept": {"keep", "value", "keep_group", "has", "members"},
    "Running": {"end"},
    "View": {"shutdown"},
}  # fmt: skip

#: No script makes these.
MADE_BY_MESH = {"View", "Future", "Group", "Failures", "Errors", "Running"}

#: Of these a script needs no more than what they take.
WITHOUT_MEMBERS = {"Start", "Ssh", "Batch", "Slurm", "Pbs", "Mpi", "Local", "Story", "Errors"}

#: A heading within a docstring, which an indented part follows.
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$")

#: An entry of such a part: one name or several, and what is said of it.
ENTRY = re.compile(r"^([\w*][\w.*, ]*): +(.*)$")

SIGNATURE_CHARS = 88


def page_of_python() -> str:
    """The reference of the Python API."""
    sections = {
        heading: [object_at(place) for place in places] for heading, places in PYTHON.items()
    }
    errors = import_module("mesh.errors")
    tree = textwrap.dedent(errors.__doc__.partition("\n\n")[2].partition("\n\nA message")[0])
    lines = head("Python", "docstrings")
    for heading, objects in sections.items():
        lines += [f"## {heading}", ""]
        for each in objects:
            lines += told(each)
    lines += ["## All errors", "", "```", tree, "```", ""]
    broken = import_module("mesh.broken").InitializerFailed
    for error in (errors.MeshError, *errors.BY_NAME.values(), broken, errors.Failure):
        lines += [f"### {error.__name__}", "", *markdown(own_doc(error))]
    return linked("\n".join(lines).rstrip() + "\n")


def page_of_commands() -> str:
    """The reference of the command line."""
    from mesh.cli import main

    lines = head("Commands", "the help of each, which `mesh COMMAND --help` prints")
    for path, command in commands(main, "mesh"):
        lines += [f"## {path}", "", f"    {usage(path, command)}", "", *help_of(command)]
        options = [each for each in command.params if isinstance(each, click.Option)]
        options = [each for each in options if not each.hidden]
        if options:
            lines += ["| option | |", "| --- | --- |", *map(row, options), ""]
    return "\n".join(lines).rstrip() + "\n"


def head(title: str, source: str) -> list[str]:
    return [
        f"# Reference: {title}",
        "",
        f"Written by `python docs/reference.py` from {source}. Do not edit: change it there.",
        "",
    ]


# -- Python --------------------------------------------------------------------------------------


def object_at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"mesh.{module}"), name)


def told(each: Any) -> list[str]:
    """A class with its members, or a function."""
    name = each.__name__
    lines = [f"### {name}", ""]
    constructor = vars(each).get("__init__") if inspect.isclass(each) else each
    if constructor is not None and name not in MADE_BY_MESH:
        lines += signature(name, each)
    lines += markdown(own_doc(each))
    if inspect.isclass(each) and name not in WITHOUT_MEMBERS:
        for member, found in members(each):
            lines += [f"#### {name}.{member}", ""]
            if not isinstance(found, property) and callable(found):
                lines += signature(f"{name}.{member}", found)
            lines += markdown(own_doc(found))
    return lines


def own_doc(each: Any) -> str:
    """What is said of it; of a class that says nothing itself, nothing is inherited."""
    return inspect.cleandoc(each.__doc__ or "")


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """What a script may ask of an object: as far as Mesh's own classes say it, in their order."""
    seen = set(INTERNAL.get(cls.__name__, ()))
    for owner in cls.__mro__:
        if owner.__module__.startswith("mesh."):
            for name, found in vars(owner).items():
                is_told = callable(found) or isinstance(found, property) or hasattr(found, "func")
                if not name.startswith("_") and name not in seen and is_told and found.__doc__:
                    yield name, found
                seen.add(name)


def signature(name: str, each: Callable[..., Any]) -> list[str]:
    """How it is called, on a line for each parameter where one does not suffice."""
    about = inspect.signature(each)
    shown: list[str] = []
    kind = None
    for nth, parameter in enumerate(about.parameters.values()):
        if nth == 0 and parameter.name == "self":
            continue
        if kind == parameter.POSITIONAL_ONLY != parameter.kind:
            shown.append("/")
        is_first_named = parameter.kind == parameter.KEYWORD_ONLY != kind
        if is_first_named and kind != parameter.VAR_POSITIONAL:
            shown.append("*")
        kind = parameter.kind
        shown.append(one_of(parameter))
    gives = about.return_annotation
    end = "" if inspect.isclass(each) or gives is about.empty else f" -> {type_of(gives)}"
    line = f"{name}({', '.join(shown)}){end}"
    if len(line) > SIGNATURE_CHARS:
        line = "\n".join([f"{name}(", *(f"    {each}," for each in shown), f"){end}"])
    return ["```python", line, "```", ""]


def one_of(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not parameter.empty:
        text += f": {type_of(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        default = parameter.default
        is_plain = isinstance(default, (int, float, tuple, type(None)))
        shown = f'"{default}"' if isinstance(default, str) else repr(default) if is_plain else "..."
        text += f" = {shown}"
    return text


def type_of(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "Any")


def markdown(doc: str) -> list[str]:
    """A docstring: paragraphs as they are, the entries of its parts as lists, examples as code."""
    lines: list[str] = []
    section = ""
    for line in [*doc.replace("``", "`").splitlines(), ""]:
        inner = line[4:]
        found = SECTION.match(line)
        if found is not None:
            section = found[1]
            lines += ["```pycon"] if section == "Example" else [f"**{section}**", ""]
        elif section and line and not line.startswith("    "):  # the part is over
            section, lines = "", [*closed(lines, section), "", line]
        elif section == "Example":
            lines.append(inner)
        elif section and (entry := ENTRY.match(inner)) and section != "Returns":
            names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
            lines.append(f"- {names}: {entry[2]}")
        elif section and section != "Returns":
            lines.append(f"  {inner.strip()}".rstrip())
        elif section:
            lines.append(inner.strip())
        else:
            lines.append(line)
    return [*closed(lines, section), ""]


def closed(lines: list[str], section: str) -> list[str]:
    """What was written, without the empty lines at its end, and with the end of an example."""
    while lines and not lines[-1]:
        lines = lines[:-1]
    return [*lines, "```"] if section == "Example" else lines


def linked(page: str) -> str:
    """Names of what has a heading of its own lead there."""
    known = set(re.findall(r"^####? (\S+)$", page, re.M))

    def lead(found: re.Match[str]) -> str:
        name = found[1]
        anchor = name.lower().replace(".", "")
        return f"[`{name}`](#{anchor})" if name in known else found[0]

    parts = re.split(r"(^```.*?^```$)", page, flags=re.M | re.S)
    return "".join(
        part if part.startswith("```") else re.sub(r"`([A-Za-z_.]+)`", lead, part) for part in parts
    )


# -- commands ------------------------------------------------------------------------------------


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Each command by all of its words, a family before its members."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def usage(path: str, command: click.Command) -> str:
    words = [path]
    if any(isinstance(each, click.Option) for each in command.params):
        words.append("[OPTIONS]")
    if isinstance(command, click.Group):
        return " ".join([*words, "COMMAND"])
    if command.options_metavar not in (None, "[OPTIONS]"):
        words[1:] = [str(command.options_metavar)]
    for each in command.params:
        if isinstance(each, click.Argument):
            name = each.metavar or str(each.name).upper()
            name = name if each.required or name.startswith("[") else f"[{name}]"
            words.append(name if each.nargs == 1 or name.endswith("...") else f"{name}...")
    return " ".join(words)


def help_of(command: click.Command) -> list[str]:
    """What a command says of itself: paragraphs, and examples as they stand."""
    lines: list[str] = []
    for text in (command.help or "", command.epilog or ""):
        for paragraph in inspect.cleandoc(text).split("\n\n"):
            if paragraph.startswith("\b"):
                lines += [*(f"    {line}" for line in paragraph.splitlines()[1:]), ""]
            elif paragraph:
                lines += [paragraph, ""]
    return lines


def row(option: click.Option) -> str:
    name = ", ".join([*option.opts, *option.secondary_opts])
    if not option.is_flag and not option.count:
        kind = option.type
        choices = "|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else None
        name += f" {option.metavar or choices or kind.name.upper()}"
    text = " ".join((option.help or "").split())
    if option.show_default and option.default is not None and not option.is_flag:
        default = option.default
        text += f" Default: {f'{default:g}' if isinstance(default, float) else default}."
    return "| `{}` | {} |".format(name.replace("|", "\\|"), text.strip().replace("|", "\\|"))


#: The pages, and what writes each.
PAGES = {
    FOLDER / "python.md": page_of_python,
    FOLDER / "commands.md": page_of_commands,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(page(), encoding="utf-8")
