"""Notebook files: read and judged before anything starts, written so that a reader never sees half of one.

Knows files, nbformat and kernel specifications; must not know runs, stores or how cells are executed.
"""

from __future__ import annotations

import json
import os
from hashlib import blake2b
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from nbformat import NotebookNode

from prefect_nb.apps.files import draft_of, write_text
from prefect_nb.errors import NotebookError

__all__ = ["cleared", "code_rows", "kernel_of", "output_place", "read", "tagged", "write"]

_NEWEST = 4


def read(path: Path) -> NotebookNode:
    """A notebook file as the newest format that we know; the file stays as it is.

    Raises
    ------
    NotebookError
        If it cannot be read or is no notebook.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotebookError(
            f"the notebook {path} cannot be read: {error.strerror}", hint="check the path", path=str(path)
        ) from error
    plain = _parsed(path, data)
    try:
        if plain["nbformat"] == _NEWEST:
            _give_ids(plain)
        nb: Any = nbformat.reads(json.dumps(plain), as_version=_NEWEST)  # type: ignore[no-untyped-call]
        nb = nbformat.v4.upgrade(nb) or nb  # type: ignore[no-untyped-call]
        nbformat.validate(nb)
    except (nbformat.ValidationError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise NotebookError(
            f"{path} is not a valid notebook: {_first_line(error)}",
            hint="open it in Jupyter and save it again, or take an earlier copy",
            path=str(path),
        ) from error
    for cell in nb.cells:
        cell.metadata.setdefault("tags", [])
    found: NotebookNode = nb
    return found


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    def bad(why: str, hint: str = "take an earlier copy, or export the notebook again") -> NotebookError:
        return NotebookError(f"{path} is not a notebook: {why}", hint=hint, path=str(path))

    if not data.strip():
        raise bad("the file is empty")
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad(f"it is not JSON, or only part of it ({_first_line(error)})") from error
    if not isinstance(plain, dict):
        raise bad(f"its JSON is a {type(plain).__name__}, not an object")
    version = plain.get("nbformat")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise bad("it does not say which format it has (nbformat)")
    if version > _NEWEST:
        raise bad(f"it has format {version}; this version reads up to {_NEWEST}", "save it in format 4")
    cells = plain.get("worksheets" if version < _NEWEST else "cells")
    if not isinstance(cells, list):
        raise bad("it has no list of cells")
    if not isinstance(plain.get("metadata", {}), dict):
        raise bad("its metadata is not an object")
    return plain


def _give_ids(plain: dict[str, Any]) -> None:
    """Give cells of older files ids that are the same each time, so that a second run knows them again."""
    plain.setdefault("metadata", {})
    plain.setdefault("nbformat_minor", 0)
    taken = {cell["id"] for cell in plain["cells"] if isinstance(cell, dict) and isinstance(cell.get("id"), str)}
    for number, cell in enumerate(plain["cells"], 1):
        if not isinstance(cell, dict):
            raise TypeError(f"cell {number} is a {type(cell).__name__}, not an object")
        cell.setdefault("metadata", {})
        if isinstance(cell.get("id"), str):
            continue
        text = json.dumps(cell.get("source"), sort_keys=True).encode()
        wish = f"cell-{blake2b(text, digest_size=6).hexdigest()}"
        cell["id"] = wish if wish not in taken else f"{wish}-{number}"
        taken.add(cell["id"])
    if plain["nbformat_minor"] < 5:
        plain["nbformat_minor"] = 5


def kernel_of(nb: NotebookNode, wish: str, where: str) -> str:
    """The name of the Python kernel to run a notebook in: `wish`, else what the notebook names.

    Raises
    ------
    NotebookError
        Naming the kernels that are installed.
    """
    manager = KernelSpecManager()
    installed = ", ".join(sorted(manager.find_kernel_specs())) or "none"
    name = wish or nb.metadata.get("kernelspec", {}).get("name", "")
    if not name:
        raise NotebookError(f"{where} names no kernel", hint=f"add --kernel NAME; installed: {installed}")
    try:
        spec = manager.get_kernel_spec(name)
    except (NoSuchKernel, OSError, ValueError) as error:
        raise NotebookError(
            f"the kernel {name!r} of {where} is not installed",
            hint=f"add --kernel NAME; installed: {installed}",
            kernel=name,
        ) from error
    if spec.language and spec.language.lower() != "python":
        raise NotebookError(
            f"the kernel {name!r} of {where} runs {spec.language}, not Python",
            hint=f"add --kernel NAME; installed: {installed}",
            kernel=name,
        )
    return str(name)


def tagged(nb: NotebookNode, tag: str) -> NotebookNode | None:
    """The first code cell with a tag."""
    return next((c for c in nb.cells if c.cell_type == "code" and tag in c.metadata.get("tags", ())), None)


def code_rows(nb: NotebookNode) -> list[dict[str, Any]]:
    """Every code cell in order, as the kernel wants to know them."""
    return [
        {"id": cell.get("id", ""), "source": cell.source, "tags": list(cell.metadata.get("tags", ()))}
        for cell in nb.cells
        if cell.cell_type == "code"
    ]


def cleared(nb: NotebookNode) -> NotebookNode:
    """The same notebook without outputs and counts, in place."""
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def output_place(source: Path, wish: Path | None) -> Path:
    """Where the executed notebook goes: `wish`, else beside the input as ``<name>.out.ipynb``.

    Raises
    ------
    NotebookError
        If nothing can be written there, or that would overwrite the input or something that is no notebook.
    """
    out = Path(os.path.abspath(wish if wish is not None else source.with_name(f"{source.stem}.out.ipynb")))
    if out.is_symlink():
        out = out.resolve()
    if out.suffix != ".ipynb":
        raise NotebookError(
            f"the output {out} does not end in .ipynb", hint="give the output notebook a name that does"
        )
    if out.is_dir():
        raise NotebookError(f"the output {out} is a directory", hint="name a file")
    if out.exists() and os.path.samefile(out, source):
        raise NotebookError(f"the output {out} is the input itself", hint="name another file")
    if not out.parent.is_dir():
        raise NotebookError(f"the output folder {out.parent} does not exist", hint=f"mkdir -p {out.parent}")
    try:
        probe = draft_of(out)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        probe.unlink()
    except OSError as error:
        raise NotebookError(
            f"nothing can be written in the output folder {out.parent}: {error.strerror}",
            hint="name an output elsewhere: prefect-nb run IN OUT",
        ) from error
    return out


def write(nb: NotebookNode, path: Path) -> None:
    """Write a notebook so that the path always holds a whole one.

    Raises
    ------
    NotebookError
        If it cannot be written.
    """
    write_text(path, nbformat.writes(nb) + "\n")  # type: ignore[no-untyped-call]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
