"""Who watches a run of a flow of functions: the page of the cell that called it, or a terminal, or nobody.

In a notebook the run's graph is shown below the cell. In a terminal, lines on the standard error stream tell what
happens. A script whose standard error is no terminal is left alone. ``PREFECT_NB_PROGRESS=0`` shows nothing anywhere,
``1`` tells the lines also where there is no terminal. Runs below another flow's are nodes of its picture: not shown.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import uuid4

from prefect_nb.authoring.calls import current, home
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.runs import Run
from prefect_nb.authoring.screens import RunScreen
from prefect_nb.core.run import Run as RunState
from prefect_nb.views.bundle import bundle
from prefect_nb.views.model import ViewModel
from prefect_nb.views.progress import Progress, ended

__all__ = ["PROGRESS", "aside", "watched"]

PROGRESS = "PREFECT_NB_PROGRESS"
_LINES_S, _PICTURE_S = 0.1, 1.0
_SHARE = 20  # between two looks, this many times the processor time of the last
_aside: ContextVar[bool] = ContextVar("prefect_nb_aside", default=False)
_print = print  # notebooks may replace the builtin


@contextmanager
def aside() -> Iterator[None]:
    """Runs that begin within are asked for by a page that shows them already: no cell called them."""
    reset = _aside.set(True)
    try:
        yield
    finally:
        _aside.reset(reset)


def watched(run: Run, drive: Callable[[], Any]) -> Callable[[], Any]:
    """What drives a run to its end, with somebody told of it from now on until then."""
    leave = _audience(run)
    if leave is None:
        return drive

    def driven() -> Any:
        try:
            return drive()
        finally:
            leave()

    return driven


def _audience(run: Run) -> Callable[[], None] | None:
    wish = os.environ.get(PROGRESS, "")
    caller = current()
    if wish == "0" or (caller is not None and not isinstance(caller.flow, LiveFlow)):
        return None
    live = home()
    shell = live.shell if live is not None else _shell()
    if getattr(shell, "kernel", None) is not None:
        if live is not None and live.follow is not None:
            return live.follow(run, not _aside.get())
        return _Watch(run, _picture(shell), _PICTURE_S).leave if shell is not None else None
    if wish == "1" or (sys.stderr is not None and sys.stderr.isatty()):
        return _Watch(run, _lines(), _LINES_S).leave
    return None


def _shell() -> Any:
    """The shell that this code runs in, where somebody has loaded IPython."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def _lines() -> Callable[[ViewModel, bool], None]:
    """Tells a run in lines."""
    progress = Progress(lambda line: _print(line, file=sys.stderr, flush=True))

    def tell(model: ViewModel, last: bool) -> None:
        progress.model(model)
        if last:
            _print(ended(model.run), file=sys.stderr, flush=True)

    return tell


def _picture(shell: Any) -> Callable[[ViewModel, bool], None]:
    """Shows a run as a picture below the cell, where the kernel has not loaded the extension."""
    name = f"prefect-nb-{uuid4().hex[:12]}"
    shown = False

    def tell(model: ViewModel, last: bool) -> None:
        nonlocal shown
        data = bundle(model)
        shell.display_pub.publish(data, {}, transient={"display_id": name}, update=shown)
        shown = True

    return tell


class _Watch:
    """Looks at a run from a thread of its own whenever it moved, but not all the time."""

    def __init__(self, run: Run, tell: Callable[[ViewModel, bool], None], apart_s: float) -> None:
        self._screen = RunScreen(run.session)
        self._tell, self._apart_s = tell, apart_s
        self._wake, self._done = threading.Event(), threading.Event()
        self._unsubscribe = run.session.bus.subscribe(self._moved)
        tell(self._screen.model(), False)
        self._thread = threading.Thread(target=self._look, name="prefect_nb progress", daemon=True)
        self._thread.start()

    def _moved(self, run: RunState) -> None:
        self._wake.set()

    def _look(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._done.is_set():
                return
            began = time.thread_time()
            self._tell(self._screen.model(), False)
            if self._done.wait(max(self._apart_s, _SHARE * (time.thread_time() - began))):
                return

    def leave(self) -> None:
        """The run has come to its end here: tell how it stands."""
        self._unsubscribe()
        self._done.set()
        self._wake.set()
        self._thread.join(2)
        self._screen.here = False
        self._tell(self._screen.model(), True)
