"""A run with a new or moved visit in its place.

With it go the counts that save counting: of states, of what is active, of what waits and rests.
"""

from __future__ import annotations

from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.states import StateName

__all__ = ["put"]

N = StateName
_RESTING = frozenset((N.PAUSED, N.SUSPENDED))
_WAITS = _RESTING | {N.MAPPED}


def put(run: Run, before: Visit | None, moved: Visit) -> Run:
    """The run with a new or moved visit, its version counted up; the counts follow. `moved` was just made."""
    moved.__dict__["version"] += 1
    name, task, stuck, rest = moved.state.name, moved.id, False, False
    changes: dict[str, object] = {"visits": run.visits.put(task, moved)}
    if before is None:
        changes["active"] = run.active + (not name.final)
        if moved.parent is None:
            former = run.visit(task.task)
            changes["latest"] = run.latest.put(task.task, task)
            changes["tally"] = _tallied(run, None if former is None else former.state.name, name)
    else:
        was = before.state.name
        stuck, rest = _is_stuck(before, was), was in _RESTING
        if name is not was:
            if name.final:
                changes["active"] = run.active - 1
            if moved.parent is None and run.latest[task.task] == task:
                changes["tally"] = _tallied(run, was, name)
    if more := _is_stuck(moved, name) - stuck:
        changes["stuck"] = run.stuck + more
    if more := (name in _RESTING) - rest:
        changes["paused"] = run.paused + more
    return evolved(run, **changes)


def _is_stuck(visit: Visit, name: StateName) -> bool:
    """Whether it waits for a person, a time or other visits, and nothing of its own is due."""
    return name in _WAITS or (name is N.PENDING and (visit.unmet > 0 or visit.held))


def _tallied(run: Run, less: StateName | None, more: StateName) -> dict[StateName, int]:
    tally = dict(run.tally)
    if less is not None:
        tally[less] -= 1
    tally[more] = tally.get(more, 0) + 1
    return tally
