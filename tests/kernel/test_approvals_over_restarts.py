"""Approvals in a real kernel: the kernel is free while a task waits, and the answer may come from another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, states

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def notebook(make_kernel: Callable[..., Any], tmp_path: Path) -> Notebook:
    """A notebook whose second task asks a person."""
    made = Notebook(make_kernel(), tmp_path)
    made.load()
    made.cells |= {
        "a": "%%task a\nrows = [1, 2, 3]",
        "b": "%%task b --approve\nfrom prefect_nb import context\nsaid = context.approval.note\ntotal = sum(rows)",
        "c": "%%task c\nshown = f'{total}, {said}'",
        "plain": "alive = 1 + 1",
    }
    return made


def cli(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, beside the notebook."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_NB_HOME": str(folder / "home")}
    code = "from prefect_nb.apps.cli import main; main()"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def note(run: Any) -> str:
    """The small line that a cell shows about its task."""
    return " ".join(o["data"]["text/plain"] for o in run.outputs if o["type"] == "display_data")


def test_a_person_in_another_process_lets_a_task_go_on(notebook: Notebook, tmp_path: Path) -> None:
    """The cell ends at once, without an error and with what to do; approved from a shell, it goes on where it was."""
    assert notebook.run("a").ok
    paused = notebook.run("b")
    assert paused.ok
    assert "b is Paused: waits for approval; %flow approve b" in note(paused)
    assert notebook.run("plain").ok
    refused = notebook.run("c")
    assert refused.errors[0]["ename"] == "NotAvailable"
    assert "c needs b, which is Paused: waits for approval" in refused.errors[0]["evalue"]
    assert states(notebook.kernel)["b"] == "Paused"
    told = cli(tmp_path, "approve", "b", "--note", "looks good")
    assert told.returncode == 0, told.stderr
    assert "is Resuming: approved by" in told.stdout
    assert states(notebook.kernel)["b"] == "Resuming"
    assert notebook.ran() == ["a"]
    done = notebook.all()
    assert all(run.ok for run in done.values()), {cell: run.outputs for cell, run in done.items()}
    assert notebook.kernel.value("shown") == "'6, looks good'"
    assert notebook.ran() == ["b", "c"]
    why = notebook.why("b")
    assert "approved by" in why
    assert "looks good" in why
    assert "Paused" in why


@pytest.mark.parametrize("answered", ["before the restart", "while there is no kernel", "after the restart"])
def test_a_pause_outlives_the_kernel(notebook: Notebook, tmp_path: Path, answered: str) -> None:
    """Whenever the answer comes, the approved task runs after a restart of the kernel, and nothing above it again."""
    notebook.all()
    if answered == "before the restart":
        assert cli(tmp_path, "approve", "b", "--note", "ok").returncode == 0
    if answered == "while there is no kernel":
        notebook.kernel.manager.shutdown_kernel(now=True, restart=True)
        told = cli(tmp_path, "approve", "b", "--note", "ok")
        assert told.returncode == 0, told.stderr
        notebook.kernel.manager.start_kernel(**notebook.kernel.manager._launch_args)
        notebook.kernel.client.wait_for_ready(timeout=30)
    else:
        notebook.kernel.restart()
    notebook.ran()
    notebook.load()
    if answered == "after the restart":
        assert all(notebook.run(cell).ok for cell in "ab")
        assert states(notebook.kernel)["b"] == "Paused"
        assert cli(tmp_path, "approve", "b", "--note", "ok").returncode == 0
    done = notebook.all()
    assert all(run.ok for run in done.values()), {cell: run.outputs for cell, run in done.items()}
    assert notebook.kernel.value("shown") == "'6, ok'"
    assert notebook.ran() == ["b", "c"]


def test_a_rejection_names_who_it_was(notebook: Notebook, tmp_path: Path) -> None:
    """Rejected, the task is Cancelled with name and words, its readers are not run; executed again it asks again."""
    notebook.all()
    told = cli(tmp_path, "reject", "b", "--note", "not on a Friday")
    assert told.returncode == 0, told.stderr
    assert "is Cancelled: rejected by" in told.stdout
    assert "rejected by" in notebook.why("b")
    assert "not on a Friday" in notebook.why("b")
    assert cli(tmp_path, "approve", "b").returncode == 2
    assert "b is Paused" in note(notebook.run("b"))
    assert notebook.kernel.run("%flow approve b 'now it may'").ok
    assert notebook.run("b").ok
    assert notebook.kernel.value("said") == "'now it may'"


def test_a_reused_result_never_asks(notebook: Notebook) -> None:
    """What was approved and computed once is reused without a question; edited code asks again."""
    notebook.cells["b"] = "%%task b --approve\ntotal = sum(rows)"
    notebook.cells.pop("c")
    notebook.all()
    notebook.kernel.run("%flow approve b")
    assert notebook.run("b").ok
    assert notebook.ran() == ["a", "b"]
    notebook.run("b")
    assert states(notebook.kernel)["b"] == "Cached"
    assert "b is Paused" in note(notebook.run("b", "%%task b --approve\ntotal = sum(rows) + 1"))
    assert notebook.ran() == []
