"""``@task``: functions whose calls are visits of the same engine, children of the cell that calls them.

A call computes its key, asks for an earlier result, or runs the body in the caller's thread; it returns the value, as a
plain call would. Where the extension is not loaded a task is just its function.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from prefect_nb.analysis.code import reach
from prefect_nb.analysis.purity import Verdict, judge
from prefect_nb.analysis.reads import Observer
from prefect_nb.analysis.values import fingerprint, is_immutable
from prefect_nb.authoring import hidden
from prefect_nb.authoring.calls import Caller, current, home
from prefect_nb.authoring.capture import Capture, replay
from prefect_nb.authoring.keys import Keyed, function_key, is_code, part_rows
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.outcome import RESULT, Outcome, read_outcome, save_outcome
from prefect_nb.authoring.outputs import from_plain, to_plain
from prefect_nb.authoring.reuse import Finding, Found, Wish, look_up
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter, Resolve
from prefect_nb.core.policy import Cache, Retry, seconds
from prefect_nb.core.spec import TaskKind, TaskSpec, VisitId
from prefect_nb.engine.desk import Desk, Order, Settled
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import PrefectNBError, ResultUnavailable, TaskCancelled, UsageError
from prefect_nb.protocols import Entry, LogChunk
from prefect_nb.wiring import now

__all__ = ["Task", "task"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Call:
    """One call on its way."""

    flow: LiveFlow
    caller: Caller
    visit: VisitId
    keyed: Keyed


@dataclass(frozen=True, slots=True)
class _Known:
    """The code of a function as it was last followed, and the globals on which that rests."""

    parts: tuple[tuple[str, str, str], ...]
    problem: str
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
        self._signature = inspect.signature(function)
        self._known: _Known | None = None
        self._verdicts: dict[str, Verdict] = {}
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
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return self._visit(caller, bound)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self.__call__, instance)  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        return Task, (self.function, self.spec)  # what it is; what it remembers is not part of it

    def __repr__(self) -> str:
        return f"<task {self.spec.name}>"

    # --- one call ----------------------------------------------------------------------------------------------------

    def _visit(self, caller: Caller, bound: inspect.BoundArguments) -> R:
        call = self._identify(caller, bound)
        flow, session = call.flow, call.flow.session
        finding = look_up(flow, self.spec, call.keyed, Wish())
        desk = Desk()
        session.sit(call.visit, desk)
        planned = ev.TaskPlanned(
            at=now(), visit=call.visit, spec=self.spec, parent=caller.visit, cell=caller.cell or None
        )
        if isinstance(finding, Found):
            session.post(planned)
            desk.next().result()
            done, value = self._reuse(call, finding, desk)
            if done:
                return value  # type: ignore[no-any-return]
            finding = Finding(finding.without("it could not be read").reason)
            session.post(ev.KeyResolved(at=now(), visit=call.visit, key=call.keyed.key, reason=finding.reason))
        else:
            session.post(planned, ev.KeyResolved(at=now(), visit=call.visit, key=call.keyed.key, reason=finding.reason))
            desk.next().result()  # the order to resolve, which is answered already
        order: Order = desk.next().result()
        while isinstance(order, Enter | Resolve):
            assert isinstance(order, Enter)
            outcome = self._attempt(call, order, bound)
            if outcome.error is None:
                return outcome.value  # type: ignore[no-any-return]
            order = desk.next().result()
            if isinstance(order, Settled):
                raise outcome.error.with_traceback(outcome.error.__traceback__)
        raise TaskCancelled(f"{call.visit.task} is {order.visit.state.label}", hint=order.visit.state.message)

    def _identify(self, caller: Caller, bound: inspect.BoundArguments) -> _Call:
        flow = caller.flow
        prefix = f"{caller.visit.task}." if caller.visit is not None else ""
        name = prefix + self.spec.name
        if caller.visit is not None:
            visit = VisitId(name, caller.visit.visit, caller.number(name))
        else:
            visit = VisitId(name, flow.number_call(name))
        parts, problem = self._code(flow)
        keyed = function_key(parts, bound.arguments, fingerprint, self.spec.version)
        if problem:
            keyed = replace(keyed, key="", uncacheable=problem)
        return _Call(flow, caller, visit, keyed)

    def _code(self, flow: LiveFlow) -> tuple[tuple[tuple[str, str, str], ...], str]:
        """The parts of the function's own key; computed again when a global that it looks up was bound anew."""
        known = self._known
        if known is not None and all(space.get(name) is value for space, name, value in known.watched):
            return known.parts, known.problem
        function = cast(FunctionType, self.function)
        reached = reach((self.spec.name,), {self.spec.name: function}, project_root=flow.place.root)
        problem = str(reached.problems[0]) if reached.problems else ""
        parts = part_rows(reached.parts)
        space = function.__globals__
        watched = tuple((space, n, space.get(n)) for n in reached.late_names)
        steady = all(value is None or is_code(value) or is_immutable(value) for _, _, value in watched)
        local = any(part.kind == "module" for part in reached.parts)
        self._known = _Known(parts, problem, watched) if steady and not local else None
        return parts, problem

    def _verdict(self, call: _Call) -> Verdict:
        """Whether the body is pure; the same for the same code."""
        verdict = self._verdicts.get(call.keyed.code_key)
        if verdict is None:
            verdict = judge(cast(FunctionType, self.function), call.flow.shell.user_ns)
            self._verdicts = {call.keyed.code_key: verdict}
        return verdict

    def _reuse(self, call: _Call, found: Found, desk: Desk) -> tuple[bool, Any]:
        try:
            outcome = read_outcome(call.flow.vault, found.result)
            value = None
            if outcome.values:
                stored = call.flow.vault.load(outcome.values, namespace=call.flow.shell.user_ns)
                assert isinstance(stored, dict)
                hidden.put_back(stored["hidden"])
                value = stored["values"].get(RESULT)
        except ResultUnavailable:
            return False, None
        call.flow.session.post(
            ev.ResultReused(
                at=now(),
                visit=call.visit,
                key=call.keyed.key,
                result=found.result,
                reason=found.reason,
                source_run=found.run,
                age_s=found.age_s,
                saved_s=outcome.cost_s,
            )
        )
        replay(from_plain(outcome.outputs), call.flow.shell)
        return True, value

    def _attempt(self, call: _Call, order: Enter, bound: inspect.BoundArguments) -> _Outcome:
        flow, session, visit = call.flow, call.flow.session, call.visit
        session.post(ev.BodyEntered(at=now(), visit=visit, token=order.token))
        verdict = self._verdict(call)
        plain = verdict.pure and not (verdict.reads_files or verdict.uses_random or verdict.environment)
        generators = {} if plain else hidden.generators()
        observer = Observer(ignore=(flow.place.folder,), environment=verdict.environment)
        started = time.perf_counter()

        def log(stream: str, text: str) -> None:
            session.log(LogChunk(visit, order.attempt, stream, text, now()))

        capture = Capture(flow.shell, on_text=log)
        try:
            with capture, nullcontext() if plain else observer:
                value = self.function(*bound.args, **bound.kwargs)
        except BaseException as error:  # whatever a body raises is data, and is raised again
            told = error_info(error, error.__traceback__, label=flow.cell_label)
            session.post(ev.BodyRaised(at=now(), visit=visit, token=order.token, error=told))
            return _Outcome(None, error)
        cost = time.perf_counter() - started
        note, address, attachments = self._record(call, (value, capture, observer), generators, cost)
        session.post(
            ev.BodyReturned(at=now(), visit=visit, token=order.token, result=address, note=note),
            attachments=attachments,
        )
        return _Outcome(value, None)

    def _record(
        self, call: _Call, seen: tuple[Any, Capture, Observer], generators: dict[str, object], cost: float
    ) -> tuple[str, str, Attachments]:
        value, capture, observer = seen
        flow = call.flow
        outcome = Outcome(outputs=tuple(to_plain(capture.outputs())), cost_s=cost)
        states = hidden.changed(generators, hidden.generators()) if generators else {}
        try:
            outcome, address, rows = save_outcome(flow.vault, outcome, {RESULT: value}, states, flow.shell.user_ns)
        except PrefectNBError as error:
            return f"not stored: {error.message}", "", Attachments()
        if outcome.unstorable or not call.keyed.key or observer.unstable():
            why = call.keyed.uncacheable or next(iter(outcome.unstorable.values()), "a file changed while it was read")
            return f"not reusable: {why}", address, Attachments(results=rows)
        verdict = self._verdict(call)
        causes = [c.wording for c in (*verdict.causes, *observer.taints())]
        manifest: list[dict[str, Any]] = [
            {"kind": r.kind, "name": r.name, "digest": r.digest, "size": r.size, "mtime_ns": r.mtime_ns}
            for r in observer.reads()
        ]
        if causes:
            manifest.append({"kind": "impure", "name": "; ".join(dict.fromkeys(causes))[:500], "digest": ""})
        entry = Entry(
            key=call.keyed.key,
            code_key=call.keyed.code_key,
            task=self.spec.name,
            flow=flow.name,
            run=flow.session.run.id,
            result=address,
            created_at=now(),
            cost_s=cost,
            manifest=tuple(manifest),
            parts=call.keyed.parts,
        )
        flow.learned(call.keyed.code_key, call.keyed.key)
        return "", address, Attachments(results=rows, entries=(entry,))


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any
    error: BaseException | None


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    retry: Retry | int = 0,
    timeout: float | str | None = None,
    cache: Cache | str | float = "pure",
    version: str = "",
    tags: tuple[str, ...] = (),
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | int = 0,
    timeout: float | str | None = None,
    cache: Cache | str | float = "pure",
    version: str = "",
    tags: tuple[str, ...] = (),
) -> Any:
    """Make a function a task; with or without options.

    Parameters
    ----------
    name : str, optional
        The task's name; the function's by default.
    retry : Retry or int
        How often and when it is tried again; a number means that many retries at once.
    timeout : float or str, optional
        Not yet enforced for functions that run in their caller's thread; refused for now.
    cache : Cache, str or float
        When an earlier result may be reused: ``"pure"``, ``"never"``, ``"always"`` or a duration.
    version : str
        Part of the key.
    tags : tuple of str
        Words for people.

    Raises
    ------
    UsageError
        If an option cannot be used.

    Examples
    --------
    >>> @task(retry=Retry(2, delay="1s"))
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    """
    if timeout is not None:
        seconds(timeout)
        raise UsageError(
            "a function's timeout cannot be enforced in its caller's thread", hint="put --timeout on the cell"
        )

    def decorate(body: Callable[..., Any]) -> Task[..., Any]:
        if not inspect.isfunction(body):
            raise UsageError(f"@task takes a function, not {body!r}")
        if inspect.iscoroutinefunction(body) or inspect.isgeneratorfunction(body):
            raise UsageError(f"{body.__name__} is async or a generator", hint="let a plain function return the value")
        spec = TaskSpec(
            name=name or body.__name__,
            kind=TaskKind.FUNCTION,
            retry=retry if isinstance(retry, Retry) else Retry(retry),
            cache=cache if isinstance(cache, Cache) else Cache(cache),
            version=version,
            tags=tuple(tags),
        )
        return Task(body, spec)

    return decorate if function is None else decorate(function)
