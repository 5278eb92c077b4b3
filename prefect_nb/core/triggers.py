"""Whether a task may run, by how everything upstream ended. Pure; failure beats skip.

Source: the founding system's triggers, without its trap that a skipped upstream hid a failed one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName, StateType

__all__ = ["Go", "Ruling", "all_successful"]


class Go(Enum):
    """What a trigger decides."""

    RUN = "run"
    WAIT = "wait"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A trigger's decision and, when the task does not run, why."""

    go: Go
    reason: Reason | None = None


def all_successful(upstream: Iterable[tuple[VisitId, State]]) -> Ruling:
    """Run when everything upstream completed; skip after a skip; fail, naming the root cause, after anything else."""
    skipped: VisitId | None = None
    waiting = False
    for visit, state in upstream:
        if not state.final:
            waiting = True
        elif state.name is StateName.SKIPPED:
            skipped = skipped or visit
        elif state.type is not StateType.COMPLETED:
            cause = state.data.get("cause") or f"{visit.task} {state.label}"
            return Ruling(Go.FAIL, Reason(ReasonCode.UPSTREAM_FAILED, str(cause)))
    if waiting:
        return Ruling(Go.WAIT)
    if skipped is not None:
        return Ruling(Go.SKIP, Reason(ReasonCode.UPSTREAM_SKIPPED, skipped.task))
    return Ruling(Go.RUN)
