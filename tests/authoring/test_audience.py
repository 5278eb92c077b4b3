"""Who is told of a run of functions: a terminal in lines, a script that asks for it, nobody else, and nobody twice."""

from __future__ import annotations

import io
import re
import threading
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from prefect_nb import flow, resume, task
from prefect_nb.authoring.audience import PROGRESS
from prefect_nb.errors import NotAvailable


class Terminal(io.StringIO):
    """A stream that says that a person looks at it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What standard error is while a test looks, and a store of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PROGRESS, raising=False)
    return Terminal()


@task
def double(x: int) -> int:
    return 2 * x


@task
def fragile(x: int) -> int:
    if x == 2:
        raise ValueError("no two")
    return x


@task(approve=True)
def publish(x: int) -> int:
    return x


@flow
def inner(x: int) -> int:
    return double(x)


@flow
def outer(count: int) -> object:
    return inner(1), fragile.map(range(count))


@flow
def asking() -> int:
    return publish(double(4))


def test_a_terminal_sees_how_each_task_and_the_run_ended(terminal: Terminal) -> None:
    """Each task is told once it ended, with its time and its map's failures, and the last line is the run's."""
    with redirect_stderr(terminal), pytest.raises(ValueError, match="no two"):
        outer(4)
    lines = terminal.getvalue().splitlines()
    assert any(re.match(r"✓ inner +\d+ m?s$", line) for line in lines), lines
    assert any(re.match(r"✗ fragile +failed after .*: 1 of 4 children failed$", line) for line in lines), lines
    assert re.match(r"✗ test_audience\.outer failed after \d+ m?s: fragile Failed \(run [\w-]+\)$", lines[-1])


def test_a_flow_in_a_flow_is_told_as_a_task_only(terminal: Terminal) -> None:
    """The tasks of a run below another's do not appear, nor does its end."""
    with redirect_stderr(terminal):
        outer(1)
    assert "double" not in terminal.getvalue()
    assert terminal.getvalue().count("(run ") == 1


def test_a_submitted_run_is_told_too(terminal: Terminal) -> None:
    """A run in the background is told from its own thread, to its end."""
    with redirect_stderr(terminal):
        outer.submit(1).result(60)
        ended()
    assert "✓ test_audience.outer success" in terminal.getvalue()


def test_a_run_that_waits_says_so_and_its_continuation_is_told(terminal: Terminal) -> None:
    """The last line of a call that needs a person is Paused; resuming tells on, without what had been done before."""
    with redirect_stderr(terminal):
        with pytest.raises(NotAvailable) as error:
            asking()
        before = terminal.getvalue()
        run = resume(str(error.value.fields["run"]))
        run.wait(60)
        run.approve("publish")
        run.result(60)
        ended()
    assert "asking paused" in before.splitlines()[-1]
    after = terminal.getvalue()[len(before) :]
    assert "✓ publish" in after
    assert "✓ test_audience.asking success" in after.splitlines()[-1]
    assert "✓ double" not in after


@pytest.mark.parametrize(
    ("wish", "looks", "told"), [("", False, False), ("1", False, True), ("0", True, False), ("", True, True)]
)
def test_a_script_is_left_alone_unless_asked(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, wish: str, looks: bool, told: bool
) -> None:
    """Without a terminal nothing is written; the variable says otherwise, and can silence a terminal."""
    monkeypatch.setattr(Terminal, "isatty", lambda self: looks)
    monkeypatch.setenv(PROGRESS, wish)
    with redirect_stderr(terminal):
        assert inner(3) == 6
    assert bool(terminal.getvalue()) is told


def ended() -> None:
    """The run's own thread tells of its end just after its result is there: wait for that."""
    for thread in threading.enumerate():
        if thread.name.startswith("prefect_nb flow"):
            thread.join(30)
