"""What a run had before it was resumed: its finished calls, to be taken over by equal calls, each once.

Matched by the task's name and key, with multiplicity, never by position; where the key may
differ though the call is the same, by what stands for it and the place of the call. Pure data over a folded run.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType

from prefect_nb.analysis.origins import loaded, place_of
from prefect_nb.analysis.values import fingerprint, outline
from prefect_nb.authoring.callkeys import Arguments
from prefect_nb.authoring.keys import Keyed, combine
from prefect_nb.core.reasons import ReasonCode
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName
from prefect_nb.errors import Unhashable

__all__ = ["Former", "Past", "code_digest", "likeness"]

N = StateName
_DONE = (N.SUCCESS, N.CACHED)
_WAITING = (N.PAUSED, N.SUSPENDED, N.RESUMING)
_CUT_OFF = (N.SUBMITTED, N.RUNNING, N.CANCELLING, N.CRASHED)


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
    looped : Visit, optional
        It had ended iterations of its body, and goes on with the next.
    """

    done: Visit | None = None
    unknown: Visit | None = None
    due: float | None = None
    waited: Visit | None = None
    looped: Visit | None = None

    @property
    def iterations(self) -> tuple[int, str]:
        """How many it had ended, and where what the last handed on is stored."""
        return (0, "") if self.looped is None else (self.looped.loop, self.looped.loop_result)

    @property
    def asked_by_body(self) -> bool:
        """Whether it was entered, and its body asked for the person or the time that it waits for."""
        return self.waited is not None and self.waited.state.name is N.PAUSED and bool(self.waited.token)


class Former:
    """The calls of a run's earlier lives; safe from any thread.

    Parameters
    ----------
    run : Run
        The run as it was left.
    """

    def __init__(self, run: Run) -> None:
        self._lock = threading.Lock()
        self._left: dict[tuple[object, ...], deque[Visit]] = {}
        self._taken: set[VisitId] = set()
        self.empty = not run.visits
        ended = (v for v in run.visits.values() if v.state.name is N.SUCCESS)
        self.set_up = frozenset(v.spec.name for v in ended if v.spec.resource == "setup")
        for visit in run.visits.values():
            kind = _kind(visit)
            for known in _names(visit.spec.name, visit.key, visit.like, visit.id) if kind else ():
                self._left.setdefault((kind, *known), deque()).append(visit)

    def take(self, task: str, key: str, visit: VisitId, like: str = "") -> Past:
        """What is left of an equal call; given once."""
        if self.empty:
            return Past()
        with self._lock:
            for kind in ("done", "unknown", "waited", "due", "looped"):
                for known in _names(task, key, like, visit):
                    left = self._left.get((kind, *known), ())
                    while left:
                        found = left.popleft()
                        if found.id not in self._taken:
                            self._taken.add(found.id)
                            return _past(kind, found)
        return Past()


def likeness(keyed: Keyed, bound: Arguments, origin: Callable[[], str]) -> str:
    """What stands for a call's key when its run is resumed; empty where the key itself is sure to be the same.

    In another process a local module's data may differ though its source is the same, and what has no fingerprint
    leaves the key incomplete. So here a module counts by its source, and such an input by what can be seen of it and by
    where it came from. Good enough to find the same call of the same run again at the same place, never to reuse a
    result elsewhere.

    Parameters
    ----------
    origin : callable
        What stands for where its inputs came from: the flow's body, and the calls upstream.
    """
    rows = [_by_source(row) for row in keyed.parts if row[0] != "input"]
    if keyed.key and all(row[0] != "source" for row in rows):
        return ""
    for name, value in bound.named.items():
        try:
            rows.append(("input", name, fingerprint(value)))
        except Unhashable:
            try:
                rows.append(("outline", name, outline(value)))
            except Unhashable:
                return ""
    return combine(rows if keyed.key else [*rows, ("origin", "", origin())])


def code_digest(code: CodeType) -> str:
    """The digest of a body's own code, wherever it stands in its file."""
    inner = [
        code_digest(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts if not isinstance(c, frozenset)
    ]
    sets = [repr(sorted(map(repr, c))) for c in code.co_consts if isinstance(c, frozenset)]
    return combine([("code", code.co_code.hex(), "\0".join((*code.co_names, *inner, *sets)))])


def _by_source(row: tuple[str, str, str]) -> tuple[str, str, str]:
    module = sys.modules.get(row[1])
    if row[0] != "helper" or module is None or place_of(row[1]) != "local":
        return row
    return "source", row[1], combine([("text", "", loaded(module).text)])


def _names(task: str, key: str, like: str, visit: VisitId) -> list[tuple[object, ...]]:
    """Under what a call is known: its key, and what stands for it, at its place."""
    found: list[tuple[object, ...]] = [(task, key)] if key else []
    return [*found, (task, like, visit.task, visit.index)] if like else found


def _kind(visit: Visit) -> str:
    """What a visit is to one who resumes its run; empty if it is nothing."""
    name = visit.state.name
    if visit.reason is not None and visit.reason.code is ReasonCode.RECOVERED:
        return ""  # it stands for the one that it took over, which counts itself
    if name in _DONE:
        return "done" if visit.result and not visit.invalid else ""
    if name in _CUT_OFF:
        began = name is not N.SUBMITTED and visit.state.data.get("entered", True)
        if not began and visit.approval is not None:
            return "waited"  # it was let go on, and had not begun
        return "unknown" if began and visit.width is None else ""
    if name in _WAITING:
        return "waited"
    return "looped" if visit.loop else "due" if name is N.RETRYING else ""


def _past(kind: str, visit: Visit) -> Past:
    looped = visit if visit.loop else None
    match kind:
        case "done":
            return Past(done=visit)
        case "unknown":
            return Past(unknown=visit, looped=looped)
        case "due":
            return Past(due=float(visit.state.data["due"]), looped=looped)
        case "looped":
            return Past(looped=looped)
    return Past(waited=visit, looped=looped)
