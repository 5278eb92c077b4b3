"""Between a run and its pages: states go out on one comm and into displays, commands come in on another.

The *state* comm is opened by the kernel and only ever speaks; the *control* comm is opened by the page, so that a
kernel with subshells serves it while a cell runs. A thread of its own sends at most ten states a second, fewer when a
state is so large that making it would take time from tasks. Knows comms, displays and widgets; what a command does is
told elsewhere.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from prefect_nb.authoring import taps
from prefect_nb.authoring.commands import Commands
from prefect_nb.authoring.freshness import Badges
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.places import wants_widget
from prefect_nb.core.run import Run
from prefect_nb.engine.session import Session
from prefect_nb.views.build import Calls, build
from prefect_nb.views.details import Details
from prefect_nb.views.model import RunView, ViewModel, patch
from prefect_nb.views.svg import to_svg
from prefect_nb.views.text import status_table
from prefect_nb.views.widget import flow_widget

__all__ = ["MIME", "Hub"]

MIME = "application/vnd.prefect-nb.flow+json"
STATE, CONTROL = "prefect_nb.state", "prefect_nb.control"
_APART_S, _AT_MOST_S = 0.1, 2.0
_SHARE = 20  # between two states, this many times the processor time of the last
_SOON_S = 0.03
_EXPECT_S = 0.3
_KEPT = 20


class Hub:
    """The pages of one kernel.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    badges : Badges
        What is known of its tasks' freshness.
    """

    def __init__(self, flow: LiveFlow, badges: Badges) -> None:
        self.flow = flow
        self._badges = badges
        self._commands = Commands(flow)
        self._lock = threading.RLock()
        self._told = threading.Condition()
        self._wake = threading.Event()
        self._done = threading.Event()
        self._seq = 0
        self._shown: ViewModel | None = None
        self._calls = Calls()
        self._state: Any = None
        self._pages: dict[str, Any] = {}
        self._aside = False
        self._busy = False
        self._displays: list[str] = []
        self._widgets: list[Any] = []
        self._painted: tuple[str, int] = ("", 0)
        self._thread: threading.Thread | None = None

    # --- opening and closing -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Announce the kernel to pages; silent where the shell has no comms."""
        events = self.flow.shell.events
        events.register("pre_execute", self._begun)
        events.register("post_execute", self._ended)
        self.flow.expect = self._expect
        manager = getattr(getattr(self.flow.shell, "kernel", None), "comm_manager", None)
        if manager is None:
            return
        manager.register_target(CONTROL, self._page)
        from comm import create_comm  # only kernels have it

        self._state = create_comm(target_name=STATE, data={"v": 1})

    def attach(self, session: Session) -> None:
        """Show this run from now on."""
        with self._lock:
            self._shown = None
        session.bus.subscribe(lambda run: self._wake.set())
        self._start()
        self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._done.is_set():
                self._thread = threading.Thread(target=self._pump, name="prefect_nb views", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop sending and let the pages go."""
        self._done.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2)
        events = self.flow.shell.events
        for name, hook in (("pre_execute", self._begun), ("post_execute", self._ended)):
            if hook in events.callbacks[name]:
                events.unregister(name, hook)
        manager = getattr(getattr(self.flow.shell, "kernel", None), "comm_manager", None)
        if manager is not None:
            manager.unregister_target(CONTROL, self._page)
        if self._state is not None:
            self._state.close()

    # --- out ---------------------------------------------------------------------------------------------------------

    def model(self) -> ViewModel:
        """The newest model."""
        flow = self.flow
        if not flow.opened:
            run = RunView(id="", flow=flow.name, live=True, order_known=flow.document.order_known)
            empty = build(Run(), flow.document.to_plain(), seq=0)
            return ViewModel.of(0, run, empty.nodes, empty.edges)
        session, fresh = flow.session, self._badges.told()
        with self._lock:
            return build(
                session.bus.run,
                session.graph,
                seq=self._seq,
                store=session.store.location,
                notebook=session.notebook,
                freshness=fresh,
                calls=self._calls,
            )

    def details(self, task: str) -> Details:
        """One task's story."""
        return self._commands.details(task)

    def bundle(self, model: ViewModel) -> dict[str, Any]:
        """The model for every kind of page: ours, a picture, and text."""
        return {MIME: model.to_plain(), "image/svg+xml": to_svg(model), "text/plain": status_table(model)}

    def display(self) -> None:
        """Show the graph in the cell that runs now, and keep that output up to date."""
        self._start()
        with self._lock:
            here = not self._pages and wants_widget(self.flow.shell)
        if here:
            with taps.muted():
                bundle = self.widget()._repr_mimebundle_()
                data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
                self.flow.shell.display_pub.publish(data, metadata)
            return
        name = f"prefect-nb-{uuid4().hex[:12]}"
        with taps.muted():
            self.flow.shell.display_pub.publish(self.bundle(self.model()), {}, transient={"display_id": name})
        with self._lock:
            self._displays.append(name)
            del self._displays[:-_KEPT]

    def widget(self) -> Any:
        """The live view as a widget, for pages without the lab extension and for layouts of other widgets."""
        self._start()
        widget = flow_widget(self.model(), self._commands)
        with self._lock:
            self._widgets.append(widget)
            del self._widgets[:-_KEPT]
        return widget

    def flush(self) -> None:
        """Send what is new now: pages and displays show the states as they are."""
        self._send()
        self._paint()

    def _pump(self) -> None:
        while not self._done.is_set():
            self._wake.wait()
            if self._done.wait(_SOON_S):  # what has just ended is answered first; what ends next comes along
                return
            self._wake.clear()
            began = time.thread_time()
            self._send()
            shown = self._shown
            quiet = not self.flow.opened or not self.flow.session.run.active
            if quiet or (shown is not None and shown.run.id != self._painted[0]):
                self._paint()
            self._done.wait(min(_AT_MOST_S, max(_APART_S, _SHARE * (time.thread_time() - began))))

    def _send(self) -> None:
        with self._lock:
            new, old = self.model(), self._shown
            if old is not None and old.run.id == new.run.id:
                change = patch(old, self._numbered(new, self._seq + 1))
                if _empty(change):
                    return
                message = {"op": "patch", "patch": change, "run": new.run.id}
            else:
                message = {}
            self._seq += 1
            self._shown = new = self._numbered(new, self._seq)
            self._tell(message or {"op": "full", "model": new.to_plain()})
            for widget in self._widgets:
                widget.show(new)

    def _numbered(self, model: ViewModel, seq: int) -> ViewModel:
        return ViewModel.of(seq, model.run, model.nodes, model.edges)

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self._state is not None:
            self._state.send(dict(message))

    def _paint(self) -> None:
        with self._lock:
            model, names = self._shown, list(self._displays)
            if model is None or not names or self._painted == (model.run.id, model.seq):
                return
            self._painted = (model.run.id, model.seq)
        bundle = self.bundle(model)
        with taps.muted():
            for name in names:
                self.flow.shell.display_pub.publish(bundle, {}, transient={"display_id": name}, update=True)

    # --- in ----------------------------------------------------------------------------------------------------------

    def _page(self, comm: Any, message: Any) -> None:
        with self._lock:
            self._pages[comm.comm_id] = comm
        comm.on_msg(lambda m: self._received(comm, m))
        comm.on_close(lambda m: self._pages.pop(comm.comm_id, None))

    def _received(self, comm: Any, message: Mapping[str, Any]) -> None:
        data = message.get("content", {}).get("data")
        if not isinstance(data, Mapping):
            return
        if data.get("v") != 1:
            told: Mapping[str, Any] = {"ok": False, "message": "this page and this kernel have other versions of us"}
        else:
            told = self._commands(data)
        comm.send({"nonce": data.get("nonce"), **told})
        op = data.get("op")
        if told["ok"] and op in ("hello", "snapshot", "document"):
            self._start()
            if op == "document":
                self._documented()
            else:
                with self._lock:
                    self._shown = None
            self._send()
            self._wake.set()

    def _documented(self) -> None:
        self._aside = threading.current_thread() is not threading.main_thread()
        with self._told:
            self._told.notify_all()
        self._look_soon()

    def _expect(self, cell_id: str) -> None:
        """A cell that nobody told of runs: its page's document is on its way, on another thread."""
        if self._aside and self._pages:
            with self._told:
                self._told.wait_for(lambda: self.flow.document.cell(cell_id) is not None, _EXPECT_S)

    # --- freshness ---------------------------------------------------------------------------------------------------

    def _begun(self) -> None:
        self._busy = True

    def _ended(self) -> None:
        self._busy = False
        if self._displays and not self._pages and self.flow.mode == "live":
            self.flush()  # a client that only executes hears nothing between two cells
        self._look_soon()

    def _look_soon(self) -> None:
        """Between two cells, in the kernel's main thread, look at what only values and files can tell."""
        loop = getattr(getattr(self.flow.shell, "kernel", None), "io_loop", None)
        if loop is not None and (self._pages or self._displays or self._widgets):
            loop.add_callback(self._look)

    def _look(self) -> None:
        if not self._busy and not self._done.is_set() and self._badges.look():
            self._wake.set()


def _empty(change: Mapping[str, Any]) -> bool:
    return not (change["nodes"] or change["removed"] or change["run"] or change["edges"])
