"""What executing a statement does to names, form by form.

Knows branches, loops, exceptions, definitions and imports. Expressions are in
:mod:`prefect_nb.analysis.expressions`, the state of names in :mod:`prefect_nb.analysis.flow`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import ClassVar

from prefect_nb.analysis.definitions import Definitions
from prefect_nb.analysis.expressions import never_empty
from prefect_nb.analysis.facts import Env, Held, join
from prefect_nb.analysis.scopes import Function, parameters

__all__ = ["Statements"]

_CATCH_ALL = frozenset({"NameError", "Exception", "BaseException"})


class Statements(Definitions):
    """A walk that understands the whole language."""

    _turns = 2  # of a loop's body; nested loops take fewer on a first turn, so that the cost stays linear in depth

    def enter(self, node: Function) -> None:
        """Walk the body of a function."""
        for parameter in parameters(node):
            self.store(parameter.arg)
        if isinstance(node, ast.Lambda):
            self.expr(node.body)
        else:
            self.block(node.body)

    def block(self, statements: Sequence[ast.stmt]) -> None:
        """Walk statements one after the other; what no path reaches is not looked at."""
        for statement in statements:
            if self.env is None:
                return
            special = self._STATEMENTS.get(type(statement).__name__)
            if special is not None:
                special(self, statement)
            else:
                self.expr(statement)

    def target(self, node: ast.expr, held: Sequence[Held] = ()) -> None:
        """Bind a target: a name, several, an attribute or an item."""
        match node:
            case ast.Name(id=name):
                self.store(name, held=held)
            case ast.Tuple(elts=items) | ast.List(elts=items):
                for item in items:
                    self.target(item, held)
            case ast.Starred(value=inner):
                self.target(inner, held)
            case ast.Subscript():
                self._subscript(node)
                self._touched(node, sure=True)
            case _:
                for child in ast.iter_child_nodes(node):
                    self.expr(child)
                self._touched(node, sure=True)

    # Simple statements -----------------------------------------------------------------------------------------

    def _expression(self, node: ast.Expr) -> None:
        self._bare = node.value
        self.expr(node.value)

    def _assign(self, node: ast.Assign) -> None:
        held = self.value(node.value)
        for each in node.targets:
            self.target(each, held)

    def _augmented(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.load(node.target.id)
            self.expr(node.value)
            self.touch(node.target.id)
            self.store(node.target.id)
        else:
            self.expr(node.value)
            self.target(node.target)

    def _annotated(self, node: ast.AnnAssign) -> None:
        held = self.value(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.target(node.target, held) if node.value is not None else self.expr(node.target)
        if self.scope.kind != "function":
            self.annotation(node.annotation)

    def _delete(self, node: ast.Delete) -> None:
        for each in node.targets:
            items = each.elts if isinstance(each, ast.Tuple | ast.List) else [each]
            for item in items:
                if isinstance(item, ast.Name):
                    self.unbind(item.id)
                else:
                    self.target(item)

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name == "__main__":
                self.cell.dynamic.add("__main__")
            self.store(alias.asname or alias.name.partition(".")[0], "import")

    def _from(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.cell.stars.append("." * node.level + (node.module or ""))
            else:
                self.store(alias.asname or alias.name, "import")
        if node.module == "__main__":
            self.cell.dynamic.add("__main__")
        if node.module == "__future__" and any(a.name == "annotations" for a in node.names):
            self.cell.late_annotations = True

    def _assert(self, node: ast.Assert) -> None:
        self.expr(node.test)
        before = self.fork()
        self.expr(node.msg)
        self.env = before

    def _raise(self, node: ast.Raise) -> None:
        self.expr(node.exc)
        self.expr(node.cause)
        self.leave("raise")

    def _return(self, node: ast.Return) -> None:
        self.expr(node.value)
        self.leave("return")

    def _break(self, node: ast.Break) -> None:
        self.leave("break")

    def _continue(self, node: ast.Continue) -> None:
        self.leave("continue")

    # Paths -----------------------------------------------------------------------------------------------------

    def _if(self, node: ast.If) -> None:
        ends: list[Env | None] = []
        branch: ast.If | None = node
        while branch is not None:  # a long elif chain is deep on its last side
            known = _known(branch.test)
            before = self.branch(branch.test)
            if known is not False:
                self.block(branch.body)
                ends.append(self.env)
            self.env = None if known else before
            last = branch
            branch = branch.orelse[0] if len(branch.orelse) == 1 and isinstance(branch.orelse[0], ast.If) else None
            if self.env is None:
                break
        else:
            self.block(last.orelse)
        for end in ends:
            self.meet(end)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        self.expr(node.iter)
        self._asynchronous(node)
        held = self.members(node.iter)
        self._loop(lambda: self.target(node.target, held), node, entered=never_empty(node.iter), forever=False)

    def _while(self, node: ast.While) -> None:
        forever = _known(node.test) is True
        self._loop(lambda: self.branch(node.test), node, entered=forever, forever=forever)

    def _loop(
        self, head: Callable[[], object], node: ast.For | ast.AsyncFor | ast.While, *, entered: bool, forever: bool
    ) -> None:
        turns, outer = self._turns, (self.jumps["break"], self.jumps["continue"])
        before = self.fork()
        for turn in range(turns):
            self._turns = 1 if turn + 1 < turns else turns
            self.jumps["break"] = self.jumps["continue"] = None
            head()
            self.block(node.body)
            self.meet(self.jumps["continue"])
            end = self.env
            self.env = join(before, end)
        left = self.jumps["break"]
        self._turns, (self.jumps["break"], self.jumps["continue"]) = turns, outer
        if forever:
            self.env = None
        elif isinstance(node, ast.While):
            self.env = self.branch(node.test)
        elif entered:
            self.env = end
        self.block(node.orelse)
        self.meet(left)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        self._asynchronous(node)
        for item in node.items:
            self.expr(item.context_expr)
            if item.optional_vars is not None:
                self.target(item.optional_vars)
        swallows = any(
            isinstance(c := item.context_expr, ast.Call) and _last_name(c.func) in ("suppress", "raises")
            for item in node.items
        )
        if not swallows:
            self.block(node.body)
            return
        everything = dict(self.env or {})
        self.watchers.append(everything)
        self.block(node.body)
        self.watchers.pop()
        self.meet(everything)

    def _asynchronous(self, node: ast.stmt) -> None:
        if isinstance(node, ast.AsyncFor | ast.AsyncWith) and not self.scope.runs_later:
            self.cell.awaits = True

    def _try(self, node: ast.Try) -> None:
        outer = self.jumps
        if node.finalbody:
            self.jumps = dict.fromkeys(outer)
        anywhere, caught = dict(self.env or {}), dict(self.env or {})
        self.watchers += [anywhere, caught]
        forgiving = any(_catches_missing_names(h) for h in node.handlers)
        self.soft += forgiving
        self.block(node.body)
        self.soft -= forgiving
        self.watchers = [w for w in self.watchers if w is not caught]
        self.block(node.orelse)
        done = self.env
        for handler in node.handlers:
            self.env = dict(caught)
            self.expr(handler.type)
            if handler.name:
                self.store(handler.name)
            self.block(handler.body)
            if handler.name and self.env is not None:
                self.unbind(handler.name, asked=False)
            done = join(done, self.env)
        self.watchers = [w for w in self.watchers if w is not anywhere]
        self.env = done
        if node.finalbody:
            self._finally(node.finalbody, outer, anywhere, done)

    def _finally(self, body: list[ast.stmt], outer: dict[str, Env | None], anywhere: Env, done: Env | None) -> None:
        inner, self.jumps = self.jumps, outer
        self.soft += 1
        for kind, env in inner.items():
            if env is not None:
                self.env = env
                self.block(body)
                outer[kind] = join(outer[kind], self.env)
        self.env = anywhere  # an exception that nobody caught
        self.block(body)
        self.soft -= 1
        self.env = done
        self.block(body)

    def _match(self, node: ast.Match) -> None:
        self.expr(node.subject)
        ends: list[Env | None] = []
        for case in node.cases:
            before = self.fork()
            self._pattern(case.pattern)
            self.expr(case.guard)
            matched = self.fork()
            self.block(case.body)
            ends.append(self.env)
            sure = case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None
            self.env = None if sure else join(before, matched)
        for end in ends:
            self.meet(end)

    def _pattern(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.pattern):
                self._pattern(child)
            else:
                self.expr(child)
        name = node.rest if isinstance(node, ast.MatchMapping) else getattr(node, "name", None)
        if name is not None:
            self.store(name)

    _STATEMENTS: ClassVar[dict[str, Callable[..., None]]] = {
        "Expr": _expression,
        "Assign": _assign,
        "AugAssign": _augmented,
        "AnnAssign": _annotated,
        "Delete": _delete,
        "Import": _import,
        "ImportFrom": _from,
        "Assert": _assert,
        "Raise": _raise,
        "Return": _return,
        "Break": _break,
        "Continue": _continue,
        "FunctionDef": Definitions.function,
        "AsyncFunctionDef": Definitions.function,
        "ClassDef": Definitions.class_,
        "TypeAlias": Definitions.type_alias,
        "If": _if,
        "For": _for,
        "AsyncFor": _for,
        "While": _while,
        "With": _with,
        "AsyncWith": _with,
        "Try": _try,
        "TryStar": _try,
        "Match": _match,
    }


def _known(test: ast.expr) -> bool | None:
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]):
            return True
    return None


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _catches_missing_names(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(_last_name(t) in _CATCH_ALL for t in types)
