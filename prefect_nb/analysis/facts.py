"""What the analysis of a cell's names keeps: bits of names, bodies, what code does, the cell as a whole.

Data only; how facts move along paths is in :mod:`prefect_nb.analysis.flow`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal

from prefect_nb.analysis.scopes import Function, Scope

__all__ = ["BOUND", "ENTRY", "GONE", "Body", "Cell", "Env", "Held", "Summary", "join"]

ENTRY, BOUND, GONE = 1, 2, 4
Env = dict[str, int]  # a key that is absent is at ENTRY


def join(one: Env | None, other: Env | None) -> Env | None:
    """What is known where two paths meet; None stands for a path that never gets there."""
    if one is None or other is None:
        return dict(one or other or {}) if one is not other else None
    return {key: one.get(key, ENTRY) | other.get(key, ENTRY) for key in one.keys() | other.keys()}


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """Code that runs when something is called: a function, a lambda, a lazily evaluated type."""

    node: Function
    scope: Scope

    @property
    def at_once(self) -> bool:
        """Whether a plain call runs it (a generator or coroutine waits for somebody to drive it)."""
        if isinstance(self.node, ast.AsyncFunctionDef):
            return False
        roots: list[ast.AST] = [self.node.body] if isinstance(self.node, ast.Lambda) else list(self.node.body)
        while roots:
            node = roots.pop()
            if isinstance(node, ast.Yield | ast.YieldFrom):
                return False
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
                roots.extend(ast.iter_child_nodes(node))
        return True


@dataclass(frozen=True, slots=True)
class Held:
    """A body that a name leads to, and how: by a call, perhaps by a call, or only through an attribute or item."""

    body: Body
    how: Literal["call", "maybe", "item"] = "call"


@dataclass(slots=True)
class Summary:
    """What running some code does to the cell's names.

    `reads` maps each name to whether the read is certain to find nothing but the entry value; `out` is None when the
    code never ends normally.
    """

    reads: dict[str, bool] = field(default_factory=dict)
    touches: set[str] = field(default_factory=set)
    mutates: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    made: list[Body] = field(default_factory=list)
    out: Env | None = field(default_factory=dict)

    def merged(self, other: Summary) -> Summary:
        """What both say together; it only ever grows, so that going round in circles ends."""
        names = self.reads.keys() | other.reads.keys()
        return Summary(
            {name: self.reads.get(name, True) and other.reads.get(name, True) for name in names},
            self.touches | other.touches,
            self.mutates | other.mutates,
            self.deleted | other.deleted,
            list(dict.fromkeys([*self.made, *other.made])),
            join(self.out, other.out),
        )


@dataclass(slots=True)
class Cell:
    """What is known about the cell as a whole, whatever the path."""

    builtins: frozenset[str]
    late_annotations: bool = False
    awaits: bool = False
    calls: set[str] = field(default_factory=set)
    dynamic: set[str] = field(default_factory=set)
    history: set[str] = field(default_factory=set)
    stars: list[str] = field(default_factory=list)
    impure: list[str] = field(default_factory=list)
    origins: dict[str, set[str]] = field(default_factory=dict)
    held: dict[str, list[Held]] = field(default_factory=dict)
    methods: dict[str, list[Body]] = field(default_factory=dict)
    scopes: dict[int, Scope] = field(default_factory=dict)
    bodies: dict[int, Body] = field(default_factory=dict)
    summaries: dict[tuple[int, int], Summary] = field(default_factory=dict)
    drafts: dict[int, Summary] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)  # summarised in the current pass
    circular: bool = False  # whether a draft was used in the current pass
    changed: bool = False  # whether a draft differs from that of the pass before
    generation: int = 0
    kept: list[object] = field(default_factory=list)  # trees made on the way: their ids must stay theirs
