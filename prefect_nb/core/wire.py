"""The wire form of events: JSON-able, by class name. What the store keeps and what the state is folded from again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from prefect_nb.core import events
from prefect_nb.core.events import ErrorInfo, Event
from prefect_nb.core.reasons import Reason
from prefect_nb.core.spec import TaskSpec, VisitId

__all__ = ["from_plain", "to_plain"]

_CLASSES: dict[str, type[Event]] = {
    name: cls for name, cls in vars(events).items() if isinstance(cls, type) and issubclass(cls, Event)
}
_FIELDS = {cls: tuple((f.name, f.default) for f in fields(cls)) for cls in _CLASSES.values()}
"""The fields of each class in order, with their defaults (MISSING equals no value)."""
_READERS: dict[str, Callable[[Any], Any]] = {
    "visit": lambda v: VisitId(*v),
    "parent": lambda v: None if v is None else VisitId(*v),
    "limits": tuple,
    "upstream": lambda v: tuple(VisitId(*u) for u in v),
    "spec": TaskSpec.from_plain,
    "reason": Reason.from_plain,
    "error": ErrorInfo.from_plain,
    "reference": tuple,
}
"""How a field comes back from plain data, by its name (one name means one type in all events)."""
_LAST: dict[str, tuple[TaskSpec, dict[str, Any]]] = {}
_AS_THEY_ARE = (str, float, int, bool, type(None))


def _plain(value: Any) -> Any:
    if isinstance(value, VisitId):
        return [value.task, value.visit, value.index]
    if type(value) is TaskSpec:
        return _plain_spec(value)
    if isinstance(value, Reason | ErrorInfo):
        return value.to_plain()
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


def _plain_spec(spec: TaskSpec) -> dict[str, Any]:
    """Its plain form; that of the last one is kept, for many calls in a row are of one task."""
    known = _LAST.get("spec")
    if known is None or known[0] is not spec:
        known = _LAST["spec"] = spec, spec.to_plain()
    return known[1].copy()


def to_plain(event: Event) -> dict[str, Any]:
    """The event as JSON-able data, with its class name under ``"kind!"``; fields at their default are left out."""
    plain: dict[str, Any] = {"kind!": type(event).__name__}
    for name, default in _FIELDS[type(event)]:
        value = getattr(event, name)
        if value is default or value == default:
            continue
        plain[name] = value if type(value) in _AS_THEY_ARE else _plain(value)
    return plain


def from_plain(plain: Mapping[str, Any]) -> Event:
    """The event that :func:`to_plain` wrote.

    Raises
    ------
    KeyError
        If the class name is not one of ours (a store that a newer version wrote).
    """
    cls = _CLASSES[plain["kind!"]]
    return cls(**{k: _READERS[k](v) if k in _READERS else v for k, v in plain.items() if k != "kind!"})
