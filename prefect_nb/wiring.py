"""Which concrete classes stand behind the protocols, and where things lie; the only place that names them."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from prefect_nb.errors import StoreReadOnly, UsageError
from prefect_nb.executors.processes import ProcessExecutor
from prefect_nb.protocols import Store
from prefect_nb.results.envelope import signing_key
from prefect_nb.results.storage import FileResults
from prefect_nb.results.vault import Vault
from prefect_nb.stores.process import ProcessStore
from prefect_nb.stores.sqlite import SqliteStore

__all__ = [
    "EXECUTORS",
    "Place",
    "executor_name",
    "find_place",
    "new_run_id",
    "now",
    "open_store",
    "open_vault",
    "processes",
    "quota",
    "start_store",
]

FOLDER = ".prefect_nb"
QUOTA = 10 * 2**30
EXECUTORS = ("threads", "processes")
"""Where bodies of function tasks may run, by the names that authors use; the first is the default."""

_processes: dict[int, ProcessExecutor] = {}
_opening = threading.Lock()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a notebook's store lies.

    Parameters
    ----------
    folder : Path
        The store's directory.
    root : Path
        The folder that the store belongs to; flows are named by their path below it.
    """

    folder: Path
    root: Path

    @property
    def results(self) -> Path:
        """Where large results lie."""
        return self.folder / "results"


def find_place(start: Path) -> Place:
    """The store for a notebook in folder `start`.

    ``PREFECT_NB_STORE`` if it names a folder; else the nearest ancestor's ``.prefect_nb``; else one in the project's
    root (``pyproject.toml`` or ``.git``); else one beside the notebook. Nothing is created.
    """
    named = os.environ.get("PREFECT_NB_STORE", "")
    start = start.resolve()
    if named:
        folder = Path(named).expanduser().resolve()
        return Place(folder, start if folder.parent not in (start, *start.parents) else folder.parent)
    ancestors = [start, *start.parents]
    for folder in ancestors:
        if (folder / FOLDER).is_dir():
            return Place(folder / FOLDER, folder)
    for folder in ancestors:
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return Place(folder / FOLDER, folder)
    return Place(start / FOLDER, start)


def start_store(place: Place) -> ProcessStore:
    """A kernel's store: a process of its own owns the database file."""
    return ProcessStore(place.folder, results=place.results, quota=quota())


def open_store(path: str | os.PathLike[str] | None = None, *, readonly: bool = False) -> Store:
    """A store for reading and commands, in this process; never use it inside a kernel.

    Parameters
    ----------
    path : path, optional
        A store's folder, or any folder below the one that has it; the working directory by default.
    readonly : bool
        Do not write, and accept a folder that cannot be written.

    Raises
    ------
    StoreError
        If there is none or it cannot be opened.
    """
    start = Path(path) if path is not None else Path.cwd()
    place = Place(start, start.parent) if (start / "state.db").is_file() else find_place(start)
    try:
        return SqliteStore(place.folder, results=place.results, quota=quota(), readonly=readonly)
    except StoreReadOnly:
        return SqliteStore(place.folder, results=place.results, quota=quota(), readonly=True)


def open_vault(store: Store, place: Place) -> Vault:
    """Where values of this store are written and read."""
    return Vault(store, FileResults(place.results), signing_key())


def executor_name(name: object) -> str:
    """The name of an executor, or none.

    Raises
    ------
    UsageError
        If there is no such executor.
    """
    if name is None or name == "":
        return ""
    if name not in EXECUTORS:
        raise UsageError(f"there is no executor {name!r}", hint=f"known are {', '.join(EXECUTORS)}")
    return str(name)


def processes() -> ProcessExecutor:
    """The worker processes of this process, shared by all its runs; the first body starts the first."""
    with _opening:
        return _processes.setdefault(os.getpid(), ProcessExecutor(os.cpu_count() or 1))


def quota() -> int:
    """The bound of the store's size in bytes: ``PREFECT_NB_QUOTA`` (bytes) or 10 GB."""
    text = os.environ.get("PREFECT_NB_QUOTA", "")
    return int(text) if text.isdigit() else QUOTA


def new_run_id(at: float) -> str:
    """A run's name: sortable by time, unique by chance."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(at)) + "-" + secrets.token_hex(3)


def now() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()


def interpreter() -> str:
    """The Python that runs this, for people."""
    return f"{sys.executable} ({sys.version_info[0]}.{sys.version_info[1]})"
