"""A function as a task: its calls are visits of the same engine, children of the cell that calls them.

A call computes its key, asks for an earlier result, or runs the body in the caller's thread; it returns the value, as a
plain call would. Where the extension is not loaded a task is just its function.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from prefect_nb.analysis.code import reach
from prefect_nb.analysis.purity import Verdict, judge
from prefect_nb.analysis.reads import Observer
from prefect_nb.analysis.values import fingerprint, is_immutable
from prefect_nb.authoring import hidden
from prefect_nb.authoring.attempt import interrupter
from prefect_nb.authoring.callkeys import Arguments, Binder, Stem
from prefect_nb.authoring.calls import Caller, current, home
from prefect_nb.authoring.capture import Capture, replay
from prefect_nb.authoring.keys import Keyed, is_code, part_rows
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.outputs import from_plain, to_plain
from prefect_nb.authoring.recall import Past
from prefect_nb.authoring.reuse import Finding, Found, Wish, look_up
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter, Resolve
from prefect_nb.core.plan import Question, decide
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine.desk import Desk, Order, Settled
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import PrefectNBError, ResultUnavailable, TaskCancelled, Unhashable
from prefect_nb.protocols import Entry, LogChunk, ResultRow
from prefect_nb.wiring import now

__all__ = ["Task"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call on its way."""

    flow: LiveFlow
    caller: Caller
    visit: VisitId
    keyed: Keyed
    rows: dict[str, ResultRow]
    desk: Desk = field(default_factory=lambda: Desk(waits_for_end=False))


@dataclass(frozen=True, slots=True)
class _Known:
    """The code of a function as it was last followed, and the globals on which that rests."""

    stem: Stem
    watched: tuple[tuple[dict[str, Any], str, Any], ...]


