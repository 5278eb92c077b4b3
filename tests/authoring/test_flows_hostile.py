"""Flows under ill treatment: arguments changed in place, nodes in wrong places, bodies and iterators that call exit."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_parts import PATIENCE_S, Ledger

from prefect_nb import Retry, context, flow, resume, signals, task, unmapped
from prefect_nb.authoring.functions import Task
from prefect_nb.authoring.runs import Run
from prefect_nb.core import events as ev
from prefect_nb.errors import NotAvailable, TaskCancelled, TaskFailed, UsageError

L = Ledger()
VERSION = [1]


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]
    VERSION[:] = [1]


@task
def inc(x: int) -> int:
    return x + 1


@task
def total(xs: Any) -> int:
    return sum(xs)


@task
def made() -> list[int]:
    return [1, 2, 3]


def all_final(run: Run) -> bool:
    """Whether nothing of it can go on."""
    return all(v.state.final for v in run._work.session.run.visits.values())


# --- arguments -------------------------------------------------------------------------------------------------------


def test_a_call_takes_its_arguments_as_they_are_then() -> None:
    """What the flow's body changes after a call is another call's."""

    @flow
    def etl() -> Any:
        rows: list[int] = []
        found = []
        for n in range(4):
            rows.append(n)
            found.append(total(rows))
        mapped = inc.map(rows)
        rows.clear()
        return found, mapped

    assert etl() == ([0, 1, 3, 6], [1, 2, 3, 4])


def test_bodies_that_run_together_share_nothing_that_they_change() -> None:
    """One body changes what it was given while another still reads it."""

    @task
    def spoil(xs: list[int]) -> int:
        L.wait("reading")
        xs.append(100)
        L.event("spoilt").set()
        return len(xs)

    @task
    def read(xs: list[int]) -> int:
        L.event("reading").set()
        L.wait("spoilt")
        return sum(xs)

    @flow
    def etl() -> Any:
        rows = made()
        return spoil(rows), read(rows), rows

    assert etl() == (4, 6, [1, 2, 3])


def test_children_share_nothing_that_they_change() -> None:
    """Each child has its own of what is unmapped, and of what an iterator yields again and again."""

    @task
    def grow(rows: list[int], n: int) -> int:
        rows.append(n)
        return len(rows)

    def same() -> Iterator[list[int]]:
        buffer: list[int] = []
        for n in range(3):
            buffer.append(n)
            yield buffer

    @flow(workers=1)
    def etl() -> Any:
        return grow.map(unmapped([]), range(4)), total.map(same())

    assert etl() == ([1, 1, 1, 1], [0, 1, 3])


def test_one_object_at_two_places_stays_one() -> None:
    """A body sees the same sharing among its arguments as in a plain call."""

    @task
    def both(pair: list[list[int]]) -> int:
        pair[0].append(1)
        return len(pair[1])

    @flow
    def etl() -> Any:
        rows: list[int] = []
        return both([rows, rows])

    assert etl() == 1


def test_each_attempt_is_given_the_same() -> None:
    """A failed attempt's changes of its arguments are not what the next one sees."""

    @task(retry=Retry(1))
    def push(rows: list[int]) -> int:
        rows.append(1)
        if context.attempt == 1:
            raise OSError("again")
        return len(rows)

    @task
    def empty() -> list[int]:
        return []

    @flow
    def etl() -> Any:
        return push([]), push(empty())

    assert etl() == (1, 1)


def test_an_iterator_is_not_given_twice() -> None:
    """A body that consumed its argument is not tried again with what is left of it."""

    @task(retry=Retry(3))
    def drain(numbers: Any) -> int:
        L.enter("drain")
        raise OSError(sum(numbers))

    @flow
    def etl() -> Any:
        return drain(n for n in range(4))

    run = etl.submit()
    with pytest.raises(OSError, match="6"):
        run.result(PATIENCE_S)
    assert L.entries["drain"] == 1
    assert "iterator" in run.tasks["drain"].logs()


def test_captured_data_is_part_of_the_key() -> None:
    """A result is not reused after what the body captured, or a class that it reads, has changed."""
    rows, bound = [1], 1

    class Options:
        rate = 1

    def nested() -> Callable[[], int]:
        return lambda: rows[0]

    helper = nested()

    @task
    def reads() -> tuple[int, int, int, int]:
        return rows[0], bound, Options.rate, helper()

    @flow
    def etl() -> Any:
        return reads()

    assert etl() == (1, 1, 1, 1)
    rows[0] = 5
    assert etl() == (5, 1, 1, 5)
    bound = 6
    assert etl() == (5, 6, 1, 5)
    Options.rate = 7
    assert etl() == (5, 6, 7, 5)


