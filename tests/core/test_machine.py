"""Moves one by one: given a state and an event, the next state and the orders."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import pytest
from simulation import ERROR, TIMEOUT, WHY, end_of_body

from prefect_nb.core import events as ev
from prefect_nb.core.effects import Claim, ClearTimer, Effect, Enter, Interrupt, Resolve, SetTimer, Settle
from prefect_nb.core.machine import step
from prefect_nb.core.moves import ILLEGAL, MOVES, TASK_EVENTS
from prefect_nb.core.policy import Retry, Trigger
from prefect_nb.core.run import Run, evolved
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import EDGES, State, StateName
from prefect_nb.errors import IllegalTransition

N = StateName
A, B, C, D = (VisitId(name) for name in "abcd")


def opened(live: bool = False) -> Run:
    return step(Run(), ev.RunOpened(at=0.0, run="r1", flow="f", live=live, worker="w0"))[0]


def planned(visit: VisitId = A, *upstream: VisitId, **options: object) -> ev.TaskPlanned:
    return ev.TaskPlanned(at=1.0, visit=visit, spec=TaskSpec(visit.task, **options), upstream=upstream)


def after(*events: ev.Event, run: Run | None = None) -> tuple[Run, tuple[Effect, ...]]:
    """The run after these events, and the orders of the last one."""
    run, effects = opened() if run is None else run, ()
    for event in events:
        run, effects = step(run, event)
    return run, effects


def keyed(visit: VisitId = A) -> ev.KeyResolved:
    return ev.KeyResolved(at=2.0, visit=visit, key="k", reason=WHY)


def entered(visit: VisitId = A, token: int = 1) -> ev.BodyEntered:
    return ev.BodyEntered(at=3.0, visit=visit, token=token)


def returned(visit: VisitId = A, token: int = 1) -> ev.BodyReturned:
    return ev.BodyReturned(at=4.0, visit=visit, token=token, result="res")


def running(visit: VisitId = A) -> tuple[ev.Event, ...]:
    return keyed(visit), entered(visit)


def succeeded(visit: VisitId = A) -> tuple[ev.Event, ...]:
    return *running(visit), returned(visit)


def raised(visit: VisitId = A, token: int = 1, error: ev.ErrorInfo = ERROR, retryable: bool = True) -> ev.BodyRaised:
    return ev.BodyRaised(at=4.0, visit=visit, token=token, error=error, retryable=retryable)


def cancel(visit: VisitId = A) -> ev.CancelRequested:
    return ev.CancelRequested(at=5.0, visit=visit, actor="ann")


def skip(visit: VisitId = A) -> ev.SkipRequested:
    return ev.SkipRequested(at=5.0, visit=visit, actor="ann", message="no data today")


def fired(kind: str, token: int = 1) -> ev.TimerFired:
    return ev.TimerFired(at=20.0, visit=A, token=token, kind=kind)


def crashed(token: int = 1) -> ev.BodyCrashed:
    return ev.BodyCrashed(at=4.0, visit=A, token=token, message="signal 11", code=-11)


def loops(token: int = 1) -> ev.BodyLooped:
    """The body asks for another iteration."""
    return ev.BodyLooped(at=9.0, visit=A, token=token, result="part")


def again(token: int) -> tuple[ev.TaskEvent, ...]:
    """The timer fires and the body is entered once more."""
    return fired("retry", token - 1), entered(A, token)


RETRYING = (*running(), raised())
REUSED = ev.ResultReused(at=2.0, visit=A, key="k", result="res", reason=WHY, source_run="r0", age_s=60.0, saved_s=9.0)
LOST = ev.WorkerLost(at=6.0, visit=A, last_seen=5.5)
END = [ClearTimer(A), Settle(A)]
PLAIN, TWICE, LIMIT = planned(), planned(retry=Retry(1, delay=10)), planned(timeout=7.0)

ASKS, ONCE = planned(approve=True), planned(once=True)
PAUSED = (ASKS, keyed())
YES = ev.VisitApproved(at=8.0, visit=A, actor="ann", note="fine", value={"ok": True})
APPROVED = (*PAUSED, YES)
PAUSES = ev.BodyPaused(at=9.0, visit=A, token=1, message="look", form={"ok": "bool"})
WAITS = ev.BodyPaused(at=9.0, visit=A, token=1, until=14.0, limit=12.0)
LOOPS = loops()
LATER = ev.BodyDeferred(at=9.0, visit=A, token=1, due=12.0)
CRASHED_ONCE = (*running(), crashed(), fired("retry"))
ASKED_ELSE = ev.KeyResolved(at=2.0, visit=A, key="k", reason=WHY, ask="its outcome is unknown")

CASES = [
    ("planned", [PLAIN], "Pending", [Resolve(A)]),
    ("key resolved", [PLAIN, keyed()], "Submitted", [Enter(A, 1, 1)]),
    ("reused", [PLAIN, REUSED], "Cached", END),
    ("entered", [PLAIN, *running()], "Running", []),
    ("entered with a limit", [LIMIT, *running()], "Running", [SetTimer(A, 1, "timeout", 10.0)]),
    ("returned", [PLAIN, *succeeded()], "Success", END),
    ("raised", [PLAIN, *running(), raised()], "Failed", END),
    ("raised with retries", [TWICE, *RETRYING], "Retrying", [ClearTimer(A), SetTimer(A, 1, "retry", 14.0)]),
    ("raised, its author says no", [TWICE, *running(), raised(retryable=False)], "Failed", END),
    ("wait over", [TWICE, *RETRYING, fired("retry")], "Submitted", [Enter(A, 2, 2)]),
    ("second failure", [TWICE, *RETRYING, fired("retry"), entered(A, 2), raised(A, 2)], "Failed", END),
    ("limit over", [LIMIT, *running(), fired("timeout")], "Running", [Interrupt(A, 1, "timeout")]),
    ("timed out", [LIMIT, *running(), fired("timeout"), raised(error=TIMEOUT)], "TimedOut", END),
    ("a time-out without a limit of ours", [PLAIN, *running(), raised(error=TIMEOUT)], "TimedOut", END),
    ("skipped by its body", [PLAIN, *running(), end_of_body(ev.BodySkipped, A, 1)], "Skipped", END),
    ("stopped by its body", [PLAIN, *running(), end_of_body(ev.BodyCancelled, A, 1)], "Cancelled", END),
    ("cancel while pending", [PLAIN, cancel()], "Cancelled", END),
    ("cancel while submitted", [PLAIN, keyed(), cancel()], "Cancelling", [Interrupt(A, 1, "cancel")]),
    ("cancel while running", [PLAIN, *running(), cancel()], "Cancelling", [Interrupt(A, 1, "cancel")]),
    ("cancel again", [PLAIN, *running(), cancel(), cancel()], "Cancelling", [Interrupt(A, 1, "cancel")]),
    ("cancel while retrying", [TWICE, *RETRYING, cancel()], "Cancelled", END),
    ("entered though cancelling", [PLAIN, keyed(), cancel(), entered()], "Cancelling", [Interrupt(A, 1, "cancel")]),
    ("finished before the stop", [PLAIN, *running(), cancel(), returned()], "Success", END),
    ("raised while stopping", [TWICE, *running(), cancel(), raised()], "Cancelled", END),
    ("stopped", [PLAIN, *running(), cancel(), end_of_body(ev.BodyCancelled, A, 1)], "Cancelled", END),
    ("limit over while cancelling", [LIMIT, *running(), cancel(), fired("timeout")], "Cancelling", []),
    ("skip while pending", [PLAIN, skip()], "Skipped", END),
    ("skip while retrying", [TWICE, *RETRYING, skip()], "Skipped", END),
    ("worker lost while running", [TWICE, *running(), LOST], "Crashed", END),
    ("worker lost while cancelling", [PLAIN, *running(), cancel(), LOST], "Crashed", END),
    ("worker lost while retrying", [TWICE, *RETRYING, LOST], "Retrying", []),
    ("its own process dies", [PLAIN, *running(), crashed()], "Retrying", [ClearTimer(A), SetTimer(A, 1, "retry", 4.0)]),
    ("entered after a crash", [PLAIN, *CRASHED_ONCE], "Submitted", [Enter(A, 2, 2)]),
    ("a crash too many", [PLAIN, *CRASHED_ONCE, entered(A, 2), crashed(2)], "Crashed", END),
    ("no crash is forgiven", [planned(retry=Retry(5, crashes=0)), *running(), crashed()], "Crashed", END),
    ("a crash of what runs once", [ONCE, *running(), crashed()], "Crashed", END),
    (
        "a crash takes no retry",
        [TWICE, *CRASHED_ONCE, entered(A, 2), raised(A, 2)],
        "Retrying",
        [ClearTimer(A), SetTimer(A, 2, "retry", 14.0)],
    ),
    (
        "a failure forgives no crash",
        [planned(retry=Retry(1, crashes=0)), *RETRYING, fired("retry"), entered(A, 2), crashed(2)],
        "Crashed",
        END,
    ),
    ("a crash while it is stopped", [TWICE, *running(), cancel(), crashed()], "Cancelled", END),
    ("a late crash", [TWICE, *RETRYING, fired("retry"), entered(A, 2), crashed(1)], "Running", []),
    ("late after the retry", [TWICE, *RETRYING, returned()], "Retrying", []),
    ("late after the next permission", [TWICE, *RETRYING, fired("retry"), returned()], "Submitted", []),
    ("late after the next entry", [TWICE, *RETRYING, fired("retry"), entered(A, 2), returned()], "Running", []),
    ("late timer", [TWICE, *RETRYING, fired("retry"), fired("retry")], "Submitted", []),
    ("late after the end", [PLAIN, *running(), LOST, returned()], "Crashed", []),
    ("unfit", [PLAIN, *succeeded(), ev.TaskInvalidated(at=9.0, visit=A)], "Success", []),
    ("asks a person", [*PAUSED], "Paused", []),
    ("asks nobody when a result fits", [ASKS, REUSED], "Cached", END),
    ("asks because its outcome is unknown", [ONCE, ASKED_ELSE], "Paused", []),
    ("approved", [*APPROVED], "Resuming", [ClearTimer(A), Resolve(A)]),
    ("approved and asked for its key", [*APPROVED, keyed()], "Submitted", [Enter(A, 1, 1)]),
    ("cancelled while it waits for a person", [*PAUSED, cancel()], "Cancelled", END),
    ("skipped while it waits for a person", [*PAUSED, skip()], "Skipped", END),
    ("cancelled once approved", [*APPROVED, cancel()], "Cancelled", END),
    ("its kernel dies while it waits", [*PAUSED, LOST], "Paused", []),
    ("paused by its body", [PLAIN, *running(), PAUSES], "Paused", [ClearTimer(A)]),
    (
        "paused for a while, with a limit",
        [PLAIN, *running(), WAITS],
        "Paused",
        [ClearTimer(A), SetTimer(A, 1, "resume", 14.0), SetTimer(A, 1, "pause", 12.0)],
    ),
    ("its time has come", [PLAIN, *running(), WAITS, fired("resume")], "Resuming", [ClearTimer(A), Resolve(A)]),
    ("nobody answered in time", [PLAIN, *running(), WAITS, fired("pause")], "TimedOut", END),
    ("a late answer to the clock", [PLAIN, *running(), WAITS, fired("resume"), fired("pause")], "Resuming", []),
    ("goes on with its attempt", [PLAIN, *running(), PAUSES, YES, keyed()], "Submitted", [Enter(A, 2, 1)]),
    ("pauses while it is stopped", [PLAIN, *running(), cancel(), PAUSES], "Cancelled", END),
    ("late after the pause", [PLAIN, *running(), PAUSES, returned()], "Paused", []),
    ("asks to be tried again", [PLAIN, *running(), LATER], "Retrying", [ClearTimer(A), SetTimer(A, 1, "retry", 12.0)]),
    ("is tried again", [PLAIN, *running(), LATER, fired("retry")], "Submitted", [Enter(A, 2, 2)]),
    (
        "its policy's retries are still there",
        [TWICE, *running(), LATER, fired("retry"), entered(A, 2), raised(A, 2)],
        "Retrying",
        [ClearTimer(A), SetTimer(A, 2, "retry", 14.0)],
    ),
    ("ends an iteration", [PLAIN, *running(), LOOPS], "Looped", [ClearTimer(A), SetTimer(A, 1, "retry", 9.0)]),
    ("begins the next iteration", [PLAIN, *running(), LOOPS, fired("retry")], "Submitted", [Enter(A, 2, 2)]),
    (
        "an iteration has all its retries",
        [TWICE, *RETRYING, fired("retry"), entered(A, 2), loops(2), fired("retry", 2), entered(A, 3), raised(A, 3)],
        "Retrying",
        [ClearTimer(A), SetTimer(A, 3, "retry", 14.0)],
    ),
    (
        "and no more than those",
        [TWICE, *running(), LOOPS, *again(2), raised(A, 2), fired("retry", 2), entered(A, 3), raised(A, 3)],
        "Failed",
        END,
    ),
    ("cancelled between two iterations", [PLAIN, *running(), LOOPS, cancel()], "Cancelled", END),
    ("its kernel dies between two iterations", [PLAIN, *running(), LOOPS, LOST], "Looped", []),
    ("loops while it is stopped", [PLAIN, *running(), cancel(), LOOPS], "Cancelled", END),
    ("asks for a retry while it is stopped", [PLAIN, *running(), cancel(), LATER], "Cancelled", END),
]


@pytest.mark.parametrize(("events", "label", "effects"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_moves(events: list[ev.Event], label: str, effects: list[Effect]) -> None:
    """Each life leads to its state, and its last event gives exactly its orders."""
    run, orders = after(*events)
    assert (label, effects) == (run.visits[A].state.label, list(orders))


PAIRS = list(product(N, TASK_EVENTS))


def test_the_table_is_total() -> None:
    """Every pair of a state and an event is a move or is illegal with a wording, never both."""
    assert set(MOVES) | set(ILLEGAL) == set(PAIRS)
    assert not set(MOVES) & set(ILLEGAL)
    assert all(ILLEGAL.values())


def _sample(kind: type[ev.TaskEvent], token: int) -> list[ev.TaskEvent]:
    match kind.__name__:
        case "KeyResolved":
            return [keyed()]
        case "ResultReused":
            return [REUSED]
        case "BodyRaised":
            return [raised(token=token), raised(token=token, error=TIMEOUT)]
        case "TimerFired":
            return [fired(kind, token) for kind in ("retry", "timeout", "resume", "pause")]
        case "BodyLooped":
            return [ev.BodyLooped(at=9.0, visit=A, token=token, result="part")]
        case "BodyDeferred":
            return [ev.BodyDeferred(at=9.0, visit=A, token=token, due=12.0)]
        case "SlotsAnswered":
            return [ev.SlotsAnswered(at=9.0, visit=A, taken=taken) for taken in (True, False)]
        case "TriggerJudged":
            return [ev.TriggerJudged(at=9.0, visit=A, passed=passed) for passed in (True, False)]
        case "BodyCrashed" | "BodyEntered" | "BodyReturned" | "BodySkipped" | "BodyCancelled":
            return [kind(at=9.0, visit=A, token=token)]
        case "BodyPaused" | "LateResultRefused":
            return [kind(at=9.0, visit=A, token=token)]
    return [kind(at=9.0, visit=A)]


@pytest.mark.parametrize("name", N, ids=lambda n: n.label)
def test_every_pair_moves_along_an_edge_or_is_refused(name: StateName) -> None:
    """From each state, each event with a fresh or a stale permission stays, follows an edge, or raises."""
    run, _ = after(planned(retry=Retry(3)))
    visit = evolved(run.visits[A], state=State(name, 1.0, "", {"due": 9.0}), token=2, attempt=2)
    run = evolved(run, visits=run.visits.put(A, visit), tally={name: 1}, active=int(not name.final))
    run = evolved(run, state=State(N.RUNNING, 0.0))
    for kind, token in product(TASK_EVENTS, (1, 2)):
        for event in _sample(kind, token):
            if (name, kind) in ILLEGAL:
                with pytest.raises(IllegalTransition, match=name.label):
                    step(run, event)
                continue
            if name is N.SUBMITTED and token == 2 and kind in ev.BODY_ENDS and kind is not ev.BodyCancelled:
                with pytest.raises(IllegalTransition, match="its body has not begun"):
                    step(run, event)
                continue
            moved = step(run, event)[0].visits[A].state.name
            assert moved is name or moved in EDGES[name]
            assert not name.final or moved is name


def test_an_approval_is_on_record() -> None:
    """Who let a visit go on, when, in which words and with which answers, stays with it to its end."""
    run, _ = after(*APPROVED, keyed(), entered(), returned())
    assert run.visits[A].state.label == "Success"
    assert run.visits[A].approval == {"by": "ann", "at": 8.0, "note": "fine", "value": {"ok": True}}


def test_each_pause_asks_anew() -> None:
    """A body that pauses again after an answer waits again: the first answer is not one to the second question."""
    run, _ = after(PLAIN, *running(), PAUSES, YES, keyed(), entered(A, 2))
    run, _ = after(ev.BodyPaused(at=9.0, visit=A, token=2, message="sure?"), run=run)
    assert (run.visits[A].state.label, run.visits[A].approval) == ("Paused", None)


def test_only_a_pause_blocks_the_run() -> None:
    """A run whose every open visit waits for a person, or for one that does, is Paused; with anything else it runs."""
    run, _ = after(*PAUSED, planned(B, A))
    assert run.state.label == "Paused"
    run, _ = after(planned(C), run=run)
    assert run.state.label == "Running"
    run, _ = after(*succeeded(C), run=run)
    assert run.state.label == "Paused"


ITEM = [VisitId("a", 1, index) for index in range(3)]
OPENED_MAP = (PLAIN, ev.MapOpened(at=2.0, visit=A))
SEALED = ev.MapSealed(at=6.0, visit=A)


def child(index: int, **options: object) -> ev.TaskPlanned:
    return ev.TaskPlanned(at=3.0, visit=ITEM[index], spec=TaskSpec("a", **options), parent=A)


def failed(visit: VisitId) -> tuple[ev.Event, ...]:
    return *running(visit), raised(visit)


MAPS: list[tuple[str, list[ev.Event], str]] = [
    ("without children", [SEALED], "Success"),
    ("more may come", [child(0), *succeeded(ITEM[0])], "Mapped"),
    ("all ended well", [child(0), child(1), *succeeded(ITEM[1]), SEALED, *succeeded(ITEM[0])], "Success"),
    ("one failed", [child(0), child(1), SEALED, *failed(ITEM[0]), *succeeded(ITEM[1])], "Failed"),
    ("one failed, one still runs", [child(0), child(1), SEALED, *failed(ITEM[0]), *running(ITEM[1])], "Mapped"),
    ("all were skipped", [child(0), child(1), SEALED, skip(ITEM[0]), skip(ITEM[1])], "Skipped"),
    ("some were skipped", [child(0), child(1), SEALED, skip(ITEM[0]), *succeeded(ITEM[1])], "Success"),
    ("asked to stop", [child(0), *running(ITEM[0]), cancel()], "Cancelling"),
    ("stopped", [child(0), *running(ITEM[0]), cancel(), end_of_body(ev.BodyCancelled, ITEM[0], 1)], "Cancelled"),
    ("stopped before its first child", [cancel()], "Cancelled"),
]


@pytest.mark.parametrize(("events", "label"), [m[1:] for m in MAPS], ids=[m[0] for m in MAPS])
def test_a_map_is_what_its_children_are(events: list[ev.Event], label: str) -> None:
    """A map is Mapped until it is sealed and all its children have ended; one that failed is never hidden."""
    run, _ = after(*OPENED_MAP, *events)
    assert run.visits[A].state.label == label


def test_who_waits_for_a_map_sees_its_children() -> None:
    """A reduce is TriggerFailed by the child that failed, also if another one was skipped, and that child is named."""
    ends = (child(0), child(1), SEALED, skip(ITEM[0]), *failed(ITEM[1]))
    run, _ = after(*OPENED_MAP, planned(B, A), *ends)
    assert (run.visits[B].state.label, run.visits[B].state.data["cause"]) == ("TriggerFailed", "a[1] Failed")


def test_only_the_next_child_may_come() -> None:
    """Children are planned in order, and none once the supply was sealed while others still run."""
    for events in ([child(1)], [child(0), child(2)], [child(0), SEALED, child(1)]):
        with pytest.raises(IllegalTransition):
            after(*OPENED_MAP, *events)


def test_a_cached_visit_says_where_it_comes_from() -> None:
    """A reused result leaves its address, source, age and savings on the visit."""
    visit = after(PLAIN, REUSED)[0].visits[A]
    assert (visit.result, visit.cached_from, visit.cached_age_s, visit.saved_s) == ("res", "r0", 60.0, 9.0)
    assert visit.duration_s is None


def test_duration_runs_from_the_first_entry() -> None:
    """Waits between attempts count, time before the first entry does not."""
    run, _ = after(TWICE, *RETRYING, fired("retry"), entered(A, 2), ev.BodyReturned(at=34.0, visit=A, token=2))
    assert run.visits[A].duration_s == 31.0


# --- what is upstream ---------------------------------------------------------------------------------------------


def _end(visit: VisitId, how: str) -> tuple[ev.Event, ...]:
    return {
        "ok": succeeded(visit),
        "failed": (*running(visit), raised(visit)),
        "skipped": (skip(visit),),
        "cancelled": (cancel(visit),),
    }[how]


@pytest.mark.parametrize(
    ("first", "second", "label", "detail"),
    [
        ("ok", "ok", "Pending", None),
        ("skipped", "ok", "Skipped", "a"),
        ("ok", "skipped", "Skipped", "b"),
        ("skipped", "failed", "TriggerFailed", "b Failed"),
        ("failed", "skipped", "TriggerFailed", "a Failed"),
        ("cancelled", "ok", "TriggerFailed", "a Cancelled"),
        ("failed", "failed", "TriggerFailed", "a Failed"),
    ],
)
def test_triggers_hear_of_ends(first: str, second: str, label: str, detail: str | None) -> None:
    """A task waits for all its upstream, fails at once with a failed one and is skipped after a skipped one."""
    run, orders = after(PLAIN, planned(B), planned(C, A, B), *_end(A, first), *_end(B, second))
    visit = run.visits[C]
    assert label == visit.state.label
    assert detail == (visit.reason.detail if visit.reason else None)
    assert (Resolve(C) in orders) == (label == "Pending")


def test_the_root_cause_travels_down() -> None:
    """Everything below a failure names the task that failed, not the one before it."""
    run, orders = after(PLAIN, planned(B, A), planned(C, B), *running(), raised())
    assert [run.visits[v].state.data["cause"] for v in (B, C)] == ["a Failed"] * 2
    assert [ClearTimer(A), Settle(A), ClearTimer(B), Settle(B), ClearTimer(C), Settle(C)] == list(orders)


def test_what_hears_of_two_ends_at_once_is_let_go_once() -> None:
    """A failure that ends also what is between lets a task that heeds both begin one time."""
    plans = (planned(A), planned(B, A), planned(C, A, B, trigger=Trigger("all_finished")))
    run, _ = after(*plans, *failed(A)[:-1])
    run, effects = after(failed(A)[-1], run=run)
    assert run.visits[B].state.label == "TriggerFailed"
    assert effects.count(Resolve(C)) == 1


def test_a_long_chain_ends_without_recursion() -> None:
    """Two thousand tasks in a row, more than Python may nest calls, end with the first of them, in one step."""
    ids = [VisitId(f"t{i}") for i in range(2000)]
    run, _ = after(planned(ids[0]), *(planned(b, a) for a, b in pairwise(ids)))
    run, orders = after(skip(ids[0]), run=run)
    assert {"Skipped"} == {v.state.label for v in run.visits.values()}
    assert len(orders) == 4_000


def test_upstream_named_twice_counts_once() -> None:
    """A doubled edge neither hangs a task nor resolves it twice."""
    run, _ = after(PLAIN, planned(B, A, A))
    assert run.visits[B].upstream == (A,)
    _, orders = after(*succeeded(), run=run)
    assert orders.count(Resolve(B)) == 1


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([planned(B, C)], "b#1 waits for c#1, which was never planned"),
        ([planned(A, A)], "never planned"),
        ([PLAIN, PLAIN], "planned before"),
        ([keyed(D)], "never planned"),
        ([ev.RunClosed(at=1.0), PLAIN], "is closed"),
        ([ev.RunCancelRequested(at=1.0), PLAIN], "is closed"),
        ([ev.RunOpened(at=1.0, run="r2", flow="f", live=True, worker="w")], "opened before"),
        ([ev.RunClosed(at=1.0), ev.RunAttached(at=2.0, worker="w1")], "nothing to resume"),
    ],
)
def test_faults_of_the_caller_are_told(events: list[ev.Event], words: str) -> None:
    """What cannot happen raises with the run's story instead of moving something."""
    with pytest.raises(IllegalTransition, match=words):
        after(*events)


