"""SIGINT around bodies, in this process; kernels are tested in ``tests/kernel``."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import Any

import pytest

from prefect_nb.authoring.interrupts import Interrupts


def _stop() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_former_handler_comes_back() -> None:
    """Outside a body the handler is the one that was there before, also after an interrupt."""
    former = signal.getsignal(signal.SIGINT)
    interrupts = Interrupts()
    with interrupts.around(1) as guard:
        assert signal.getsignal(signal.SIGINT) != former
        with pytest.raises(KeyboardInterrupt), guard.running():
            _stop()
    assert guard.why == "stop"
    assert signal.getsignal(signal.SIGINT) == former


def test_a_request_is_for_its_token_only() -> None:
    """Another token, and the right one after the end, are refused and do nothing."""
    interrupts = Interrupts()
    with interrupts.around(5) as guard, guard.running():
        assert not interrupts.request(4, "cancel")
    assert not interrupts.request(5, "cancel")
    assert guard.why is None


def test_bodies_nest() -> None:
    """A request for the inner body marks the inner one alone; Stop marks both."""
    interrupts = Interrupts()
    with interrupts.around(1) as outer, outer.running():
        with pytest.raises(KeyboardInterrupt), interrupts.around(2) as inner, inner.running():
            interrupts.request(2, "timeout")
        assert (outer.why, inner.why) == (None, "timeout")
        with pytest.raises(KeyboardInterrupt), interrupts.around(3) as third, third.running():
            _stop()
        assert (outer.why, third.why) == ("stop", "stop")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_between_our_lines_waits_for_the_body() -> None:
    """What strikes while none of the body's lines runs is raised at its next line, or forgotten when there is none."""
    interrupts = Interrupts()
    with interrupts.around(1) as guard:
        _stop()
        with pytest.raises(KeyboardInterrupt), guard.running():
            raise AssertionError("the body must not run")
        _stop()
    with interrupts.around(2) as guard, guard.running():
        pass
    assert guard.why is None


def test_waiting_is_cancelled_and_the_task_is_as_new() -> None:
    """A body that awaits gets CancelledError, and the asyncio task around it may go on awaiting."""
    interrupts = Interrupts()

    async def body() -> None:
        asyncio.get_running_loop().call_soon(_stop)
        await asyncio.sleep(60)

    async def main() -> tuple[Any, int]:
        with interrupts.around(1) as guard, pytest.raises(asyncio.CancelledError):
            await guard.drive(body())
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return guard.why, task.cancelling()

    assert asyncio.run(main()) == ("stop", 0)


def test_a_thread_may_have_a_guard_but_gets_no_signals() -> None:
    """Outside the main thread a guard is allowed and requests for it are refused."""
    interrupts, answers = Interrupts(), []

    def work() -> None:
        with interrupts.around(9) as guard, guard.running():
            answers.append(interrupts.request(9, "cancel"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]


def test_many_late_requests_never_leave_the_body() -> None:
    """A request racing with the end of its body either interrupts that body or nothing."""
    interrupts, over = Interrupts(), threading.Event()
    token = 0

    def ask() -> None:
        while not over.is_set():
            interrupts.request(token, "cancel")

    thread = threading.Thread(target=ask)
    thread.start()
    reached = 0
    try:
        while token < 100 or (not reached and token < 10_000):
            token += 1
            try:
                with interrupts.around(token) as guard, guard.running():
                    os.sched_yield()  # lets the other thread in
            except KeyboardInterrupt:
                reached += 1
            sum(range(200))  # the next cell: an interrupt here fails the test
    finally:
        over.set()
        thread.join()
    assert reached
    assert guard.token == token
