"""One call of a function task on its way, and one entry of its body: under capture and observation.

Its ends become events, a success is written down. Knows bodies, captures and results; not how a call got its key, nor
who attends to its visit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from prefect_nb.analysis.purity import Verdict
from prefect_nb.analysis.reads import Observer
from prefect_nb.authoring import context, hidden, signals
from prefect_nb.authoring.afar import Elsewhere
from prefect_nb.authoring.callkeys import Arguments, changed_argument
from prefect_nb.authoring.capture import Capture
from prefect_nb.authoring.ground import Ground, namespace_of
from prefect_nb.authoring.handlers import NOBODY, Entered, Handlers
from prefect_nb.authoring.keys import Keyed
from prefect_nb.authoring.loops import iteration, kept
from prefect_nb.authoring.nodes import Live
from prefect_nb.authoring.outputs import to_plain
from prefect_nb.authoring.shelf import Shelf
from prefect_nb.authoring.targets import Product, made
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import PrefectNBError, TaskCrashed
from prefect_nb.executors.stopping import BodyStopped
from prefect_nb.protocols import Entry, LogChunk, ResultRow
from prefect_nb.wiring import now

__all__ = ["Call", "Crashed", "Ended", "Overdue", "Stopped", "attempt", "attempt_async"]

_ASYNC = "asynchronous bodies cannot be watched"
_FAR = "its process told nothing of what it read"


class Overdue(BaseException):
    """The body was stopped because it took too long; `error` is what its caller is to see."""

    def __init__(self, error: PrefectNBError) -> None:
        super().__init__(error.message)
        self.error = error


class Stopped(BaseException):
    """The body was interrupted because somebody asked; `error` is what its caller is to see."""

    def __init__(self, error: BaseException, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message


class Crashed(BaseException):
    """The body's own process vanished; `error` is what its caller is to see, `code` how the process ended."""

    def __init__(self, error: TaskCrashed, message: str, code: int) -> None:
        super().__init__(message)
        self.error = error
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Ended:
    """How an entry of the body ended: with a value, or with an error."""

    value: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class Call:
    """One call of a function task.

    Parameters
    ----------
    ground : Ground
        What it belongs to.
    spec : TaskSpec
        The task.
    visit : VisitId
        Its visit.
    keyed : Keyed
        Its key.
    verdict : Verdict, optional
        Whether the body is pure; known once it is about to be entered.
    bound : Arguments
        What the body is given.
    learned : callable, optional
        Told of the entry under which the result may be found, and its row.
    keep : callable, optional
        Told of the value, and whether it is stored, before anybody else can know that there is one.
    spent : str
        Why no further attempt can be given the same arguments; empty if it can.
    cost_s : float
        Seconds that an earlier call took whose result is reused.
    rows : dict
        Small results that came with what is known of earlier calls.
    mapped : bool
        Whether its index is that of an element of a map.
    handlers : Handlers
        The author's own, who hear of each move.
    product : Product, optional
        The file that it makes.
    void : set of int
        Permissions that were taken back while their bodies went on: what these give is refused.
    far : Elsewhere, optional
        Where the body runs in a worker process: what is known of it there.
    """

    ground: Ground
    spec: TaskSpec
    visit: VisitId
    keyed: Keyed
    bound: Arguments
    verdict: Verdict | None = None
    learned: Callable[[Entry, ResultRow], None] | None = None
    keep: Callable[[Any, bool], None] | None = None
    spent: str = ""
    cost_s: float = 0.0
    rows: dict[str, ResultRow] = field(default_factory=dict)
    mapped: bool = False
    handlers: Handlers = NOBODY
    product: Product | None = None
    void: set[int] = field(default_factory=set)
    far: Elsewhere | None = None


def attempt(call: Call, order: Enter, body: Callable[[], Any]) -> Ended:
    """Run the body once, watched, and tell the engine how it ended; the caller told that it began."""
    watch = _Watch(call, order)
    value: Any = None
    error: BaseException | None = None
    try:
        with watch:
            if call.handlers:
                call.handlers.entered(_entry(call, order))
            value = body()
    except signals.Success as success:
        value = success.result
    except BaseException as raised:  # whatever a body raises is data, and is raised again
        error = raised
    return _ended(call, order, watch, value, error)


