"""A clock to turn by hand, and what every store must do.

Knows the protocols and the core only; imports no test framework. A check is a function of an empty, open store that
raises :class:`AssertionError`; :func:`check_store` runs all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import wait
from queue import Empty, SimpleQueue

from prefect_nb.core.artifacts import STREAM
from prefect_nb.core.events import BodyEntered, BodyReturned, ErrorInfo, RunAttached, RunOpened, TaskPlanned
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Commit, Entry, Expect, LogChunk, ResultRow, RunRow, Signal, Store, VisitRow
from prefect_nb.testing.slots import SLOT_CHECKS

__all__ = ["STORE_CHECKS", "FakeClock", "check_store", "entry", "opening", "planning", "run_row", "visit_row"]

_PATIENCE_S = 20.0


class FakeClock:
    """A clock that moves only when told: seconds since the epoch.

    Parameters
    ----------
    start : float
        What it shows first.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._guard = threading.Lock()

    def __call__(self) -> float:
        """Read the time."""
        with self._guard:
            return self._now

    def advance(self, seconds: float) -> float:
        """Move forward (or, with a negative number, back); the new time."""
        with self._guard:
            self._now += seconds
            return self._now


def run_row(run: str = "r1", worker: str = "w", *, created_at: float = 1.0, flow: str = "flow") -> RunRow:
    """A live, open run."""
    return RunRow(
        run, flow, "a.ipynb", True, "Open", "RUNNING", "", created_at, None, worker, {"n": [1, "é"]}, {"g": {}}
    )


def visit_row(visit: VisitId, *, run: str = "r1", version: int = 1, token: int = 0, type: str = "PENDING") -> VisitRow:
    """A visit at a version and token."""
    result = "d" * 64 if type == "COMPLETED" else ""
    return VisitRow(run, visit, "cell", type.title(), type, "", version, token, 0, 1, result=result)


def opening(run: str = "r1", worker: str = "w", *, created_at: float = 1.0, flow: str = "flow") -> Commit:
    """The append that opens a run."""
    event = RunOpened(at=created_at, run=run, flow=flow, live=True, worker=worker, parameters={"n": [1, "é"]})
    return Commit(run, events=(event,), run_row=run_row(run, worker, created_at=created_at, flow=flow))


def planning(visit: VisitId, run: str = "r1") -> Commit:
    """The append that plans a visit: it must not exist yet."""
    event = TaskPlanned(at=2.0, visit=visit, spec=TaskSpec(visit.task), upstream=(VisitId("up"),), cell="c1")
    return Commit(run, events=(event,), expect=(Expect(visit, 0, 0),), visit_rows=(visit_row(visit, run=run),))


def entry(key: str = "k", *, manifest: str = "m", result: str = "d", created_at: float = 1.0) -> Entry:
    """A reusable result of task `a`."""
    read = ({"kind": "file", "name": manifest, "digest": "1"},) if manifest else ()
    return Entry(key, "code", "a", "flow", "r1", result, created_at, 0.5, read, (("code", "body", "x"),))


def _accept(store: Store, *commits: Commit) -> list[int]:
    receipts = [future.result(_PATIENCE_S) for future in [store.append(commit) for commit in commits]]
    for receipt in receipts:
        assert receipt.accepted, receipt
    return [receipt.seq for receipt in receipts]


def _refuse(store: Store, commit: Commit) -> str:
    receipt = store.append(commit).result(_PATIENCE_S)
    assert not receipt.accepted, f"{commit} was accepted"
    assert receipt.refusal, "a refusal says why"
    return receipt.refusal


A, B = VisitId("a"), VisitId("b", 2, 7)


