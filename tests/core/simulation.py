"""Made-up but possible lives of a run: a list of numbers chooses, step by step, what happens next.

The simulation keeps the outstanding orders as an engine would, answers them in any order, and lets people, timers,
dead workers and late answers interfere. The same numbers always give the same story, so hypothesis can shrink it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from prefect_nb.core import effects as ef
from prefect_nb.core import events as ev
from prefect_nb.core.machine import step
from prefect_nb.core.moves import MOVES
from prefect_nb.core.policy import Cache, Retry, Trigger
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName

N = StateName
ERROR = ev.ErrorInfo("ValueError", "no such day", ("ValueError", "builtins.ValueError", "Exception"))
TIMEOUT = ev.ErrorInfo("TaskTimeout", "over 5 s", ("TaskTimeout",), kind="timeout", hard=False)
WHY = Reason(ReasonCode.INPUT, "orders", (("input orders", "changed"),))
_SPECS = (
    {},
    {"retry": Retry(1)},
    {"retry": Retry(2, delay=(1, 2), jitter=0.5), "timeout": 5.0},
    {"retry": Retry(1, on="KeyError"), "cache": Cache("1d"), "tags": ("slow",)},
    {"trigger": Trigger("all_finished"), "skip_with_upstream": False},
    {"trigger": Trigger("mine", custom=True), "approve": True},
    {"trigger": Trigger("any_failed"), "retry": Retry(1, crashes=2)},
    {"retry": Retry(1, crashes=0), "once": True},
    {"reference": False},
    {"trigger": Trigger("all_finished"), "skip_with_upstream": False, "reference": False, "resource": "cleanup"},
)


@dataclass(frozen=True)
class Step:
    """One event with what it met and what it made."""

    before: Run
    event: ev.Event
    after: Run
    effects: tuple[ef.Effect, ...]


@dataclass
class Story:
    """A run's life so far, and the orders that nobody has carried out yet."""

    run: Run = field(default_factory=Run)
    steps: list[Step] = field(default_factory=list)
    resolves: set[VisitId] = field(default_factory=set)
    judges: set[VisitId] = field(default_factory=set)
    entered: dict[VisitId, int] = field(default_factory=dict)
    timers: set[tuple[VisitId, int, str]] = field(default_factory=set)

    @property
    def events(self) -> list[ev.Event]:
        return [s.event for s in self.steps]

    @property
    def at(self) -> float:
        return float(len(self.steps))

    def feed(self, event: ev.Event) -> None:
        after, effects = step(self.run, event)
        self.steps.append(Step(self.run, event, after, effects))
        self.run = after
        for effect in effects:
            match effect:
                case ef.Resolve():
                    self.resolves.add(effect.visit)
                case ef.Judge():
                    self.judges.add(effect.visit)
                case ef.SetTimer():
                    self.timers.add((effect.visit, effect.token, effect.kind))
                case ef.ClearTimer():
                    self.timers = {t for t in self.timers if t[0] != effect.visit}


Action = Callable[[int], ev.Event]


