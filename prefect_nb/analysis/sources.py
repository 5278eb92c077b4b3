"""Source text and its normal form: what counts as the same code.

Positions, layout, comments and docstrings do not count; a ``;`` after a cell's last expression does, because it
suppresses the display. Knows no namespace and no file but those that ``linecache`` holds.
"""

from __future__ import annotations

import ast
import linecache
import types
from functools import lru_cache
from typing import Any

from prefect_nb.analysis.encode import digest
from prefect_nb.analysis.parsing import parse

__all__ = ["cell_fingerprint", "function_node", "normalize", "shape", "tree", "trusted_text"]

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SKIPPED = frozenset({"ctx", "type_comment", "kind", "type_ignores"})
_FIELDS: dict[type, tuple[str, ...]] = {}
_TEXTS: dict[str, str] = {}


def _dump(node: Any, out: list[str]) -> None:
    kind = type(node)
    if kind is list:
        out.append("[")
        for item in node:
            _dump(item, out)
        out.append("]")
        return
    fields = _FIELDS.get(kind)
    if fields is None:
        if not isinstance(node, ast.AST):
            out.append(f"{kind.__name__}:{node!r},")
            return
        fields = _FIELDS[kind] = tuple(f for f in kind._fields if f not in _SKIPPED)
    out.append(kind.__name__)
    out.append("(")
    for name in fields:
        value = getattr(node, name, None)
        if name == "body" and isinstance(node, _SCOPES):
            value = _without_docstring(value)
        if value.__class__ is str:
            out.append(repr(value))
            out.append(",")
        else:
            _dump(value, out)
    out.append(")")


def _without_docstring(body: Any) -> Any:
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:]
    return body


def shape(node: ast.AST) -> str:
    """The normal form of a syntax tree."""
    out: list[str] = []
    _dump(node, out)
    return "".join(out)


@lru_cache(maxsize=1024)
def tree(source: str) -> ast.Module | None:
    """The syntax tree of a source, None when it has no syntax; shared, so never changed."""
    try:
        return parse(source, "<cell>", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError):
        return None


def _ends_silently(source: str, module: ast.Module) -> bool:
    """Whether the last expression is followed by a semicolon."""
    last = module.body[-1] if module.body else None
    if not isinstance(last, ast.Expr) or last.end_lineno is None or last.end_col_offset is None:
        return False
    lines = source.splitlines(keepends=True)
    tail = lines[last.end_lineno - 1].encode()[last.end_col_offset :].decode()
    return tail.lstrip(" \t)").startswith(";")


@lru_cache(maxsize=1024)
def normalize(source: str) -> str:
    """The normal form of a cell's source.

    Parameters
    ----------
    source : str
        A cell's body after IPython's transforms.

    Returns
    -------
    str
        Equal for sources that differ in layout, comments and docstrings only; a source without Python syntax stands
        for itself.
    """
    module = tree(source)
    if module is None:
        return "raw:" + source.strip()
    body = list(module.body)
    while len(body) > 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body.pop(0)
    out: list[str] = []
    for statement in body:
        _dump(statement, out)
        out.append("\n")
    return "".join(out) + (";" if _ends_silently(source, module) else "")


@lru_cache(maxsize=1024)
def cell_fingerprint(source: str) -> str:
    """The digest of a cell's normal form."""
    return "b3-" + digest(normalize(source).encode("utf-8", "surrogatepass")).hex()


def trusted_text(file: str, text: str) -> None:
    """Remember the source that the code of a local file was compiled from."""
    _TEXTS[file] = text


def _text_of(file: str) -> str:
    if file in _TEXTS:
        return _TEXTS[file]
    entry = linecache.cache.get(file)
    if entry is not None and len(entry) == 1:
        linecache.getlines(file)
        entry = linecache.cache.get(file)
    # An entry with a time stamp was read from a file that may have been edited since; only registered text is sure.
    return "".join(entry[2]) if entry is not None and len(entry) == 4 and entry[1] is None else ""


@lru_cache(maxsize=256)
def _definitions(text: str) -> dict[int, list[Definition]]:
    module = tree(text)
    found: dict[int, list[Definition]] = {}
    for node in ast.walk(module) if module is not None else ():
        if isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found.setdefault(first, []).append(node)
    return found


def function_node(code: types.CodeType) -> Definition | None:
    """The syntax of a function's code object, None when its source is unknown or two could be meant."""
    text = _text_of(code.co_filename)
    if not text:
        return None
    want = ast.Lambda if code.co_name == "<lambda>" else (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [
        n
        for n in _definitions(text).get(code.co_firstlineno, [])
        if isinstance(n, want) and getattr(n, "name", code.co_name) == code.co_name and _arguments(n) == _names(code)
    ]
    if len(nodes) > 1:
        nodes = [n for n in nodes if _spans(n, code)]
    return nodes[0] if len(nodes) == 1 else None


def _arguments(node: Definition) -> tuple[str, ...]:
    a = node.args
    extra = [x.arg for x in (a.vararg, a.kwarg) if x is not None]
    return tuple(x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)) + tuple(extra)


def _names(code: types.CodeType) -> tuple[str, ...]:
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    return code.co_varnames[:count]


def _spans(node: Definition, code: types.CodeType) -> bool:
    """Whether the value that a lambda's code returns is exactly the node's body."""
    body = node.body
    if isinstance(body, list):
        return False
    places = {p for p in code.co_positions() if None not in p}
    return (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset) in places
