"""A task cell from request to end: its ancestors, its key, an earlier result or its body, its outputs.

The runner answers the machine's orders for cells; everything it learns goes back as events. Bodies run only here,
inside the kernel's execute request, in its main thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

from IPython.core.error import UsageError as MagicUsageError

from prefect_nb.analysis import cells
from prefect_nb.authoring import attempt as attempts
from prefect_nb.authoring import rests, sight
from prefect_nb.authoring.body import Body
from prefect_nb.authoring.calls import Caller, calling
from prefect_nb.authoring.capture import NOTHING, replay
from prefect_nb.authoring.conclusion import conclude
from prefect_nb.authoring.diagnoses import Diagnosis, running_diagnoses, static_diagnoses
from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.effects import Effects
from prefect_nb.authoring.futures import Kept
from prefect_nb.authoring.inputs import Inputs
from prefect_nb.authoring.job import Job
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.orders import next_order, stopped
from prefect_nb.authoring.outcome import RESULT, Outcome, read_outcome
from prefect_nb.authoring.outputs import from_plain
from prefect_nb.authoring.record import recorded
from prefect_nb.authoring.reuse import Finding, Found, Wish, key_now, look_up
from prefect_nb.authoring.tracebacks import present
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter, Resolve
from prefect_nb.core.reasons import ReasonCode
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName, StateType
from prefect_nb.engine.desk import Order, Settled
from prefect_nb.errors import NotAvailable, PrefectNBError, ResultUnavailable
from prefect_nb.views.words import duration
from prefect_nb.wiring import now

__all__ = ["CellRunner"]


class CellRunner:
    """Runs the task cells of one kernel.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    """

    def __init__(self, flow: LiveFlow) -> None:
        self.flow = flow
        self.inputs = Inputs(flow)
        self._effects = Effects(flow, self.inputs)
        flow.unchanged = self._unchanged

    async def __call__(self, line: str, cell: str) -> None:
        """Run one task cell that the front end asked for; raises what its body raised.

        Raises
        ------
        NotAvailable
            If it cannot run because something before it failed, was stopped or never ran.
        """
        __tracebackhide__ = True
        flow = self.flow
        known = flow.arrived(cell.removesuffix("\n"))
        if known.complaint:
            raise MagicUsageError(known.complaint.replace("\n  ->", " -"))
        flow.foresee(known)
        job = self._job(known, pulled=False)
        flow.describe()
        try:
            visit = self._skipped(job) or await self._visit_and_return(job)
        except PrefectNBError as error:  # ours: the page shows what it says, not where we raised it
            raise present(flow.shell, error, None) from None
        flow.executed.add(job.cell.id)
        conclude(flow, visit, job.failure, job.traceback)

    def _skipped(self, job: Job) -> Visit | None:
        """The visit that a person skipped when this execution was already on its way, if so."""
        if job.cell.id not in self.flow.skips:
            return None
        self.flow.skips.discard(job.cell.id)
        visit = self.flow.session.run.visit(job.spec.name)
        if visit is None or visit.state.name is not StateName.SKIPPED:
            return None
        self._effects.ended_badly(job.cell)
        return visit

    async def pull(self, cell: CellInfo, *, fresh: bool = False) -> Visit | None:
        """Bring a task cell up to date inside another one's request; its last visit, None if nothing had to be done."""
        if not fresh and self.inputs.settled(cell):
            return None
        job = self._job(cell, pulled=True)
        job.fresh |= fresh
        return await self._visit(job)

    async def bring(self, cell: CellInfo) -> Visit | None:
        """Execute a task unless it would find all as it is; what it needs and cannot have is told, not raised."""
        if self.inputs.reusable(cell) and self._effects.establish(cell):
            return None
        try:
            return await self._visit_and_return(self._job(cell, pulled=True))
        except NotAvailable as error:
            name = cell.spec.name if cell.spec is not None else cell.id
            sys.stderr.write(f"{name}: {error.message}\n")
            return None

    def stale(self) -> frozenset[str]:
        """The ids of tasks that never ran in this kernel, or rest on something that changed since."""
        return self.inputs.stale()

    def diagnoses(self) -> Iterator[Diagnosis]:
        """What a person should know about the cells, from source, graph and execution."""
        return chain(static_diagnoses(self.flow.document), running_diagnoses(), self._effects.diagnoses())

    # --- before ------------------------------------------------------------------------------------------------------

    def _job(self, cell: CellInfo, *, pulled: bool) -> Job:
        header, _ = cells.split(cell.source)
        assert header is not None
        assert cell.spec is not None
        shell = self.flow.shell
        try:
            body = Body(shell, cell.source, header.lines)
        except SyntaxError as error:
            raise present(shell, error, error.__traceback__, before_run=True) from None
        assert cell.names is not None
        fresh = cell.fresh or cell.id in self.flow.forced
        self.flow.forced.discard(cell.id)
        return Job(cell, cell.spec, cell.names, body, pulled, fresh)

    async def _visit_and_return(self, job: Job) -> Visit:
        """A visit that somebody asked for; versions that were put back only for its sake make way again."""
        __tracebackhide__ = True
        before = dict(self.flow.ns.writers)
        try:
            return await self._visit(job)
        finally:
            self._effects.return_rest(job.cell, before)

    async def _visit(self, job: Job) -> Visit:
        __tracebackhide__ = True
        document = self.flow.document
        for ancestor in document.careful.ancestors(job.cell.id):
            above = document.cell(ancestor)
            if above is not None and above.spec is not None:
                await self.pull(above)
        upstream = self.inputs.upstream(job.cell, job.spec)
        hidden: dict[str, Any] = {}
        kept = Kept(self.flow.shell.user_ns)
        try:
            if self.inputs.may_run(job.cell, job.spec):
                self.inputs.refuse_outdated(job.cell)
                await self._inputs(job)
                await kept.settle(job.producers)
                hidden = sight.hide(self.flow, job.cell, job.producers, self.inputs.made(job.cell.id))
                job.keyed = key_now(self.flow, job.cell)
                recovered = self._recover(job)
                if recovered is not None:
                    return recovered
            visit = await self._plan(job, upstream)
        finally:
            kept.put_back()
            sight.unhide(self.flow, hidden)
        if visit.state.type is not StateType.COMPLETED or visit.state.name is StateName.SKIPPED:
            self._effects.ended_badly(job.cell)
        return visit

    def _unchanged(self, cell: CellInfo) -> bool:
        """Whether a task executed now would see the very inputs that it saw last time."""
        visit = self.flow.session.run.visit(cell.spec.name) if cell.spec is not None and self.flow.opened else None
        if visit is None or not visit.key or cell.names is None:
            return False
        try:
            with sight.without_own(self.flow, cell):
                return visit.key == key_now(self.flow, cell).key
        except ResultUnavailable:
            return False

    async def _inputs(self, job: Job) -> None:
        """Put every input back to the version that its edge names; a version that was never stored is made again."""
        flow = self.flow
        again: set[str] = set()
        while True:
            graph = flow.document.graph  # what ran in between may have shown other edges
            job.producers = dict(graph.inputs(job.cell.id)) if job.cell.id in graph else {}
            job.lacking = self.inputs.lacking(job.producers)
            for name in job.lacking:
                flow.ns.drop(name)
            made = {name: producer for name, producer in job.producers.items() if name not in job.lacking}
            producer = self._effects.put_back(job.cell, made)
            if producer is None and sight.follow(flow, job.cell, job.producers):
                continue
            above = flow.document.cell(producer) if producer is not None else None
            if producer is None or above is None or producer in again:
                return
            again.add(producer)
            await self.pull(above, fresh=True)

    # --- the machine's orders ----------------------------------------------------------------------------------------

    async def _plan(self, job: Job, upstream: tuple[VisitId, ...]) -> Visit:
        __tracebackhide__ = True
        session = self.flow.session
        resting = rests.rested(session.run, job)
        if resting is not None and resting.state.name is StateName.PAUSED:
            return resting
        if resting is None:
            rests.give_up(session, job.spec.name)
        last = session.run.visit(job.spec.name)
        job.visit = VisitId(job.spec.name, 1 if last is None else last.id.visit + 1) if resting is None else resting.id
        session.sit(job.visit, job.desk)
        try:
            order = await (self._begin(job, upstream) if resting is None else rests.go_on(job, session, resting))
            while isinstance(order, Enter):
                order = await self._enter(job, order)
        except BaseException as error:  # nobody attends to the visit any more, and the run must not wait for it
            session.abandon(job.visit, f"its cell ended early: {type(error).__name__}")
            raise
        assert isinstance(order, Settled | rests.Rested)
        return order.visit

    async def _begin(self, job: Job, upstream: tuple[VisitId, ...]) -> Order | rests.Rested:
        session = self.flow.session
        assert job.visit is not None
        planned = ev.TaskPlanned(at=now(), visit=job.visit, spec=job.spec, upstream=upstream, cell=job.cell.id)
        if job.finding is not None and not stopped() and self.inputs.unhindered(job.spec, upstream):
            job.planned = (planned,)  # what will be ordered is certain
            job.foreknown.append(Resolve)
            return await self._resolve(job)
        session.post(planned)
        order = await next_order(job, session)
        return await self._resolve(job) if isinstance(order, Resolve) else order

    async def _resolve(self, job: Job) -> Order | rests.Rested:
        assert job.keyed is not None and job.visit is not None and job.finding is not None  # noqa: PT018
        session, key = self.flow.session, job.keyed.key
        found = self._usable(job, job.finding)
        if isinstance(found, Finding):
            ask = rests.unknown_outcome(session.run, job)
            resolved = rests.resolved(job, self.flow, found.reason, ask, first=job.cell.id not in self.flow.executed)
            if job.spec.approve or ask:
                waits = rests.told_to_rest(session, job.visit, (resolved,))
                return waits or await next_order(job, session)
            session.post(*job.planned, resolved)
            return await next_order(job, session)
        reused, outcome = found
        session.post(*job.planned, reused.event(job.visit, key, outcome.cost_s))
        order = await next_order(job, session)
        self._show(job, outcome, f"{job.spec.name}: from cache, {duration(outcome.cost_s)} saved")
        return order

    def _usable(self, job: Job, finding: Finding | Found) -> Finding | tuple[Found, Outcome]:
        """The first earlier result that can really be read, already applied; or why the body has to run."""
        while isinstance(finding, Found):
            try:
                outcome = read_outcome(self.flow.vault, finding.result)
                self._effects.apply(job.cell, outcome, (job.body.tree, job.body.filename), finding.manifest, job.visit)
            except ResultUnavailable as error:
                finding = finding.without(error.message)
            else:
                return finding, outcome
        return finding

    def _recover(self, job: Job) -> Visit | None:
        """Look for earlier results; a visit that had ended well before a restart stands and needs no new one."""
        flow = self.flow
        assert job.keyed is not None
        last = flow.session.run.visit(job.spec.name)
        before = last is not None and job.cell.id not in flow.executed and not last.invalid
        ended = before and last is not None and last.state.name in (StateName.SUCCESS, StateName.CACHED)
        recover = last.result if ended and last is not None and last.key == job.keyed.key else ""
        recomputed = any(
            (v := flow.session.run.visits.get(u)) is not None and v.state.name is StateName.SUCCESS
            for u in self.inputs.upstream(job.cell, job.spec)
        )
        wish = Wish(job.fresh, job.names.definition_only, recover, recomputed)
        job.finding = look_up(flow, job.spec, job.keyed, wish)
        if not (isinstance(job.finding, Found) and job.finding.reason.code is ReasonCode.RECOVERED):
            return None
        found = self._usable(job, job.finding)
        if isinstance(found, Finding):
            job.finding = found
            return None
        self._show(job, found[1], f"{job.spec.name}: finished before the restart, {duration(found[1].cost_s)} saved")
        return last

    async def _enter(self, job: Job, order: Enter) -> Order | rests.Rested:
        """One attempt; afterwards the namespace holds either all that it made or nothing."""
        __tracebackhide__ = True
        flow, visit = self.flow, job.visit
        assert visit is not None
        if job.pulled and order.attempt == 1:
            replay((), flow.shell, note=f"ran upstream: {job.spec.name}")
        permit = flow.permit()
        job.desk.interrupt = attempts.interrupter(flow, permit)
        entered_at = now()
        flow.session.post(ev.BodyEntered(at=entered_at, visit=visit, token=order.token))
        started = time.perf_counter()
        with calling(Caller(flow, visit, job.cell.id)):
            tried = await attempts.attempt(flow, job.body, job.names, job.producers, (visit, order.attempt, permit))
        cost = time.perf_counter() - started
        job.desk.interrupt = None
        end, handed_on = attempts.handing_on(flow, rests.explained(tried.end, job.lacking))
        if end.kind == "returned":
            returned, attachments = self._succeeded(job, order, tried, cost)
            flow.session.post(returned, attachments=attachments)
        else:
            stuck = tried.transaction.rollback()
            flow.failed[job.spec.name] = tried.left
            job.failure, job.traceback = attempts.failure(job.spec, end), end.traceback
            if stuck:
                flow.remark = f"{', '.join(stuck)} changed before {job.spec.name} failed and was too large to put back"
            events = attempts.ended_badly(visit, order.token, job.spec, end, flow.cell_label)
            waits = rests.told_end(flow.session, visit, events, handed_on)
            if waits is not None:
                return waits
        after = await next_order(job, flow.session)
        if job.pulled and isinstance(after, Settled) and end.kind != "returned":
            attempts.tell_failure(after.visit)
        return after

    def _succeeded(self, job: Job, order: Enter, tried: attempts.Tried, cost: float) -> tuple[ev.BodyReturned, Any]:
        flow, visit = self.flow, job.visit
        assert visit is not None
        assert job.keyed is not None
        changes = tried.transaction.changes()
        record = recorded(flow, job.cell, job.keyed, changes, (tried, job.body.tree, cost))
        self._effects.made(job.cell, record, changes, tried, visit)
        event = ev.BodyReturned(at=now(), visit=visit, token=order.token, result=record.address, note=record.note)
        return event, record.attachments

    def _show(self, job: Job, outcome: Outcome, note: str) -> None:
        if job.pulled:
            return
        value: Any = NOTHING
        if any(o["kind"] == "result" for o in outcome.outputs) and outcome.values:
            value = self.flow.load(outcome.values).get(RESULT, NOTHING)
        replay(from_plain(outcome.outputs), self.flow.shell, note=note, value=value)
