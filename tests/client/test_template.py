"""Commands with places for values: what is put where, and that no value is ever read as code."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.client.template import Template

# What GNU parallel's manual shows: the command line, the values of one job, what it prints.
DOCUMENTED = [
    ("echo", ["A"], "echo A"),
    ("echo {}", ["A/B.C"], "echo A/B.C"),
    ("echo {.}", ["A/B.C"], "echo A/B"),
    ("echo {/}", ["A/B.C"], "echo B.C"),
    ("echo {//}", ["A/B.C"], "echo A"),
    ("echo {/.}", ["A/B.C"], "echo B"),
    ("echo {#}", ["A/B.C"], "echo 7"),
    ("echo {1} and {2}", ["A", "B"], "echo A and B"),
    (
        "echo /={1/} //={1//} /.={1/.} .={1.}",
        ["A/B.C", "D/E.F"],
        "echo /=B.C //=A /.=B .=A/B",
    ),
    (
        "echo 1={1} 2={2} 3={3} -1={-1} -2={-2} -3={-3}",
        ["A", "B", "C"],
        "echo 1=A 2=B 3=C -1=C -2=B -3=A",
    ),
    ("echo", ["A", "D"], "echo A D"),
    ("echo {}", ["A", "D"], "echo A D"),
    ("echo job {#} of {2}", ["A", "D"], "echo job 7 of D"),
    ("zcat {} | bzip2 >{.}.bz2", ["x.gz"], "zcat x.gz | bzip2 >x.bz2"),
    ("convert {} {.}.jpg", ["sub.dir/pic"], "convert sub.dir/pic sub.dir/pic.jpg"),
    ("echo {//}", ["file"], "echo ."),
    ("echo {//}", ["/file"], "echo /"),
    ("", ["echo A | wc -l"], "echo A | wc -l"),
]


@pytest.mark.parametrize(("line", "values", "shown"), DOCUMENTED)
def test_the_examples_of_gnu_parallel(line: str, values: list[str], shown: str) -> None:
    assert Template(line).shown(values, 7) == shown
    assert Template(line).argv(values, 7) == ["/bin/sh", "-c", shown]
    if line and not set("|>") & set(line):
        assert shlex.join(Template(line.split()).argv(values, 7)) == shown


def test_words_are_a_programs_arguments_as_they_are() -> None:
    values = ["a b;$(c)", "-d"]
    argv = Template(["x={1}", "{}", "<{}>", "$HOME", ""]).argv(values)
    assert argv == ["x=a b;$(c)", "a b;$(c)", "-d", "<a b;$(c) -d>", "$HOME", ""]
    assert Template(["awk", "{print $1}"]).argv(["f"]) == ["awk", "{print $1}", "f"]


QUOTED = [
    ("{} x", "if", "'if' x"),
    ("{} x", "A=1", "'A=1' x"),
    ("echo {}>f", "2", "echo '2'>f"),
    ("echo {}", "", "echo ''"),
    ("echo {}", "~", "echo '~'"),
    ("echo '{}'", "it's", "echo 'it'\\''s'"),
    ('echo "{}"', 'a\\$`"', 'echo "a\\\\\\$\\`\\""'),
    ('echo "$(cat "{}" {}) {}"', "a b", 'echo "$(cat "a b" \'a b\') a b"'),
    ("(cd {}; ls) # it's", "a b", "(cd 'a b'; ls) # it's"),
    ("echo $((1+1)) `date` ${HOME} {}", "a b", "echo $((1+1)) `date` ${HOME} 'a b'"),
]


@pytest.mark.parametrize(("line", "value", "shown"), QUOTED)
def test_values_are_quoted_as_their_place_asks_for(line: str, value: str, shown: str) -> None:
    assert Template(line).shown([value]) == shown


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("echo `cat {}`", "backticks"),
        ("echo $(( {} * 2 ))", "$(( ))"),
        ("echo ${}", "after $"),
        ("echo ${x:-{}}", "${ }"),
        ('echo "${x:-it\'s}" {}', "what follows ${ }"),
        ("cat <<END\n{}\nEND", "here-document"),
        ("echo hi # {}", "a comment"),
        ("echo hi # no place", "a comment"),
        ("echo \\{}", "after \\"),
        ("echo $'a' {}", "what follows $'"),
        ('x="$(case a in a) echo;; esac {})"', "`case`"),
    ],
)
def test_where_no_quoting_is_certain_values_are_refused(line: str, where: str) -> None:
    with pytest.raises(ValueError, match="cannot be quoted safely") as refused:
        Template(line)
    assert where in str(refused.value) and "sh -c" in str(refused.value)


def test_a_command_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="at least a word"):
        Template([])
    with pytest.raises(ValueError, match="MESH_SLOT_NUMBER"):
        Template("echo {%}")
    with pytest.raises(ValueError, match=r"\{3\.\} has no value: the input has 2 values"):
        Template("echo {3.}").shown(["a", "b"])
    with pytest.raises(ValueError, match="has one value"):
        Template("echo {-2}").argv(["a"])


PIECES = st.sampled_from(
    ["{}", "'{}'", '"{}"', '"$(printf %s "{}")"', "$(printf %s '{}')", '"x"{}', '"$(printf %s {})"']
)
NASTY = st.text("a \\'\"`$()#;&|<>{}*~!=\n\t-é", max_size=12).map(lambda text: text + "x")


@given(st.lists(st.tuples(PIECES, NASTY), min_size=1, max_size=6))
def test_a_value_arrives_as_it_is_and_is_never_run(pairs: list[tuple[str, str]]) -> None:
    line = "printf '%s\\0' " + " ".join(
        piece.replace("{}", f"{{{index}}}") for index, (piece, _) in enumerate(pairs, 1)
    )
    values = [value for _, value in pairs]

    done = subprocess.run(Template(line).argv(values), capture_output=True, check=True)

    given = done.stdout.decode().removesuffix("\0").split("\0")
    split = [piece.startswith("$(") for piece, _ in pairs]  # the shell splits these into words
    if not any(split):
        assert given == [("x" if p.startswith('"x"') else "") + v for p, v in pairs]
    assert not done.stderr
