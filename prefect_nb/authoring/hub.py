"""Between a run and its pages: states go out on one comm and into displays, commands come in on another.

The *state* comm is opened by the kernel and only ever speaks; the *control* comm is opened by the page, so that a
kernel with subshells serves it while a cell runs. Commands become events; none of them touches the user's namespace.
A thread of its own sends at most ten states a second, so that no task waits for a view.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from prefect_nb.authoring import taps
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.core import events as ev
from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.session import Session
from prefect_nb.errors import PrefectNBError
from prefect_nb.views.build import build
from prefect_nb.views.details import Details
from prefect_nb.views.inspect import inspect
from prefect_nb.views.model import RunView, ViewModel, patch
from prefect_nb.views.svg import to_svg
from prefect_nb.views.text import status_table
from prefect_nb.wiring import now

__all__ = ["MIME", "Hub"]

MIME = "application/vnd.prefect-nb.flow+json"
STATE, CONTROL = "prefect_nb.state", "prefect_nb.control"
_APART_S = 0.1
_LIMIT = 64 << 20


class Hub:
    """The pages of one kernel.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    """

    def __init__(self, flow: LiveFlow) -> None:
        self.flow = flow
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._done = threading.Event()
        self._seq = 0
        self._shown: ViewModel | None = None
        self._state: Any = None
        self._controls: list[Any] = []
        self._displays: list[str] = []
        self._painted: tuple[str, int] = ("", 0)
        self._thread: threading.Thread | None = None
        self._commands: dict[str, Callable[[str, Mapping[str, Any]], tuple[str, Any]]] = {
            "cancel": self._cancel,
            "skip": self._skip,
            "invalidate": self._invalidate,
            "force": self._force,
            "details": self._details,
            "why": self._details,
            "logs": self._details,
        }

    # --- opening and closing -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Announce the kernel to pages; silent where the shell has no comms."""
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
        if self._thread is None:
            self._thread = threading.Thread(target=self._pump, name="prefect_nb views", daemon=True)
            self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """Stop sending and let the pages go."""
        self._done.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(2)
        manager = getattr(getattr(self.flow.shell, "kernel", None), "comm_manager", None)
        if manager is not None:
            manager.unregister_target(CONTROL, self._page)
        if self._state is not None:
            self._state.close()

    # --- out ---

    def model(self) -> ViewModel:
        """The newest model."""
        flow = self.flow
        if not flow.opened:
            run = RunView(id="", flow=flow.name, live=True, order_known=flow.document.order_known)
            empty = build(Run(), flow.document.to_plain(), seq=0)
            return ViewModel.of(0, run, empty.nodes, empty.edges)
        session = flow.session
        return build(
            session.run,
            session.graph,
            seq=self._seq,
            store=session.store.location,
            notebook=session.notebook,
        )

    def bundle(self, model: ViewModel) -> dict[str, Any]:
        """The model for every kind of page: ours, a picture, and text."""
        return {MIME: model.to_plain(), "image/svg+xml": to_svg(model), "text/plain": status_table(model)}

    def display(self) -> None:
        """Show the graph in the cell that runs now, and keep that output up to date."""
        name = f"prefect-nb-{uuid4().hex[:12]}"
        with taps.muted():
            self.flow.shell.display_pub.publish(self.bundle(self.model()), {}, transient={"display_id": name})
        with self._lock:
            self._displays.append(name)
            del self._displays[:-20]

    def flush(self) -> None:
        """Send what is new now: pages and displays show the states as they are."""
        self._send()
        self._paint()

    def _pump(self) -> None:
        while not self._done.is_set():
            self._wake.wait()
            self._wake.clear()
            if self._done.is_set():
                return
            self._send()
            if not self.flow.opened or not self.flow.session.run.active:
                self._paint()
            self._done.wait(_APART_S)

    def _send(self) -> None:
        with self._lock:
            new, old = self.model(), self._shown
            if old is None or old.run.id != new.run.id:
                self._seq += 1
                self._shown = new = self._numbered(new)
                self._tell({"op": "full", "model": new.to_plain()})
                return
            change = patch(old, self._numbered(new, self._seq + 1))
            if not _empty(change):
                self._seq += 1
                self._shown = self._numbered(new)
                self._tell({"op": "patch", "patch": change, "run": new.run.id})

    def _numbered(self, model: ViewModel, seq: int | None = None) -> ViewModel:
        return ViewModel.of(self._seq if seq is None else seq, model.run, model.nodes, model.edges)

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

    # --- in ---

    def _page(self, comm: Any, message: Any) -> None:
        self._controls = [*self._controls[-20:], comm]
        comm.on_msg(lambda m: self._received(comm, m))

    def _received(self, comm: Any, message: Mapping[str, Any]) -> None:
        data = message.get("content", {}).get("data")
        if not isinstance(data, Mapping) or data.get("v") != 1 or len(str(data)) > _LIMIT:
            return
        comm.send({"nonce": data.get("nonce"), **self.command(data)})
        if data.get("op") in ("hello", "snapshot", "document"):
            with self._lock:
                self._shown = None if data["op"] != "document" else self._shown
            self._send()

    def command(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Carry a page's command out; the answer, never an exception."""
        op, task = data.get("op"), data.get("task")
        if op in ("hello", "snapshot"):
            return {"ok": True, "message": ""}
        if op == "document":
            return self._document(data)
        handler = self._commands.get(str(op))
        if handler is None or not isinstance(task, str):
            return {"ok": False, "message": f"{op} is not something a page can ask for"}
        if op != "force" and not self.flow.opened:
            return {"ok": False, "message": "nothing has run yet"}
        try:
            said, extra = handler(task, data)
        except PrefectNBError as error:
            return {"ok": False, "message": error.message}
        return {"ok": True, "message": said, **({"data": extra} if extra is not None else {})}

    def _document(self, data: Mapping[str, Any]) -> dict[str, Any]:
        rows = data.get("cells")
        if not isinstance(rows, list) or not all(isinstance(r, Mapping) for r in rows):
            return {"ok": False, "message": "a document is a list of cells"}
        self.flow.set_document(rows, path=str(data.get("path") or ""))
        return {"ok": True, "message": ""}

    def _visit(self, task: str) -> VisitId | None:
        run = self.flow.session.run
        visit = run.visit(task)
        if visit is not None:
            return visit.id
        return next((v for v in run.visits if str(v) == task), None)

    def _cancel(self, task: str, data: Mapping[str, Any]) -> tuple[str, Any]:
        visit = self._visit(task)
        if visit is None:
            return f"{task} has not run yet", None
        self.flow.session.ask(ev.CancelRequested(at=now(), actor="page", visit=visit, message="by the page"))
        return f"asked {task} to stop", None

    def _skip(self, task: str, data: Mapping[str, Any]) -> tuple[str, Any]:
        session = self.flow.session
        visit = session.run.visit(task)
        cell = self.flow.document.task(task)
        if visit is not None and not visit.state.final:
            session.ask(ev.SkipRequested(at=now(), actor="page", visit=visit.id, message="by the page"))
        elif cell is not None and cell.spec is not None:
            fresh = VisitId(task, 1 if visit is None else visit.id.visit + 1)
            session.ask(
                ev.TaskPlanned(at=now(), actor="page", visit=fresh, spec=cell.spec, cell=cell.id),
                ev.SkipRequested(at=now(), actor="page", visit=fresh, message="by the page"),
            )
        else:
            return f"there is no task {task}", None
        return f"{task} is skipped", None

    def _invalidate(self, task: str, data: Mapping[str, Any]) -> tuple[str, Any]:
        session = self.flow.session
        visit = session.run.visit(task)
        if visit is None:
            return f"{task} has no result yet", None
        if visit.key:
            session.store.invalidate(visit.key)
        session.ask(ev.TaskInvalidated(at=now(), actor="page", visit=visit.id))
        return f"{task} will be computed again", None

    def _force(self, task: str, data: Mapping[str, Any]) -> tuple[str, Any]:
        cell = self.flow.document.task(task)
        if cell is None:
            return f"there is no task {task}", None
        self.flow.forced.add(cell.id)
        return f"the next execution of {task} computes it again", None

    def _details(self, task: str, data: Mapping[str, Any]) -> tuple[str, Any]:
        return "", self.details(task).to_plain()

    def details(self, task: str) -> Details:
        """One task's story."""
        flow = self.flow
        store, run = flow.store, flow.session.run
        visit = run.visit(task)
        entries = store.entries(task=task, flow=flow.name, limit=20)
        entry = next((e for e in entries if visit is not None and e.key == visit.key), None)
        earlier = next((e for e in entries if entry is not None and e.created_at < entry.created_at), None)
        events = [event for _, event in store.events(run.id)]
        return inspect(events, store.logs(run.id), entry, earlier, task)


def _empty(change: Mapping[str, Any]) -> bool:
    return not (change["nodes"] or change["removed"] or change["run"] or change["edges"])
