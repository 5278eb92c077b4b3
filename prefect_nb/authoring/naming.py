"""The names of the visits of one run: the second call of ``clean`` is ``clean-2``; a resumed run counts visits on."""

from __future__ import annotations

import threading
from collections import Counter

from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId

__all__ = ["Names"]


class Names:
    """Gives each call a visit of its own; safe from any thread.

    Parameters
    ----------
    before : Run
        The run as it was opened.
    """

    def __init__(self, before: Run) -> None:
        self._before = before
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()
        self._used: set[str] = set()

    def next(self, task: str) -> VisitId:
        """The next visit of a task."""
        name = task
        with self._lock:
            while name in self._used:
                self._numbers[task] += 1
                name = f"{task}-{self._numbers[task] + 1}"
            self._used.add(name)
        before = self._before.visit(name)
        return VisitId(name, 1 if before is None else before.id.visit + 1)
