"""Every exception this package raises by itself.

::

    PrefectNBError                 what happened · to which thing · what to do next
    ├── UsageError                 a magic, option, parameter or command line that cannot be used
    │   └── ParameterError         unknown or ill-typed parameters, all of them at once
    ├── NotebookError              a notebook file that cannot be read, written or run
    ├── StoreError                 the state store cannot be opened, read or written
    │   ├── StoreReadOnly          … because its directory cannot be written
    │   ├── StoreFull              … because the disk is full
    │   ├── StoreCorrupt           … because its bytes are damaged
    │   └── StoreTooNew            … because a newer version of prefect_nb wrote it
    ├── ResultUnavailable          a stored value that is missing, damaged, foreign or evicted
    ├── Unstorable                 a value that cannot be written down
    ├── Unhashable                 a value that has no fingerprint
    ├── IllegalTransition          an event that the state table forbids (a fault of ours, with its story)
    ├── NotAvailable               a name whose task was skipped, paused, cancelled or failed
    ├── TaskFailed                 a task body that said so itself
    ├── TaskCrashed                a task body whose process vanished
    ├── TaskTimeout                a task body that exceeded its limit
    └── TaskCancelled              a task body that somebody stopped

A user's own exception is never wrapped: it is data on the state and is raised again as it was.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "IllegalTransition",
    "NotAvailable",
    "NotebookError",
    "ParameterError",
    "PrefectNBError",
    "ResultUnavailable",
    "StoreCorrupt",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreTooNew",
    "TaskCancelled",
    "TaskCrashed",
    "TaskFailed",
    "TaskTimeout",
    "Unhashable",
    "Unstorable",
    "UsageError",
]


class PrefectNBError(Exception):
    """The root: a message, a hint what to do next, and the parts as attributes.

    Parameters
    ----------
    message : str
        What happened and to which thing, one sentence.
    hint : str, optional
        What to do next; shown on a line of its own.
    **fields
        The parts of the message, kept as attributes for programs.
    """

    def __init__(self, message: str, *, hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(name)

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.fields)


def _rebuild(cls: type[PrefectNBError], message: str, hint: str, fields: dict[str, Any]) -> PrefectNBError:
    return cls(message, hint=hint, **fields)


class UsageError(PrefectNBError):
    """A magic, option or command line that cannot be used as written."""


class ParameterError(UsageError):
    """Parameters that are unknown or do not fit their annotations; names every one of them."""


class NotebookError(PrefectNBError):
    """A notebook file that cannot be read, written or run."""


class StoreError(PrefectNBError):
    """The state store cannot be opened, read or written."""


class StoreReadOnly(StoreError):
    """The store's directory cannot be written."""


class StoreFull(StoreError):
    """The disk under the store is full; nothing that was acknowledged is lost."""


class StoreCorrupt(StoreError):
    """The store's bytes are damaged."""


class StoreTooNew(StoreError):
    """The store was written by a newer version of prefect_nb."""


class ResultUnavailable(PrefectNBError):
    """A stored value that is missing, damaged, foreign or evicted; never silently None."""


class Unstorable(PrefectNBError):
    """A value that cannot be written down; names the path to the part at fault."""


class Unhashable(PrefectNBError):
    """A value that has no fingerprint; names the path to the part at fault."""


class IllegalTransition(PrefectNBError):
    """An event that the state table forbids; carries the visit's story."""


class NotAvailable(PrefectNBError):
    """A name whose task was skipped, paused, cancelled or failed, so there is no value."""


class TaskFailed(PrefectNBError):
    """A task body that said so itself, with ``raise signals.fail(...)``."""


class TaskCrashed(PrefectNBError):
    """A task body whose own process vanished: a crash, the OOM killer, an exit that nobody asked for."""


class TaskTimeout(PrefectNBError):
    """A task body that exceeded its limit; says whether the stop was hard or soft."""


class TaskCancelled(PrefectNBError):
    """A task body that somebody stopped."""