class Task(Generic[P, R]):
    """A function as a task; call it as the function.

    Parameters
    ----------
    function : callable
        The body.
    spec : TaskSpec
        Its name and options.
    """

    def __init__(self, function: Callable[P, R], spec: TaskSpec) -> None:
        self.function = function
        self.spec = spec
        self._binder = Binder(function)
        self._known: _Known | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._past: Past | None = None
        self._new = Finding(decide(Question(spec, key="any", pure=True)).reason)  # where no earlier call is known
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run, or reuse, one call; returns what the function returned or raises what it raised.

        Threads: runs in the caller's thread; may be called from any.
        """
        caller = current()
        if caller is None and (flow := home()) is not None:
            caller = Caller(flow, None)
        if caller is None:
            return self.function(*args, **kwargs)
        return self._visit(caller, self._binder.bind(args, kwargs))

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self.__call__, instance)  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        return Task, (self.function, self.spec)  # what it is; what it remembers is not part of it

    def __repr__(self) -> str:
        return f"<task {self.spec.name}>"

    # --- one call ----------------------------------------------------------------------------------------------------

    def _visit(self, caller: Caller, bound: Arguments) -> R:
        call = self._identify(caller, bound)
        session = call.flow.session
        finding = self._find(call)
        session.sit(call.visit, call.desk)
        try:
            return self._go(call, finding, bound)
        except BaseException:  # whoever waits for the visit has to learn that nobody attends to it any more
            if (known := session.run.visits.get(call.visit)) is None or not known.state.final:
                session.abandon(call.visit, "its caller was interrupted")
            raise

    def _go(self, call: _Call, finding: Finding | Found, bound: Arguments) -> R:
        session, caller, desk = call.flow.session, call.caller, call.desk
        planned = ev.TaskPlanned(
            at=now(), visit=call.visit, spec=self.spec, parent=caller.visit, cell=caller.cell or None
        )
        while isinstance(finding, Found):
            try:
                return self._reuse(call, finding, planned)  # type: ignore[no-any-return]
            except ResultUnavailable as error:
                finding = finding.without(error.message)
        resolved = ev.KeyResolved(at=now(), visit=call.visit, key=call.keyed.key, reason=finding.reason)
        # The first permission of a new visit is known, so entry runs ahead of the engine; later ones are waited for.
        order: Order = Enter(call.visit, token=1, attempt=1)
        before: tuple[ev.TaskEvent, ...] = (planned, resolved)
        while True:
            assert isinstance(order, Enter)
            session.post(*before, ev.BodyEntered(at=now(), visit=call.visit, token=order.token))
            before = ()
            outcome = self._attempt(call, order, bound)
            if outcome.error is None:
                return outcome.value  # type: ignore[no-any-return]
            if isinstance(outcome.error, KeyboardInterrupt):
                raise outcome.error
            entered, order = order.token, desk.next().result()
            while isinstance(order, Resolve) or (isinstance(order, Enter) and order.token <= entered):
                order = desk.next().result()
            if isinstance(order, Settled):
                state = order.visit.state
                if state.name is StateName.CANCELLED and not isinstance(outcome.error, TaskCancelled):
                    raise TaskCancelled(f"{call.visit.task} was cancelled", hint=state.message) from outcome.error
                raise outcome.error

    def _identify(self, caller: Caller, bound: Arguments) -> _Call:
        flow = caller.flow
        prefix = f"{caller.visit.task}." if caller.visit is not None else ""
        name = prefix + self.spec.name
        if caller.visit is not None:
            visit = VisitId(name, caller.visit.visit, caller.number(name))
        else:
            visit = VisitId(name, flow.number_call(name))
        return _Call(flow, caller, visit, self._code(flow).key(bound.named), {})

    def _find(self, call: _Call) -> Finding | Found:
        """An earlier call that fits, or why there is none."""
        flow, keyed = call.flow, call.keyed
        if not keyed.key:
            return look_up(flow, self.spec, keyed, Wish(), ())
        earlier = self._calls_before(flow, keyed).earlier(keyed.key, now())
        if not earlier:
            return self._new
        call.rows.update((entry.result, row) for entry, row in earlier if row is not None)
        return look_up(flow, self.spec, keyed, Wish(), [entry for entry, _ in earlier])

    def _calls_before(self, flow: LiveFlow, keyed: Keyed) -> Past:
        past = self._past
        if past is None or past.code_key != keyed.code_key or past.store is not flow.store:
            past = self._past = Past(flow.store, keyed.code_key)
        return past

    def _code(self, flow: LiveFlow) -> Stem:
        """What the function's keys begin with; computed again when a global that it looks up was bound anew."""
        known = self._known
        if known is not None:
            for space, name, value in known.watched:
                if space.get(name) is not value:
                    break
            else:
                return known.stem
        function = cast(FunctionType, self.function)
        reached = reach((self.spec.name,), {self.spec.name: function}, project_root=flow.place.root)
        problem = str(reached.problems[0]) if reached.problems else ""
        stem = Stem(part_rows(reached.parts), self.spec.version, problem)
        space = function.__globals__
        watched = tuple((space, n, space.get(n)) for n in reached.late_names)
        steady = all(value is None or is_code(value) or is_immutable(value) for _, _, value in watched)
        local = any(part.kind == "module" for part in reached.parts)
        self._known = _Known(stem, watched) if steady and not local else None
        return stem

    def _verdict(self, call: _Call) -> Verdict:
        """Whether the body is pure; the same for the same code."""
        verdict = self._verdicts.get(call.keyed.code_key)
        if verdict is None:
            verdict = judge(cast(FunctionType, self.function), call.flow.shell.user_ns)
            self._verdicts = {call.keyed.code_key: verdict}
        return verdict

    def _reuse(self, call: _Call, found: Found, planned: ev.TaskPlanned) -> Any:
        flow = call.flow
        stored = flow.vault.load(found.result, namespace=flow.shell.user_ns, row=call.rows.get(found.result))
        if not isinstance(stored, dict) or "call" not in stored:
            raise ResultUnavailable("it is not the result of a call")
        flow.session.post(planned, found.event(call.visit, call.keyed.key, stored["cost_s"]))
        hidden.put_back(stored["hidden"])
        replay(from_plain(stored["outputs"]), flow.shell)
        return stored["call"]

    def _attempt(self, call: _Call, order: Enter, bound: Arguments) -> _Ended:
        flow, session, visit = call.flow, call.flow.session, call.visit
        verdict = self._verdict(call)
        plain = verdict.pure and not (verdict.reads_files or verdict.uses_random or verdict.environment)
        observer = None if plain else Observer(ignore=(flow.place.folder,), environment=verdict.environment)
        generators = {} if plain else hidden.generators()

        def log(stream: str, text: str) -> None:
            session.log(LogChunk(visit, order.attempt, stream, text, now()))

        capture = Capture(flow.shell, on_text=log)
        started = time.perf_counter()
        try:
            with capture, observer or nullcontext():
                value = self._body(call, bound)
        except _Stopped as stopped:
            session.post(ev.BodyCancelled(at=now(), visit=visit, token=order.token, message=stopped.message))
            return _Ended(None, stopped.error)
        except BaseException as error:  # whatever a body raises is data, and is raised again
            told = error_info(error, error.__traceback__, label=flow.cell_label)
            session.post(ev.BodyRaised(at=now(), visit=visit, token=order.token, error=told))
            return _Ended(None, error)
        cost = time.perf_counter() - started
        states = hidden.changed(generators, hidden.generators()) if generators else {}
        stored = {"call": value, "outputs": to_plain(capture.outputs()), "hidden": states, "cost_s": cost}
        note, address, attachments = self._record(call, stored, observer, bound)
        returned = ev.BodyReturned(at=now(), visit=visit, token=order.token, result=address, note=note)
        session.post(returned, attachments=attachments)
        for entry in attachments.entries:
            self._calls_before(flow, call.keyed).learned(entry, attachments.results[0])
        return _Ended(value, None)

    def _body(self, call: _Call, bound: Arguments) -> R:
        """Call the function; in the main thread, where interrupts arrive, so that it can be stopped."""
        if threading.current_thread() is not threading.main_thread():
            return self.function(*bound.args, **bound.kwargs)
        interrupts, permit = call.flow.interrupts, call.flow.permit()
        call.desk.interrupt = interrupter(call.flow, permit)
        try:
            with interrupts.around(permit) as guard:
                try:
                    with guard.running():
                        return self.function(*bound.args, **bound.kwargs)
                except KeyboardInterrupt as error:
                    if guard.why is None:  # the user's own
                        raise
                    if guard.why == "stop":
                        raise _Stopped(error, "by Stop") from None
                    told = TaskCancelled(f"{call.visit.task} was cancelled", hint="somebody stopped it")
                    raise _Stopped(told.with_traceback(error.__traceback__), "") from None
        finally:
            call.desk.interrupt = None

    def _record(
        self, call: _Call, stored: dict[str, Any], observer: Observer | None, bound: Arguments
    ) -> tuple[str, str, Attachments]:
        """Write a success down: a note why it is not reusable, its address, and what goes into the commit."""
        flow, keyed = call.flow, call.keyed
        try:
            address, row = flow.vault.save(stored, namespace=flow.shell.user_ns, cost_s=stored["cost_s"])
        except PrefectNBError as error:
            return f"not stored: {error.message}", "", Attachments()
        problem = keyed.uncacheable or _changed_argument(keyed, bound)
        if not problem and observer is not None and observer.unstable():
            problem = "a file changed while it was read"
        if problem:
            return f"not reusable: {problem}", address, Attachments(results=(row,))
        entry = Entry(
            key=keyed.key,
            code_key=keyed.code_key,
            task=self.spec.name,
            flow=flow.name,
            run=flow.session.run.id,
            result=address,
            created_at=now(),
            cost_s=stored["cost_s"],
            manifest=_manifest(self._verdict(call), observer),
            parts=keyed.parts,
        )
        return "", address, Attachments(results=(row,), entries=(entry,))


