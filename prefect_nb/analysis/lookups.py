"""What code looks up when it runs: global names and modules, from code objects and from source.

Also what a code object does when its source is unknown. Looks at code, never at values.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import types
from functools import lru_cache
from opcode import opmap
from pathlib import Path

from prefect_nb.analysis.origins import place_of

__all__ = ["CONSTANT", "global_names", "imports", "lookups", "structure", "unloaded"]

_PYTHON = f"python {sys.version_info[0]}.{sys.version_info[1]}"
#: Names that every body sees and that are no input.
CONSTANT = frozenset({"__builtins__", "__name__", "__file__", "__doc__", "get_ipython", "In", "Out", "exit", "quit"})
_NAMED = frozenset(
    opmap[n] for n in ("LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS") if n in opmap
)
_GLOBAL, _EXTENDED, _IMPORT = opmap["LOAD_GLOBAL"], opmap["EXTENDED_ARG"], opmap["IMPORT_NAME"]


@lru_cache(maxsize=4096)
def lookups(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global names and the modules that code, and the code inside it, looks up."""
    names: set[str] = set()
    imports: set[str] = set()
    raw, high = code.co_code, 0
    for at in range(0, len(raw), 2):
        op, arg = raw[at], raw[at + 1] | high
        high = arg << 8 if op == _EXTENDED else 0
        if op == _GLOBAL:
            names.add(code.co_names[arg >> 1])
        elif op in _NAMED:
            names.add(code.co_names[arg])
        elif op == _IMPORT:
            imports.add(code.co_names[arg])
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            inner = lookups(const)
            names |= inner[0]
            imports |= inner[1]
    return frozenset(names), frozenset(imports)


def global_names(function: types.FunctionType) -> frozenset[str]:
    """The global names that a function looks up, in functions inside it too."""
    return lookups(function.__code__)[0] - CONSTANT


def structure(code: types.CodeType) -> str:
    """What a code object does, for code without a source."""
    consts = [structure(c) if isinstance(c, types.CodeType) else (type(c).__name__, _stable(c)) for c in code.co_consts]
    fixed = (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags, code.co_exceptiontable)
    return f"{_PYTHON} {fixed!r} {consts!r}"


def _stable(const: object) -> object:
    return sorted(map(repr, const)) if isinstance(const, frozenset) else const


@lru_cache(maxsize=512)
def _imports_of(module: ast.Module, package: str) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}" if base else above
            names.add(base)
            names.update(f"{base}.{a.name}" for a in node.names if f"{base}.{a.name}" in sys.modules)
    return frozenset(n for n in names if n)


def imports(text: ast.Module, module: types.ModuleType) -> frozenset[str]:
    """Names of the modules that a module's text imports anywhere."""
    return _imports_of(text, module.__package__ or "")


def unloaded(name: str) -> str:
    """The source on disk of a local module that is not loaded yet."""
    parent = name.rpartition(".")[0]
    if name.partition(".")[0] in sys.stdlib_module_names or (parent and parent not in sys.modules):
        return ""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return ""
    file = spec.origin if spec is not None else None
    if not file or not file.endswith(".py") or place_of(name, {"__file__": file}) != "local":
        return ""
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
