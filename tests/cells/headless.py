"""The catalogue's headless steps: its cells in a notebook file, executed in a fresh kernel against the same store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from prefect_nb.wiring import open_store

__all__ = ["step_headless"]

_OUTCOMES = {"Success": "ran", "Cached": "hit", "Failed": "failed", "TriggerFailed": "blocked", "Skipped": "skipped"}


def step_headless(step: dict[str, Any], cells: Sequence[tuple[dict[str, Any], str]], folder: Path) -> None:
    """Carry one step out and compare what the catalogue says of it.

    Parameters
    ----------
    step : dict
        With ``do`` either ``"nbclient"`` or ``"papermill"``.
    cells : sequence of (cell, source)
        In document order; injected ones are left out, since papermill makes them.
    """
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.cells.append(nbformat.v4.new_code_cell("%load_ext prefect_nb", id="load"))
    names = {}
    for cell, source in cells:
        if cell.get("kind") == "injected":
            continue
        made = nbformat.v4.new_code_cell(source, id=cell["id"])
        made.metadata["tags"] = ["parameters"] if cell.get("kind") == "params" else []
        notebook.cells.append(made)
        if cell.get("kind", "task") == "task":
            names[len(names)] = cell["id"]
    done = _papermill(step, notebook, folder) if step["do"] == "papermill" else _nbclient(notebook, folder)
    assert _outcomes(folder, names) | step.get("out", {}) == _outcomes(folder, names), (step, _outcomes(folder, names))
    by_id = {c.id: c for c in done.cells}
    for cell_id, count in step.get("error_outputs", {}).items():
        assert [o.output_type for o in by_id[cell_id].outputs].count("error") == count
    for cell_id, error in step.get("raises", {}).items():
        assert error in [o.get("ename") for o in by_id[cell_id].outputs]
    for cell_id in step.get("not_executed", ()):
        assert by_id[cell_id].execution_count is None


def _papermill(step: dict[str, Any], notebook: Any, folder: Path) -> Any:
    given, out = folder / "exam.ipynb", folder / "exam.out.ipynb"
    nbformat.write(notebook, given)
    parameters = [word for name, value in step.get("params", {}).items() for word in ("-p", name, str(value))]
    command = [sys.executable, "-m", "papermill", str(given), str(out), "--engine", "prefect_nb", *parameters]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=100, check=False)
    assert out.is_file(), ran.stderr
    return nbformat.read(out, 4)


def _nbclient(notebook: Any, folder: Path) -> Any:
    client = NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}, timeout=90)
    with suppress(CellExecutionError):  # what it left in the notebook is compared
        client.execute()
    return notebook


def _outcomes(folder: Path, names: dict[int, str]) -> dict[str, str]:
    store = open_store(folder, readonly=True)
    try:
        newest = store.runs(limit=1)[0]
        visits = [v for v in store.visits(newest.run) if v.parent is None]
    finally:
        store.close()
    return {names[number]: _OUTCOMES.get(v.state, v.state) for number, v in enumerate(visits)}
