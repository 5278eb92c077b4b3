"""Notebook cells and functions become durable, cached, retried and resumable tasks.

Importing this package does nothing but define names; each is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect_nb.authoring.decorators import task
    from prefect_nb.authoring.magics import load_ipython_extension, unload_ipython_extension
    from prefect_nb.core.policy import Cache, Retry
    from prefect_nb.core.states import State
    from prefect_nb.errors import PrefectNBError
    from prefect_nb.wiring import open_store

__all__ = [
    "Cache",
    "PrefectNBError",
    "Retry",
    "State",
    "load_ipython_extension",
    "open_store",
    "task",
    "unload_ipython_extension",
]

_HOMES = {
    "Cache": "prefect_nb.core.policy",
    "PrefectNBError": "prefect_nb.errors",
    "Retry": "prefect_nb.core.policy",
    "State": "prefect_nb.core.states",
    "load_ipython_extension": "prefect_nb.authoring.magics",
    "open_store": "prefect_nb.wiring",
    "task": "prefect_nb.authoring.decorators",
    "unload_ipython_extension": "prefect_nb.authoring.magics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
