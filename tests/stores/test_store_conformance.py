"""Every store keeps the same promises."""

from __future__ import annotations

import pytest

from prefect_nb.stores.memory import MemoryStore
from prefect_nb.stores.process import ProcessStore
from prefect_nb.stores.sqlite import SqliteStore
from prefect_nb.testing import STORE_CHECKS, check_store

STORES = {
    "memory": lambda path: MemoryStore(quota=3000),
    "sqlite": lambda path: SqliteStore(path, quota=3000),
    "process": lambda path: ProcessStore(path, quota=3000),
}


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", STORES)
def test_store_keeps_promise(kind, check, tmp_path):
    """Each kind of store passes each check of the conformance suite."""
    store = STORES[kind](tmp_path / "store")
    try:
        check(store)
    finally:
        store.close()


def test_suite_sees_a_broken_store():
    """A store that forgets its refusals does not pass."""

    class Forgetful(MemoryStore):
        def _check(self, commit):
            return None

    with pytest.raises(AssertionError, match="was accepted"):
        check_store(lambda: Forgetful(quota=3000))
