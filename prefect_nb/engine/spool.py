"""Output on its way to the store: pieces of logs in order, and of each artifact only the version that is newest then.

Knows chunks and artifacts; must not know runs or stores. A session's thread alone takes and drains.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prefect_nb.core.artifacts import Artifact
from prefect_nb.core.spec import VisitId
from prefect_nb.protocols import LogChunk

__all__ = ["Shown", "Spool"]

_AT_LEAST_S = 0.5
_MANY = 256


class Shown:
    """One artifact of a body; it may change a million times a second, and is written down a few times.

    Parameters
    ----------
    visit : VisitId
        Whose it is.
    artifact : Artifact
        Its first version.
    """

    __slots__ = ("_waits", "artifact", "changes", "visit")

    def __init__(self, visit: VisitId, artifact: Artifact) -> None:
        self.visit = visit
        self.artifact = artifact
        self.changes = 1
        self._waits = False

    def put(self, artifact: Artifact) -> bool:
        """A newer version, from any thread; whether it has to be handed in."""
        self.artifact = artifact
        self.changes += 1
        return not self._waits

    def wait(self) -> None:
        """It was handed in."""
        self._waits = True

    def chunk(self) -> LogChunk:
        """What is written down; what comes after this call has to be handed in again."""
        self._waits = False  # first: a version that comes now is either read below or handed in again
        made = self.artifact
        return LogChunk(self.visit, made.attempt, made.stream, made.to_text(), made.at)


class Spool:
    """What waits to be written down.

    Parameters
    ----------
    tell : callable
        Told of each artifact that is handed in.
    """

    def __init__(self, tell: Callable[[Shown], None]) -> None:
        self._tell = tell
        self._items: list[LogChunk | Shown] = []
        self._since = 0.0

    def __bool__(self) -> bool:
        return bool(self._items)

    def take(self, item: LogChunk | Shown) -> None:
        """One more; an artifact that waits already is not taken twice."""
        if isinstance(item, Shown):
            self._tell(item)
            if item in self._items:
                return
        if not self._items:
            self._since = time.monotonic()
        self._items.append(item)

    @property
    def left_s(self) -> float:
        """How long they may still wait."""
        return max(0.0, self._since + _AT_LEAST_S - time.monotonic())

    @property
    def due(self) -> bool:
        """Whether they have waited long enough, or are many."""
        return bool(self._items) and (len(self._items) >= _MANY or not self.left_s)

    def drain(self) -> tuple[LogChunk, ...]:
        """All of them as they are now."""
        items, self._items = self._items, []
        return tuple(item.chunk() if isinstance(item, Shown) else item for item in items)
