"""Values that must not be written down, and the texts and bytes without them.

Every spelling under which a value may travel counts: as it is, escaped for Python, JSON, HTML or an address, in base64
at any alignment, in hexadecimal. Knows texts and bytes; must not know who reveals a value or where texts go. The
registry is the process's own: what was revealed once stays unspeakable until it ends.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = ["MASK", "Held", "active", "names_in", "redacted", "register", "without"]

MASK = "***"
_SHORTEST = 4
_LINE = 8
_DEPTH = 24

_Tree = dict[str, Any]
"""Spellings by their characters, one level for each; under the empty text what is left of them, at most _DEPTH down."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Everything to look for, in the forms in which it is looked for."""

    pattern: re.Pattern[str]
    tree: _Tree
    longest: int
    raw: tuple[tuple[bytes, str], ...]


_lock = threading.Lock()
_values: dict[str, str] = {}
_known: _Known | None = None  # made when it is needed: many values are often registered at once


def register(name: str, value: str) -> None:
    """Let no text hold this value from now on, in any spelling."""
    global _known
    with _lock:
        if value not in _values:
            _values[value] = name
            _known = None


def active() -> bool:
    """Whether there is anything to look for."""
    return bool(_values)


def _all() -> _Known:
    global _known
    with _lock:
        if _known is None:
            names = {text: name for value, name in _values.items() for text in _spelled(value)}
            tree = _grown(names)
            raw = tuple((form, name) for text, name in names.items() for form in _encoded(text))
            _known = _Known(re.compile(_expression(tree)), tree, max(map(len, names)), raw)
        return _known


def _grown(spellings: Iterable[str]) -> _Tree:
    tree: _Tree = {}
    for text in spellings:
        node = tree
        for letter in text[:_DEPTH]:
            node = node.setdefault(letter, {})
        node.setdefault("", []).append(text[_DEPTH:])
    return tree


def _expression(node: _Tree) -> str:
    """What matches the longest spelling at a place: an escaped one goes before the part that it holds."""
    ways = [re.escape(letter) + _expression(child) for letter, child in node.items() if letter]
    ways += map(re.escape, sorted(node.get("", ()), key=len, reverse=True))
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _spelled(value: str) -> set[str]:
    found: set[str] = set()
    for text in {value, *(line for line in value.splitlines() if len(line.strip()) >= _LINE)}:
        raw = text.encode("utf-8", "surrogateescape")
        found |= {text, repr(text)[1:-1], repr(raw)[2:-1], html.escape(text), html.escape(text, quote=False)}
        found |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], raw.hex(), raw.hex().upper()}
        for address in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
            found |= {address, re.sub("%[0-9A-F]{2}", lambda found: found.group().lower(), address)}
        found |= set(_base64(raw))
    found |= {json.dumps(text)[1:-1] for text in list(found) if "\\" in text or '"' in text}  # JSON within JSON
    return {text for text in found if len(text) >= _SHORTEST}


def _base64(raw: bytes) -> Iterator[str]:
    """What of a value's base64 does not depend on its neighbours, at each of the three alignments."""
    for shift in range(3):
        code = base64.b64encode(bytes(shift) + raw).decode()
        inner = code[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


def _encoded(text: str) -> Iterator[bytes]:
    for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
        yield text.encode(encoding, "surrogatepass")


def without(text: str) -> str:
    """The text with a mask in place of each such value."""
    return _all().pattern.sub(MASK, text) if _values else text


def redacted(value: Any, *, keep: frozenset[str] = frozenset()) -> Any:
    """Plain data with each text in it made fit to be seen; what stands under a key in `keep` stays."""
    if not _values:
        return value
    if isinstance(value, str):
        return without(value)
    if isinstance(value, Mapping):
        return {
            without(k) if isinstance(k, str) else k: v if k in keep else redacted(v, keep=keep)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(redacted(item, keep=keep) for item in value)
    return value


def names_in(*pieces: bytes | bytearray | memoryview) -> set[str]:
    """The names of the values that these bytes hold, however they are encoded."""
    if not _values:
        return set()
    found = set()
    for piece in pieces:
        data = piece if isinstance(piece, bytes | bytearray) else bytes(piece)
        found |= {name for form, name in _all().raw if form in data}
    return found


class Held:
    """A stream's text made fit to be seen: an end that may be the beginning of a value is held until more comes."""

    def __init__(self) -> None:
        self._rest = ""
        self._lock = threading.Lock()

    def feed(self, text: str) -> str:
        """What can be shown now."""
        with self._lock:
            text = without(self._rest + text)
            cut = _begun(text)
            self._rest = text[cut:]
            return text[:cut]

    def release(self) -> str:
        """What was held; nothing more comes, so it was no such value."""
        with self._lock:
            rest, self._rest = self._rest, ""
            return rest


def _begun(text: str) -> int:
    """Where at the end of a text a value may have begun; its length if none has."""
    if not _values:
        return len(text)
    known, size = _all(), len(text)
    for start in range(max(0, size - known.longest + 1), size):
        node, at = known.tree, start
        while at < size and text[at] in node and at - start < _DEPTH:
            node, at = node[text[at]], at + 1
        rest = text[at:]
        if (not rest and len(node) > ("" in node)) or any(t != rest and t.startswith(rest) for t in node.get("", ())):
            return start
    return size
