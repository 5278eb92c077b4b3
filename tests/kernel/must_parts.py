"""A small notebook in a real kernel: its cells by id, run one by one or all, and what their bodies left in a ledger."""

from __future__ import annotations

import contextlib
import queue
import select
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Notebook", "hear", "said", "states", "stored_as", "table"]

_LEDGER = """
def keep(path):
    import os
    from prefect_nb.authoring.body import Body
    ledger, run = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY), Body.run
    async def noted(self, *args, **more):
        os.write(ledger, (self._raw_cell.split()[1] + ' ').encode())
        return await run(self, *args, **more)
    Body.run = noted
keep({!r})
del keep
"""
"""Has every entry of a task cell's body noted in a file; from below the body, so that purity is judged as always."""


def said(word: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a message is text with that word."""
    return lambda message: message["msg_type"] == "stream" and word in message["content"]["text"]


def states(kernel: Any) -> dict[str, str]:
    """The state of each task as ``%flow status`` shows it."""
    return table(kernel.run("%flow status").text())


def table(text: str) -> dict[str, str]:
    """The state of each task in a status table."""
    lines = text.splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("───"))
    return {parts[0]: parts[1] for line in lines[head + 1 :] if len(parts := line.split()) > 1}


def hear(kernel: Any, wanted: Callable[[dict[str, Any]], bool], limit: float = 20.0) -> dict[str, Any]:
    """The first message, whatever cell it belongs to, that satisfies `wanted`; of those kept, then of those to come."""
    ends = time.monotonic() + limit
    while not (found := [message for message in kernel.others if wanted(message)]):
        assert time.monotonic() < ends, "nothing of the kind was heard"
        with contextlib.suppress(queue.Empty):
            kernel.others.append(kernel.client.get_iopub_msg(timeout=0.2))
    return dict(found[0])


def stored_as(folder: Path, task: str, state: str) -> None:
    """Return when the store in a folder says that a task is in a state; another process's view of it."""
    path, ends = f"file:{folder / '.prefect_nb' / 'state.db'}?mode=ro", time.monotonic() + 20.0
    found: list[str] = []
    while time.monotonic() < ends:
        with contextlib.closing(sqlite3.connect(path, uri=True)) as connection:
            found = [row[0] for row in connection.execute("SELECT state FROM visit WHERE task = ?", (task,))]
        if state in found:
            return
        select.select([], [], [], 0.01)
    raise AssertionError(f"{task} is {found}, not {state}")


class Notebook:
    """Cells in their order.

    Parameters
    ----------
    kernel : Kernel
        Where they run.
    folder : Path
        Where the ledger lies.
    """

    def __init__(self, kernel: Any, folder: Path) -> None:
        self.kernel = kernel
        self.ledger = folder / "ledger.txt"
        self.cells: dict[str, str] = {}

    def load(self) -> None:
        """Load the extension, as the first cell does, and open the ledger."""
        assert self.kernel.run("%load_ext prefect_nb", "load").ok
        assert self.kernel.run(_LEDGER.format(str(self.ledger)), silent=True, store_history=False).ok

    def run(self, cell: str, source: str | None = None) -> Any:
        """Execute one cell, edited first if there is a source."""
        if source is not None:
            self.cells[cell] = source
        return self.kernel.run(self.cells[cell], cell)

    def all(self) -> dict[str, Any]:
        """Run All: every cell in order, until one fails."""
        done = {}
        for cell in self.cells:
            done[cell] = self.run(cell)
            if not done[cell].ok:
                break
        return done

    def ran(self) -> list[str]:
        """Which bodies ran since the last question."""
        words = self.ledger.read_text().split() if self.ledger.exists() else []
        self.ledger.write_text("")
        return words

    def why(self, task: str) -> str:
        """What ``%flow why`` says."""
        return str(self.kernel.run(f"%flow why {task}").text())
