"""Every interleaving of a few workers that claim, run, lose and finish visits of one run, on the store's own SQL.

A worker here is what an engine and its store's owner process are to the outside: it looks who owns the run, takes it,
folds its events, attaches, lets events happen one after another (the real ``step`` and the real ``Batch`` make the
commits), and has up to two commits in flight. At every moment any worker may do its next thing, its oldest commit may
arrive, may be lost with an error as the answer, or its process may die, with what is in flight arriving later or never.
Liveness is taken to be worthless: anybody may take the run at any moment.

The search is breadth first, so that the first fault found has the shortest way there. What a statement does is asked of
SQLite once for every pair of a database's content and an operation, on a database in memory set to that content.
"""

from __future__ import annotations

import json
import marshal
import sqlite3
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import prefect_nb.stores
from prefect_nb.core import events as ev
from prefect_nb.core import wire
from prefect_nb.core.machine import step
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine.batch import Attachments, Batch, Post
from prefect_nb.engine.rows import run_row
from prefect_nb.errors import IllegalTransition
from prefect_nb.stores import codec, statements
from prefect_nb.stores.statements import Refused

__all__ = ["Broken", "Claims", "Found"]

N = StateName
SCHEMA = Path(prefect_nb.stores.__file__).with_name("schema.sql")
UNGUARDED = False
"""Set by the test of the model itself: commits do not name what they follow."""
FIRST = Reason(ReasonCode.FIRST)
_DUMP = (
    "SELECT worker, state, version, seq FROM run",
    "SELECT task, visit, state, type, version, token, result FROM visit",
    "SELECT seq, body FROM event",
    "SELECT * FROM success",
)
Story = tuple[str, ...]
Success = tuple[str, int, int, str]  # task, visit, token, result


class Broken(AssertionError):
    """A promise was broken; its text holds the steps that led there."""


@dataclass(frozen=True)
class Frame:
    """A commit on its way, and the successes that its answer will let people see."""

    wire: bytes
    promises: tuple[Success, ...]


@dataclass(frozen=True)
class Actor:
    """One worker: where it is in its life, what it holds to be true, and what it has sent."""

    name: str
    phase: str = "new"  # looked, took, works, failed (its engine stopped), dead
    owner: str = ""
    story: Story = ()
    flight: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class Dump:
    """Everything in the database that the protocol is about."""

    runs: tuple[Any, ...]
    visits: tuple[Any, ...]
    events: tuple[Any, ...]
    successes: tuple[Any, ...]


class _State(NamedTuple):
    actors: tuple[Actor, ...]
    budget: tuple[int, int]
    told: frozenset[Success]
    dump: Dump


@dataclass
class Found:
    """How much was searched, and which ends were seen."""

    states: int = 0
    steps: int = 0
    refused: int = 0
    successes: set[Success] = field(default_factory=set)


@cache
def _run(story: Story) -> Run:
    """The run after these events."""
    if not story:
        return Run()
    return step(_run(story[:-1]), wire.from_plain(json.loads(story[-1])))[0]


def _text(event: ev.Event) -> str:
    return codec.as_json(wire.to_plain(event))


def _frame(story: Story, events: tuple[str, ...]) -> Frame:
    """The commit by which the real engine carries these events to the store."""
    before = run = _run(story)
    orders: list[Any] = []
    happened = [wire.from_plain(json.loads(text)) for text in events]
    for event in happened:
        run, more = step(run, event)
        orders.extend(more)
    batch = Batch(after=-1 if UNGUARDED else len(story))
    batch.take(before, run, Post(happened, Attachments(), None, False), orders)
    old, new = (replace(run_row(r, "", {}), version=0) for r in (before, run))
    commit = batch.commit(run, run_row(run, "", {}) if old != new else None, ())
    ends = [run.visits[visit] for visit in batch.settled]
    promises = tuple((v.id.task, v.id.visit, v.token, v.result) for v in ends if v.state.name is N.SUCCESS)
    return Frame(marshal.dumps(codec.commit_to_wire(commit)), promises)


