"""``doctor`` and ``paths``: what is installed, where things lie, and whether they are sound.

Knows places and versions; must not know runs.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_core.paths import jupyter_data_dir, jupyter_path

from prefect_nb.apps.listing import as_json, in_store
from prefect_nb.apps.opened import place_of
from prefect_nb.errors import PrefectNBError
from prefect_nb.stores.place import network_filesystem
from prefect_nb.views.words import size
from prefect_nb.wiring import FOLDER, Place, open_store, quota

__all__ = ["doctor", "paths"]

_PACKAGES = ("prefect_nb", "ipykernel", "ipython", "papermill", "nbclient", "nbformat", "jupyter_client", "anywidget")
_WAL_FIXED = (3, 51, 3)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: what was looked at, how it is (ok, note or problem), and what was seen."""

    what: str
    grade: str
    seen: str


@click.command()
@as_json
@in_store
def doctor(plain: bool, store: str) -> None:
    """Check this installation and this store; exit status 1 if something is wrong."""
    findings = [*_installation(), *_stored(place_of(store))]
    sound = all(finding.grade != "problem" for finding in findings)
    if plain:
        click.echo(json.dumps({"ok": sound, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        signs = {"ok": "✓", "note": "!", "problem": "✗"}
        for finding in findings:
            click.echo(f"{signs[finding.grade]} {finding.what:<18} {finding.seen}")
    click.get_current_context().exit(0 if sound else 1)


def _installation() -> Iterator[Finding]:
    new_enough = sys.version_info >= (3, 11)
    yield Finding("python", "ok" if new_enough else "problem", f"{sys.version.split()[0]}, {sys.executable}")
    for package in _PACKAGES:
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "note" if package == "prefect_nb" else "problem", "not installed")
    specs = KernelSpecManager().find_kernel_specs()
    shown = ", ".join(f"{name} ({path})" for name, path in sorted(specs.items()))
    yield Finding("kernels", "ok" if specs else "problem", shown or "none; python -m ipykernel install --user")
    found = [Path(p) / "labextensions" / "prefect_nb" for p in jupyter_path()]
    there = next((p for p in found if (p / "package.json").is_file()), None)
    yield Finding(
        "lab extension", "ok" if there else "note", str(there) if there else "not installed; static views only"
    )
    has_wal_fault = sqlite3.sqlite_version_info < _WAL_FIXED
    policy = "has the WAL-reset fault; one file lock around every write keeps it away" if has_wal_fault else "sound"
    yield Finding("sqlite", "ok", f"{sqlite3.sqlite_version}, {policy}")


def _stored(place: Place) -> Iterator[Finding]:
    where, seen = _key()
    yield Finding("key", seen, where)
    if not (place.folder / "state.db").is_file():
        yield Finding("store", "note", f"none yet at {place.folder}; it comes with the first task")
        return
    network = network_filesystem(str(place.folder))
    kind = f"network file system ({network}): slower, one kernel at a time" if network else "local"
    yield Finding("file system", "note" if network else "ok", kind)
    try:
        with_store = open_store(place.folder)
    except PrefectNBError as error:
        yield Finding("store", "problem", f"{error.message}; {error.hint}")
        return
    try:
        usage = with_store.usage()
        used = f"{place.folder}: {usage.runs} runs, {usage.entries} reusable results, database {size(usage.database)}"
        yield Finding("store", "ok", used)
        full = usage.results > 0.9 * usage.quota
        yield Finding("results", "note" if full else "ok", f"{size(usage.results)} of {size(usage.quota)}")
        free = shutil.disk_usage(place.folder).free
        yield Finding("free disk", "note" if free < 1 << 30 else "ok", size(free))
        problems = with_store.check()
        yield Finding("integrity", "problem" if problems else "ok", "; ".join(problems) or "every check passed")
    except PrefectNBError as error:
        yield Finding("integrity", "problem", f"{error.message}; {error.hint}")
    finally:
        with_store.close()


def _key() -> tuple[str, str]:
    if os.environ.get("PREFECT_NB_KEY"):
        return "PREFECT_NB_KEY", "ok"
    path = Path(jupyter_data_dir()) / "prefect_nb" / "key"
    if not path.is_file():
        return f"none yet; {path} comes with the first result", "note"
    return (str(path), "ok") if not path.stat().st_mode & 0o077 else (f"{path} can be read by others", "problem")


@click.command()
@as_json
@in_store
def paths(plain: bool, store: str) -> None:
    """Tell where the store, the results and the key lie, and how large they are."""
    place = place_of(store)
    rows: dict[str, Callable[[], Path | str]] = {
        "store": lambda: place.folder,
        "database": lambda: place.folder / "state.db",
        "results": lambda: place.results,
        "root": lambda: place.root,
        "key": lambda: _key()[0],
    }
    found = {name: str(path()) for name, path in rows.items()}
    sizes = {name: _bytes(Path(found[name])) for name in ("database", "results")}
    if plain:
        click.echo(json.dumps({**found, "bytes": sizes, "quota": quota(), "exists": place.folder.is_dir()}, indent=2))
        return
    for name, path in found.items():  # never cut: people copy these
        click.echo(f"{name:<9} {size(sizes[name]) if name in sizes else '':>10}  {path}")
    if not place.folder.is_dir():
        click.echo(f"nothing is there yet; {FOLDER} comes with the first task")


def _bytes(path: Path) -> int:
    if path.is_file():
        log = path.with_name(path.name + "-wal")
        return path.stat().st_size + (log.stat().st_size if log.is_file() else 0)
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else 0
