"""One visit of one cell on its way through the runner; plain data."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.authoring.body import Body
from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.keys import Keyed
from prefect_nb.authoring.reuse import Finding, Found
from prefect_nb.core import events as ev
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.engine.desk import Desk, Order

__all__ = ["Job"]


@dataclass(slots=True)
class Job:
    """What the runner knows of the visit so far.

    Parameters
    ----------
    cell, spec, names, body
        The cell, its task, its analysis and its compiled body.
    pulled : bool
        Whether it runs inside another cell's request.
    fresh : bool
        Whether earlier results are to be ignored.
    producers : dict
        The cell that makes each input.
    keyed, finding, visit : optional
        Its key, what was found under it, and its visit, as they become known.
    desk : Desk
        Where the machine's orders arrive.
    planned : tuple of TaskPlanned
        The plan, while it waits to be told together with what was found.
    foreknown : deque
        The kinds of the orders that are on their way and were acted on already.
    lacking : dict
        Names that it reads and that their tasks, which ended without a success, did not make: the visit of each.
    failure, traceback : optional
        What the last attempt raised, and the user's frames.
    """

    cell: CellInfo
    spec: TaskSpec
    names: Names
    body: Body
    pulled: bool
    fresh: bool
    producers: dict[str, str] = field(default_factory=dict)
    keyed: Keyed | None = None
    finding: Finding | Found | None = None
    visit: VisitId | None = None
    desk: Desk = field(default_factory=Desk)
    planned: tuple[ev.TaskPlanned, ...] = ()
    foreknown: deque[type[Order]] = field(default_factory=deque)
    lacking: dict[str, Visit] = field(default_factory=dict)
    failure: BaseException | None = None
    traceback: Any = None
