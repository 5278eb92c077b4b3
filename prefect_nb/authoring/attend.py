"""Attending to one visit of a flow's run: what is done, in a worker, when the machine gives an order.

The machine orders Resolve when everything upstream is final: then inputs are fetched, the key is computed over their
values, and an earlier result is looked for; Judge asks the author's trigger; Enter runs the body. Nothing waits in
between: no thread is held by a visit that waits. Knows one visit; not how visits are planned, nor when the run ends.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect_nb.analysis.values import is_immutable
from prefect_nb.authoring.binding import bound_now
from prefect_nb.authoring.callbody import Call, Ended, attempt, attempt_async
from prefect_nb.authoring.callkeys import Arguments
from prefect_nb.authoring.calls import Caller, calling
from prefect_nb.authoring.errands import Errand
from prefect_nb.authoring.former import Past, likeness
from prefect_nb.authoring.house import Family, House, refuses
from prefect_nb.authoring.nodes import Live
from prefect_nb.authoring.reuse import Finding, Found
from prefect_nb.authoring.takeover import waits_on
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.authoring.triggers import judged, upstream_states
from prefect_nb.authoring.uses import put_off
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter, Interrupt, Judge, Resolve
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.desk import Desk, Order, Settled
from prefect_nb.errors import PrefectNBError, ResultUnavailable
from prefect_nb.executors.loop import elsewhere
from prefect_nb.executors.stopping import BodyStopped
from prefect_nb.protocols import LogChunk
from prefect_nb.wiring import now

if TYPE_CHECKING:
    from prefect_nb.authoring.functions import Task

__all__ = ["Attendance"]

GRACE_S = 2.0
"""How long a body may take to end after it was asked to stop; then its visit ends without it."""
_DEAR_S = 0.003
"""From here on a body's end is durable before its worker enters another, so that a kill costs each worker one body."""


