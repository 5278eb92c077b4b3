"""A flow as a node of another: a run of its own, which goes on where it was if the other is resumed.

Found again by its place in the other run, and only with equal arguments. Knows runs of flows; not how one is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from prefect_nb.analysis.values import fingerprint
from prefect_nb.authoring import signals
from prefect_nb.authoring.calls import Caller, current
from prefect_nb.authoring.footing import footing
from prefect_nb.authoring.parameters import Parameters
from prefect_nb.authoring.runs import Run
from prefect_nb.errors import NotAvailable, Unhashable
from prefect_nb.protocols import RunRow

__all__ = ["ChildFlow", "given", "hosted"]

_ENDED_WELL = ("Success", "Skipped", "Cancelled")
Opened = tuple[Run, Callable[[], Any]]


class Opens(Protocol):
    """A flow, as far as a child run needs it."""

    parameters: Parameters

    def opened(self, values: dict[str, Any], *, run_id: str = "", patient: bool = True) -> Opened:
        """A new run, and what drives it to its end."""


class ChildFlow:
    """What runs in place of a flow's own body where it is a node of another flow: a run of its own.

    Parameters
    ----------
    of : Flow
        The flow.
    go_on : callable
        Goes on with a run of it that was left.
    """

    def __init__(self, of: Opens, go_on: Callable[..., Opened]) -> None:
        self._flow = of
        self._go_on = go_on

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, or go on with it; its value.

        Raises
        ------
        Pause
            If it only waits for a person.
        """
        caller = current()
        assert caller is not None
        assert caller.visit is not None
        parent, visit = caller.flow.session.run.id, caller.visit
        values = self._flow.parameters.checked(args, kwargs)
        where = visit.task if visit.index < 0 else f"{visit.task}-{visit.index}"
        row, new = self._earlier(f"{where}@{parent}", given(values))
        if row is not None:
            run, drive = self._go_on(row, patient=False)
        else:
            run, drive = self._flow.opened(values, run_id=new, patient=False)
        try:
            with hosted(caller, run.cancel):
                return drive()
        except NotAvailable as absent:
            if not run.unattended:
                raise
            raise signals.pause(f"{absent.message}; answer that, then let this go on") from None

    def _earlier(self, child: str, same: str) -> tuple[RunRow | None, str]:
        """The run of this very call that did not come to its end, if there is one; and a name for a new one."""
        store, found, name, number = footing().store, None, child, 1
        while (row := store.run(name)) is not None and row.run == name:
            if row.state not in _ENDED_WELL and same and row.graph.get("given") == same:
                found = row
            number += 1
            name = f"{child}.{number}"
        return found, name


@contextmanager
def hosted(caller: Caller | None, stop: Callable[[], None]) -> Iterator[None]:
    """While a run goes on inside the body of a task, a stop of that body is a stop of the run."""
    guests = getattr(caller.flow, "guests", None) if caller is not None else None
    if guests is None or caller is None or caller.visit is None:
        yield
        return
    guests.setdefault(caller.visit, []).append(stop)
    try:
        yield
    finally:
        guests[caller.visit].remove(stop)


def given(values: Mapping[str, Any]) -> str:
    """What stands for the arguments of a run; empty if nothing can."""
    try:
        return fingerprint(dict(values))
    except Unhashable:
        return ""
