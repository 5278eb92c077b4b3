"""Notebooks really run, through our runner and through papermill: to the end, into failures, killed half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apps_parts import Shell, executed, ledger, until, write
from click.testing import CliRunner

from prefect_nb.apps.cli import cli
from prefect_nb.apps.headless import Outcome, Wish, prepare
from prefect_nb.apps.params import Text

pytestmark = pytest.mark.kernel

PAPERMILL = [sys.executable, "-m", "papermill"]
HOLD = """\
import os, time
print(os.getpid(), file=open("pid", "w"), flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
"""
"""A body that tells its kernel's process id and then waits for a file."""
STUBBORN = """\
import time
print("here", file=open("pid", "w"), flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        open("caught", "w").close()
"""
"""A body that swallows every interrupt."""


def run(notebook: Path, **wish: Any) -> tuple[Outcome, list[str]]:
    """Run a notebook in this process; how it ended, and what was told on the way."""
    lines: list[str] = []
    return prepare(Wish(notebook, **wish)).run(lines.append), lines


def output(path: Path) -> list[dict[str, Any]]:
    """The cells of an executed notebook."""
    return json.loads(path.read_text())["cells"]


def text(cell: dict[str, Any]) -> str:
    """What a cell printed."""
    return "".join(
        "".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream" and o["name"] == "stdout"
    )


def status(*arguments: str) -> dict[str, Any]:
    """The latest run of the working directory's store, or another one."""
    done = CliRunner().invoke(cli, ["status", "--json", *arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def states(*arguments: str) -> dict[str, str]:
    """The state of each task."""
    return {task["name"]: task["state"] for task in status(*arguments)["tasks"]}


def running(folder: Path, task: str) -> int:
    """Wait until the body of a task holds and its start is recorded; the kernel's process id."""
    until((folder / "pid").exists, f"the body of {task}")
    until(lambda: states().get(task) == "Running", f"the record of {task}")
    return int(until((folder / "pid").read_text, "the kernel's id"))


@pytest.fixture(autouse=True)
def here(tmp_path: Path) -> Path:
    """Every test works in its own folder."""
    os.chdir(tmp_path)
    return tmp_path


def test_a_run_and_a_second_one(tmp_path):
    """The first run executes every task, the second none; parameters, output, graph and record agree."""
    path = write(
        tmp_path / "n.ipynb",
        "%load_ext prefect_nb",
        "# parameters\nregion: str = 'EU'\nn: int = 3",
        "%%task numbers\nnumbers = list(range(n))\nprint(region, len(numbers))",
        "%%task total\ntotal = sum(numbers)",
        "print(total)",
        "%flow",
    )
    first, told = run(path, given={"region": Text("US"), "n": Text("5")})
    assert first.ok
    assert [line.split()[:2] for line in told if line.startswith("✓")] == [["✓", "numbers"], ["✓", "total"]]
    cells = output(tmp_path / "n.out.ipynb")
    assert [text(cell) for cell in cells] == ["", "", "", "US 5\n", "", "10\n", ""]
    assert cells[2]["metadata"]["tags"] == ["injected-parameters"]
    picture = cells[-1]["outputs"][0]["data"]
    assert "".join(picture["image/svg+xml"]).startswith("<svg")
    assert picture["application/vnd.prefect-nb.flow+json"]["run"]["state"] == "Success"
    assert (tmp_path / "n.out.svg").read_text().startswith("<svg")
    assert path.read_text().count("US") == 0
    second, told = run(path, out=tmp_path / "again.ipynb", given={"region": Text("US"), "n": Text("5")})
    assert second.ok
    assert [line.split()[:3] for line in told] == [["≡", "numbers", "cached,"], ["≡", "total", "cached,"]]
    assert second.told.model.saved_s > 0
    assert [text(cell) for cell in output(tmp_path / "again.ipynb")] == [text(cell) for cell in cells]
    found = status()
    assert (found["flow"], found["state"], states()) == ("n", "Success", {"numbers": "Cached", "total": "Cached"})
    assert {task["cached_from"] for task in found["tasks"]} == {first.told.row.run}
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != "." or p.name.endswith(".part")) == [
        *("again.ipynb", "again.svg", "n.ipynb", "n.out.ipynb", "n.out.svg")
    ]


def test_the_command_line_says_where_things_lie(tmp_path):
    """``prefect-nb run`` tells each task, ends with state, counts, time and places, and exits with 0 or 1."""
    write(tmp_path / "n.ipynb", "%%task good\ngood = 1", "%%task bad\nbad = 1 / 0")
    done = CliRunner().invoke(cli, ["run", "n.ipynb", "o.ipynb"])
    assert done.exit_code == 1, done.output
    assert "✗ bad" in done.stdout
    assert "ZeroDivisionError: division by zero" in done.stdout
    assert "Failed · 1 of 2 done · 1 failed" in done.stdout
    for where in ("o.ipynb", "o.svg", ".prefect_nb"):
        assert str(tmp_path / where) in done.stdout
    assert "--resume" in done.stdout


def test_after_a_failure_unrelated_work_goes_on(tmp_path):
    """A failed task fails what reads it, once; other tasks and plain cells run, and the flow fails."""
    path = write(
        tmp_path / "n.ipynb",
        ledger("good"),
        ledger("bad", "int('no rows')"),
        ledger("child", "bad"),
        ledger("other", "good"),
        "print(other)",
        "print(child)",
        "print('end')",
    )
    outcome, told = run(path)
    assert not outcome.ok
    assert executed(tmp_path) == ["good", "bad", "other"]
    assert states() == {"good": "Success", "bad": "Failed", "child": "TriggerFailed", "other": "Success"}
    cells = output(tmp_path / "n.out.ipynb")
    errors = [[o["ename"] for o in cell["outputs"] if o["output_type"] == "error"] for cell in cells]
    assert errors == [[], ["ValueError"], [], [], [], ["NotAvailable"], []]
    assert [text(cell) for cell in cells[4:]] == ["1\n", "", "end\n"]
    assert any(line.startswith("⊘ child") and "bad" in line for line in told)


def test_an_error_in_a_plain_cell_ends_the_notebook(tmp_path):
    """After a failed plain cell nothing runs, the run is not a success, and it can be resumed."""
    path = write(
        tmp_path / "n.ipynb",
        ledger("one"),
        "if not __import__('os').path.exists('go'): raise KeyError('x')",
        ledger("two"),
    )
    done = CliRunner().invoke(cli, ["run", "n.ipynb"])
    assert done.exit_code == 1
    assert "stopped at cell 2" in done.stderr
    assert "KeyError: 'x'" in done.stderr
    assert executed(tmp_path) == ["one"]
    assert status()["state"] not in ("Success", "Skipped")
    (tmp_path / "go").touch()
    outcome, _ = run(path, resume="last")
    assert outcome.ok
    assert executed(tmp_path) == ["one", "two"]


def test_a_notebook_without_tasks(tmp_path):
    """A plain notebook runs as it is, and nothing is recorded."""
    write(tmp_path / "n.ipynb", "print(6 * 7)")
    done = CliRunner().invoke(cli, ["run", "n.ipynb"])
    assert (done.exit_code, text(output(tmp_path / "n.out.ipynb")[0])) == (0, "42\n")
    assert not (tmp_path / ".prefect_nb").exists()


def test_dates_and_files_of_parameters(tmp_path):
    """Parameters come from a file too, the command line wins, and a date arrives as a date."""
    path = write(
        tmp_path / "n.ipynb",
        "# parameters\nfrom datetime import date\nday: date = date(2024, 1, 1)\nn: int = 1",
        "print(day.year, n)",
    )
    (tmp_path / "p.yaml").write_text("day: 2023-05-06\nn: 7\n")
    done = CliRunner().invoke(cli, ["run", str(path), "-f", "p.yaml", "-p", "n", "8"])
    assert done.exit_code == 0, done.output
    assert text(output(tmp_path / "n.out.ipynb")[-1]) == "2023 8\n"


def test_a_killed_kernel_is_resumed(tmp_path, shell: Shell):
    """After ``kill -9`` of the kernel the run is Crashed and the cell named; --resume runs what had not finished."""
    path = write(tmp_path / "n.ipynb", ledger("one"), ledger("two", HOLD), ledger("three", "two"))
    child = shell.start("run", "n.ipynb")
    kernel = running(tmp_path, "two")
    os.kill(kernel, signal.SIGKILL)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 1, (out, err)
    assert "stopped at cell 2" in err
    assert "the kernel died" in err
    assert (status()["state"], states()) == ("Crashed", {"one": "Success", "two": "Crashed", "three": "NotRun"})
    assert (tmp_path / "n.out.ipynb").exists()
    (tmp_path / "go").touch()
    before = status()["run"]
    outcome, told = run(path, resume="last")
    assert outcome.ok
    assert executed(tmp_path) == ["one", "two", "two", "three"]
    assert status()["run"] == before
    assert set(states().values()) == {"Success"}
    assert not any("one" in line for line in told)


def test_a_killed_runner_is_resumed(tmp_path, shell: Shell):
    """After ``kill -9`` of the runner its kernel ends by itself, and --resume goes on where it was."""
    path = write(tmp_path / "n.ipynb", ledger("one"), ledger("two", HOLD), ledger("three", "two"))
    child = shell.start("run", "n.ipynb")
    kernel = running(tmp_path, "two")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    until(lambda: not alive(kernel), "the end of the kernel")
    assert states() == {"one": "Success", "two": "Crashed", "three": "NotRun"}
    (tmp_path / "go").touch()
    outcome, _ = run(path, resume="last")
    assert outcome.ok
    assert executed(tmp_path) == ["one", "two", "two", "three"]


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(found.strip()) and not found.startswith("Z")


def test_ctrl_c_keeps_what_is_done(tmp_path, shell: Shell):
    """Ctrl-C ends the running cell, keeps the notebook, leaves the run Paused, exits with 130; --resume finishes it."""
    path = write(tmp_path / "n.ipynb", ledger("one"), ledger("two", HOLD), ledger("three", "two"))
    child = shell.start("run", "n.ipynb")
    running(tmp_path, "two")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert "Paused" in out
    assert status()["state"] == "Paused"
    assert states()["one"] == "Success"
    assert len(output(tmp_path / "n.out.ipynb")) == 3
    (tmp_path / "go").touch()
    outcome, _ = run(path, resume="last")
    assert outcome.ok
    assert executed(tmp_path) == ["one", "two", "two", "three"]


def test_a_second_ctrl_c_ends_the_kernel(tmp_path, shell: Shell):
    """A body that swallows the interrupt ends with the second Ctrl-C, which kills its kernel."""
    write(tmp_path / "n.ipynb", STUBBORN)
    child = shell.start("run", "n.ipynb")
    until((tmp_path / "pid").exists, "the cell")
    child.send_signal(signal.SIGINT)
    until((tmp_path / "caught").exists, "the swallowed interrupt")
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 130, (out, err)


def test_cancel_from_another_process(tmp_path, shell: Shell):
    """``prefect-nb cancel`` stops a cell that runs elsewhere; the run is Cancelled, the rest not run, exit status 1."""
    write(tmp_path / "n.ipynb", ledger("one"), ledger("two", HOLD), ledger("three", "two"))
    child = shell.start("run", "n.ipynb")
    running(tmp_path, "two")
    done = CliRunner().invoke(cli, ["cancel"])
    assert done.exit_code == 0, done.output
    out, err = child.communicate(timeout=30)
    assert child.returncode == 1, (out, err)
    assert (status()["state"], states()) == ("Cancelled", {"one": "Success", "two": "Cancelled", "three": "NotRun"})
    assert executed(tmp_path) == ["one", "two"]


def test_papermill_shares_the_store(tmp_path, shell: Shell):
    """Papermill's own command line with our engine finds what our runner computed, and keeps its own metadata."""
    path = write(tmp_path / "n.ipynb", "# parameters\nn: int = 1", "%%task a\na = n + 1", "print(a)")
    assert run(path, given={"n": Text("4")})[0].ok
    done = shell("n.ipynb", "o.ipynb", "--engine", "prefect_nb", "-p", "n", "4", program=PAPERMILL)
    assert done.returncode == 0, done.stderr
    assert states() == {"a": "Cached"}
    cells = output(tmp_path / "o.ipynb")
    assert text(cells[-1]) == "5\n"
    kept = cells[-1]["metadata"]["papermill"]
    assert (kept["status"], kept["exception"]) == ("completed", False)
    assert kept["duration"] >= 0
    assert json.loads((tmp_path / "o.ipynb").read_text())["metadata"]["papermill"]["parameters"] == {"n": 4}


def test_papermill_reports_a_failed_flow_its_own_way(tmp_path, shell: Shell):
    """The banner names the failed cell, the exit status is not 0, and yet unrelated tasks ran."""
    write(tmp_path / "n.ipynb", ledger("bad", "1 / 0"), ledger("other"))
    done = shell("n.ipynb", "o.ipynb", "--engine", "prefect_nb", program=PAPERMILL)
    assert done.returncode == 1
    assert "PapermillExecutionError" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    cells = output(tmp_path / "o.ipynb")
    assert "An Exception was encountered" in "".join(cells[0]["source"])
    assert executed(tmp_path) == ["bad", "other"]
    statuses = [c["metadata"]["papermill"]["status"] for c in cells if c["cell_type"] == "code"]
    assert statuses == ["failed", "completed"]


def test_papermill_refuses_wrong_parameters(tmp_path, shell: Shell):
    """With our engine papermill refuses unknown and ill-typed parameters: status 2, no output."""
    write(tmp_path / "n.ipynb", "# parameters\nn: int = 1\ns: str = ''", "print(n)")
    arguments = ["--engine", "prefect_nb", "-p", "n", "x", "-p", "m", "1", "-p", "s", "1"]
    done = shell("n.ipynb", "o.ipynb", *arguments, program=PAPERMILL)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for words in ("n: 'x' is not an int", "'m' is unknown", "s: 1 is not a str"):
        assert words in done.stderr
    assert not (tmp_path / "o.ipynb").exists()


def test_a_kernel_that_cannot_start_is_named(tmp_path):
    """A kernel that ends at once, or lacks prefect_nb, is our error naming the kernel; no output is left."""
    kernels = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels"
    hide = (
        "import sys; sys.modules['prefect_nb'] = None; from ipykernel import kernelapp; kernelapp.launch_new_instance()"
    )
    specs = {"stillborn": ["false"], "bare": [sys.executable, "-c", hide, "-f", "{connection_file}"]}
    for name, argv in specs.items():
        (kernels / name).mkdir(parents=True, exist_ok=True)
        spec = {"argv": argv, "display_name": name, "language": "python"}
        (kernels / name / "kernel.json").write_text(json.dumps(spec))
    write(tmp_path / "n.ipynb", "a = 1")
    for name, words in (("stillborn", "did not start"), ("bare", "cannot be loaded")):
        done = CliRunner().invoke(cli, ["run", "n.ipynb", "--kernel", name])
        assert done.exit_code == 1, done.output
        assert f"'{name}'" in done.stderr
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "n.out.ipynb").exists()
