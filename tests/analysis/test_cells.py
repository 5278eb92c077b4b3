"""Task headers: both spellings, every option, every mistake, names, and headers in the wrong place."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_nb.analysis.cells import (
    OPTIONS,
    Header,
    default_name,
    line_of_misplaced,
    misplaced,
    options,
    split,
    task_spec,
)
from prefect_nb.analysis.names import analyze
from prefect_nb.core.policy import Cache, Retry, Trigger
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.errors import UsageError

HEADERS = {
    "%%task\nx = 1": (Header(None, "", "magic"), "x = 1"),
    "%%task load --retries 3\n\nx = 1\n": (Header("load", "load --retries 3", "magic"), "\nx = 1\n"),
    "%%task --retries 3 load\nx": (Header("load", "--retries 3 load", "magic"), "x"),
    "%%task --retires 3 load\nx": (Header(None, "--retires 3 load", "magic"), "x"),
    "#| task: load --tags a\nx": (Header("load", "load --tags a", "comment"), "x"),
    "#| task:\nx": (Header(None, "", "comment"), "x"),
    "#|task : 'two words'\r\nx\r\n": (Header("two words", "'two words'", "comment"), "x\r\n"),
    "\n\n%%task a\nx": (Header("a", "a", "magic", 3), "x"),
    "%%task": (Header(None, "", "magic"), ""),
}
PLAIN = ["", "\n", "x = 1", "%%tasks\nx", "# task: a\nx", "%task a", "#| tasks: a", "x\n%%task a", " %%task a\nx"]


@pytest.mark.parametrize(("source", "expected"), HEADERS.items(), ids=HEADERS)
def test_split_gives_header_and_body(source: str, expected: tuple[Header, str]) -> None:
    """The header goes, the body keeps its lines."""
    assert split(source) == expected


@pytest.mark.parametrize("source", PLAIN)
def test_plain_cells_have_no_header(source: str) -> None:
    """Whatever is no header leaves the cell as it is."""
    assert split(source) == (None, source)


ASKED = {
    "": TaskSpec("auto"),
    "load": TaskSpec("load"),
    "--retries 3 --delay 1,2,4": TaskSpec("auto", retry=Retry(3, (1, 2, 4))),
    "--retries=3 --delay=10s --jitter=.3": TaskSpec("auto", retry=Retry(3, 10.0, 0.3)),
    "--retries 1 --retry-on A,b.C --retry-on D": TaskSpec("auto", retry=Retry(1, on=("A", "b.C", "D"))),
    "--timeout 1h30m": TaskSpec("auto", timeout=5400.0),
    "--cache never": TaskSpec("auto", cache=Cache("never")),
    "--cache 1d": TaskSpec("auto", cache=Cache("1d")),
    "--version 2.1": TaskSpec("auto", version="2.1"),
    "--files 'my data/*.csv',b --files c --files b": TaskSpec("auto", files=("my data/*.csv", "b", "c")),
    "--env A,_B1": TaskSpec("auto", env=("A", "_B1")),
    "--after 'a b,c' --after d": TaskSpec("auto", after=("a b", "c", "d")),
    "--tags x,y --fresh": TaskSpec("auto", tags=("x", "y")),
    "--trigger any_failed": TaskSpec("auto", trigger=Trigger("any_failed")),
    "--trigger always_run": TaskSpec("auto", trigger=Trigger("all_finished")),
    "--trigger some_failed:2": TaskSpec("auto", trigger=Trigger("some_failed", 2.0)),
    "--trigger some_successful:0.5:0.9": TaskSpec("auto", trigger=Trigger("some_successful", 0.5, 0.9)),
    "--trigger manual_only": TaskSpec("auto", approve=True),
    "--on-upstream-skip run": TaskSpec("auto", skip_with_upstream=False),
    "--on-upstream-skip skip --approve --once": TaskSpec("auto", approve=True, once=True),
}


@pytest.mark.parametrize(("line", "expected"), ASKED.items(), ids=ASKED)
def test_options_make_the_spec(line: str, expected: TaskSpec) -> None:
    """Each option arrives in the task as its value says."""
    assert task_spec(Header(None, line, "magic"), analyze("auto = 1"), 1) == expected
    assert expected.kind is TaskKind.CELL


def test_fresh_is_for_this_execution_only() -> None:
    """--fresh is asked for on the line and is no part of the task."""
    assert options("--fresh").fresh
    assert not options("a --cache never").fresh


WRONG = {
    "--retires 3": ("--retires", "did you mean --retries?"),
    "--retry 3": ("--retry", "did you mean --retry"),
    "--qqqqqq": ("--qqqqqq", "--retries, --delay"),
    "-x": ("-x", "known are"),
    "--retries": ("--retries needs a value", "--retries 3"),
    "--retries --delay 3": ("--retries needs a value", "--retries 3"),
    "--retries=": ("--retries", "--retries 3"),
    "--retries three": ("--retries: 'three'", "--retries 3"),
    "--retries -1": ("--retries: '-1'", "--retries 3"),
    "--retries 1.5": ("--retries: '1.5'", "--retries 3"),
    "--retries 99999999999": ("--retries", "--retries 3"),
    "--delay soon": ("--delay: 'soon'", "10s"),
    "--delay 1,,2": ("--delay", ""),
    "--jitter much": ("--jitter needs a number, not 'much'", "--jitter 0.3"),
    "--jitter nan": ("--jitter", "0.3"),
    "--jitter 11": ("--jitter", "0.3"),
    "--timeout 0": ("--timeout", "--timeout 5m"),
    "--timeout inf": ("--timeout", ""),
    "--cache sometimes": ("--cache", "--cache 1d"),
    "--retry-on 3x": ("--retry-on: '3x'", "TimeoutError"),
    "--env A-B": ("--env: 'A-B'", "REGION"),
    "--tags a,,b": ("--tags has an empty value", "--tags nightly"),
    "--after a/b": ("'a/b' cannot be a task's name", "'/'"),
    "--fresh=1": ("--fresh takes no value", ""),
    "--version 1 --version 2": ("--version is given twice", "keep one"),
    "--trigger sometimes": ("--trigger: there is no trigger 'sometimes'", "any_failed"),
    "--trigger all_failed:2": ("--trigger: all_failed takes no bounds", "some_failed:2"),
    "--trigger some_failed:many": ("--trigger needs a number", "--trigger any_failed"),
    "--on-upstream-skip stop": ("--on-upstream-skip: 'stop' is neither skip nor run", "--on-upstream-skip run"),
    "--approve=yes": ("--approve takes no value", ""),
    "a b": ("'a' and 'b'", "quote"),
    "a/b": ("'a/b'", "'/'"),
    "a#b": ("'a#b'", "'#'"),
    "''": ("''", "1 to 80"),
    "' '": ("' '", "1 to 80"),
    "'a\tb'": ("cannot be a task's name", "control"),
    "x" * 81: ("cannot be a task's name", "80"),
    "'open": ("cannot be read", "close the quote"),
}


@pytest.mark.parametrize(("line", "words"), WRONG.items(), ids=WRONG)
def test_mistakes_are_usage_errors_that_name_the_option(line: str, words: tuple[str, str]) -> None:
    """Each mistake is one line that names what is wrong, with a hint what to write instead."""
    with pytest.raises(UsageError) as caught:
        options(line)
    message, hint = words
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


WORDS = st.lists(st.sampled_from([o.name for o in OPTIONS] + list("a,'=-\\")), max_size=6).map(" ".join)


@given(st.text(max_size=40) | WORDS)
def test_no_line_raises_anything_else(line: str) -> None:
    """Whatever stands on the line, the answer is options or a usage error; splitting never raises."""
    split(f"%%task {line}\nx = 1")
    with contextlib.suppress(UsageError):
        options(line)


def test_every_option_of_the_table_works_with_its_example() -> None:
    """The table that makes help and completion describes options that work as shown."""
    for option in OPTIONS:
        line = f"{option.name} {option.example}" if option.metavar else option.name
        assert options(line) != options(""), option.name
        assert option.help.endswith(".")
        for choice in option.choices:
            options(f"{option.name} {choice}")


NAMES = {
    "orders = fetch()": "orders",
    "df = 1\nmodel = 2\nscore = 3": "df-model",
    "import os\n_tmp = 1\nz = 2\na = 3": "z-a",
    "import os": "task-7",
    "print(1)": "task-7",
    "del x": "task-7",
    "def load(): pass": "load",
    f"{'x' * 60} = {'y' * 60} = 1": "x" * 60 + "-" + "y" * 19,
}


@pytest.mark.parametrize(("body", "expected"), NAMES.items(), ids=list(NAMES.values()))
def test_default_names(body: str, expected: str) -> None:
    """Without a name a task is called by what it makes, else by its place."""
    assert default_name(analyze(body), 7) == expected


MISPLACED = {
    "%%task a\nx = 1": None,
    "\n\n%%task a": None,
    "x = 1": None,
    "": None,
    "x = 1\n%%task a": 2,
    "# a comment\n%%task a\nx": 2,
    "%%time\n%%task a\nx": 2,
    "%%task a\nx = 1\n%%task b": 3,
    "x = 1\n\n#| task: a": 3,
    "!ls 'x\n%%task": 2,
    "s = '''\n%%task a\n'''": None,
    "%%task a\ns = '''\n%%task a\n'''": None,
    "s = '''\n%%task a\n'''\n%%task b": 4,
    "%%writefile notes.md\n%%task a": None,
    "%%bash\n#| task: a": None,
    "x = '%%task a'": None,
    "    %%task a": None,
}


@pytest.mark.parametrize(("source", "line"), MISPLACED.items(), ids=MISPLACED)
def test_headers_below_the_first_line_are_reported(source: str, line: int | None) -> None:
    """A header in the wrong place is named with its line; texts and foreign languages are left alone."""
    assert line_of_misplaced(source) == line
    said = misplaced(source)
    assert (said is None) == (line is None)
    assert said is None or (f"line {line} " in said and "\n" not in said)