def keeps_what_was_appended(store: Store) -> None:
    """Rows, events, logs and results come back equal, numbered without gaps and in order."""
    error = ErrorInfo("ValueError", "no \ud800 \0 café", ("ValueError",)).to_plain()
    rich = VisitRow(
        *("r1", B, "cell", "Failed", "FAILED", "why", 3, 2, 1, 4, "key", "res", A, "c9", 1.5, 2.5, 3.5, 1.0, 9.0),
        *("r0", 4.0, 0.25, {"code": "first"}, error),
    )
    chunks = tuple(LogChunk(visit, 1, "stdout", text, 1.0) for visit, text in ((A, "one\n"), (B, "2\0"), (A, "three")))
    row = ResultRow("d" * 64, 3, "plain", b"\0\xff1", 0.5)
    seqs = _accept(store, opening(), planning(A), Commit("r1", visit_rows=(rich,), logs=chunks, results=(row,)))
    assert seqs == [1, 2, 2], seqs
    assert store.run("r1") == run_row()
    assert store.visits("r1") == [visit_row(A), rich]
    assert [(n, type(e).__name__) for n, e in store.events("r1")] == [(1, "RunOpened"), (2, "TaskPlanned")]
    assert store.events("r1", after=1) == [(2, planning(A).events[0])]
    assert store.logs("r1") == list(chunks)
    assert store.logs("r1", "a") == [chunks[0], chunks[2]]
    assert store.result("d" * 64) == row
    assert store.result("e" * 64) is None
    assert store.check() == []


def keeps_the_newest_artifact(store: Store) -> None:
    """Of each artifact the newest version alone is kept, apart from the log; a log's own lines are never replaced."""

    def chunk(visit: VisitId, stream: str, text: str) -> LogChunk:
        return LogChunk(visit, 1, stream, text, 1.0)

    first = tuple(chunk(v, s, "old") for v in (A, B) for s in (f"{STREAM}one", f"{STREAM}two", "stdout"))
    newer = chunk(A, f"{STREAM}one", "new"), chunk(A, "stdout", "more")
    _accept(store, opening(), planning(A), Commit("r1", logs=first), Commit("r1", logs=newer))
    kept = [(c.visit, c.stream, c.text) for c in store.logs("r1", artifacts=True)]
    mine = [(A, f"{STREAM}one", "new"), (A, f"{STREAM}two", "old")]
    assert kept == [*mine, *((B, f"{STREAM}{name}", "old") for name in ("one", "two"))], kept
    assert [(c.visit, c.stream, c.text) for c in store.logs("r1", "a", artifacts=True)] == mine
    assert [(c.visit, c.text) for c in store.logs("r1")] == [(A, "old"), (B, "old"), (A, "more")]


def answers_in_order(store: Store) -> None:
    """A burst of appends is applied in the order of the calls, each number once."""
    futures = [store.append(opening())]
    futures += [store.append(Commit("r1", events=(RunAttached(at=float(n), worker="w"),))) for n in range(150)]
    wait(futures, _PATIENCE_S)
    assert [future.result(0).seq for future in futures] == list(range(1, 152))
    assert [event.at for _, event in store.events("r1", after=1)] == [float(n) for n in range(150)]


def refuses_what_is_stale(store: Store) -> None:
    """An append based on another version or token changes nothing at all, and its neighbours are not hurt."""
    running = visit_row(A, version=2, token=1, type="RUNNING")
    _accept(store, opening(), planning(A))
    entered = Commit("r1", (BodyEntered(at=3.0, visit=A, token=1),), (Expect(A, 1, 0),), visit_rows=(running,))
    _accept(store, entered)
    before = (store.visits("r1"), store.events("r1"))
    log = (LogChunk(A, 1, "stdout", "lost", 1.0),)
    stale = [
        entered,
        planning(A),
        Commit("r1", (BodyReturned(at=4.0, visit=A, token=1),), (Expect(A, 2, 0),), logs=log),
        Commit("r1", (BodyReturned(at=4.0, visit=A, token=2),), (Expect(A, 2, 2),), entries=(entry(),)),
        Commit("r1", (), (Expect(A, 2, 1), Expect(B, 1, 0)), run_row=run_row(worker="thief")),
        Commit("r1", planning(B).events, (Expect(A, 2, 1),), logs=log, after=2),
        Commit("r1", planning(B).events, (Expect(A, 2, 1),), logs=log, after=4),
    ]
    for commit in stale:
        _refuse(store, commit)
    assert (store.visits("r1"), store.events("r1")) == before
    assert store.logs("r1") == []
    assert store.entries() == []
    found = store.run("r1")
    assert found is not None
    assert found.worker == "w"
    _accept(store, Commit("r1", expect=(Expect(A, 2, 1), Expect(B, 0, 0)), after=3))


