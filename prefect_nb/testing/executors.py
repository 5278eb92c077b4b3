"""What every executor must do. A check is a function of an executor with two slots that raises AssertionError.

Knows the protocol only; imports no test framework.
"""

from __future__ import annotations

import io
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from prefect_nb.executors.stopping import BodyStopped
from prefect_nb.protocols import Executor

__all__ = ["EXECUTOR_CHECKS", "check_executor"]

_PATIENCE_S = 20.0


def runs_every_job_in_order(executor: Executor) -> None:
    """All jobs run, and they begin in the order in which they were submitted."""
    lock, begun, ended = threading.Lock(), [], threading.Semaphore(0)

    def job(number: int) -> None:
        with lock:
            begun.append(number)
        ended.release()

    gate = threading.Event()

    def wait() -> None:
        gate.wait(_PATIENCE_S)

    for _ in range(executor.slots):
        executor.submit(wait)
    for number in range(40):
        executor.submit(lambda number=number: job(number))  # type: ignore[misc]
    assert not begun, "no slot was free"
    gate.set()
    for _ in range(40):
        assert ended.acquire(timeout=_PATIENCE_S), "a job was lost"
    assert sorted(begun) == list(range(40)), begun
    late = max(abs(place - number) for place, number in enumerate(begun))
    assert late <= 2 * executor.slots, f"out of order: {begun}"


def fills_its_slots_and_no_more(executor: Executor) -> None:
    """As many jobs as slots meet; one more has to wait."""
    barrier = threading.Barrier(executor.slots + 1)
    extra, told = threading.Event(), SimpleQueue[str]()

    def meet() -> None:
        barrier.wait(_PATIENCE_S)
        told.put("extra ran" if extra.is_set() else "alone")
        barrier.wait(_PATIENCE_S)

    for _ in range(executor.slots):
        executor.submit(meet)
    executor.submit(extra.set)
    barrier.wait(_PATIENCE_S)
    said = {told.get(timeout=_PATIENCE_S) for _ in range(executor.slots)}
    assert said == {"alone"}, "more jobs than slots"
    barrier.wait(_PATIENCE_S)
    assert extra.wait(_PATIENCE_S), "a job that had to wait was lost"


def gives_back_values_and_errors(executor: Executor) -> None:
    """A guarded body's value and its error, with the body's own lines, reach the job."""
    told = SimpleQueue[object]()

    def job() -> None:
        told.put(executor.guarded("a", _five))
        try:
            executor.guarded("b", _fails)
        except ValueError as caught:
            told.put(caught)

    executor.submit(job)
    assert told.get(timeout=_PATIENCE_S) == 5
    caught = told.get(timeout=_PATIENCE_S)
    assert isinstance(caught, ValueError)
    assert str(caught) == "mine"
    lines = traceback.extract_tb(caught.__traceback__)
    assert lines[-1].name == "_fails", lines
    assert lines[-1].line == 'raise ValueError("mine")', lines


def shows_what_a_body_prints(executor: Executor) -> None:
    """What a body writes goes to the streams of the job that waits for it, in its order."""
    told, shown = SimpleQueue[str](), io.StringIO()

    def job() -> None:
        with redirect_stdout(shown), redirect_stderr(shown):
            executor.guarded("a", _speaks)
        told.put(shown.getvalue())

    executor.submit(job)
    assert told.get(timeout=_PATIENCE_S) == "one\ntwo\nthree\n"


def stops_the_body_that_was_meant(executor: Executor) -> None:
    """A stop ends a body that runs Python, hits no other one, and says when there is none."""
    told = SimpleQueue[tuple[str, bool]]()

    def job(token: str, folder: str) -> None:
        try:
            executor.guarded(token, partial(_waits, folder, token))
        except BodyStopped:
            told.put((token, True))
        else:
            told.put((token, False))

    assert not executor.stop("one"), "nothing runs yet"
    with TemporaryDirectory() as folder:
        executor.submit(lambda: job("one", folder))
        executor.submit(lambda: job("two", folder))
        for token in ("one", "two"):
            _until(Path(folder, token))
        assert executor.stop("one")
        assert told.get(timeout=_PATIENCE_S) == ("one", True)
        Path(folder, "quiet").touch()
        assert told.get(timeout=_PATIENCE_S) == ("two", False)
    assert not executor.stop("one"), "it has ended"


