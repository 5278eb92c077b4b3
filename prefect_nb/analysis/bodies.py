"""Reads the syntax of a body and asks, for everything it touches, whether it is known to be pure.

Expressions are evaluated to what is known of them: a live object, a dotted name in a library that is not loaded, an
instance of a known class, or something derived from judged things. Referring to a function counts as calling it.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import io
import pathlib
import re
import types
from collections.abc import Mapping
from typing import Any

from prefect_nb.analysis.bindings import Bindings
from prefect_nb.analysis.calls import DERIVED, Lib, Live, Method, Of
from prefect_nb.analysis.known import METHODS
from prefect_nb.analysis.origins import place_of
from prefect_nb.analysis.witness import Inquiry

__all__ = ["Body"]


def _words(text: str) -> list[str]:
    return text.split()


_MISSING = object()
_PLAIN = frozenset(
    _words(
        "__name__ __doc__ __class__ __len__ __version__ __qualname__ __init__ __repr__ __str__ __eq__ __lt__ "
        "__hash__ __getitem__ __setitem__ __contains__ __iter__ __next__ __call__ __enter__ __exit__ __add__ "
        "__mul__ __or__ __and__ __wrapped__ __members__ __annotations__ __dataclass_fields__ __post_init__ "
        "__new__ __init_subclass__ __file__ __set_name__ __setattr__ __delattr__ __missing__ __array__ __float__ "
        "__int__ __abs__ __format__ __sub__ __neg__"
    )
)
_HISTORY = re.compile(r"_+\d*|_i+\d*|_oh|_ih|_dh|In|Out")
_PATHS = frozenset(_words("parent joinpath with_suffix with_name with_stem absolute resolve relative_to"))


class Body(Bindings):
    """Visits one body: a cell, or a function with its globals and closure."""

    def __init__(
        self, inquiry: Inquiry, namespace: Mapping[str, Any], *, module: str = "", closure: Any = None
    ) -> None:
        self.inquiry = inquiry
        self.namespace = namespace
        self.module = module
        self.scopes: list[dict[str, Any]] = [{}]
        self.closure: Mapping[str, Any] = closure or {}
        self._maybe: set[str] = set()
        self._branches = 0

    # -- entry points --------------------------------------------------------------------------------------------

    def cell(self, statements: list[ast.stmt]) -> None:
        """Judge statements that run in the namespace itself."""
        self.each(statements)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        """Judge a function's body; its defaults and decorators are live and judged elsewhere."""
        self._inner(node)

    # -- names ---------------------------------------------------------------------------------------------------

    def bind(self, name: str, value: Any = DERIVED) -> None:
        """Give a name of the innermost scope a meaning."""
        scope = self.scopes[-1]
        old = scope.get(name)
        if self._branches and isinstance(old, Live | Lib) and not _same(old, value):
            self.inquiry.blame("DYNAMIC", f"{name}, bound in more than one way,")
        if self._branches and len(self.scopes) == 1 and name not in scope:
            self._maybe.add(name)
        elif not self._branches:
            self._maybe.discard(name)
        scope[name] = value

    def live(self, name: str) -> Any:
        """The object that a free name stands for now."""
        for space in (self.closure, self.namespace):
            if name in space:
                return space[name]
        return vars(builtins).get(name, _MISSING)

    def lookup(self, name: str) -> Any:
        """What is known of a name."""
        for scope in reversed(self.scopes):
            if name in scope:
                if scope is self.scopes[0] and name in self._maybe and (found := self.live(name)) is not _MISSING:
                    known = self._free(found, name)
                    if isinstance(found, types.ModuleType):
                        return known
                    self.refer(known, name)
                return scope[name]
        found = self.live(name)
        if found is _MISSING:
            if name not in ("get_ipython", "display", "__file__"):
                self.inquiry.blame("UNANALYSED", name)
            return Lib("IPython.get_ipython") if name == "get_ipython" else DERIVED
        return self._free(found, name)

    def _free(self, found: Any, name: str) -> Any:
        if name == "get_ipython" and callable(found):
            return Lib("IPython.get_ipython")
        if _HISTORY.fullmatch(name) and name not in self.closure and not self.module and name in self.namespace:
            self.inquiry.blame("DYNAMIC", name)
        if isinstance(found, types.ModuleType):
            return Live(found, found.__name__)
        if name not in self.closure and name not in self.namespace:
            return Live(found, f"builtins.{name}")
        return Live(found)

    # -- expressions ---------------------------------------------------------------------------------------------

    def visit(self, node: ast.AST) -> Any:
        """Judge a node; what is known of its value, None when it is merely derived."""
        line = getattr(node, "lineno", None)
        if line is not None:
            self.inquiry.line = line
        handler = getattr(self, f"_on_{type(node).__name__}", None)
        if handler is not None:
            return handler(node)
        self.each(ast.iter_child_nodes(node))
        return DERIVED

    def refer(self, known: Any, label: str) -> None:
        """Judge a value that leaves the place where it is named."""
        if isinstance(known, Live):
            self.inquiry.see(known.value, label or known.path, known.path)
        elif isinstance(known, Lib):
            self.inquiry.named((known.path,), label)

    def _on_Name(self, node: ast.Name) -> Any:
        known = self.lookup(node.id)
        self.refer(known, node.id)
        return known

    def _on_Attribute(self, node: ast.Attribute) -> Any:
        known = self.reach(node)
        self.refer(known, ast.unparse(node) if isinstance(known, Live | Lib) else node.attr)
        return known

    def reach(self, node: ast.expr) -> Any:
        """The value of an expression that is used in place: called, or asked for an attribute."""
        if isinstance(node, ast.Name):
            return self.lookup(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(self.reach(node.value), node.attr, node.value)
        return self.visit(node)

    def attribute(self, base: Any, name: str, node: ast.expr | None = None) -> Any:
        """What is known of an attribute."""
        if name[:2] == "__" and name[-2:] == "__" and name not in _PLAIN:
            self.inquiry.blame("DYNAMIC", f".{name}")
            return DERIVED
        if isinstance(base, Lib):
            return Lib(f"{base.path}.{name}")
        if isinstance(base, Live):
            if isinstance(base.value, types.ModuleType):
                return self._of_module(base, name)
            if isinstance(base.value, type):
                return self._of_class(base, name)
            if base.path == "os.environ":
                return Lib(f"os.environ.{name}")
            label = ast.unparse(node) if node is not None else name
            self.inquiry.see(base.value, label, base.path)
            base = Of(type(base.value))
        own = isinstance(base, Of) and inspect.getattr_static(base.kind, name, None)
        analysed = isinstance(base, Of) and place_of(base.kind.__module__) in ("notebook", "local") and own
        if name in METHODS and not analysed:
            code = METHODS[name]
            self.inquiry.blame(code, f".{name}")
        return Method(base, name)

    def _of_module(self, base: Live, name: str) -> Any:
        path = f"{base.value.__name__}.{name}"
        found = vars(base.value).get(name, _MISSING)
        if found is _MISSING:
            if place_of(base.value.__name__) == "local":
                self.inquiry.blame("UNANALYSED", path)
                return DERIVED
            return Lib(path)
        if isinstance(found, types.ModuleType):
            return Live(found, found.__name__)
        return Live(found, path if place_of(base.value.__name__) != "local" else "")

    def _of_class(self, base: Live, name: str) -> Any:
        self.inquiry.see(base.value, base.path or base.value.__name__, base.path)
        if place_of(base.value.__module__) in ("notebook", "local"):
            if inspect.getattr_static(base.value, name, _MISSING) is _MISSING or not self._is_own(base.value, name):
                return Method(Of(base.value), name)
            return DERIVED
        return Lib(f"{base.value.__module__}.{base.value.__qualname__}.{name}")

    @staticmethod
    def _is_own(kind: type, name: str) -> bool:
        owner = next((c for c in kind.__mro__ if name in vars(c)), object)
        return place_of(owner.__module__) in ("notebook", "local")

    def _on_BinOp(self, node: ast.BinOp) -> Any:
        left, _ = self.visit(node.left), self.visit(node.right)
        return left if isinstance(left, Of) and isinstance(node.op, ast.Div) else self.as_path(left)

    @staticmethod
    def as_path(known: Any) -> Any:
        """A live path as an instance of its class; anything else is derived."""
        return (
            Of(type(known.value)) if isinstance(known, Live) and isinstance(known.value, pathlib.PurePath) else DERIVED
        )

    def _on_Constant(self, node: ast.Constant) -> Any:
        return Of(str) if isinstance(node.value, str) else DERIVED

    def _on_Subscript(self, node: ast.Subscript) -> Any:
        base = self.reach(node.value)
        if isinstance(base, Live) and base.path == "os.environ":
            self.environment(node.slice)
            return DERIVED
        self.refer(base, ast.unparse(node.value) if isinstance(base, Live | Lib) else "")
        self.visit(node.slice)
        return DERIVED

    def _on_Compare(self, node: ast.Compare) -> Any:
        self.visit(node.left)
        for op, right in zip(node.ops, node.comparators, strict=True):
            known = self.reach(right)
            if isinstance(known, Live) and known.path == "os.environ" and isinstance(op, ast.In | ast.NotIn):
                self.environment(node.left)
            else:
                self.refer(known, ast.unparse(right) if isinstance(known, Live | Lib) else "")
        return DERIVED

    def _on_NamedExpr(self, node: ast.NamedExpr) -> Any:
        self.bind(node.target.id, self.kept(self.visit(node.value)))
        return DERIVED

    @staticmethod
    def kept(known: Any) -> Any:
        """What a binding keeps of a value; a live object was judged where it was named."""
        return known if isinstance(known, Of) else DERIVED

    def _on_Lambda(self, node: ast.Lambda) -> Any:
        self._defaults(node.args)
        self._inner(node)
        return DERIVED

    def _comprehension(self, node: Any) -> Any:
        self.scopes.append({})
        for part in node.generators:
            self.visit(part.iter)
            self.target(part.target)
            self.each(part.ifs)
        self.each([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.scopes.pop()
        return DERIVED

    _on_ListComp = _on_SetComp = _on_DictComp = _on_GeneratorExp = _comprehension

    def instance(self, kind: type) -> Any:
        """What a call of a class gives."""
        tracked = issubclass(kind, pathlib.PurePath | io.BytesIO | io.StringIO)
        return Of(kind) if tracked or place_of(kind.__module__) in ("notebook", "local") else DERIVED

    @staticmethod
    def path_method(name: str) -> bool:
        """Whether a method of a path gives a path."""
        return name in _PATHS


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, Live) and isinstance(two, Live):
        return one.value is two.value
    return isinstance(one, Lib) and isinstance(two, Lib) and one.path == two.path