# --- nodes in wrong places -------------------------------------------------------------------------------------------


def test_a_node_of_another_run_is_refused() -> None:
    """Its name stands for something else here; no value of this run is passed for it."""
    kept = []

    @flow
    def etl(x: int) -> Any:
        node = inc(x)
        kept.append(node)
        return inc(kept[0])

    assert etl(1) == 3
    with pytest.raises(UsageError, match="does not belong"):
        etl(10)
    outside = inc.submit(1)

    @flow
    def other() -> Any:
        return inc.map([outside])

    with pytest.raises(UsageError, match="does not belong"):
        other()


def test_a_body_cannot_wait_for_a_node() -> None:
    """It would hold the worker that the node needs, and the value would be no part of its key."""

    @flow(workers=1)
    def etl() -> Any:
        @task
        def waits() -> int:
            return int(later[0].result())

        later: list[Any] = []
        node = waits()
        later.append(inc(1))
        return node

    run = etl.submit()
    with pytest.raises(UsageError, match="asks <node inc>"):
        run.result(PATIENCE_S)
    assert run.tasks["inc"].result() == 2


# --- whatever is raised is heard of ----------------------------------------------------------------------------------


class Unready:
    """Says that it has elements, and has none."""

    def __iter__(self) -> Iterator[int]:
        raise ValueError("not ready")


def quitting() -> Iterator[int]:
    """Leaves the program in the middle."""
    yield 1
    sys.exit(3)


@pytest.mark.parametrize(("source", "error"), [(Unready, ValueError), (quitting, SystemExit)])
def test_what_an_iterable_raises_fails_the_map(source: Any, error: type[BaseException]) -> None:
    """The map is Failed with that very error; the run ends."""

    @flow
    def etl() -> Any:
        return inc.map(source())

    run = etl.submit()
    with pytest.raises(error):
        run.result(PATIENCE_S)
    assert (run.state.name, run.tasks["inc"].state.name, all_final(run)) == ("Failed", "Failed", True)


def test_a_trigger_that_quits_fails_its_task() -> None:
    """Whatever an author's trigger raises ends the visit."""

    def judge(states: Any) -> bool:
        sys.exit(1)

    @task(trigger=judge)
    def after(x: int) -> int:
        return x

    @flow
    def etl() -> Any:
        return after(inc(1))

    run = etl.submit()
    with pytest.raises(SystemExit):
        run.result(PATIENCE_S)
    assert (run.state.name, run.tasks["after"].state.name) == ("Failed", "Failed")


def test_inputs_that_cannot_be_had_fail_also_what_asks_first() -> None:
    """The failure of a task with an approval is its own, not a cancelling; it was never entered."""

    @task(approve=True)
    def sets(x: Any) -> int:
        return len(x)

    @task
    def unhashable() -> list[int]:
        return [1]

    @flow
    def etl() -> Any:
        return sets({unhashable()})

    run = etl.submit()
    with pytest.raises(TypeError, match="unhashable"):
        run.result(PATIENCE_S)
    assert (run.tasks["sets"].state.name, run.tasks["sets"].attempts) == ("Failed", 0)


def test_a_flow_whose_body_quits_can_be_resumed() -> None:
    """``sys.exit()`` in the flow's body leaves the run Paused, not Running for ever."""

    @flow
    def etl() -> Any:
        L.enter("body")
        value = inc(1).result()
        if L.entries["body"] == 1:
            sys.exit(1)
        return value

    run = etl.submit()
    with pytest.raises(SystemExit):
        run.result(PATIENCE_S)
    assert run.state.name == "Paused"
    assert resume(run.id).result(PATIENCE_S) == 2


