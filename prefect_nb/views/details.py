"""What the details pane of one task shows: its history, its log, the parts of its key, its error.

Pure data, sent only when a person opens the pane; the view model stays small without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Details", "ErrorView", "KeyPart", "LogLine", "StateLine"]


@dataclass(frozen=True, slots=True)
class StateLine:
    """One state that the task was in: its label, when (seconds since the epoch), the sentence, the attempt."""

    name: str
    at: float
    message: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class LogLine:
    """One piece of output: ``stdout``, ``stderr``, or a logging level, and the attempt that made it."""

    stream: str
    text: str
    at: float | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One part of the key or of the manifest, short, and whether it differs from the last result's."""

    part: str
    value: str
    changed: bool = False


@dataclass(frozen=True, slots=True)
class ErrorView:
    """What the body raised; the traceback is plain text."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Everything the pane shows of one task.

    Parameters
    ----------
    task : str
        The node's id.
    states : tuple of StateLine
        Oldest first.
    logs : tuple of LogLine
        The tail, oldest first.
    logs_cut : int
        How many earlier pieces were left out.
    key : tuple of KeyPart
        Key parts, then manifest parts.
    reason : str
        Why it ran, was reused or was skipped.
    error : ErrorView, optional
        Of the last attempt.
    inputs, outputs : tuple of str
        Names read and bound.
    artifacts : tuple of mapping
        What the body shows of itself, in its order: ``name``, ``kind``, ``attempt``, ``at`` and the parts of its kind,
        as `prefect_nb.core.artifacts` tells.
    """

    task: str
    states: tuple[StateLine, ...] = ()
    logs: tuple[LogLine, ...] = ()
    logs_cut: int = 0
    key: tuple[KeyPart, ...] = ()
    reason: str = ""
    error: ErrorView | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    artifacts: tuple[Mapping[str, Any], ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form: lists and dicts only."""
        plain = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
