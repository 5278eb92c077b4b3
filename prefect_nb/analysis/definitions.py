"""What making a function, a class or a type alias does to names: what is evaluated now and what later.

Knows decorators, defaults, annotations, class bodies and type parameters. What the bodies do when they run is summed up
by :mod:`prefect_nb.analysis.flow`.
"""

from __future__ import annotations

import ast
import sys
from typing import Any

from prefect_nb.analysis.expressions import NO_ARGUMENTS, Expressions
from prefect_nb.analysis.facts import ENTRY, Held
from prefect_nb.analysis.scopes import Scope, bound, parameters

__all__ = ["Definitions"]


class Definitions(Expressions):
    """A walk that understands definitions."""

    def annotation(self, node: ast.expr | None) -> None:
        """Evaluate an annotation, unless this Python or this cell puts that off."""
        if node is not None and not self.cell.late_annotations and sys.version_info < (3, 14):
            self.expr(node)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Bind a function; its defaults, decorators and annotations are evaluated now."""
        for each in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
            self.expr(each)
        self.cell.calls.update(d.id for d in node.decorator_list if isinstance(d, ast.Name))
        with self.inside(self._type_parameters(node)):
            for parameter in parameters(node):
                self.annotation(parameter.annotation)
            self.annotation(node.returns)
            body = self.body(node)
        self.store(node.name, "define", [Held(body, "maybe" if node.decorator_list else "call")])
        methods = self.cell.methods.setdefault(node.name, []) if self.scope.kind == "class" else [body]
        if body not in methods:
            methods.append(body)
            self.cell.generation += 1

    def _type_parameters(self, node: Any) -> Scope:  # Any: the field exists from Python 3.12 on
        declared = getattr(node, "type_params", [])
        if not declared:
            return self.scope
        names = frozenset(p.name for p in declared)
        scope = self.inner(declared, "comprehension", names)
        with self.inside(scope):
            for each in declared:
                for lazy in (getattr(each, "bound", None), getattr(each, "default_value", None)):
                    if lazy is not None:
                        self.body(self._kept(ast.Lambda(NO_ARGUMENTS, lazy)))
        return scope

    def _kept(self, node: ast.Lambda) -> ast.Lambda:
        self.cell.kept.append(node)
        return node

    def type_alias(self, node: Any) -> None:  # Any: the form exists from Python 3.12 on
        """Bind ``type X = …``; its value is evaluated when somebody asks."""
        with self.inside(self._type_parameters(node)):
            body = self.body(self._kept(ast.Lambda(NO_ARGUMENTS, node.value)))
        self.store(node.name.id, "define", [Held(body, "item")])

    def class_(self, node: ast.ClassDef) -> None:
        """Run a class body and bind the class."""
        for each in node.decorator_list:
            self.expr(each)
        self.cell.calls.update(d.id for d in node.decorator_list if isinstance(d, ast.Name))
        with self.inside(self._type_parameters(node)):
            for base in [*node.bases, *node.keywords]:
                self.expr(base)
            names, outward = bound(node.body)
            scope = self.inner(node, "class", names, outward)
            with self.inside(scope):
                for name in names:
                    self._set(scope.key(name), ENTRY)
                self.block(node.body)
        held = [
            Held(h.body, "maybe" if name.startswith("__") and name.endswith("__") else "item")
            for name in sorted(names)
            for h in self.cell.held.get(scope.key(name), [])
        ]
        self.store(node.name, "define", held)
