"""What a task shows: recorded in order while it goes to the page as always, and shown again on a hit.

Knows the record and the taps. Knows nothing about tasks or stores: text goes to a callback at once, the record is asked
for at the end.

Which capture an output belongs to is a context variable, so tasks in several threads do not mix. A thread started
inside a capture belongs to it, on the page as in the record (kernels otherwise send a thread's output to the newest
cell). What such a thread, or an asyncio task of the body, writes after the end still reaches the callback and the page
of its cell, but no longer the record. Captures nest: the innermost alone feeds its callback, all of them record.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextvars import Token
from dataclasses import replace
from html import escape
from typing import Any, Literal, Self

from prefect_nb.analysis import redaction
from prefect_nb.authoring import taps
from prefect_nb.authoring.outputs import Output, fold, from_plain, jsonable, to_plain

__all__ = ["NOTHING", "Capture", "Output", "from_plain", "replay", "to_plain"]

DISPLAY_CAP = 32 << 20
NOTHING = object()  # says "no value", since None is one

_FOLD_EVERY = 1 << 18
_GRACE, _CHILD_GRACE = 0.0001, 0.005  # for text that came through a file descriptor; the second if a child ended
_WIDGET = "application/vnd.jupyter.widget-view+json"


class Capture:
    """Records what is shown in its context; a context manager around one body, in any thread.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell or None
        Whose displays are recorded; None records the streams only.
    on_text : callable, optional
        Called at once with stream name and text, also for text after the end; must be quick and must not raise.
    cap_bytes : int
        How much text is kept; the rest is counted.
    """

    def __init__(
        self, shell: Any, *, on_text: Callable[[str, str], None] | None = None, cap_bytes: int = 1 << 20
    ) -> None:
        self._shell = shell
        self._on_text = on_text
        self._cap = cap_bytes
        self._lock = threading.Lock()
        self._items: list[Output] = []
        self._pieces: list[str] = []  # text after the last item, of the stream `_name`
        self._name = ""
        self._unfolded = 0
        self._dropped = self._dropped_displays = 0
        self._displayed = 0
        self._clear_next = self._closed = False
        self._parent: Capture | None = None
        self._born = 0
        self._token: Token[taps.Sink | None] | None = None
        self._stage: tuple[Any, ...] = ()
        self._in_front = False
        self._children: tuple[float, ...] = ()
        self.owner: object = None  # whoever opened it; for threads that have nothing else of their starter's context

    def __enter__(self) -> Self:
        parent = taps.current.get()
        self._parent = parent if isinstance(parent, Capture) else None
        self._stage = taps.stage(self._shell)
        if self._parent is not None and self._parent._stage == self._stage:  # usual; the taps are where they were
            self._born = taps.listening(self._stage) or taps.install(self._shell)
        else:
            self._born = taps.install(self._shell)
        if self._parent is None:
            self._children = taps.children()
        self._token = taps.current.set(self)
        if threading.current_thread() is threading.main_thread():
            taps.foreground(self)
            self._in_front = True
        return self

    def __exit__(self, *exc: object) -> None:
        if redaction.active():
            taps.release()
        if self._parent is None:  # the outermost drains for all
            taps.drain(_CHILD_GRACE if taps.children() != self._children else _GRACE)
        if self._in_front:
            taps.background(self)
        if self._token is not None:
            taps.current.reset(self._token)
        with self._lock:
            self._closed = True

    def outputs(self) -> tuple[Output, ...]:
        """What was shown: streams in one piece each until something else comes, folded, and cut at the cap."""
        with self._lock:
            self._settle()
            self._limit()
            shown = [replace(item, text=fold(item.text, complete=True)) for item in self._items]
            if self._dropped:
                shown.append(Output("stream", self._name or "stdout", f"\n… {self._dropped:,} more characters\n"))
            if self._dropped_displays:
                shown.append(Output("stream", "stderr", f"… {self._dropped_displays:,} more displays\n"))
            return tuple(shown)

    def on_stream(self, name: str, text: str, born: int) -> None:
        """Text passed a tap."""
        if self._on_text is not None:
            self._on_text(name, text)
        layer: Capture | None = self
        while layer is not None:
            if born < layer._born:  # a younger tap sits on a stream that the layer's page does not show
                layer._keep_text(name, text)
            layer = layer._parent

    def on_bundle(
        self, kind: Literal["display", "result", "update"], data: Any, metadata: Any, display_id: str | None
    ) -> None:
        """A MIME bundle passed a tap."""
        plain, size = jsonable(data or {})
        plain, described = redaction.redacted(plain), redaction.redacted(jsonable(metadata or {})[0])
        output = Output(kind, data=plain, metadata=described, display_id=display_id)
        layer: Capture | None = self
        while layer is not None:
            layer._keep_bundle(output, size)
            layer = layer._parent

    def on_clear(self, wait: bool) -> None:
        """The output area was cleared, or will be by the next output."""
        layer: Capture | None = self
        while layer is not None:
            with layer._lock:
                if not layer._closed:
                    layer._clear_next = True
                    if not wait:
                        layer._clear_if_asked()
            layer = layer._parent

    def _keep_text(self, name: str, text: str) -> None:
        with self._lock:
            if self._closed:
                return
            self._clear_if_asked()
            if self._dropped:
                self._dropped += len(text)
                return
            if name != self._name:
                self._settle()
                self._name = name
            self._pieces.append(text)
            self._unfolded += len(text)
            if self._unfolded > _FOLD_EVERY:
                self._settle()
                self._limit()

    def _keep_bundle(self, output: Output, size: int) -> None:
        with self._lock:
            if self._closed:
                return
            self._clear_if_asked()
            self._settle()
            self._name = ""
            if output.kind == "update" and self._update(output):
                return
            if self._displayed + size > DISPLAY_CAP:
                self._dropped_displays += 1
                return
            self._displayed += size
            self._items.append(output)

    def _update(self, update: Output) -> bool:
        """Put the newer content into the display that this record holds; whether it holds one."""
        known = False
        for index, item in enumerate(self._items):
            if item.display_id == update.display_id and item.kind == "display":
                self._items[index] = replace(item, data=update.data, metadata=update.metadata)
                known = True
        return known

    def _settle(self) -> None:
        """Turn the loose pieces of text into an item, or into the end of the last one."""
        self._unfolded = 0
        if not self._pieces:
            return
        text, self._pieces = "".join(self._pieces), []
        last = self._items[-1] if self._items else None
        if last is not None and last.kind == "stream" and last.name == self._name:
            self._items[-1] = replace(last, text=fold(last.text + text))
        else:
            self._items.append(Output("stream", self._name, fold(text)))

    def _limit(self) -> None:
        """Cut the text at the cap; what comes later is only counted."""
        left = self._cap
        excess = sum(len(item.text) for item in self._items) - left
        if excess <= 0:
            return
        self._dropped += excess
        kept = []
        for item in self._items:
            if item.kind == "stream":
                if not left:
                    continue
                item = replace(item, text=item.text[:left])
                left -= len(item.text)
            kept.append(item)
        self._items = kept

    def _clear_if_asked(self) -> None:
        if self._clear_next:
            self._items, self._pieces, self._name, self._unfolded = [], [], "", 0
            self._dropped = self._dropped_displays = self._displayed = 0
            self._clear_next = False


def replay(outputs: Iterable[Output], shell: Any, *, note: str = "", value: object = NOTHING) -> None:
    """Show a record again, in its order, under fresh display ids.

    Parameters
    ----------
    outputs : iterable of Output
        What :meth:`Capture.outputs` gave.
    shell : IPython.core.interactiveshell.InteractiveShell or None
        Where it is shown; without one only the streams are.
    note : str, optional
        A small line after the rest, which no capture records.
    value : object, optional
        The result's value, so that ``Out`` and ``_`` hold it.
    """
    names: dict[str, str] = {}
    for output in outputs:
        if output.kind == "stream":
            stream = getattr(sys, output.name)
            stream.write(output.text)
            stream.flush()  # kernels keep a buffer for each stream: the order between them would be lost
        elif output.kind == "artifact" or shell is None:
            continue  # an artifact is shown on the node, not below the cell
        elif output.kind == "result":
            _show_result(shell.displayhook, _without_dead_views(output.data), dict(output.metadata), value)
        else:
            transient = {}
            data = _without_dead_views(output.data)
            update = output.kind == "update"
            if output.display_id is not None:
                fresh = names.setdefault(output.display_id, uuid.uuid4().hex) if not update else output.display_id
                transient["display_id"] = fresh
            shell.display_pub.publish(data, dict(output.metadata), transient=transient, update=update)
            if output.display_id is not None and not update:
                taps.renamed[output.display_id] = fresh
    if note:
        html = f"<small style='opacity:.7'>{escape(note)}</small>"
        with taps.muted():
            shell.display_pub.publish({"text/plain": note, "text/html": html}, {})


def _show_result(hook: Any, data: dict[str, Any], metadata: dict[str, Any], value: object) -> None:
    """What the display hook does with a value, with the stored bundle in place of a new one."""
    hook.check_for_underscore()
    hook.start_displayhook()
    hook.write_output_prompt()
    if value is not NOTHING:
        hook.update_user_ns(value)
        hook.fill_exec_result(value)
    hook.write_format_data(data, metadata)
    hook.log_output(data)
    hook.finish_displayhook()


def _without_dead_views(data: Mapping[str, Any]) -> dict[str, Any]:
    """The bundle, without the view of a widget that no longer lives in this kernel."""
    view = data.get(_WIDGET)
    if view is None:
        return dict(data)
    comm = sys.modules.get("comm")
    living = comm.get_comm_manager().comms if comm is not None else {}
    return {mime: part for mime, part in data.items() if mime != _WIDGET or view.get("model_id") in living}
