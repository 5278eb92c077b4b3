"""A user's exception as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["ErrorInfo"]


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """A user's exception as data.

    Parameters
    ----------
    type : str
        Its class name.
    message : str
        ``str(exception)``, cut to a sane length.
    types : tuple of str
        Names of the class and its bases, plain and with their module, nearest first.
    traceback : str
        The user's lines only, plain text.
    kind : str
        ``"raised"``, ``"timeout"`` or ``"unstorable"``.
    hard : bool
        For a time-out: whether the body was really stopped.
    """

    type: str
    message: str
    types: tuple[str, ...] = ()
    traceback: str = ""
    kind: str = "raised"
    hard: bool = True

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"types": list(self.types)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ErrorInfo:
        """The error that :meth:`to_plain` wrote."""
        return cls(**{**plain, "types": tuple(plain.get("types", ()))})
