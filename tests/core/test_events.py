"""Events on the wire."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from prefect_nb.core import events as ev
from prefect_nb.core import wire
from prefect_nb.core.policy import Cache, Retry, Trigger
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskKind, TaskSpec, VisitId

A, B = VisitId("a"), VisitId("b", 2, 7)
SPEC = TaskSpec(
    "b",
    TaskKind.FUNCTION,
    Retry(3, delay=(1, 2.5), jitter=0.3, on=(TimeoutError, "OSError"), crashes=4),
    timeout=300.0,
    cache=Cache("1d"),
    version="2",
    files=("data/*.csv",),
    env=("REGION",),
    after=("a",),
    tags=("slow", "nightly"),
    trigger=Trigger("some_failed", at_least=1, at_most=0.5),
    skip_with_upstream=False,
    approve=True,
    once=True,
)
ERROR = ev.ErrorInfo("KeyError", "'x'", ("KeyError", "LookupError"), "line 1\nline 2", "timeout", False)
WHY = Reason(ReasonCode.HELPER, "parse", (("helper parse", "changed"),))
EVENTS = [
    ev.RunOpened(at=1.5, run="r", flow="f", live=True, worker="w", parameters={"day": "2026-01-01", "n": [1, None]}),
    ev.RunAttached(at=1.0, worker="w2"),
    ev.RunCancelRequested(at=1.0, actor="ann"),
    ev.RunClosed(at=1.0, interrupted=True),
    ev.RunClosed(at=1.0, lost=True),
    ev.TaskPlanned(at=1.0, visit=A, spec=TaskSpec("a")),
    ev.TaskPlanned(at=1.0, visit=B, spec=SPEC, upstream=(A, VisitId("c")), parent=A, cell="cell-7"),
    ev.KeyResolved(at=1.0, visit=A, key="", reason=WHY),
    ev.ResultReused(at=1.0, visit=A, key="k", result="d", reason=WHY, source_run="r0", age_s=0.5, saved_s=0.0),
    ev.BodyEntered(at=1.0, visit=B, token=3),
    ev.BodyReturned(at=1.0, visit=A, token=1, result="d", note="a handle cannot be stored"),
    ev.BodyRaised(at=1.0, visit=A, token=1, error=ERROR, retryable=False),
    ev.BodySkipped(at=1.0, visit=A, token=1, message="no data"),
    ev.BodyCancelled(at=1.0, visit=A, token=1, message="by ann"),
    ev.BodyPaused(at=1.0, visit=A, token=1, message="look", until=9.5, limit=10.0, form={"ok": "bool"}),
    ev.BodyDeferred(at=1.0, visit=A, token=1, due=9.0, message="not yet"),
    ev.BodyLooped(at=1.0, visit=A, token=1, result="abc", message="page 1"),
    ev.VisitApproved(at=1.0, visit=A, actor="ann", note="fine", value={"ok": True}),
    ev.TriggerJudged(at=1.0, visit=A, passed=False, message="no"),
    ev.MapOpened(at=1.0, visit=A),
    ev.MapSealed(at=1.0, visit=A),
    ev.BlockLeft(at=1.0, visit=A, upstream=(VisitId("a", 2),)),
    ev.LateResultRefused(at=1.0, visit=A, token=0),
    ev.TimerFired(at=1.0, visit=A, token=1, kind="retry", limits=("db",)),
    ev.KeyResolved(at=1.0, visit=A, key="k", reason=WHY, limits=("api", "db")),
    ev.SlotsAnswered(at=1.0, visit=A, taken=False, message="waits for db: 3 of 3"),
    ev.CancelRequested(at=1.0, visit=A, message="enough", actor="ann"),
    ev.SkipRequested(at=1.0, visit=A),
    ev.TaskInvalidated(at=1.0, visit=A),
    ev.BodyCrashed(at=1.0, visit=A, token=1, message="signal 11", code=-11),
    ev.WorkerLost(at=1.0, visit=A, last_seen=0.5),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_round_trip(event: ev.Event) -> None:
    """Every event is itself again after JSON, types included."""
    back = wire.from_plain(json.loads(json.dumps(wire.to_plain(event))))
    assert back == event
    assert all(type(getattr(back, f.name)) is type(getattr(event, f.name)) for f in fields(event))


def test_every_event_is_on_the_list() -> None:
    """No event class was forgotten here, nor on the wire."""
    classes = [getattr(ev, name) for name in ev.__all__]
    kinds = {c.__name__ for c in classes if isinstance(c, type) and issubclass(c, ev.Event)}
    assert {type(e).__name__ for e in EVENTS} == kinds - {"Event", "RunEvent", "TaskEvent", "BodyEnd"}


def test_defaults_stay_off_the_wire() -> None:
    """A small event is a small row."""
    assert wire.to_plain(ev.SkipRequested(at=1.0, visit=A)) == {
        "kind!": "SkipRequested",
        "at": 1.0,
        "visit": ["a", 1, -1],
    }


def test_an_unknown_event_is_a_key_error() -> None:
    """A store that a newer version wrote is noticed."""
    with pytest.raises(KeyError):
        wire.from_plain({"kind!": "TaskTeleported", "at": 1.0})
