"""What an exam asks a kernel: run inside the process whose cells are examined, it answers in plain data.

Everything comes from the run's visits, the store's entries and the document's graph; nothing is asked of the runner
that a view could not ask too.
"""

from __future__ import annotations

from typing import Any

from IPython import get_ipython


def extension(shell: Any = None) -> Any:
    """Everything that the shell got from us."""
    return (shell or get_ipython())._prefect_nb.rooms


def report(shell: Any = None) -> dict[str, Any]:
    """The tasks with their last visits, what is stale, the edges and every diagnosis so far."""
    ours = extension(shell)
    flow, runner = ours.flow, ours.runner
    graph = flow.document.graph
    return {
        "tasks": {c.id: _task(flow, c) for c in flow.document.cells if c.spec is not None},
        "stale": sorted(runner.stale()),
        "edges": sorted([e.source, e.target, e.name] for e in graph.edges if e.kind == "data"),
        "order_edges": sorted([e.source, e.target, e.name, e.kind] for e in graph.order_edges),
        "diag": sorted({d.code for d in runner.diagnoses()}),
    }


def _task(flow: Any, cell: Any) -> dict[str, Any]:
    visit = flow.session.run.visit(cell.spec.name)
    if visit is None:
        return {"visit": 0, "state": "", "attempt": 0, "stored": False, "why": "", "note": ""}
    entries = flow.store.entries(task=cell.spec.name, flow=flow.name)
    return {
        "visit": visit.id.visit,
        "state": visit.state.name.name,
        "attempt": visit.attempt,
        "stored": _lasting(cell) and (cell.names.definition_only or any(e.result == visit.result for e in entries)),
        "why": visit.reason.sentence if visit.reason else "",
        "note": visit.note or visit.state.message,
    }


def _lasting(cell: Any) -> bool:
    return bool(cell.spec.cache.mode.name != "NEVER")


def force(cell_id: str, shell: Any = None) -> None:
    """As the page's button: the next execution of a cell computes it again."""
    extension(shell).flow.forced.add(cell_id)
