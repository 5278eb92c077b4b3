"""How each state looks: fill, outline, glyph, border style and the words a screen reader says.

Knows the state names of the core and nothing else. No state depends on colour alone: close pairs differ in glyph and in
border. Glyphs are drawn (paths in a 16 by 16 box), because the same font character is another picture on every machine.
The renderer in TypeScript holds the same table; one golden file pins both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prefect_nb.core.states import StateName, StateType

__all__ = ["BORDERS", "FILLED", "GLYPHS", "LOOKS", "TONES", "Look", "Tone", "look_of"]


@dataclass(frozen=True, slots=True)
class Tone:
    """One family of colours: fill and line, in the light and in the dark."""

    fill: str
    fill_dark: str
    line: str
    line_dark: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a state wears.

    Parameters
    ----------
    tone : str
        Key of `TONES`.
    glyph : str
        Key of `GLYPHS`.
    border : str
        Key of `BORDERS`.
    words : str
        What a person is told.
    """

    tone: str
    glyph: str
    border: str
    words: str


TONES: Mapping[str, Tone] = MappingProxyType(
    {
        "idle": Tone("#f1f3f4", "#2b2f33", "#8b959f", "#7a858f"),
        "waiting": Tone("#d7dce2", "#454c55", "#6d7986", "#a3aeb9"),
        "running": Tone("#7fb2ff", "#1c63ad", "#1257b8", "#a9d0ff"),
        "done": Tone("#a5deb0", "#14694d", "#24803f", "#63d39b"),
        "cached": Tone("#cde9f5", "#24566b", "#22749a", "#7fcbec"),
        "failed": Tone("#e8735f", "#7d1a10", "#8f1b10", "#ff9484"),
        "paused": Tone("#f7d774", "#86690a", "#856200", "#ffdc66"),
        "skipped": Tone("#ffffff", "#202326", "#7f8993", "#808b95"),
        "cancelled": Tone("#b9a7d6", "#56437d", "#5a3d94", "#c9b1ee"),
    }
)
"""Fill and line colours of each family, light and dark."""

_RING = "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0 -11z"
_SQUARE = "M4 4h8v8h-8z"
_TRIANGLE = "M5 3.2l7.2 4.8l-7.2 4.8z"
_SANDS = "M5 2.5v1.8c0 1.6 3 2.6 3 3.7c0 1.1 -3 2.1 -3 3.7v1.8M11 2.5v1.8c0 1.6 -3 2.6 -3 3.7c0 1.1 3 2.1 3 3.7v1.8"
GLYPHS: Mapping[str, str] = MappingProxyType(
    {
        "circle": _RING,
        "clock": _RING + "M8 5v3.2l2.2 1.4",
        "play": _TRIANGLE,
        "resume": _TRIANGLE + "M2.5 3.2v9.6",
        "loop": "M13 8.6a5 5 0 1 1 -1.5 -4.2M13.2 2v3.2h-3.2",
        "cycle": "M3 8a2.5 2.5 0 0 1 5 0a2.5 2.5 0 0 0 5 0a2.5 2.5 0 0 0 -5 0a2.5 2.5 0 0 1 -5 0z",
        "dots": "M2.5 7.2h1.6v1.6h-1.6zM7.2 7.2h1.6v1.6h-1.6zM11.9 7.2h1.6v1.6h-1.6z",
        "code": "M6 4l-3.6 4l3.6 4M10 4l3.6 4l-3.6 4",
        "open": "M8 2.5a5.5 5.5 0 0 1 5.5 5.5M8 13.5a5.5 5.5 0 0 1 -5.5 -5.5M8 7.9v.2",
        "check": "M3 8.6l3.3 3.3l6.7 -7.4",
        "lines": "M3 4.5h10M3 8h10M3 11.5h10",
        "skip": "M3.5 3.5l6 4.5l-6 4.5zM12.5 3.5v9",
        "cross": "M4 4l8 8M12 4l-8 8",
        "hourglass": "M4 2.5h8M4 13.5h8" + _SANDS,
        "barred": _RING + "M4.1 11.9l7.8 -7.8",
        "square": _SQUARE,
        "frame": _SQUARE + "M6.5 8h3",
        "stopping": _SQUARE + "M4 12l8 -8",
        "pause": "M5.5 3.5v9M10.5 3.5v9",
        "bolt": "M9.2 1.5l-5.4 7.5h3.7l-.9 5.5l5.4 -7.5h-3.7z",
        "tilde": "M2.8 9.4c1.6 -3.4 3.4 -3.4 5.2 -1.4s3.6 2 5.2 -1.4",
    }
)
"""Path data of each glyph, stroked in a 16 by 16 box."""

