"""Earlier calls of one function: fetched from the store in one request, then known in the kernel.

A call asks nothing of the store while nobody else wrote to it. After somebody did, what is known only says which keys
are worth asking about, until all is fetched anew, at most every two seconds. Calls of this kernel are known from the
moment they are on their way into the store. Knows the store; not how a result is chosen.
"""

from __future__ import annotations

import threading

from prefect_nb.protocols import Entry, Recalled, Recalls, ResultRow, Store

__all__ = ["Past"]

_KNOWN_S = 2.0
_ROWS = 20_000
_OWN = 4096

Earlier = list[tuple[Entry, ResultRow | None]]


class Past:
    """What is known of the calls of one code; safe from any thread.

    Parameters
    ----------
    store : Store
        Where they are recorded.
    code_key : str
        The code.
    """

    def __init__(self, store: Store, code_key: str) -> None:
        self.store = store
        self.code_key = code_key
        self._source = store if isinstance(store, Recalls) else None  # asked here once: it costs as much as a key
        self._lock = threading.Lock()
        self._recalled = Recalled(frozenset(), lambda key: [], True)
        self._changes = -1
        self._fetched_at = float("-inf")
        self._keys: set[str] = set()
        self._own: dict[str, Earlier] = {}

    def earlier(self, key: str, at: float) -> Earlier:
        """Entries under a key, newest first, with the small results that are known; `at` is the time now."""
        source = self._source
        if source is None:
            return [(entry, None) for entry in self.store.entries(key=key)]
        changes = source.changes
        if changes != self._changes and abs(at - self._fetched_at) > _KNOWN_S:
            self._fetch(source, at)
        if key not in self._keys:
            return []
        if changes == self._changes and (known := self._own.get(key) or self._recalled.entries(key)):
            return known
        return [(entry, None) for entry in self.store.entries(key=key)]

    def learned(self, entry: Entry, row: ResultRow) -> None:
        """A call of this kernel ended well; its entry is on its way into the store."""
        with self._lock:
            self._keys.add(entry.key)
            self._own[entry.key] = [(entry, row)]
            if len(self._own) > _OWN:
                del self._own[next(iter(self._own))]

    def _fetch(self, source: Recalls, at: float) -> None:
        changes = source.changes  # before the question, so that a change meanwhile is seen the next time
        recalled = source.recall(self.code_key, limit=_ROWS)
        keys = set(recalled.keys)
        if not recalled.complete:
            keys.update(self.store.keys(self.code_key))
        with self._lock:
            self._keys = keys | self._own.keys()  # what is still on its way is asked for by its key
            self._own = {}
            self._recalled, self._changes, self._fetched_at = recalled, changes, at
