"""Laws that hold in every possible life of a run."""

from __future__ import annotations

import functools
import json
import random
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation import Story, finish, play

from prefect_nb.core import effects as ef
from prefect_nb.core import events as ev
from prefect_nb.core import wire
from prefect_nb.core.fold import fold
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import EDGES, RUN_EDGES, StateName, StateType

N = StateName
WITH_BODY = (N.SUBMITTED, N.RUNNING, N.CANCELLING)

SHARED = 60
"""How many stories every law is checked on in every suite."""
LAWS: dict[str, Callable[[Story], None]] = {}
stories = st.builds(play, st.lists(st.integers(0, 2**20), min_size=10, max_size=40), live=st.booleans())
more = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@functools.cache
def told(number: int) -> Story:
    """One of the stories that all laws share: making one costs more than checking it."""
    rng = random.Random(number)
    return play([rng.randrange(2**20) for _ in range(rng.randrange(10, 41))], live=number % 2 == 0)


def law(check: Callable[[Story], None]) -> Callable[[Story], None]:
    """Have a law checked by the two tests at the end."""
    LAWS[check.__name__] = check
    return check


def lives(story: Story) -> dict[VisitId, list[Visit]]:
    """Every visit with all its versions, in order."""
    found: dict[VisitId, list[Visit]] = {}
    for one in story.steps:
        for visit in one.after.visits.values():
            if one.before.visits.get(visit.id) is not visit:
                found.setdefault(visit.id, []).append(visit)
    return found


@law
def finals_absorb(story: Story) -> None:
    """Nothing changes a final visit, except that its result may be declared unfit."""
    for life in lives(story).values():
        ended = [v for v in life if v.state.final]
        assert len({(v.state, v.token, v.attempt, v.result, v.error, v.ended_at) for v in map(_hashable, ended)}) <= 1


def _hashable(visit: Visit) -> Visit:
    return evolved(visit, state=(visit.state.name, visit.state.at, visit.state.message))


@law
def every_move_is_an_edge(story: Story) -> None:
    """Visits and runs only ever move along their tables."""
    for life in lives(story).values():
        names = [N.PENDING, *(v.state.name for v in life)]
        assert all(b is a or b in EDGES[a] for a, b in pairwise(names))
    names = [one.after.state.name for one in story.steps]
    assert all(b is a or b in RUN_EDGES[a] for a, b in pairwise(names))


@law
def a_final_run_has_final_visits_only(story: Story) -> None:
    """When a run is final all its visits are; only a lost run keeps what had not begun."""
    for one in story.steps:
        states = [v.state for v in one.after.visits.values()]
        if one.after.state.final and not one.after.lost:
            assert all(s.final for s in states)
        if one.after.lost:
            assert not any(s.name in WITH_BODY for s in states)


@law
def every_story_can_end(story: Story) -> None:
    """A run that is closed and whose bodies have stopped is final, and so is everything in it unless it was lost."""
    ended = finish(story)
    assert ended.run.state.final
    assert ended.run.lost or all(v.state.final for v in ended.run.visits.values())


@law
def attempts_stay_within_the_policy(story: Story) -> None:
    """A body is entered once per attempt and once after each pause; attempts are those of each iteration, and more."""
    enters = Counter(e.visit for one in story.steps for e in one.effects if isinstance(e, ef.Enter))
    asked = Counter(_moved_by(story, ev.BodyDeferred))
    goes_on = Counter(v for v, life in lives(story).items() for a, b in pairwise(life) if _goes_on(a, b))
    for visit in story.run.visits.values():
        assert visit.asked == asked[visit.id]
        most = visit.spec.retry.attempts * (visit.loop + 1) + visit.asked + visit.crashes
        assert enters[visit.id] - goes_on[visit.id] == visit.attempt <= most


@law
def a_crash_uses_up_its_own_budget(story: Story) -> None:
    """Crashes re-enter a body at most as often as their budget says, and leave the retries of failures as they were."""
    crashed, failed = Counter(_moved_by(story, ev.BodyCrashed)), Counter(_moved_by(story, ev.BodyRaised))
    for visit in story.run.visits.values():
        retry = visit.spec.retry
        assert visit.crashes == crashed[visit.id] <= (0 if visit.spec.once else retry.crashes) + 1
        assert failed[visit.id] <= (retry.count + 1) * (visit.loop + 1)
        if visit.state.name is N.FAILED and not retry.on and visit.width is None and visit.token:
            last = failures_of_the_last_iteration(story, visit.id)
            assert last == retry.count + 1, "a crash or an earlier iteration took a retry away"


