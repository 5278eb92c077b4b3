"""Limits by tag as authors meet them: flows, single calls, and processes that share a store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_parts import Ledger

from prefect_nb import Cache, Retry, flow, open_store, task
from prefect_nb.core.slots import Limits
from prefect_nb.core.states import StateName
from prefect_nb.errors import TaskCancelled

N = StateName
PATIENCE_S = 20.0
L = Ledger()


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Limits]:
    """The limits of the working folder's store, opened as a script does."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]
    store: Any = open_store()
    yield store
    store.close()


class Crowd:
    """How many bodies are inside at a time, and the most there ever were; a body stays until all that fit are in."""

    def __init__(self, size: int) -> None:
        self._changed = threading.Condition()
        self._size = size
        self._inside = 0
        self._rounds = 0
        self.most = 0

    def visit(self) -> None:
        """Enter, wait until the crowd is complete once, leave."""
        with self._changed:
            self._inside += 1
            self.most = max(self.most, self._inside)
            mine = self._rounds
            if self._inside == self._size:
                self._rounds += 1
                self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._rounds > mine, PATIENCE_S), "the slots were not all used"
            self._inside -= 1


def said(run: Any, name: str, words: str) -> None:
    """Return when a task of a run says something of its state."""
    heard = threading.Event()

    def look(state: Any) -> None:
        found = state.find(name)
        if found is not None and words in found.state.message:
            heard.set()

    run.session.bus.subscribe(look)
    look(run.session.run)
    assert heard.wait(PATIENCE_S), run.tasks[name].state


def test_a_flow_keeps_within_a_limit_and_uses_all_of_it(limits: Limits) -> None:
    """Of six tasks with a limit of two, two run at a time, never three; another tag is not held up; none is left."""
    crowd = Crowd(2)

    @task(tags=("db",))
    def query(x: int) -> int:
        crowd.visit()
        return x

    @task(tags=("nightly",))
    def free(x: int) -> int:
        return x

    @flow(workers=6)
    def many() -> Any:
        return query.map(range(6)), free.map(range(3))

    limits.set_limit("db", 2)
    assert many.submit().result(PATIENCE_S) == ([0, 1, 2, 3, 4, 5], [0, 1, 2])
    assert crowd.most == 2
    assert limits.slots_used() == {"db": 0}


def test_who_waits_holds_no_thread_and_no_slot(limits: Limits) -> None:
    """With one worker, tasks that wait for a limit of 0 keep nothing from running; what was reused needs no slot."""

    @task(tags=("db",), cache=Cache("always"))
    def query(x: int) -> int:
        return x

    @task
    def other() -> str:
        L.event("other").set()
        return "done"

    @flow(workers=1)
    def reusable() -> Any:
        return query.map(range(3))

    assert reusable() == [0, 1, 2]
    limits.set_limit("db", 0)
    assert reusable.submit().result(PATIENCE_S) == [0, 1, 2], "earlier results need no slot"

    @flow(workers=1)
    def fresh() -> Any:
        return query.map(range(5, 8)), other()

    run = fresh.submit()
    said(run, "query[2]", "waits for db: its limit is 0")
    L.wait("other")
    assert [child.state.name for child in run.tasks["query"].children] == [N.QUEUED] * 3
    limits.set_limit("db", 1)
    assert run.result(PATIENCE_S) == ([5, 6, 7], "done")


def test_a_retry_wait_gives_the_slot_to_another(limits: Limits) -> None:
    """With a limit of one, the second task runs while the first waits for its retry."""

    @task(tags=("db",), retry=Retry(1, delay=0.05))
    def first() -> str:
        if L.enter("first") == 1:
            raise ValueError("not yet")
        L.wait("second ran")
        return "ok"

    @task(tags=("db",))
    def second() -> str:
        L.event("second ran").set()
        return "too"

    @flow(workers=2)
    def both() -> Any:
        return first(), second()

    limits.set_limit("db", 1)
    run = both.submit()
    assert run.result(PATIENCE_S) == ("ok", "too")