def test_nothing_happens_before_the_run_is_opened() -> None:
    """The first event of a run is RunOpened."""
    with pytest.raises(IllegalTransition, match="before the run was opened"):
        step(Run(), PLAIN)


# --- the run as a whole -------------------------------------------------------------------------------------------


def labels(run: Run) -> dict[str, str]:
    return {str(v.id): v.state.label for v in run.visits.values()}


WORK = (PLAIN, *succeeded(), planned(B, A, retry=Retry(1, delay=60)), planned(C, B), planned(D), *running(B))
CLOSE, INTERRUPT, GONE = (
    ev.RunClosed(at=50.0),
    ev.RunClosed(at=50.0, interrupted=True),
    ev.RunClosed(at=50.0, lost=True),
)
ATTACH = ev.RunAttached(at=60.0, worker="w1")
STOP = ev.RunCancelRequested(at=50.0, actor="ann")


@pytest.mark.parametrize("stop", [CLOSE, STOP], ids=["closed", "cancelled"])
def test_a_stop_reaches_everything(stop: ev.RunEvent) -> None:
    """What runs is interrupted, what waits is NotRun at once, not TriggerFailed; the last body ends the run."""
    run, orders = after(*WORK, stop)
    assert labels(run) == {"a#1": "Success", "b#1": "Cancelling", "c#1": "NotRun", "d#1": "NotRun"}
    assert Interrupt(B, 1, "cancel") in orders
    assert not run.state.final
    run, _ = after(end_of_body(ev.BodyCancelled, B, 1, 55.0), run=run)
    assert (run.state.label, run.ended_at, run.active) == ("Cancelled", 55.0, 0)


