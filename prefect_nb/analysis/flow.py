"""What is known about every name at one point of a cell, and how knowledge moves along its paths.

A name is, on each path that leads to a point, still what it was at **entry**, **bound** by the cell, or **gone**
(deleted by it); a point knows the set of those, one bit each. A load that may see the entry value is a read. The bits
of one name never depend on another name, so a function is summarised once and its summary applied at every call
(:meth:`Flow.run`), and a loop needs two turns at most.

Knows scopes and definitions. Must not know the forms of the language: those are in
:mod:`prefect_nb.analysis.expressions` and :mod:`prefect_nb.analysis.statements`.
"""

from __future__ import annotations

import ast
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

from prefect_nb.analysis.facts import BOUND, ENTRY, GONE, Body, Cell, Env, Held, Summary, join
from prefect_nb.analysis.scopes import MODULE, Function, Scope, bound, parameters

__all__ = ["CONSTANTS", "Flow"]

CONSTANTS = frozenset(
    [
        "__name__",
        "__file__",
        "__doc__",
        "__builtins__",
        "__debug__",
        "__spec__",
        "__package__",
        "__loader__",
        "__annotations__",
        "get_ipython",
    ]
)
"""Names that every kernel has and no cell is an input for."""

_HISTORY = re.compile(r"_{1,3}|_\d+|_i{1,3}|_i\d+|_[iod]h|In|Out")
_DYNAMIC = frozenset({"eval", "exec", "globals", "locals"})
_JUMPS = ("break", "continue", "return", "raise")


