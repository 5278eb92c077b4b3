"""Runs a notebook's cells in its kernel, for our own runner and for papermill alike.

Each request carries what the kernel side needs (the cell, the document, the run); a failed task does not end the
notebook, a failed plain cell does; Ctrl-C stops the cell, a second one the kernel. Knows Jupyter's messages; must not
know the store, files, or how a run is told to people.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import zmq
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellExecutionError, DeadKernelError
from nbclient.util import ensure_async, run_sync
from nbformat import NotebookNode

from prefect_nb.analysis.cells import split
from prefect_nb.apps.notebooks import code_rows
from prefect_nb.errors import NotebookError

__all__ = ["Ending", "FlowClient", "Launch", "Observer"]

STATE = "prefect_nb.state"
_NEVER_RAN = frozenset({"UsageError", "SyntaxError", "IndentationError", "TabError"})
_LOAD = "__import__('prefect_nb').load_ipython_extension(get_ipython())"
"""Not by the magic: a notebook's own ``%load_ext`` would then say that it was loaded already."""

_FINISH = "get_ipython().run_line_magic('flow', 'finish{}')"
_SETTLE_S = 30.0
_STOPPED = frozenset({"TaskCancelled", "KeyboardInterrupt", "CancelledError"})
_NEWS_S = 1.0


@dataclass(frozen=True, slots=True)
class Launch:
    """What the kernel is told about the run.

    Parameters
    ----------
    notebook : str
        Absolute path of the input notebook.
    run : str
        The id for a new run.
    resume : str
        The run to go on with, empty for a new one.
    parameters : mapping
        JSON-able, for the record.
    """

    notebook: str
    run: str
    resume: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "mode": "flow",
            "notebook": self.notebook,
            "run": self.run,
            "resume": self.resume,
            "parameters": dict(self.parameters),
        }


@dataclass(slots=True)
class Ending:
    """How the cells ended: where and why they stopped early, and whether somebody asked them to.

    `interrupted` is a signal to this process; `cancelled` is a wish that reached the run.
    """

    stopped_at: int | None = None
    error: str = ""
    interrupted: bool = False
    cancelled: bool = False
    died: bool = False
    failed_tasks: list[int] = field(default_factory=list)


class Observer(Protocol):
    """Who is told what happens, from the thread that runs the client."""

    def cell_start(self, cell: NotebookNode, cell_index: int) -> None:
        """A cell is about to run."""

    def cell_exception(self, cell: NotebookNode, cell_index: int, exception: Exception) -> None:
        """A cell raised."""

    def cell_complete(self, cell: NotebookNode, cell_index: int) -> None:
        """A cell ended, well or not."""

    def output(self, output: NotebookNode) -> None:
        """The running cell showed something."""

    def state(self, message: Mapping[str, Any]) -> None:
        """The kernel published a state: a full view model, or a patch."""


