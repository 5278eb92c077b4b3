"""Which names a cell reads, binds, deletes and may change, from its source alone.

`source` is Python as IPython's own transform gives it (magics are calls of ``get_ipython()``). Static analysis
schedules, run-time observation verifies: what cannot be seen here (aliases, ``eval``, what a method does to its object)
is said in `dynamic` and `touches`, never guessed.

The parts: :mod:`~prefect_nb.analysis.scopes` (where a name belongs), :mod:`~prefect_nb.analysis.flow` (what is known
along paths), :mod:`~prefect_nb.analysis.expressions` and :mod:`~prefect_nb.analysis.statements` (form by form),
:mod:`~prefect_nb.analysis.interpolation` (what magics hide in strings). Must not know IPython, files or other cells.
"""

from __future__ import annotations

import ast
import builtins as _builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from prefect_nb.analysis.facts import BOUND, GONE, Body, Cell, join
from prefect_nb.analysis.parsing import parse
from prefect_nb.analysis.statements import Statements
from prefect_nb.core.links import Node

__all__ = ["BUILTINS", "Names", "analyze"]

BUILTINS: frozenset[str] = frozenset(dir(_builtins)) | {"display", "exit", "quit"}
"""Names that are there without any cell: Python's, and those that IPython adds."""

_BINDERS = frozenset({"exec", "globals", "locals", "vars", ".user_ns", "__main__"})  # they may bind names unseen


@dataclass(frozen=True, slots=True)
class Names:
    """What a cell does to names.

    Parameters
    ----------
    reads : frozenset of str
        Names whose value at entry may be observed while the cell runs; builtins are left out.
    defers : frozenset of str
        Names looked up only later, inside definitions that the cell makes and does not call.
    writes : frozenset of str
        Names bound when the cell ends, perhaps only on some paths.
    must_write : frozenset of str
        Names bound on every path that ends normally.
    deletes : frozenset of str
        Names of earlier cells that the cell deletes.
    touches : frozenset of str
        Names of earlier cells that may be changed in place: stored into, receivers of a method call, arguments.
    mutates : frozenset of str
        The part of `touches` that is known by its syntax or by a known mutator.
    imports, defines : frozenset of str
        The part of `writes` that only import statements, or only ``def`` and ``class``, bind.
    calls : frozenset of str
        Plain names that are called or used as decorators, in definitions too; builtins included.
    star_imports : tuple of str
        Modules of ``from … import *``, in order.
    dynamic : frozenset of str
        Why the names read may be more than said: ``eval``, ``globals``, ``.query``, ``%%bash``, …
    history : frozenset of str
        IPython's own history among the reads: ``_``, ``_3``, ``Out``, …
    impure_magics : tuple of str
        ``"!"`` for a shell command, or magics that touch the shell or the directory: ``"%cd"``, ``"%%bash"``.
    definition_only : bool
        Whether there are only imports, definitions and docstrings.
    awaits : bool
        Whether there is an ``await`` outside functions.
    soft : frozenset of str
        The part of `reads` that may well find nothing without an error: bound by the cell on some path, read by a
        function that is only passed on, or put into a magic's text.
    late : mapping of str to frozenset of str
        For each written name that leads to definitions, the names that those look up; the cell's own are included.
    temporaries : frozenset of str
        Names bound and deleted again (``del tmp``, ``except … as e``): unbound when the cell ends, neither read nor
        written.
    order : tuple of str
        `writes`, in the order in which they are first bound.
    """

    reads: frozenset[str] = frozenset()
    defers: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    must_write: frozenset[str] = frozenset()
    deletes: frozenset[str] = frozenset()
    touches: frozenset[str] = frozenset()
    mutates: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    defines: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()
    star_imports: tuple[str, ...] = ()
    dynamic: frozenset[str] = frozenset()
    history: frozenset[str] = frozenset()
    impure_magics: tuple[str, ...] = ()
    definition_only: bool = False
    awaits: bool = False
    soft: frozenset[str] = frozenset()
    late: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    temporaries: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()

    def node(self, node_id: str, kind: Literal["task", "plain"] = "task", after: tuple[str, ...] = ()) -> Node:
        """The cell as the graph sees it before it ran; history is no data, and what is opaque is said."""
        return Node(
            node_id,
            kind,
            reads=self.reads - self.history,
            writes=self.writes,
            deletes=self.deletes,
            defers=self.defers,
            mutates=self.mutates,
            after=after,
            late=self.late,
            keeps=self.writes - self.must_write,
            soft=self.soft,
            opaque=bool(self.star_imports) or any(why in _BINDERS or why[0] == "%" for why in self.dynamic),
        )


def analyze(source: str, *, builtins: frozenset[str] = BUILTINS) -> Names:
    """What the cell `source` does to names.

    Parameters
    ----------
    source : str
        Python, after IPython's transform.
    builtins : frozenset of str
        Names that are no inputs; leave out those that some cell rebinds.

    Raises
    ------
    SyntaxError
        As Python's parser gives it.

    Examples
    --------
    >>> names = analyze("y = [k * i for i in xs]")
    >>> sorted(names.reads), sorted(names.writes)
    (['k', 'xs'], ['y'])
    """
    tree = parse(source)
    cell = Cell(builtins)
    walk = Statements(cell)
    walk.block(tree.body)
    seen = walk.seen
    end = walk.env if walk.env is not None else join(walk.jumps["raise"], None) or {}
    own = {name: bits for name, bits in end.items() if ":" not in name}
    writes = frozenset(name for name, bits in own.items() if bits & BOUND)
    must_write = frozenset(name for name, bits in own.items() if bits == BOUND)
    gone = frozenset(name for name, bits in own.items() if bits & GONE)
    deletes = gone & seen.deleted
    late = {name: _looked_up(walk, (h.body for h in cell.held[name])) for name in sorted(writes) if cell.held.get(name)}
    reads = frozenset(seen.reads)
    return Names(
        reads=reads,
        defers=_looked_up(walk, seen.made) - reads - must_write,
        writes=writes,
        must_write=must_write,
        deletes=deletes,
        touches=frozenset(seen.touches),
        mutates=frozenset(seen.mutates),
        imports=_only(cell, writes, "import"),
        defines=_only(cell, writes, "define"),
        calls=frozenset(cell.calls),
        star_imports=tuple(cell.stars),
        dynamic=frozenset(cell.dynamic),
        history=frozenset(cell.history),
        impure_magics=tuple(cell.impure),
        definition_only=_definitions_only(tree),
        awaits=cell.awaits,
        soft=frozenset(name for name, certain in seen.reads.items() if not certain),
        late=late,
        temporaries=gone - deletes - writes,
        order=tuple(name for name in cell.origins if name in writes),
    )


def _looked_up(walk: Statements, bodies: Iterable[Body]) -> frozenset[str]:
    return frozenset[str]().union(*(walk.late(body) for body in bodies))


def _only(cell: Cell, writes: frozenset[str], origin: str) -> frozenset[str]:
    return frozenset(name for name in writes if cell.origins.get(name) == {origin})


def _definitions_only(tree: ast.Module) -> bool:
    forms = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Pass
    last = len(tree.body) - 1  # a text that stands last is the cell's result, not a docstring
    return all(
        isinstance(node, forms)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and number < last)
        for number, node in enumerate(tree.body)
    )