def test_two_limits_and_nested_calls_do_not_lock_each_other(limits: Limits) -> None:
    """Tasks with both tags in both orders come through, and a task calls another one with the tag that it holds."""

    @task(tags=("a",))
    def inner(x: int) -> int:
        return x

    @task(tags=("a", "b"))
    def one(x: int) -> int:
        return inner(x)

    @task(tags=("b", "a"))
    def two(x: int) -> int:
        return inner(-x)

    @flow(workers=8)
    def mixed() -> Any:
        return one.map(range(4)), two.map(range(4)), inner.map(range(10, 14))

    limits.set_limit("a", 1)
    limits.set_limit("b", 1)
    assert mixed.submit().result(PATIENCE_S) == ([0, 1, 2, 3], [0, -1, -2, -3], [10, 11, 12, 13])


def test_a_queued_task_of_a_flow_can_be_cancelled(limits: Limits) -> None:
    """Cancelling the run ends what waits for a slot at once."""

    @task(tags=("db",))
    def query() -> None:
        raise AssertionError("it was entered")

    @flow
    def waits() -> Any:
        return query()

    limits.set_limit("db", 0)
    run = waits.submit()
    said(run, "query", "its limit is 0")
    run.cancel()
    with pytest.raises(TaskCancelled):
        run.result(PATIENCE_S)
    assert run.tasks["query"].state.name is N.NOT_RUN


MODULE = """
import os, sys, time
from pathlib import Path
from prefect_nb import Cache, flow, task

def note(word):
    with open("ledger.txt", "a") as file:
        file.write(f"{word} {os.getpid()}\\n")

@task(tags=("db",), cache=Cache("never"))
def query(x):
    note("in")
    os.sched_yield()
    note("out")
    return x

@task(tags=("db",), cache=Cache("never"))
def stuck():
    note("in")
    while True:
        time.sleep(0.1)

@flow
def many(n: int):
    return query.map(range(n))

@flow
def forever():
    return stuck()
"""


@pytest.fixture
def script(limits: Limits, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a process with flows in the working folder; all are ended with the test."""
    (tmp_path / "flowcode.py").write_text(MODULE)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        text = f"from flowcode import *\n{code}"
        env = {**os.environ, "PYTHONPATH": path}
        started.append(subprocess.Popen([sys.executable, "-c", text], env=env, text=True, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def ledger() -> list[str]:
    """What bodies noted, in order."""
    return Path("ledger.txt").read_text().splitlines() if Path("ledger.txt").exists() else []


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for what another process does."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(f"{what} never happened")


def test_two_processes_never_overlap(limits: Limits, script: Callable[[str], Any]) -> None:
    """With a limit of one, every body of either process is out before the next is in; and both had their turns."""
    limits.set_limit("db", 1)
    processes = [script("assert many(15) == list(range(15))") for _ in range(2)]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0]
    lines = ledger()
    assert len(lines) == 60
    for entry, leave in zip(lines[::2], lines[1::2], strict=True):
        assert (entry.split()[0], leave) == ("in", "out " + entry.split()[1])
    assert len({line.split()[1] for line in lines}) == 2


def test_the_slot_of_a_killed_process_is_free(limits: Limits, script: Callable[[str], Any]) -> None:
    """``kill -9`` of the holder lets the waiter in."""
    limits.set_limit("db", 1)
    holder = script("forever()")
    until(lambda: len(ledger()) == 1, "the entry of the holder")
    waiter = script("assert many(1) == [0]")
    until(lambda: limits.turns("").used == {"db": 1} and _waiting(limits), "the waiter's ticket")
    assert waiter.poll() is None
    os.kill(holder.pid, signal.SIGKILL)
    assert waiter.wait(PATIENCE_S) == 0
    assert ledger()[1:] == [f"in {waiter.pid}", f"out {waiter.pid}"]


def _waiting(limits: Any) -> bool:
    """Whether any task is Queued, as the store tells."""
    return any(row.state == "Queued" for run in limits.runs() for row in limits.visits(run.run))