FILLED = frozenset({"play", "square", "bolt", "dots"})
"""Glyphs that are filled as well as stroked."""

BORDERS: Mapping[str, tuple[float, str]] = MappingProxyType(
    {
        "thin": (1.0, ""),
        "double": (1.0, ""),
        "thick": (2.5, ""),
        "dashed": (1.75, "6 4"),
        "dotted": (1.25, "1.5 3.5"),
        "dotted-thick": (2.5, "2.5 4.5"),
    }
)
"""Stroke width and dash pattern of each border; ``double`` has a second line inside."""

_N = StateName
LOOKS: Mapping[StateName, Look] = MappingProxyType(
    {
        _N.SCHEDULED: Look("waiting", "clock", "dotted", "scheduled"),
        _N.LATE: Look("waiting", "clock", "thick", "late"),
        _N.RETRYING: Look("running", "loop", "dashed", "waiting to retry"),
        _N.RESUMING: Look("waiting", "resume", "dashed", "resuming"),
        _N.PENDING: Look("idle", "circle", "thin", "not run yet"),
        _N.QUEUED: Look("waiting", "clock", "thin", "waiting for a slot"),
        _N.SUBMITTED: Look("waiting", "clock", "dashed", "about to run"),
        _N.PAUSED: Look("paused", "pause", "thick", "paused, waiting"),
        _N.SUSPENDED: Look("paused", "pause", "dashed", "suspended"),
        _N.RUNNING: Look("running", "play", "dashed", "running"),
        _N.LOOPED: Look("running", "cycle", "dashed", "between two iterations"),
        _N.MAPPED: Look("running", "dots", "dashed", "its children run"),
        _N.OPEN: Look("idle", "open", "thin", "open"),
        _N.CANCELLING: Look("cancelled", "stopping", "dashed", "stopping"),
        _N.SUCCESS: Look("done", "check", "thin", "completed"),
        _N.CACHED: Look("cached", "lines", "double", "from cache"),
        _N.SKIPPED: Look("skipped", "skip", "dotted", "skipped"),
        _N.FAILED: Look("failed", "cross", "thick", "failed"),
        _N.TIMED_OUT: Look("failed", "hourglass", "thick", "timed out"),
        _N.TRIGGER_FAILED: Look("waiting", "barred", "dotted-thick", "blocked by a failure"),
        _N.VALIDATION_FAILED: Look("failed", "cross", "thick", "failed its check"),
        _N.CANCELLED: Look("cancelled", "square", "dashed", "cancelled"),
        _N.NOT_RUN: Look("idle", "frame", "dotted", "not reached"),
        _N.CRASHED: Look("failed", "bolt", "thick", "crashed"),
    }
)
"""The look of every state."""

_FALLBACK: Mapping[str, StateName] = MappingProxyType(
    {
        StateType.SCHEDULED.value: _N.SCHEDULED,
        StateType.PAUSED.value: _N.PAUSED,
        StateType.RUNNING.value: _N.RUNNING,
        StateType.CANCELLING.value: _N.CANCELLING,
        StateType.COMPLETED.value: _N.SUCCESS,
        StateType.FAILED.value: _N.FAILED,
        StateType.CANCELLED.value: _N.CANCELLED,
        StateType.CRASHED.value: _N.CRASHED,
    }
)
_BY_LABEL: Mapping[str, StateName] = MappingProxyType({name.label: name for name in StateName})


_PLAIN = Look("idle", "code", "thin", "plain cell")


def look_of(label: str, type_: str = "", kind: str = "") -> Look:
    """The look of a state by its label; an unknown label (of a newer version) wears the look of its type.

    A plain cell has a state only while it runs or when it failed; otherwise it looks like what it is.
    """
    if kind == "plain" and label == StateName.PENDING.label:
        return _PLAIN
    name = _BY_LABEL.get(label) or _FALLBACK.get(type_, _N.PENDING)
    return LOOKS[name]
