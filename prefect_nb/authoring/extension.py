"""Everything that one shell gets from us, opened behind the doorway: the flow, the runner, the hub and ``%flow``."""

from __future__ import annotations

from typing import Any

from prefect_nb.analysis.cells import line_of_misplaced
from prefect_nb.authoring import calls
from prefect_nb.authoring.flowmagic import FlowMagic
from prefect_nb.authoring.freshness import Badges
from prefect_nb.authoring.hub import Hub
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.plaincells import PlainCells
from prefect_nb.authoring.runner import CellRunner

__all__ = ["Extension"]


class Extension:
    """The rooms behind one shell's magics.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell; a kernel's or a terminal's.
    """

    def __init__(self, shell: Any) -> None:
        self.flow = LiveFlow(shell)
        self.runner = CellRunner(self.flow)
        self.hub = Hub(self.flow, Badges(self.flow, self.runner.inputs))
        self.plain = PlainCells(self.flow)
        self.magic = FlowMagic(self.flow, self.runner, self.hub)
        self.flow.on_open = self.hub.attach
        self.plain.install()
        self.hub.open()
        calls.adopt(self.flow)

    def close(self) -> None:
        """Take everything away again; the run stays in the store."""
        calls.adopt(None)
        self.plain.uninstall()
        self.hub.close()
        self.flow.close()

    def misplaced(self, source: str) -> int | None:
        """In which line of a cell a header stands that is not its first, if any."""
        return line_of_misplaced(source)

    def watch(self, info: Any) -> None:
        """Take note of a cell whose announcement the rooms missed while they were opened."""
        self.plain.before(info)

    def names(self) -> list[str]:
        """The tasks of this notebook, for completion."""
        return [c.spec.name for c in self.flow.document.cells if c.spec is not None]
