"""One call of a function task in its caller's own thread: entered, tried again, stopped, paused, and taken up again.

In the main thread, where interrupts arrive, a limit or a cancel stops the body, and so it does wherever the body has a
process of its own; in any other thread a limit is soft: the visit ends in time and says so, and what the body still
gives is thrown away. Knows calls and desks; nothing about
keys and results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from prefect_nb.authoring import signals
from prefect_nb.authoring.attempt import interrupter
from prefect_nb.authoring.callbody import Call, Ended, Overdue, Stopped, attempt
from prefect_nb.authoring.errands import Errand
from prefect_nb.authoring.rests import RESTING, told_to_rest
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter, Interrupt, Resolve
from prefect_nb.core.reasons import Reason
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskSpec
from prefect_nb.core.states import StateName
from prefect_nb.engine.desk import Desk, Order, Settled
from prefect_nb.engine.session import Session
from prefect_nb.errors import NotAvailable, TaskCancelled, TaskTimeout, UsageError
from prefect_nb.wiring import now

__all__ = ["Solo", "abandoned", "refuse_unrecorded"]


def abandoned(visit: Visit | None) -> bool:
    """Whether a visit whose caller gave up must not be left as it is: it neither ended nor waits for a person."""
    return visit is None or not (visit.state.final or visit.state.name in RESTING)


class Solo:
    """The calls of one task in their callers' threads; remembers which of them wait for a person or a time.

    Parameters
    ----------
    name : str
        The task's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._session: Session | None = None
        self._keys: set[str] = set()

    def run(self, call: Call, desk: Desk, planned: ev.TaskPlanned, reason: Reason, body: Callable[[], Any]) -> Any:
        """The value of a call whose body has to run.

        Raises
        ------
        NotAvailable
            If it waits for a person or a time, or was skipped.
        TaskCancelled, TaskTimeout, TaskFailed
            If somebody stopped it, it took too long, or it says itself that it failed; else what the body raised.
        """
        session = call.ground.session
        before, order = self._begin(call, desk, planned, reason)
        outcome = Ended()
        while isinstance(order, Enter):
            session.post(*before, ev.BodyEntered(at=now(), visit=call.visit, token=order.token))
            before = ()
            outcome = self._enter(call, order, desk, body)
            if outcome.error is None:
                return outcome.value
            if isinstance(outcome.error, KeyboardInterrupt):
                raise outcome.error
            if isinstance(outcome.error, signals.Pause) and told_to_rest(session, call.visit, ()) is not None:
                self._keys.add(call.keyed.key)
                raise signals.outside(outcome.error, call.visit.task)
            order = _next(desk, order.token)
        assert isinstance(order, Settled)
        raise _why(order.visit, outcome.error)

    # --- before ------------------------------------------------------------------------------------------------------

    def _begin(
        self, call: Call, desk: Desk, planned: ev.TaskPlanned, reason: Reason
    ) -> tuple[tuple[ev.TaskEvent, ...], Order]:
        """What is still to be told when the body is entered, and the order to enter it (or that nothing will be)."""
        session = call.ground.session
        resting = self._left(session, call.keyed.key)
        if resting is not None and resting.state.name is StateName.PAUSED:
            call.visit = resting.id
            raise _waits(resting)
        if resting is not None:
            self._keys.discard(call.keyed.key)
            call.visit = resting.id
            session.sit(resting.id, desk)
            limits = session.limited(call.spec.tags, resting.parent)
            session.post(ev.KeyResolved(at=now(), visit=resting.id, key=call.keyed.key, reason=reason, limits=limits))
            return (), _next(desk, resting.token)
        limits = session.limited(call.spec.tags, planned.parent)
        resolved = ev.KeyResolved(at=now(), visit=call.visit, key=call.keyed.key, reason=reason, limits=limits)
        if limits and not call.spec.approve:
            session.post(planned, resolved)
            return (), _next(desk, 0)
        if not call.spec.approve:
            # The first permission of a new visit is known, so entry runs ahead of the engine; later ones are awaited.
            return (planned, resolved), Enter(call.visit, token=1, attempt=1)
        found = told_to_rest(session, call.visit, (planned, resolved))
        if found is not None:
            self._keys.add(call.keyed.key)
            raise _waits(found.visit)
        return (), _next(desk, 0)

    def _left(self, session: Session, key: str) -> Visit | None:
        """A visit of this very call that waits, or was let go on and waits for its caller; the latest."""
        visits = session.run.visits
        if self._session is not session:
            mine = (v for v in visits.values() if v.spec.name == self._name and v.state.name in RESTING)
            self._session, self._keys = session, {v.key for v in mine}
        if key not in self._keys:
            return None
        same = [v for v in visits.values() if v.spec.name == self._name and v.key == key and v.state.name in RESTING]
        return same[-1] if same else None

    # --- the body ----------------------------------------------------------------------------------------------------

    def _enter(self, call: Call, order: Enter, desk: Desk, body: Callable[[], Any]) -> Ended:
        try:
            if call.far is not None:
                errand = Errand(call, order)
                body = errand.run
            if threading.current_thread() is threading.main_thread():
                outcome = attempt(call, order, lambda: _stoppable(call, desk, body))
            else:
                desk.interrupt = errand.interrupt if call.far is not None else lambda wish: _go_on_without(call, wish)
                outcome = attempt(call, order, body)
        finally:
            desk.interrupt = None
        if order.token in call.void:
            return Ended(error=_too_long(call))
        return outcome