async def attempt_async(call: Call, order: Enter, body: Callable[[], Awaitable[Any]]) -> Callable[[], Ended]:
    """The same for a coroutine, on a loop that others share; what comes back writes its end down, off the loop."""
    watch = _Watch(call, order, shared=True)
    value: Any = None
    error: BaseException | None = None
    try:
        with watch:
            if call.handlers:
                call.handlers.entered(_entry(call, order))
            value = await body()
    except signals.Success as success:
        value = success.result
    except asyncio.CancelledError as cancelled:
        error = BodyStopped().with_traceback(cancelled.__traceback__)
    except BaseException as raised:  # whatever a body raises is data, and is raised again
        error = raised
    return partial(_ended, call, order, watch, value, error)


class _Watch:
    """What is watched while the body runs; a context manager around it."""

    def __init__(self, call: Call, order: Enter, *, shared: bool = False) -> None:
        ground, session, verdict = call.ground, call.ground.session, call.verdict
        assert verdict is not None
        self.plain = verdict.plain
        self.observer: Observer | None = None
        self.unwatched = _ASYNC if shared and not self.plain else ""
        if not self.plain and not shared:
            self.observer = Observer(ignore=(ground.place.folder,), environment=verdict.environment)
        self.generators = {} if self.plain or shared else hidden.generators()

        def log(stream: str, text: str) -> None:
            session.log(LogChunk(call.visit, order.attempt, stream, text, now()))

        self.capture = Capture(ground.shell, on_text=log)
        self.frame = self.capture.owner = _frame(call, order)
        self.cost = 0.0
        self._started = time.perf_counter()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._exit.enter_context(context.inside(self.frame))
        self._exit.enter_context(self.capture)
        if self.observer is not None:
            self._exit.enter_context(self.observer)
        return self

    def __exit__(self, *exc: Any) -> None:
        self.cost = time.perf_counter() - self._started
        self._exit.__exit__(*exc)
        self.frame.shelf.close()


def _frame(call: Call, order: Enter) -> context.Frame:
    """What the context answers from."""
    turn = iteration(call.ground, call.visit)
    where = (call.ground.session, call.visit, order.attempt, call.spec.name, call.mapped)
    return context.Frame(*where, turn.number, turn.handed_on, Shelf(call.ground.vault))


def _entry(call: Call, order: Enter) -> Entered:
    """The entry, as state handlers hear of it."""

    def log(line: str) -> None:
        call.ground.session.log(LogChunk(call.visit, order.attempt, "stderr", f"{line}\n", now()))

    return Entered(call.ground.session.run, call.spec, call.visit, order.token, order.attempt, now(), log)


def _ended(call: Call, order: Enter, watch: _Watch, value: Any, error: BaseException | None) -> Ended:
    if order.token in call.void:
        return _refused(call, order)
    attachments = Attachments()
    if isinstance(error, signals.Loop):
        try:
            attachments = kept(call.ground, error)
        except PrefectNBError as raised:
            error = raised
    if call.handlers:
        end = None if error is None else _end(call, order, error)
        value, error = call.handlers.ended(_entry(call, order), (value, error), end)
    file: dict[str, str] | None = None
    if error is None and call.product is not None:
        try:
            file = made(call.product, value)
        except PrefectNBError as raised:  # a value that cannot become its file is the task's failure
            error = raised
    if error is None:
        return _ended_well(call, order, watch, (value, file))
    call.ground.session.post(_end(call, order, error), attachments=attachments)
    return Ended(error=error.error if isinstance(error, Stopped | Overdue | Crashed) else error)


def _end(call: Call, order: Enter, error: BaseException) -> ev.BodyEnd:
    """What the engine is told of what a body raised."""
    visit, token, label = call.visit, order.token, call.ground.cell_label
    if isinstance(error, Stopped | BodyStopped):
        message = error.message if isinstance(error, Stopped) else ""
        return ev.BodyCancelled(at=now(), visit=visit, token=token, message=message)
    if isinstance(error, Crashed):
        return ev.BodyCrashed(at=now(), visit=visit, token=token, message=error.message, code=error.code)
    if isinstance(error, Overdue):
        told = error_info(TimeoutError(str(error)), error.error.__traceback__, label=label, kind="timeout")
        return ev.BodyRaised(at=now(), visit=visit, token=token, error=told, retryable=not call.spent)
    signalled = signals.ended(error, visit, token, now(), label)
    if signalled is not None:
        return signalled
    told = error_info(error, error.__traceback__, label=label)
    if call.spent and call.spec.retry.count:
        line = f"not tried again: {call.spent}\n"
        call.ground.session.log(LogChunk(visit, order.attempt, "stderr", line, now()))
    return ev.BodyRaised(at=now(), visit=visit, token=token, error=told, retryable=not call.spent)


