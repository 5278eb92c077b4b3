"""The vocabulary of states and the table of legal moves.

Rules of this room: logic looks at the *type* only, names refine it for people; a visit's final state is never left (a
person's second wish makes a new visit), a run's only by another worker that resumes it; the two tables below are the
only lists of legal moves, and the diagrams in the docs and the legend in the views are made from them.

Source: the state table of the founding system and its successor, completed where its own rules need an edge
(forced by a person, hydration failed, cancel during a retry wait, time-out while cancelling).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

__all__ = ["EDGES", "RUN_EDGES", "State", "StateName", "StateType"]


class StateType(StrEnum):
    """What logic looks at; the last four are final. Each equals its text, so ``state.type == "FAILED"`` holds."""

    __hash__ = str.__hash__

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    PAUSED = "PAUSED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"

    def __init__(self, value: str) -> None:
        self.final = value in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


class StateName(StrEnum):
    """The names people see: (name, type, glyph, wording). Each equals its label: ``state.name == "Success"`` holds."""

    __hash__ = str.__hash__  # the inherited hash is a Python call in the hottest lookups

    SCHEDULED = ("Scheduled", StateType.SCHEDULED, "◷", "due at its start time")
    LATE = ("Late", StateType.SCHEDULED, "◷", "its start time passed and nobody picked it up")
    RETRYING = ("Retrying", StateType.SCHEDULED, "↻", "waiting for its next attempt")
    RESUMING = ("Resuming", StateType.SCHEDULED, "▷", "approved, about to go on")
    PENDING = ("Pending", StateType.PENDING, "○", "known, not yet run")
    QUEUED = ("Queued", StateType.PENDING, "◔", "ready, waiting for a slot")
    SUBMITTED = ("Submitted", StateType.PENDING, "◔", "claimed, about to run")
    PAUSED = ("Paused", StateType.PAUSED, "‖", "waiting for a person or a time")
    SUSPENDED = ("Suspended", StateType.PAUSED, "‖", "parked; its kernel may be gone")
    RUNNING = ("Running", StateType.RUNNING, "▶", "running")
    LOOPED = ("Looped", StateType.RUNNING, "⟳", "between two iterations")
    MAPPED = ("Mapped", StateType.RUNNING, "⋯", "its children run")
    OPEN = ("Open", StateType.RUNNING, "◌", "a live notebook's run, ready for its next cell")
    CANCELLING = ("Cancelling", StateType.CANCELLING, "◪", "asked to stop")
    SUCCESS = ("Success", StateType.COMPLETED, "✓", "ended well")
    CACHED = ("Cached", StateType.COMPLETED, "≡", "an earlier result was reused")
    SKIPPED = ("Skipped", StateType.COMPLETED, "⇥", "deliberately not run")
    FAILED = ("Failed", StateType.FAILED, "✗", "raised an error")
    TIMED_OUT = ("TimedOut", StateType.FAILED, "⧗", "exceeded its time limit")
    TRIGGER_FAILED = ("TriggerFailed", StateType.FAILED, "⊘", "not run: something before it failed")
    VALIDATION_FAILED = ("ValidationFailed", StateType.FAILED, "✗", "a check of its values failed")
    CANCELLED = ("Cancelled", StateType.CANCELLED, "■", "stopped by a person or a program")
    NOT_RUN = ("NotRun", StateType.CANCELLED, "□", "never reached: the run ended before")
    CRASHED = ("Crashed", StateType.CRASHED, "ϟ", "its kernel or process vanished")

    def __new__(cls, label: str, *_: object) -> StateName:
        """A text that is its label."""
        member = str.__new__(cls, label)
        member._value_ = label
        return member

    def __init__(self, label: str, type_: StateType, glyph: str, wording: str) -> None:
        self.label = label
        self.type = type_
        self.glyph = glyph
        self.wording = wording
        self.final = type_.final

    @classmethod
    def of(cls, label: str) -> StateName:
        """The member whose label this is, for example ``"TimedOut"``."""
        return _BY_LABEL[label]


_BY_LABEL = {name.label: name for name in StateName}

_N = StateName
_STOPPED = {_N.CANCELLED, _N.NOT_RUN}
_WAITING_ENDS = _STOPPED | {_N.SKIPPED, _N.CRASHED}
EDGES: Mapping[StateName, frozenset[StateName]] = MappingProxyType(
    {
        _N.PENDING: frozenset(
            {_N.SCHEDULED, _N.QUEUED, _N.SUBMITTED, _N.CACHED, _N.TRIGGER_FAILED, _N.VALIDATION_FAILED, _N.FAILED}
            | {_N.MAPPED, _N.PAUSED, _N.SUCCESS}
            | _WAITING_ENDS
        ),
        _N.SCHEDULED: frozenset({_N.LATE, _N.PENDING, _N.QUEUED, _N.SUBMITTED, _N.PAUSED} | _WAITING_ENDS),
        _N.LATE: frozenset({_N.PENDING, _N.SUBMITTED} | _WAITING_ENDS),
        _N.RETRYING: frozenset({_N.QUEUED, _N.SUBMITTED, _N.PAUSED, _N.SUCCESS} | _WAITING_ENDS),
        _N.RESUMING: frozenset({_N.PENDING, _N.QUEUED, _N.SUBMITTED} | _WAITING_ENDS),
        _N.QUEUED: frozenset({_N.SUBMITTED, _N.SUCCESS} | _WAITING_ENDS),
        _N.SUBMITTED: frozenset({_N.RUNNING, _N.QUEUED, _N.CANCELLING, _N.FAILED} | _WAITING_ENDS),
        _N.PAUSED: frozenset({_N.RESUMING, _N.TIMED_OUT, _N.SUCCESS} | _WAITING_ENDS),
        _N.SUSPENDED: frozenset({_N.RESUMING} | _WAITING_ENDS),
        _N.RUNNING: frozenset(
            {_N.SUCCESS, _N.FAILED, _N.TIMED_OUT, _N.VALIDATION_FAILED, _N.SKIPPED, _N.PAUSED, _N.RETRYING, _N.LOOPED}
            | {_N.SUSPENDED, _N.CANCELLING, _N.CANCELLED, _N.CRASHED}
        ),
        _N.LOOPED: frozenset({_N.QUEUED, _N.SUBMITTED} | _WAITING_ENDS),  # no body runs between two iterations
        _N.MAPPED: frozenset({_N.SUCCESS, _N.FAILED, _N.SKIPPED, _N.CANCELLING, _N.CANCELLED, _N.CRASHED}),
        _N.OPEN: frozenset(),  # the state of a run, never of a visit
        _N.CANCELLING: frozenset({_N.CANCELLED, _N.SUCCESS, _N.FAILED, _N.TIMED_OUT, _N.SKIPPED, _N.CRASHED}),
        **{name: frozenset[StateName]() for name in StateName if name.final},
    }
)
"""From each state of a visit, the states that may follow; finals lead nowhere."""

_RUN_ENDS = {_N.SUCCESS, _N.FAILED, _N.SKIPPED, _N.CANCELLED, _N.CRASHED}
RUN_EDGES: Mapping[StateName, frozenset[StateName]] = MappingProxyType(
    {
        _N.PENDING: frozenset({_N.OPEN, _N.RUNNING}),
        _N.OPEN: frozenset({_N.RUNNING, _N.PAUSED} | _RUN_ENDS),
        _N.RUNNING: frozenset({_N.OPEN, _N.PAUSED, _N.CANCELLING} | _RUN_ENDS),
        _N.PAUSED: frozenset({_N.OPEN, _N.RUNNING, _N.CANCELLING} | _RUN_ENDS),
        _N.CANCELLING: frozenset({_N.CANCELLED}),
        # only another worker that takes the run over leads out of these two
        _N.FAILED: frozenset({_N.OPEN, _N.RUNNING}),
        _N.CRASHED: frozenset({_N.OPEN, _N.RUNNING, _N.PAUSED}),
        _N.SUCCESS: frozenset(),
        _N.SKIPPED: frozenset(),
        _N.CANCELLED: frozenset(),
    }
)
"""From each state of a run, the states that may follow; other states no run has."""


@dataclass(frozen=True, slots=True)
class State:
    """A type and a name with what happened: when, a sentence, and data.

    Parameters
    ----------
    name : StateName
        The state's name; its type follows from it.
    at : float
        When it was entered, seconds since the epoch, UTC.
    message : str
        One sentence for people; may be empty.
    data : mapping
        JSON-able details, for example ``{"due": 12.5}`` of a retry wait.
    """

    name: StateName
    at: float
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def type(self) -> StateType:
        """The type that logic looks at."""
        return self.name.type

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self.name.final

    @property
    def label(self) -> str:
        """The name as people see it."""
        return self.name.label