def test_a_body_that_outruns_the_stop_keeps_its_result() -> None:
    """Cancelling becomes Success when the body finished first; what was not reached still makes the run Cancelled."""
    run, _ = after(*WORK, CLOSE, returned(B))
    assert (run.visits[B].state.label, run.state.label) == ("Success", "Cancelled")


def test_a_live_run_that_is_cancelled_ends() -> None:
    """A cancelled live run is Cancelled once its bodies have stopped; it takes no further task."""
    run, _ = after(PLAIN, *running(), STOP, run=opened(live=True))
    assert run.state.label == "Cancelling"
    run, _ = after(planned(B), run=run)
    assert run.visits[B].state.label == "NotRun"
    run, _ = after(end_of_body(ev.BodyCancelled, A, 1), run=run)
    assert run.state.label == "Cancelled"


@pytest.mark.parametrize("late", [CLOSE, INTERRUPT, GONE, STOP])
def test_a_run_that_ended_stays_as_it_was(late: ev.RunEvent) -> None:
    """Nothing but another worker's attachment touches a final run."""
    for ended in (after(PLAIN, *succeeded(), CLOSE)[0], after(PLAIN, *running(), raised(), CLOSE)[0]):
        assert (ended, ()) == step(ended, late)


def test_an_interrupted_run_waits_and_goes_on() -> None:
    """Interrupted: what runs may end, nothing begins; attached again, each waiting visit gets its order once more."""
    run, orders = after(*WORK, INTERRUPT, returned(B))
    assert (run.state.label, *(run.visits[v].state.label for v in (B, C))) == ("Paused", "Success", "Pending")
    assert Resolve(C) not in orders
    assert (run, ()) == step(run, keyed(D))  # an answer that comes too late is asked for again
    run, orders = after(ATTACH, run=run)
    assert ([Resolve(C), Resolve(D)], "Running") == (list(orders), run.state.label)


