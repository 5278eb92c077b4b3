"""A store opened for a command: found, swept of the dead, and asked for one run.

Knows the store's protocol, recovery and the view model; must not know terminals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from prefect_nb.core.events import Event
from prefect_nb.core.fold import fold
from prefect_nb.core.run import Run
from prefect_nb.core.states import StateType
from prefect_nb.engine.recovery import sweep
from prefect_nb.errors import StoreError, StoreReadOnly, UsageError
from prefect_nb.protocols import RunRow, Store
from prefect_nb.views.artifacts import gauged, gauges_of
from prefect_nb.views.build import build
from prefect_nb.views.model import RunView, ViewModel
from prefect_nb.wiring import Place, find_place, now, open_store

__all__ = ["Opened", "Told", "flow_name", "place_of", "run_view"]


def place_of(store: str) -> Place:
    """The place that a command's ``--store`` names, or the working directory's."""
    if not store:
        return find_place(Path.cwd())
    folder = Path(store).expanduser().resolve()
    return Place(folder, folder.parent) if (folder / "state.db").is_file() else find_place(folder)


def flow_name(notebook: Path, place: Place) -> str:
    """A notebook's flow, as its kernel names it: the path below the store's root, without its ending."""
    try:
        return notebook.resolve().relative_to(place.root).with_suffix("").as_posix()
    except ValueError:
        return notebook.stem


@dataclass(frozen=True, slots=True)
class Told:
    """One run with its events."""

    row: RunRow
    events: Sequence[Event]
    run: Run
    model: ViewModel


class Opened:
    """A store that exists, with a truthful record: runs whose process died are marked before anything is read.

    Parameters
    ----------
    place : Place
        Where it lies.

    Raises
    ------
    StoreError
        If there is none, or it cannot be read.
    """

    def __init__(self, place: Place) -> None:
        if not (place.folder / "state.db").is_file():
            raise StoreError(
                f"there is no store at {place.folder}",
                hint="a store comes into being with the first task; --store PATH names another one",
                path=str(place.folder),
            )
        self.place = place
        self.store: Store = open_store(place.folder)
        self.sweep()

    def sweep(self) -> None:
        """Mark what died; nothing is written where nobody did."""
        store = self.store
        active = [r for r in store.runs(limit=200) if not StateType(r.type).final and r.state != "Paused"]
        if all(store.alive(row.worker) for row in active):
            return
        try:
            sweep(store, store.open_worker("cli", ""), now)
        except StoreReadOnly:
            return  # a store that we may only look at is shown as it is

    def find(self, run: str = "", *, flow: str = "") -> RunRow:
        """A run by its id or the beginning of it; the latest one by default.

        Raises
        ------
        UsageError
            If there is none.
        """
        if run:
            row = self.store.run(run)
            if row is None:
                raise UsageError(f"there is no run {run!r} in {self.store.location}", hint="prefect-nb runs lists them")
            return row
        rows = self.store.runs(flow=flow, limit=1)
        if not rows:
            raise UsageError(f"there is no run in {self.store.location} yet", hint="prefect-nb run NOTEBOOK makes one")
        return rows[0]

    def tell(self, row: RunRow) -> Told:
        """Everything about a run, folded from its events."""
        numbered = self.store.events(row.run)
        events = [event for _, event in numbered]
        run = fold(events)
        seq = numbered[-1][0] if numbered else 0
        model = build(run, row.graph, seq=seq, store=self.store.location, notebook=row.notebook)
        gauges = {} if run.state.final else gauges_of(self.store.logs(row.run, artifacts=True))
        return Told(row, events, run, gauged(model, run, gauges))

    def task(self, told: Told, name: str) -> str:
        """The name of a task of that run.

        Raises
        ------
        UsageError
            Naming the tasks that there are.
        """
        known = [node.id for node in told.model.nodes if node.kind != "plain"]
        if name in known:
            return name
        raise UsageError(f"run {told.row.run} has no task {name!r}", hint="its tasks: " + ", ".join(known[:40]))

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def __enter__(self) -> Opened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run_view(row: RunRow) -> RunView:
    """A run's row as views show it."""
    return RunView(
        id=row.run,
        flow=row.flow,
        notebook=row.notebook,
        state=row.state,
        type=row.type,
        message=row.message,
        live=row.live,
        started_at=row.created_at,
        ended_at=row.ended_at,
    )
