"""Where output passes: a listener on the streams, the display publisher and the display hook, never in the way.

Knows Python's streams, IPython's two output objects and threads. Knows nothing about records or tasks: what passes goes
to the sink of the current context. The methods of the existing objects are shadowed on the instance, so whoever holds
such an object already (a logging handler made in an earlier cell) is heard too, and ``isatty``, ``fileno`` and the rest
stay as they were.
"""

from __future__ import annotations

import itertools
import resource
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, Literal, Protocol

from prefect_nb.analysis import redaction

__all__ = [
    "Sink",
    "background",
    "carried",
    "children",
    "current",
    "drain",
    "foreground",
    "install",
    "listening",
    "muted",
    "release",
    "renamed",
    "stage",
    "uninstall",
]

_births = itertools.count(1)
_local = threading.local()  # .busy: this thread is inside an output that is already told, or that must not be
_Thread = threading.Thread  # notebooks may replace what the module has
_plain_start = _Thread.start

# What a kernel calls the variables that route an output to its cell, and the visit that function tasks belong to.
_ROUTES = frozenset({"parent_header", "shell_parent", "shell_parent_ident", "prefect_nb_caller"})


class Sink(Protocol):
    """What is told of outputs; may be called from any thread, and must not raise."""

    def on_stream(self, name: str, text: str, born: int) -> None:
        """Text was written to a stream whose tap has this number (larger means younger)."""
        ...

    def on_bundle(
        self, kind: Literal["display", "result", "update"], data: Any, metadata: Any, display_id: str | None
    ) -> None:
        """A MIME bundle was shown."""
        ...

    def on_clear(self, wait: bool) -> None:
        """The output area was cleared."""
        ...


renamed: dict[str, str] = {}
"""The names under which displays of hits are on the page, by the names that their bodies had given them."""

current: ContextVar[Sink | None] = ContextVar("prefect_nb_sink", default=None)


class _Foreground:
    """The sink of the main thread, for text that has no context: what C code and child processes write."""

    sinks: list[Sink] = []  # noqa: RUF012 - one per process on purpose


def foreground(sink: Sink) -> None:
    """Let `sink` have what arrives through the process's own file descriptors, until :func:`background`."""
    _Foreground.sinks.append(sink)


def background(sink: Sink) -> None:
    """Undo :func:`foreground`."""
    _Foreground.sinks.remove(sink)


@contextmanager
def muted() -> Iterator[None]:
    """Show something on the page that no sink hears."""
    before = getattr(_local, "busy", False)
    _local.busy = True
    try:
        yield
    finally:
        _local.busy = before


class _Tap:
    """Stands in for a method of one object, calls it and then tells the sink."""

    method = ""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.original: Callable[..., Any] = getattr(owner, self.method)
        self.born = next(_births)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        sink = self.sink()
        if sink is None or getattr(_local, "busy", False):
            return self.original(*args, **kwargs)
        _local.busy = True
        try:
            answer = self.original(*args, **kwargs)
            self.tell(sink, *args, **kwargs)
        finally:
            _local.busy = False
        return answer

    def sink(self) -> Sink | None:
        return current.get()

    def tell(self, sink: Sink, *args: Any, **kwargs: Any) -> None:
        """Nothing to tell: the output was only to be kept from other taps."""


class _Write(_Tap):
    method = "write"

    def __init__(self, owner: Any, name: str) -> None:
        super().__init__(owner)
        self.name = name
        self.held = redaction.Held()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if redaction.active() and args and isinstance(args[0], str):
            text = self.held.feed(args[0])
            if text:
                super().__call__(text, *args[1:], **kwargs)
            return len(args[0])
        return super().__call__(*args, **kwargs)

    def release(self) -> None:
        """Write what was held."""
        if text := self.held.release():
            super().__call__(text)

    def sink(self) -> Sink | None:
        sink = current.get()
        if sink is None and _Foreground.sinks:
            watcher = getattr(self.owner, "watch_fd_thread", None)
            if watcher is not None and watcher is threading.current_thread():
                return _Foreground.sinks[-1]
        return sink

    def tell(self, sink: Sink, *args: Any, **kwargs: Any) -> None:
        text = args[0] if args else ""
        if isinstance(text, str) and text:
            sink.on_stream(self.name, text, self.born)