def test_a_retry_keeps_its_due_time_over_a_restart() -> None:
    """A retry wait survives the loss of its worker and grants nothing meanwhile; then its timer grants the attempt."""
    run, _ = after(*WORK, raised(B), GONE)
    assert (run.state.label, run.visits[B].state.label) == ("Crashed", "Retrying")
    waiting = run.visits[B].state
    fires = ev.TimerFired(at=waiting.data["due"], visit=B, token=1, kind="retry")
    assert step(run, fires) == (run, ())
    run, orders = after(ATTACH, run=run)
    assert run.visits[B].state is waiting
    assert not any(isinstance(order, SetTimer) for order in orders)  # nobody there stands ready for the body yet
    assert step(run, fires)[1] == (Enter(B, 2, 2),)


def test_a_retry_that_nobody_takes_up_does_not_hold_the_run() -> None:
    """A wait that a new worker replaces by a new visit becomes NotRun at the end, and the run ends well."""
    run, _ = after(*WORK, raised(B), GONE, ATTACH)
    again = VisitId("b", 2)
    run, _ = after(planned(again, A), *succeeded(again), *succeeded(D), CLOSE, run=run)
    assert (run.visits[B].state.label, run.visits[C].state.label) == ("NotRun", "NotRun")
    assert run.state.final


