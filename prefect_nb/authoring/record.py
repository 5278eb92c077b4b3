"""A success written down, so that a later key can find it; and everything that speaks against reusing it, by name.

Knows outcomes, manifests and the vault; not how a later lookup decides (that is :mod:`prefect_nb.authoring.reuse`).
"""

from __future__ import annotations

import ast
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefect_nb.analysis.values import size_of
from prefect_nb.authoring import hidden
from prefect_nb.authoring.attempt import Tried
from prefect_nb.authoring.diagnoses import Diagnosis
from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.footprint import is_shells
from prefect_nb.authoring.keys import Keyed
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.outcome import RESULT, Outcome, definitions, is_definition, save_outcome
from prefect_nb.authoring.outputs import to_plain
from prefect_nb.authoring.reuse import declarations
from prefect_nb.authoring.sharing import is_code, share_views
from prefect_nb.authoring.transaction import Changes
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import PrefectNBError, ResultUnavailable, StoreFull, Unhashable
from prefect_nb.protocols import Entry
from prefect_nb.wiring import now

__all__ = ["Record", "recorded"]

_LARGE = 64 << 20
_BYTES_PER_S = 200 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A success written down.

    Parameters
    ----------
    outcome : Outcome
        What it left.
    address : str
        Where that is written; empty if it could not be.
    attachments : Attachments
        What goes into the commit.
    note : str
        Why it is not reusable; empty if it is.
    manifest : tuple of mapping
        What the body read beyond its key.
    diagnoses : tuple of Diagnosis
        What a person should know.
    """

    outcome: Outcome
    address: str
    attachments: Attachments
    note: str
    manifest: tuple[Mapping[str, Any], ...]
    diagnoses: tuple[Diagnosis, ...]


@dataclass(slots=True)
class _Draft:
    """What is being written down, and what speaks against reusing it."""

    cell: CellInfo
    outcome: Outcome
    values: dict[str, Any]
    against: list[Diagnosis]

    def object_to(self, code: str, name: str, why: str) -> None:
        self.against.append(Diagnosis(code, self.cell.id, name, why))


def recorded(
    flow: LiveFlow, cell: CellInfo, keyed: Keyed, changes: Changes, ran: tuple[Tried, ast.Module, float]
) -> Record:
    """Write what a body left behind; a value that cannot be written costs its reuse, never the success.

    Parameters
    ----------
    ran : tuple of Tried, ast.Module and float
        The attempt, the body's syntax and the seconds it took.

    Raises
    ------
    StoreFull
        If the disk is full.
    """
    tried, tree, cost = ran
    draft = _survey(flow, cell, changes, tried, cost)
    _object(draft, keyed, changes, tried, tree)
    if magic := _session_magic(tree):
        draft.object_to("IMPURE_MAGIC", magic, f"%{magic} changes the session, so it is run in each")
    if _only_acts(flow, draft, changes, tried, tree):
        draft.object_to("ONLY_ACTS", "", "it binds and shows nothing, so it is run for what it does to a library")
    _carry(flow, draft)
    states = {
        **hidden.changed(tried.generators, hidden.generators()),
        **hidden.changed(tried.settings, hidden.settings()),
    }
    if tried.result:
        draft.values[RESULT] = tried.result[0]
    manifest = _manifest(flow, cell, tried)
    try:
        outcome, address, rows = save_outcome(flow.vault, draft.outcome, draft.values, states, flow.shell.user_ns)
    except StoreFull:
        raise
    except PrefectNBError as error:
        draft.object_to("UNSTORABLE_OUTPUT", "", f"not stored: {error.message}")
        note = f"not stored: {error.message}"
        return Record(replace(draft.outcome, values=""), "", Attachments(), note, manifest, tuple(draft.against))
    for name, why in outcome.unstorable.items():
        if name != RESULT and name not in draft.outcome.unstorable:
            draft.object_to("UNSTORABLE_OUTPUT", name, f"{name} cannot be stored: {why}")
    told = tuple(draft.against)
    if told or not keyed.key:
        note = "not reusable: " + "; ".join(dict.fromkeys(d.wording for d in told[:3]))
        return Record(outcome, address, Attachments(results=rows), note, manifest, told)
    entry = Entry(
        key=keyed.key,
        code_key=keyed.code_key,
        task=cell.spec.name if cell.spec else "",
        flow=flow.name,
        run=flow.session.run.id,
        result=address,
        created_at=now(),
        cost_s=cost,
        manifest=manifest,
        parts=keyed.parts,
    )
    flow.learned(keyed.code_key, keyed.key)
    return Record(outcome, address, Attachments(results=rows, entries=(entry,)), "", manifest, told)


def _survey(flow: LiveFlow, cell: CellInfo, changes: Changes, tried: Tried, cost: float) -> _Draft:
    """Sort what was bound into data, modules and definitions, each with a fingerprint."""
    draft = _Draft(cell, Outcome(), {}, [])
    names: dict[str, str] = {}
    modules: dict[str, str] = {}
    defined: list[str] = []
    unstorable: dict[str, str] = {}
    closed: dict[str, str] = {}
    for name, value in changes.bound.items():
        if isinstance(value, io.IOBase) and value.closed:
            names[name], closed[name] = "", str(getattr(value, "mode", "r"))
            continue
        try:
            names[name] = flow.ns.fingerprint(name)
        except Unhashable as error:
            draft.object_to("UNSTORABLE_OUTPUT", name, error.message)
            names[name], unstorable[name] = "", error.message
            continue
        if is_code(value) and type(value).__name__ == "module":
            modules[name] = value.__name__
        elif is_definition(value):
            defined.append(name)
        else:
            draft.values[name] = value
    size = sum(size_of(v) for v in draft.values.values())
    if size > _LARGE and cost < size / _BYTES_PER_S / 4:
        why = f"{size >> 20} MB are cheaper to compute again than to store"
        draft.object_to("CHEAPER_AGAIN", next(iter(draft.values)), why)
        unstorable |= dict.fromkeys(draft.values, why)
        draft.values.clear()
    draft.outcome = Outcome(
        names=names,
        modules=modules,
        defined=tuple(defined),
        unstorable=unstorable,
        deleted=tuple(changes.deleted),
        outputs=tuple(to_plain(tried.outputs)),
        cost_s=cost,
        mutated=tuple(sorted(changes.mutated & set(names))),
        size=size,
        closed=closed,
        kept=tuple(sorted(changes.kept & set(names))),
    )
    return draft


def _object(draft: _Draft, keyed: Keyed, changes: Changes, tried: Tried, tree: ast.Module) -> None:
    """Everything that makes a result unfit for reuse, whatever its values."""
    for name, why in changes.unhashable.items():
        draft.object_to("UNHASHABLE_INPUT", name, why)
    for name in sorted(changes.unforeseen):
        draft.object_to("MUTATES_INPUT", name, f"{name} was changed, though nothing in the cell reads it")
    for name in sorted(changes.state):
        draft.object_to("MUTATES_INPUT", name, f"{name} keeps a state of its own, which was changed")
    for read in tried.observer.unstable():
        draft.object_to("CHANGED_WHILE_READ", read.name, f"{read.name} changed while it was read")
    if tried.still_running:
        draft.object_to("STILL_RUNNING", "", f"{tried.still_running} was still running at its end")
    if keyed.uncacheable:
        names = draft.cell.names
        code = "DYNAMIC_READ" if names is not None and (names.dynamic or names.history) else "UNHASHABLE_INPUT"
        draft.object_to(code, "", keyed.uncacheable)
    try:
        definitions(tree, draft.outcome.defined)
    except ResultUnavailable as error:
        draft.object_to("UNSTORABLE_OUTPUT", draft.outcome.defined[0], error.message)


_SESSION = frozenset(
    [
        "alias",
        "autoawait",
        "automagic",
        "autoreload",
        "colors",
        "config",
        "gui",
        "load_ext",
        "pdb",
        "precision",
        "xmode",
    ]
)
"""Line magics that change the session, which no stored result does."""


def _session_magic(tree: ast.Module) -> str:
    """The first line magic of a body that has to be run in each session; empty if there is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run_line_magic":
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and first.value in _SESSION:
                return str(first.value)
    return ""


