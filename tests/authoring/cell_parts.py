"""A notebook in a shell of this process: cells by id, in an order that is known, and what each of them showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from IPython.utils.capture import capture_output

from prefect_nb import load_ipython_extension, unload_ipython_extension
from prefect_nb.core.run import Run, Visit

__all__ = ["Book", "Ran"]


@dataclass(frozen=True)
class Ran:
    """What an executed cell showed, its small notes included, and the exception that it raised, if any."""

    text: str
    error: BaseException | None


class Book:
    """A notebook.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        Where it runs.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.cells: dict[str, str] = {}
        load_ipython_extension(shell)

    @property
    def flow(self) -> Any:
        """The notebook's flow."""
        return self.shell._prefect_nb.rooms.flow

    @property
    def run(self) -> Run:
        """The run as it stands, with everything that was asked for carried out."""
        state: Run = self.flow.session.ask()
        return state

    def visit(self, task: str) -> Visit:
        """A task's latest visit."""
        found = self.run.find(task)
        assert found is not None, task
        return found

    def state(self, task: str) -> str:
        """The name of a task's state."""
        return self.visit(task).state.label

    def execute(self, cell: str, source: str | None = None) -> Ran:
        """Execute a cell, written or edited first if there is a source."""
        if source is not None:
            self.cells[cell] = source
        self.flow.set_document([{"id": i, "source": s} for i, s in self.cells.items()])
        return self.line(self.cells[cell], cell)

    def line(self, source: str, cell: str | None = None) -> Ran:
        """Execute something, as a cell of the notebook or on the side."""
        with capture_output() as captured:
            result = self.shell.run_cell(source, store_history=True, cell_id=cell)
        return Ran(captured.stdout + captured.stderr, result.error_before_exec or result.error_in_exec)

    def all(self, cells: Mapping[str, str] | None = None) -> dict[str, Ran]:
        """Write cells and execute every one of the notebook, whatever each of them does."""
        self.cells.update(cells or {})
        return {cell: self.execute(cell) for cell in self.cells}

    def restart(self) -> None:
        """The extension anew on the same store, with an empty namespace, as after a restart of the kernel."""
        unload_ipython_extension(self.shell)
        self.shell.reset(new_session=False)
        load_ipython_extension(self.shell)

    def close(self) -> None:
        """End it."""
        unload_ipython_extension(self.shell)