class FlowClient(NotebookClient):
    """A client that runs a notebook as a flow.

    Parameters
    ----------
    nb : NotebookNode
        The notebook; outputs are filled in, in place.
    launch : Launch
        What the kernel is told.
    observer : Observer
        Who is told what happens.
    **traits
        Options of nbclient's `NotebookClient`.
    """

    def __init__(self, nb: NotebookNode, launch: Launch, observer: Observer, **traits: Any) -> None:
        super().__init__(nb, raise_on_iopub_timeout=True, iopub_timeout=_SETTLE_S, **traits)
        self._launch = launch.to_plain()
        self._observer = observer
        self._document = code_rows(nb)
        self._cell: NotebookNode | None = None
        self._comms: set[str] = set()
        self._ending = Ending()

    async def async_run(self) -> Ending:
        """Start the kernel, run every cell that can run, close the run, end the kernel."""
        self.reset_execution_trackers()
        with self._signals():
            try:
                await self._begin()
                await self._cells()
                ending = self._ending
                early = ending.interrupted or (ending.stopped_at is not None and not ending.cancelled)
                await self._quietly(_FINISH.format(" --interrupted" if early else ""))
                self.set_widgets_metadata()
            except DeadKernelError:
                self._ending.died = True
            finally:
                if self.km is not None:
                    await self._async_cleanup_kernel()
        return self._ending

    def run(self) -> Ending:
        """The same, from code that waits."""
        return run_sync(self.async_run)()

    @property
    def _wire(self) -> Any:
        """The kernel's client; there is one from the start of the kernel to its end."""
        return self.kc

    # --- the kernel --------------------------------------------------------------------------------------------------

    def create_kernel_manager(self) -> Any:
        """As nbclient does; what travels to the kernel is encrypted where both sides can."""
        manager = super().create_kernel_manager()
        if manager.has_trait("transport_encryption") and zmq.has("curve"):
            manager.transport_encryption = "auto"
        return manager

    async def _begin(self) -> None:
        self.create_kernel_manager()
        try:
            await self.async_start_new_kernel()
            await self.async_start_new_kernel_client()
        except (RuntimeError, OSError) as error:
            raise NotebookError(
                f"the kernel {self.kernel_name!r} did not start: {error}",
                hint=f"try it by hand: jupyter console --kernel {self.kernel_name}",
                kernel=self.kernel_name,
            ) from error
        self._wire.execute = self._request
        info = await self.async_wait_for_reply(await ensure_async(self._wire.kernel_info()))
        if info is not None:
            self.nb.metadata["language_info"] = info["content"]["language_info"]
        reply = await self._quietly(_LOAD)
        if reply.get("status") != "ok" and not self._ending.interrupted:
            raise NotebookError(
                f"prefect_nb cannot be loaded in the kernel {self.kernel_name!r}: "
                f"{reply.get('ename', 'Error')}: {str(reply.get('evalue', '')).splitlines()[0][:200]}",
                hint="install it in that kernel's environment: pip install prefect_nb",
                kernel=self.kernel_name,
            )

    def _request(
        self, code: str, silent: bool = False, store_history: bool = True, stop_on_error: bool = True, **_: Any
    ) -> str:
        """An execute request as `kc.execute` sends it, and with it what the kernel side of ours needs."""
        content = {
            "code": code,
            "silent": silent,
            "store_history": store_history,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": stop_on_error,
        }
        cell = self._cell
        about: dict[str, Any] = {"prefect_nb": {**self._launch, "document": self._document}}
        if cell is not None:
            about |= {"cellId": cell.get("id", ""), "tags": list(cell.metadata.get("tags", ()))}
        message = self._wire.session.msg("execute_request", content, metadata=about)
        self._wire.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    async def _quietly(self, code: str) -> dict[str, Any]:
        """Execute something that is no cell, until the kernel is idle again; the content of the reply."""
        self._cell = None
        request = self._request(code, silent=True, store_history=False)
        listening = asyncio.ensure_future(self._drain(request))
        try:
            reply = await self.async_wait_for_reply(request)
            await asyncio.wait_for(listening, _SETTLE_S)
        except TimeoutError:
            reply = reply or {}
        finally:
            listening.cancel()
        content: dict[str, Any] = (reply or {}).get("content", {})
        return content

    async def _drain(self, request: str) -> None:
        while True:
            msg = await ensure_async(self._wire.iopub_channel.get_msg(timeout=None))
            self._aside(msg)
            idle = msg["msg_type"] == "status" and msg["content"]["execution_state"] == "idle"
            if idle and msg["parent_header"].get("msg_id") == request:
                return

    # --- the cells ---------------------------------------------------------------------------------------------------

    async def _cells(self) -> None:
        for index, cell in enumerate(self.nb.cells):
            if self._ending.interrupted or self._ending.cancelled:
                self._ending.stopped_at = index
                return
            self._observer.cell_start(cell, index)
            self._cell = cell
            try:
                await self.async_execute_cell(cell, index)
            except CellExecutionError as error:
                self._observer.cell_exception(cell, index, error)
                if error.ename in _STOPPED:
                    await self._news()
                if not self._goes_on(cell, index, error):
                    return
            except DeadKernelError as error:
                self._observer.cell_exception(cell, index, error)
                self._ending.stopped_at, self._ending.error = index, "the kernel died"
                raise
            finally:
                self._cell = None
                self._observer.cell_complete(cell, index)

    def _goes_on(self, cell: NotebookNode, index: int, error: CellExecutionError) -> bool:
        """Whether the rest can run: after a failed task, or a cell that only lacks what a task would have made."""
        if self._ending.interrupted:
            self._ending.stopped_at = index
            return False
        is_task = split(cell.source)[0] is not None
        if error.ename == "NotAvailable":
            return True
        if is_task and error.ename not in _NEVER_RAN:
            self._ending.failed_tasks.append(index)
            return True
        self._ending.stopped_at = index
        if error.ename != "SystemExit" or error.evalue not in ("", "0", "None"):
            self._ending.error = f"{error.ename}: {error.evalue}".split("\n")[0].removesuffix(": ")
        return False

    async def _news(self) -> None:
        """Listen a moment for whether the whole run was asked to stop, which is told after the cell has ended."""
        with contextlib.suppress(queue.Empty):
            while not self._ending.cancelled:
                self._aside(await ensure_async(self._wire.iopub_channel.get_msg(timeout=_NEWS_S)))

    def _state(self, message: Any) -> None:
        match message:
            case {"op": "full", "model": {"run": {"type": kind}}} | {"op": "patch", "patch": {"run": {"type": kind}}}:
                self._ending.cancelled = kind in ("CANCELLING", "CANCELLED")
        self._observer.state(message)

    # --- messages ----------------------------------------------------------------------------------------------------

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: NotebookNode, cell_index: int) -> None:
        """As nbclient does, but states and updates of displays count whichever request caused them."""
        while True:
            msg = await ensure_async(self._wire.iopub_channel.get_msg(timeout=None))
            if self._aside(msg) or msg["parent_header"].get("msg_id") != parent_msg_id:
                continue
            try:
                self.process_message(msg, cell, cell_index)
            except CellExecutionComplete:
                return

    def _aside(self, msg: dict[str, Any]) -> bool:
        """Take a message that belongs to no cell: a state of the run, or an update of a display shown earlier."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "comm_open" and content.get("target_name") == STATE:
            self._comms.add(content["comm_id"])
            return True
        if kind in ("comm_msg", "comm_close") and content["comm_id"] in self._comms:
            told = content.get("data", {}) if kind == "comm_msg" else {}
            if told.get("kind") != "function":  # a run of its own, called in a cell: its end is not the notebook's
                self._state(told)
            return True
        if kind == "update_display_data":
            display = (content.get("transient") or {}).get("display_id")
            if display:
                self._update_display_id(display, msg)
            return True
        return False

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """As nbclient does; the observer is told of each output."""
        output = super().process_message(msg, cell, cell_index)
        if output:
            self._observer.output(output)
        return output

    # --- signals -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM while the kernel runs, where this thread may."""
        loop = asyncio.get_running_loop()
        taken = []
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(RuntimeError, ValueError, NotImplementedError):
                before = signal.getsignal(number)
                loop.add_signal_handler(number, self._stop)
                taken.append((number, before))
        try:
            yield
        finally:
            for number, before in taken:
                loop.remove_signal_handler(number)
                if before is not None:
                    signal.signal(number, before)

    def _stop(self) -> None:
        again, self._ending.interrupted = self._ending.interrupted, True
        if self.km is None or not self.km.has_kernel:
            return
        wish = self.km.shutdown_kernel(now=True) if again else self.km.interrupt_kernel()
        self._stopping = asyncio.ensure_future(ensure_async(wish))
