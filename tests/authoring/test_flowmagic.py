"""``%flow``: every command in a shell of this process, what it says, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
from cells.bench import ShellBench, Shown
from cells.probe import extension

CELLS = [
    {"id": "a", "source": "%%task a\nprint('said by a')\na = 1"},
    {"id": "b", "source": "%%task b\nb = a + 1"},
    {"id": "bad", "source": "%%task bad\nhalf = 1\n1 / 0"},
]


def ask(bench: ShellBench, command: str, cells: list[dict[str, str]] = CELLS) -> Shown:
    """Execute ``%flow`` and a command in a cell of its own, the last of the notebook."""
    flow = {"id": "flow", "source": f"%flow {command}".strip()}
    return bench.execute("flow", flow["source"], [*cells, flow])


@pytest.fixture
def ran(bench: ShellBench) -> ShellBench:
    """A notebook of which every cell was executed: two tasks succeeded, one failed."""
    for cell in CELLS:
        bench.execute(cell["id"], cell["source"], CELLS)
    return bench


SAYS = {
    "status": [r"1 failed", r"(?m)^a +Success", r"(?m)^b +Success", r"(?m)^bad +Failed .*ZeroDivisionError"],
    "why a": [r"a is Success", r"runs for the first time", r"(?m)^code +\S+"],
    "why bad": [r"bad is Failed", r"ZeroDivisionError"],
    "logs": [r"--- a#1 attempt 1\nsaid by a"],
    "logs a": [r"--- a#1 attempt 1\nsaid by a"],
    "runs": [r"(?m)^\d{8}-\d{6}-\w{6} "],
    "dot": [r"digraph", r"n0 -> n1 \[label=a"],
    "usage": [r"results .* of ", r"1 runs"],
}


@pytest.mark.parametrize("command", SAYS)
def test_a_command_answers_in_text(ran: ShellBench, command: str) -> None:
    """Each question has its answer on stdout, before and after a restart of the session."""
    for _ in range(2):
        shown = ask(ran, command)
        assert not shown.error
        text = "".join(line.removeprefix("stdout:") for line in shown.lines)
        for pattern in SAYS[command]:
            assert re.search(pattern, text), (pattern, text)
        ran.restart()


def test_new_begins_another_run(ran: ShellBench) -> None:
    """``new`` names the run that it begins, and ``runs`` lists both."""
    shown = ask(ran, "new")
    assert shown.lines == [f"stdout:run {extension(ran.shell).flow.session.run.id}\n"]
    assert len("".join(ask(ran, "runs").lines).strip().splitlines()) == 4


def test_what_a_failed_body_bound_can_be_looked_at(ran: ShellBench) -> None:
    """The names of a failed body are not the notebook's, but ``failed`` returns them."""
    assert "half" not in ran.shell.user_ns
    assert "'half': 1" in "".join(ask(ran, "failed bad").lines)


def test_run_brings_what_is_stale_up_to_date_and_says_what_failed(ran: ShellBench) -> None:
    """``run`` executes what an edit reached and nothing else, goes on past a failure, and fails in the end."""
    cells = [{"id": "a", "source": "%%task a\na = 10"}, *CELLS[1:]]
    shown = ask(ran, "run", cells)
    assert shown.error == "NotAvailable"
    visits = extension(ran.shell).flow.session.run.latest
    assert {task: visit.visit for task, visit in visits.items()} == {"a": 2, "b": 2, "bad": 2}
    assert ran.value("b") == "11"
    assert ask(ran, "run b", cells).error == ""
    assert {task: visit.visit for task, visit in visits.items()} == {"a": 2, "b": 2, "bad": 2}


REFUSED: dict[str, list[str]] = {
    "nonsense": ["there is no such command", "status, why"],
    "why": ["takes a task's name", "known are a, b, bad"],
    "why nobody": ["no such task", "known are a, b, bad"],
    "logs nobody": ["no such task"],
    "failed a": ["no body of a failed"],
}


@pytest.mark.parametrize("command", REFUSED)
def test_what_cannot_be_answered_is_a_usage_error(ran: ShellBench, command: str) -> None:
    """A command or a name that there is not fails with what there is."""
    with pytest.raises(Exception, match=re.escape(REFUSED[command][0])) as caught:
        extension(ran.shell).magic(command)
    assert type(caught.value).__name__ == "UsageError"
    assert all(words in str(caught.value) for words in REFUSED[command])
    assert ask(ran, command).error == "UsageError"


def test_before_any_task_there_is_an_answer_too(bench: ShellBench) -> None:
    """Asked in an untouched notebook, every question has a sentence and none fails."""
    for command, words in (("status", ""), ("runs", ""), ("logs", ""), ("dot", "digraph"), ("usage", "results")):
        shown: Any = ask(bench, command, [])
        assert not shown.error, command
        assert words in "".join(shown.lines)
