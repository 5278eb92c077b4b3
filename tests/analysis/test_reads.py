"""The manifest: what a body was seen to read, and whether it still holds."""

from __future__ import annotations

import glob
import io
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefect_nb.analysis.reads import (
    Observer,
    Read,
    describe_change,
    digest_absent,
    digest_env,
    digest_file,
    digest_listing,
    digest_rng,
    expand,
    holds,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.csv").write_text("x\n1\n")
    return tmp_path


def names(observer: Observer) -> set[tuple[str, str]]:
    return {(r.kind, r.name) for r in observer.reads()}


def _miss() -> None:
    with pytest.raises(OSError):
        Path("none.txt").read_text()


READS: dict[str, tuple[Callable[[], object], set[tuple[str, str]]]] = {
    "open": (lambda: Path("a.csv").read_text(), {("file", "a.csv")}),
    "frame": (lambda: pd.read_csv("a.csv"), {("file", "a.csv")}),
    "array": (lambda: np.loadtxt("a.csv", delimiter=",", skiprows=1), {("file", "a.csv")}),
    "missing": (_miss, {("absent", "none.txt")}),
    "listing": (lambda: os.listdir("data"), {("listing", "data")}),
    "glob": (lambda: glob.glob("data/*.csv"), {("listing", "data")}),
    "nothing": (lambda: sum(range(10)), set()),
    "hidden generator": (lambda: random.random(), {("rng", "random")}),
    "numpy's generator": (lambda: np.random.normal(), {("rng", "numpy.random")}),
    "own generator": (lambda: np.random.default_rng(1).normal(), set()),
    "zone": (lambda: pd.Timestamp("2020", tz="America/New_York"), set()),
}


@pytest.mark.parametrize(("body", "expected"), READS.values(), ids=READS)
def test_observed_reads(here: Path, body: Callable[[], object], expected: set[tuple[str, str]]) -> None:
    """Files, listings, absences and generators are seen; what belongs to the interpreter is not."""
    with Observer() as observer:
        body()
    assert names(observer) == expected
    assert observer.taints() == ()
    assert observer.unstable() == ()


def _write() -> None:
    Path("out.txt").write_text("x")


def _query() -> None:
    sqlite3.connect(":memory:").close()


def _connect() -> None:
    with socket.socket() as s:
        s.connect_ex(("127.0.0.1", 9))


TAINTS: dict[str, tuple[Callable[[], object], str]] = {
    "write": (_write, "WRITES_FILE"),
    "append": (lambda: open("a.csv", "a").close(), "WRITES_FILE"),
    "remove": (lambda: os.remove("a.csv"), "WRITES_FILE"),
    "rename": (lambda: os.rename("a.csv", "c.csv"), "WRITES_FILE"),
    "directory": (lambda: os.mkdir("new"), "WRITES_FILE"),
    "process": (lambda: subprocess.run(["true"], check=True), "SUBPROCESS"),
    "shell": (lambda: os.system("true"), "SUBPROCESS"),
    "database": (_query, "DATABASE"),
    "network": (_connect, "NETWORK"),
    "directory change": (lambda: os.chdir("data"), "IMPURE_GLOBAL"),
}


@pytest.mark.parametrize(("body", "code"), TAINTS.values(), ids=TAINTS)
def test_observed_taints(here: Path, body: Callable[[], object], code: str) -> None:
    """What leaves the process, or changes a file, takes purity away."""
    with Observer() as observer:
        body()
    assert code in {c.code for c in observer.taints()}


def test_nothing_is_seen_outside(here: Path) -> None:
    """An observer sees what happens in its block and nothing else."""
    observer = Observer()
    Path("a.csv").read_text()
    with observer:
        pass
    _write()
    Path("a.csv").read_text()
    assert observer.reads() == observer.taints() == ()


def test_own_files_are_ignored(here: Path) -> None:
    """The store's and the results' files say nothing about the body."""
    with Observer(ignore=(here / "data",)) as observer:
        Path("data/b.csv").read_text()
        Path("data/new.csv").write_text("x")
        Path("a.csv").read_text()
    assert names(observer) == {("file", "a.csv")}
    assert observer.taints() == ()


def test_other_threads(here: Path) -> None:
    """Threads that the body starts are the body; threads that ran before are not."""
    go, done = threading.Event(), threading.Event()

    def older() -> None:
        go.wait()
        Path("a.csv").read_text()
        done.set()

    before = threading.Thread(target=older)
    before.start()
    with Observer() as observer:
        go.set()
        done.wait()
        inner = threading.Thread(target=lambda: Path("data/b.csv").read_text())
        inner.start()
        inner.join()
    before.join()
    assert names(observer) == {("file", "data/b.csv")}


def test_nested_observers(here: Path) -> None:
    """A body inside a body is seen by both."""
    with Observer() as outer, Observer() as inner:
        Path("a.csv").read_text()
    assert names(outer) == names(inner) == {("file", "a.csv")}


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that the body is known to read are in the manifest."""
    monkeypatch.setenv("NBCASE_MODE", "one")
    with Observer(environment=["NBCASE_MODE", "NBCASE_NONE"]) as observer:
        pass
    mode, none = observer.reads()
    assert (mode.name, none.name) == ("NBCASE_MODE", "NBCASE_NONE")
    assert holds(mode)
    assert holds(none)
    monkeypatch.setenv("NBCASE_MODE", "two")
    monkeypatch.setenv("NBCASE_NONE", "")
    assert not holds(mode)
    assert not holds(none)
    assert describe_change(mode) == "environment variable NBCASE_MODE changed"


def test_unstable_reads(here: Path) -> None:
    """A read that somebody else changed while the body ran is reported."""
    with Observer() as observer:
        Path("a.csv").read_text()
        other = [sys.executable, "-c", "open('a.csv', 'a').write('3,4\\n')"]
        subprocess.run(other, check=True)
    assert [r.name for r in observer.unstable()] == ["a.csv"]


def test_generator_state_is_the_one_at_entry() -> None:
    """The state that counts is the one before the body drew from it."""
    random.seed(7)
    state = random.getstate()
    with Observer() as observer:
        random.random()
    (read,) = observer.reads()
    assert not holds(read)
    random.setstate(state)
    assert holds(read)
    assert read.digest == digest_rng("random").digest


def test_files_hold_by_content(here: Path) -> None:
    """A file holds while its bytes are the same, whatever its time stamp says."""
    read = digest_file("a.csv")
    assert (read.kind, read.size) == ("file", 8)
    os.utime("a.csv", ns=(1, 1))
    assert holds(read)
    Path("a.csv").write_text("x,y\n1,3\n")
    assert not holds(read)
    os.utime("a.csv", ns=(1, 1))
    assert not holds(read)
    assert describe_change(read) == "a.csv changed"
    Path("a.csv").unlink()
    assert not holds(read)
    assert describe_change(read) == "a.csv is gone"


def test_quick_edits_are_noticed(here: Path) -> None:
    """Two edits of equal length within the grain of the clock give two digests."""
    marks = set()
    for text in ("aa", "bb", "cc"):
        Path("a.csv").write_text(text)
        os.utime("a.csv", ns=(5, 5))
        marks.add(digest_file("a.csv").digest)
    assert len(marks) == 3


def test_absence_and_listings_hold(here: Path) -> None:
    """A file that appears breaks an absence and a listing."""
    absent, listing = digest_absent("data/c.csv"), digest_listing("data")
    assert holds(absent)
    assert holds(listing)
    Path("data/c.csv").write_text("")
    assert not holds(absent)
    assert not holds(listing)
    assert describe_change(absent) == "data/c.csv appeared"
    assert describe_change(listing) == "the files in data changed"


def test_working_directory_is_an_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is read like a variable."""
    read = digest_env("<cwd>")
    monkeypatch.chdir("data")
    assert not holds(read)
    assert describe_change(read) == "the working directory changed"


def test_expand(here: Path) -> None:
    """Declared paths and globs become reads; what is not there is an absence."""
    found = expand(("a.csv", "data/*.csv", "none.csv", "none/*.csv"), here)
    assert [(r.kind, os.path.relpath(r.name, here)) for r in found] == [
        ("file", "a.csv"),
        ("file", "data/b.csv"),
        ("absent", "none.csv"),
        ("absent", "none/*.csv"),
    ]
    assert all(map(holds, found))


def test_a_drawn_figure_reads_nothing() -> None:
    """Fonts, styles and caches of a drawing library are not part of the analysis."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    with Observer() as observer:
        fig, ax = plt.subplots()
        ax.plot([1, 2], label="x")
        ax.legend()
        fig.savefig(io.BytesIO(), format="png")
        plt.close(fig)
    assert observer.reads() == ()
    assert observer.taints() == ()


def test_reads_are_plain_values() -> None:
    """Reads compare by value, so manifests do."""
    assert Read("env", "A", "b3-1") == Read("env", "A", "b3-1")