def failures_of_the_last_iteration(story: Story, visit: VisitId) -> int:
    """How often its body raised since it asked for another iteration."""
    count, loop = 0, 0
    for one in story.steps:
        if isinstance(one.event, ev.TaskEvent) and one.event.visit == visit and visit in one.before.visits:
            old, new = one.before.visits[visit], one.after.visits[visit]
            if new.loop > loop:
                count, loop = 0, new.loop
            count += isinstance(one.event, ev.BodyRaised) and old is not new and new.state.name is not N.CANCELLED
    return count


def _goes_on(before: Visit, after: Visit) -> bool:
    """Whether a body that had waited is entered again."""
    return after.state.name is N.SUBMITTED and before.token < after.token and before.attempt == after.attempt


def _moved_by(story: Story, kind: type[ev.TaskEvent]) -> list[VisitId]:
    """The visits whose state changed at once with an event of this kind, cancelled ones left out."""
    found = []
    for one in story.steps:
        if isinstance(one.event, kind):
            old, new = one.before.visits[one.event.visit], one.after.visits[one.event.visit]
            if old is not new and new.state.name is not N.CANCELLED:
                found.append(one.event.visit)
    return found


@law
def tokens_grow_and_every_entry_meets_one_end(story: Story) -> None:
    """Each permission is one more than the last, and is granted only after the one before it has ended."""
    for visit_id, life in lives(story).items():
        granted = [
            e.token for one in story.steps for e in one.effects if isinstance(e, ef.Enter) and e.visit == visit_id
        ]
        assert granted == list(range(1, len(granted) + 1))
        for token in granted:
            under = [v.state.name for v in life if v.token == token]
            with_body = [name in WITH_BODY for name in under]
            assert with_body == sorted(with_body, reverse=True)  # a body, and then none: it ends once
            assert token == granted[-1] or under[-1] in (N.RETRYING, N.LOOPED, N.RESUMING, N.QUEUED)


@law
def nothing_enters_without_its_slots(story: Story) -> None:
    """A visit that limits hold for is let in by nothing but the answer that its slots were taken, and waits as Queued.

    However it waited before: for its first entry, a retry, an iteration or a person.
    """
    for one in story.steps:
        entered = [e.visit for e in one.effects if isinstance(e, ef.Enter) and one.after.visits[e.visit].limits]
        assert not entered or (isinstance(one.event, ev.SlotsAnswered) and one.event.taken)
        for visit in entered:
            assert one.before.visits[visit].state.name is N.QUEUED
        for claim in (e for e in one.effects if isinstance(e, ef.Claim)):
            assert one.after.visits[claim.visit].state.name is N.QUEUED
            assert one.after.visits[claim.visit].limits == claim.limits


@law
def what_is_upstream_is_final_first(story: Story) -> None:
    """Nothing is resolved or entered while something upstream of it could still change."""
    for one in story.steps:
        for effect in one.effects:
            if isinstance(effect, ef.Resolve | ef.Enter):
                visit = one.after.visits[effect.visit]
                states = [one.after.visits[up].state for up in visit.upstream]
                assert all(s.final for s in states)
                assert visit.spec.trigger.heeds_failures or all(s.type is StateType.COMPLETED for s in states)


@law
def failure_beats_skip(story: Story) -> None:
    """A task with a failed upstream never ends as skipped by its trigger, whatever else was skipped."""
    for one in story.steps:
        for visit in one.after.visits.values():
            old = one.before.visits.get(visit.id)
            fresh = visit.state.name is N.SKIPPED and (old is None or old.state.name is not N.SKIPPED)
            if fresh and visit.reason is not None and visit.reason.code.code == "upstream-skipped":
                kinds = [one.after.visits[up].state.type for up in visit.upstream]
                assert set(kinds) == {StateType.COMPLETED}


@law
def stale_permissions_move_nothing(story: Story) -> None:
    """An event that quotes an older token leaves the run exactly as it was and gives no order."""
    for one in story.steps:
        token = getattr(one.event, "token", None)
        if token is not None and token != one.before.visits[one.event.visit].token:
            assert one.after is one.before
            assert one.effects == ()


