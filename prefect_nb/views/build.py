"""From a run and its notebook's graph to the view model: the one reading of states that every view shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName, StateType
from prefect_nb.core.table import Table
from prefect_nb.views.model import EdgeView, Freshness, NodeView, RunView, ViewModel, actions_for, run_actions

__all__ = ["Calls", "build"]

N = StateName
_MANY = 6
_Family = tuple[VisitId, str]  # the calls of one function by one visit
_DUE = {N.RETRYING: "due", N.PAUSED: "until"}
_WEIGHT = {
    StateType.FAILED: 6,
    StateType.CRASHED: 6,
    StateType.RUNNING: 5,
    StateType.CANCELLING: 5,
    StateType.SCHEDULED: 4,
    StateType.PENDING: 3,
    StateType.CANCELLED: 2,
}


def build(
    run: Run,
    graph: Mapping[str, Any],
    *,
    seq: int,
    store: str = "",
    notebook: str = "",
    freshness: Mapping[str, Freshness] | None = None,
    calls: Calls | None = None,
    here: bool | None = None,
) -> ViewModel:
    """The model of a run.

    Parameters
    ----------
    run : Run
        The state.
    graph : mapping
        The notebook's tasks and edges, as the document tells them.
    seq : int
        The number of this model in its stream.
    freshness : mapping, optional
        What is known of each task's freshness.
    calls : Calls, optional
        What the last model of this stream was made with.
    here : bool, optional
        Of the run of a flow of functions: whether this process drives it now. None for a notebook's run.
    """
    fresh = freshness or {}
    cells = {str(n["task"]): n for n in graph.get("nodes", ())}
    nodes = [_cell(name, row, run, fresh.get(name, "unknown")) for name, row in cells.items()]
    known = set(cells)
    ordered = bool(graph.get("order_known"))
    for name, visit_id in run.latest.items():
        if name not in known and not (ordered and _left(run.visits[visit_id])):
            nodes.append(_node(run, run.visits[visit_id], "unknown"))
            known.add(name)
    nodes += (calls or Calls()).nodes(run, known)
    edges = [
        EdgeView(source=e["source"], target=e["target"], names=tuple(e["names"]), kind=e["kind"])
        for e in graph.get("edges", ())
        if e["source"] in known and e["target"] in known
    ]
    edges += _waits(run, known - set(cells))
    view = RunView(
        id=run.id,
        flow=run.flow,
        notebook=notebook,
        state=run.state.label,
        type=run.state.type.value,
        message=run.state.message,
        live=run.live,
        started_at=run.created_at or None,
        ended_at=run.ended_at,
        order_known=bool(graph.get("order_known", True)),
        store=store,
        kind="notebook" if here is None else "function",
        actions=() if here is None else run_actions(run.state.name, here=here),
    )
    return ViewModel.of(seq, view, nodes, edges)


def _waits(run: Run, tasks: set[str]) -> Iterable[EdgeView]:
    """What tasks that no document knows wait for: functions in a flow of functions."""
    for task in tasks:
        if (latest := run.latest.get(task)) is None:
            continue
        visit = run.visits[latest]
        above = [*visit.upstream]
        if visit.width:  # child waits for child, where a map is over a map
            above += run.visits[VisitId(latest.task, latest.visit, 0)].upstream
        sources = dict.fromkeys(up.task for up in above)
        yield from (EdgeView(source, task) for source in sorted(sources) if source in run.latest and source != task)


def _left(visit: Visit) -> bool:
    """Whether its cell is not in the document any more, or makes another task now."""
    ours = (visit.cell or "run-").startswith("run-")  # a cell of a client that does not tell which it is
    return visit.spec.kind.value == "cell" and visit.state.final and not ours


class Calls:
    """Function calls below cells, kept from one model to the next: only visits that moved since are looked at.

    Not to be used by two threads at a time.
    """

    def __init__(self) -> None:
        self._visits: Table[VisitId, Visit] = Table()
        self._families: dict[_Family, dict[VisitId, Visit]] = {}
        self._told: dict[_Family, NodeView] = {}

    def nodes(self, run: Run, known: set[str]) -> Iterable[NodeView]:
        """Calls of each known task's latest visit: a node each, or one node with counts when they are many."""
        self._catch_up(run)
        for family, found in self._families.items():
            parent, name = family
            if parent.task not in known or run.latest.get(parent.task) != parent:
                continue
            if run.visits[parent].width is not None:  # a map is one node, with counts
                continue
            if len(found) <= _MANY:
                yield from (_node(run, v, "unknown", parent=parent.task) for v in found.values())
                continue
            if family not in self._told:
                self._told[family] = _family(name, parent.task, list(found.values()))
            yield self._told[family]

    def _catch_up(self, run: Run) -> None:
        moved = run.visits.unlike(self._visits)
        self._visits = run.visits
        if len(moved) == len(run.visits):  # another run, or nearly all of it is new
            self._families.clear()
            self._told.clear()
        for visit in moved:
            if visit.parent is not None:
                family = visit.parent, visit.id.task
                self._families.setdefault(family, {})[visit.id] = visit
                self._told.pop(family, None)


