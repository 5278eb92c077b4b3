"""One entry of a cell's body: under capture, observation and a transaction; and its bad ends as events.

Knows bodies, captures and transactions; not keys, not the store.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.analysis.purity import Verdict, judge
from prefect_nb.analysis.reads import Observer
from prefect_nb.authoring import context, hidden, signals
from prefect_nb.authoring.body import Body, End
from prefect_nb.authoring.capture import Capture
from prefect_nb.authoring.company import Company
from prefect_nb.authoring.ground import Ground
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.lookups import Lookups
from prefect_nb.authoring.loops import iteration, kept
from prefect_nb.authoring.outputs import Output
from prefect_nb.authoring.shelf import Shelf
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.authoring.transaction import Transaction
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Interrupt
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import PrefectNBError, TaskTimeout
from prefect_nb.protocols import LogChunk
from prefect_nb.wiring import now

__all__ = ["Tried", "attempt", "ended_badly", "failure", "interrupter", "tell_failure"]


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt as it was observed.

    Parameters
    ----------
    end : End
        How the body ended.
    transaction : Transaction
        What it changed; still to be kept or undone.
    outputs : tuple of Output
        What it showed.
    observer : Observer
        What it read and did outside.
    generators, settings : mapping
        Hidden states before the body.
    result : object
        The value of the displayed last expression, if any.
    left : mapping
        The namespace's own names as the body left them, for ``%flow failed``.
    verdict : Verdict
        Whether the body is pure, judged before it ran.
    looked_up : frozenset of str
        Names that code made up at run time was seen to read.
    still_running : str
        Threads or asyncio tasks that the body started and left running, in words; empty if there are none.
    """

    end: End
    transaction: Transaction
    outputs: tuple[Output, ...]
    observer: Observer
    generators: Mapping[str, object]
    settings: Mapping[str, object]
    result: tuple[object, ...]
    left: Mapping[str, Any]
    verdict: Verdict
    looked_up: frozenset[str] = frozenset()
    still_running: str = ""


async def attempt(
    flow: LiveFlow, body: Body, names: Names, producers: Mapping[str, str], permission: tuple[VisitId, int, int]
) -> Tried:
    """Run the body once, watching; nothing is decided here.

    Parameters
    ----------
    permission : tuple
        The visit, the attempt's number (from 1) and the kernel-wide permit that an interrupt has to name.
    """
    __tracebackhide__ = True
    visit, number, permit = permission
    shell, session = flow.shell, flow.session
    flow.ns.materialize(names.reads | names.defers | names.deletes | (names.writes - names.must_write))
    if names.dynamic:
        flow.ns.materialize_all()
    verdict = judge(body.source, shell.user_ns)
    transaction = Transaction(flow.ns, names, body.tree, producers)
    generators, settings = hidden.generators(), hidden.settings()
    before = shell.displayhook.exec_result.result if getattr(shell.displayhook, "exec_result", None) else None
    view = Lookups(shell.user_ns) if names.dynamic else None

    def log(stream: str, text: str) -> None:
        session.log(LogChunk(visit, number, stream, text, now()))

    observer = Observer(ignore=(flow.place.folder,), environment=verdict.environment)
    turn = iteration(flow, visit)
    shelf = Shelf(flow.vault)
    frame = context.Frame(session, visit, number, visit.task, False, turn.number, turn.handed_on, shelf)
    with context.inside(frame), Capture(shell, on_text=log) as capture, observer, Company() as company:
        capture.owner = frame
        end = await body.run(shell.user_ns, flow.interrupts, permit, view)
        if isinstance(end.error, signals.Success):
            if end.error.result is not None:
                shell.displayhook(end.error.result)
            end = End("returned", why=end.why)
    flow.ns.threads += company.threads
    shelf.close()
    outputs = (*capture.outputs(), *shelf.outputs())
    shown = any(o.kind == "result" for o in outputs)
    after = shell.displayhook.exec_result.result if shown and shell.displayhook.exec_result else before
    return Tried(
        end,
        transaction,
        outputs,
        observer,
        generators,
        settings,
        (after,) if shown else (),
        dict(shell.user_ns) if end.kind != "returned" else {},
        verdict,
        frozenset(view.read) if view is not None else frozenset(),
        company.words,
    )


def interrupter(flow: Ground, permit: int) -> Callable[[Interrupt], None]:
    """What a desk calls to interrupt the body that runs under this permit."""

    def interrupt(order: Interrupt) -> None:
        flow.interrupts.request(permit, "timeout" if order.why == "timeout" else "cancel")

    return interrupt


def handing_on(flow: LiveFlow, end: End) -> tuple[End, Attachments]:
    """The end, and what an iteration hands on to the next; what cannot be stored is a failure."""
    if not isinstance(end.error, signals.Loop):
        return end, Attachments()
    try:
        return end, kept(flow, end.error)
    except PrefectNBError as error:
        return End("raised", error, end.traceback, end.why), Attachments()


def tell_failure(visit: Visit) -> None:
    """Show how a body ended that ran inside another cell's request, where its error is not raised."""
    sys.stderr.write(f"{visit.id.task} is {visit.state.label}: {visit.state.message}\n")
    if visit.error is not None:
        sys.stderr.write(f"{visit.error.traceback}\n")


def failure(spec: TaskSpec, end: End) -> BaseException | None:
    """What the page is shown of a body that did not return; None where the state says it all."""
    if end.why == "timeout" and end.kind == "interrupted":
        return TaskTimeout(f"{spec.name} took longer than {spec.timeout:g} s", task=spec.name)
    if isinstance(end.error, signals.BodySignal) and not isinstance(end.error, signals.Fail):
        return None
    return None if end.error is None else signals.outside(end.error, spec.name)


def ended_badly(
    visit: VisitId, token: int, spec: TaskSpec, end: End, label: Callable[[str], str | None]
) -> tuple[ev.TaskEvent, ...]:
    """The events for a body that did not return; a Stop that struck while it raised still ends the visit."""
    error = end.error
    assert error is not None
    signalled = signals.ended(error, visit, token, now(), label)
    if signalled is not None:
        return (signalled,)
    if end.kind == "interrupted" and end.why == "timeout":
        told = error_info(TimeoutError(f"took longer than {spec.timeout:g} s"), end.traceback, label=label)
        timed_out = ev.ErrorInfo(told.type, told.message, told.types, told.traceback, kind="timeout")
        return (ev.BodyRaised(at=now(), visit=visit, token=token, error=timed_out),)
    if end.kind == "interrupted" or isinstance(error, asyncio.CancelledError):
        by = "by Stop" if end.why == "stop" else ""
        return (ev.BodyCancelled(at=now(), visit=visit, token=token, message=by),)
    raised = ev.BodyRaised(at=now(), visit=visit, token=token, error=error_info(error, end.traceback, label=label))
    if end.why != "stop":
        return (raised,)
    return raised, ev.CancelRequested(at=now(), visit=visit, actor="stop", message="by Stop")
