"""Which scope a name belongs to: Python's own rules, from the syntax tree alone.

Knows functions, classes, comprehensions, ``global`` and ``nonlocal``. Must not know about flow: what is bound *when* is
the business of :mod:`prefect_nb.analysis.paths`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["MODULE", "Comprehension", "Function", "Scope", "bound", "parameters"]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True)
class Scope:
    """A region of source with its own names.

    Parameters
    ----------
    kind : str
        ``"comprehension"`` is a function scope that a walrus sees through.
    parent : Scope, optional
        The scope around it; None for the cell itself.
    names : frozenset of str
        Names bound in it (not those declared global or nonlocal).
    declared_global : frozenset of str
        Names that a ``global`` statement sends to the cell's scope.
    tag : int
        Tells its names from those of other scopes.
    """

    kind: Literal["module", "function", "class", "comprehension"]
    parent: Scope | None = None
    names: frozenset[str] = frozenset()
    declared_global: frozenset[str] = frozenset()
    tag: int = 0

    def keys(self, name: str) -> Iterator[str]:
        """Where a load of `name` looks, in order: ``"7:x"`` is the x of scope 7, a plain ``"x"`` is the cell's own."""
        scope: Scope | None = self
        first = True
        while scope is not None and scope.kind != "module":
            if name in scope.declared_global:
                break
            if name in scope.names and (first or scope.kind != "class"):
                yield f"{scope.tag}:{name}"
                if scope.kind != "class":
                    return
            first = False
            scope = scope.parent
        yield name

    def key(self, name: str) -> str:
        """Where a store to `name` goes."""
        return next(self.keys(name))

    @property
    def walrus(self) -> Scope:
        """The scope in which ``:=`` binds."""
        scope = self
        while scope.kind == "comprehension" and scope.parent is not None:
            scope = scope.parent
        return scope

    @property
    def runs_later(self) -> bool:
        """Whether code here runs only when a function is called."""
        scope: Scope | None = self
        while scope is not None:
            if scope.kind == "function":
                return True
            scope = scope.parent
        return False


MODULE = Scope("module")


@dataclass(slots=True)
class _Bound:
    names: set[str] = field(default_factory=set)
    global_: set[str] = field(default_factory=set)
    nonlocal_: set[str] = field(default_factory=set)


def bound(nodes: Iterable[ast.AST]) -> tuple[frozenset[str], frozenset[str]]:
    """The names that `nodes` bind in their own scope, and those that they declare global."""
    found = _Bound()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        _note(node, found)
        if isinstance(node, _DEFINITIONS):
            stack.extend(_outside(node))
        elif isinstance(node, ast.Lambda):
            stack.extend(_defaults(node.args))
        elif isinstance(node, _COMPREHENSIONS):
            stack.extend(n for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
        else:
            stack.extend(ast.iter_child_nodes(node))
    return frozenset(found.names - found.global_ - found.nonlocal_), frozenset(found.global_)


def _note(node: ast.AST, found: _Bound) -> None:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            found.names.add(name)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            found.names.add(name)
        case ast.alias(name=name, asname=asname) if name != "*":
            found.names.add(asname or name.partition(".")[0])
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            found.names.add(name)
        case ast.MatchMapping(rest=str(name)):
            found.names.add(name)
        case ast.Global(names=names):
            found.global_.update(names)
        case ast.Nonlocal(names=names):
            found.nonlocal_.update(names)


def _outside(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.AST]:
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    return [*node.decorator_list, *_defaults(node.args)]


def _defaults(args: ast.arguments) -> list[ast.AST]:
    return [*args.defaults, *(d for d in args.kw_defaults if d is not None)]


def parameters(node: Function) -> list[ast.arg]:
    """Every parameter of a function, the starred ones included."""
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    return every + [a for a in (args.vararg, args.kwarg) if a is not None]
