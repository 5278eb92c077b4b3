"""One headless run, from checked input to told end: the steps around the client that `prefect-nb run` takes.

Knows notebooks, parameters, the store and the client; must not know the command line or papermill's engines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from prefect_nb.apps import notebooks
from prefect_nb.apps.client import Ending, FlowClient, Launch
from prefect_nb.apps.files import write_text
from prefect_nb.apps.inject import inject
from prefect_nb.apps.opened import Opened, Told, flow_name
from prefect_nb.apps.params import declared, plain, settle
from prefect_nb.core.states import StateName, StateType
from prefect_nb.errors import NotebookError, UsageError
from prefect_nb.protocols import RunRow
from prefect_nb.views.progress import Progress
from prefect_nb.views.svg import to_svg
from prefect_nb.wiring import Place, find_place, new_run_id, now

__all__ = ["Job", "Outcome", "Wish", "prepare"]

_GRACE_S = 5.0
_SHARE = 10
"""Writing the output notebook may take one part in this many of the time."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for.

    Parameters
    ----------
    notebook : Path
        The input.
    out : Path, optional
        The output; by default beside the input.
    given : mapping
        Parameters as typed or read.
    kernel : str
        The kernel's name, empty for the notebook's own.
    resume : str
        Empty, ``"last"``, or a run's id.
    """

    notebook: Path
    out: Path | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    kernel: str = ""
    resume: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: the cells, the time, and the run's record (None where no task ever ran)."""

    ending: Ending
    seconds: float
    told: Told | None

    @property
    def waits(self) -> tuple[str, ...]:
        """The tasks that wait for a person or a time, if the run ended for nothing else."""
        ending = self.ending
        if self.told is None or ending.error or ending.died or ending.interrupted or ending.failed_tasks:
            return ()
        visits = self.told.run.visits.values()
        return tuple(v.id.task for v in visits if v.state.name in (StateName.PAUSED, StateName.RESUMING))

    @property
    def ok(self) -> bool:
        """Whether the flow ended well and no cell failed."""
        ending = self.ending
        state = self.told.row.state if self.told is not None else "Success"
        by_itself = ending.stopped_at is not None and not ending.cancelled  # sys.exit(0): the notebook was done
        fine = state in ("Success", "Skipped") or (by_itself and state == "Paused" and not self.waits)
        return fine and not (ending.error or ending.died or ending.interrupted)


def prepare(wish: Wish) -> Job:
    """Check everything that can be checked without starting anything.

    Raises
    ------
    NotebookError, ParameterError, UsageError
        If it cannot run as asked; nothing was touched.
    """
    source = Path(wish.notebook)
    nb = notebooks.cleared(notebooks.read(source))
    source = source.resolve()
    kernel = notebooks.kernel_of(nb, wish.kernel, source.name)
    place = find_place(source.parent)
    resumed = _to_resume(place, source, wish.resume) if wish.resume else None
    declaring = notebooks.tagged(nb, "parameters")
    known = declared(declaring.source if declaring is not None else "", source.name)
    given = wish.given if resumed is None else {**resumed.parameters, **wish.given}
    values = settle(known, given, source.name)
    if resumed is not None and plain(values) != plain(settle(known, resumed.parameters, source.name)):
        raise UsageError(
            f"run {resumed.run} has other parameters: {dict(resumed.parameters)}",
            hint="leave -p and -f out to resume it, or leave --resume out to start a new run",
        )
    inject(nb, values, kernel)
    out = notebooks.output_place(source, wish.out)
    launch = Launch(
        notebook=str(source),
        run=resumed.run if resumed is not None else new_run_id(now()),
        resume=resumed.run if resumed is not None else "",
        parameters=plain(values),
    )
    return Job(nb, source, out, kernel, place, launch)


