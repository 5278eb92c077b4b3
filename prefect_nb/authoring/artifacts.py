"""``artifact``: what a body shows on its node besides its output: text, tables, links, pictures, and how far it is.

Knows the running body, in its thread, in threads that it started and in its worker process. Knows nothing of how an
artifact is kept or drawn. Making one changes neither the task's key nor its result.

Examples
--------
>>> from prefect_nb import artifact
>>> artifact.markdown("# Done")
Traceback (most recent call last):
...
prefect_nb.errors.UsageError: artifact.markdown was called outside of a task's body
  -> call it inside a %%task cell or an @task function
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from prefect_nb.authoring import context, exhibits, taps
from prefect_nb.authoring.context import Frame
from prefect_nb.authoring.shelf import spent
from prefect_nb.core.artifacts import Artifact
from prefect_nb.errors import UsageError
from prefect_nb.wiring import now

__all__ = ["Artifacts", "Image", "Link", "Markdown", "Progress", "Table", "artifact", "received"]


_frames: WeakKeyDictionary[_Handle, Frame] = WeakKeyDictionary()
"""Whose each handle is; beside it, so that a cell which binds one can be stored, and comes back with a spent one."""


class _Handle:
    """One artifact of a body; it may be changed while the body runs, from any of its threads."""

    kind = ""

    def __init__(self, key: str | None, body: Mapping[str, Any]) -> None:
        frame = _frames[self] = _running(self.kind)
        self.name = frame.shelf.name(self.kind, key)
        self._keep(body)

    def _keep(self, body: Mapping[str, Any]) -> None:
        frame = _frames.get(self)
        if frame is None:
            raise spent(self.name)
        made = Artifact(self.name, self.kind, 0, body, frame.attempt, now())
        frame.shelf.keep(made, frame.visit, frame.session)

    def __repr__(self) -> str:
        return f"<artifact {self.name}>"


class Markdown(_Handle):
    """A text."""

    kind = "markdown"

    def update(self, text: object) -> None:
        """Show another text in its place."""
        self._keep(exhibits.markdown(text))


class Table(_Handle):
    """A table."""

    kind = "table"

    def update(self, rows: Any) -> None:
        """Show other rows in its place."""
        self._keep(exhibits.table(rows))


class Link(_Handle):
    """A link."""

    kind = "link"

    def update(self, url: object, text: object | None = None) -> None:
        """Lead elsewhere."""
        self._keep(exhibits.link(url, text))


class Image(_Handle):
    """A picture."""

    kind = "image"

    def __init__(self, key: str | None, body: Mapping[str, Any]) -> None:
        self._alt = body["alt"]
        super().__init__(key, body)

    def update(self, image: Any, *, alt: object | None = None) -> None:
        """Show another picture in its place."""
        self._alt = self._alt if alt is None else alt
        self._keep(exhibits.image(image, self._alt))


class Progress(_Handle):
    """How far a body is."""

    kind = "progress"

    def __init__(self, key: str | None, body: Mapping[str, Any]) -> None:
        self._body = body
        super().__init__(key, body)

    def update(self, value: float | None = None, total: float | None = None, message: object | None = None) -> None:
        """Go on; what is left out stays as it is."""
        old = self._body
        self._body = exhibits.progress(
            old["value"] if value is None else value,
            old["total"] if total is None else total,
            old["message"] if message is None else message,
        )
        self._keep(self._body)


class Artifacts:
    """The ways to show something; there is one object of this class, `artifact`.

    Each takes a `key`: a second artifact of the same key in a task takes the place of the first.
    """

    __slots__ = ()

    def markdown(self, text: object, key: str | None = None) -> Markdown:
        """Show a text, as Markdown without HTML."""
        _running("markdown")
        return Markdown(key, exhibits.markdown(text))

    def table(self, rows: Any, key: str | None = None) -> Table:
        """Show a frame, a mapping of columns, or rows: mappings or sequences. At most 1,000 rows of 50 columns."""
        _running("table")
        return Table(key, exhibits.table(rows))

    def link(self, url: object, text: object | None = None, key: str | None = None) -> Link:
        """Show a link: http, https, mailto or relative to the page."""
        _running("link")
        return Link(key, exhibits.link(url, text))

    def image(self, image: Any, *, alt: object = "", key: str | None = None) -> Image:
        """Show a picture: bytes (PNG, JPEG, GIF, WebP, SVG), a path or a figure. At most 8 MiB.

        Parameters
        ----------
        alt : str
            What it shows, for those who do not see it.
        """
        _running("image")
        return Image(key, exhibits.image(image, alt))

    def progress(
        self, value: float = 0, total: float | None = None, message: object = "", key: str | None = None
    ) -> Progress:
        """Show how far the body is, on its node too.

        Parameters
        ----------
        value, total : float
            So much of so much. Without a total a float from 0 to 1 is a share, and a whole number only counts.
        """
        _running("progress")
        return Progress(key, exhibits.progress(value, total, message))

    def __repr__(self) -> str:
        return "<artifact: markdown, table, link, image, progress>"


artifact = Artifacts()


def received(made: Artifact) -> None:
    """What a body in a worker process shows is kept here, where its engine is."""
    frame = _running(made.kind)
    frame.shelf.keep(made, frame.visit, frame.session)


def _running(kind: str) -> Frame:
    frame = context.frame() or getattr(taps.current.get(), "owner", None)
    if not isinstance(frame, Frame):
        raise UsageError(
            f"artifact.{kind} was called outside of a task's body",
            hint="call it inside a %%task cell or an @task function",
        )
    return frame
