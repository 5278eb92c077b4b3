"""Must 4: nothing is computed twice without a reason, and the reason is named; the ledger file proves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, states

pytestmark = pytest.mark.kernel


@pytest.fixture
def notebook(kernel: Any, tmp_path: Path) -> Notebook:
    """A loaded notebook of five cells: a helper, three tasks in a row and one apart."""
    made = Notebook(kernel, tmp_path)
    made.load()
    made.cells = {
        "helper": "def double(n):\n    return 2 * n",
        "a": "%%task a\na = [1, 2, 3]\nprint('made a')\na",
        "b": "%%task b\nb = [double(n) for n in a]\nlen(b)",
        "c": "%%task c\nc = sum(b)\nc",
        "d": "%%task d\nd = 'apart'",
        "plain": "c, d",
    }
    assert made.all()["plain"].result == "(12, 'apart')"
    assert made.ran() == ["a", "b", "c", "d"]
    return made


def test_a_second_execution_is_cached_and_replayed(notebook: Notebook) -> None:
    """Unchanged cells executed again compute nothing, show the same, and bind the same."""
    done = notebook.all()
    assert notebook.ran() == []
    assert done["a"].text() == "made a\n"
    assert done["a"].result == "[1, 2, 3]"
    assert done["plain"].result == "(12, 'apart')"
    assert set(states(notebook.kernel).values()) == {"Cached"}


def test_restart_and_run_all_computes_nothing(notebook: Notebook) -> None:
    """After a kernel restart Run All computes nothing; outputs and values are there again."""
    notebook.kernel.restart()
    notebook.load()
    done = notebook.all()
    assert notebook.ran() == []
    assert done["a"].text() == "made a\n"
    assert done["plain"].result == "(12, 'apart')"
    assert notebook.kernel.value("len(b)") == "3"


def test_an_edit_runs_exactly_what_it_reaches(notebook: Notebook) -> None:
    """Editing one cell runs it and its dependants; what it does not reach stays as it is; the reason is named."""
    notebook.cells["b"] = notebook.cells["b"].replace("double(n)", "double(n) + 1")
    notebook.all()
    assert notebook.ran() == ["b", "c"]
    assert "its code changed" in notebook.why("b")
    assert "its input changed: b" in notebook.why("c")


def test_an_edited_helper_runs_who_calls_it(notebook: Notebook) -> None:
    """Editing a function in another cell runs the tasks that call it, and names it."""
    notebook.cells["helper"] = "def double(n):\n    return 3 * n"
    done = notebook.all()
    assert notebook.ran() == ["b", "c"]
    assert "double" in notebook.why("b")
    assert done["plain"].result == "(18, 'apart')"


def test_an_equal_result_stops_the_wave(notebook: Notebook) -> None:
    """A task that runs again and makes the same value runs alone."""
    notebook.cells["a"] = notebook.cells["a"].replace("[1, 2, 3]", "list(range(1, 4))")
    notebook.all()
    assert notebook.ran() == ["a"]
    assert states(notebook.kernel)["b"] == "Cached"


@pytest.mark.parametrize("edit", ["comment", "spaces", "parentheses", "helper comment"])
def test_comments_and_formatting_change_nothing(notebook: Notebook, edit: str) -> None:
    """A cell whose meaning is the same has the same key."""
    cells = notebook.cells
    match edit:
        case "comment":
            cells["b"] += "  # so many"
        case "spaces":
            cells["b"] = cells["b"].replace("b = [double(n) for n in a]", "b  =  [ double( n )\n      for n in a ]\n\n")
        case "parentheses":
            cells["c"] = cells["c"].replace("sum(b)", "(sum((b)))")
        case "helper comment":
            cells["helper"] = "def double(n):\n    # twice\n    return (2 * n)"
    notebook.all()
    assert notebook.ran() == []


def test_files_and_variables_are_part_of_the_question(kernel: Any, tmp_path: Path) -> None:
    """A task that read a file, or an environment variable, runs again when that changed, and says which."""
    data = tmp_path / "data.csv"
    data.write_text("1,2\n")
    notebook = Notebook(kernel, tmp_path)
    notebook.load()
    notebook.run("set", "import os\nos.environ['MUST_LEVEL'] = '1'")
    notebook.cells = {
        "f": "%%task f\nwith open('data.csv') as file:\n    text = file.read()",
        "e": "%%task e --env MUST_LEVEL\nlevel = 1",
        "g": "%%task g --files data.csv\ngiven = 1",
    }
    notebook.all()
    notebook.all()
    assert notebook.ran() == ["f", "e", "g"]
    data.write_text("3,4\n")
    notebook.all()
    assert notebook.ran() == ["f", "g"]
    assert "data.csv" in notebook.why("f")
    notebook.run("set", "import os\nos.environ['MUST_LEVEL'] = '2'")
    notebook.all()
    assert notebook.ran() == ["e"]
    assert "MUST_LEVEL" in notebook.why("e")


IMPURE = {
    "clock": "import time\nv = time.time()",
    "random": "import random\nv = random.Random().random()",
    "subprocess": "import subprocess\nv = subprocess.run(['true']).returncode",
    "unknown module": "import must_unknown\nv = must_unknown.value()",
}


@pytest.mark.parametrize("name", IMPURE)
def test_purity_fails_closed(kernel: Any, tmp_path: Path, name: str) -> None:
    """A body whose purity is not known runs again, unless its author vouches for it."""
    (tmp_path / "must_unknown.py").write_text("import time\ndef value():\n    return time.perf_counter() > 0\n")
    notebook = Notebook(kernel, tmp_path)
    notebook.load()
    for number in (1, 2):
        assert notebook.run("v", f"%%task v\n{IMPURE[name]}").ok
        assert notebook.ran() == ["v"], number
    for _ in range(2):
        notebook.run("v", f"%%task v --cache always\n{IMPURE[name]}")
    assert notebook.ran() == []


def test_never_fresh_and_version(notebook: Notebook) -> None:
    """``--cache never`` and ``--fresh`` always run, another ``--version`` runs once."""
    for option, runs in (("--cache never", 2), ("--fresh", 2), ("--version 2", 1)):
        for _ in range(2):
            notebook.run("d", f"%%task d {option}\nd = 'apart'")
        assert notebook.ran() == ["d"] * runs, option


def test_another_run_shares_results(notebook: Notebook) -> None:
    """A new run of the same notebook, or another notebook with the same cell, computes nothing again."""
    assert "run 2" in notebook.kernel.run("%flow new").text()
    notebook.all()
    assert notebook.ran() == []
    assert set(states(notebook.kernel).values()) == {"Cached"}


def test_two_kernels_on_one_notebook(notebook: Notebook, make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """A second kernel on the same notebook gets a run of its own, says so, and shares results."""
    second = Notebook(make_kernel(tmp_path), tmp_path)
    second.load()
    second.cells = notebook.cells
    second.all()
    assert notebook.ran() == []
    shown = second.kernel.run("%flow").text("stderr")
    assert "another kernel works on" in shown
    ours = notebook.kernel.value("get_ipython()._prefect_nb.rooms.flow.session.run.id")
    theirs = second.kernel.value("get_ipython()._prefect_nb.rooms.flow.session.run.id")
    assert ours != theirs
    assert len(second.kernel.run("%flow runs").text().strip().splitlines()) == 4
    notebook.cells["c"] = notebook.cells["c"].replace("sum(b)", "sum(b) + 1")
    assert notebook.all()["plain"].result == "(13, 'apart')"
    assert second.all()["plain"].result == "(13, 'apart')"
    assert notebook.ran() == ["c"]