def test_resuming_in_the_same_worker_sets_retry_timers_again() -> None:
    """A timer that fired while the run was interrupted is not lost."""
    run, _ = after(*WORK, raised(B), INTERRUPT)
    due = run.visits[B].state.data["due"]
    _, orders = after(ev.RunAttached(at=60.0, worker="w0"), run=run)
    assert SetTimer(B, 1, "retry", due) in orders


def test_what_ran_elsewhere_has_crashed() -> None:
    """Another worker's attachment voids permissions, and a crashed task goes on as a new visit."""
    run, orders = after(*WORK, ATTACH)
    assert labels(run) == {"a#1": "Success", "b#1": "Crashed", "c#1": "TriggerFailed", "d#1": "Pending"}
    assert Settle(B) in orders
    assert Resolve(D) in orders
    assert (run, ()) == step(run, returned(B))  # the zombie's result
    again, next_ = VisitId("b", 2), VisitId("c", 2)
    run, _ = after(
        planned(again, A), planned(next_, again), *succeeded(again), *succeeded(next_), *succeeded(D), CLOSE, run=run
    )
    assert run.state.label == "Success"


def test_the_same_worker_keeps_its_bodies() -> None:
    """Resuming in the same process does not crash what still runs there."""
    run, _ = after(*WORK, INTERRUPT, ev.RunAttached(at=60.0, worker="w0"))
    assert (run.visits[B].state.label, run.state.label) == ("Running", "Running")