class Flow(ABC):
    """One walk along the paths of a cell, or of one of its functions."""

    def __init__(self, cell: Cell, scope: Scope = MODULE) -> None:
        self.cell = cell
        self.scope = scope
        self.top = scope is MODULE
        self.env: Env | None = {}
        self.seen = Summary()
        self.jumps: dict[str, Env | None] = dict.fromkeys(_JUMPS)
        self.watchers: list[Env] = []  # of every enclosing try: all that was ever known inside it
        self.soft = 0  # above 0: what is read here may never be looked up

    @abstractmethod
    def enter(self, node: Function) -> None:
        """Walk the body of a function."""

    # Reading and binding ---------------------------------------------------------------------------------------

    def load(self, name: str) -> None:
        """Look a name up from the current scope."""
        for key in self.scope.keys(name):
            if ":" not in key:
                self._read(key)
            elif self.state(key) == BOUND:
                return

    def _read(self, name: str) -> None:
        state = self.state(name)
        if state & ENTRY and name in self.cell.builtins and name in _DYNAMIC:
            self.cell.dynamic.add(name)
        if name in CONSTANTS or name in self.cell.builtins or not state & ENTRY:
            return
        if _HISTORY.fullmatch(name):
            self.cell.history.add(name)
        certain = not self.soft and not state & BOUND
        self.seen.reads[name] = self.seen.reads.get(name, False) or certain

    def state(self, key: str) -> int:
        """The bits of a key here."""
        return self.env.get(key, ENTRY) if self.env is not None else 0

    def _set(self, key: str, bits: int) -> None:
        if self.env is None:
            return
        self.env[key] = bits
        for watcher in self.watchers:
            watcher[key] = watcher.get(key, ENTRY) | bits

    def store(self, name: str, origin: str = "value", held: Iterable[Held] = (), scope: Scope | None = None) -> None:
        """Bind a name in the current scope."""
        key = (scope or self.scope).key(name)
        self._set(key, BOUND)
        if ":" not in key:
            self.cell.origins.setdefault(key, set()).add(origin)
        known = self.cell.held.setdefault(key, [])
        new = [h for h in held if h not in known]
        if new:
            known.extend(new)
            self.cell.generation += 1

    def unbind(self, name: str, *, asked: bool = True) -> None:
        """Delete a name; `asked` is False at the end of ``except … as name``."""
        key = self.scope.key(name)
        if ":" not in key and asked and self.state(key) & ENTRY:
            self._read(key)
            self.seen.deleted.add(key)
        self._set(key, GONE)

    def touch(self, name: str, *, sure: bool = False) -> None:
        """Note that the entry value of a name may be (`sure`: is) changed in place."""
        key = next((k for k in self.scope.keys(name) if ":" not in k or self.state(k) == BOUND), name)
        if ":" in key or not self.state(key) & ENTRY or key in self.cell.builtins or key in CONSTANTS:
            return
        if any(":" in k for k in self.scope.keys(name)):  # a local of a function, or of a class until it is bound
            return
        self.seen.touches.add(key)
        if sure:
            self.seen.mutates.add(key)

    # Paths -----------------------------------------------------------------------------------------------------

    def leave(self, kind: str) -> None:
        """End the current path by break, continue, return or raise."""
        self.jumps[kind] = join(self.jumps[kind], self.env)
        self.env = None

    def fork(self) -> Env | None:
        """A copy of what is known here, to start another path from."""
        return None if self.env is None else dict(self.env)

    def meet(self, other: Env | None) -> None:
        """Let another path arrive here."""
        self.env = join(self.env, other)

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """Look names up from another scope for a while."""
        outer, self.scope = self.scope, scope
        try:
            yield
        finally:
            self.scope = outer

    # Definitions -----------------------------------------------------------------------------------------------

    def body(self, node: Function) -> Body:
        """The body of a function that is defined here; noted as made by this walk."""
        made = self.cell.bodies.get(id(node))
        if made is None:
            code = [node.body] if isinstance(node, ast.Lambda) else node.body
            names, outward = bound(code)
            names |= {p.arg for p in parameters(node)}
            self.cell.bodies[id(node)] = made = Body(node, self.inner(node, "function", names, outward))
        self.seen.made.append(made)
        return made

    def inner(
        self,
        node: object,
        kind: Literal["function", "class", "comprehension"],
        names: frozenset[str],
        declared: frozenset[str] = frozenset(),
    ) -> Scope:
        """The scope that a piece of the tree makes; always the same one for the same piece."""
        scope = self.cell.scopes.get(id(node))
        if scope is None:
            scope = Scope(kind, self.scope, names, declared, len(self.cell.scopes) + 1)
            self.cell.scopes[id(node)] = scope
        return scope

    def held(self, name: str) -> list[Held]:
        """The bodies that a name may lead to here."""
        for key in self.scope.keys(name):
            known = self.cell.held.get(key)
            if known and (not self.top or self.state(key) & BOUND):
                return known
        return []

    def run(self, bodies: Iterable[Body], *, certain: bool = False) -> None:
        """Apply what calling `bodies` does; `certain` if exactly this one body runs for sure."""
        for body in bodies:
            summary = self.summary(body)
            self.soft += not certain
            self._absorb(summary)
            self.soft -= not certain
            for key, bits in (summary.out or {}).items():
                if ":" not in key:
                    old = self.state(key)
                    new = bits & ~ENTRY | (old if bits & ENTRY else 0)
                    self._set(key, new if certain else new | old)
                    self.cell.origins.setdefault(key, set()).add("value")

    def _absorb(self, summary: Summary) -> None:
        for name, certain in summary.reads.items():
            self.soft += not certain
            self._read(name)
            self.soft -= not certain
        for mine, theirs in (
            (self.seen.touches, summary.touches),
            (self.seen.mutates, summary.mutates),
            (self.seen.deleted, summary.deleted),
        ):
            mine.update(name for name in theirs if self.state(name) & ENTRY)

    def summary(self, body: Body) -> Summary:
        """What one call of `body` does, computed once for each state of knowledge about the cell's definitions.

        Functions that call each other are gone through together, again and again, until nothing new turns up.
        """
        cell, key = self.cell, id(body.node)
        known = cell.summaries.get((key, cell.generation))
        if known is not None:
            return known
        if key in cell.running or key in cell.passed:
            cell.circular = True
            return cell.drafts.get(key, Summary())
        outermost, settled = not cell.running, False
        if outermost:
            cell.drafts.clear()
        while not settled:
            if outermost:
                cell.passed.clear()
                cell.circular = cell.changed = False
            generation = cell.generation
            cell.running.add(key)
            walk = type(self)(cell, body.scope)
            walk.enter(body.node)
            walk.seen.out = join(walk.env, walk.jumps["return"])
            cell.running.discard(key)
            cell.passed.add(key)
            before = cell.drafts.get(key)
            cell.drafts[key] = walk.seen if before is None else before.merged(walk.seen)
            cell.changed = cell.changed or cell.drafts[key] != before
            settled = not outermost or (generation == cell.generation and not (cell.circular and cell.changed))
        if outermost:
            cell.summaries.update({(each, cell.generation): cell.drafts[each] for each in cell.passed})
            cell.passed.clear()
        return cell.drafts[key]

    def late(self, body: Body) -> frozenset[str]:
        """Every name of the cell's scope that `body`, or a function made inside it, looks up."""
        found: set[str] = set()
        waiting, done = [body], set[int]()
        while waiting:
            each = waiting.pop()
            if id(each.node) not in done:
                done.add(id(each.node))
                summary = self.summary(each)
                found |= summary.reads.keys()
                waiting.extend(summary.made)
        return frozenset(found)
