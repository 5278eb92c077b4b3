"""Cells under a limit: they wait as Queued inside their request, hear Stop, and go on when a slot is free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, states, stored_as

from prefect_nb import open_store

pytestmark = pytest.mark.kernel


def test_a_cell_waits_for_a_slot_and_can_be_stopped(kernel: Any, tmp_path: Path) -> None:
    """With a limit of 0 Stop cancels a waiting cell; when the limit is raised the next one goes on by itself."""
    notebook = Notebook(kernel, tmp_path)
    notebook.load()
    assert notebook.run("free", "%%task free\nfree = 1").ok
    store: Any = open_store(tmp_path)
    try:
        store.set_limit("db", 0)
        request = kernel.send("%%task query --tags db\nquery = free + 1\nquery", cell_id="query")
        stored_as(tmp_path, "query", "Queued")
        kernel.interrupt()
        assert not kernel.wait(request, limit=15).ok
        assert states(kernel)["query"] == "Cancelled"
        request = kernel.send("%%task query --tags db\nquery = free + 1\nquery", cell_id="query")
        stored_as(tmp_path, "query", "Queued")
        store.set_limit("db", 1)
        assert kernel.wait(request, limit=15).result == "2"
        assert store.slots_used() == {"db": 0}
    finally:
        store.close()
    assert notebook.ran() == ["free", "query"]