class _Stopped(BaseException):
    """The body was interrupted because somebody asked."""

    def __init__(self, error: BaseException, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message


@dataclass(frozen=True, slots=True)
class _Ended:
    value: Any
    error: BaseException | None


def _changed_argument(keyed: Keyed, bound: Arguments) -> str:
    """An argument that the body changed in place, which a reused result would not do."""
    before = {name: digest for kind, name, digest in keyed.parts if kind == "input"}
    for name, value in bound.named.items():
        if is_immutable(value):
            continue
        try:
            same = fingerprint(value) == before.get(name)
        except Unhashable:
            same = False
        if not same:
            return f"it changes its argument {name}"
    return ""


def _manifest(verdict: Verdict, observer: Observer | None) -> tuple[dict[str, Any], ...]:
    reads = observer.reads() if observer is not None else ()
    taints = observer.taints() if observer is not None else ()
    rows: list[dict[str, Any]] = [
        {"kind": r.kind, "name": r.name, "digest": r.digest, "size": r.size, "mtime_ns": r.mtime_ns} for r in reads
    ]
    causes = dict.fromkeys(c.wording for c in (*verdict.causes, *taints))
    if causes:
        rows.append({"kind": "impure", "name": "; ".join(causes)[:500], "digest": ""})
    return tuple(rows)
