"""Why a task ran, was reused, skipped or refused: a value, not a log line.

Source: one predicate and one wording per cue, after the cue classes of targets and the explanations of pytask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Reason", "ReasonCode"]


class ReasonCode(Enum):
    """Every reason, with its wording; ``{}`` is the detail."""

    # run
    FIRST = ("first", "runs for the first time")
    CODE = ("code", "its code changed")
    HELPER = ("helper", "code it uses changed: {}")
    INPUT = ("input", "its input changed: {}")
    OPTION = ("option", "an option of its key changed: {}")
    FILE = ("file", "a file it reads changed: {}")
    ENVIRONMENT = ("environment", "an environment variable it reads changed: {}")
    RNG = ("rng", "the random state it starts from differs: {}")
    PYTHON = ("python", "Python or a package changed: {}")
    FORCED = ("forced", "asked to run afresh")
    INVALIDATED = ("invalidated", "its earlier result was declared unfit")
    NEVER = ("never", "--cache never")
    EXPIRED = ("expired", "its earlier result is older than --cache allows: {}")
    IMPURE = ("impure", "its result may depend on the outside: {}")
    UNCACHEABLE = ("uncacheable", "its key is incomplete: {}")
    UNAVAILABLE = ("unavailable", "its earlier result cannot be read: {}")
    SETTINGS = ("settings", "it only changes settings, so it always runs")
    # reuse
    REUSED = ("reused", "the same code met the same inputs {}")
    RECOVERED = ("recovered", "it had finished before the restart {}")
    CUT_OFF = ("cut-off", "what it reads was computed again and is equal {}")
    VOUCHED = ("vouched", "its author vouches for it (--cache) {}")
    # neither
    UPSTREAM_FAILED = ("upstream-failed", "not run: {}")
    UPSTREAM_SKIPPED = ("upstream-skipped", "skipped because {} was skipped")
    PERSON = ("person", "by hand: {}")

    def __init__(self, code: str, wording: str) -> None:
        self.code = code
        self.wording = wording


_BY_CODE = {member.code: member for member in ReasonCode}


@dataclass(frozen=True, slots=True)
class Reason:
    """One cue with its detail and, for people who ask further, the parts that were compared.

    Parameters
    ----------
    code : ReasonCode
        The cue.
    detail : str
        What exactly: a name, a path, a task.
    parts : tuple of (str, str)
        Further lines for ``%flow why``: (what, words).
    """

    code: ReasonCode
    detail: str = ""
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return self.code.wording.format(self.detail).strip()

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        plain: dict[str, Any] = {"code": self.code.code}
        if self.detail:
            plain["detail"] = self.detail
        if self.parts:
            plain["parts"] = [list(p) for p in self.parts]
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Reason:
        """The reason that :meth:`to_plain` wrote."""
        parts = tuple((str(a), str(b)) for a, b in plain.get("parts", ()))
        return cls(_BY_CODE[plain["code"]], plain.get("detail", ""), parts)