@law
def settled_once(story: Story) -> None:
    """Each visit is settled exactly once: in the step that made it final."""
    settled = Counter(e.visit for one in story.steps for e in one.effects if isinstance(e, ef.Settle))
    assert settled == Counter(v.id for v in story.run.visits.values() if v.state.final)
    for one in story.steps:
        for effect in one.effects:
            if isinstance(effect, ef.Settle):
                old = one.before.visits.get(effect.visit)
                assert one.after.visits[effect.visit].state.final
                assert old is None or not old.state.final


@law
def a_closed_run_grants_nothing(story: Story) -> None:
    """Between the close of a run and the next attachment no body may begin; after a cancel only cleanups may."""
    for one in story.steps:
        granted = [e.visit for e in one.effects if isinstance(e, ef.Resolve | ef.Enter)]
        if one.after.closed:
            assert not granted
        if one.after.cancelled:
            assert all(one.after.visits[v].spec.resource == "cleanup" for v in granted)


@law
def a_cleanup_outlives_a_cancel(story: Story) -> None:
    """What was cancelled as a whole leaves the cleanup of a resource as it was, unless nobody is there for it."""
    for one in story.steps:
        if not isinstance(one.event, ev.RunCancelRequested) or one.before.state.final or one.before.closed:
            continue
        for visit in one.before.visits.values():
            if visit.spec.resource == "cleanup" and not visit.state.final:
                now = one.after.visits[visit.id]
                assert (now.state, now.held) == (visit.state, visit.held)
                open_ = [u for u in now.upstream if not one.after.visits[u].state.final]
                ready = now.state.name is N.PENDING and not now.held and not open_
                was_ready = not visit.unmet
                ordered = any(isinstance(e, ef.Resolve) and e.visit == now.id for e in one.effects)
                assert ordered == (ready and not was_ready)


@law
def no_order_is_lost(story: Story) -> None:
    """In an open run every visit that waits for nothing has been told what to do: to resolve, to enter, or when."""
    known: set[tuple[VisitId, str, int]] = set()
    for one in story.steps:
        for e in one.effects:
            known.add((e.visit, type(e).__name__, getattr(e, "token", 0)))
        if one.after.closed or one.after.cancelled:
            continue
        for v in one.after.visits.values():
            if v.state.name is N.PENDING and not v.held and all(one.after.visits[u].state.final for u in v.upstream):
                assert {(v.id, "Resolve", 0), (v.id, "Judge", 0)} & known
            if v.state.name is N.RESUMING:
                assert (v.id, "Resolve", 0) in known
            if v.state.name is N.RETRYING:
                assert (v.id, "SetTimer", v.token) in known
            if v.state.name is N.SUBMITTED:
                assert (v.id, "Enter", v.token) in known
            if v.state.name is N.QUEUED:
                assert (v.id, "Claim", 0) in known


@law
def every_changed_visit_is_named(story: Story) -> None:
    """A visit whose version grew is named by the event or by an order, so that its row gets written."""
    for one in story.steps:
        named = {e.visit for e in one.effects} | {getattr(one.event, "visit", None)}
        for visit in one.after.visits.values():
            old = one.before.visits.get(visit.id)
            if old is None or visit.version != old.version:
                assert visit.id in named
                assert visit.version > (0 if old is None else old.version)


@law
def counts_agree_with_what_they_count(story: Story) -> None:
    """`tally`, `active`, `unmet` and `latest` only save work: recounting gives the same."""
    run = story.run
    tops = [v for v in run.visits.values() if v.parent is None]
    latest = {v.id.task: v for v in tops}
    assert {task: run.visits[v] for task, v in run.latest.items()} == latest
    assert Counter(v.state.name for v in latest.values()) == +Counter(run.tally)
    assert run.active == sum(not v.state.final for v in run.visits.values())
    paused = [v for v in run.visits.values() if v.state.name in (N.PAUSED, N.SUSPENDED)]
    waiting = [v for v in run.visits.values() if v.state.name is N.PENDING and (v.unmet or v.held)]
    maps = [v for v in run.visits.values() if v.state.name is N.MAPPED]
    assert (run.paused, run.stuck) == (len(paused), len(paused) + len(waiting) + len(maps))
    for parent in (v for v in run.visits.values() if v.width is not None):
        children = [v for v in run.visits.values() if v.parent == parent.id]
        assert [v.id.index for v in children][: parent.width] == list(range(parent.width or 0))
        if not parent.state.final:
            assert parent.ends == Counter(v.state.name for v in children if v.state.final)
    for visit in run.visits.values():
        if visit.state.name is N.PENDING:
            assert visit.unmet == sum(not run.visits[u].state.final for u in visit.upstream)


