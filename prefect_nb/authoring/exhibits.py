"""From what a body wants to show to an artifact's plain data: rows of any kind, pictures of any kind, cut to size.

Knows frames, figures and pictures by what they can do; their libraries are never imported from here. Knows nothing of
bodies, visits or stores. What is too large is cut, and the data says so.
"""

from __future__ import annotations

import base64
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from prefect_nb.analysis.redaction import names_in, redacted
from prefect_nb.errors import UsageError

__all__ = ["IMAGE_CAP", "image", "link", "markdown", "progress", "table"]

TEXT_CAP, URL_CAP, MESSAGE_CAP, CELL_CAP = 1 << 16, 2000, 200, 500
ROWS, COLUMNS, TABLE_CAP = 1000, 50, 1 << 18
IMAGE_CAP = 8 << 20

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*):")
_SCHEMES = frozenset({"http", "https", "mailto"})
_BLANK = re.compile(r"[\x00-\x20\x7f-\x9f]+")
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)
_KEEP = frozenset({"data", "mime"})


def markdown(text: object) -> dict[str, Any]:
    """The body of a text."""
    whole = str(text)
    body: dict[str, Any] = {"text": whole[:TEXT_CAP]}
    if len(whole) > TEXT_CAP:
        body["cut"] = f"{len(whole) - TEXT_CAP:,} more characters"
    return _clean(body)


def link(url: object, text: object | None) -> dict[str, Any]:
    """The body of a link.

    Raises
    ------
    UsageError
        If it leads anywhere but to the web, to a mailbox or to a place relative to the page.
    """
    address = str(url).strip()
    scheme = _SCHEME.match(_BLANK.sub("", address))
    if (scheme and scheme.group(1).lower() not in _SCHEMES) or len(address) > URL_CAP:
        raise UsageError(
            f"artifact.link takes no {address[:60]!r}",
            hint=f"addresses are http, https, mailto or relative, of at most {URL_CAP} characters",
        )
    return _clean({"url": address, "text": str(address if text is None else text)[:MESSAGE_CAP]})


def progress(value: float, total: float | None, message: object) -> dict[str, Any]:
    """The body of a progress.

    Raises
    ------
    UsageError
        If what should be a number is none.
    """
    for number in (value, total):
        if number is not None and not (isinstance(number, int | float) or hasattr(number, "__float__")):
            raise UsageError(f"artifact.progress takes numbers, not {number!r:.60}", hint="value=3, total=10")
    shown = {"value": _number(value), "total": None if total is None else _number(total)}
    return _clean(shown | {"message": str(message)[:MESSAGE_CAP]})


def table(rows: Any) -> dict[str, Any]:
    """The body of a table: a frame, a mapping of columns, or rows (mappings or sequences).

    Raises
    ------
    UsageError
        If it is nothing of that kind.
    """
    names, lines, count = _taken(rows)
    cells = [[_cell(value) for value in line[:COLUMNS]] for line in lines[:ROWS]]
    width = max((len(line) for line in cells), default=0)
    heads = [_cell(name) for name in names[:COLUMNS]] or [str(number + 1) for number in range(width)]
    cells = [line + [""] * (len(heads) - len(line)) for line in cells]
    size, kept = sum(map(len, heads)), len(cells)
    for number, line in enumerate(cells):
        size += sum(map(len, line))
        if size > TABLE_CAP:
            kept = number
            break
    cut = []
    if kept < len(cells) or count is None or count > kept:
        cut.append(f"the first {kept:,} of {f'{count:,}' if count is not None else 'more'} rows")
    wide = max([len(names), *(len(line) for line in lines[:ROWS])])
    if wide > COLUMNS:
        cut.append(f"the first {COLUMNS} of {wide:,} columns")
    body: dict[str, Any] = {"columns": heads, "rows": [line[: len(heads)] for line in cells[:kept]]}
    return _clean(body | ({"cut": ", ".join(cut)} if cut else {}))


