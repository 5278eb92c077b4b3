"""Iterations: a body that asks for another one is entered again with what it handed on, as one visit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cell_parts import Book
from flow_parts import Ledger

from prefect_nb import Retry, context, flow, resume, signals, task
from prefect_nb.errors import PrefectNBError

L = Ledger()


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]


def _pages(last: int) -> list[int]:
    found = [*(context.loop_result or []), context.loop_count]
    L.enter("pages")
    if context.loop_count < last:
        raise signals.loop(found, f"page {context.loop_count}")
    return found


pages = task(name="pages")(_pages)


@task(name="pages_async")
async def pages_async(last: int) -> list[int]:
    await asyncio.sleep(0)
    return _pages(last)


@task(name="pages_far", executor="processes")
def pages_far(last: int) -> list[int]:
    found = [*(context.loop_result or []), context.loop_count]
    if context.loop_count < last:
        raise signals.loop(found)
    return found


@pytest.mark.parametrize("which", [pages, pages_async, pages_far], ids=lambda t: t.spec.name)
def test_a_body_is_entered_once_for_each_iteration(which: Any) -> None:
    """One visit, with its attempts counted on; the value is the last iteration's."""

    @flow
    def etl() -> Any:
        return which(3)

    run = etl.submit()
    assert run.result() == [1, 2, 3]
    found = run.tasks[which.spec.name]
    assert (found.state.name, found.attempts) == ("Success", 3)


def test_each_element_of_a_map_has_its_own_iterations() -> None:
    """And what depends on the map has the last values."""

    @flow
    def etl() -> Any:
        return pages.map([1, 3, 2])

    assert etl() == [[1], [1, 2, 3], [1, 2]]
    assert L.entries["pages"] == 6


@pytest.mark.parametrize(("retries", "fails"), [(1, 1), (2, 2)])
def test_an_iteration_has_all_its_retries_and_a_retry_enters_the_one_that_failed(retries: int, fails: int) -> None:
    """Two iterations fail as often as they may; nothing that was done is done again."""

    @task(retry=Retry(retries))
    def shaky() -> Any:
        turn, found = context.loop_count, context.loop_result or 0
        if turn in (2, 3) and L.enter(f"fail {turn}") <= fails:
            raise OSError("busy")
        L.enter(f"done {turn}")
        if turn < 4:
            raise signals.loop(found + turn)
        return found

    @flow
    def etl() -> Any:
        return shaky()

    run = etl.submit()
    assert run.result() == 6
    assert run.tasks["shaky"].attempts == 4 + 2 * fails
    assert [L.entries[f"done {turn}"] for turn in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_a_resumed_run_begins_with_the_iteration_that_failed() -> None:
    """Also in the visit of a new life of the run."""

    @task
    def third_fails() -> Any:
        turn, found = context.loop_count, context.loop_result or ()
        L.enter(f"turn {turn}")
        if turn == 3 and L.enter("fail") == 1:
            raise ValueError("not today")
        if turn < 4:
            raise signals.loop([*found, turn])
        return found

    @flow
    def etl() -> Any:
        return third_fails()

    run = etl.submit()
    with pytest.raises(ValueError, match="not today"):
        run.result()
    again = resume(run.id)
    assert again.result() == [1, 2, 3]
    assert L.entries == {"turn 1": 1, "turn 2": 1, "turn 3": 2, "turn 4": 1, "fail": 2}


def test_what_cannot_be_stored_is_the_tasks_failure() -> None:
    """A run could not go on with it."""

    @task
    def handle() -> Any:
        raise signals.loop(open(__file__))  # noqa: SIM115

    @flow
    def etl() -> Any:
        return handle()

    run = etl.submit()
    with pytest.raises(PrefectNBError, match="cannot be written down"):
        run.result()
    assert run.tasks["handle"].state.name == "Failed"


def test_a_cancelled_loop_ends() -> None:
    """Between two iterations or in one."""

    @task
    def endless() -> Any:
        L.event("looping").set()
        raise signals.loop(1)

    @flow
    def etl() -> Any:
        return endless()

    run = etl.submit()
    L.wait("looping")
    run.cancel()
    assert run.wait(20).name == "Cancelled"
    assert run.tasks["endless"].state.name in ("Cancelled", "NotRun")


def test_outside_of_bodies_there_is_no_iteration() -> None:
    """In a body that never loops it is the first."""

    @task
    def plain() -> Any:
        return context.loop_count, context.loop_result

    @flow
    def etl() -> Any:
        return plain()

    assert etl() == (1, None)
    with pytest.raises(PrefectNBError, match="outside of a task's body"):
        context.loop_result


def test_a_call_in_a_cell_loops(book: Book) -> None:
    """The caller waits for the last iteration's value."""
    book.execute(
        "one",
        "from prefect_nb import context, signals, task\n@task\ndef count(n):\n"
        "    if context.loop_count < n:\n        raise signals.loop((context.loop_result or 0) + 10)\n"
        "    return context.loop_result",
    )
    book.execute("two", "%%task total\nx = count(4)")
    assert book.shell.user_ns["x"] == 30
    assert book.visit("total.count").attempt == 4


def test_a_cell_loops(book: Book) -> None:
    """Each iteration begins with the variables as they were before the cell; what it hands on is in the context."""
    source = (
        "%%task walk\nfrom prefect_nb import context, signals\nhere = (context.loop_result or 0) + 1\n"
        "seen = globals().get('seen', 0) + 1\nif here < 3:\n    raise signals.loop(here)"
    )
    ran = book.execute("one", source)
    assert ran.error is None
    assert (book.shell.user_ns["here"], book.shell.user_ns["seen"]) == (3, 1)
    assert (book.state("walk"), book.visit("walk").attempt) == ("Success", 3)
