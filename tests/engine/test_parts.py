"""Desks, timers and the bus, each alone."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_nb.core.effects import Resolve, SetTimer
from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.bus import Bus
from prefect_nb.engine.desk import Desk, Seats
from prefect_nb.engine.timers import Timers
from prefect_nb.errors import StoreError

A = VisitId("a")


def test_a_desk_gives_orders_in_order() -> None:
    """Orders wait for their owner, one at a time, first come first."""
    desk = Desk()
    orders = [Resolve(VisitId("a", n)) for n in range(3)]
    for each in orders:
        desk.deliver(each)
    assert [desk.next().result(0) for _ in orders] == orders
    waiting = desk.next()
    assert not waiting.done()
    desk.deliver(orders[0])
    assert waiting.result(0) is orders[0]


def test_a_failed_desk_gives_what_it_had_and_then_raises() -> None:
    """An order that came before the fault is still given; afterwards every wait raises."""
    desk = Desk()
    desk.deliver(Resolve(A))
    desk.fail(StoreError("gone"))
    assert desk.next().result(0) == Resolve(A)
    for _ in range(2):
        with pytest.raises(StoreError):
            desk.next().result(0)


def test_seats_hold_orders_and_tell_a_fault_to_late_comers() -> None:
    """Who sits down late finds its orders, or the fault that ended everything."""
    seats = Seats()
    seats.deliver(A, Resolve(A))
    desk = Desk()
    seats.take(A, desk)
    assert desk.next().result(0) == Resolve(A)
    waiting = desk.next()
    seats.fail(StoreError("gone"))
    with pytest.raises(StoreError):
        waiting.result(0)
    late = Desk()
    seats.take(VisitId("b"), late)
    with pytest.raises(StoreError):
        late.next().result(0)


def test_seats_from_many_threads() -> None:
    """Whoever comes first, the owner or its order: the order arrives, once."""
    seats = Seats()
    for number in range(200):
        visit, desk, both = VisitId("a", number), Desk(), threading.Barrier(2)

        def deliver(visit: VisitId = visit, both: Any = both) -> None:
            both.wait()
            seats.deliver(visit, Resolve(visit))

        thread = threading.Thread(target=deliver)
        thread.start()
        both.wait()
        seats.take(visit, desk)
        assert desk.next().result(10) == Resolve(visit)
        thread.join()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100), st.booleans()), max_size=40), st.integers(0, 100))
def test_timers_give_each_deadline_once_and_in_order(rows: list[tuple[int, int, bool]], now: int) -> None:
    """What is due comes in the order of its time, exactly once, and what was cleared never comes."""
    timers, expected = Timers(), []
    for task, due, clear in rows:
        visit = VisitId(str(task))
        if clear:
            timers.clear(visit)
            expected = [t for t in expected if t.visit != visit]
        else:
            timer = SetTimer(visit, 1, "retry", float(due))
            timers.set(timer)
            expected.append(timer)
    due_now = sorted(t.due for t in expected if t.due <= now)
    assert [t.due for t in timers.due(float(now))] == due_now
    assert list(timers.due(float(now))) == []
    left = [t.due for t in expected if t.due > now]
    assert timers.next() == (min(left) if left else None)


def test_the_bus_tells_everybody_until_they_leave() -> None:
    """Observers hear every state in order; a raising one disturbs nobody; who left hears nothing."""
    bus, heard = Bus(), []
    bus.subscribe(lambda run: 1 / 0)
    leave = bus.subscribe(lambda run: heard.append(run.id))
    bus.publish(Run(id="1"))
    leave()
    leave()
    bus.publish(Run(id="2"))
    assert heard == ["1"]