class Claims:
    """The search.

    Parameters
    ----------
    workers : int
        How many; the first one has opened the run.
    tasks : tuple of str
        Each waits for the one before it.
    faults : int
        How many commits may be lost with an error as their answer.
    deaths : int
        How many workers may die.
    """

    def __init__(self, workers: int = 2, tasks: tuple[str, ...] = ("a",), *, faults: int = 0, deaths: int = 1) -> None:
        self._tasks = tasks
        self.found = Found()
        self._c = sqlite3.connect(":memory:", isolation_level=None)
        self._c.execute("PRAGMA page_size = 512")
        for statement in SCHEMA.read_text(encoding="utf-8").split(";\n"):
            self._c.execute(statement)
        opened = _text(ev.RunOpened(at=0.0, run="r", flow="f", live=True, worker="w0"))
        statements.append(self._c, *marshal.loads(_frame((), (opened,)).wire))
        self._images: dict[Dump, bytes] = {}
        self._dumps: dict[Dump, Dump] = {}
        self._known: dict[Any, tuple[bool, Dump]] = {}
        self._frames = cache(_frame)
        first = Actor("w0", "works", "w0", (opened,))
        actors = (first, *(Actor(f"w{n}") for n in range(1, workers)))
        self._start = _State(actors, (faults, deaths), frozenset(), self._dump())
        self._came: dict[_State, tuple[_State | None, str]] = {self._start: (None, "")}

    def explore(self) -> Found:
        """Search everything.

        Raises
        ------
        Broken
            At a nearest state that breaks a promise, with the way there.
        """
        queue = deque([self._start])
        while queue:
            state = queue.popleft()
            self.found.states += 1
            for number, actor in enumerate(state.actors):
                for name, events in self._choices(actor, state.budget):
                    self.found.steps += 1
                    after = self._after(state, number, name, events)
                    if after not in self._came:
                        self._came[after] = (state, f"{actor.name} {name} {' '.join(events)}".rstrip())
                        queue.append(after)
        return self.found

    def _after(self, state: _State, number: int, name: str, events: Story) -> _State:
        actor = state.actors[number]
        try:
            moved, dump, answered = self._do(actor, name, events, state.dump)
            told = state.told | answered
            if dump is not state.dump:
                self._judge(state.dump, dump)
            if answered or dump is not state.dump:
                for task, visit, token, result in told:
                    kept = ("r", task, visit, -1, token, result) in dump.successes
                    _hold(kept, f"the success of {task} that was told is lost")
        except Broken as broken:
            raise Broken("\n".join([str(broken), *self._way(state), f"{actor.name} {name}"])) from broken
        faults, deaths = state.budget
        budget = (faults - (name == "lost"), deaths - (name == "dies"))
        actors = (*state.actors[:number], moved, *state.actors[number + 1 :])
        return _State(actors, budget, told, dump)

    def _way(self, state: _State | None) -> list[str]:
        told: list[str] = []
        while state is not None:
            state, name = self._came[state]
            told.append(name)
        return told[-2::-1]

    # --- the database ---

    def _dump(self) -> Dump:
        dump = Dump(*(tuple(self._c.execute(text).fetchall()) for text in _DUMP))
        dump = self._dumps.setdefault(dump, dump)  # one object for each content, so that a look tells what changed
        if dump not in self._images:
            self._images[dump] = self._c.serialize()
        return dump

    def _ask(self, dump: Dump, op: str, *args: Any) -> tuple[bool, Dump]:
        """Whether the database with this content agrees to a write, and its content afterwards."""
        key = (dump, op, args)
        if key not in self._known:
            self._c.deserialize(self._images[dump])
            self._c.execute("SAVEPOINT one")
            try:
                agreed = bool(statements.WRITES[op](self._c, *(marshal.loads(args[0]) if op == "append" else args)))
            except Refused:
                self._c.execute("ROLLBACK TO one")
                agreed = False
            self._c.execute("RELEASE one")
            after = self._dump()
            self._known[key] = (agreed, after)
        return self._known[key]

    # --- what may happen ---

    def _choices(self, actor: Actor, budget: tuple[int, int]) -> Iterator[tuple[str, Story]]:
        if actor.flight:
            yield "arrives", ()
            if budget[0] and actor.phase == "works":
                yield "lost", ()
            if actor.phase == "dead":
                yield "drops", ()
        if actor.phase == "works":
            if len(actor.flight) < 2:
                for events in _next_events(actor.story, self._tasks):
                    yield "posts", events
            if budget[1]:
                yield "dies", ()
        elif actor.phase not in ("dead", "failed"):
            yield {"new": "looks", "looked": "takes", "took": "attaches"}[actor.phase], ()

    def _do(self, actor: Actor, name: str, events: Story, dump: Dump) -> tuple[Actor, Dump, frozenset[Success]]:
        nothing: frozenset[Success] = frozenset()
        match name:
            case "looks":
                return replace(actor, phase="looked", owner=dump.runs[0][0]), dump, nothing
            case "takes":
                taken, after = self._ask(dump, "take_run", "r", actor.name, actor.owner)
                return replace(actor, phase="took" if taken else "failed"), after, nothing
            case "attaches":
                known = tuple(body for _, body in dump.events)
                attached = (_text(ev.RunAttached(at=0.0, worker=actor.name)),)
                return self._posted(replace(actor, phase="works", story=known), attached), dump, nothing
            case "posts":
                return self._posted(actor, events), dump, nothing
            case "arrives":
                return self._arrived(actor, dump)
            case "lost":
                return replace(actor, phase="failed", flight=actor.flight[1:]), dump, nothing
            case "drops":
                return replace(actor, flight=()), dump, nothing
        return replace(actor, phase="dead"), dump, nothing

    def _posted(self, actor: Actor, events: Story) -> Actor:
        return replace(actor, story=actor.story + events, flight=(*actor.flight, self._frames(actor.story, events)))

    def _arrived(self, actor: Actor, dump: Dump) -> tuple[Actor, Dump, frozenset[Success]]:
        frame = actor.flight[0]
        agreed, after = self._ask(dump, "append", frame.wire)
        heard = actor.phase == "works"
        arrived = replace(actor, flight=actor.flight[1:], phase="failed" if heard and not agreed else actor.phase)
        if not agreed:
            self.found.refused += 1
            _hold(after is dump, "a refused append changed something")
            return arrived, dump, frozenset()
        _hold(dump.runs[0][0] == actor.name, "an append of a worker that does not own the run was taken")
        return arrived, after, frozenset(frame.promises) if heard else frozenset()

    # --- what must hold ---

    def _judge(self, before: Dump, after: Dump) -> None:
        successes = set(after.successes)
        _hold(len({row[1:4] for row in successes}) == len(successes), "a visit has two successes")
        _hold(successes >= set(before.successes), "a recorded success changed")
        self.found.successes |= {(task, visit, token, result) for _, task, visit, _, token, result in successes}
        old = {row[:2]: row for row in before.visits}
        for row in after.visits:
            former = old.get(row[:2], ("", 0, "", "", 0, 0, ""))
            _hold(row[4] >= former[4] and row[5] >= former[5], f"{row[0]}: version or token went back")
            ended = former[3] in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
            _hold(not ended or row == former, f"{row[0]} was final and changed")
            if row[3] == "COMPLETED" and not ended:
                _hold(row[5] == former[5], f"{row[0]} ended under another token than the newest granted")
        _judge_fold(after)


