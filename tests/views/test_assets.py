"""The built files in the package come from the sources in labextension/."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FRONT = ROOT / "labextension"
PACKAGE = ROOT / "prefect_nb"


def test_assets_are_not_stale() -> None:
    """The digest that the build left equals the digest of the sources; else: npm ci && npm run build."""
    sources = [FRONT / "package.json"]
    for package in ("view", "widget", "lab"):
        home = FRONT / "packages" / package
        sources.append(home / "package.json")
        for folder in ("src", "style", "schema"):
            sources += [path for path in (home / folder).rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for name in sorted(path.relative_to(FRONT).as_posix() for path in sources):
        digest.update(name.encode() + b"\0" + (FRONT / name).read_bytes() + b"\0")
    built = json.loads((PACKAGE / "static" / "build.json").read_text("utf-8"))
    assert built["sources"] == digest.hexdigest(), "run `npm ci && npm run build` in labextension/ and commit"


def test_lab_extension_is_whole() -> None:
    """The prebuilt extension's manifest names files that exist."""
    manifest = json.loads((PACKAGE / "labextension" / "package.json").read_text("utf-8"))
    build = manifest["jupyterlab"]["_build"]
    assert manifest["name"] == "prefect_nb"
    assert (PACKAGE / "labextension" / build["load"]).is_file()


def test_nothing_is_fetched() -> None:
    """The widget's files hold no address of another host, but for the name of SVG's vocabulary."""
    for name in ("widget.js", "widget.css"):
        text = (PACKAGE / "static" / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|@import|import\(", text), name


def test_lock_installs_everywhere_and_names_no_host() -> None:
    """The lock has builder binaries for three systems and no registry address."""
    lock = json.loads((FRONT / "package-lock.json").read_text("utf-8"))["packages"]
    for system in ("darwin", "win32", "linux"):
        assert any(f"@rspack/binding-{system}" in name for name in lock)
        assert any(f"@esbuild/{system}" in name for name in lock)
    assert not [name for name, entry in lock.items() if "://" in str(entry.get("resolved", ""))]


def test_widget_stays_small() -> None:
    """Every saved widget carries this file in its state: 30 kB at most once it is compressed."""
    assert len(gzip.compress((PACKAGE / "static" / "widget.js").read_bytes())) < 30_000
