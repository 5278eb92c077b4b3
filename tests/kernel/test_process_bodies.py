"""Function tasks in worker processes, called from the cells of a real kernel."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, said

pytestmark = pytest.mark.kernel

DEFINED = """import ctypes, os, time
from prefect_nb import Retry, task
class Order:
    size = 3
@task(executor="processes")
def elsewhere(x):
    print("said", x)
    return Order(), os.getpid()
@task(executor="processes")
def broken(x):
    return 1 / x
@task(executor="processes", retry=Retry(crashes=0))
def segfault():
    ctypes.string_at(0)
@task(executor="processes", timeout=0.3)
def slow():
    time.sleep(100)
@task(executor="processes")
def endless():
    print("go", os.getpid(), flush=True)
    time.sleep(100)"""


@pytest.fixture(scope="module")
def notebook(shared_kernel: Any, tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    """A loaded notebook with such tasks, shared by the module."""
    made = Notebook(shared_kernel, tmp_path_factory.mktemp("ledger"))
    made.load()
    assert made.run("defined", DEFINED).ok
    return made


def test_a_cell_gets_values_and_shows_what_was_said(notebook: Notebook) -> None:
    """Notebook classes are the kernel's own when they come back; the text stands below the cell."""
    run = notebook.run("e", "%%task e\norder, pid = elsewhere(1)\ntype(order) is Order, pid == os.getpid()")
    assert run.ok, run.errors
    assert run.result == "(True, False)"
    assert run.text() == "said 1\n"


def test_errors_show_the_users_lines_only(notebook: Notebook) -> None:
    """The frame of the worker is shown with the cell's source, as if it had run here."""
    run = notebook.run("b", "%%task b\nbroken(0)")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(run.errors[0]["traceback"]))
    assert [e["ename"] for e in run.errors] == ["ZeroDivisionError"]
    assert "return 1 / x" in shown
    assert "/prefect_nb/" not in shown


def test_a_crash_and_a_limit_end_only_their_task(notebook: Notebook) -> None:
    """The kernel lives, the states say what happened, the cell gets an error that names it."""
    run = notebook.run("s", "%%task s\nsegfault()")
    assert [e["ename"] for e in run.errors] == ["TaskCrashed"]
    assert "SIGSEGV" in notebook.why("s.segfault")
    run = notebook.run("l", "%%task l\nslow()")
    assert [e["ename"] for e in run.errors] == ["TaskTimeout"]
    assert "TimedOut" in notebook.why("l.slow")
    assert "stopped" in notebook.why("l.slow")
    assert notebook.run("on", "square = 4\nsquare").result == "4"


def test_stop_ends_the_body_within_two_seconds(notebook: Notebook) -> None:
    """Stop ends the process of the body and the cell; both are Cancelled."""
    kernel = notebook.kernel
    request = kernel.send("%%task stopped\nendless()", cell_id="stopped")
    pid = int(kernel.wait(request, until=said("go")).text().split()[1])
    asked = time.monotonic()
    kernel.interrupt()
    run = kernel.wait(request, limit=15)
    assert time.monotonic() - asked < 2
    assert [e["ename"] for e in run.errors] == ["KeyboardInterrupt"]
    assert "Cancelled" in notebook.why("stopped.endless")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_worker_outlives_a_killed_kernel(notebook: Notebook) -> None:
    """After kill -9 of the kernel in the middle of a body nothing of it runs on."""
    kernel = notebook.kernel
    request = kernel.send("print('kernel', os.getpid(), flush=True)\nendless()", cell_id="killed")
    run = kernel.wait(request, until=said("go"))
    pids = [int(n) for n in re.findall(r"(?:kernel|go) (\d+)", run.text())]
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGKILL)
    limit = time.monotonic() + 10
    while _alive(pids[1]) and time.monotonic() < limit:
        threading.Event().wait(0.01)
    assert not _alive(pids[1])


def _alive(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
