"""Options of GNU parallel that are another one here."""

from __future__ import annotations

import re

import click
import pytest

from mesh.cli.elsewhere import PARALLEL
from mesh.cli.run import run


def refusal(*args: str) -> str:
    with pytest.raises(click.UsageError) as refused:
        run.make_context("run", list(args))
    return refused.value.format_message()


@pytest.mark.parametrize("option", PARALLEL)
def test_each_is_refused_with_what_there_is_in_its_place(option: str) -> None:
    told = refusal(option, "2", "echo", ":::", "1")

    assert told == f"No such option {option!r}, as GNU parallel has: {PARALLEL[option]}"
    own = {
        name for parameter in run.params for name in [*parameter.opts, *parameter.secondary_opts]
    }
    assert option not in own
    assert own >= set(re.findall(r"(?<![\w-])--?[a-zA-Z][a-z-]*", PARALLEL[option]))


def test_what_is_nobodys_option_is_refused_as_ever() -> None:
    assert "parallel" not in refusal("--no-such", "echo")
