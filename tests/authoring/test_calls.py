"""Who is calling: carried by a context variable, unknown to other threads and to forked children."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from prefect_nb.authoring import calls
from prefect_nb.authoring.calls import Caller
from prefect_nb.core.spec import VisitId

FLOW: Any = object()


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    """No caller and no home before and after each test."""
    before = calls.home()
    calls.adopt(None)
    yield
    calls.enter(None)
    calls.adopt(before)


def test_the_innermost_caller_counts_and_the_outer_comes_back() -> None:
    """Callers nest, and a caller ends with its block, however that ends."""
    outer, inner = Caller(FLOW, VisitId("a")), Caller(FLOW, VisitId("b"))
    assert calls.current() is None
    with calls.calling(outer):
        with pytest.raises(KeyError), calls.calling(inner):
            raise KeyError(calls.current() is inner or pytest.fail("the inner caller does not count"))
        assert calls.current() is outer
    assert calls.current() is None


def test_who_entered_stays_until_somebody_else_enters() -> None:
    """The hooks around a plain cell set and clear the caller without a block."""
    caller = Caller(FLOW, None, "cell")
    calls.enter(caller)
    assert calls.current() is caller
    calls.enter(None)
    assert calls.current() is None


def test_a_thread_has_its_callers_context_only_if_it_takes_it() -> None:
    """A bare thread has no caller; one that runs in the caller's context has the same."""
    seen: list[Any] = []
    with calls.calling(caller := Caller(FLOW, VisitId("a"))):
        context = copy_context()
        for target in (lambda: seen.append(calls.current()), lambda: context.run(lambda: seen.append(calls.current()))):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [None, caller]


def test_calls_are_numbered_by_name_from_any_thread() -> None:
    """However many threads call, each call of a name has a number of its own, from 0 on."""
    caller = Caller(FLOW, VisitId("a"))
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: caller.number("f"), range(800)))
    assert sorted(numbers) == list(range(800))
    assert caller.number("g") == 0


def test_home_is_the_adopted_notebook() -> None:
    """The home is there until it is taken away, and is the last one adopted."""
    assert calls.home() is None
    other: Any = object()
    for flow in (FLOW, other, None):
        calls.adopt(flow)
        assert calls.home() is flow


def test_a_forked_child_has_no_caller_and_no_home() -> None:
    """The engine's threads do not survive a fork, so the child's tasks are plain functions."""
    calls.adopt(FLOW)
    with calls.calling(Caller(FLOW, VisitId("a"))):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:  # pragma: no cover
            os.write(writing, repr((calls.current(), calls.home())).encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            assert answer.read() == "(None, None)"
        assert calls.current() is not None
        assert calls.home() is FLOW