def _stoppable(call: Call, desk: Desk, body: Callable[[], Any]) -> Any:
    """The body in the main thread, where an interrupt that is meant for it stops it."""
    interrupts, permit = call.ground.interrupts, call.ground.permit()
    desk.interrupt = interrupter(call.ground, permit)
    with interrupts.around(permit) as guard:
        try:
            with guard.running():
                return body()
        except KeyboardInterrupt as error:
            if guard.why is None:  # the user's own
                raise
            if guard.why == "stop":
                raise Stopped(error, "by Stop") from None
            if guard.why == "timeout":
                raise Overdue(_too_long(call).with_traceback(error.__traceback__)) from None
            told = TaskCancelled(f"{call.visit.task} was cancelled", hint="somebody stopped it")
            raise Stopped(told.with_traceback(error.__traceback__), "") from None


def _go_on_without(call: Call, wish: Interrupt) -> None:
    """No interrupt reaches this thread: after its time the visit ends without the body, which asks ``cancelled``."""
    if wish.why != "timeout":
        return
    call.void.add(wish.token)
    info = error_info(TimeoutError(_too_long(call).message), None, kind="timeout", hard=False)
    call.ground.session.post(ev.BodyRaised(at=now(), visit=call.visit, token=wish.token, error=info))


def _too_long(call: Call) -> TaskTimeout:
    return TaskTimeout(f"{call.visit.task} took longer than {call.spec.timeout or 0:g} s", task=call.visit.task)


# --- after -----------------------------------------------------------------------------------------------------------


def _next(desk: Desk, entered: int) -> Order:
    """The next order that is not about a permission that was used already."""
    order = desk.next().result()
    while isinstance(order, Resolve) or (isinstance(order, Enter) and order.token <= entered):
        order = desk.next().result()
    return order


def _why(visit: Visit, error: BaseException | None) -> BaseException:
    """What the caller of a visit that ended without a value sees."""
    state, task = visit.state, visit.id.task
    if state.name is StateName.CANCELLED and not isinstance(error, TaskCancelled):
        cancelled = TaskCancelled(f"{task} was cancelled", hint=state.message)
        cancelled.__cause__ = error
        return cancelled
    if error is None:
        return NotAvailable(f"{task} is {state.label}", hint=state.message, task=task, state=state.label)
    return signals.outside(error, task)


def _waits(visit: Visit) -> BaseException:
    return signals.outside(signals.Pause(visit.state.message), visit.id.task)


def refuse_unrecorded(spec: TaskSpec) -> None:
    """Where nothing is recorded, nobody can be asked and nothing is known to have run once.

    Raises
    ------
    UsageError
        If the task wants that.
    """
    if spec.approve or spec.once:
        wants = "waits for a person" if spec.approve else "is to run once"
        hint = f"call it in a flow, or load the extension; {spec.name}.function(…) is the bare function"
        raise UsageError(f"{spec.name} {wants}, but nothing is recorded here", hint=hint, task=spec.name)
