"""Ordered fan-out of durable states to observers; a bad observer is reported, never fatal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from prefect_nb.core.artifacts import Artifact, Gauge
from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.spool import Shown

__all__ = ["Bus"]

_log = logging.getLogger("prefect_nb")


class Bus:
    """Observers of a run; they are called in the engine's thread and must not block.

    Attributes
    ----------
    run : Run
        The last durable state: what may be shown.
    """

    def __init__(self, run: Run | None = None) -> None:
        self.run = run or Run()
        self._lock = threading.Lock()
        self._observers: list[Callable[[Run], None]] = []
        self._shown: dict[VisitId, dict[str, Shown]] = {}

    def subscribe(self, observer: Callable[[Run], None]) -> Callable[[], None]:
        """Call `observer` with every durable state from now on; the return value ends that."""
        with self._lock:
            self._observers.append(observer)

        def unsubscribe() -> None:
            with self._lock:
                if observer in self._observers:
                    self._observers.remove(observer)

        return unsubscribe

    def publish(self, run: Run) -> None:
        """Tell every observer."""
        self.run = run
        with self._lock:
            observers = list(self._observers)
        for observer in observers:
            try:
                observer(run)
            except Exception:  # the border: a view's fault must not stop a run
                _log.exception("an observer of run %s failed", run.id)

    def shown(self, shown: Shown) -> None:
        """A body made an artifact or changed it: observers look again, at the same run."""
        with self._lock:
            self._shown.setdefault(shown.visit, {})[shown.artifact.name] = shown
        self.publish(self.run)

    def gauges(self) -> dict[VisitId, Gauge]:
        """What bodies of this process told of themselves last; from any thread."""
        found = {}
        with self._lock:
            boards = [(visit, list(board.values())) for visit, board in self._shown.items()]
        for visit, board in boards:
            last = max((shown.artifact for shown in board), key=lambda made: made.at)
            progress = [shown.artifact for shown in board if shown.artifact.kind == "progress"]
            newest = max(progress, key=lambda made: made.at, default=None)
            others = (shown.changes for shown in board if shown.artifact.kind != "progress")
            found[visit] = Gauge(last.attempt, newest, sum(others))
        return found

    def board(self, visit: VisitId) -> list[Artifact]:
        """A visit's artifacts as they are now, whether they are stored yet or not."""
        with self._lock:
            return [shown.artifact for shown in self._shown.get(visit, {}).values()]

    def trouble(self, error: Exception) -> None:
        """Report a fault of the engine or its store, once, where people look for it."""
        _log.error("%s", error)
