"""The record of what a task showed: its items, their plain form, and the text of streams as a screen would hold it.

Knows text and MIME bundles; no IPython, no streams, no threads.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Output", "fold", "from_plain", "jsonable", "to_plain"]

_ERASED = re.compile(r"[^\n\r\x08]\x08")
_ESCAPE = "\x1b"


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that a task showed.

    Parameters
    ----------
    kind : str
        ``"stream"``, ``"display"``, ``"result"``, ``"update"`` of a display that another cell made, or ``"artifact"``.
    name : str
        ``stdout`` or ``stderr``, or an artifact's name; empty for the rest.
    text : str
        What a stream wrote.
    data, metadata : mapping
        The MIME bundle of the rest, JSON-able; bytes are base64 text.
    display_id : str or None
        The name under which a display can be updated.
    """

    kind: Literal["stream", "display", "result", "update", "artifact"]
    name: str = ""
    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    display_id: str | None = None


def to_plain(outputs: Iterable[Output]) -> list[dict[str, Any]]:
    """JSON-able form of a record."""
    plain = []
    for output in outputs:
        row: dict[str, Any] = {"kind": output.kind}
        if output.kind == "stream":
            row |= {"name": output.name, "text": output.text}
        else:
            row |= {"data": dict(output.data), "metadata": dict(output.metadata)}
            row |= {"name": output.name} if output.name else {}
        if output.display_id is not None:
            row["display_id"] = output.display_id
        plain.append(row)
    return plain


def from_plain(plain: Sequence[Mapping[str, Any]]) -> tuple[Output, ...]:
    """The record that :func:`to_plain` wrote."""
    return tuple(Output(**row) for row in plain)


def jsonable(value: Any) -> tuple[Any, int]:
    """A copy of a part of a MIME bundle as it goes over the wire, and its rough size in characters."""
    if isinstance(value, str):
        return value, len(value)
    if isinstance(value, bytes | bytearray | memoryview):
        text = base64.b64encode(value).decode("ascii")
        return text, len(text)
    if value is None or isinstance(value, bool | int | float):
        return value, 8
    if isinstance(value, Mapping):
        pairs = [(str(key), jsonable(part)) for key, part in value.items()]
        return {key: part for key, (part, _) in pairs}, sum(len(key) + size for key, (_, size) in pairs)
    if isinstance(value, list | tuple | set | frozenset):
        parts = [jsonable(part) for part in value]
        return [part for part, _ in parts], sum(size for _, size in parts)
    return jsonable(str(value))


def fold(text: str, *, complete: bool = False) -> str:
    """Text as a screen holds it: carriage returns overwrite their line, backspaces erase; colours are kept.

    Unless the text is complete its last line keeps what is needed to continue it, so a text may be folded in pieces.
    """
    if "\r" not in text and "\b" not in text:
        return text
    while _ERASED.search(text):
        text = _ERASED.sub("", text)
    text = re.sub("\r+\n", "\n", text).replace("\b", "")
    lines = text.split("\n")
    *done, last = lines
    before, turned, rest = last.rpartition("\r")
    unfinished = f"{_overwrite(before)}\r{rest}" if turned else last
    tail = _overwrite(last) if complete and rest else unfinished
    return "\n".join([*map(_overwrite, done), tail])


def _overwrite(line: str) -> str:
    shown = ""
    for part in line.split("\r"):
        countable = _ESCAPE not in shown and _ESCAPE not in part  # columns cannot be counted past escape sequences
        shown = part + shown[len(part) :] if countable else part or shown
    return shown
