"""What evaluating an expression does to names, form by form, in Python's order of evaluation.

Knows calls, lambdas, comprehensions and the text inside magics; statements are in
:mod:`prefect_nb.analysis.statements`.
"""

from __future__ import annotations

import ast
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from prefect_nb.analysis import mutators
from prefect_nb.analysis.facts import BOUND, Body, Env, Held, join
from prefect_nb.analysis.flow import Flow
from prefect_nb.analysis.interpolation import Escape, escape
from prefect_nb.analysis.scopes import Comprehension, bound

__all__ = ["NO_ARGUMENTS", "Expressions", "never_empty", "root"]

NO_ARGUMENTS = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])


def root(node: ast.expr) -> tuple[str, bool] | None:
    """The name that `node` reaches through attributes and items, and whether a call lies between."""
    through = False
    while True:
        match node:
            case ast.Name(id=name):
                return name, through
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Starred(value=inner):
                node = inner
            case ast.Call(func=ast.Attribute(value=inner)):
                node, through = inner, True
            case _:
                return None


def never_empty(node: ast.expr) -> bool:
    """Whether iterating over `node` is sure to give something: a literal, or a range of literals."""
    match node:
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return any(not isinstance(item, ast.Starred) for item in items)
        case ast.Constant(value=str(text)):
            return bool(text)
        case ast.Call(func=ast.Name(id="range"), args=args, keywords=[]) if 0 < len(args) <= 3:
            values = [a.value for a in args if isinstance(a, ast.Constant) and isinstance(a.value, int)]
            return len(values) == len(args) and 0 not in values[2:] and bool(range(*values))
        case ast.Call(func=ast.Name(id="enumerate" | "list" | "reversed" | "sorted"), args=[inner, *_]):
            return never_empty(inner)
    return False