def survives_stops_that_come_too_late(executor: Executor) -> None:
    """A stop races with the end of its body many times; no later body is hit, and every job ends."""
    told = SimpleQueue[object]()

    def job(token: int) -> None:
        with suppress(BodyStopped):
            executor.guarded(token, _five)
        told.put("first")
        told.put(executor.guarded("next", _five))

    for token in range(10 if executor.hard else 200):  # a stop that strikes costs a hard one its process
        executor.submit(lambda token=token: job(token))  # type: ignore[misc]
        while told.empty() and not executor.stop(token):
            pass
        said = [told.get(timeout=_PATIENCE_S), told.get(timeout=_PATIENCE_S)]
        assert said == ["first", 5], said


def ends_deaf_bodies_if_it_is_hard(executor: Executor) -> None:
    """Where a stop is said to be hard, it ends a body that swallows every exception, and the slot is free again."""
    if not executor.hard:
        return
    told = SimpleQueue[object]()

    def job(folder: str) -> None:
        try:
            executor.guarded("deaf", partial(_deaf, folder))
        except BodyStopped:
            told.put("stopped")
        told.put(executor.guarded("next", _five))

    with TemporaryDirectory() as folder:
        executor.submit(lambda: job(folder))
        _until(Path(folder, "deaf"))
        assert executor.stop("deaf")
        assert told.get(timeout=_PATIENCE_S) == "stopped"
        assert told.get(timeout=_PATIENCE_S) == 5


def closes(executor: Executor) -> None:
    """After closing nothing begins; it says whether what ran has ended."""
    began, gate, late = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        began.set()
        gate.wait(_PATIENCE_S)

    executor.submit(job)
    began.wait(_PATIENCE_S)
    assert not executor.close(patience_s=0.0), "a body still runs"
    gate.set()
    assert executor.close(patience_s=_PATIENCE_S)
    executor.submit(late.set)
    assert not late.wait(0.05), "it was closed"


# Bodies may travel to other processes, so they are functions of this module and meet in files.


def _five() -> int:
    return 5


def _fails() -> None:
    raise ValueError("mine")


def _speaks() -> None:
    print("one")
    print("two", file=sys.stderr)
    print("three")


def _waits(folder: str, token: str) -> None:
    Path(folder, token).touch()
    _until(Path(folder, "quiet"))


def _deaf(folder: str) -> None:
    Path(folder, "deaf").touch()
    while True:
        with suppress(BaseException):
            _until(Path(folder, "never"))


def _until(path: Path) -> None:
    """Wait for a file, in small steps, so that a stop is heard between them."""
    step, limit = threading.Event(), time.monotonic() + _PATIENCE_S
    while not path.exists():
        assert time.monotonic() < limit, f"{path.name} never happened"
        step.wait(0.002)


EXECUTOR_CHECKS: tuple[Callable[[Executor], None], ...] = (
    runs_every_job_in_order,
    fills_its_slots_and_no_more,
    gives_back_values_and_errors,
    shows_what_a_body_prints,
    stops_the_body_that_was_meant,
    survives_stops_that_come_too_late,
    ends_deaf_bodies_if_it_is_hard,
    closes,
)


def check_executor(factory: Callable[[], Executor]) -> None:
    """Run every check on an executor of its own.

    Parameters
    ----------
    factory : callable
        Gives a new executor with two slots.
    """
    for check in EXECUTOR_CHECKS:
        executor = factory()
        try:
            check(executor)
        finally:
            executor.close(patience_s=_PATIENCE_S)