def test_a_lost_run_has_no_bodies() -> None:
    """When a run is lost, what ran has crashed and what had not begun still waits."""
    run, _ = after(*WORK, GONE)
    assert labels(run) == {"a#1": "Success", "b#1": "Crashed", "c#1": "TriggerFailed", "d#1": "Pending"}
    assert run.state.label == "Crashed"


def test_losing_the_worker_of_a_cancelled_run_ends_it() -> None:
    """A cancelled run whose process died is Cancelled: there is nothing left to resume."""
    run, _ = after(*WORK, STOP, GONE)
    assert (run.state.label, run.visits[B].state.label) == ("Cancelled", "Crashed")


def test_a_failed_run_can_be_resumed() -> None:
    """Attaching reopens a failed run; its failed task gets a new visit and the run may still end well."""
    run, _ = after(PLAIN, *running(), raised(), CLOSE)
    assert run.state.label == "Failed"
    again = VisitId("a", 2)
    run, _ = after(ATTACH, planned(again), *succeeded(again), CLOSE, run=run)
    assert (run.state.label, run.visits[A].state.label) == ("Success", "Failed")


def test_a_map_whose_children_ended_by_a_crash_does_not_crash_too() -> None:
    """What ended because something before it crashed is not crashed once more, and is counted once."""
    child = ev.TaskPlanned(at=1.0, visit=VisitId("b", 1, 0), spec=TaskSpec("b"), upstream=(A,), parent=B)
    mapped = ev.MapOpened(at=2.0, visit=B), child, ev.MapSealed(at=2.0, visit=B)
    run, _ = after(planned(A), *running(A), planned(B), *mapped, planned(C), ATTACH)
    assert labels(run) == {"a#1": "Crashed", "b#1": "Failed", "b[0]#1": "TriggerFailed", "c#1": "Pending"}
    assert (run.active, run.stuck, +Counter(run.tally)) == (1, 0, Counter([N.CRASHED, N.FAILED, N.PENDING]))