class Expressions(Flow):
    """A walk that understands expressions."""

    _bare: ast.AST | None = None  # the expression whose value nobody uses
    _argument = 0  # above 0: inside the arguments of a call
    _deferred: list[Body] | None = None  # lambdas made while the current value is evaluated

    @abstractmethod
    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Walk statements one after the other."""

    @abstractmethod
    def target(self, node: ast.expr, held: Sequence[Held] = ()) -> None:
        """Bind a target."""

    def expr(self, node: ast.AST | None) -> None:
        """Evaluate an expression."""
        if node is None or self.env is None:
            return
        special = self._FORMS.get(type(node))
        if special is not None:
            special(self, node)
            return
        for child in ast.iter_child_nodes(node):
            self.expr(child)

    def value(self, node: ast.expr | None) -> list[Held]:
        """Evaluate an expression that is about to be bound; the bodies that its names will lead to."""
        outer, made = self._deferred, list[Body]()
        self._deferred = made
        self.expr(node)
        self._deferred = outer
        if isinstance(node, ast.Name):
            return list(self.held(node.id))
        found = [Held(body, "call" if isinstance(node, ast.Lambda) else "item") for body in made]
        match node:
            case ast.Call(func=ast.Name(id=name)):  # what a factory gives may be what the factory made
                for held in self.held(name):
                    found.extend(Held(body, "maybe") for body in self.summary(held.body).made)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items) | ast.Dict(values=items):
                for item in items:
                    found.extend(
                        Held(h.body, "item") for h in (self.held(item.id) if isinstance(item, ast.Name) else ())
                    )
            case ast.Subscript():
                found.extend(self.members(node))
        return found

    def members(self, node: ast.expr) -> list[Held]:
        """The bodies that an item of a container may be."""
        origin = root(node)
        return [Held(h.body, "maybe") for h in self.held(origin[0])] if origin else []

    # Forms -----------------------------------------------------------------------------------------------------

    def _name(self, node: ast.Name) -> None:
        self.load(node.id)
        if self._argument:
            self.run([h.body for h in self.held(node.id)])

    def _binary(self, node: ast.BinOp) -> None:
        chain: list[ast.expr] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):  # a long sum is deep on its left side
            chain.append(left.right)
            left = left.left
        self._handed(left, *reversed(chain))

    def _walrus(self, node: ast.NamedExpr) -> None:
        held = self.value(node.value)
        if isinstance(node.target, ast.Name):
            self.store(node.target.id, held=held, scope=self.scope.walrus)

    def _logic(self, node: ast.BoolOp) -> None:
        self.expr(node.values[0])
        before = self.fork()
        for each in node.values[1:]:
            self.expr(each)
        self.meet(before)

    def branch(self, test: ast.expr) -> Env | None:
        """Evaluate a condition; go on where it holds and give what is known where it does not."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                otherwise = self.branch(inner)
                self.env, otherwise = otherwise, self.env
                return otherwise
            case ast.BoolOp(op=ast.And(), values=values):
                failed: Env | None = None
                for each in values:
                    failed = join(failed, self.branch(each))
                return failed
            case ast.BoolOp(values=values):
                held: Env | None = None
                for each in values:
                    failed = self.branch(each)
                    held, self.env = join(held, self.env), failed
                failed, self.env = self.env, held
                return failed
        self.expr(test)
        return self.fork()

    def _either(self, node: ast.IfExp) -> None:
        otherwise = self.branch(node.test)
        self.expr(node.body)
        then, self.env = self.env, otherwise
        self.expr(node.orelse)
        self.meet(then)

    def _lambda(self, node: ast.Lambda) -> None:
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            self.expr(default)
        body = self.body(node)
        if self._argument:
            self.run([body])
        if self._deferred is not None:
            self._deferred.append(body)

    def _comprehension(self, node: Comprehension) -> None:
        first, *rest = node.generators
        self.expr(first.iter)
        names, _ = bound(g.target for g in node.generators)
        scope = self.inner(node, "comprehension", names)
        if any(g.is_async for g in node.generators) and not self.scope.runs_later:
            self.cell.awaits = True
        before = self.fork()
        with self.inside(scope):
            self.target(first.target)
            for test in first.ifs:
                self.expr(test)
            for each in rest:
                self.expr(each.iter)
                self.target(each.target)
                for test in each.ifs:
                    self.expr(test)
            for part in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
                self.expr(part)
        certain = not rest and not first.ifs and never_empty(first.iter) and not isinstance(node, ast.GeneratorExp)
        if not certain:
            self.meet(before)

    def _await(self, node: ast.Await) -> None:
        self.expr(node.value)
        if not self.scope.runs_later:
            self.cell.awaits = True

    def _attribute(self, node: ast.Attribute) -> None:
        self.expr(node.value)
        if node.attr == "user_ns":
            self.cell.dynamic.add(".user_ns")
        if isinstance(node.ctx, ast.Load) and node.attr in self.cell.methods:
            self.run(self.cell.methods[node.attr])

    def _call(self, node: ast.Call) -> None:
        hidden = escape(node)
        if hidden is not None:
            self._escape(hidden)
            return
        if isinstance(node.func, ast.Name | ast.Attribute):
            self.expr(node.func)
        else:
            self._handed(node.func)
        self._handed(*node.args, *node.keywords)
        self._dynamic(node)
        self._changes(node)
        if isinstance(node.func, ast.Name):
            name = node.func.id
            self.cell.calls.add(name)
            held = self.held(name)
            bodies = [h.body for h in held if h.how != "item"]
            only = len(held) == 1 and held[0].how == "call" and held[0].body.at_once
            self.run(bodies, certain=only and self.state(self.scope.key(name)) == BOUND)
        elif isinstance(node.func, ast.Subscript):
            self.run([h.body for h in self.members(node.func)])

    def _handed(self, *nodes: ast.AST) -> None:
        """Evaluate what is handed to somebody who may call it at once: an argument, an index, an operand."""
        self._argument += 1
        for node in nodes:
            self.expr(node)
        self._argument -= 1

    def _subscript(self, node: ast.Subscript) -> None:
        self.expr(node.value)
        self._handed(node.slice)

    def _compare(self, node: ast.Compare) -> None:
        self._handed(node.left, *node.comparators)

    def _dynamic(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id="vars" | "dir" as name), args=[]) if name in self.cell.builtins:
                self.cell.dynamic.add(name)
            case ast.Call(func=ast.Attribute(attr="query" | "eval" as name), args=[text, *_]):
                literal = isinstance(text, ast.Constant) and "@" not in str(text.value)
                if not literal and not isinstance(text, ast.Attribute | ast.Call):
                    self.cell.dynamic.add(f".{name}")

    def _changes(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if isinstance(node.func, ast.Attribute):
            name = node.func.attr
            inplace = any(k.arg == "inplace" and _true(k.value) for k in node.keywords)
            bare = node is self._bare and not any(k.arg == "out" for k in node.keywords)
            sure = inplace or name in mutators.METHODS or (name in mutators.STATEMENTS and bare)
            self._touched(node.func.value, sure=sure)
        elif name in mutators.HARMLESS and name in self.cell.builtins:
            return
        for position, argument in enumerate(node.args):
            self._touched(argument, sure=position == 0 and name in mutators.ARGUMENT)
        for keyword in node.keywords:
            self._touched(keyword.value, sure=keyword.arg == "out")

    def _touched(self, node: ast.expr, *, sure: bool) -> None:
        origin = root(node)
        if origin is not None:
            self.touch(origin[0], sure=sure and not origin[1])

    def _escape(self, hidden: Escape) -> None:
        if hidden.impure and hidden.impure not in self.cell.impure:
            self.cell.impure.append(hidden.impure)
        if hidden.unknown:
            self.cell.dynamic.add(hidden.unknown)
        self.cell.kept.append(hidden)
        self.soft += 1
        for part in hidden.parts:
            self.expr(part)
        self.soft -= 1
        if hidden.code is not None and hidden.binds:
            self.block(hidden.code.body)
        elif hidden.code is not None:
            inner = ast.FunctionDef(name="", args=NO_ARGUMENTS, body=hidden.code.body, decorator_list=[])
            self.run([self.body(inner)], certain=True)
        if hidden.target:
            self.store(hidden.target)

    def _nothing(self, node: ast.AST) -> None:
        """Forms in which nothing is looked up."""

    _FORMS: ClassVar[dict[type, Callable[..., None]]] = {
        ast.Name: _name,
        ast.BinOp: _binary,
        ast.NamedExpr: _walrus,
        ast.BoolOp: _logic,
        ast.IfExp: _either,
        ast.Lambda: _lambda,
        ast.Subscript: _subscript,
        ast.Compare: _compare,
        ast.ListComp: _comprehension,
        ast.SetComp: _comprehension,
        ast.DictComp: _comprehension,
        ast.GeneratorExp: _comprehension,
        ast.Await: _await,
        ast.Attribute: _attribute,
        ast.Call: _call,
        ast.Constant: _nothing,
        ast.Load: _nothing,
    }


def _true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True
