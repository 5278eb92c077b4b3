"""What every executor must do. A check is a function of an executor with two slots that raises AssertionError.

Knows the protocol only; imports no test framework.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

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
    """A guarded body's value and its very error reach the job."""
    told = SimpleQueue[object]()
    error = ValueError("mine")

    def fails() -> None:
        raise error

    def job() -> None:
        told.put(executor.guarded("a", lambda: 5))
        try:
            executor.guarded("b", fails)
        except ValueError as caught:
            told.put(caught)

    executor.submit(job)
    assert told.get(timeout=_PATIENCE_S) == 5
    caught = told.get(timeout=_PATIENCE_S)
    assert isinstance(caught, ValueError)
    assert str(caught) == "mine"


def stops_the_body_that_was_meant(executor: Executor) -> None:
    """A stop ends a body that runs Python, hits no other one, and says when there is none."""
    began, told = threading.Barrier(3), SimpleQueue[tuple[str, bool]]()
    quiet = threading.Event()

    def body() -> None:
        began.wait(_PATIENCE_S)
        while not quiet.wait(0.001):
            pass

    def job(token: str) -> None:
        try:
            executor.guarded(token, body)
        except BodyStopped:
            told.put((token, True))
        else:
            told.put((token, False))

    assert not executor.stop("one"), "nothing runs yet"
    executor.submit(lambda: job("one"))
    executor.submit(lambda: job("two"))
    began.wait(_PATIENCE_S)
    assert executor.stop("one")
    assert told.get(timeout=_PATIENCE_S) == ("one", True)
    quiet.set()
    assert told.get(timeout=_PATIENCE_S) == ("two", False)
    assert not executor.stop("one"), "it has ended"


def survives_stops_that_come_too_late(executor: Executor) -> None:
    """A stop races with the end of its body many times; no later body is hit, and every job ends."""
    told = SimpleQueue[str]()

    def job(token: int) -> None:
        with suppress(BodyStopped):
            executor.guarded(token, lambda: ready.set())
        told.put("first")
        told.put(executor.guarded("next", lambda: "unhurt"))

    for token in range(200):
        ready = threading.Event()
        executor.submit(lambda token=token: job(token))  # type: ignore[misc]
        ready.wait(_PATIENCE_S)
        executor.stop(token)
        said = [told.get(timeout=_PATIENCE_S), told.get(timeout=_PATIENCE_S)]
        assert said == ["first", "unhurt"], said


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


EXECUTOR_CHECKS: tuple[Callable[[Executor], None], ...] = (
    runs_every_job_in_order,
    fills_its_slots_and_no_more,
    gives_back_values_and_errors,
    stops_the_body_that_was_meant,
    survives_stops_that_come_too_late,
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