def play(numbers: Sequence[int], *, live: bool = False) -> Story:
    """The story that these numbers choose; every one of its events is legal."""
    story = Story()
    story.feed(ev.RunOpened(at=0.0, run="r1", flow="f", live=live, worker="w0"))
    for number in numbers:
        groups = [group for group in _actions(story) if group]
        actions = groups[_ODDS[number % len(_ODDS)] % len(groups)]
        number //= len(_ODDS)
        story.feed(actions[number % len(actions)](number // len(actions)))
    return story


def finish(story: Story) -> Story:
    """Close the run and answer everything that is outstanding, so that it can end."""
    if story.run.closed and not story.run.state.final:
        story.feed(ev.RunClosed(at=story.at))
    if not story.run.state.final:
        story.feed(ev.RunClosed(at=story.at))
    for visit in list(story.run.visits.values()):
        now = story.run.visits[visit.id]
        if now.state.name is N.CANCELLING and now.width is None:
            story.feed(ev.BodyCancelled(at=story.at, visit=now.id, token=now.token))
    return story


_ODDS = (0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3)
"""How often: plan, answer an order, wish something of a visit, do something to the run."""


def _actions(story: Story) -> tuple[list[Action], ...]:
    run, at, visits = story.run, story.at, list(story.run.visits.values())
    plans: list[Action] = [] if run.closed or run.state.final else [lambda n: _planned(run, at, n)]
    answers = [a for v in visits for a in _answers(story, v, at)]
    for visit_id, token, kind in sorted(story.timers):
        answers.append(
            lambda n, v=visit_id, t=token, k=kind: ev.TimerFired(at=at, visit=v, token=t, kind=k, limits=_limits(n))
        )
    wishes = [a for v in visits for a in _wishes(v, at)]
    turns: list[Action] = [lambda n: _closed(run, at, n)]
    if run.state.name not in (N.SUCCESS, N.SKIPPED, N.CANCELLED):
        turns += [lambda n: ev.RunAttached(at=at, worker=f"w{n % 3}")] * 3
    if len(run.visits) > 3:
        turns.append(lambda n: ev.RunCancelRequested(at=at, actor="ann"))
    return plans, answers, wishes, turns


def _closed(run: Run, at: float, n: int) -> ev.Event:
    reference = tuple(list(run.latest)[:2]) if n % 5 == 4 else ()
    verdict = ("", "", "", "Success", "Failed")[n % 5]
    return ev.RunClosed(at=at, interrupted=n % 4 == 1, lost=n % 4 > 1, reference=reference, verdict=verdict)


def _planned(run: Run, at: float, n: int) -> ev.Event:
    known = list(run.visits)
    task = f"t{n % 7}"
    before = run.visit(task)
    upstream = tuple(v for i, v in enumerate(known[-6:]) if n >> i & 1)
    maps = [v for v in run.visits.values() if v.width is not None and not v.sealed and not v.state.final]
    if maps and n % 3:
        parent = maps[n % len(maps)]
        before_map = tuple(v for v in upstream if v.task != parent.id.task and known.index(v) < known.index(parent.id))
        of_map = VisitId(parent.id.task, parent.id.visit, parent.width or 0)
        spec = TaskSpec(of_map.task, **_SPECS[n % len(_SPECS)])
        return ev.TaskPlanned(at=at, visit=of_map, spec=spec, parent=parent.id, upstream=before_map)
    child = bool(known) and n % 11 == 10 and run.visits[known[0]].width is None
    visit = VisitId("child", len(known), n % 3) if child else VisitId(task, before.id.visit + 1 if before else 1)
    spec = TaskSpec(visit.task, **_SPECS[n % len(_SPECS)])
    return ev.TaskPlanned(
        at=at, visit=visit, spec=spec, upstream=() if child else upstream, parent=known[0] if child else None
    )


def _answers(story: Story, visit: Visit, at: float) -> Iterable[Action]:
    v, name = visit.id, visit.state.name
    if name is N.PENDING and v in story.resolves:
        yield lambda n: ev.KeyResolved(at=at, visit=v, key=f"k{n}" if n % 3 else "", reason=WHY, limits=_limits(n))
        yield lambda n: ev.ResultReused(
            at=at, visit=v, key="k", result="res", reason=WHY, source_run="r0", age_s=3.0, saved_s=1.0
        )
        if v.index < 0:
            yield lambda n: ev.MapOpened(at=at, visit=v)
    if name is N.PENDING and visit.held:
        roots = [u.id for u in story.run.visits.values() if not u.upstream and u.parent is None and u.width is None]
        yield lambda n: ev.BlockLeft(at=at, visit=v, upstream=tuple(u for u in roots[-n % 4 :] if u != v))
    if name is N.PENDING and v in story.judges and not visit.judged:
        yield lambda n: ev.TriggerJudged(at=at, visit=v, passed=bool(n % 3))
    if name is N.RESUMING and v in story.resolves:
        yield lambda n: ev.KeyResolved(at=at, visit=v, key=f"k{n}", reason=WHY, limits=_limits(n))
    if name is N.QUEUED:
        yield lambda n: ev.SlotsAnswered(at=at, visit=v, taken=bool(n % 3), message=f"waits for db: {n} of {n}")
    if visit.width is not None and not visit.state.final and visit.width > 1:
        yield lambda n: ev.MapSealed(at=at, visit=v)
    if name is N.SUBMITTED or (name is N.CANCELLING and visit.started_at is None and visit.width is None):
        yield lambda n: ev.BodyEntered(at=at, visit=v, token=visit.token)
    for kind in ev.BODY_ENDS:
        has_body = name in (N.RUNNING, N.CANCELLING) and visit.width is None
        if has_body or (name is N.SUBMITTED and kind is ev.BodyCancelled):
            yield lambda n, k=kind: end_of_body(k, v, visit.token, at, n)
        if visit.token > 1 and (name, kind) in MOVES:
            yield lambda n, k=kind: end_of_body(k, v, visit.token - 1, at)


def _limits(n: int) -> tuple[str, ...]:
    return ("db", "api")[: n % 3] if n % 2 else ()


def end_of_body(kind: type[ev.TaskEvent], visit: VisitId, token: int, at: float = 9.0, n: int = 0) -> ev.TaskEvent:
    """An event of this kind about a body, under this permission."""
    if kind is ev.BodyRaised:
        return ev.BodyRaised(at=at, visit=visit, token=token, error=TIMEOUT if n % 2 else ERROR)
    if kind is ev.BodyDeferred:
        return ev.BodyDeferred(at=at, visit=visit, token=token, due=at + 3)
    if kind is ev.BodyLooped:
        return ev.BodyLooped(at=at, visit=visit, token=token, result=f"part {n}")
    if kind is ev.BodyPaused:
        times = {"until": at + 5.0} if n % 3 == 1 else {"limit": at + 5.0} if n % 3 == 2 else {}
        return ev.BodyPaused(at=at, visit=visit, token=token, message="look", form={"ok": "bool"}, **times)
    return kind(at=at, visit=visit, token=token)


def _wishes(visit: Visit, at: float) -> Iterable[Action]:
    for kind in (ev.CancelRequested, ev.SkipRequested, ev.TaskInvalidated, ev.WorkerLost, ev.VisitApproved):
        if (visit.state.name, kind) in MOVES and not (visit.state.final and visit.version > 6):
            yield lambda n, k=kind: k(at=at, visit=visit.id, actor="ann")
    if visit.token:
        yield lambda n: ev.LateResultRefused(at=at, visit=visit.id, token=visit.token - 1)
