"""What a task left behind, written down and put back: values, definitions, deletions, settings and outputs.

Two results make one outcome: a small *record* (JSON: names, fingerprints, outputs) that every hit reads, and the
*values* (one pickle, so that names that shared an object still share it) that are loaded when somebody reads them.
Functions and classes of the notebook are not pickled: their definitions are executed again from the cell's source.
"""

from __future__ import annotations

import ast
import os
import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, cast

from prefect_nb.analysis.names import analyze
from prefect_nb.authoring import hidden
from prefect_nb.authoring.namespace import Namespace
from prefect_nb.errors import ResultUnavailable, Unhashable, Unstorable
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
    mutated : tuple of str
        The names among `names` that were changed in place and not bound.
    groups : tuple of tuple of str
        Names whose values share memory.
    carried : mapping
        Names of other cells stored with these because they share memory with them, with their fingerprints.
    shared : tuple of tuple of str
        Those of the carried names that share memory with each other, whatever the outcome's own names do.
    size : int
        Estimated bytes of the values.
    kept : tuple of str
        The names among `names` that it could have bound and left as it found them.
    closed : mapping
        Names left bound to closed files, with their modes; such a file is made again, closed.
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
    mutated: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    carried: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    closed: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    shared: tuple[tuple[str, ...], ...] = ()

    def group(self, name: str) -> tuple[str, ...]:
        """The other names whose values share memory with this one's."""
        return next((tuple(n for n in g if n != name) for g in self.groups if name in g), ())

    def digest(self, name: str) -> str:
        """The fingerprint of a value that it holds."""
        return self.names.get(name) or self.carried.get(name, "")

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
            "mutated": list(self.mutated),
            "groups": [list(g) for g in self.groups],
            "carried": dict(self.carried),
            "size": self.size,
            "closed": dict(self.closed),
            "kept": list(self.kept),
            "shared": [list(g) for g in self.shared],
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
                "mutated": tuple(plain.get("mutated", ())),
                "kept": tuple(plain.get("kept", ())),
                "groups": tuple(tuple(g) for g in plain.get("groups", ())),
                "shared": tuple(tuple(g) for g in plain.get("shared", ())),
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
            address, row = vault.save(
                {"values": values, "hidden": dict(states)}, namespace=namespace, cost_s=outcome.cost_s
            )
        except Unstorable as error:
            culprit = _culprit(vault, values, namespace)
            if culprit is None:
                raise
            unstorable[culprit] = error.message
            del values[culprit]
            continue
        rows.append(row)
        break
    done = replace(outcome, unstorable=unstorable, values=address, hidden=bool(states))
    record, row = vault.save(done.to_plain(), namespace=namespace, cost_s=outcome.cost_s, uses=address)
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


def definitions(tree: ast.Module, wanted: Collection[str]) -> list[ast.stmt]:
    """The top-level statements of a cell that define `wanted` functions, classes and lambdas, with its imports.

    Raises
    ------
    ResultUnavailable
        If one of them is defined in a way that cannot be replayed alone.
    """
    found: set[str] = set()
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


def put_back(vault: Vault, outcome: Outcome, code: tuple[ast.Module, str, int], ns: Namespace) -> None:
    """Bind modules and definitions of an outcome again, and set the hidden states that it left.

    Data is not bound here: it has been promised, and is loaded when somebody reads it. A definition that is already
    there stays the object that it is.

    Parameters
    ----------
    code : tuple
        The cell's syntax, its file name and the ``from __future__`` flags that it is compiled with.

    Raises
    ------
    ResultUnavailable
        If a definition cannot be replayed, or would not be what it was, or the stored states cannot be read.
    """
    namespace = ns.user
    for name, module in outcome.modules.items():
        try:
            namespace[name] = import_module(module)
        except ImportError as error:
            raise ResultUnavailable(f"module {module} cannot be imported: {error}", hint="run its cell again") from None
    for name, mode in outcome.closed.items():
        with open(os.devnull, "rb" if "b" in mode else "r") as file:
            namespace[name] = file
    wanted = [name for name in outcome.defined if not _is_there(ns, name, outcome.names[name])]
    if wanted:
        _define(ns, definitions(code[0], wanted), code[1], code[2])
        for name in wanted:
            if not _is_there(ns, name, outcome.names[name]):
                told = f"the definition of {name} comes out differently"
                raise ResultUnavailable(told, hint="run its cell again")
    if outcome.hidden:
        stored = vault.load(outcome.values, namespace=namespace)
        if isinstance(stored, dict):
            hidden.put_back(stored["hidden"])


def _is_there(ns: Namespace, name: str, digest: str) -> bool:
    if name not in ns.user or not digest:
        return False
    try:
        return ns.fingerprint(name) == digest
    except Unhashable:
        return False


def _define(ns: Namespace, statements: list[ast.stmt], filename: str, flags: int) -> None:
    needed = analyze(ast.unparse(ast.Module(statements, [])))
    ns.materialize(needed.reads | needed.defers)
    try:
        made = compile(ast.Module(statements, []), filename, "exec", flags, dont_inherit=True)
        exec(made, cast("dict[str, Any]", ns.user))  # noqa: S102 - the user's own cell
    except Exception as error:  # the user's own decorators, defaults and bases
        told = f"its definitions cannot be replayed: {type(error).__name__}: {error}"
        raise ResultUnavailable(told, hint="run the cell again") from None
