"""The commands that look at a store and steer it, through click and on a real store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from apps_parts import ROOT, Past
from click.testing import CliRunner, Result

from prefect_nb.apps.cli import cli
from prefect_nb.core import events as ev
from prefect_nb.core.policy import Retry
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec, VisitId


def call(*arguments: str, status: int = 0) -> Result:
    """Run a command in this process."""
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == status, (done.output, done.exception)
    assert "Traceback" not in done.output
    return done


def told(*arguments: str) -> object:
    """What a command prints as JSON."""
    return json.loads(call(*arguments, "--json").stdout)


@pytest.fixture
def report(past: Past) -> Past:
    """A store with a failed run, and a later one that succeeded."""
    first = past.open("20240101-000000-aaaaaa")
    past.succeed(first, "load")
    past.fail(first, "clean")
    past.finish(first)
    second = past.open("20240102-000000-bbbbbb")
    past.succeed(second, "load")
    past.succeed(second, "clean", "load")
    past.finish(second)
    return past


def test_status_is_the_latest_run(report):
    """``status --json`` has exactly the promised keys, for the newest run, in the order of the notebook."""
    found = told("status")
    order = ["name", "state", "type", "attempt", "duration_s", "cached_from", "reason"]
    assert [list(row) for row in found["tasks"]] == [order, order]
    assert all(row.pop("duration_s") > 0 for row in found["tasks"])
    task = {"state": "Success", "type": "COMPLETED", "attempt": 1, "cached_from": None}
    task["reason"] = "runs for the first time"
    assert found == {
        "run": "20240102-000000-bbbbbb",
        "flow": "report",
        "state": "Success",
        "type": "COMPLETED",
        "tasks": [{"name": "load", **task}, {"name": "clean", **task}],
    }
    assert list(found) == ["run", "flow", "state", "type", "tasks"]


def test_status_of_another_run(report):
    """A run is named by its id or the beginning of it; its failed task shows the error."""
    found = told("status", "20240101")
    assert [(t["name"], t["state"]) for t in found["tasks"]] == [("load", "Success"), ("clean", "Failed")]
    text = call("status", "20240101").stdout
    assert "ValueError: no rows" in text
    assert "Failed" in text


def test_runs_lists_the_newest_first(report):
    """``runs`` tells id, state, time and parameters of each run."""
    found = told("runs")
    assert [(r["run"][-6:], r["state"]) for r in found] == [("bbbbbb", "Success"), ("aaaaaa", "Failed")]
    assert found[0]["parameters"] == {"region": "EU"}
    assert [r["run"][-6:] for r in told("runs", "-n", "1")] == ["bbbbbb"]
    assert told("runs", "--flow", "other") == []
    assert "bbbbbb" in call("runs").stdout.splitlines()[2]


def test_why_gives_the_reason(report):
    """``why`` says in what state the task is, because of what, and through which states it went."""
    assert "because runs for the first time" in call("why", "clean").stdout
    found = told("why", "clean", "20240101")
    assert (found["state"], found["because"]) == ("Failed", "runs for the first time")
    assert [line["name"] for line in found["states"]][-2:] == ["Running", "Failed"]


def test_logs_are_printed_as_they_were(report):
    """``logs`` prints one task's output and nothing else; ``--all`` prints every task's under its name."""
    assert call("logs", "load").stdout == "load says hello\n"
    both = call("logs", "--all").stdout
    assert both.index("── load#1 · attempt 1\nload says hello") < both.index("── clean#1 · attempt 1\nclean says hello")
    assert [(c["task"], c["stream"], c["text"]) for c in told("logs", "clean")] == [
        ("clean", "stdout", "clean says hello\n")
    ]
    call("logs", status=2)
    call("logs", "a", "b", "c", status=2)


def test_graph_in_every_form(report, tmp_path):
    """``graph`` writes SVG to a file or the output, DOT, JSON, or a list of edges."""
    assert call("graph").stdout.splitlines()[-1].split() == ["load", "clean", "raw"]
    assert call("graph", "--dot").stdout.startswith("digraph")
    assert call("graph", "--svg", "-").stdout.startswith("<svg")
    call("graph", "--svg", str(tmp_path / "g.svg"))
    assert (tmp_path / "g.svg").read_text().startswith("<svg")
    assert [node["id"] for node in told("graph")["nodes"]] == ["load", "clean"]
    call("graph", "--svg", "-", "--dot", status=2)
    call("graph", "--svg", str(tmp_path / "nowhere" / "g.svg"), status=1)


def test_unknown_runs_and_tasks_are_named(report):
    """A run or task that does not exist is one named error, status 2, with what there is as the hint."""
    assert "no run 'zzz'" in call("status", "zzz", status=2).stderr
    done = call("why", "zzz", status=2)
    assert done.stderr.splitlines() == [
        "prefect-nb: run 20240102-000000-bbbbbb has no task 'zzz'",
        "  -> its tasks: load, clean",
    ]
    assert "several runs begin with" in call("status", "2024", status=1).stderr


def test_no_store_is_no_traceback(tmp_path):
    """Where there is no store, every command says so, and none makes one."""
    os.chdir(tmp_path)
    for command in (["status"], ["runs"], ["why", "a"], ["logs", "a"], ["graph"], ["cancel"]):
        assert "there is no store" in call(*command, status=1).stderr
    assert told("paths")["exists"] is False
    call("doctor")
    assert list(tmp_path.iterdir()) == []


def test_a_store_can_be_named(report, tmp_path, monkeypatch):
    """``--store`` takes the store's own folder or one that has it."""
    monkeypatch.chdir("/")
    for path in (tmp_path, tmp_path / ".prefect_nb"):
        assert told("status", "--store", str(path))["run"].endswith("bbbbbb")


