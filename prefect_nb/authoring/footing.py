"""Where runs of function flows live: the kernel's store where the extension is loaded, else the working folder's.

One store process for each place and process. Knows stores and vaults; nothing about flows.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from prefect_nb.analysis.origins import loaded
from prefect_nb.analysis.sources import trusted_text
from prefect_nb.authoring.calls import home
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Store
from prefect_nb.results.vault import Vault
from prefect_nb.wiring import Place, find_place, open_vault, start_store

__all__ = ["Footing", "footing"]


@dataclass(frozen=True, slots=True)
class Footing:
    """What runs stand on.

    Parameters
    ----------
    store, vault, place
        Where events and values go.
    shell : object
        The shell whose displays are recorded; None in a plain script.
    notebook : Path
        The notebook or script.
    label : callable
        What people call the code in a file of the shell's.
    """

    store: Store
    vault: Vault
    place: Place
    shell: Any
    notebook: Path
    label: Callable[[str], str | None]


_lock = threading.Lock()
_open: dict[tuple[int, Path], Footing] = {}


def footing() -> Footing:
    """What a run that begins now stands on.

    Raises
    ------
    StoreError
        If the store cannot be opened.
    """
    live = home()
    if live is not None:
        return Footing(live.store, live.vault, live.place, live.shell, live.notebook, live.cell_label)
    place = find_place(Path.cwd())
    with _lock:
        known = _open.get((os.getpid(), place.folder))
        if known is None or not _works(known.store):
            _trust_script()
            store = start_store(place)
            atexit.register(store.close)
            script = Path(getattr(sys.modules["__main__"], "__file__", None) or "session.py").resolve()
            known = Footing(store, open_vault(store, place), place, None, script, lambda filename: None)
            _open[os.getpid(), place.folder] = known
        return known


def _trust_script() -> None:
    """Let the script's own functions be analysed as a notebook's are, if its file is what was loaded."""
    main = sys.modules["__main__"]
    if not getattr(main, "__file__", None):
        return
    record = loaded(main)
    tasks = (getattr(value, "function", None) for value in list(vars(main).values()))
    codes = [f.__code__ for f in tasks if isinstance(f, FunctionType) and f.__code__.co_filename == record.file]
    if record.true and all(code in record.codes for code in codes):
        trusted_text(record.file, record.text)


def _works(store: Store) -> bool:
    try:
        store.run("-")
    except StoreError:
        return False
    return True
