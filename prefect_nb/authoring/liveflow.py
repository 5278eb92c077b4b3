"""The kernel's notebook as a flow: its document, namespace and, from the first task on, its store and run.

Nothing is opened before the first task (loading the extension writes nothing). Knows the shell, where requests come
from and what they carry; not how a cell is run (the runner) and not how a run is shown (the views).
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from prefect_nb.authoring.document import CellInfo, Document
from prefect_nb.authoring.foresight import Foresight
from prefect_nb.authoring.interrupts import Interrupts
from prefect_nb.authoring.keys import own_key
from prefect_nb.authoring.namespace import Namespace
from prefect_nb.authoring.upkeep import Upkeep
from prefect_nb.core import events as ev
from prefect_nb.core.states import StateName
from prefect_nb.engine.recovery import Opening, open_session
from prefect_nb.engine.session import Session
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Store
from prefect_nb.results.vault import Vault
from prefect_nb.wiring import Place, find_place, new_run_id, now, open_vault, quota, start_store

__all__ = ["LiveFlow", "Request"]


class Request:
    """What came with the execute request that runs now.

    Attributes
    ----------
    cell_id : str
        The front end's id of the cell, empty where there is none.
    ours : mapping
        What the headless runner or the page's extension added for us.
    """

    def __init__(self, shell: Any) -> None:
        metadata = _metadata(shell)
        self.cell_id = str(metadata.get("cellId") or "")
        ours = metadata.get("prefect_nb")
        self.ours: Mapping[str, Any] = ours if isinstance(ours, Mapping) else {}


def _metadata(shell: Any) -> Mapping[str, Any]:
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return {}
    parent = kernel.get_parent("shell") if hasattr(kernel, "get_parent") else shell.parent_header
    metadata = parent.get("metadata") if isinstance(parent, Mapping) else None
    return metadata if isinstance(metadata, Mapping) else {}


class LiveFlow:
    """The flow of one kernel; used by the kernel's main thread, read by the views' threads.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell whose cells become tasks.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.interrupts = Interrupts()
        self.where = "threads"
        self.document = Document(self._transform, self._available)
        self.ns = Namespace(shell.user_ns, self.load)
        self.executed: set[str] = set()
        self.turns: dict[str, int] = {}
        self.shapes: dict[str, str] = {}
        self.left: dict[str, frozenset[str]] = {}
        self.rests: dict[str, Mapping[str, Any]] = {}
        self.forced: set[str] = set()
        self.skips: set[str] = set()
        self.failed: dict[str, Mapping[str, Any]] = {}
        self.remark = ""
        self.mode = "live"
        self.cell_id = ""
        self.unchanged: Callable[[CellInfo], bool] = lambda cell: False
        self.on_open: Callable[[Session], None] = lambda session: None
        self.expect: Callable[[str], None] = lambda cell_id: None
        self.follow: Callable[[Any, bool], Callable[[], None]] | None = None
        self._gone: set[str] = set()
        self._permits = count(1)
        self._ordinals = count(1)
        self._place: Place | None = None
        self._notebook: Path | None = None
        self._store: Store | None = None
        self._vault: Vault | None = None
        self._session: Session | None = None
        self._opening = threading.RLock()
        self._start: dict[str, Any] = {}
        self._described: Mapping[str, Any] = {}
        self.foresight = Foresight(lambda: self.store)
        self._calls: dict[str, Any] = {}
        self._worker = self._next = ""
        self._upkeep = Upkeep(lambda: self._vault, quota())

    # --- what a request carries ------------------------------------------------------------------------------------

    def arrived(self, raw: str) -> CellInfo:
        """Take note of a cell that is about to run."""
        self.mend()
        request = Request(self.shell)
        if "mode" in request.ours and self._session is None:
            self._start = dict(request.ours)
            self.mode = str(request.ours["mode"])
        if isinstance(request.ours.get("document"), list):
            self.set_document(request.ours["document"])
        known_as = request.cell_id or self.cell_id
        if known_as and self.document.cell(known_as) is None:
            self.expect(known_as)
        self._forget_gone()
        return self.document.seen(known_as or self._own_id(raw), raw)

    def _forget_gone(self) -> None:
        """Names of cells that left the notebook go with them, now that nothing runs."""
        while self._gone:
            gone = self._gone.pop()
            if self.document.cell(gone) is None:
                self.ns.forget_cell(gone)

    def _own_id(self, raw: str) -> str:
        """An id where the front end gives none.

        Equal text may be the same cell again or another one further down. It is taken for the same only where that
        makes no difference: nothing below it touched what it uses, and a task would see the very inputs that it saw.
        """
        known = next((c for c in reversed(self.document.cells) if c.source == raw), None)
        if known is not None and self.document.undisturbed(known) and (known.spec is None or self.unchanged(known)):
            return known.id
        return f"run-{next(self._ordinals)}"

    def set_document(self, rows: list[Mapping[str, Any]], path: str = "") -> None:
        """Take over the page's list of cells; from any thread, so the namespace is left to the next execution."""
        before = {c.id for c in self.document.cells} if self.document.order_known else set()
        self.document.replace(rows)
        self._gone |= before - {c.id for c in self.document.cells}
        self.describe()

    def describe(self) -> None:
        """Send the graph to the run, if it changed."""
        if self._session is None:
            return
        plain = self.document.to_plain()
        if plain is not self._described and plain != self._described:
            self._described = plain
            self._session.describe(plain)

    # --- the parts that open late ----------------------------------------------------------------------------------

    @property
    def opened(self) -> bool:
        """Whether the run is open."""
        return self._session is not None

    @property
    def place(self) -> Place:
        """Where the store lies."""
        if self._place is None:
            self._place = find_place(self.notebook.parent)
        return self._place

    @property
    def notebook(self) -> Path:
        """The notebook's path, or a stand-in in the working directory where nobody tells."""
        if self._notebook is not None:
            return self._notebook
        named = self._start.get("notebook") or os.environ.get("JPY_SESSION_NAME")
        named = named or self.shell.user_ns.get("__vsc_ipynb_file__") or ""
        path = Path(str(named)) if str(named).endswith(".ipynb") else Path("session.ipynb")
        path = path if path.is_absolute() else Path.cwd() / path.name
        if self.opened:  # from then on it is the run's
            self._notebook = path
        return path

    @property
    def name(self) -> str:
        """The flow's name: the notebook's path below the store's root, without its ending."""
        if self._session is not None:
            return self._session.run.flow
        try:
            return self.notebook.resolve().relative_to(self.place.root).with_suffix("").as_posix()
        except ValueError:
            return self.notebook.stem

    @property
    def store(self) -> Store:
        """The store, opened at first use."""
        if self._store is None:
            self._store = start_store(self.place)
            atexit.register(self.close)
        return self._store

    @property
    def vault(self) -> Vault:
        """Where values are written and read."""
        if self._vault is None:
            self._vault = open_vault(self.store, self.place)
        return self._vault

    @property
    def session(self) -> Session:
        """The run, opened or taken over at first use."""
        if self._session is None:
            with self._opening:  # a call in another thread may be the first to need it
                if self._session is None:
                    self._open(fresh=False)
        assert self._session is not None
        return self._session

    def mend(self) -> None:
        """Open the run again after the engine or its store broke; does nothing while they work.

        What had become durable is there again; what had not is lost, and was never shown as done.
        """
        session = self._session
        if session is None or session.failure is None:
            return
        session.close()
        self._session = None
        try:
            self.store.run(session.run.id)
        except StoreError:
            self.store.close()
            self._store = self._vault = None
        self.foresight.forget()

    def _open(self, *, fresh: bool) -> None:
        start = self._start
        self._next = self._next or self.store.open_worker("kernel", self.name)  # again the same after a failure
        opening = Opening(
            flow=self.name,
            notebook=str(self.notebook),
            live=self.mode == "live",
            worker=self._next,
            new_id=str(start.get("run") or new_run_id(now())),
            parameters=start.get("parameters") or {},
            resume=start.get("resume") or None,
            fresh=fresh,
            former=self._worker,
        )
        self._session, self.remark = open_session(self.store, opening, now)
        self._worker, self._next = self._next, ""
        self._described = {}
        self.describe()
        self._upkeep.watch(self._session)
        self.on_open(self._session)

    def renew(self) -> str:
        """End the run and begin a new one; its id."""
        if self._session is not None:
            self._session.ask(ev.RunClosed(at=now(), actor="person"))
            self._session.close()
        self.executed.clear()
        self._open(fresh=True)
        return self.session.run.id

    def finish(self, *, interrupted: bool = False) -> None:
        """End a headless run; what was not reached becomes NotRun, unless a person or a time is waited for."""
        if self._session is not None and not self._session.run.closed:
            visits = self._session.run.visits.values()
            waits = any(v.state.name in (StateName.PAUSED, StateName.RESUMING) for v in visits)
            self._session.ask(ev.RunClosed(at=now(), interrupted=interrupted or waits))

    def close(self) -> None:
        """Let everything posted become durable and let go of the store; the run stays as it is."""
        if self._session is not None:
            self._session.close()
        if self._store is not None:
            self._store.close()
        self._session = self._store = self._vault = None

    def cell_label(self, filename: str) -> str | None:
        """What people call the code in a file of the shell's: ``Cell In[3]``."""
        label = self.shell.compile.format_code_name(filename) if self.shell else None
        return f"{label[0]} {label[1]}" if label else None

    def foresee(self, cell: CellInfo) -> None:
        """A task cell is about to be looked up: ask the store for what that will take."""
        if self._session is not None and cell.spec is not None:
            last = self._session.run.visit(cell.spec.name)
            self.foresight.ask(own_key(cell.code), (cell.spec.name, self.name), last.key if last is not None else "")

    def learned(self, code_key: str, key: str) -> None:
        """An entry is on its way into the store."""
        self.foresight.learned(code_key, key)

    def number_call(self, name: str) -> int:
        """The visit number of a function that a plain cell calls."""
        last = self.session.run.visit(name)
        numbers = self._calls.setdefault(name, count(1 if last is None else last.id.visit + 1))
        number: int = next(numbers)
        return number

    # --- small things ------------------------------------------------------------------------------------------------

    def permit(self) -> int:
        """A number for one entry of one body in this kernel, so that a late interrupt hits nothing else."""
        return next(self._permits)

    def load(self, address: str) -> dict[str, Any]:
        """The values that are stored under an address, by name."""
        stored = self.vault.load(address, namespace=self.shell.user_ns)
        return dict(stored["values"]) if isinstance(stored, dict) else {}

    def _transform(self, body: str) -> str:
        return str(self.shell.transform_cell(body))

    def _available(self) -> frozenset[str]:
        return frozenset(n for n in self.shell.user_ns if self.ns.writer(n) is None)
