"""The thread executor does what every executor must, and a deaf body does not keep it from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from prefect_nb.executors.threads import ThreadExecutor
from prefect_nb.protocols import Executor
from prefect_nb.testing import EXECUTOR_CHECKS

PATIENCE_S = 20.0


@pytest.mark.parametrize("check", EXECUTOR_CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check: Callable[[Executor], None]) -> None:
    """Each check of the conformance suite holds."""
    executor = ThreadExecutor(2)
    try:
        check(executor)
    finally:
        executor.close(patience_s=PATIENCE_S)


def test_threads_start_only_as_jobs_need_them() -> None:
    """One job after the other shares one thread, however many slots there are."""
    executor = ThreadExecutor(8)
    names = set()
    for _ in range(10):
        ended = threading.Event()

        def job(ended: threading.Event = ended) -> None:
            names.add(threading.current_thread().name)
            ended.set()

        executor.submit(job)
        assert ended.wait(PATIENCE_S)
    assert len(names) <= 2
    assert executor.close(patience_s=PATIENCE_S)
