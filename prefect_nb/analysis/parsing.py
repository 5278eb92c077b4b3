"""Python source to its syntax tree, in one thread at a time.

CPython counts the depth of the tree that it builds in one place for all threads: of two that parse at once both
may fail, with a SystemError about a recursion depth. Knows no meaning of source.
"""

from __future__ import annotations

import ast
import threading
from typing import Any, Literal, cast, overload

__all__ = ["PARSING", "parse"]

PARSING = threading.Lock()
"""Held by everything of ours that parses."""
_TRIES = 5  # others parse too, and know nothing of the lock


@overload
def parse(source: str, filename: str = ..., *, flags: int = ...) -> ast.Module: ...
@overload
def parse(source: str, filename: str = ..., mode: Literal["eval"] = ..., *, flags: int = ...) -> ast.Expression: ...
def parse(source: str, filename: str = "<unknown>", mode: str = "exec", *, flags: int = 0) -> Any:
    """The tree of a module or, with mode ``"eval"``, of an expression.

    Raises
    ------
    SyntaxError, ValueError, RecursionError
        As :func:`ast.parse`.
    """
    left = _TRIES
    while True:
        left -= 1
        try:
            with PARSING:
                return cast(Any, compile(source, filename, mode, flags | ast.PyCF_ONLY_AST, dont_inherit=True))
        except SystemError:
            if not left:
                raise
