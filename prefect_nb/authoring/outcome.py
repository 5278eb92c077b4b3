"""What a task left behind, written down and put back: values, definitions, deletions, settings and outputs.

Two results make one outcome: a small *record* (JSON: names, fingerprints, outputs) that every hit reads, and the
*values* (one pickle, so that names that shared an object still share it) that are loaded when somebody reads them.
Functions and classes of the notebook are not pickled: their definitions are executed again from the cell's source.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from prefect_nb.authoring import hidden
from prefect_nb.errors import ResultUnavailable, Unstorable
from prefect_nb.protocols import ResultRow
from prefect_nb.results.vault import Vault

__all__ = ["RESULT", "Outcome", "definitions", "is_definition", "put_back", "read_outcome", "save_outcome"]

RESULT = "\0result"
"""Under this name the values hold what the last expression showed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The record of one success.

    Parameters
    ----------
    names : mapping
        Each bound name's fingerprint.
    modules : mapping
        Names bound to modules, and which.
    defined : tuple of str
        Names bound to functions or classes of this cell; replayed from source.
    unstorable : mapping
        Names that could not be written down, and why; an outcome with any of them is not reusable.
    deleted : tuple of str
        Inputs that the body unbound.
    values : str
        The address of the stored values, empty when there are none.
    outputs : tuple of mapping
        Streams, displays and results in order, JSON-able.
    hidden : bool
        Whether the values hold states of generators or settings to put back.
    cost_s : float
        Seconds the body took.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)
    defined: tuple[str, ...] = ()
    unstorable: Mapping[str, str] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    values: str = ""
    outputs: tuple[Mapping[str, Any], ...] = ()
    hidden: bool = False
    cost_s: float = 0.0

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "names": dict(self.names),
            "modules": dict(self.modules),
            "defined": list(self.defined),
            "unstorable": dict(self.unstorable),
            "deleted": list(self.deleted),
            "values": self.values,
            "outputs": [dict(o) for o in self.outputs],
            "hidden": self.hidden,
            "cost_s": self.cost_s,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Outcome:
        """The outcome that :meth:`to_plain` wrote."""
        return cls(
            **{
                **plain,
                "defined": tuple(plain["defined"]),
                "deleted": tuple(plain["deleted"]),
                "outputs": tuple(plain["outputs"]),
            }
        )


def is_definition(value: object) -> bool:
    """Whether a value is a function or class of the notebook itself, which is replayed and not pickled."""
    return isinstance(value, types.FunctionType | type) and value.__module__ == "__main__"


def save_outcome(
    vault: Vault,
    outcome: Outcome,
    values: Mapping[str, object],
    states: Mapping[str, object],
    namespace: Mapping[str, object],
) -> tuple[Outcome, str, tuple[ResultRow, ...]]:
    """Write the values, then the record; the completed outcome, its address and the rows to commit with it.

    A name that cannot be written is left out and listed in ``unstorable``; the others are kept.

    Raises
    ------
    StoreFull
        If the disk is full; nothing refers to what was written.
    """
    rows: list[ResultRow] = []
    values, unstorable = dict(values), dict(outcome.unstorable)
    address = ""
    while values or states:
        try:
            address, row = vault.save({"values": values, "hidden": dict(states)}, namespace=namespace)
        except Unstorable as error:
            culprit = _culprit(vault, values, namespace)
            if culprit is None:
                raise
            unstorable[culprit] = error.message
            del values[culprit]
            continue
        rows.append(row)
        break
    done = Outcome(
        names=outcome.names,
        modules=outcome.modules,
        defined=outcome.defined,
        unstorable=unstorable,
        deleted=outcome.deleted,
        values=address,
        outputs=outcome.outputs,
        hidden=bool(states),
        cost_s=outcome.cost_s,
    )
    record, row = vault.save(done.to_plain(), namespace=namespace)
    rows.append(row)
    return done, record, tuple(rows)


def _culprit(vault: Vault, values: Mapping[str, object], namespace: Mapping[str, object]) -> str | None:
    for name, value in values.items():
        try:
            vault.save(value, namespace=namespace)
        except Unstorable:
            return name
    return None


def read_outcome(vault: Vault, address: str) -> Outcome:
    """The outcome at an address.

    Raises
    ------
    ResultUnavailable
        If it is missing, damaged or foreign.
    """
    plain = vault.load(address, namespace={})
    if not isinstance(plain, dict) or "names" not in plain:
        raise ResultUnavailable(f"result {address[:12]} is not a task's outcome", hint="run the task again")
    return Outcome.from_plain(plain)


def definitions(code: str, wanted: tuple[str, ...]) -> list[ast.stmt]:
    """The top-level statements of a cell that define `wanted` functions, classes and lambdas, with its imports.

    Raises
    ------
    ResultUnavailable
        If one of them is defined in a way that cannot be replayed alone.
    """
    tree, found = ast.parse(code), set[str]()
    statements: list[ast.stmt] = []
    for node in tree.body:
        match node:
            case ast.Import() | ast.ImportFrom():
                statements.append(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node.name in wanted:
                found.add(node.name)
                statements.append(node)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()) if name in wanted:
                found.add(name)
                statements.append(node)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ResultUnavailable(f"the definition of {missing[0]} cannot be replayed", hint="run its cell again")
    return statements


def put_back(vault: Vault, outcome: Outcome, code: str, filename: str, namespace: dict[str, Any]) -> None:
    """Bind modules and definitions of an outcome again, and set the hidden states that it left.

    Data is not bound here: it is promised, and loaded when somebody reads it.

    Raises
    ------
    ResultUnavailable
        If a definition cannot be replayed or the stored states cannot be read.
    """
    for name, module in outcome.modules.items():
        namespace[name] = import_module(module)
    if outcome.defined:
        tree = ast.Module(definitions(code, outcome.defined), [])
        exec(compile(tree, filename, "exec"), namespace)  # noqa: S102 - the user's own cell
    if outcome.hidden:
        stored = vault.load(outcome.values, namespace=namespace)
        if isinstance(stored, dict):
            hidden.put_back(stored["hidden"])
