"""Artifacts of cells in a real kernel: on the page while the cell runs, in the terminal, and again on a hit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, hear, states

pytestmark = pytest.mark.kernel

BODY = """%%task work
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from prefect_nb import artifact
going = artifact.progress(1, 4, "loading")
artifact.table({"x": [1, 2]})
while not Path("go").exists():
    threading.Event().wait(0.005)
going.update(4, message="done")
with ThreadPoolExecutor() as pool:
    pool.submit(artifact.markdown, "from a **thread**").result()
del pool
"""
PURE = """%%task pure
from prefect_nb import artifact
going = artifact.progress(0, 10)
artifact.markdown("# Sum")
for n in range(10):
    going.update(n + 1)
"""


def far(words: str) -> Any:
    """Whether a message of the state comm tells of a node that is so far."""

    def told(message: dict[str, Any]) -> bool:
        data = message["content"].get("data", {})
        rows = (data.get("patch") or data.get("model") or {}).get("nodes", ())
        return any((row["progress"] or {}).get("text") == words for row in rows)

    return told


def test_a_cell_tells_how_far_it_is(kernel: Any, tmp_path: Path) -> None:
    """Progress reaches the page while the cell runs; a hit shows what was made; no key depends on any of it."""
    book = Notebook(kernel, tmp_path)
    book.load()
    kernel.run("%flow")
    request = kernel.send(BODY, cell_id="work")
    hear(kernel, far("1 of 4 · loading"))
    (tmp_path / "go").touch()
    assert kernel.wait(request).ok
    text = kernel.run("%flow artifacts work").text()
    assert "████████████████████████ 4 of 4 · done" in text
    assert "from a **thread**" in text
    for state in ("Success", "Cached"):
        assert kernel.run(PURE, "pure").ok
        assert states(kernel)["pure"] == state
        text = kernel.run("%flow artifacts pure").text()
        assert "# Sum" in text
        assert "10 of 10" in text
    late = kernel.run("going.update(3)")
    assert "after its task had ended" in late.errors[0]["evalue"]
    assert (
        "shows no artifacts"
        in kernel.run("%%task none\nx = 1", "none").text() + kernel.run("%flow artifacts none").text()
    )
