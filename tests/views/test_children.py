"""The children of a map as a table asks for them."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_nb.core import events as ev
from prefect_nb.core.machine import step
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run
from prefect_nb.core.spec import TaskKind, TaskSpec, VisitId
from prefect_nb.views.children import Children, Query, children

MAP = VisitId("clean")
SPEC = TaskSpec("clean", kind=TaskKind.FUNCTION)


def run_with(ends: str) -> Run:
    """A map whose children, one for each letter, succeeded (s), failed (f), run (r) or wait (p)."""
    events: list[ev.Event] = [
        ev.RunOpened(at=0.0, run="r1", flow="f", live=False, worker="w"),
        ev.TaskPlanned(at=1.0, visit=MAP, spec=SPEC),
        ev.MapOpened(at=1.0, visit=MAP),
    ]
    for index, end in enumerate(ends):
        visit = VisitId("clean", 1, index)
        reason = Reason(ReasonCode.FIRST, "runs for the first time")
        events.append(ev.TaskPlanned(at=1.0, visit=visit, spec=SPEC, parent=MAP))
        if end != "p":
            events.append(ev.KeyResolved(at=2.0, visit=visit, key=f"k{index}", reason=reason))
            events.append(ev.BodyEntered(at=2.0, visit=visit, token=1))
        if end == "s":
            events.append(ev.BodyReturned(at=10.0 - index, visit=visit, token=1))
        if end == "f":
            error = ev.ErrorInfo("ValueError", f"bad {index}")
            events.append(ev.BodyRaised(at=3.0, visit=visit, token=1, error=error))
    run = Run()
    for event in events:
        run, _ = step(run, event)
    return run


def asked(ends: str, **query: Any) -> Children:
    run = run_with(ends)
    return children(run, run.visits[MAP], Query.of(query))


def test_all_children_are_counted_and_told_in_order() -> None:
    """The strip holds the states of all in the order of their elements, the window only what was asked for."""
    told = asked("ssfrp", offset=1, limit=2)
    assert (told.total, told.matched, told.offset) == (5, 5, 1)
    assert told.counts == {"Success": 2, "Failed": 1, "Running": 1, "Pending": 1}
    assert told.strip == (("Success", 2), ("Failed", 1), ("Running", 1), ("Pending", 1))
    assert [(row.index, row.label, row.state) for row in told.rows] == [
        (1, "clean[1]", "Success"),
        (2, "clean[2]", "Failed"),
    ]
    assert told.rows[1].message == "ValueError: bad 2"
    assert told.rows[1].id == str(VisitId("clean", 1, 2))


@pytest.mark.parametrize(
    ("query", "indexes"),
    [
        ({"descending": True}, [5, 4, 3, 2, 1, 0]),
        ({"sort": "state"}, [2, 5, 4, 3, 0, 1]),
        ({"sort": "time", "descending": True}, [0, 1, 5, 2, 4, 3]),
        ({"states": ["Failed", "Running"]}, [2, 3, 5]),
        ({"text": "BAD 5"}, [5]),
        ({"text": "[4]"}, [4]),
        ({"sort": "time'; drop", "offset": -3, "limit": "all", "states": "Failed", "text": 7}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_the_window_is_filtered_and_sorted(query: dict[str, Any], indexes: list[int]) -> None:
    """Sorting, filtering by state and searching index or message work together; nonsense means the default."""
    assert [row.index for row in asked("ssfrpf", **query).rows] == indexes


def test_a_window_is_never_large() -> None:
    """However much a page asks for, it gets at most 500 rows."""
    assert len(asked("s" * 600, limit=10**9).rows) == 500
