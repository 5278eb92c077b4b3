"""Whether a visit may run, by what is upstream of it, and what is upstream of what. Reads a run, moves one visit."""

from __future__ import annotations

from collections.abc import Iterator

from prefect_nb.core.effects import Judge, Resolve
from prefect_nb.core.events import Event
from prefect_nb.core.moved import Move, moved_to
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.core.triggers import Go, ruling

__all__ = ["depends", "judge"]

N = StateName


def judge(run: Run, visit: Visit, event: Event) -> Move:
    """The visit after its trigger's ruling; the same object when it may run or has to wait."""
    if visit.held:
        return visit, ()
    if visit.upstream and not visit.judged:
        ruled = ruling(visit.spec.trigger, _ends(run, visit.upstream), skip_too=visit.spec.skip_with_upstream)
        if ruled.go is Go.WAIT:
            return visit, ()
        if ruled.reason is not None:
            reason, sentence = ruled.reason, ruled.reason.sentence
            if ruled.go is Go.SKIP:
                return moved_to(visit, N.SKIPPED, event, sentence, reason=reason), ()
            return moved_to(visit, N.TRIGGER_FAILED, event, sentence, {"cause": reason.detail}, reason=reason), ()
        if ruled.go is Go.ASK:
            return visit, () if run.closed else (Judge(visit.id),)
    return visit, () if run.closed else (Resolve(visit.id),)


def _ends(run: Run, upstream: tuple[VisitId, ...]) -> Iterator[tuple[VisitId, State]]:
    """How everything upstream stands; a map that has ended is told by its children."""
    for visit_id in upstream:
        visit = run.visits[visit_id]
        if visit.width is None or visit.state.type not in (StateType.COMPLETED, StateType.FAILED):
            yield visit_id, visit.state
            continue
        for index in range(visit.width):
            child = VisitId(visit_id.task, visit_id.visit, index)
            yield child, run.visits[child].state


def depends(run: Run, visit: VisitId, on: VisitId) -> bool:
    """Whether a visit is another one, or waits for its end."""
    seen = {visit}
    left = [visit]
    while left:
        found = left.pop()
        if found == on:
            return True
        more = [up for up in run.visits[found].upstream if up not in seen]
        seen.update(more)
        left += more
    return False
