"""The answer that a pause asks for: its fields with their types, and what a person wrote, checked against them.

Fields are data (a type is its name), answers are JSON-able. Knows nothing about who asks or where the answer goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from prefect_nb.errors import ParameterError, UsageError

__all__ = ["answered", "described"]

_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError(text)
    return word in _TRUE


_READ: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _bool,
    "date": lambda text: date.fromisoformat(text.strip()).isoformat(),
    "datetime": lambda text: datetime.fromisoformat(text.strip()).isoformat(),
}
_JSON: dict[str, type | tuple[type, ...]] = {"int": int, "float": (int, float), "bool": bool}


def described(form: Mapping[str, object]) -> dict[str, str]:
    """A form as data: each field with its type's name.

    Raises
    ------
    UsageError
        If a type is not one that a person can type.
    """
    found = {}
    for name, kind in form.items():
        word = kind.__name__ if isinstance(kind, type) else str(kind)
        if word not in _READ:
            raise UsageError(
                f"the field {name} cannot be a {word}", hint=f"a form's types are {', '.join(_READ)}", field=name
            )
        found[str(name)] = word
    return found


def answered(form: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """An answer that fits the form, JSON-able; texts are read as the field's type.

    Raises
    ------
    ParameterError
        Naming every field that is missing, unknown or ill-typed.
    """
    faults = [f"{name} is missing ({kind})" for name, kind in form.items() if name not in given]
    faults += [f"there is no field {name}" for name in given if name not in form]
    values = {}
    for name, value in given.items():
        if name in form:
            try:
                values[name] = _read(form[name], value)
            except (ValueError, TypeError):
                faults.append(f"{name} is no {form[name]}: {value!r}")
    if faults:
        fields = ", ".join(f"{name} ({kind})" for name, kind in form.items()) or "none"
        raise ParameterError(f"this answer does not fit: {'; '.join(faults)}", hint=f"its fields: {fields}")
    return values


def _read(kind: str, value: Any) -> Any:
    if isinstance(value, str):
        return _READ[kind](value)
    wanted = _JSON.get(kind)
    if wanted is None or not isinstance(value, wanted) or (kind != "bool" and isinstance(value, bool)):
        raise ValueError(value)
    return value