def records_one_success(store: Store) -> None:
    """A second success of a visit is refused, even by an append that expects nothing; the same one again is not."""
    done = visit_row(A, version=3, token=1, type="COMPLETED")
    _accept(store, opening(), planning(A), Commit("r1", visit_rows=(done,)), Commit("r1", visit_rows=(done,)))
    _refuse(store, Commit("r1", visit_rows=(visit_row(A, version=4, token=2, type="COMPLETED"),)))
    assert store.visits("r1") == [done]
    second = VisitId("a", 2)
    _accept(store, Commit("r1", visit_rows=(visit_row(second, token=2, type="COMPLETED"),)))


def guards_the_owner(store: Store) -> None:
    """Only the owner's appends are taken, and an owner changes only if nobody was faster."""
    _refuse(store, planning(A))
    _accept(store, opening(worker="w1"))
    assert not store.take_run("r1", "w3", "w2")
    assert store.take_run("r1", "w2", "w1")
    assert not store.take_run("r1", "w3", "w1")
    assert not store.take_run("r9", "w3", "w1")
    assert "w2" in _refuse(store, Commit("r1", run_owner="w1", run_row=run_row(worker="w1")))
    _accept(store, Commit("r1", run_owner="w2", run_row=run_row(worker="w2")))


def finds_runs(store: Store) -> None:
    """Runs come newest first, by flow, and by an unambiguous beginning of their id."""
    times = {"aa1": 1.0, "ab2": 3.0, "ab3": 2.0}
    _accept(store, *(opening(name, created_at=at, flow="f" + name[0]) for name, at in times.items()))
    assert [row.run for row in store.runs()] == ["ab2", "ab3", "aa1"]
    assert [row.run for row in store.runs(limit=1)] == ["ab2"]
    assert store.runs(flow="g") == []
    assert len(store.runs(flow="fa")) == 3
    assert [getattr(store.run(name), "run", None) for name in ("aa", "ab2", "zz", "")] == ["aa1", "ab2", None, None]
    raised = ""
    try:
        store.run("ab")
    except StoreError as error:
        raised = str(error)
    assert "ab" in raised, "an ambiguous beginning was accepted"


def keeps_several_manifests(store: Store) -> None:
    """A key keeps its newest eight manifests; an equal one is replaced; a declared unfit entry says so."""
    ten = tuple(entry(manifest=f"m{n}", created_at=float(n)) for n in range(10))
    _accept(store, opening(), Commit("r1", entries=ten))
    assert [e.created_at for e in store.entries(code_key="code")] == [float(n) for n in range(9, 1, -1)]
    _accept(store, Commit("r1", entries=(entry(manifest="m5", created_at=50.0), entry("other", manifest=""))))
    found = store.entries(flow="flow", task="a")
    assert [e.created_at for e in found] == [1.0, 50.0, 9.0, 8.0, 7.0, 6.0, 4.0, 3.0, 2.0]
    assert found[1] == entry(manifest="m5", created_at=50.0)
    assert store.entries(task="b") == []
    assert len(store.entries(limit=2)) == 2
    assert store.invalidate("k") == 8
    assert store.invalidate("k") == 0
    assert [e.key for e in store.entries() if not e.invalid] == ["other"]