def _to_resume(place: Place, source: Path, wish: str) -> RunRow:
    """The run to go on with; one whose process is just dying gets a few seconds for it."""
    flow = flow_name(source, place)
    with Opened(place) as opened:
        if wish == "last":
            row = next((r for r in opened.store.runs(flow=flow) if not r.live), None)
            if row is None:
                raise UsageError(f"{flow} has no run to resume", hint="leave --resume out to start one")
        else:
            row = opened.find(wish)
        if row.flow != flow:
            raise UsageError(f"run {row.run} belongs to {row.flow}, not to {flow}", hint="prefect-nb runs lists them")
        if row.live:
            raise UsageError(f"run {row.run} belongs to a live notebook", hint="open the notebook and run all")
        ends = time.monotonic() + _GRACE_S
        while not StateType(row.type).final and opened.store.alive(row.worker):
            if time.monotonic() > ends:
                raise UsageError(
                    f"run {row.run} still runs in another process",
                    hint=f"wait for it, or stop it first: prefect-nb cancel {row.run}",
                )
            time.sleep(0.05)
        if row.state in ("Success", "Skipped", "Cancelled"):
            raise UsageError(
                f"run {row.run} ended as {row.state}; there is nothing to resume",
                hint="leave --resume out to start a new run; what did not change is not computed again",
            )
        return row


class Job:
    """One notebook on its way through the client; also the client's observer.

    Parameters
    ----------
    nb : NotebookNode
        The notebook to execute, parameters injected.
    source, out : Path
        The input's and the output's path.
    kernel : str
        The kernel's name.
    place : Place
        Where the store lies.
    launch : Launch
        What the kernel is told.
    """

    def __init__(self, nb: NotebookNode, source: Path, out: Path, kernel: str, place: Place, launch: Launch) -> None:
        self.nb, self.source, self.out, self.kernel, self.place, self.launch = nb, source, out, kernel, place, launch
        self._progress = Progress(lambda line: None)
        self._next_write = 0.0

    @property
    def graph(self) -> Path:
        """Where the static graph goes."""
        return self.out.with_suffix(".svg")

    def run(self, say: Callable[[str], None]) -> Outcome:
        """Execute it; the output notebook is kept however it ends.

        Raises
        ------
        NotebookError
            If the kernel does not start, or the output cannot be written.
        """
        self._progress = Progress(say, resumed=bool(self.launch.resume))
        started = time.monotonic()
        resources = {"metadata": {"path": str(self.source.parent)}}
        client = FlowClient(self.nb, self.launch, self, kernel_name=self.kernel, resources=resources)
        ending: Ending = client.run()
        told = self._told()
        self._finish(told)
        return Outcome(ending, time.monotonic() - started, told)

    def _told(self) -> Told | None:
        """The run as it is recorded, after the kernel let go of it."""
        if not (self.place.folder / "state.db").is_file():
            return None
        with Opened(self.place) as opened:
            row = opened.store.run(self.launch.run)
            if row is None:
                return None
            ends = time.monotonic() + _GRACE_S
            while not StateType(row.type).final and row.state != "Paused" and time.monotonic() < ends:
                opened.sweep()  # a kernel that was killed may take a moment to be gone
                row = opened.store.run(self.launch.run) or row
                time.sleep(0.05)
            return opened.tell(row)

    def _finish(self, told: Told | None) -> None:
        facts: dict[str, Any] = {"notebook": self.source.name, "parameters": dict(self.launch.parameters)}
        if told is not None:
            facts |= {"run": told.row.run, "flow": told.row.flow, "state": told.row.state}
            write_text(self.graph, to_svg(told.model))
        self.nb.metadata["prefect_nb"] = facts
        notebooks.write(self.nb, self.out)

    # --- the client's observer ---

    def cell_start(self, cell: NotebookNode, cell_index: int) -> None:
        """Nothing to do: the kernel's states tell it better."""

    def cell_exception(self, cell: NotebookNode, cell_index: int, exception: Exception) -> None:
        """Nothing to do: the ending tells it."""

    def cell_complete(self, cell: NotebookNode, cell_index: int) -> None:
        """Write the notebook as it is now, unless writing would take too large a share of the time."""
        if cell.cell_type != "code":
            return
        began = time.monotonic()
        if began < self._next_write:
            return
        try:
            notebooks.write(self.nb, self.out)
        except NotebookError:
            return  # tried again after the next cell; the last write at the end tells it
        ended = time.monotonic()
        self._next_write = ended + _SHARE * (ended - began)

    def output(self, output: NotebookNode) -> None:
        """Nothing to do: outputs are in the notebook."""

    def state(self, message: Mapping[str, Any]) -> None:
        """Tell the states."""
        self._progress.state(message)
