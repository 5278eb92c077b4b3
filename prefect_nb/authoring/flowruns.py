"""One run of a flow of functions in this process: plans visits as the flow's body calls tasks, and knows their values.

It is what tasks stand on and what nodes ask. The flow's body runs in its caller's thread, bodies of tasks in workers; a
visit that waits, for others, for a retry or for a person, holds no thread. Knows plans, waits and values; not what a
visit does when its turn comes (attending), nor what the end of the flow's body means.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect_nb.authoring.attend import Attendance
from prefect_nb.authoring.calls import current
from prefect_nb.authoring.causes import error_of, given_up
from prefect_nb.authoring.copies import own, source_of
from prefect_nb.authoring.endings import Ending
from prefect_nb.authoring.footing import Footing
from prefect_nb.authoring.former import Former
from prefect_nb.authoring.gates import gates_for, note
from prefect_nb.authoring.holdings import Holdings, stored_value
from prefect_nb.authoring.house import refuses
from prefect_nb.authoring.interrupts import Interrupts
from prefect_nb.authoring.leaving import Parked, Unattended
from prefect_nb.authoring.mapping import Brood, elements_of, upstream_of
from prefect_nb.authoring.naming import Names
from prefect_nb.authoring.nodes import Broken, Live, Node, Whole, edges, nodes_among
from prefect_nb.authoring.operations import OPERATIONS
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.authoring.uses import Uses
from prefect_nb.core import events as ev
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.engine.session import Session
from prefect_nb.errors import ResultUnavailable, TaskCancelled, UsageError
from prefect_nb.executors.loop import LoopThread
from prefect_nb.executors.threads import ThreadExecutor
from prefect_nb.protocols import Executor
from prefect_nb.wiring import now

if TYPE_CHECKING:
    from prefect_nb.authoring.functions import Task

__all__ = ["FlowRun"]


class FlowRun:
    """A run that is under way here.

    Parameters
    ----------
    footing : Footing
        Where it lives.
    session : Session
        Its engine.
    former : Former
        What it had before it was resumed.
    workers : int
        How many bodies may run at a time.
    body_code : str
        The digest of the code of the flow's body.
    """

    def __init__(
        self, footing: Footing, session: Session, former: Former, workers: int, *, body_code: str = ""
    ) -> None:
        self.body_code = body_code
        self.session = session
        self.store, self.vault, self.place, self.shell = footing.store, footing.vault, footing.place, footing.shell
        self.notebook: Path = footing.notebook
        self.cell_label: Callable[[str], str | None] = footing.label
        self.interrupts = Interrupts()
        self.former = former
        self.executor: Executor = ThreadExecutor(workers)
        self.loop = LoopThread()
        self.where, self.window = "threads", 4 * workers
        self.ending, self.was = Ending(), State(StateName.PENDING, session.run.created_at)
        self.gate = threading.Lock()
        self.stopping = self.parked = self.unattended = False
        self.errors: dict[VisitId, BaseException] = {}
        self.guests: dict[VisitId, list[Callable[[], None]]] = {}  # runs inside bodies: how to stop them
        self.broods: dict[VisitId, Brood] = {}
        self.broken: BaseException | None = None
        self._names = Names(session.run)
        self._lock = threading.Lock()
        self._seats: dict[VisitId, Attendance] = {}
        self._hearers: dict[VisitId, list[Callable[[Visit], None]]] = {}
        self.resources = Uses(session, former, self._hear)
        self._quiet = threading.Event()
        self._quiet.set()
        self._values = Holdings()
        self._context = contextvars.copy_context()

    # --- what tasks stand on -----------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """As the engine knows it."""
        return self.session.run

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.session.run.flow

    def number_call(self, name: str) -> int:
        """Calls of a run belong to its visits; this one does not."""
        return 1

    def permit(self) -> int:
        """Bodies run in workers, which no signal reaches."""
        return 0

    # --- planning ----------------------------------------------------------------------------------------------------

    def compute(self, operation: str, *values: Any) -> Node:
        """Plan an operator on nodes; its node."""
        return self.call(OPERATIONS[operation], values, {})

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Plan a call; its node."""
        task.bind(args, kwargs)  # a call that does not fit is told where it stands
        above = edges(self, (args, kwargs), self.session.run.id)
        args, kwargs = own((args, dict(kwargs)))  # what the author changes afterwards is another call's
        visit = self._names.next(task.spec.name)
        seat = Attendance(self, task, visit, (args, kwargs), contextvars.copy_context())
        self._plan([seat], above)
        return note(Node(self, visit, nout=task.nout))

    def map(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Plan a map; its node."""
        task.bind(args, kwargs)
        edges(self, (args, kwargs), self.session.run.id)
        args, kwargs = tuple(map(source_of, args)), {name: source_of(a) for name, a in kwargs.items()}
        elements = elements_of((*args, *kwargs.values()), task.spec.name)
        visit = self._names.next(task.spec.name)
        waits = [node for e in elements if (node := upstream_of(e)) is not None]
        waits += nodes_among([a for a in (*args, *kwargs.values()) if isinstance(a, Whole)], [])
        seat = Attendance(self, task, visit, ((), {}), contextvars.copy_context())
        seat.family = self.broods[visit] = Brood(self, visit, (args, kwargs), elements)
        self._plan([seat], waits)
        return note(Node(self, visit, mapped=True))

    def bear(self, brood: Brood, children: list[tuple[VisitId, tuple[Any, ...], Mapping[str, Any]]]) -> None:
        """Plan the next children of a map."""
        parent = self._seats.get(brood.visit)
        if parent is None or self.stopping:
            return
        planned: list[ev.TaskPlanned] = []
        for visit, args, kwargs in children:
            try:
                above = edges(self, (args, kwargs), self.session.run.id)
            except UsageError as error:
                args, kwargs, above = (Broken(error),), {}, []
            seat = Attendance(self, parent.task, visit, (args, kwargs), parent.context)
            seat.parent = brood
            self._take_seat(seat)
            spec, up = parent.task.spec, tuple(node.visit for node in above)
            planned.append(ev.TaskPlanned(at=now(), visit=visit, spec=spec, upstream=up, parent=brood.visit))
        self.session.post(*planned)

    def soon(self, job: Callable[[], None]) -> None:
        """Run a job in a worker, with the context of the flow's body."""
        context = self._context.copy()

        def safely() -> None:
            try:
                context.run(job)
            except BaseException as error:  # the border of a worker: whoever waits for the run has to hear of it
                self._break(error)

        self.executor.submit(safely)

    def _plan(self, seats: list[Attendance], above: list[Node]) -> None:
        self.resources.refuse_left(above)
        upstream = tuple(node.visit for node in (*above, *gates_for(self, above)))
        with self.gate:
            if self.parked:
                raise Parked
            if all(refuses(self, seat.task.spec) for seat in seats):
                raise TaskCancelled(f"run {self.session.run.id} was asked to stop", hint="no further task is begun")
            for seat in seats:
                self._take_seat(seat)
                spec = seat.task.spec
                self.session.post(ev.TaskPlanned(at=now(), visit=seat.visit, spec=spec, upstream=upstream))

    def _take_seat(self, seat: Attendance) -> None:
        with self._lock:
            self._quiet.clear()
            self._seats[seat.visit] = seat
        self.session.sit(seat.visit, seat)

    def begin(self) -> None:
        """The flow's body is about to run, in this context."""
        self._context = contextvars.copy_context()

    # --- waiting -----------------------------------------------------------------------------------------------------

    def settled(self, seat: Attendance, visit: Visit) -> None:
        """The visit is final, and that is durable."""
        if not seat.over and seat.parent is not None:
            seat.over = True
            seat.parent.ended()
        brood = self.broods.get(visit.id)
        with self._lock:
            self._seats.pop(visit.id, None)
            event, hearers = seat.event, self._hearers.pop(visit.id, ())
            if not self._seats:
                self._quiet.set()
        if brood is not None:
            for listener in brood.listeners:
                listener.nudge()
        if event is not None:
            event.set()
        for hearer in hearers:
            hearer(visit)

    def _hear(self, visit: VisitId, of: Callable[[Visit], None]) -> None:
        """Tell of the end of a visit, in the engine's thread, or at once if it has ended."""
        with self._lock:
            if visit in self._seats:
                self._hearers.setdefault(visit, []).append(of)
                return
        of(self.session.run.visits[visit])

    def trouble(self, seat: Attendance, error: BaseException) -> None:
        """Its owner cannot go on: the visit fails for this, and so does the run if its engine is broken."""
        if self.session.failure is not None:
            self._break(error)
            return
        again, seat.given_up = seat.given_up, True
        self.errors[seat.visit] = self.errors[seat.visit] if again else error
        found = self.session.run.visits.get(seat.visit)
        if found is None or found.state.final:
            self.settled(seat, found or Visit(seat.visit, seat.task.spec, State(StateName.NOT_RUN, now()), now()))
            return
        info = error_info(error, error.__traceback__, label=self.cell_label)
        self.session.post(*given_up(found, info, now(), wherever=again))

    def _break(self, error: BaseException) -> None:
        with self._lock:
            self.broken = self.broken or error
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        with self._lock:
            waiting = [seat.event for seat in self._seats.values() if seat.event is not None]
            self._quiet.set()
        for event in waiting:
            event.set()

    def wait_for_all(self) -> None:
        """Wait until every planned visit is final, and that is durable."""
        while True:
            self._quiet.wait()
            self._check()
            with self._lock:
                if not self._seats:
                    return

    def _await(self, visit: VisitId) -> None:
        with self._lock:
            seat = self._seats.get(visit)
            if seat is None:
                return
            seat.waits_for_end = True  # somebody waits for this commit
            event = seat.event = seat.event or threading.Event()
        event.wait()
        self._check()

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken
        if self.parked:
            raise Parked
        if self.unattended:
            raise Unattended

    # --- values ------------------------------------------------------------------------------------------------------

    def result_of(self, node: Node) -> Any:
        """Wait for the node; its value, None if it was skipped, or what it raised."""
        caller = current()
        if caller is not None and caller.visit is not None and caller.flow is self:
            hint = "pass the node to the task as an argument: that is an edge, and part of its key"
            raise UsageError(f"the body of {caller.visit.task} asks {node!r} for its result", hint=hint)
        self._check()
        self._await(node.visit)
        value = self.outcome(node.visit)
        if type(value) is Live:  # its setup was put off
            return self.result_of(self.resources.anew(node))
        return value

    def state_of(self, node: Node) -> State:
        """How it stands."""
        found = self.session.run.visits.get(node.visit)
        return found.state if found else State(StateName.PENDING, now())

    def outcome(self, visit_id: VisitId) -> Any:
        """The value of a final visit; None if it was skipped; else what it raised is raised."""
        visit = self.session.run.visits.get(visit_id)
        if visit is None:  # refused by the engine: the run had ended, or was left
            raise self.errors.get(visit_id) or UsageError(f"run {self.session.run.id} ended without {visit_id}")
        if visit.state.type is not StateType.COMPLETED:
            raise error_of(self.session.run, visit_id, self.errors)
        return Live.opened(self._value(visit))

    def given(self, node: Node, skipped: Any = None) -> Any:
        """What a task that depends on this node is given: its value, or `skipped`, else the exception itself."""
        visit = self.session.run.visits[node.visit]
        if visit.state.name is StateName.SKIPPED and (visit.width is None or skipped is not None):
            return skipped
        if visit.width is not None and visit.state.type in (StateType.COMPLETED, StateType.FAILED):
            return [self.given(Node(self, child)) for child in visit.children]
        if visit.state.type is StateType.COMPLETED:
            return self._value(visit)
        return error_of(self.session.run, node.visit, self.errors)

    def origin_of(self, visit: VisitId) -> str:
        """What stands for where its inputs came from: the flow's own code, and the keys of what is upstream."""
        visits = self.session.run.visits
        above = (visits[up] for up in visits[visit].upstream)
        return "\0".join([self.body_code, *(v.like or v.key or str(v.id) for v in above)])

    def keep(self, visit: VisitId, value: Any, *, stored: bool) -> None:
        """Hold a value for those downstream; one that is stored may be dropped and read again."""
        self.errors.pop(visit, None)
        self._values.keep(visit, value, stored=stored)

    def _value(self, visit: Visit) -> Any:
        if visit.width is not None:
            return [self.outcome(child) for child in visit.children]
        if visit.state.name is StateName.SKIPPED:
            return None
        if (held := self._values.find(visit.id)) is not None:
            return held[0]
        if not visit.result:
            raise ResultUnavailable(f"the value of {visit.id} was not stored: {visit.note}", hint="run it again")
        return stored_value(self, visit.id, visit.result)
