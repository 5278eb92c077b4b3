"""``papermill --engine prefect_nb``: the same client under papermill's own management of the notebook.

papermill keeps its metadata, progress bar, saving and its way to report failures; the kernel side is ours. Must not be
imported by our other modules: importing papermill loads every engine, this one too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.exceptions import PapermillException
from papermill.iorw import papermill_io
from papermill.log import logger

from prefect_nb.apps.client import Ending, FlowClient, Launch
from prefect_nb.apps.inject import inject
from prefect_nb.apps.notebooks import tagged
from prefect_nb.apps.params import declared, plain, settle
from prefect_nb.errors import PrefectNBError
from prefect_nb.views.progress import Progress
from prefect_nb.wiring import new_run_id, now

__all__ = ["PrefectNBEngine"]

_BUILT_IN = ("PAPERMILL_INPUT_PATH", "PAPERMILL_OUTPUT_PATH")


class _Refused(click.ClickException):
    """One of our errors where papermill's own command line shows it: two lines and exit status 2."""

    exit_code = 2


class _Observer:
    """Hands what the client tells to papermill's manager, log and files."""

    log = logger
    log_output_message = PapermillNotebookClient.log_output_message

    def __init__(self, manager: NotebookExecutionManager, log_output: bool, stdout_file: Any, stderr_file: Any) -> None:
        self.manager = manager
        self.log_output, self.stdout_file, self.stderr_file = log_output, stdout_file, stderr_file
        self.progress = Progress(self._say)

    def _say(self, line: str) -> None:
        if self.manager.pbar is not None:
            self.manager.pbar.write(line)
        else:
            logger.info(line)

    def cell_start(self, cell: NotebookNode, cell_index: int) -> None:
        self.manager.cell_start(cell, cell_index)

    def cell_exception(self, cell: NotebookNode, cell_index: int, exception: Exception) -> None:
        self.manager.cell_exception(cell, cell_index=cell_index, exception=exception)

    def cell_complete(self, cell: NotebookNode, cell_index: int) -> None:
        self.manager.cell_complete(cell, cell_index=cell_index)

    def output(self, output: NotebookNode) -> None:
        self.manager.autosave_cell()
        if self.log_output or self.stdout_file or self.stderr_file:
            self.log_output_message(output)

    def state(self, message: Mapping[str, Any]) -> None:
        self.progress.state(message)


class PrefectNBEngine(NBClientEngine):  # type: ignore[misc]
    """Runs a notebook as a flow: tasks are cached, retried and resumed, and unrelated ones go on after a failure."""

    @classmethod
    def execute_notebook(cls, nb: NotebookNode, kernel_name: str, **options: Any) -> NotebookNode:
        """Check the parameters before papermill writes anything, then do as papermill does."""
        try:
            _check(nb, kernel_name)
            executed: NotebookNode = super().execute_notebook(nb, kernel_name, **options)
        except PrefectNBError as error:
            if click.get_current_context(silent=True) is None:
                raise
            raise _Refused(str(error)) from error
        return executed

    @classmethod
    def execute_managed_notebook(cls, nb_man: NotebookExecutionManager, kernel_name: str, **options: Any) -> None:
        """Execute the cells; what papermill finds in the notebook afterwards decides how it ends."""
        observer = _Observer(
            nb_man, bool(options.get("log_output")), options.get("stdout_file"), options.get("stderr_file")
        )
        launch = Launch(
            notebook=str(_input_of(nb_man.nb)),
            run=new_run_id(now()),
            resume=str(options.get("resume") or ""),
            parameters=_plain(nb_man.nb),
        )
        client = FlowClient(
            nb_man.nb,
            launch,
            observer,
            kernel_name=kernel_name,
            log=logger,
            timeout=options.get("execution_timeout") or None,
            startup_timeout=options.get("start_timeout", 60),
        )
        ending: Ending = client.run()
        if ending.interrupted:
            raise KeyboardInterrupt
        if ending.cancelled:
            raise PapermillException(f"run {launch.run} was cancelled")
        if ending.died:
            place = f" in cell {ending.stopped_at + 1}" if ending.stopped_at is not None else ""
            raise PapermillException(
                f"the kernel died{place}; run {launch.run} can be resumed: prefect-nb run --resume"
            )


def _given(nb: NotebookNode) -> dict[str, Any]:
    return dict(nb.metadata.get("papermill", {}).get("parameters") or {})


def _plain(nb: NotebookNode) -> dict[str, Any]:
    given = {name: value for name, value in _given(nb).items() if name not in _BUILT_IN}
    return plain(_settled(nb, given))


def _settled(nb: NotebookNode, given: Mapping[str, Any]) -> dict[str, Any]:
    declaring = tagged(nb, "parameters")
    name = str(nb.metadata.get("papermill", {}).get("input_path") or "the notebook")
    return settle(declared(declaring.source if declaring is not None else "", name), given, name, allowed=_BUILT_IN)


def _check(nb: NotebookNode, kernel: str) -> None:
    """Put values of the declared types into the cell that papermill injected."""
    given = _given(nb)
    values = _settled(nb, given)
    if values and repr(values) != repr(given):
        inject(nb, values, kernel)


def _input_of(nb: NotebookNode) -> Path:
    """The input notebook's path; papermill reads relative ones from where it was started, not from ``--cwd``."""
    named = str(nb.metadata.get("papermill", {}).get("input_path") or "")
    base = getattr(papermill_io.get_handler("local"), "_cwd", None) or os.getcwd()
    path = Path(base, named) if named and named != "-" and "://" not in named else Path(os.getcwd(), "papermill.ipynb")
    return path.resolve()
