"""Between a run and its pages: states go out on one comm and into displays, commands come in on another.

The *state* comm is opened by the kernel and only ever speaks; the *control* comm is opened by the page, so that a
kernel with subshells serves it while a cell runs. A thread of its own sends at most ten states a second, fewer when a
state is so large that making it would take time from tasks. Knows comms, displays and widgets; what a command does is
told elsewhere.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from prefect_nb.authoring import taps
from prefect_nb.authoring.commands import Commands
from prefect_nb.authoring.freshness import Badges
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.places import wants_widget
from prefect_nb.authoring.runcommands import RunCommands
from prefect_nb.authoring.runs import Run as FlowRun
from prefect_nb.authoring.screens import RunScreen, Screen
from prefect_nb.core.run import Run
from prefect_nb.engine.session import Session
from prefect_nb.views.artifacts import gauged
from prefect_nb.views.build import Calls, build
from prefect_nb.views.bundle import MIME, bundle
from prefect_nb.views.details import Details
from prefect_nb.views.model import RunView, ViewModel
from prefect_nb.views.widget import flow_widget

__all__ = ["MIME", "Hub"]

STATE, CONTROL = "prefect_nb.state", "prefect_nb.control"
_APART_S, _AT_MOST_S = 0.1, 2.0
_SHARE = 20  # between two states, this many times the processor time of the last
_SOON_S = 0.03
_EXPECT_S = 0.3
_STALE_S = 2.0  # of a picture that no extension of the page keeps alive
_KEPT = 20
_PICTURES = 5


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
        self._calls = Calls()
        self._own = Screen(self._built, lambda: not flow.opened or not flow.session.run.active)
        self._runs: dict[str, tuple[RunScreen, RunCommands]] = {}
        self._state: Any = None
        self._pages: dict[str, Any] = {}
        self._aside = False
        self._busy = False
        self._pictures: list[str] = []  # of runs of functions, in the cell that runs now
        self._thread: threading.Thread | None = None

    # --- opening and closing -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Announce the kernel to pages; silent where the shell has no comms."""
        events = self.flow.shell.events
        events.register("pre_execute", self._begun)
        events.register("post_execute", self._ended)
        self.flow.expect = self._expect
        self.flow.follow = self.follow
        manager = getattr(getattr(self.flow.shell, "kernel", None), "comm_manager", None)
        if manager is None:
            return
        manager.register_target(CONTROL, self._page)
        from comm import create_comm  # only kernels have it

        self._state = create_comm(target_name=STATE, data={"v": 1})

    def attach(self, session: Session) -> None:
        """Show this run from now on."""
        with self._lock:
            self._own.forget()
        session.bus.subscribe(lambda run: self._wake.set())
        self._start()
        self._wake.set()

    def follow(self, run: FlowRun, below: bool) -> Callable[[], None]:
        """Show the run of a flow of functions, also below the cell that called it; the result is called at its end."""
        session = run.session
        with self._lock:
            screen = self._runs[run.id][0] if run.id in self._runs else RunScreen(session)
            screen.session, screen.here = session, True
            self._runs[run.id] = screen, RunCommands(run, screen)
            while len(self._runs) > _KEPT and not (oldest := next(iter(self._runs.values()))[0]).here:
                del self._runs[oldest.run.id]
            if below and threading.current_thread() is threading.main_thread():
                self._show(screen, self._picture())
        session.bus.subscribe(lambda _: self._wake.set())
        self._start()

        def ended() -> None:
            with self._lock:
                if screen.session is session:
                    screen.here = False
                self._send(screen)
            self._paint(screen)

        return ended

    def _picture(self) -> str:
        """The name of one more display in this cell; where there are many already, the last shows another run."""
        if len(self._pictures) < _PICTURES:
            return ""
        name = self._pictures[-1]
        for screen in self._screens():
            if name in screen.displays:
                screen.displays.remove(name)
        return name

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
        """The newest model of the notebook's run."""
        with self._lock:
            return self._own.model()

    def _built(self, seq: int) -> ViewModel:
        flow = self.flow
        if not flow.opened:
            run = RunView(id="", flow=flow.name, live=True, order_known=flow.document.order_known)
            empty = build(Run(), flow.document.to_plain(), seq=0)
            return ViewModel.of(0, run, empty.nodes, empty.edges)
        session = flow.session
        shown = session.bus.run
        model = build(
            shown,
            session.graph,
            seq=seq,
            store=session.store.location,
            notebook=session.notebook,
            freshness=self._badges.told(),
            calls=self._calls,
        )
        return gauged(model, shown, session.bus.gauges())

    def details(self, task: str) -> Details:
        """One task's story."""
        return self._commands.details(task)

    def display(self) -> None:
        """Show the graph in the cell that runs now, and keep that output up to date."""
        self._start()
        self._show(self._own)

    def _show(self, screen: Screen, name: str = "") -> None:
        publish = self.flow.shell.display_pub.publish
        with self._lock:
            here = not self._pages and wants_widget(self.flow.shell)
        with taps.muted():
            if here:
                found = self._widget(screen)._repr_mimebundle_()
                data, metadata = found if isinstance(found, tuple) else (found, {})
                publish(data, metadata)
                return
            again = bool(name)
            name = name or f"prefect-nb-{uuid4().hex[:12]}"
            publish(bundle(screen.model()), {}, transient={"display_id": name}, update=again)
        with self._lock:
            screen.shows(name)
            if screen is not self._own and not again:
                self._pictures.append(name)

    def widget(self) -> Any:
        """The live view as a widget, for pages without the lab extension and for layouts of other widgets."""
        self._start()
        return self._widget(self._own)

    def _widget(self, screen: Screen) -> Any:
        widget = flow_widget(screen.model(), self._command)
        with self._lock:
            screen.feeds(widget)
        return widget

    def flush(self) -> None:
        """Send what is new now: pages and displays show the states as they are."""
        for screen in self._screens():
            self._send(screen)
            self._paint(screen)

    def _screens(self) -> list[Screen]:
        with self._lock:
            return [self._own, *(screen for screen, _ in self._runs.values())]

    def _pump(self) -> None:
        while not self._done.is_set():
            self._wake.wait()
            if self._done.wait(_SOON_S):  # what has just ended is answered first; what ends next comes along
                return
            self._wake.clear()
            began = time.thread_time()
            for screen in self._screens():
                self._send(screen)
                if screen.due(math.inf if self._pages else _STALE_S):
                    self._paint(screen)
            self._done.wait(min(_AT_MOST_S, max(_APART_S, _SHARE * (time.thread_time() - began))))

    def _send(self, screen: Screen) -> None:
        with self._lock:
            message = screen.news()
            if message is not None and self._state is not None:
                self._state.send(message)

    def _paint(self, screen: Screen) -> None:
        with self._lock:
            found = screen.to_paint()
        if found is None:
            return
        model, names = found
        data = bundle(model)
        with taps.muted():
            for name in names:
                self.flow.shell.display_pub.publish(data, {}, transient={"display_id": name}, update=True)

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
            told = self._command(data)
        comm.send({"nonce": data.get("nonce"), **told})
        op = data.get("op")
        if told["ok"] and op in ("hello", "snapshot", "document"):
            self._start()
            if op == "document":
                self._documented()
            with self._lock:
                for screen in self._screens():
                    if op != "document":
                        screen.forget()
                    self._send(screen)
            self._wake.set()

    def _command(self, data: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            known = self._runs.get(str(data.get("run") or ""))
        if known is not None and data.get("op") not in ("snapshot", "document"):
            return known[1](data)
        return self._commands(data)

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
        self._pictures.clear()

    def _ended(self) -> None:
        self._busy = False
        if not self._pages and self.flow.mode == "live" and any(screen.displays for screen in self._screens()):
            self.flush()  # a client that only executes hears nothing between two cells
        self._look_soon()

    def _look_soon(self) -> None:
        """Between two cells, in the kernel's main thread, look at what only values and files can tell."""
        loop = getattr(getattr(self.flow.shell, "kernel", None), "io_loop", None)
        if loop is not None and (self._pages or self._own.displays or self._own.widgets):
            loop.add_callback(self._look)

    def _look(self) -> None:
        if not self._busy and not self._done.is_set() and self._badges.look():
            self._wake.set()
