"""Encoders of matplotlib's figures and what they consist of, by qualified type name; the library is never imported.

A figure is the state of its artists and transforms, without who is told when they change, whether they have to be drawn
again, and the number under which pyplot knows it. Drawing a figure for the first time settles its layout and is a
change; drawing it again is none.
"""

from __future__ import annotations

from typing import Any

from prefect_nb.analysis.encode import Encoder, Hasher

__all__ = ["FIGURES"]

_FLEETING = frozenset(
    {"_stale", "stale", "stale_callback", "_remove_method", "_callbacks", "callbacks", "_number", "_restore_to_pylab"}
    | {"_parents", "_invalid", "__mpl_version__", "_cachedRenderer"}
)


def _drawn(h: Hasher, value: Any) -> bytes:
    state = value.__getstate__()
    kept = {k: state[k] for k in sorted(state) if k not in _FLEETING} if isinstance(state, dict) else {"": state}
    h.hold(kept)
    return b"V" + h.encode(type(value)) + h.pairs(kept, ".{}")


def _listeners(h: Hasher, value: Any) -> bytes:
    return b"l"


def _categories(h: Hasher, value: Any) -> bytes:
    """Words on an axis; where the next one goes is their number."""
    return b"w" + h.encode(dict(value._mapping))


#: Qualified type name -> encoder.
FIGURES: dict[str, Encoder] = {
    "matplotlib.artist.Artist": _drawn,
    "matplotlib.transforms.TransformNode": _drawn,
    "matplotlib.cbook.CallbackRegistry": _listeners,
    "matplotlib.category.UnitData": _categories,
}