class Attendance(Desk):
    """Who attends to one visit; orders come from the engine's thread and become jobs.

    Parameters
    ----------
    house : House
        The run.
    task : Task
        What is called.
    visit : VisitId
        The visit.
    arguments : tuple
        Positional and keyword arguments; may hold nodes.
    context : Context
        The caller's context variables; each entry of the body gets a copy.
    """

    def __init__(
        self,
        house: House,
        task: Task[..., Any],
        visit: VisitId,
        arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
        context: contextvars.Context,
    ) -> None:
        self.house = house
        self.task = task
        self.visit = visit
        self.arguments: tuple[tuple[Any, ...], Mapping[str, Any]] | None = arguments
        self.context = context
        self.family: Family | None = None  # the map that it opens
        self.parent: Family | None = None  # the map that it belongs to
        self.waits_for_end = False
        self.interrupt = self._interrupt
        self.event: threading.Event | None = None
        self.given_up = False  # its failure was told by somebody else than its body
        self.over = False  # nobody needs a turn of a worker for it any more
        self._call: Call | None = None
        self._entered = self._stopped = 0
        self._past = Past()
        self._like = ""
        self._lives: list[Live] = []

    # --- the engine's thread -----------------------------------------------------------------------------------------

    def deliver(self, order: Order) -> None:
        """An order of the machine's."""
        kind = type(order)
        if kind is Resolve:
            self._submit(self._resolve if self.family is None else self._open)
        elif kind is Enter:
            assert isinstance(order, Enter)
            if order.token > self._entered:
                self._submit(lambda: self._enter(order))
        elif kind is Judge:
            self._submit(self._judge)
        else:
            assert isinstance(order, Settled)
            self._call = self.arguments = None
            self.house.settled(self, order.visit)

    def fail(self, error: BaseException) -> None:
        """The engine or its store cannot go on."""
        self.house.trouble(self, error)

    def _interrupt(self, order: Interrupt) -> None:
        call, token = self._call, (self.visit, order.token)
        self._stopped = order.token  # said before anybody is told, so that a body on its way in hears of it too
        if call is not None and call.far is not None:
            call.far.wished(order)
            return
        told = self.house.executor.stop(token) or self.house.loop.stop(token)
        for stop in list(self.house.guests.get(self.visit, ())):
            stop()
        if call is None:
            return
        if order.why == "timeout":
            call.void.add(order.token)
            error = TimeoutError(f"{self.visit} took longer than {self.task.spec.timeout:g} s")
            info = error_info(error, None, kind="timeout", hard=self.house.executor.hard and told)
            self.house.errors[self.visit] = error
            self.house.session.post(
                ev.BodyRaised(at=now(), visit=self.visit, token=order.token, error=info, retryable=not call.spent)
            )
        else:
            patience = threading.Timer(GRACE_S, self._go_on_without, (call, order.token))
            patience.daemon = True
            patience.start()

    def _go_on_without(self, call: Call, token: int) -> None:
        """A body that was asked to stop and did not: its thread cannot be killed."""
        found = self.house.session.run.visits[self.visit]
        if found.state.final or found.token != token:
            return
        call.void.add(token)
        told = "its thread could not be stopped; what it gives later is thrown away"
        self.house.session.log(LogChunk(self.visit, found.attempt, "stderr", f"{told}\n", now()))
        self.house.session.post(ev.BodyCancelled(at=now(), visit=self.visit, token=token, message=told))

    # --- workers -----------------------------------------------------------------------------------------------------

    def _submit(self, job: Callable[[], None]) -> None:
        def safely() -> None:
            try:
                job()
            except BodyStopped:  # it struck late
                raise
            except BaseException as error:  # the border of a worker: whoever waits for the visit has to hear of it
                self.house.trouble(self, error)

        self.house.executor.submit(safely)

    def _open(self) -> None:
        assert self.family is not None
        try:
            self.family.open()
        except Exception as error:  # there are no elements: the map's own failure
            self.family.fail(error)

    def _judge(self) -> None:
        judge, session = self.task.judge, self.house.session
        assert judge is not None
        session.post(judged(judge, upstream_states(session.run, self.visit), self.visit, now()))

    def _resolve(self) -> None:
        house, task = self.house, self.task
        if refuses(house, task.spec) or self.arguments is None:
            return
        call = self._call
        if call is not None:  # it waited for a person or a time, and goes on where it was
            house.session.post(self._resolved(call, Reason(ReasonCode.PERSON, "it goes on after a pause")))
            return
        try:
            bound = self._bound(self._lives)
            call = self._call = task.prepared(house, self.visit, bound, mapped=self.parent is not None)
        except BaseException as error:  # its inputs cannot be had, or do not fit the function: that is its failure
            self.house.trouble(self, error)
            return
        call.keep = lambda value, stored: house.keep(self.visit, value, stored=stored)
        self._like = likeness(call.keyed, bound, lambda: house.origin_of(self.visit))
        self._past = house.former.take(task.spec.name, call.keyed.key, self.visit, self._like)
        finding = self._found(call)
        while isinstance(finding, Found):
            try:
                value = task.reuse(call, finding)
            except ResultUnavailable as error:
                finding = finding.without(error.message)
                continue
            house.keep(self.visit, value, stored=True)
            house.session.post(finding.event(self.visit, call.keyed.key, call.cost_s))
            self._done()
            return
        self._ask_to_enter(call, finding)

    def _found(self, call: Call) -> Finding | Found:
        """An earlier result that fits; of this very call before the run was resumed, even where its key has holes."""
        done, keyed = self._past.done, call.keyed
        if done is None or keyed.key:
            return self.task.find(call, done)
        call.keyed = replace(keyed, key=self._like, uncacheable="")
        finding = self.task.find(call, done)
        call.keyed = keyed
        return finding

    def _ask_to_enter(self, call: Call, finding: Finding) -> None:
        """Say that the body has to run, and enter it ahead of the engine where nobody is to be asked first."""
        house, spec = self.house, self.task.spec
        if (use := put_off(self.context, spec)) is not None:
            again = partial(self._submit, partial(self._ask_to_enter, call, finding))
            use.demand(again, partial(house.trouble, self))
            return
        if self._lives:
            call.bound = self._bound()
        resolved = self._resolved(call, finding.reason)
        if spec.once and self._past.unknown is not None:
            told = "its body was running when the process vanished; approve to run it again, or skip it"
            house.session.post(self._resolved(call, finding.reason, ask=told))
            return
        asks = self._past.waited is not None and self.task.instead is None  # a child run asks again by itself
        if asks or (self._past.due or 0.0) > now():
            house.session.post(*self._waiting_on(call, finding.reason))
            return
        if spec.approve or spec.once or resolved.loop or resolved.limits:
            house.session.post(resolved)
            return
        order = Enter(self.visit, token=1, attempt=1)
        with house.gate:
            if refuses(house, spec):
                return
            self._entered = 1
            house.session.post(resolved, ev.BodyEntered(at=now(), visit=self.visit, token=1))
        self._run(call, order)

    def _resolved(self, call: Call, reason: Reason, *, ask: str = "") -> ev.KeyResolved:
        key, (loop, handed_on) = call.keyed.key, self._past.iterations
        more: dict[str, Any] = {"ask": ask, "like": self._like, "loop": loop, "loop_result": handed_on}
        limits = self.house.session.limited(self.task.spec.tags)
        return ev.KeyResolved(at=now(), visit=self.visit, key=key, reason=reason, limits=limits, **more)

    def _waiting_on(self, call: Call, reason: Reason) -> list[ev.TaskEvent]:
        """The events that put the visit where an equal one waited before the run was resumed."""
        past = self._past
        if past.waited is None or past.asked_by_body:
            self._entered = 1  # that entry is only told
        return waits_on(past, self.visit, now(), lambda ask: self._resolved(call, reason, ask=ask))

    def _enter(self, order: Enter) -> None:
        house, call = self.house, self._call
        if call is None:
            return
        if order.token > 1 and not all(map(is_immutable, call.bound.named.values())):
            call.bound = self._bound()  # an earlier attempt may have changed what it was given
        entered = ev.BodyEntered(at=now(), visit=self.visit, token=order.token)
        with house.gate:
            if refuses(house, self.task.spec):
                if not house.parked:  # nobody will enter it, so nobody has to be waited for
                    house.session.post(ev.BodyCancelled(at=now(), visit=self.visit, token=order.token))
                return
            self._entered = order.token
            if not self.task.spec.once:
                house.session.post(entered)
        if self.task.spec.once:  # its permission is durable before its first line runs
            house.session.ask(entered)
        self._run(call, order)

    def _run(self, call: Call, order: Enter) -> None:
        house, task = self.house, self.task
        task.judge_purity(call)
        context, token = self.context.copy(), (self.visit, order.token)
        function: Callable[..., Any] = task.instead or task.function
        bound = call.bound
        caller = Caller(house, self.visit, former=house.former)
        if call.far is not None:
            self._afar(call, order, caller, context)
            return
        if task.is_async:

            async def entered() -> Any:
                self._refuse_stopped(order)
                return await function(*bound.args, **bound.kwargs)

            async def begin() -> None:
                with calling(caller):
                    finish = await attempt_async(call, order, entered)
                await elsewhere(self._submit, lambda: self._after(finish()))

            house.loop.run(token, begin, context)
            return

        def body() -> Any:
            return house.executor.guarded(token, told)

        def told() -> Any:
            self._refuse_stopped(order)
            return function(*bound.args, **bound.kwargs)

        def entry() -> Ended:
            with calling(caller):
                return attempt(call, order, body)

        began = time.perf_counter()
        self._after(context.run(entry))
        if time.perf_counter() - began >= _DEAR_S:
            with suppress(PrefectNBError):  # the visit's desk hears of it
                house.session.ask()

    def _afar(self, call: Call, order: Enter, caller: Caller, context: contextvars.Context) -> None:
        """The body in a worker process; tasks that it calls run in this thread."""
        errand = Errand(call, order)

        def entry() -> Ended:
            with calling(caller):
                return attempt(call, order, errand.run)

        self._after(context.run(entry))

    def _refuse_stopped(self, order: Enter) -> None:
        """A stop that came before the body could be reached is heard at its first line."""
        if self._stopped >= order.token:
            raise BodyStopped

    def _after(self, ended: Ended) -> None:
        if ended.error is not None:
            self.house.errors[self.visit] = ended.error
        else:
            self._done()

    def _done(self) -> None:
        """It needs no worker any more, though its end may still be on its way to the disk."""
        if not self.over and self.parent is not None:
            self.over = True
            self.parent.ended()

    def _bound(self, lives: list[Live] | None = None) -> Arguments:
        assert self.arguments is not None
        return bound_now(self.house, self.task, self.arguments, lives)
