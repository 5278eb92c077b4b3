"""Tables for terminals, DOT for Graphviz, and what a person may do in each state."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prefect_nb.core.states import StateName
from prefect_nb.views.dot import to_dot
from prefect_nb.views.model import EdgeView, NodeView, RunView, ViewModel, actions_for
from prefect_nb.views.text import runs_table, status_table, table

FLIGHTS = Path(__file__).parents[1] / "golden" / "flights.json"


def flights() -> ViewModel:
    return ViewModel.from_plain(json.loads(FLIGHTS.read_text("utf-8")))


def test_status_table() -> None:
    """Each task has a line with state, attempt, time and reason; children are indented and folded."""
    said = status_table(flights())
    lines = {line.strip().split("  ")[0]: line for line in said.splitlines() if line.strip()}
    assert said.startswith("flights · Open · 8 of 18 done")
    assert "saved 2.4 s" in lines["load_flights"]
    assert "2/4" in lines["clean_flights"]
    assert "(stale)" in lines["clean_weather"]
    assert "ValueError: Input X contains NaN" in lines["fit_delay_model"]
    assert lines["fetch"].startswith("  fetch")
    assert "Failed 8/12" in lines["fetch"]
    assert "parameters" not in lines, "a plain cell has no state"


def test_columns_align_with_wide_characters() -> None:
    """Columns stay aligned when a name is wide, and numbers are set to the right."""
    said = table([("名前", 7, "x"), ("ab", 12, "y")], ("name", "n", "last"))
    assert said.splitlines() == ["name   n  last", "────  ──  ────", "名前   7  x", "ab    12  y"]


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "x\ttab", "\x00", "y" * 500])
def test_data_cannot_break_a_table(text: str) -> None:
    """A message is one short line without control characters."""
    node = NodeView(id="t", label="t", state="Failed", type="FAILED", message=text)
    said = status_table(ViewModel.of(1, RunView(id="r", flow="f"), [node], ()))
    assert len(said.splitlines()) == 5
    assert all(character.isprintable() for line in said.splitlines() for character in line)
    assert max(map(len, said.splitlines())) < 120


def test_runs_table() -> None:
    """Runs are listed with state, start, age and time taken."""
    runs = [RunView(id="r-1", flow="f", state="Success", started_at=1000.0, ended_at=1065.0)]
    said = runs_table(runs, now=1000.0 + 7200).splitlines()[2]
    assert said.startswith("r-1")
    assert "(2 h ago)" in said
    assert "1 min 5 s" in said
    assert runs_table([], now=0.0) == "no runs yet"


def test_dot_quotes_what_it_is_given() -> None:
    """Names cannot end a quoted string, and nothing of the data becomes a URL."""
    evil = 'x" URL="javascript:1" y="\\'
    nodes = [NodeView(id=evil, label=evil), NodeView(id="b", label="<b>b</b>")]
    source = to_dot(ViewModel.of(1, RunView(id="r", flow=evil), nodes, [EdgeView(evil, "b", (evil,))]))
    assert "n0 -> n1" in source
    assert "URL=" not in re.sub(r'"(?:\\.|[^"\\])*"', '""', source), "outside every quoted string"
    assert 'label="<b>b</b>' in source, "angle brackets are text, not markup"


@pytest.mark.parametrize("name", list(StateName))
def test_actions(name: StateName) -> None:
    """A state offers what can be carried out in it and nothing else."""
    allowed = set(actions_for(name, "cell"))
    running = name.type.value in ("RUNNING", "CANCELLING")
    assert ("run" in allowed) is not running
    assert ("retry" in allowed) is (name.type.value in ("FAILED", "CANCELLED", "CRASHED"))
    assert not (name.final and "cancel" in allowed)
    assert ("invalidate" in allowed) is (name in (StateName.SUCCESS, StateName.CACHED))
    assert "why" in allowed
    assert "run" not in actions_for(name, "function"), "a function runs when its cell calls it"
    assert set(actions_for(name, "plain")) <= {"run"}


def test_a_running_task_can_be_cancelled_but_not_run() -> None:
    """While it runs: cancel, why, logs."""
    assert actions_for(StateName.RUNNING, "cell") == ("cancel", "why", "logs")


def test_views_load_nothing_heavy() -> None:
    """Importing the views loads neither graphviz nor anywidget."""
    code = (
        "import sys, prefect_nb.views.dot, prefect_nb.views.svg, prefect_nb.views.text, prefect_nb.views.widget;"
        "sys.exit(any(name in sys.modules for name in ('graphviz', 'anywidget', 'ipywidgets')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
