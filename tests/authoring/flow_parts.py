"""Flows of functions for tests: a store of their own, tasks that note their entries, and gates to hold bodies with."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["PATIENCE_S", "Ledger"]

PATIENCE_S = 60.0


class Ledger:
    """Which bodies were entered, how often, and events that they wait for or set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries: Counter[str] = Counter()
        self._events: dict[str, threading.Event] = {}

    def enter(self, name: str) -> int:
        """Note an entry; how many there were."""
        with self._lock:
            self.entries[name] += 1
            return self.entries[name]

    def event(self, name: str) -> threading.Event:
        """The event of that name."""
        with self._lock:
            return self._events.setdefault(name, threading.Event())

    def wait(self, name: str) -> None:
        """Wait for an event, or fail."""
        assert self.event(name).wait(PATIENCE_S), f"{name} never happened"