def queued(visit: VisitId = A, *limits: str) -> ev.KeyResolved:
    return ev.KeyResolved(at=2.0, visit=visit, key="k", reason=WHY, limits=limits or ("db",))


def slots(visit: VisitId = A, message: str = "") -> ev.SlotsAnswered:
    return ev.SlotsAnswered(at=3.0, visit=visit, taken=not message, message=message)


def test_a_limit_is_waited_for_as_queued() -> None:
    """It says what it waits for since the same moment, enters when its slots were taken, and needs them again later."""
    run, effects = after(planned(retry=Retry(1)), queued(A, "api", "db"))
    assert (run.visits[A].state.message, effects) == ("waits for api, db", (Claim(A, ("api", "db")),))
    run, effects = after(slots(A, "waits for db: 3 of 3"), run=run)
    state = run.visits[A].state
    assert (state.name, state.message, state.at, effects) == (N.QUEUED, "waits for db: 3 of 3", 2.0, ())
    assert after(slots(A, "waits for db: 3 of 3"), run=run)[0] is run
    run, effects = after(slots(), run=run)
    assert (run.visits[A].state.name, run.visits[A].attempt, effects) == (N.SUBMITTED, 1, (Enter(A, 1, 1),))
    run, _ = after(entered(), ev.BodyRaised(at=4.0, visit=A, token=1, error=ERROR), run=run)
    run, effects = after(ev.TimerFired(at=9.0, visit=A, token=1, kind="retry", limits=("db",)), run=run)
    assert (run.visits[A].state.name, effects) == (N.QUEUED, (Claim(A, ("db",)),))
    assert after(slots(), run=run)[1] == (Enter(A, 2, 2),)


