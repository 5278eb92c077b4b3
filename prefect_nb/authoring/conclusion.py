"""What the page sees at the end of a task cell's own request: its error, why it did not run, or nothing."""

from __future__ import annotations

from types import TracebackType

from prefect_nb.authoring.approvals import words
from prefect_nb.authoring.capture import replay
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.rests import RESTING
from prefect_nb.authoring.tracebacks import present
from prefect_nb.core.run import Visit
from prefect_nb.core.states import StateName, StateType
from prefect_nb.errors import NotAvailable

__all__ = ["conclude"]

_RAISING = (StateName.FAILED, StateName.TIMED_OUT, StateName.CANCELLED)


def conclude(flow: LiveFlow, visit: Visit, failure: BaseException | None, tb: TracebackType | None) -> None:
    """Return if the cell ended well, was skipped or waits; raise what its body raised, or why it did not run.

    Raises
    ------
    NotAvailable
        If it did not run; in a headless flow, where other tasks go on, that is shown instead.
    """
    state, name = visit.state, visit.id.task
    if state.type is StateType.COMPLETED and state.name is not StateName.SKIPPED:
        return
    if state.name in RESTING:
        replay((), flow.shell, note=words(name, state))
        return
    if failure is not None and state.name in _RAISING:
        raise present(flow.shell, failure, tb)
    told = state.message or state.name.wording
    if state.name is StateName.SKIPPED or flow.mode == "flow":
        replay((), flow.shell, note=f"{name}: {state.label}, {told}")
        return
    hint = "run what it needs first; %flow shows the graph"
    raise present(flow.shell, NotAvailable(f"{name} is {state.label}: {told}", hint=hint, task=name), None)
