"""What a person should know about a cell, by code: from its source, from the graph, and from what its execution showed.

The codes are stable words; the wording is for people. Knows the document; not values, not the engine.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prefect_nb.analysis.code import changed_modules
from prefect_nb.analysis.parsing import parse
from prefect_nb.authoring.document import CellInfo, Document

__all__ = ["Diagnosis", "running_diagnoses", "static_diagnoses"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One remark on one cell.

    Parameters
    ----------
    code : str
        For programs, for example ``MUTATES_INPUT``.
    cell : str
        The cell's id.
    name : str
        The name at fault, empty if there is none.
    wording : str
        One sentence.
    """

    code: str
    cell: str
    name: str
    wording: str


def static_diagnoses(document: Document) -> Iterator[Diagnosis]:
    """What source and graph say, in document order."""
    for problem in document.graph.problems:
        yield Diagnosis(problem.code, problem.node, problem.name, problem.wording)
    for cell in document.cells:
        yield from _of_source(cell)


def running_diagnoses() -> Iterator[Diagnosis]:
    """What the process itself shows: code in memory that is not the code on disk."""
    for name in changed_modules():
        told = f"module {name} changed on disk; the kernel still runs what it loaded, reload it or restart"
        yield Diagnosis("MODULE_CHANGED", "", name, told)


def _of_source(cell: CellInfo) -> Iterator[Diagnosis]:
    names = cell.names
    if names is None:
        return
    if names.star_imports:
        modules = ", ".join(names.star_imports)
        yield Diagnosis("STAR_IMPORT", cell.id, "", f"what {modules} brings is known only when it has run")
    if names.dynamic or names.history:
        found = ", ".join(sorted(names.dynamic | names.history))
        yield Diagnosis("DYNAMIC_READ", cell.id, "", f"{found}: what it reads cannot be known before it runs")
    if names.impure_magics:
        found = ", ".join(names.impure_magics)
        yield Diagnosis("IMPURE_MAGIC", cell.id, "", f"{found} depends on what lies outside the notebook")
    if "parameters" in cell.tags and (derived := _derived(cell)):
        told = f"{', '.join(derived)} is derived here and will not follow an injected parameter"
        yield Diagnosis("MIXED_PARAM_CELL", cell.id, derived[0], told)


def _derived(cell: CellInfo) -> list[str]:
    """Names of a parameters cell whose values are computed from other ones."""
    return sorted(_computed(cell.code))


def _computed(code: str) -> Iterable[str]:
    bound: set[str] = set()
    for node in parse(code).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [t.id for t in targets if isinstance(t, ast.Name)]
        value = getattr(node, "value", None)
        if value is not None and any(isinstance(n, ast.Name) and n.id in bound for n in ast.walk(value)):
            yield from names
        bound.update(names)