@law
def fold_equals_the_live_state_at_every_prefix(story: Story) -> None:
    """Folding the first n events gives the state after the n-th, and replaying them gives the same orders."""
    run = Run()
    for number, one in enumerate(story.steps):
        run, effects = step(run, one.event)
        assert run == one.after
        assert effects == one.effects
        if number % 10 == 0:
            assert fold(story.events[: number + 1]) == one.after
    assert fold(story.events[5:], fold(story.events[:5])) == story.run


@law
def events_survive_the_wire(story: Story) -> None:
    """Every event is itself again after JSON, and the run folded from those is the same."""
    back = [wire.from_plain(json.loads(json.dumps(wire.to_plain(e)))) for e in story.events]
    assert back == story.events
    assert fold(back) == story.run


def _downstream(run: Run, visit: VisitId) -> set[VisitId]:
    found = {visit}
    grown = 0
    while grown < len(found):  # once more when a map ends with its children
        grown = len(found)
        for other in run.visits.values():
            if found & set(other.upstream):
                found.add(other.id)
            if other.id in found and other.parent is not None:
                found.add(other.parent)
    return found


@law
def a_map_ends_with_its_last_child(story: Story) -> None:
    """A map is final only when all of its children are, unless its process vanished; a failed child never hides."""
    for visit in story.run.visits.values():
        if visit.width is None or not visit.state.final or visit.state.name is N.CRASHED:
            continue
        states = [story.run.visits[VisitId(visit.id.task, visit.id.visit, i)].state for i in range(visit.width)]
        assert all(s.final for s in states)
        if any(s.type in (StateType.FAILED, StateType.CRASHED) for s in states):
            assert visit.state.type is not StateType.COMPLETED


def _essence(run: Run) -> tuple[object, ...]:
    visits = {v.id: {**v.__dict__, "version": None} for v in run.visits.values()}
    return visits, run.state.name, +Counter(run.tally), run.active


@law
def unrelated_events_commute(story: Story) -> None:
    """Two events in a row of visits that share nothing downstream may come in either order."""
    for first, second in pairwise(story.steps):
        a, b = first.event, second.event
        if not (isinstance(a, ev.TaskEvent) and isinstance(b, ev.TaskEvent)):
            continue
        if ev.TaskPlanned in (type(a), type(b)) or first.before.state.final or first.after.state.final:
            continue
        if _downstream(story.run, a.visit) & _downstream(story.run, b.visit):
            continue
        middle, early = step(first.before, b)
        end, late = step(middle, a)
        assert _essence(end) == _essence(second.after)
        assert Counter(early) + Counter(late) == Counter(first.effects) + Counter(second.effects)


@pytest.mark.parametrize("name", LAWS)
def test_the_law_holds(name: str) -> None:
    """The law holds in every one of the shared stories."""
    for number in range(SHARED):
        try:
            LAWS[name](told(number))
        except Exception as error:
            error.add_note(f"in story {number}: {told(number).events}")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
@more
@given(stories)
def test_the_law_holds_in_stories_that_are_looked_for(name: str, story: Story) -> None:
    """The law holds in hundreds of stories of its own, and the shortest that breaks it is shown."""
    LAWS[name](story)


def test_stories_reach_every_state_that_the_machine_makes() -> None:
    """The simulation is worth its name: its stories visit every state that some move leads to."""
    waiting = {N.SCHEDULED, N.LATE, N.QUEUED, N.SUSPENDED, N.LOOPED}
    visits = set(N) - waiting - {N.OPEN, N.VALIDATION_FAILED}
    runs = set(RUN_EDGES) - {N.PENDING}
    for number in range(300):
        story = told(number)
        visits -= {v.state.name for one in story.steps for v in one.after.visits.values()}
        runs -= {one.after.state.name for one in story.steps}
        if not visits | runs:
            break
    assert not visits | runs
