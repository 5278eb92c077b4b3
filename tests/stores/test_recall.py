"""One code's calls in one answer, and when that answer no longer holds."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from prefect_nb.authoring.recall import Past
from prefect_nb.protocols import Commit, ResultRow
from prefect_nb.stores.process import ProcessStore
from prefect_nb.stores.sqlite import SqliteStore
from prefect_nb.testing import entry, opening

PATIENCE_S = 20.0
SMALL = ResultRow("d", 3, "plain", b"abc", 0.5)


def accept(store: ProcessStore | SqliteStore, commit: Commit) -> None:
    """Append, and see it accepted."""
    assert store.append(commit).result(PATIENCE_S).accepted


def wait_for(changed: Callable[[], bool]) -> None:
    """Return when something from another process has arrived."""
    end = time.monotonic() + PATIENCE_S
    while not changed():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_code_is_recalled_with_its_small_results(start: Callable[..., ProcessStore]) -> None:
    """Every entry comes newest first, a small result with it, a large one without."""
    store = start()
    large = ResultRow("large", 1 << 20, "pickle", None, 1.0)
    newer = entry("k", manifest="n", result="large", created_at=2.0)
    accept(store, opening())
    accept(store, Commit("r1", results=(SMALL, large), entries=(entry(), entry("other"), newer)))
    recalled = store.recall("code", limit=10)
    assert recalled.complete
    assert recalled.keys == {"k", "other"}
    assert [(e.result, e.created_at, row) for e, row in recalled.entries("k")] == [
        ("large", 2.0, None),
        ("d", 1.0, SMALL),
    ]
    assert recalled.entries("unknown") == []
    few = store.recall("code", limit=2)
    assert (few.complete, len(few.entries("k")), len(few.entries("other"))) == (False, 1, 1)


def test_what_speaks_against_a_recall_is_told(
    start: Callable[..., ProcessStore], open_here: Callable[..., SqliteStore]
) -> None:
    """Another process's commit, an invalidation and an eviction count as changes; a commit of one's own does not."""
    store, other = start(), open_here()
    accept(store, opening())
    store.watch("r1", lambda wish: None)
    wait_for(lambda: store.changes > 0)
    before = store.changes
    accept(store, Commit("r1", results=(SMALL,), entries=(entry(),)))
    assert store.changes == before
    accept(other, Commit("r1", entries=(entry("other"),)))
    wait_for(lambda: store.changes > before)
    before = store.changes
    store.invalidate("k")
    assert store.changes == before + 1
    assert store.evict(store.usage().quota)
    assert store.changes == before + 2


@pytest.mark.parametrize("by", ["the kernel", "another process"])
def test_an_invalidation_is_believed_at_once(
    start: Callable[..., ProcessStore], open_here: Callable[..., SqliteStore], by: str
) -> None:
    """What a kernel remembers of a call never outlives somebody's word that it is unfit."""
    store, other = start(), open_here()
    accept(store, opening())
    store.watch("r1", lambda wish: None)
    wait_for(lambda: store.changes > 0)
    past = Past(store, "code")
    assert past.earlier("k", 100.0) == []
    accept(store, Commit("r1", results=(SMALL,), entries=(entry(),)))
    past.learned(entry(), SMALL)
    assert past.earlier("k", 100.1) == [(entry(), SMALL)]
    before = store.changes
    (store if by == "the kernel" else other).invalidate("k")
    wait_for(lambda: store.changes > before)
    for at in (100.2, 103.0, 103.1):  # asked for by its key, then with all of its code, then known
        assert [e.invalid for e, _ in past.earlier("k", at)] == [True]


def test_another_kernels_calls_are_found(
    start: Callable[..., ProcessStore], open_here: Callable[..., SqliteStore]
) -> None:
    """Entries that another process wrote are known within two seconds of its commit."""
    store, other = start(), open_here()
    accept(store, opening())
    store.watch("r1", lambda wish: None)
    wait_for(lambda: store.changes > 0)
    past = Past(store, "code")
    assert past.earlier("k", 100.0) == []
    before = store.changes
    accept(other, Commit("r1", results=(SMALL,), entries=(entry(),)))
    wait_for(lambda: store.changes > before)
    assert [(e.key, row) for e, row in past.earlier("k", 102.5)] == [("k", SMALL)]
