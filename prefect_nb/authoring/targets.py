"""``@task(target="out/{region}/{date}.parquet")``: a file that belongs to a call, and never stands in for its value.

A target is part of the call's key and its content's fingerprint part of what is stored, so a file that is merely there
proves nothing, and one that somebody changed or deleted is made again. Knows templates, calls and paths; must not know
how a value is written.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any
from weakref import WeakKeyDictionary

from prefect_nb.analysis.reads import digest_file
from prefect_nb.analysis.redaction import without
from prefect_nb.authoring.ground import Ground
from prefect_nb.core.run import Run
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.engine.session import Session
from prefect_nb.errors import PrefectNBError, ResultUnavailable, UsageError
from prefect_nb.results.products import write_product

__all__ = ["Product", "check_template", "claim", "made", "restored", "target_of"]

_OURS = ("date", "map_index", "run_id", "task")
_PLAIN = (str, int, float, dt.date)
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Product:
    """The file of one call: where it lies, and as its author would name it."""

    path: Path
    shown: str


def check_template(template: str, task: str) -> str:
    """The template, if it is one.

    Raises
    ------
    UsageError
        If it is no path, or a field is more than a name.
    """
    hint = 'write a path such as "out/{region}/{date}.parquet"; fields are names, with a format if need be'
    try:
        fields = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise UsageError(f"the target {template!r} of {task} is no template: {error}", hint=hint) from error
    for _, name, form, conversion in fields:
        if not (name or "").isidentifier() or conversion or "{" in (form or ""):
            raise UsageError(f"the target {template!r} of {task} has the field {{{name}}}", hint=hint)
    if not template or template.endswith("/") or "\0" in template:
        raise UsageError(f"the target {template!r} of {task} names no file", hint=hint)
    return template


def target_of(ground: Ground, spec: TaskSpec, visit: VisitId, named: Mapping[str, Any], *, mapped: bool) -> Product:
    """Where the file of a call belongs: its arguments first, then the run's parameters, then what we know of it.

    Raises
    ------
    UsageError
        If a field has no value, or one that leads elsewhere.
    """
    run = ground.session.run
    values = {**_known(run, spec, visit, mapped), **run.parameters, **named}
    shown = "".join(
        text + ("" if name is None else _part(spec, name, form or "", values))
        for text, name, form, _ in Formatter().parse(spec.target)
    )
    asked = spec.target.split("/")
    if any(part in ("", ".", "..") and part != asked[n] for n, part in enumerate(shown.split("/"))):
        raise UsageError(f"the target of {spec.name} would be {shown!r}, which leads elsewhere")
    base = Path.cwd() if ground.shell is None else ground.notebook.parent
    path = Path(os.path.normpath(base / shown))
    path = Path(os.path.realpath(path.parent)) / path.name
    if path.is_relative_to(os.path.realpath(ground.place.folder)):
        raise UsageError(f"the target of {spec.name} would lie in the store: {path}", hint="choose another folder")
    return Product(path, shown)


def _known(run: Run, spec: TaskSpec, visit: VisitId, mapped: bool) -> dict[str, Any]:
    found = {
        "date": dt.datetime.fromtimestamp(run.created_at, dt.UTC).date(),
        "run_id": run.id,
        "task": spec.name,
    }
    return found | ({"map_index": visit.index} if mapped else {})


def _part(spec: TaskSpec, name: str, form: str, values: Mapping[str, Any]) -> str:
    """One field's text, which is never more than a part of a name."""
    if name not in values:
        known = ", ".join(sorted({*values, *_OURS}))
        raise UsageError(f"the target of {spec.name} needs {name!r}, which nothing gives", hint=f"it may use {known}")
    value = values[name]
    if not isinstance(value, _PLAIN):
        hint = "use text, a number or a date, or pass one beside it"
        raise UsageError(f"the target of {spec.name} cannot be made of {name}, a {type(value).__name__}", hint=hint)
    try:
        text = format(value, form)
    except (ValueError, TypeError) as error:
        raise UsageError(f"the target of {spec.name} cannot be made of {name}: {error}") from error
    if without(text) != text:
        raise UsageError(f"the target of {spec.name} would show a secret in {name}", hint="leave it out of the path")
    if not text or os.sep in text or "\0" in text or len(text) > _LONGEST:
        hint = "pass text that may be a part of a file's name"
        raise UsageError(f"the target of {spec.name} cannot be made of {name} = {text[:60]!r}", hint=hint)
    return text


# --- who makes which file in a run ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Claim:
    key: str
    task: str
    execution: int


_claims: WeakKeyDictionary[Session, dict[Path, _Claim]] = WeakKeyDictionary()
_lock = threading.Lock()


def claim(ground: Ground, product: Product, visit: VisitId, key: str) -> None:
    """Say that this call makes that file, before anything of it is written.

    In a notebook that somebody works in, a later execution of the same cell takes its files over.

    Raises
    ------
    UsageError
        If another call of the run makes it, with another key.
    """
    session = ground.session
    execution = getattr(ground.shell, "execution_count", 0) if session.run.live else 0
    mine = _Claim(key or str(visit), visit.task, execution)
    with _lock:
        claims = _claims.setdefault(session, {})
        other = claims.get(product.path)
        if other is not None and other.key != mine.key and (not session.run.live or _at_once(other, mine)):
            raise UsageError(
                f"two calls of one run have the target {product.shown}: {other.task}, and {visit} with other code or "
                "arguments",
                hint="put what differs into the path, for example an argument or {map_index}",
                path=str(product.path),
            )
        claims[product.path] = mine


def _at_once(one: _Claim, other: _Claim) -> bool:
    return one.execution == other.execution or one.task != other.task


# --- the file itself --------------------------------------------------------------------------------------------------


def made(product: Product, value: object) -> dict[str, str]:
    """Write the file; what is stored of it."""
    return {"name": product.shown, "digest": write_product(product.path, value)}


def restored(product: Product, stored: Mapping[str, Any], *, once: bool) -> str:
    """See that the file is what the stored call made, and put it back if it is not; a sentence if it had to be.

    Raises
    ------
    ResultUnavailable
        If it cannot be put back as it was, so the body has to run again (never that of a task that runs once).
    """
    known = stored.get("product") or {}
    found = digest_file(product.path)
    if found.digest == known.get("digest"):
        return ""
    was = "gone" if found.kind == "absent" else "not what this task had written"
    try:
        same = write_product(product.path, stored["call"]) == known.get("digest")
    except PrefectNBError:
        if once:
            raise
        same = False
    if not (same or once):
        raise ResultUnavailable(f"its target {product.shown} was {was}")
    return f"{product.shown} was {was}; it was written again from the stored value"
