"""Notebook cells and functions become durable, cached, retried and resumable tasks.

Importing this package does nothing but define names; each is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_nb.authoring import signals, triggers
    from prefect_nb.authoring.artifacts import artifact
    from prefect_nb.authoring.branches import case, merge, switch
    from prefect_nb.authoring.building import Flow
    from prefect_nb.authoring.context import context
    from prefect_nb.authoring.decorators import task
    from prefect_nb.authoring.flows import flow, resume
    from prefect_nb.authoring.nodes import flatten, unmapped
    from prefect_nb.authoring.resources import resource_manager
    from prefect_nb.authoring.secret import Secret
    from prefect_nb.core.policy import Cache, Retry
    from prefect_nb.core.states import State
    from prefect_nb.errors import PrefectNBError
    from prefect_nb.wiring import open_store

__all__ = [  # without the two hooks, which only IPython calls
    "Cache",
    "Flow",
    "PrefectNBError",
    "Retry",
    "Secret",
    "State",
    "artifact",
    "case",
    "context",
    "flatten",
    "flow",
    "merge",
    "open_store",
    "resource_manager",
    "resume",
    "signals",
    "switch",
    "task",
    "triggers",
    "unmapped",
]

_HOMES = {
    "Cache": "prefect_nb.core.policy",
    "Flow": "prefect_nb.authoring.building",
    "PrefectNBError": "prefect_nb.errors",
    "Retry": "prefect_nb.core.policy",
    "Secret": "prefect_nb.authoring.secret",
    "State": "prefect_nb.core.states",
    "artifact": "prefect_nb.authoring.artifacts",
    "case": "prefect_nb.authoring.branches",
    "context": "prefect_nb.authoring.context",
    "flatten": "prefect_nb.authoring.nodes",
    "flow": "prefect_nb.authoring.flows",
    "merge": "prefect_nb.authoring.branches",
    "open_store": "prefect_nb.wiring",
    "resource_manager": "prefect_nb.authoring.resources",
    "resume": "prefect_nb.authoring.flows",
    "switch": "prefect_nb.authoring.branches",
    "task": "prefect_nb.authoring.decorators",
    "unmapped": "prefect_nb.authoring.nodes",
}
_ROOMS = {"signals": "prefect_nb.authoring.signals", "triggers": "prefect_nb.authoring.triggers"}


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext prefect_nb``: task cells and ``%flow``; prints nothing, writes nothing, opens nothing.

    Raises
    ------
    UsageError
        On a platform that is not supported.
    """

    def build() -> Any:
        return import_module("prefect_nb.authoring.extension").Extension(shell)

    import_module("prefect_nb.authoring.magics").load(shell, build)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext prefect_nb``: the shell as it was before; the run stays in the store."""
    import_module("prefect_nb.authoring.magics").unload(shell)


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(_ROOMS[name])
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