class _Publish(_Tap):
    method = "publish"

    def __init__(self, owner: Any) -> None:
        super().__init__(owner)
        plain = self.original

        def to_the_page(*args: Any, **kwargs: Any) -> Any:
            """Reach a display that a hit showed under a new name by the name that the body gave it."""
            name = (kwargs.get("transient") or {}).get("display_id")
            if name in renamed and kwargs.get("update"):
                kwargs["transient"] = {**kwargs["transient"], "display_id": renamed[name]}
            elif name in renamed:
                del renamed[name]  # shown anew by a body
            return plain(*args, **kwargs)

        self.original = to_the_page

    def tell(self, sink: Sink, *args: Any, **kwargs: Any) -> None:
        data = args[0] if args else kwargs.get("data")
        metadata = args[1] if len(args) > 1 else kwargs.get("metadata")
        display_id = (kwargs.get("transient") or {}).get("display_id")
        sink.on_bundle("update" if kwargs.get("update") else "display", data, metadata, display_id)


class _Clear(_Tap):
    method = "clear_output"

    def tell(self, sink: Sink, *args: Any, **kwargs: Any) -> None:
        sink.on_clear(bool(args[0] if args else kwargs.get("wait", False)))


class _Format(_Tap):
    method = "write_format_data"

    def tell(self, sink: Sink, *args: Any, **kwargs: Any) -> None:
        sink.on_bundle("result", args[0], args[1] if len(args) > 1 else kwargs.get("md_dict"), None)


class _Prompt(_Tap):
    method = "write_output_prompt"


class _Finish(_Tap):
    method = "finish_displayhook"


def install(shell: Any) -> int:
    """Listen to the present output objects, if that is not done yet; the number of the youngest tap.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell or None
        None listens to the streams only.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(getattr(stream, "write", None), _Tap):
            _shadow(stream, _Write(stream, name))
    if shell is not None:
        taps = ((shell.display_pub, (_Publish, _Clear)), (shell.displayhook, (_Format, _Prompt, _Finish)))
        for owner, kinds in taps:
            for kind in kinds:
                if not isinstance(getattr(owner, kind.method, None), _Tap):
                    _shadow(owner, kind(owner))
    if _Thread.start is _plain_start:
        _Thread.start = _start  # type: ignore[method-assign, assignment]
    return next(_births)


def stage(shell: Any) -> tuple[Any, ...]:
    """The present output objects: where :func:`install` would listen."""
    if shell is None:
        return sys.stdout, sys.stderr
    return sys.stdout, sys.stderr, shell.display_pub, shell.displayhook


def listening(present: tuple[Any, ...]) -> int:
    """The number of the youngest tap, as :func:`install` gives it; 0 if nobody listens to these streams."""
    for stream in present[:2]:
        if not isinstance(getattr(stream, "write", None), _Write):
            return 0
    return next(_births)


def release() -> None:
    """Let out what was held because it might have become something that must not be shown."""
    for stream in (sys.stdout, sys.stderr):
        tap = getattr(stream, "write", None)
        if isinstance(tap, _Write):
            tap.release()


def uninstall(shell: Any) -> None:
    """Stop listening to the present output objects."""
    owners = [sys.stdout, sys.stderr]
    if shell is not None:
        owners += [shell.display_pub, shell.displayhook]
    for owner in owners:
        attributes = getattr(owner, "__dict__", {})
        for method in [name for name, value in attributes.items() if isinstance(value, _Tap)]:
            delattr(owner, method)
    if _Thread.start is _start:
        _Thread.start = _plain_start  # type: ignore[method-assign]


def carried() -> Context:
    """A new context with the sink and the kernel's routing of this one and nothing else: what a worker thread needs."""
    fresh = Context()
    for variable, value in copy_context().items():
        if variable is current or variable.name in _ROUTES:
            fresh.run(variable.set, value)
    return fresh


def children() -> tuple[float, ...]:
    """A reading that changes when a child process of ours has ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime, float(usage.ru_minflt), float(usage.ru_nvcsw)


def drain(grace: float) -> None:
    """Let the threads that watch the process's own descriptors tell what was written so far.

    Parameters
    ----------
    grace : float
        Seconds between the moment when a thread has taken the bytes and the moment when it surely has told them.
    """
    found = [getattr(stream, "_fid", None) for stream in (sys.stdout, sys.stderr)]  # the kernel's ends of its pipes
    pipes = [descriptor for descriptor in found if isinstance(descriptor, int)]
    if not pipes:
        return
    for _ in range(50):
        if not select.select(pipes, [], [], 0)[0]:
            break
        time.sleep(0.001)
    time.sleep(grace)


def _shadow(owner: Any, tap: _Tap) -> None:
    try:
        setattr(owner, tap.method, tap)
    except AttributeError:
        return  # a stream of a foreign kind without instance attributes: shown as always, not recorded


def _start(thread: threading.Thread) -> None:
    if current.get() is not None:
        context, run = carried(), thread.run

        def carried_run() -> None:
            thread.__dict__.pop("run", None)
            context.run(run)

        thread.run = carried_run  # type: ignore[method-assign]
    _plain_start(thread)
