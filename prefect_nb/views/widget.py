"""The live view as an anywidget, for pages without the lab extension and for `HBox`, Voila and the like.

Knows the view model and the built files in ``prefect_nb/static``. The class is made on first use, because `anywidget`
(and with it ipywidgets) must not be loaded by those who never show a widget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from prefect_nb.errors import PrefectNBError
from prefect_nb.views.model import ViewModel, patch

__all__ = ["flow_widget", "widget_class"]

Command = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""Takes ``{"op", "task", "run", "nonce", ...}``; gives the answer without the nonce, or None."""

_STATIC = Path(__file__).parents[1] / "static"


@cache
def widget_class() -> Any:
    """The widget's class; loads `anywidget`."""
    import anywidget
    import traitlets

    files = {name: _STATIC / name for name in ("widget.js", "widget.css")}
    for name, path in files.items():
        if not path.is_file():
            raise PrefectNBError(
                f"the view's file {name} is missing from {_STATIC}",
                hint="install prefect_nb again, or run `npm ci && npm run build` in labextension/",
            )

    class FlowWidget(anywidget.AnyWidget):
        """The graph of one flow, alive.

        `show` sends what changed; commands of the page reach the function given to `on_command`.
        """

        _esm = files["widget.js"].read_text("utf-8")
        _css = files["widget.css"].read_text("utf-8")
        model = traitlets.Dict().tag(sync=True)

        def __init__(self, model: ViewModel, **traits: Any) -> None:
            super().__init__(model=model.to_plain(), **traits)
            self._shown = model
            self._command: Command | None = None
            self.on_msg(self._receive)

        def on_command(self, command: Command | None) -> None:
            """Name the function that gets the page's commands."""
            self._command = command

        def show(self, model: ViewModel) -> None:
            """Send the difference to every open page, and keep the whole for pages opened later."""
            change = patch(self._shown, model)
            self._shown = model
            self._trait_values["model"] = model.to_plain()  # quietly: setting the trait would send all of it
            self.send({"op": "patch", "patch": change})

        def _receive(self, _widget: Any, message: Any, _buffers: Any) -> None:
            if not isinstance(message, dict) or not isinstance(message.get("op"), str):
                return
            if message["op"] in ("hello", "snapshot"):
                self.send({"op": "full", "model": self._shown.to_plain()})
            answer = self._command(message) if self._command is not None else None
            if message.get("nonce") is not None:
                said = answer or {"ok": self._command is not None, "message": "" if self._command else "not connected"}
                self.send({"op": "reply", **said, "nonce": message["nonce"]})

    return FlowWidget


def flow_widget(model: ViewModel, on_command: Command | None = None) -> Any:
    """A live view of a model; call its ``show(model)`` whenever there is a newer one."""
    widget = widget_class()(model)
    widget.on_command(on_command)
    return widget