def test_a_corrupt_store_is_named(report, tmp_path):
    """A damaged database is our error, and the doctor reports it with status 1."""
    report.store.close()
    for name in ("state.db-wal", "state.db-shm"):
        (tmp_path / ".prefect_nb" / name).unlink(missing_ok=True)
    (tmp_path / ".prefect_nb" / "state.db").write_bytes(b"no database at all" * 1000)
    done = call("status", status=1)
    assert "damaged" in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert "damaged" in call("doctor", status=1).stdout


def test_a_dead_run_is_told_as_crashed(past):
    """A run whose process is gone is Crashed at the first look, its running task too; a second look changes nothing."""
    dead = past.open("20240103-000000-cccccc")
    past.succeed(dead, "load")
    past.enter(dead, "clean", "load")
    dead.close()
    past.store.close()
    past.store = type(past.store)(past.folder / ".prefect_nb")
    found = told("status")
    assert (found["state"], [t["state"] for t in found["tasks"]]) == ("Crashed", ["Success", "Crashed"])
    assert told("status") == found


def test_cancel_reaches_a_waiting_task(past):
    """``cancel`` leaves a wish, waits until the owner acted and says what became of it."""
    session = past.open("20240104-000000-dddddd")
    visit = VisitId("load")
    retrying = TaskSpec("load", retry=Retry(3, delay=600))
    session.ask(ev.TaskPlanned(at=past.now(), visit=visit, spec=retrying, cell="c-load"))
    session.ask(ev.KeyResolved(at=past.now(), visit=visit, key="", reason=Reason(ReasonCode.FIRST)))
    session.ask(ev.BodyEntered(at=past.now(), visit=visit, token=1))
    session.ask(ev.BodyRaised(at=past.now(), visit=visit, token=1, error=ev.ErrorInfo("ValueError", "no rows")))
    assert session.run.visits[visit].state.label == "Retrying"
    done = call("cancel", "--task", "load")
    assert done.stdout == "task load of run 20240104-000000-dddddd is Cancelled\n"
    done = call("cancel")
    assert done.stdout == "run 20240104-000000-dddddd is Cancelled\n"
    assert "nothing to stop" in call("cancel", status=2).stderr
    session.close()


def test_cancel_says_when_nobody_listens(past):
    """A live owner that does not react within the time is told as such, with status 1."""
    session = past.open("20240105-000000-eeeeee")
    past.enter(session, "load")
    done = call("cancel", "--task", "load", "--wait", "0", status=1)
    assert "was asked to stop and is still" in done.stderr
    session.close()


def test_paths_and_doctor(report, tmp_path):
    """``paths`` says where things lie, ``doctor`` that all is sound; both as JSON too."""
    found = told("paths")
    assert found["store"] == str(tmp_path / ".prefect_nb")
    assert found["bytes"]["database"] > 0
    assert str(tmp_path / ".prefect_nb" / "results") in call("paths").stdout
    checked = told("doctor")
    grades = {finding["what"]: finding["grade"] for finding in checked["findings"]}
    assert checked["ok"] is True
    assert (grades["integrity"], grades["kernels"], grades["key"]) == ("ok", "ok", "ok")
    assert "every check passed" in call("doctor").stdout


def test_usage_errors_end_with_two():
    """An unknown command or option is a usage error; help and version are not."""
    call("frobnicate", status=2)
    call("status", "--frobnicate", status=2)
    for command in ([], ["run"], ["status"], ["runs"], ["why"], ["logs"], ["graph"], ["cancel"], ["paths"], ["doctor"]):
        assert "Usage:" in call(*command, "--help").stdout
    assert call("--version").stdout.startswith("prefect_nb ")


def test_help_loads_nothing_heavy():
    """``prefect-nb --help`` loads click and nothing that takes long."""
    code = (
        "import sys; from prefect_nb.apps.cli import main\ntry: main()\nexcept SystemExit: print(*sorted(sys.modules))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code, "--help"], env=env, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "click" in loaded
    assert loaded.isdisjoint(
        {"papermill", "nbformat", "nbclient", "jupyter_client", "IPython", "zmq", "yaml", "sqlite3"}
    )


def test_the_clock_of_the_past_is_not_ours(report):
    """Ages are told against the present: a run of 2023 is more than 300 days old."""
    days = int((time.time() - 1_700_000_000) // 86400)
    assert f"({days} d ago)" in call("runs").stdout


def test_commands_load_without_the_grammar_of_addresses() -> None:
    """Loading a command never loads the grammar that costs seconds, and hides it from nobody afterwards."""
    script = (
        "import importlib.util, sys\n"
        "from prefect_nb.apps.cli import cli\n"
        "cli.get_command(None, 'run')\n"
        "assert 'nbformat' in sys.modules\n"
        "assert 'rfc3987_syntax' not in sys.modules\n"
        "assert 'lark' not in sys.modules\n"
        "importlib.util.find_spec('rfc3987_syntax')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