def delivers_wishes_once(store: Store) -> None:
    """Each wish reaches its run's watcher once and in order, also one that was left before the watch began."""
    worker = store.open_worker("test", "tester")
    _accept(store, opening(worker=worker))
    heard: SimpleQueue[Signal] = SimpleQueue()
    store.signal(Signal("r1", "cancel", "a", "me", 1.0))
    store.signal(Signal("r2", "cancel", "a", "me", 1.0))
    store.watch("r1", heard.put)
    first = heard.get(timeout=_PATIENCE_S)
    assert (first.run, first.kind, first.task, first.actor, first.at) == ("r1", "cancel", "a", "me", 1.0)
    said = {"note": "ok \udcff", "value": {"n": 3}}
    store.signal(Signal("r1", "approve", "b", "me", 2.0, detail=said))
    assert heard.get(timeout=_PATIENCE_S).detail == said
    store.signal(Signal("r1", "skip", "b", "me", 2.0))
    store.signal(Signal("r1", "cancel-run"))
    assert [heard.get(timeout=_PATIENCE_S).kind for _ in range(2)] == ["skip", "cancel-run"]
    try:
        raise AssertionError(f"a wish came twice: {heard.get(timeout=0.15)}")
    except Empty:
        pass


def keeps_wishes_until_they_are_answered(store: Store) -> None:
    """Who watches a run next hears what no append has answered, and only that."""
    _accept(store, opening(worker=store.open_worker("test", "tester")))
    heard: SimpleQueue[Signal] = SimpleQueue()
    for task in "abc":
        store.signal(Signal("r1", "cancel", task))
    store.watch("r1", heard.put)
    wishes = [heard.get(timeout=_PATIENCE_S) for _ in range(3)]
    _accept(store, Commit("r1", wishes=(wishes[1].id,)))
    _refuse(store, Commit("r1", wishes=(wishes[0].id,), after=99))
    again: SimpleQueue[Signal] = SimpleQueue()
    store.watch("r1", again.put)
    assert [again.get(timeout=_PATIENCE_S) for _ in range(2)] == [wishes[0], wishes[2]]
    assert heard.empty()


def knows_its_workers(store: Store) -> None:
    """A worker lives while its store is open; a worker nobody opened does not."""
    worker, other = store.open_worker("kernel", "one"), store.open_worker("kernel", "one")
    assert worker != other
    assert store.alive(worker)
    assert store.alive(other)
    assert not store.alive("nobody")


def evicts_what_is_cheap(store: Store) -> None:
    """Room is made by dropping what costs least per byte; what an unfinished run uses goes last, entries with it."""
    quota = store.usage().quota
    third = quota // 3
    rows = {name: ResultRow(name * 64, third, "x", None, cost) for name, cost in (("a", 9.0), ("b", 5.0), ("d", 1.0))}
    used = visit_row(A, type="COMPLETED")
    _accept(store, opening(), Commit("r1", results=tuple(rows.values()), entries=(entry(result="b" * 64),)))
    _accept(store, Commit("r1", visit_rows=(used,)))
    assert store.usage().results == third * 3
    assert list(store.evict()) == []
    assert list(store.evict(third)) == ["b" * 64]
    assert store.result("b" * 64) is None
    assert store.entries() == []
    assert list(store.evict(quota)) == ["a" * 64, "d" * 64]
    assert (store.usage().results, store.usage().runs) == (0, 1)


def refuses_when_closed(store: Store) -> None:
    """A closed store gives errors of ours, and may be closed again."""
    _accept(store, opening())
    store.close()
    store.close()
    error = store.append(planning(A)).exception(_PATIENCE_S)
    assert isinstance(error, StoreError), error


STORE_CHECKS: tuple[Callable[[Store], None], ...] = (
    keeps_what_was_appended,
    keeps_the_newest_artifact,
    answers_in_order,
    refuses_what_is_stale,
    records_one_success,
    guards_the_owner,
    finds_runs,
    keeps_several_manifests,
    delivers_wishes_once,
    keeps_wishes_until_they_are_answered,
    knows_its_workers,
    evicts_what_is_cheap,
    refuses_when_closed,
    *SLOT_CHECKS,
)


def check_store(factory: Callable[[], Store]) -> None:
    """Run every check, each on a fresh empty store from `factory`, and close it.

    Raises
    ------
    AssertionError
        Naming the promise that was broken.
    """
    for check in STORE_CHECKS:
        store = factory()
        try:
            check(store)
        finally:
            store.close()
