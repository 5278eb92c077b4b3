"""The README's cells and its headless line run as written: the second time every task is reused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

README = Path(__file__).parents[2] / "README.md"
SECTION = re.compile(r"^## In your own notebook\n(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(python|bash|)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TASKS = ("load", "report")

pytestmark = pytest.mark.kernel


def snippets() -> list[str]:
    """The Python of the section about one's own notebook, block by block."""
    section = SECTION.search(README.read_text("utf-8"))
    assert section is not None
    return [code.rstrip("\n") for language, code in BLOCK.findall(section[1]) if language == "python"]


def cells() -> list[str]:
    """The three cells that the README asks a newcomer to copy."""
    return snippets()[:3]


def headless_line() -> list[str]:
    """The words of the README's headless line."""
    _, _, rest = README.read_text("utf-8").partition("## Now leave it alone")
    line = next(code for language, code in BLOCK.findall(rest) if language == "bash")
    return line.split()


def notebook(*sources: str) -> nbformat.NotebookNode:
    """A notebook of these cells."""
    made = new_notebook(cells=[new_code_cell(source) for source in sources])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    return made


def executed(folder: Path, *sources: str) -> list[str]:
    """What each cell showed, in a kernel of its own that works in `folder`."""
    made = notebook(*sources)
    NotebookClient(made, timeout=60, resources={"metadata": {"path": str(folder)}}).execute()
    return ["\n".join(o.get("text") or o["data"]["text/plain"] for o in cell.outputs) for cell in made.cells]


def run(folder: Path) -> str:
    """The output of the headless line, which has to succeed."""
    program, *words = headless_line()
    assert program == "prefect-nb"
    code = "from prefect_nb.apps.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_cells_are_what_they_seem() -> None:
    """The block is the extension and two tasks, small enough to copy."""
    load_ext, *tasks = cells()
    assert load_ext == "%load_ext prefect_nb"
    assert tuple(code.split()[1] for code in tasks) == TASKS
    assert all(len(code.splitlines()) <= 6 for code in tasks)


def test_second_execution_is_cached(tmp_path: Path) -> None:
    """Executed twice in a kernel, each task says the second time that it came from the cache, and shows the same."""
    load_ext, *tasks = cells()
    _, first_load, first_report, load, report, status = executed(tmp_path, load_ext, *tasks, *tasks, "%flow status")
    assert "cache" not in first_load + first_report
    assert load.startswith("load: from cache, 3.")
    assert report.startswith(first_report)
    assert "report: from cache" in report
    assert "2 of 2 done" in status
    assert [name for name in TASKS if re.search(rf"^{name} +Cached ", status, re.MULTILINE)] == list(TASKS)


def test_restart_computes_nothing(tmp_path: Path) -> None:
    """In a fresh kernel on the same store, each task is put back and its result is shown again."""
    _, _, first = executed(tmp_path, *cells())
    _, load, report = executed(tmp_path, *cells())
    assert load.startswith("load: finished before the restart, 3.")
    assert report.startswith(first)
    assert "report: finished before the restart" in report


def test_other_spellings_run(tmp_path: Path) -> None:
    """The header as a comment makes a task, and the decorated function's calls in it are its children."""
    load_ext, _, _, header, function, _ = snippets()
    calls = f'{header}\npages = [fetch("EU", page) for page in range(2)]'
    *_, status = executed(tmp_path, load_ext, function, calls, "%flow status")
    assert re.search(r"^load +Success +1/4 ", status, re.MULTILINE)
    assert re.search(r"^ *fetch.* Success ", status, re.MULTILINE)


def test_the_flow_of_functions_runs(tmp_path: Path) -> None:
    """With bodies for its tasks, the flow gives the value that plain functions would."""
    load_ext, *_, function, flow = snippets()
    bodies = "@task\ndef fetch(region, page):\n    return page + 1\n\n@task\ndef load(pages):\n    return sum(pages)"
    *_, value = executed(tmp_path, load_ext, function, bodies, flow, "print(report('EU', pages=4))")
    assert value.strip().endswith("10")


def test_headless_line(tmp_path: Path) -> None:
    """The headless line runs the notebook, and the second time both tasks are cached."""
    made = notebook(*cells())
    nbformat.write(made, tmp_path / "report.ipynb")
    first, second = run(tmp_path), run(tmp_path)
    assert [line.split()[:2] for line in first.splitlines() if line.startswith("✓")] == [["✓", t] for t in TASKS]
    assert [line.split()[:3] for line in second.splitlines() if line.startswith("≡")] == [
        ["≡", t, "cached,"] for t in TASKS
    ]
    assert "Success · 2 of 2 done" in second
    assert (tmp_path / "report.out.ipynb").is_file()
    assert (tmp_path / "report.out.svg").is_file()
