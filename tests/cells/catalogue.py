"""The acceptance catalogue as data: every case of a Markdown file with TOML blocks, checked key by key.

A key that the format does not know is an error, since it would assert nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from prefect_nb.analysis.names import BUILTINS, Names, analyze

__all__ = ["DEFAULT", "Case", "CatalogueError", "cases"]

DEFAULT = Path(__file__).with_name("cell-cases.md")
_BLOCK = re.compile(r"^```toml\n(.*?)^```", re.S | re.M)

LEVELS = ("static", "engine", "kernel")
CASE_KEYS = frozenset({"id", "name", "level", "cells", "edges", "order_edges", "diag", "steps"})
CELL_KEYS = frozenset({"id", "src", "kind", "opts", "reads", "defers", "writes", "deletes", "mutates"})
KINDS = ("task", "plain", "params", "injected")
EXPECTATIONS = frozenset(
    {"out", "vals", "stale", "shows", "raises", "attempts", "error_outputs", "not_executed", "interrupt_after", "diag"}
)
STEP_KEYS: Mapping[str, frozenset[str]] = {
    "run_all": frozenset(),
    "run": frozenset({"cell", "force"}),
    "edit": frozenset({"cell", "src"}),
    "insert": frozenset({"cell", "src", "before", "kind", "opts"}),
    "delete": frozenset({"cell"}),
    "move": frozenset({"cell", "before"}),
    "opts": frozenset({"cell", "opts"}),
    "restart": frozenset(),
    "writefile": frozenset({"path", "text"}),
    "removefile": frozenset({"path"}),
    "setenv": frozenset({"name", "value"}),
    "module": frozenset({"name", "src"}),
    "nbclient": frozenset({"params"}),
    "papermill": frozenset({"params"}),
}
OUTCOMES = frozenset({"ran", "hit", "uncached", "failed", "blocked", "skipped"})


class CatalogueError(Exception):
    """A catalogue says something that its format has no words for."""


@dataclass(frozen=True)
class Case:
    """One small notebook with what is expected of it."""

    id: str
    name: str
    data: dict[str, Any]

    @property
    def level(self) -> str:
        """Where it is examined: ``static``, ``engine`` or ``kernel``."""
        return str(self.data["level"])

    @property
    def cells(self) -> list[dict[str, Any]]:
        """Its cells from top to bottom."""
        return list(self.data["cells"])

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What is done with them."""
        return list(self.data.get("steps", []))

    def names(self) -> dict[str, Names]:
        """Cell id -> its names; builtins that some cell of the case binds are ordinary names."""
        transform = TransformerManager().transform_cell
        sources = {cell["id"]: transform(cell["src"]) for cell in self.cells}
        bound = frozenset[str]().union(*(analyze(source).writes for source in sources.values()))
        return {key: analyze(source, builtins=BUILTINS - bound) for key, source in sources.items()}


def cases(path: Path = DEFAULT) -> list[Case]:
    """Every case of a catalogue, in its order.

    Raises
    ------
    CatalogueError
        If a block does not parse, or says something unknown.
    """
    found: list[Case] = []
    for number, text in enumerate(_BLOCK.findall(path.read_text(encoding="utf-8")), 1):
        try:
            block = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise CatalogueError(f"{path.name}, block {number}: {error}") from None
        _check(block, f"{path.name}, case {block.get('id', number)}")
        found.append(Case(block["id"], block["name"], block))
    ids = [case.id for case in found]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise CatalogueError(f"{path.name}: {twice[0]} is there twice")
    return found


def _check(block: dict[str, Any], where: str) -> None:
    _only(block, CASE_KEYS, where)
    for key in ("id", "name", "level", "cells"):
        if key not in block:
            raise CatalogueError(f"{where}: no {key}")
    if block["level"] not in LEVELS:
        raise CatalogueError(f"{where}: there is no level {block['level']!r}")
    for cell in block["cells"]:
        _only(cell, CELL_KEYS, f"{where}, cell {cell.get('id')}")
        if cell.get("kind", "task") not in KINDS:
            raise CatalogueError(f"{where}: there is no kind {cell['kind']!r}")
    for number, step in enumerate(block.get("steps", []), 1):
        place = f"{where}, step {number}"
        known = STEP_KEYS.get(step.get("do"))
        if known is None:
            raise CatalogueError(f"{place}: there is no step {step.get('do')!r}")
        _only(step, known | EXPECTATIONS | {"do"}, place)
        if strange := set(step.get("out", {}).values()) - OUTCOMES:
            raise CatalogueError(f"{place}: there is no outcome {sorted(strange)[0]!r}")


def _only(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    if strange := sorted(set(table) - set(known)):
        raise CatalogueError(f"{where}: there is no key {strange[0]!r}")
