"""One run on its pages: its newest model, numbered, and the displays and widgets that show it.

Knows models and differences between them. Not how messages travel, nor what the pages ask for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from prefect_nb.core.run import Run
from prefect_nb.engine.session import Session
from prefect_nb.views.artifacts import gauged
from prefect_nb.views.build import Calls, build
from prefect_nb.views.model import ViewModel, patch

__all__ = ["RunScreen", "Screen"]

_KEPT = 20


class Screen:
    """What pages know of one run; its owner guards it with a lock.

    Parameters
    ----------
    look : callable
        Makes the newest model, given its number.
    quiet : callable
        Whether nothing of the run is under way, so that a picture of it will last.
    mark : mapping, optional
        What every message of this stream tells besides.
    """

    def __init__(
        self, look: Callable[[int], ViewModel], quiet: Callable[[], bool], mark: Mapping[str, Any] | None = None
    ) -> None:
        self._look, self.quiet, self._mark = look, quiet, dict(mark or {})
        self._seq = 0
        self.shown: ViewModel | None = None
        self.displays: list[str] = []
        self.widgets: list[Any] = []
        self._painted: tuple[str, int] = ("", 0)
        self._painted_at = 0.0

    def model(self) -> ViewModel:
        """The newest model, under the number of the last one that was sent."""
        return self._look(self._seq)

    def forget(self) -> None:
        """The next message is whole."""
        self.shown = None

    def news(self) -> dict[str, Any] | None:
        """The next message to pages, None if nothing changed; widgets are told as well."""
        new, old = self.model(), self.shown
        if old is not None and old.run.id == new.run.id:
            new = _numbered(new, self._seq + 1)
            change = patch(old, new)
            if not (change["nodes"] or change["removed"] or change["run"] or change["edges"]):
                return None
            message = {"op": "patch", "patch": change, "run": new.run.id}
        else:
            new = _numbered(new, self._seq + 1)
            message = {"op": "full", "model": new.to_plain()}
        self._seq += 1
        self.shown = new
        for widget in self.widgets:
            widget.show(new)
        return message | self._mark

    def shows(self, name: str) -> None:
        """One more display shows it."""
        self.displays.append(name)
        del self.displays[:-_KEPT]

    def feeds(self, widget: Any) -> None:
        """One more widget shows it."""
        self.widgets.append(widget)
        del self.widgets[:-_KEPT]

    def due(self, every_s: float) -> bool:
        """Whether its displays should show what pages know: it will last, or they are that old."""
        another = self.shown is not None and self.shown.run.id != self._painted[0]
        return another or self.quiet() or time.monotonic() - self._painted_at >= every_s

    def to_paint(self) -> tuple[ViewModel, list[str]] | None:
        """What its displays are to show now, None if they do."""
        model = self.shown
        if model is None or not self.displays or self._painted == (model.run.id, model.seq):
            return None
        self._painted, self._painted_at = (model.run.id, model.seq), time.monotonic()
        return model, list(self.displays)


class RunScreen(Screen):
    """The screen of one run of a flow of functions.

    Parameters
    ----------
    session : Session
        Its engine; when the run is gone on with, the newest one.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.here = True
        self._calls = Calls()
        super().__init__(self._built, lambda: not self.here or not self.run.active, {"kind": "function"})

    @property
    def run(self) -> Run:
        """Its last durable state; once nobody drives it, its last."""
        return self.session.bus.run

    def _built(self, seq: int) -> ViewModel:
        session = self.session
        run = session.bus.run
        model = build(
            run,
            session.graph,
            seq=seq,
            store=session.store.location,
            notebook=session.notebook,
            calls=self._calls,
            here=self.here,
        )
        return gauged(model, run, session.bus.gauges())


def _numbered(model: ViewModel, seq: int) -> ViewModel:
    return ViewModel.of(seq, model.run, model.nodes, model.edges)
