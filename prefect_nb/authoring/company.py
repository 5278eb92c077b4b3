"""What a body leaves running when it ends: threads and asyncio tasks of its own.

Whatever it left behind may change while they run, so such a result is not kept. Knows threads and asyncio only.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

__all__ = ["Company"]

_HARMLESS = ("prefect_nb", "TMonitor", "IPythonHistorySavingThread", "IOPub", "Heartbeat", "Control")


class Company:
    """A context manager around one body.

    Attributes
    ----------
    threads : list of Thread
        Started inside and still alive at the end.
    words : str
        What still runs, for people; empty if nothing does.
    """

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.words = ""
        self._threads: set[int] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Self:
        self._threads = {id(t) for t in threading.enumerate()}
        self._tasks = _tasks()
        return self

    def __exit__(self, *exc: object) -> None:
        new = [t for t in threading.enumerate() if id(t) not in self._threads and t.is_alive()]
        self.threads = [t for t in new if not _harmless(t)]
        tasks = [t for t in _tasks() - self._tasks if not t.done()]
        found = [f"thread {t.name}" for t in self.threads] + [f"asyncio task {t.get_name()}" for t in tasks]
        self.words = ", ".join(found[:3])


def _harmless(thread: threading.Thread) -> bool:
    return thread.name.startswith(_HARMLESS) or type(thread).__name__ == "TMonitor"


def _tasks() -> set[asyncio.Task[Any]]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:
        return set()
