"""The values of a run's visits that are held in memory, up to a size; what is stored may be dropped and read again.

Whoever asks gets a value of its own. Knows values; nothing about how they come to be.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from prefect_nb.analysis.values import is_immutable, size_of
from prefect_nb.authoring.copies import own
from prefect_nb.authoring.ground import Values, namespace_of
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import ResultUnavailable

__all__ = ["Holdings", "stored_value"]

_HELD_BYTES = 512 << 20
_SMALL = 64


class Holdings:
    """Values by visit; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[VisitId, tuple[Any, int]] = OrderedDict()
        self._pinned: dict[VisitId, Any] = {}
        self._held = 0

    def keep(self, visit: VisitId, value: Any, *, stored: bool) -> None:
        """Hold a value; one that is not stored anywhere stays."""
        size = _SMALL if is_immutable(value) else size_of(value)
        with self._lock:
            if not stored:
                self._pinned[visit] = value
                return
            self._values[visit] = value, size
            self._held += size
            while self._held > _HELD_BYTES and len(self._values) > 1:
                self._held -= self._values.popitem(last=False)[1][1]

    def find(self, visit: VisitId) -> tuple[Any] | None:
        """The value, in a tuple of one; None if it is not held."""
        with self._lock:
            held = (self._pinned[visit],) if visit in self._pinned else self._values.get(visit)
        return None if held is None else (own(held[0]),)


def stored_value(ground: Values, visit: VisitId, address: str) -> Any:
    """The value of a visit, from the result storage."""
    stored = ground.vault.load(address, namespace=namespace_of(ground))
    if not isinstance(stored, dict) or "call" not in stored:
        raise ResultUnavailable(f"what is stored for {visit} is not the result of a call")
    return stored["call"]
