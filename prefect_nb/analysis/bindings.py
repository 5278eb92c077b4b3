"""Bindings of a body: definitions, imports, bindings and writes, as the judge reads them."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from prefect_nb.analysis.calls import DERIVED, Calls, Lib, Live, Method
from prefect_nb.analysis.known import MUTATORS
from prefect_nb.analysis.origins import place_of
from prefect_nb.analysis.witness import outside

__all__ = ["Bindings"]

_SETTINGS = ("matplotlib.rcParams", "matplotlib.pyplot.rcParams", "pandas.options", "pandas.set_option")


class Bindings(Calls):
    """The part of a body's judge that knows statements."""

    namespace: Mapping[str, Any]
    module: str
    scopes: list[dict[str, Any]]
    bind: Any
    kept: Any
    _on_Name: Any
    _branches: int

    def each(self, nodes: Any) -> None:
        """Visit nodes one after the other."""
        for node in nodes:
            self.visit(node)

    # -- definitions ---------------------------------------------------------------------------------------------

    def _defaults(self, args: ast.arguments) -> None:
        self.each([d for d in (*args.defaults, *args.kw_defaults) if d is not None])

    def _inner(self, node: Any) -> None:
        """A body with parameters: everything it assigns is its own from the start."""
        statements = node.body if isinstance(node.body, list) else [node.body]
        self.scopes.append(dict.fromkeys(_own_names(node), DERIVED))
        branches, self._branches = self._branches, 0
        self.each(statements)
        self._branches = branches
        self.scopes.pop()

    def _on_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.each(node.decorator_list)
        self._defaults(node.args)
        self.bind(node.name)
        self._inner(node)

    _on_AsyncFunctionDef = _on_FunctionDef

    def _on_ClassDef(self, node: ast.ClassDef) -> None:
        self.each([*node.decorator_list, *node.bases, *(k.value for k in node.keywords)])
        self.scopes.append({})
        self.each(node.body)
        self.scopes.pop()
        self.bind(node.name)

    def _on_Global(self, node: ast.Global) -> None:
        if self.module:
            for name in node.names:
                self.inquiry.blame("IMPURE_GLOBAL", f"{self.module}.{name}")

    # -- statements ----------------------------------------------------------------------------------------------

    def _on_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            known = self.imported(alias.name)
            top = alias.name.partition(".")[0]
            self.bind(alias.asname or top, known if alias.asname or top == alias.name else self.imported(top))

    def _on_ImportFrom(self, node: ast.ImportFrom) -> None:
        name = node.module or ""
        if node.level:
            package = str(self.namespace.get("__package__") or self.module.rpartition(".")[0])
            above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            name = f"{above}.{name}".strip(".")
        base = self.imported(name)
        for alias in node.names:
            if alias.name == "*":
                self.inquiry.blame("DYNAMIC", f"from {name} import *")
            elif f"{name}.{alias.name}" in sys.modules:
                self.bind(alias.asname or alias.name, self.imported(f"{name}.{alias.name}"))
            else:
                self.bind(
                    alias.asname or alias.name, self.attribute(base, alias.name) if base is not DERIVED else DERIVED
                )

    def imported(self, name: str) -> Any:
        """A module that the body imports; a module that is not loaded would run its code first."""
        module = sys.modules.get(name)
        if module is not None:
            return Live(module, name)
        code = outside(name)
        if code == "UNKNOWN_MODULE":
            self.inquiry.blame("UNANALYSED" if place_of(name) == "local" else code, name)
            return DERIVED
        return Lib(name)

    def _on_Assign(self, node: ast.Assign) -> None:
        known = self.kept(self.visit(node.value))
        for target in node.targets:
            self.target(target, known)

    def _on_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.target(node.target, self.kept(self.visit(node.value)))

    def _on_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._on_Name(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))
        self.visit(node.value)
        self.target(node.target)

    def _on_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self.target(target)

    def target(self, node: ast.AST, known: Any = DERIVED) -> None:
        """Judge what is written to, and bind names."""
        if isinstance(node, ast.Name):
            self._shared_write(node.id)
            self.bind(node.id, known)
        elif isinstance(node, ast.Tuple | ast.List):
            for part in node.elts:
                self.target(part)
        elif isinstance(node, ast.Starred):
            self.target(node.value)
        elif isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node, ast.Subscript):
                self.visit(node.slice)
            self.written(node.value, ast.unparse(node))

    def _shared_write(self, name: str) -> None:
        if self.module and len(self.scopes) == 1:
            self.inquiry.blame("IMPURE_GLOBAL", f"{self.module}.{name}")

    def written(self, node: ast.expr, label: str) -> None:
        """Judge a change to what an expression stands for; what a module owns must not change."""
        path = ""
        base = self.reach(node)
        if isinstance(base, Live):
            path = base.path or (f"{self.module}.{label}" if self.module else "")
            if isinstance(base.value, type) and not path:
                path = label
            if not path:
                self.inquiry.see(base.value, label)
        elif isinstance(base, Lib):
            path = base.path
        elif isinstance(base, Method):
            path = self._owner(node)
        if path and not path.startswith(_SETTINGS):
            self.inquiry.blame("IMPURE_GLOBAL", label)

    def _owner(self, node: ast.expr) -> str:
        """The module-owned object that a chain of attributes and items starts from, "" when there is none."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
            known = self.reach(node) if isinstance(node, ast.Name | ast.Attribute) else DERIVED
            if isinstance(known, Live) and not isinstance(known.value, types.ModuleType):
                return known.path or (self.module and f"{self.module}.{ast.unparse(node)}")
        return ""

    def mutated(self, node: ast.expr, method: str) -> None:
        """Judge a mutating method call on something that a module owns."""
        if method in MUTATORS:
            base = self.reach(node)
            if (
                isinstance(base, Live)
                and (self.module or base.path)
                and not isinstance(base.value, type | types.ModuleType)
            ):
                self.inquiry.blame("IMPURE_GLOBAL", f"{ast.unparse(node)}.{method}")

    def _with(self, node: Any) -> None:
        for item in node.items:
            known = self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.target(item.optional_vars, self.kept(known))
        self.each(node.body)

    _on_With = _on_AsyncWith = _with

    def _branching(self, node: Any) -> None:
        self.each([n for n in (getattr(node, f, None) for f in ("test", "iter", "subject")) if n is not None])
        self._branches += 1
        if hasattr(node, "target"):
            self.target(node.target)
        for name in ("body", "handlers", "orelse", "finalbody", "cases"):
            self.each(getattr(node, name, ()))
        self._branches -= 1

    _on_If = _on_For = _on_AsyncFor = _on_While = _on_Try = _on_TryStar = _on_Match = _branching

    def _on_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self.bind(node.name)
        self.each(node.body)

    def _on_match_case(self, node: ast.match_case) -> None:
        for part in ast.walk(node.pattern):
            name = getattr(part, "name", None) or getattr(part, "rest", None)
            if isinstance(name, str):
                self.bind(name)
            if isinstance(part, ast.MatchClass):
                self.visit(part.cls)
            elif isinstance(part, ast.MatchValue):
                self.visit(part.value)
        self.each([node.guard] if node.guard is not None else [])
        self.each(node.body)


@lru_cache(maxsize=1024)
def _own_names(node: Any) -> tuple[str, ...]:
    """Parameters and everything that a function binds for itself."""
    a = node.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x is not None]
    statements = node.body if isinstance(node.body, list) else [node.body]
    shared = {n for s in statements for g in ast.walk(s) if isinstance(g, ast.Global | ast.Nonlocal) for n in g.names}
    return (*names, *(n for s in statements for n in _bound(s) if n not in shared))


def _bound(node: ast.AST) -> list[str]:
    """Names that a statement binds in its own function."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Lambda):
        return []
    out: list[str] = []
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        out.append(node.id)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        out += [(a.asname or a.name).partition(".")[0] for a in node.names]
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        out.append(node.name)
    elif isinstance(node, ast.MatchMapping) and node.rest:
        out.append(node.rest)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return [n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)]
    for child in ast.iter_child_nodes(node):
        out += _bound(child)
    return out
