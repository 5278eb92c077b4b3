"""What a run had before it was resumed: its finished calls, to be taken over by equal calls, each once.

Matched by the task's name and key, with multiplicity, never by position; where a key is incomplete, by everything that
can be hashed and the place of the call. Pure data over a folded run.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from prefect_nb.analysis.values import fingerprint
from prefect_nb.authoring.callkeys import Arguments
from prefect_nb.authoring.keys import Keyed, combine
from prefect_nb.core.reasons import ReasonCode
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName
from prefect_nb.errors import Unhashable

__all__ = ["Former", "Past", "likeness"]

N = StateName
_DONE = (N.SUCCESS, N.CACHED)
_WAITING = (N.PAUSED, N.SUSPENDED, N.RESUMING)
_CUT_OFF = (N.SUBMITTED, N.RUNNING, N.LOOPED, N.CANCELLING, N.CRASHED)


_LIKE = "like-"
_Known = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class Past:
    """What a call of an earlier life of the run left: its visit, if it had finished; else what its end was unknown of.

    Parameters
    ----------
    done : Visit, optional
        It had finished.
    unknown : Visit, optional
        Its body was running, and nobody knows how far it came.
    due : float, optional
        It waited for its next attempt until then.
    waited : Visit, optional
        It waited for a person or a time, or was just let go on.
    """

    done: Visit | None = None
    unknown: Visit | None = None
    due: float | None = None
    waited: Visit | None = None


class Former:
    """The calls of a run's earlier lives; safe from any thread.

    Parameters
    ----------
    run : Run
        The run as it was left.
    """

    def __init__(self, run: Run) -> None:
        self._lock = threading.Lock()
        self._done: dict[_Known, deque[Visit]] = {}
        self._unknown: dict[_Known, deque[Visit]] = {}
        self._due: dict[_Known, float] = {}
        self._waited: dict[_Known, Visit] = {}
        self.empty = not run.visits
        for visit in run.visits.values():
            known = _known(visit.spec.name, visit.key, visit.id)
            if visit.reason is not None and visit.reason.code is ReasonCode.RECOVERED:
                continue  # it stands for the one that it took over, which counts itself
            if visit.state.name in _DONE and visit.key and visit.result and not visit.invalid:
                self._done.setdefault(known, deque()).append(visit)
            elif visit.state.name in _CUT_OFF and visit.width is None:
                self._unknown.setdefault(known, deque()).append(visit)
            elif visit.state.name is N.RETRYING:
                self._due[known] = float(visit.state.data["due"])
            elif visit.state.name in _WAITING:
                self._waited[known] = visit

    def take(self, task: str, key: str, visit: VisitId) -> Past:
        """What is left of an equal call; given once."""
        if self.empty:
            return Past()
        known = _known(task, key, visit)
        with self._lock:
            if found := self._done.get(known):
                return Past(done=found.popleft())
            if found := self._unknown.get(known):
                return Past(unknown=found.popleft())
            if found_waiting := self._waited.pop(known, None):
                return Past(waited=found_waiting)
            return Past(due=self._due.pop(known, None))


def likeness(keyed: Keyed, bound: Arguments) -> str:
    """What stands for a call whose key is incomplete: all about it that can be hashed, and the types of the rest.

    Good enough to find the same call of the same run again at the same place, never to reuse a result elsewhere.
    """
    rows = [row for row in keyed.parts if row[0] != "input"]
    for name, value in bound.named.items():
        try:
            rows.append(("input", name, fingerprint(value)))
        except Unhashable:
            rows.append(("type", name, f"{type(value).__module__}.{type(value).__qualname__}"))
    return _LIKE + combine(rows)


def _known(task: str, key: str, visit: VisitId) -> _Known:
    return (task, key, visit.task, visit.index) if key.startswith(_LIKE) else (task, key, "", -1)
