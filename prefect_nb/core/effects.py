"""Orders that the machine gives; only the engine's interpreter carries them out.

Effects are idempotent under (run, visit, token): carrying one out twice is harmless.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect_nb.core.spec import VisitId

__all__ = ["Claim", "ClearTimer", "Effect", "Enter", "Interrupt", "Judge", "Resolve", "SetTimer", "Settle"]


@dataclass(frozen=True, slots=True)
class Effect:
    """An order concerning one visit."""

    visit: VisitId


@dataclass(frozen=True, slots=True)
class Resolve(Effect):
    """Compute the visit's key and look for a result that fits; answer with KeyResolved or ResultReused."""


@dataclass(frozen=True, slots=True)
class Judge(Effect):
    """Ask the author's trigger about everything upstream; answer with TriggerJudged."""


@dataclass(frozen=True, slots=True)
class Claim(Effect):
    """Take a slot of each of these limits, all or none, when its turn comes; answer with SlotsAnswered."""

    limits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enter(Effect):
    """Run the body under this permission; answer with BodyEntered and one of its ends."""

    token: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Interrupt(Effect):
    """Stop the body that runs under this permission; `why` is "cancel" or "timeout"."""

    token: int
    why: str


@dataclass(frozen=True, slots=True)
class SetTimer(Effect):
    """Send TimerFired(kind, token) at `due` (seconds since the epoch, UTC)."""

    token: int
    kind: str
    due: float


@dataclass(frozen=True, slots=True)
class ClearTimer(Effect):
    """Forget the timers of this visit."""


@dataclass(frozen=True, slots=True)
class Settle(Effect):
    """The visit is final: once that is committed, tell everybody who waits for it."""