def _refused(call: Call, order: Enter) -> Ended:
    """The body came back after its permission was taken away: nothing of it counts, and that is told."""
    session, told = call.ground.session, "came back too late; what it gave was thrown away"
    session.log(LogChunk(call.visit, order.attempt, "stderr", f"attempt {order.attempt} {told}\n", now()))
    session.post(ev.LateResultRefused(at=now(), visit=call.visit, token=order.token))
    return Ended()


def _ended_well(call: Call, order: Enter, watch: _Watch, given: tuple[Any, dict[str, str] | None]) -> Ended:
    value, file = given
    states = hidden.changed(watch.generators, hidden.generators()) if watch.generators else {}
    shown = to_plain((*watch.capture.outputs(), *watch.frame.shelf.outputs()))
    stored = {"call": value, "outputs": shown, "hidden": states, "cost_s": watch.cost}
    if file is not None:
        stored["product"] = file
    note, address, attachments = _record(call, stored, watch)
    if call.keep is not None:
        call.keep(value, bool(address))
    returned = ev.BodyReturned(at=now(), visit=call.visit, token=order.token, result=address, note=note)
    call.ground.session.post(returned, attachments=attachments)
    if call.learned is not None:
        for entry in attachments.entries:
            call.learned(entry, attachments.results[0])
    return Ended(value)


def _record(call: Call, stored: dict[str, Any], watch: _Watch) -> tuple[str, str, Attachments]:
    """Write a success down: a note why it is not reusable, its address, and what goes into the commit."""
    ground, keyed, observer = call.ground, call.keyed, watch.observer
    if call.spec.resource:  # a live handle
        value = stored["call"]
        return value.note if type(value) is Live else "", "", Attachments()
    try:
        address, row = ground.vault.save(stored, namespace=namespace_of(ground), cost_s=stored["cost_s"])
    except PrefectNBError as error:
        return f"not stored: {error.message}", "", Attachments()
    changed = changed_argument(keyed, call.bound)
    problem = keyed.uncacheable or changed
    seen = call.far.observed if call.far is not None else None
    unstable = (observer is not None and observer.unstable()) or (seen is not None and seen.unstable)
    if not problem and unstable:
        problem = "a file changed while it was read"
    if problem:
        return f"not reusable: {problem}", address, Attachments(results=(row,))
    entry = Entry(
        key=keyed.key,
        code_key=keyed.code_key,
        task=call.spec.name,
        flow=ground.name,
        run=ground.session.run.id,
        result=address,
        created_at=now(),
        cost_s=stored["cost_s"],
        manifest=_manifest(call, watch),
        parts=keyed.parts,
    )
    return "", address, Attachments(results=(row,), entries=(entry,))


def _manifest(call: Call, watch: _Watch) -> tuple[dict[str, Any], ...]:
    verdict, observer = call.verdict, watch.observer
    assert verdict is not None
    reads = dict.fromkeys(observer.reads() if observer is not None else ())
    taints = observer.taints() if observer is not None else ()
    unwatched = watch.unwatched
    if call.far is not None and not verdict.plain:
        far = call.far.observed
        unwatched = _FAR if far is None else ""
        reads |= dict.fromkeys(far.reads if far is not None else ())
        taints += far.taints if far is not None else ()
    rows: list[dict[str, Any]] = [
        {"kind": r.kind, "name": r.name, "digest": r.digest, "size": r.size, "mtime_ns": r.mtime_ns} for r in reads
    ]
    causes = dict.fromkeys([c.wording for c in (*verdict.causes, *taints)] + [unwatched] * bool(unwatched))
    if causes:
        rows.append({"kind": "impure", "name": "; ".join(causes)[:500], "digest": ""})
    return tuple(rows)
