"""Notebooks to write, stores with a past, and a shell to run our commands in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect_nb
from prefect_nb.core import events as ev
from prefect_nb.core.events import ErrorInfo
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.engine.recovery import Opening, open_session
from prefect_nb.engine.session import Session
from prefect_nb.protocols import LogChunk
from prefect_nb.stores.sqlite import SqliteStore

ROOT = Path(prefect_nb.__file__).resolve().parents[1]
CLI = [sys.executable, "-c", "from prefect_nb.apps.cli import main; main()"]
LIMIT = 60.0
KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def notebook(*cells: str, kernel: dict[str, str] | None = KERNELSPEC, minor: int = 5) -> dict[str, Any]:
    """A notebook with these code cells; one that begins with ``# parameters`` carries the tag."""
    rows = []
    for number, source in enumerate(cells):
        tags = ["parameters"] if source.startswith("# parameters") else []
        row = {
            "cell_type": "code",
            "metadata": {"tags": tags},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        rows.append(row | ({"id": f"c{number}"} if minor >= 5 else {}))
    metadata = {"kernelspec": kernel} if kernel else {}
    return {"nbformat": 4, "nbformat_minor": minor, "metadata": metadata, "cells": rows}


def write(path: Path, *cells: str, **options: Any) -> Path:
    """Write a notebook with these code cells."""
    path.write_text(json.dumps(notebook(*cells, **options)))
    return path


def ledger(name: str, body: str = "") -> str:
    """A task that notes each execution of its body in a file, and binds its own name."""
    return f'%%task {name}\nprint("{name}", file=open("ledger.txt", "a"), flush=True)\n{body}\n{name} = 1\n'


def executed(folder: Path) -> list[str]:
    """What the tasks of :func:`ledger` noted, in order."""
    path = folder / "ledger.txt"
    return path.read_text().split() if path.exists() else []


def until(condition: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
    """Wait for a condition, and fail by name when it does not come."""
    ends = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < ends, f"{what} did not happen within {limit} s"
        time.sleep(0.02)
    return value


class Shell:
    """Runs our commands, and other programs, as a user does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.env = {**os.environ, "PYTHONPATH": path}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, program: list[str] | None = None) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        child = subprocess.Popen(
            [*(program or CLI), *arguments],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(child)
        return child

    def __call__(self, *arguments: str, program: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        child = self.start(*arguments, program=program)
        out, err = child.communicate(timeout=LIMIT)
        return subprocess.CompletedProcess(arguments, child.returncode, out, err)

    def close(self) -> None:
        """End what is still running."""
        for child in self.started:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()


class Past:
    """A store with runs that a kernel could have left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteStore(folder / ".prefect_nb")
        self.at = 1_700_000_000.0

    def now(self) -> float:
        """A clock that ticks once a call."""
        self.at += 1.0
        return self.at

    def open(self, run: str, flow: str = "report", *, live: bool = False) -> Session:
        """Begin a run."""
        worker = self.store.open_worker("kernel", flow)
        opening = Opening(flow, str(self.folder / f"{flow}.ipynb"), live, worker, run, {"region": "EU"})
        session, _ = open_session(self.store, opening, self.now)
        names = [{"task": n, "cell": f"c-{n}", "position": i} for i, n in enumerate(("load", "clean"), 1)]
        edge = {"source": "load", "target": "clean", "names": ["raw"], "kind": "data"}
        session.describe({"order_known": True, "nodes": names, "edges": [edge]})
        return session

    def enter(self, session: Session, task: str, *upstream: str) -> VisitId:
        """Let a task's body begin, with a line in its log."""
        visit = VisitId(task)
        above = tuple(VisitId(name) for name in upstream)
        reason = Reason(ReasonCode.FIRST)
        session.ask(ev.TaskPlanned(at=self.now(), visit=visit, spec=TaskSpec(task), upstream=above, cell=f"c-{task}"))
        session.ask(ev.KeyResolved(at=self.now(), visit=visit, key=f"key-{task}", reason=reason))
        session.ask(ev.BodyEntered(at=self.now(), visit=visit, token=1))
        session.log(LogChunk(visit, 1, "stdout", f"{task} says hello\n", self.now()))
        return visit

    def succeed(self, session: Session, task: str, *upstream: str) -> None:
        """Let a task end well."""
        visit = self.enter(session, task, *upstream)
        session.ask(ev.BodyReturned(at=self.now(), visit=visit, token=1))

    def fail(self, session: Session, task: str) -> None:
        """Let a task raise."""
        visit = self.enter(session, task)
        session.ask(ev.BodyRaised(at=self.now(), visit=visit, token=1, error=ErrorInfo("ValueError", "no rows")))

    def finish(self, session: Session) -> None:
        """End a run."""
        session.ask(ev.RunClosed(at=self.now()))
        session.close()
