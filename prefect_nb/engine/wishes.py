"""What a wish from another process means for a run: the event that it becomes, if it still makes sense."""

from __future__ import annotations

from prefect_nb.core import events as ev
from prefect_nb.core.run import Run
from prefect_nb.core.states import StateName, StateType
from prefect_nb.protocols import Signal

__all__ = ["wished"]

_SKIPPABLE = (StateType.PENDING, StateType.SCHEDULED, StateType.PAUSED)


def wished(run: Run, signal: Signal) -> ev.Event | None:
    """The event that a wish becomes; None when it names no visit of this run, or comes too late."""
    at, actor = signal.at, signal.actor or "another process"
    if signal.kind == "cancel-run":
        return ev.RunCancelRequested(at=at, actor=actor)
    visit = run.find(signal.task)
    if visit is None:
        return None
    match signal.kind:
        case "cancel":
            return ev.CancelRequested(at=at, actor=actor, visit=visit.id)
        case "invalidate":
            return ev.TaskInvalidated(at=at, actor=actor, visit=visit.id)
        case "skip" if visit.state.type in _SKIPPABLE:
            return ev.SkipRequested(at=at, actor=actor, visit=visit.id)
        case "approve" if visit.state.name is StateName.PAUSED:
            note, value = str(signal.detail.get("note", "")), signal.detail.get("value") or {}
            return ev.VisitApproved(at=at, actor=actor, visit=visit.id, note=note, value=value)
        case "reject" if visit.state.name is StateName.PAUSED:
            note = str(signal.detail.get("note", ""))
            told = f"rejected by {actor}" + (f": {note}" if note else "")
            return ev.CancelRequested(at=at, actor=actor, visit=visit.id, message=told)
    return None