@cache
def _judge_fold(dump: Dump) -> None:
    """The events tell exactly what the rows say."""
    _hold([seq for seq, _ in dump.events] == list(range(1, dump.runs[0][3] + 1)), "event numbers have a gap")
    try:
        run = _run(tuple(body for _, body in dump.events))
    except IllegalTransition as error:
        raise Broken(f"the record cannot be folded: {error}") from error
    rows = {(v.id.task, v.id.visit): (v.state.label, v.version, v.token) for v in run.visits.values()}
    found = {row[:2]: (row[2], row[4], row[5]) for row in dump.visits}
    _hold(found == rows, f"rows {found} are not the fold of the events {rows}")
    _hold(dump.runs[0][1] == run.state.label, f"the run's row says {dump.runs[0][1]}, not {run.state.label}")


@cache
def _next_events(story: Story, tasks: tuple[str, ...]) -> tuple[Story, ...]:
    """What a worker that knows this story may let happen next."""
    run = _run(story)
    found: list[Story] = []
    upstream: tuple[VisitId, ...] = ()
    for task in tasks:
        visit, vid = run.visit(task), VisitId(task)
        event: ev.Event | None = None
        if visit is None:
            event = ev.TaskPlanned(at=0.0, visit=vid, spec=TaskSpec(task), upstream=upstream)
        elif visit.state.name is N.PENDING and not visit.unmet:
            event = ev.KeyResolved(at=0.0, visit=vid, key="k", reason=FIRST)
        elif visit.state.name is N.SUBMITTED:
            event = ev.BodyEntered(at=0.0, visit=vid, token=visit.token)
        elif visit.state.name is N.RUNNING:
            event = ev.BodyReturned(at=0.0, visit=vid, token=visit.token, result=f"by {run.worker}")
        if event is not None:
            found.append((_text(event),))
        if visit is None:
            break
        upstream = (vid,)
    return tuple(found)


def _hold(fact: bool, wording: str) -> None:
    if not fact:
        raise Broken(wording)
