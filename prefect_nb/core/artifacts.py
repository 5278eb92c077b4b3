"""Artifacts: what a body shows of itself besides its output; a name, a kind and plain data, as they are written down.

Knows their shape and how they become text. Must not know who makes them, where they are kept, or how they are drawn.

Bodies by kind: ``markdown`` has ``text``; ``table`` has ``columns`` and ``rows``, all text; ``link`` has ``url`` and
``text``; ``image`` has ``mime``, ``size``, ``alt`` and either ``data`` (base64) or ``address`` (a stored result, which
holds the bytes); ``progress`` has ``value``, ``total`` and ``message``. Any may have ``cut``: in words, what was left
out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["KINDS", "STREAM", "Artifact", "Gauge", "share_done"]

STREAM = "artifact:"
"""How the streams begin under which artifacts stand in a log: one row each, the newest version."""

KINDS = ("markdown", "table", "link", "image", "progress")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version of one artifact.

    Parameters
    ----------
    name : str
        Unique among those of a visit; a later one of the same name takes its place.
    kind : str
        One of `KINDS`.
    number : int
        Its place among those of the visit, from 0.
    body : mapping
        Plain data, as the module's docstring tells.
    attempt : int
        Which entry of the body made it.
    at : float
        When; seconds since the epoch.
    """

    name: str
    kind: str
    number: int
    body: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 0
    at: float = 0.0

    @property
    def stream(self) -> str:
        """Under which it stands in a log."""
        return STREAM + self.name

    def to_text(self) -> str:
        """What stands in a log of it, besides the attempt and the time."""
        return json.dumps({"kind": self.kind, "number": self.number, "body": dict(self.body)}, ensure_ascii=False)

    @classmethod
    def of_text(cls, stream: str, text: str, attempt: int, at: float) -> Self | None:
        """The inverse of `to_text`; None for what no artifact of ours would be."""
        try:
            told = json.loads(text)
            found = cls(stream.removeprefix(STREAM), told["kind"], int(told["number"]), told["body"], attempt, at)
        except (ValueError, TypeError, KeyError):
            return None
        return found if found.kind in KINDS and isinstance(found.body, dict) else None

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form, for views."""
        head = {"name": self.name, "kind": self.kind, "attempt": self.attempt, "at": self.at}
        return head | dict(self.body)


@dataclass(frozen=True, slots=True)
class Gauge:
    """What views show of a running body's artifacts: its newest progress, and how often all else changed."""

    attempt: int
    progress: Artifact | None = None
    changes: int = 0


def share_done(body: Mapping[str, Any]) -> float | None:
    """How much of the work of a progress is done, from 0 to 1; None where nobody knows the whole.

    Without a total a fraction stands for itself and a whole number only counts.
    """
    value, total = body.get("value"), body.get("total")
    if not isinstance(value, int | float):
        return None
    if isinstance(total, int | float) and total > 0:
        return min(1.0, max(0.0, value / total))
    if total is None and isinstance(value, float) and 0.0 <= value <= 1.0:
        return value
    return 1.0 if total == 0 else None
