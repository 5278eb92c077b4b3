"""What the machine knows, as the store's rows; a projection, never read back into a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_nb.core.run import Run, Visit
from prefect_nb.protocols import RunRow, VisitRow

__all__ = ["run_row", "visit_row"]


def visit_row(run: str, visit: Visit) -> VisitRow:
    """The projection of one visit."""
    return VisitRow(
        run=run,
        visit=visit.id,
        kind=visit.spec.kind.value,
        state=visit.state.label,
        type=visit.state.type.value,
        message=visit.state.message,
        version=visit.version,
        token=visit.token,
        attempt=visit.attempt,
        attempts=visit.attempts,
        key=visit.key,
        result=visit.result,
        parent=visit.parent,
        cell=visit.cell,
        planned_at=visit.planned_at,
        started_at=visit.started_at,
        ended_at=visit.ended_at,
        duration_s=visit.duration_s,
        due_at=visit.state.data.get("due"),
        cached_from=visit.cached_from,
        cached_age_s=visit.cached_age_s,
        saved_s=visit.saved_s,
        reason=visit.reason.to_plain() if visit.reason else {},
        error=visit.error.to_plain() if visit.error else None,
    )


def run_row(run: Run, notebook: str, graph: Mapping[str, Any]) -> RunRow:
    """The projection of a run, with the graph of its notebook for the views."""
    return RunRow(
        run=run.id,
        flow=run.flow,
        notebook=notebook,
        live=run.live,
        state=run.state.label,
        type=run.state.type.value,
        message=run.state.message,
        created_at=run.created_at,
        ended_at=run.ended_at,
        worker=run.worker,
        parameters=run.parameters,
        graph=graph,
        version=run.version,
    )
