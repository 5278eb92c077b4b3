"""The doorway of ``%load_ext prefect_nb``: what a shell must know at once, and nothing that takes time to load.

The rooms behind it are opened in the background and waited for by the first cell that needs them. Knows IPython and
the options of a header; the rooms come in as a callable.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

from IPython.core.magic_arguments import MagicHelpFormatter

from prefect_nb.analysis.header import OPTIONS
from prefect_nb.authoring import completion, transform
from prefect_nb.errors import UsageError

__all__ = ["Door", "Rooms", "load", "unload"]

_ATTRIBUTE = "_prefect_nb"


class Rooms(Protocol):
    """What lies behind the doorway of one shell."""

    runner: Any
    magic: Any

    def close(self) -> None:
        """Take everything away again."""
        ...

    def names(self) -> list[str]:
        """The tasks of this notebook."""
        ...

    def misplaced(self, source: str) -> int | None:
        """In which line a header stands that is not the first of its cell."""
        ...

    def watch(self, info: Any) -> None:
        """Take note of the cell that is about to run; later cells are seen without being told."""
        ...


class Door:
    """One shell's magics, and its rooms once somebody steps in.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell.
    build : callable
        Makes the rooms; slow the first time.
    """

    def __init__(self, shell: Any, build: Callable[[], Rooms]) -> None:
        self._shell = shell
        self._build = build
        self._lock = threading.RLock()
        self._rooms: Rooms | None = None
        self._warm: threading.Thread | None = None

    @property
    def rooms(self) -> Rooms:
        """The rooms, opened now if the background has not done so yet."""
        with self._lock:
            if self._rooms is None:
                self._rooms = self._build()
            return self._rooms

    def open(self) -> None:
        """Put the magics into the shell and begin to open the rooms."""
        shell = self._shell
        misplaced = lambda text: self.rooms.misplaced(text) if "task" in text else None  # noqa: E731
        transform.install(shell, self._run, misplaced, self._run_flow)
        shell.register_magic_function(_task_magic(), "cell", "task")
        shell.register_magic_function(_flow_magic(self), "line", "flow")
        completion.install(shell, {o.name: o.help for o in OPTIONS}, lambda: self.rooms.names())
        shell.events.register("pre_run_cell", self._step_in)
        self._warm = threading.Thread(target=lambda: self.rooms, name="prefect_nb loading", daemon=True)
        self._warm.start()

    def close(self) -> None:
        """Take the magics out of the shell again."""
        shell = self._shell
        transform.uninstall(shell)
        completion.uninstall(shell)
        self._stepped()
        with self._lock:
            if self._rooms is not None:
                self._rooms.close()
                self._rooms = None
        shell.magics_manager.magics["cell"].pop("task", None)
        shell.magics_manager.magics["line"].pop("flow", None)

    async def _run(self, line: str, cell: str) -> None:
        __tracebackhide__ = True
        await self.rooms.runner(line, cell)

    async def _run_flow(self, name: str) -> None:
        await self.rooms.magic.bring_up_to_date(name)

    def _step_in(self, info: Any) -> None:
        """The first cell after loading waits for the rooms, which then watch every cell themselves."""
        self._stepped()
        self.rooms.watch(info)

    def _stepped(self) -> None:
        if self._step_in in self._shell.events.callbacks["pre_run_cell"]:
            self._shell.events.unregister("pre_run_cell", self._step_in)


def _flow_magic(door: Door) -> Callable[[str], Any]:
    def flow(line: str) -> Any:
        return door.rooms.magic(line)

    flow.__doc__ = _FLOW_HELP
    return flow


_FLOW_HELP = """%flow [COMMAND] [NAME]

Without a command: the live graph of this notebook. Commands::

    widget        the live graph as a widget, for layouts of other widgets (w = %flow widget)
    status        every task: state, attempt, duration, reason
    why NAME      why a task ran or was reused: its key, part by part, and its states
    logs [NAME]   what a task, or every task, printed
    runs          the runs of this notebook
    run [NAME]    bring every task, or one and what it needs, up to date; unrelated tasks go on after a failure
                  (the only line of its cell)
    approve NAME [FIELD=VALUE ...] [NOTE]
                  let a task that waits for a person go on; then execute its cell
    reject NAME [NOTE]
                  end a task that waits for a person without running it
    new           end this run and begin a new one
    failed NAME   what a failed body had bound, as a dict
    dot           the graph in the DOT language
    usage         disk use and its bound
    finish        end a headless run (used by prefect-nb run and papermill)
"""


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


def load(shell: Any, build: Callable[[], Rooms]) -> None:
    """Add task cells and ``%flow`` to a shell; prints nothing, writes nothing.

    Raises
    ------
    UsageError
        On Windows, where nobody has tested it.
    """
    if sys.platform == "win32":
        raise UsageError("prefect_nb runs on Linux and macOS; nobody has tested it on Windows")
    if getattr(shell, _ATTRIBUTE, None) is None:
        door = Door(shell, build)
        door.open()
        setattr(shell, _ATTRIBUTE, door)


def unload(shell: Any) -> None:
    """Take everything away again; the run stays in the store."""
    door = getattr(shell, _ATTRIBUTE, None)
    if door is not None:
        door.close()
        setattr(shell, _ATTRIBUTE, None)
