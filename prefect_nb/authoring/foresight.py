"""Earlier results of a cell, asked for as it arrives, so that the store answers while its key is still being computed.

Knows the store's questions and how long an answer may be kept; must not know what follows from an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from prefect_nb.errors import StoreError
from prefect_nb.protocols import AsksAhead, Entry, Store

__all__ = ["Foresight"]

_KNOWN_S = 2.0  # other processes write too
_AHEAD_S = 0.1  # an early answer is worth no more than one that was asked for a moment ago


class Foresight:
    """What one kernel knows of the keys in its store, and what it has asked ahead; for the kernel's main thread.

    Parameters
    ----------
    store : callable
        Gives the store.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self._keys: dict[str, tuple[float, set[str]]] = {}
        self._codes: dict[str, str] = {}
        self._ahead: dict[tuple[str, str], Callable[[], list[Any]]] = {}
        self._asked_at = 0.0

    def ask(self, code_key: str, task: tuple[str, str], last_key: str) -> None:
        """Ask for what a task with this code, and most likely its last key, will want to know.

        Parameters
        ----------
        code_key : str
            What its code alone says.
        task : tuple of str
            Its name and its flow.
        last_key : str
            The key of its last visit, empty if there is none.
        """
        store = self._store()
        if not isinstance(store, AsksAhead):
            return
        name, flow = task
        again = bool(last_key) and self._codes.get(name) == code_key
        self._codes[name] = code_key
        self._ahead = {}
        self._asked_at = time.monotonic()
        known = self._known(code_key)
        with suppress(StoreError):  # whoever asks in earnest is told
            if known is None:
                self._ahead["keys", code_key] = store.ask_keys(code_key)
            if again and (known is None or last_key in known):
                self._ahead["key", last_key] = store.ask_entries(key=last_key)
            else:
                self._ahead["task", name] = store.ask_entries(task=name, flow=flow, limit=1)

    def entries(self, code_key: str, key: str) -> list[Entry]:
        """Earlier results under a key, newest first. Keys of one code are fetched once and then known for a while."""
        if not key:
            return []
        known = self._known(code_key)
        if known is None:
            early = self._taken("keys", code_key)
            known = {*self._keys.get(code_key, (0.0, ()))[1], *(early or partial(self._store().keys, code_key))()}
            self._keys[code_key] = time.monotonic(), known
        if key not in known:
            return []
        early = self._taken("key", key)
        return early() if early is not None else self._store().entries(key=key)

    def nearest(self, name: str, flow: str) -> list[Entry]:
        """The newest earlier result of a task under any key, for explanations."""
        early = self._taken("task", name)
        return early() if early is not None else self._store().entries(task=name, flow=flow, limit=1)

    def learned(self, code_key: str, key: str) -> None:
        """An entry is on its way into the store."""
        self._keys.setdefault(code_key, (0.0, set()))[1].add(key)

    def forget(self) -> None:
        """The store was opened anew."""
        self._keys.clear()
        self._ahead = {}

    def _known(self, code_key: str) -> set[str] | None:
        asked_at, known = self._keys.get(code_key, (0.0, set[str]()))
        return known if asked_at and time.monotonic() - asked_at <= _KNOWN_S else None

    def _taken(self, what: str, name: str) -> Callable[[], list[Any]] | None:
        """An early answer, which serves once."""
        early = self._ahead.pop((what, name), None)
        return early if time.monotonic() - self._asked_at <= _AHEAD_S else None