def _only_acts(flow: LiveFlow, draft: _Draft, changes: Changes, tried: Tried, tree: ast.Module) -> bool:
    """Whether a body left nothing that could be put back, though it called a library for some effect in this process.

    What touches the world outside is no such body: that must not happen twice.
    """
    left = draft.outcome
    if draft.values or left.defined or left.deleted or changes.mutated or tried.outputs or tried.result:
        return False
    if set(left.names) - set(left.modules) or tried.verdict.causes or tried.observer.taints():
        return False
    calls = [n.value.func for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    return any(type(flow.ns.user.get(_root(call))).__name__ == "module" for call in calls)


def _root(node: ast.expr) -> str:
    """The name that a dotted expression begins with, if it is one."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _carry(flow: LiveFlow, draft: _Draft) -> None:
    """Store what shares memory with an output in one piece with it, so that it is shared again when it comes back."""
    ns = flow.ns
    groups = ns.kin.groups(draft.values)
    carried: dict[str, str] = {}
    for group in [g for g in groups if share_views(ns.user[n] for n in g)]:
        bound = sorted(group & draft.values.keys())
        others = ", ".join(sorted(group - {bound[0]}))
        why = f"it is a view of memory that {others} shares"
        draft.object_to("ALIASED_OUTPUT", bound[0], f"{bound[0]} cannot be stored: {why}")
        draft.outcome = replace(draft.outcome, unstorable={**draft.outcome.unstorable, **dict.fromkeys(bound, why)})
        for name in bound:
            del draft.values[name]
        groups -= {group}
    for name in frozenset[str]().union(*groups) - set(draft.values):
        if is_shells(name) or is_code(ns.user[name]):
            continue
        try:
            carried[name] = ns.fingerprint(name)
        except Unhashable:
            draft.object_to("ALIASED_OUTPUT", name, f"shares memory with {name}, which cannot be stored")
            continue
        draft.values[name] = ns.user[name]
    stored = set(draft.values)
    draft.outcome = replace(
        draft.outcome,
        carried=carried,
        groups=tuple(tuple(sorted(g & stored)) for g in groups if len(g & stored) > 1),
        shared=tuple(sorted(tuple(sorted(g)) for g in ns.kin.shared(carried))),
    )


def _manifest(flow: LiveFlow, cell: CellInfo, tried: Tried) -> tuple[dict[str, Any], ...]:
    rows: list[dict[str, Any]] = [
        {"kind": r.kind, "name": r.name, "digest": r.digest, "size": r.size, "mtime_ns": r.mtime_ns}
        for r in tried.observer.reads()
    ]
    rows += hidden.assumed(tried.settings, [o.kind for o in tried.outputs], image=_pictured(tried))
    causes = [c.wording for c in (*tried.verdict.causes, *tried.observer.taints())]
    if causes:
        rows.append({"kind": "impure", "name": "; ".join(dict.fromkeys(causes))[:500], "digest": ""})
    if cell.spec is not None:
        rows += declarations(flow, cell.spec)
    return tuple(rows)


def _pictured(tried: Tried) -> bool:
    return any(kind.startswith("image/") for o in tried.outputs for kind in o.data)