@pytest.mark.parametrize(
    ("wish", "end"), [(ev.CancelRequested, N.CANCELLED), (ev.SkipRequested, N.SKIPPED)], ids=["cancel", "skip"]
)
def test_a_queued_visit_ends_at_once(wish: type[ev.TaskEvent], end: StateName) -> None:
    """Nobody runs, so nobody has to be interrupted."""
    run, effects = after(planned(), queued(), wish(at=3.0, visit=A, actor="ann"))
    assert run.visits[A].state.name is end
    assert Settle(A) in effects


def test_a_body_that_was_let_go_on_keeps_its_attempt_in_the_queue() -> None:
    """The pause used up no attempt, whether or not a limit comes after it."""
    pause = ev.BodyPaused(at=4.0, visit=A, token=1, message="look")
    run, _ = after(planned(), *running(), pause, ev.VisitApproved(at=5.0, visit=A, actor="ann"), queued())
    assert after(slots(), run=run)[1] == (Enter(A, 2, 1),)


def test_a_closed_run_lets_nobody_in_from_the_queue() -> None:
    """Its worker asks again when it attaches, another one has to find a way of its own."""
    run, _ = after(planned(), queued(), ev.RunClosed(at=3.0, interrupted=True))
    assert after(slots(), run=run)[0] is run
    assert Claim(A, ("db",)) in after(ev.RunAttached(at=4.0, worker="w0"), run=run)[1]
    assert after(ev.RunAttached(at=4.0, worker="w1"), run=run)[1] == ()