def _family(name: str, parent: str, visits: list[Visit]) -> NodeView:
    counts = Counter(v.state.name for v in visits)
    worst = max(counts, key=lambda n: (_WEIGHT.get(n.type, 0), counts[n]))
    started = [v.started_at for v in visits if v.started_at is not None]
    ended = [v.ended_at for v in visits if v.ended_at is not None]
    return NodeView(
        id=name,
        label=visits[0].spec.name.rpartition(".")[2],
        kind="function",
        parent=parent,
        state=worst.label,
        type=worst.type.value,
        message=next((v.state.message for v in visits if v.state.name is worst), ""),
        attempt=max(v.attempt for v in visits),
        attempts=visits[0].attempts,
        duration_s=max(ended) - min(started) if started and len(ended) == len(visits) else None,
        saved_s=sum(v.saved_s or 0.0 for v in visits) or None,
        counts={n.label: c for n, c in counts.items()},
        actions=actions_for(worst, "function"),
    )


def _cell(name: str, row: Mapping[str, Any], run: Run, fresh: Freshness) -> NodeView:
    visit = run.visit(name)
    cell, position = row.get("cell"), row.get("position")
    if visit is not None:
        return _node(run, visit, fresh, cell=str(cell) if cell else None, position=position)
    state = N.NOT_RUN if run.state.final else N.PENDING
    return NodeView(
        id=name,
        label=name,
        state=state.label,
        type=state.type.value,
        message="not run yet" if state is N.PENDING else state.wording,
        cell_id=str(cell) if cell else None,
        position=position,
        actions=actions_for(state, "cell"),
    )


def _of_map(run: Run, visit: Visit) -> dict[str, int] | None:
    """How many children of a map are in each state; None for everything else."""
    if visit.width is None:
        return None
    children = (run.visits[VisitId(visit.id.task, visit.id.visit, index)] for index in range(visit.width))
    return dict(Counter(child.state.label for child in children))


def _node(
    run: Run,
    visit: Visit,
    fresh: Freshness,
    *,
    cell: str | None = None,
    position: int | None = None,
    parent: str | None = None,
) -> NodeView:
    kind = "function" if visit.spec.kind.value == "function" else "cell"
    label = visit.spec.name.rpartition(".")[2] if parent else visit.id.task
    return NodeView(
        id=str(visit.id) if parent else visit.id.task,
        label=label,
        kind=kind,  # type: ignore[arg-type]  # two of the three kinds
        parent=parent,
        state=visit.state.label,
        type=visit.state.type.value,
        message=visit.state.message,
        attempt=visit.attempt,
        attempts=visit.attempts,
        duration_s=visit.duration_s,
        started_at=visit.started_at,
        due_at=visit.state.data.get(_DUE.get(visit.state.name, "")),
        cached_from=visit.cached_from,
        cached_age_s=visit.cached_age_s,
        saved_s=visit.saved_s,
        freshness="stale-code" if visit.invalid else fresh,
        reason=visit.reason.sentence if visit.reason else "",
        counts=_of_map(run, visit),
        cell_id=cell or visit.cell,
        position=position,
        actions=actions_for(visit.state.name, kind),  # type: ignore[arg-type]  # two of the three kinds
    )
