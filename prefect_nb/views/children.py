"""The children of a map, as a table asks for them: filtered, sorted, a window at a time, with the states of all.

The view model holds a map as one node with counts; this is sent only when a person opens it. Knows runs; must not know
messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId

__all__ = ["ChildRow", "Children", "Query", "children"]

_SORTS = ("index", "state", "attempt", "time")
_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What part of the children is asked for; what is not understood is the default.

    Parameters
    ----------
    offset, limit : int
        The window, in the order asked for.
    sort : {"index", "state", "attempt", "time"}
        The order; equal ones by index.
    descending : bool
        Largest first.
    states : frozenset of str
        Labels to keep; all if empty.
    text : str
        Keep those whose index or message holds this.
    """

    offset: int = 0
    limit: int = 100
    sort: str = "index"
    descending: bool = False
    states: frozenset[str] = frozenset()
    text: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Query:
        """As a page tells it."""
        offset, limit, sort, states, text = (data.get(n) for n in ("offset", "limit", "sort", "states", "text"))
        return cls(
            offset=max(0, offset) if isinstance(offset, int) else 0,
            limit=min(max(0, limit), _MOST) if isinstance(limit, int) else 100,
            sort=sort if isinstance(sort, str) and sort in _SORTS else "index",
            descending=data.get("descending") is True,
            states=frozenset(s for s in states if isinstance(s, str)) if isinstance(states, list) else frozenset(),
            text=text.strip().lower() if isinstance(text, str) else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildRow:
    """One child; `id` is what details are asked for with."""

    id: str
    index: int
    label: str
    state: str
    type: str
    attempt: int = 0
    attempts: int = 1
    duration_s: float | None = None
    started_at: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """A window of a map's children.

    Parameters
    ----------
    task : str
        The map.
    total, matched : int
        How many there are, and how many of them fit what was asked.
    counts : mapping
        How many are in each state.
    strip : tuple of (str, int)
        The states of all in the order of their elements, equal neighbours together.
    rows : tuple of ChildRow
        The window.
    """

    task: str
    total: int
    matched: int
    offset: int
    counts: Mapping[str, int]
    strip: tuple[tuple[str, int], ...]
    rows: tuple[ChildRow, ...]

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = asdict(self)
        return plain | {"strip": [list(run) for run in self.strip], "rows": list(plain["rows"])}


def children(run: Run, map_: Visit, query: Query) -> Children:
    """What of a map's children is asked for."""
    count = map_.width or 0
    visits = [run.visits[VisitId(map_.id.task, map_.id.visit, index)] for index in range(count)]
    counts: dict[str, int] = {}
    for visit in visits:
        counts[visit.state.label] = counts.get(visit.state.label, 0) + 1
    found = [v for v in visits if _fits(v, query)]
    if query.sort != "index" or query.descending:
        found.sort(key=lambda v: _rank(v, query.sort), reverse=query.descending)
    window = found[query.offset : query.offset + query.limit]
    return Children(
        task=map_.id.task,
        total=count,
        matched=len(found),
        offset=query.offset,
        counts=counts,
        strip=tuple((label, len(list(same))) for label, same in groupby(v.state.label for v in visits)),
        rows=tuple(_row(v) for v in window),
    )


def _fits(visit: Visit, query: Query) -> bool:
    if query.states and visit.state.label not in query.states:
        return False
    text = query.text
    return not text or text in f"[{visit.id.index}]" or text in visit.state.message.lower()


def _rank(visit: Visit, sort: str) -> tuple[Any, int]:
    by: Mapping[str, Any] = {
        "state": visit.state.label,
        "attempt": visit.attempt,
        "time": -1.0 if visit.duration_s is None else visit.duration_s,
    }
    return by.get(sort, 0), visit.id.index


def _row(visit: Visit) -> ChildRow:
    return ChildRow(
        id=str(visit.id),
        index=visit.id.index,
        label=f"{visit.spec.name}[{visit.id.index}]",
        state=visit.state.label,
        type=visit.state.type.value,
        attempt=visit.attempt,
        attempts=visit.attempts,
        duration_s=visit.duration_s,
        started_at=visit.started_at,
        message=visit.state.message or (visit.reason.sentence if visit.reason else ""),
    )
