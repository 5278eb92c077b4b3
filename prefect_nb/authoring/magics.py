"""``%load_ext prefect_nb``: task cells, ``%flow`` and completion in this shell; nothing is opened before its use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from IPython.core.magic_arguments import MagicHelpFormatter

from prefect_nb.analysis.cells import line_of_misplaced
from prefect_nb.analysis.header import OPTIONS
from prefect_nb.authoring import calls, completion, transform
from prefect_nb.authoring.flowmagic import FlowMagic
from prefect_nb.authoring.hub import Hub
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.plaincells import PlainCells
from prefect_nb.authoring.runner import CellRunner
from prefect_nb.errors import UsageError

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_ATTRIBUTE = "_prefect_nb"


class _Extension:
    """Everything that one shell got from us, so that it can be taken away again."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.flow = LiveFlow(shell)
        self.runner = CellRunner(self.flow)
        self.hub = Hub(self.flow)
        self.plain = PlainCells(self.flow)
        self.magic = FlowMagic(self.flow, self.runner, self.hub)

    def load(self) -> None:
        shell = self.shell
        transform.install(shell, self.runner, line_of_misplaced)
        shell.register_magic_function(_task_magic(), "cell", "task")
        shell.register_magic_function(self.magic, "line", "flow")
        completion.install(shell, {f"{o.name}": o.help for o in OPTIONS}, self._names)
        self.plain.install()
        self.flow.on_open = self.hub.attach
        self.hub.open()
        calls.adopt(self.flow)

    def unload(self) -> None:
        shell = self.shell
        calls.adopt(None)
        transform.uninstall(shell)
        completion.uninstall(shell)
        self.plain.uninstall()
        self.hub.close()
        self.flow.close()
        shell.magics_manager.magics["cell"].pop("task", None)
        shell.magics_manager.magics["line"].pop("flow", None)

    def _names(self) -> list[str]:
        return [c.spec.name for c in self.flow.document.cells if c.spec is not None]


def _task_magic() -> Callable[[str, str], None]:
    """The magic behind ``%%task?``; cells never reach it, the input transformer does their work."""

    def task(line: str, cell: str) -> None:
        raise UsageError("%%task must be the first line of its cell")

    parser = argparse.ArgumentParser("%%task", add_help=False, formatter_class=MagicHelpFormatter)
    parser.add_argument("name", nargs="?", help="The task's name; by default the first names that the cell binds.")
    for option in OPTIONS:
        if option.metavar:
            parser.add_argument(option.name, metavar=option.metavar, help=option.help)
        else:
            parser.add_argument(option.name, action="store_true", help=option.help)
    task.__doc__ = (
        f"Make this cell a task: cached, retried, resumable, part of the flow's graph.\n\n{parser.format_help()}\n"
        "The header is the first line of its cell. As a comment, which linters and editors pass over, it reads\n"
        "``#| task: name --retries 3``.\n\nExamples::\n\n"
        "    %%task orders --retries 3 --delay 1,2,4 --timeout 5m\n    orders = fetch_orders(region, day)\n\n"
        "    #| task: clean\n    clean = orders.dropna()\n"
    )
    return task


def load_ipython_extension(shell: Any) -> None:
    """Add task cells and ``%flow`` to a shell; prints nothing, writes nothing, opens nothing.

    Raises
    ------
    UsageError
        On Windows, where nobody has tested it.
    """
    if sys.platform == "win32":
        raise UsageError("prefect_nb runs on Linux and macOS; nobody has tested it on Windows")
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    extension = _Extension(shell)
    extension.load()
    setattr(shell, _ATTRIBUTE, extension)


def unload_ipython_extension(shell: Any) -> None:
    """Take everything away again; the run stays in the store."""
    extension = getattr(shell, _ATTRIBUTE, None)
    if extension is not None:
        extension.unload()
        setattr(shell, _ATTRIBUTE, None)