def image(given: Any, alt: object) -> dict[str, Any]:
    """The body of a picture: bytes, a path, a figure, or anything that shows itself as PNG or SVG.

    Raises
    ------
    UsageError
        If it is no picture.
    """
    data = _picture(given)
    body: dict[str, Any] = {"mime": _mime(data), "size": len(data), "alt": str(alt)[:MESSAGE_CAP]}
    if secrets := sorted(names_in(data)):
        return _clean(body | {"cut": f"not kept: it holds the value of the secret {', '.join(secrets)}"})
    if len(data) > IMAGE_CAP:
        return _clean(body | {"cut": f"not kept: {len(data):,} bytes are more than {IMAGE_CAP:,}"})
    return _clean(body | {"data": base64.b64encode(data).decode("ascii")})


def _clean(body: dict[str, Any]) -> dict[str, Any]:
    """The body without the values of secrets."""
    return dict(redacted(body, keep=_KEEP))


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool | int):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CELL_CAP else text[: CELL_CAP - 1] + "…"


def _taken(rows: Any) -> tuple[list[Any], list[list[Any]], int | None]:
    """Names of columns, at most one row more than is kept, and the number of rows if that is known."""
    if hasattr(rows, "columns") and hasattr(rows, "itertuples"):  # as pandas has it
        shown = rows.head(ROWS)
        index = type(shown.index).__name__ != "RangeIndex"
        names = [*([shown.index.name or ""] if index else []), *shown.columns]
        return names, [list(line) for line in shown.itertuples(index=index, name=None)], len(rows)
    if hasattr(rows, "columns") and hasattr(rows, "iter_rows"):  # as polars has it
        return list(rows.columns), [list(line) for line in islice(rows.iter_rows(), ROWS)], len(rows)
    if isinstance(rows, Mapping):
        columns = [list(islice(_many(column), ROWS + 1)) for column in rows.values()]
        longest = max(map(len, columns), default=0)
        lines = [[column[n] if n < len(column) else None for column in columns] for n in range(longest)]
        return list(rows), lines, longest if longest <= ROWS else None
    given = list(islice(_many(rows), ROWS + 1))
    count = len(rows) if hasattr(rows, "__len__") else len(given) if len(given) <= ROWS else None
    if given and all(isinstance(row, Mapping) for row in given):
        names = list(dict.fromkeys(name for row in given for name in row))
        return names, [[row.get(name) for name in names] for row in given], count
    names = list(getattr(given[0], "_fields", ())) if given else []
    return names, [list(_many(row)) if _is_row(row) else [row] for row in given], count


def _is_row(row: Any) -> bool:
    if isinstance(row, str | bytes):
        return False
    return isinstance(row, Sequence) or (hasattr(row, "tolist") and hasattr(row, "__len__"))


def _many(rows: Any) -> Iterator[Any]:
    if isinstance(rows, str | bytes) or not hasattr(rows, "__iter__"):
        raise UsageError(
            f"artifact.table takes rows or a frame, not a {type(rows).__name__}", hint="a list of dicts, for example"
        )
    each: Iterator[Any] = iter(rows)
    return each


def _picture(given: Any) -> bytes:
    if isinstance(given, bytes | bytearray | memoryview):
        return bytes(given)
    if isinstance(given, str) and given.lstrip()[:5].lower() in ("<svg ", "<?xml", "<svg>"):
        return given.encode("utf-8", "replace")
    if isinstance(given, str | os.PathLike):
        with open(given, "rb") as file:
            return file.read(IMAGE_CAP + 1)
    if hasattr(given, "savefig"):
        made = io.BytesIO()
        given.savefig(made, format="png", bbox_inches="tight")
        return made.getvalue()
    for method in ("_repr_png_", "_repr_svg_"):
        if callable(show := getattr(given, method, None)) and (shown := show()):
            shown = shown[0] if isinstance(shown, tuple) else shown
            return shown.encode() if isinstance(shown, str) and method == "_repr_svg_" else _decoded(shown)
    raise UsageError(
        f"artifact.image cannot show a {type(given).__name__}",
        hint="it takes PNG, JPEG, GIF, WebP or SVG bytes, a path, or a figure",
    )


def _decoded(shown: str | bytes) -> bytes:
    return base64.b64decode(shown) if isinstance(shown, str) else bytes(shown)


def _mime(data: bytes) -> str:
    for magic, mime in _MAGIC:
        if data.startswith(magic):
            return mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if b"<svg" in data[:4096].lower():
        return "image/svg+xml"
    raise UsageError("artifact.image was given bytes that are no picture", hint="it takes PNG, JPEG, GIF, WebP or SVG")