@pytest.mark.parametrize(
    ("signal", "error"), [(signals.fail("bad"), TaskFailed), (signals.skip("none"), UsageError)], ids=["fail", "skip"]
)
def test_a_signal_in_a_flows_body_fails_the_run(signal: BaseException, error: type[Exception]) -> None:
    """There is no visit that could be skipped; the run ends and says so."""

    @flow
    def etl() -> Any:
        raise signal

    run = etl.submit()
    with pytest.raises(error):
        run.result(PATIENCE_S)
    assert run.state.name == "Failed"


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["thread", "async"])
def test_a_stop_reaches_a_body_on_its_way_in(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a cancel no body is entered, also where its entry was told already."""
    judge = Task.judge_purity

    def slow(self: Task[..., Any], call: Any) -> None:
        judge(self, call)
        L.event("told").set()
        L.wait("cancelled")

    monkeypatch.setattr(Task, "judge_purity", slow)

    @task
    def body() -> None:
        L.enter("body")

    @task
    async def coroutine() -> None:
        L.enter("body")

    @flow
    def etl() -> Any:
        return (body if kind == "thread" else coroutine)()

    run = etl.submit()
    L.wait("told")
    run.cancel()
    while run.state.name == "Running":
        time.sleep(0.001)
    L.event("cancelled").set()
    assert run.wait(PATIENCE_S).name == "Cancelled"
    run.left()
    assert L.entries["body"] == 0


def test_a_body_that_hears_of_a_cancel_first_ends_the_run() -> None:
    """The flow's body is refused a call before the engine has heard of the cancel; the run ends as Cancelled."""
    handle: list[Run] = []

    @flow
    def etl() -> Any:
        L.wait("submitted")
        inc(1).result()
        run = handle[0]
        session = run._work.session
        session.bus.subscribe(lambda _: (L.event("held").set(), L.wait("go on")))
        session.post(ev.TaskInvalidated(at=time.time(), visit=session.run.latest["inc"]))
        L.wait("held")
        run.cancel()
        threading.Timer(0.1, L.event("go on").set).start()
        return inc(3)

    handle.append(etl.submit())
    L.event("submitted").set()
    with pytest.raises(TaskCancelled):
        handle[0].result(PATIENCE_S)
    assert (handle[0].state.name, all_final(handle[0])) == ("Cancelled", True)


def test_a_cancelled_map_asks_its_iterator_for_nothing_more() -> None:
    """Cancelling one map of an endless supply ends it; the rest of the run goes on."""

    def endless() -> Iterator[int]:
        for n in itertools.count():
            L.enter("pulled")
            yield n

    @task
    def hold(x: int) -> int:
        L.event("began").set()
        for _ in range(10_000):
            time.sleep(0.001)
        return x

    @flow(workers=2)
    def etl() -> Any:
        hold.map(endless())
        return inc(1)

    run = etl.submit()
    L.wait("began")
    session = run._work.session
    session.post(ev.CancelRequested(at=time.time(), visit=session.run.latest["hold"]))
    assert run.wait(PATIENCE_S).name == "Cancelled"
    assert run.tasks["hold"].state.name == "Cancelled"
    assert run.tasks["inc"].result() == 2
    assert L.entries["pulled"] == len(run.tasks["hold"].children) == 8


def test_a_pause_lets_a_coroutine_end() -> None:
    """Its end is recorded, so that it is not entered again."""

    @task
    async def slow() -> int:
        L.enter("slow")
        L.event("began").set()
        await asyncio.to_thread(L.wait, "parked")
        return 5

    @flow
    def etl() -> Any:
        return slow()

    run = etl.submit()
    L.wait("began")
    run.pause()
    L.event("parked").set()
    run.left()
    assert run.tasks["slow"].state.name == "Success"
    assert resume(run.id).result(PATIENCE_S) == 5
    assert L.entries["slow"] == 1


def test_a_run_that_was_left_can_be_approved_and_cancelled() -> None:
    """Also when its engine here has ended."""

    @task(approve=True)
    def deploy(x: int) -> int:
        return x

    @flow
    def etl(x: int) -> Any:
        return deploy(x)

    first, second = etl.submit(1), etl.submit(2)
    for run in (first, second):
        assert run.wait(PATIENCE_S).name == "Paused"
        run.pause()
        run.left()
    first.cancel()
    assert first.state.name == "Cancelled"
    with pytest.raises(UsageError, match="Cancelled"):
        resume(first.id)
    second.approve("deploy", note="go")
    again = resume(second.id)
    assert again.result(PATIENCE_S) == 2
    assert "go" in again._work.session.run.visits[again._work.session.run.latest["deploy"]].approval["note"]  # type: ignore[index]


def test_a_child_of_a_map_is_approved_by_its_index() -> None:
    """``run.approve("publish[1]")`` lets this child go on."""

    @task
    def publish(x: int) -> int:
        if x == 1 and L.enter("publish") == 1:
            raise signals.pause("sure?")
        return x

    @flow
    def etl() -> Any:
        return publish.map(range(3))

    run = etl.submit()
    assert run.wait(PATIENCE_S).name == "Paused"
    with pytest.raises(UsageError) as told:
        run.approve("publish")
    assert "publish[1]" in told.value.hint
    run.approve("publish[1]")
    assert run.result(PATIENCE_S) == [0, 1, 2]


# --- flows in flows --------------------------------------------------------------------------------------------------


def test_a_child_run_that_waits_for_a_person_pauses_its_parent() -> None:
    """Nobody waits in a worker: the call of the parent ends and names the child; answered, both go on."""

    @task
    def build() -> int:
        L.enter("build")
        return 1

    @task(approve=True)
    def deploy(x: int) -> int:
        return x + 1

    @flow
    def child() -> Any:
        return deploy(build())

    @flow
    def parent() -> Any:
        return inc(child())

    with pytest.raises(NotAvailable, match="child"):
        parent()
    run = parent.submit()
    assert run.wait(PATIENCE_S).name == "Paused"
    below = resume(f"child@{run.id}")
    assert below.wait(PATIENCE_S).name == "Paused"
    below.approve("deploy")
    below.pause()
    below.left()
    run.approve("child")
    assert run.result(PATIENCE_S) == 3


def test_a_child_run_with_other_arguments_is_another() -> None:
    """A resumed parent that calls its child differently gets the answer for these arguments."""

    @task
    def picky(x: int) -> int:
        if L.enter("picky") == 1:
            raise ValueError("not yet")
        return x

    @flow
    def child(x: int) -> Any:
        return picky(x)

    @flow
    def parent() -> Any:
        return child(VERSION[0])

    run = parent.submit()
    run.wait(PATIENCE_S)
    VERSION[0] = 2
    assert resume(run.id).result(PATIENCE_S) == 2


def test_a_map_of_flows_is_a_run_for_each() -> None:
    """Each child is a run of its own; outside of a flow it is a list of values."""

    @flow
    def child(x: int) -> Any:
        return inc(x)

    @flow
    def parent() -> Any:
        return child.map(range(3))

    run = parent.submit()
    assert run.result(PATIENCE_S) == [1, 2, 3]
    assert run._work.store.run(f"child-2@{run.id}").state == "Success"  # type: ignore[union-attr]
    assert child.map([5]) == [6]


def test_a_stop_of_a_body_stops_the_flow_that_it_called() -> None:
    """A flow in a task's body does not go on after the task was cancelled."""

    @task
    def hold(x: int) -> int:
        L.event("began").set()
        for _ in range(10_000):
            time.sleep(0.001)
        L.enter("ended")
        return x

    @flow(workers=2)
    def inner() -> Any:
        return [hold(n) for n in range(4)]

    @task
    def body() -> Any:
        return inner()

    @flow
    def outer() -> Any:
        return body()

    run = outer.submit()
    L.wait("began")
    run.cancel()
    assert run.wait(PATIENCE_S).name == "Cancelled"
    run.left()
    rows = run._work.store.runs()
    assert {row.state for row in rows} == {"Cancelled"}
    assert (len(rows), L.entries["ended"]) == (2, 0)


# --- resuming --------------------------------------------------------------------------------------------------------


class Thing:
    """Data beside something live."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.lock = threading.Lock()


@task
def worth(thing: Thing) -> int:
    if L.enter(f"worth {thing.n}") == 1 and thing.n == 3:
        raise ValueError("not yet")
    return thing.n * 10


@task
def thing(n: int) -> Thing:
    return Thing(n)


@task
def last(x: Any) -> Any:
    if L.enter("last") == 1:
        raise ValueError("not yet")
    return x


@flow
def of_things() -> Any:
    return worth.map([Thing(n) for n in ([1, 2, 3] if VERSION[0] == 1 else [9, 1, 2, 3])])


@flow
def of_made_things() -> Any:
    return last(worth(thing(VERSION[0])))


@pytest.mark.parametrize(("etl", "value"), [(of_things, [90, 10, 20, 30]), (of_made_things, 20)])
def test_what_has_no_fingerprint_is_not_known_by_its_place_alone(etl: Any, value: Any) -> None:
    """A resumed run does not take the result of another element, or of another version of what is upstream."""
    run = etl.submit()
    run.wait(PATIENCE_S)
    VERSION[0] = 2
    assert resume(run.id).result(PATIENCE_S) == value


def test_what_has_no_fingerprint_is_found_again_where_nothing_changed() -> None:
    """The same call of the same run at the same place is not entered again."""
    run = of_things.submit()
    run.wait(PATIENCE_S)
    assert resume(run.id).result(PATIENCE_S) == [10, 20, 30]
    assert (L.entries["worth 1"], L.entries["worth 3"]) == (1, 2)
