"""Keeps the store's results under their bound, in the background, after results were stored.

Knows a session's count of stored bytes and the vault; not which results are worth keeping (the store does).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from prefect_nb.core.run import Run
from prefect_nb.engine.session import Session
from prefect_nb.errors import PrefectNBError
from prefect_nb.results.vault import Vault

__all__ = ["Upkeep"]

_STEP = 64 << 20
_MOMENT_S = 0.5


class Upkeep:
    """Evicts results when enough new ones were stored that the bound may be exceeded.

    Parameters
    ----------
    vault : callable
        Gives the vault, or None where nothing was stored yet.
    bound : int
        The quota in bytes; it is looked after each sixteenth of it, at most each 64 MiB.
    """

    def __init__(self, vault: Callable[[], Vault | None], bound: int) -> None:
        self._vault = vault
        self._step = min(_STEP, max(1, bound // 16))
        self._done = 0
        self._working = threading.Lock()
        self._tidying = threading.Lock()

    def watch(self, session: Session) -> None:
        """Look after what this session stores from now on."""
        self._done = 0
        session.bus.subscribe(lambda run: self._stored(session, run))

    def _stored(self, session: Session, run: Run) -> None:
        """In the engine's thread: count, and let another thread do the work."""
        if session.stored - self._done >= self._step and self._working.acquire(blocking=False):
            self._done = session.stored
            threading.Thread(target=self._evict, name="prefect_nb upkeep", daemon=True).start()

    def _evict(self) -> None:
        vault = None
        try:
            vault = self._vault()
            if vault is not None:
                vault.evict()
        except PrefectNBError:
            pass  # the store is gone or in trouble, which its other users are told; the bound is kept next time
        finally:
            self._working.release()
        if vault is not None and self._tidying.acquire(blocking=False):
            self._tidy(vault)

    def _tidy(self, vault: Vault) -> None:
        """See to files that were too young to go with their rows."""
        try:
            while vault.tidy():
                time.sleep(_MOMENT_S)
        except PrefectNBError:
            pass  # as above
        finally:
            self._tidying.release()
