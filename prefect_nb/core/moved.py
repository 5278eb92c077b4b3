"""One visit in another state: the only code that sets a visit's state, and it asks the table of edges first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from prefect_nb.core import events as ev
from prefect_nb.core.effects import Claim, Effect, Resolve, SetTimer
from prefect_nb.core.events import Event
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.states import EDGES, State, StateName, StateType
from prefect_nb.errors import IllegalTransition

__all__ = ["Handler", "Move", "crashed", "map_ended", "moved_to", "pause_timers", "retold", "withheld"]

N = StateName
Move = tuple[Visit, tuple[Effect, ...]]
Handler = Callable[[Run, Visit, ev.TaskEvent], Move]
_NOTHING: Mapping[str, object] = {}


def moved_to(
    visit: Visit,
    name: StateName,
    event: Event,
    message: str = "",
    data: Mapping[str, object] = _NOTHING,
    **changes: object,
) -> Visit:
    """The visit in another state, with fields changed; :class:`IllegalTransition` if the table has no such edge."""
    if name not in EDGES[visit.state.name]:
        raise IllegalTransition(f"{visit.id} cannot go from {visit.state.label} to {name.label}", visit=visit.id)
    changes["state"] = State(name, event.at, message, data)
    changes["ended_at"] = event.at if name.final else None
    return evolved(visit, **changes)


def retold(visit: Visit, message: str) -> Visit:
    """The visit in the same state, since the same moment, with another sentence."""
    return evolved(visit, state=replace(visit.state, message=message))


def crashed(visit: Visit, event: Event, last_seen: float | None = None) -> Visit:
    """The visit after the end of the process that ran its body."""
    data = {"last_seen": last_seen, "entered": visit.state.name is not N.SUBMITTED}
    return moved_to(visit, N.CRASHED, event, "its kernel or process vanished", data)


def map_ended(visit: Visit, event: Event) -> Visit:
    """A map after the end of one of its children or of its supply: final once all of it is, and then as they ended."""
    if visit.open_children or not (visit.sealed or visit.state.name is N.CANCELLING):
        return visit
    if visit.state.name is N.CANCELLING:
        return moved_to(visit, N.CANCELLED, event, visit.state.message)
    failed = sum(n for name, n in visit.ends.items() if name.type in (StateType.FAILED, StateType.CRASHED))
    stopped = sum(n for name, n in visit.ends.items() if name.type is StateType.CANCELLED)
    skipped = visit.ends.get(N.SKIPPED, 0)
    if failed:
        return moved_to(visit, N.FAILED, event, f"{failed} of {visit.width} children failed")
    if stopped:
        return moved_to(visit, N.CANCELLED, event, f"{stopped} of {visit.width} children were cancelled")
    if skipped and skipped == visit.width:
        return moved_to(visit, N.SKIPPED, event, "all of its children were skipped")
    return moved_to(visit, N.SUCCESS, event, f"{visit.width} children" + (f", {skipped} skipped" if skipped else ""))


def pause_timers(visit: Visit) -> tuple[Effect, ...]:
    """The timers of a paused visit: when it goes on by itself, and when it gives up."""
    kinds = (("resume", visit.state.data.get("until")), ("pause", visit.state.data.get("limit")))
    return tuple(SetTimer(visit.id, visit.token, kind, due) for kind, due in kinds if due is not None)


def withheld(visit: Visit, *, same: bool) -> tuple[Effect, ...]:
    """The orders of a waiting visit, given again when its run is taken up; by the worker that had them, if `same`."""
    name = visit.state.name
    if name is N.RESUMING:
        return (Resolve(visit.id),)
    if name is N.PAUSED:
        return pause_timers(visit)
    if name is N.QUEUED and same:
        return (Claim(visit.id, visit.limits),)
    if name in (N.RETRYING, N.LOOPED) and same:
        return (SetTimer(visit.id, visit.token, "retry", visit.state.data["due"]),)
    return ()
