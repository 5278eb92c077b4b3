"""The manifest: what a body was seen to read beyond its key, and whether that still gives the same.

An audit hook watches files, listings and ways out of the process. It can only take purity away. Knows no cells and no
store; looks at the file system and the environment because that is its subject.
"""

from __future__ import annotations

import glob
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blake3 import blake3

from prefect_nb.analysis.values import fingerprint
from prefect_nb.analysis.watch import Sighting, Watch

__all__ = [
    "Observer",
    "Read",
    "describe_change",
    "digest_absent",
    "digest_env",
    "digest_file",
    "digest_listing",
    "digest_rng",
    "expand",
    "holds",
    "untouched",
]

ABSENT = "absent"
_CHANCE = "seeded by chance"
_GENERATORS = ("random", "numpy.random", "torch")


@dataclass(frozen=True, slots=True)
class Read:
    """One thing that a body read, and what it was.

    Parameters
    ----------
    kind : str
        ``file``, ``absent`` (a file that was not there), ``listing`` (a directory), ``env``, ``rng``.
    name : str
        The path as the body spelled it, the variable, or the generator.
    digest : str
        The content's fingerprint.
    size, mtime_ns : int
        Of a file, -1 otherwise; a hint only, the digest decides.
    """

    kind: Literal["file", "absent", "listing", "env", "rng"]
    name: str
    digest: str
    size: int = -1
    mtime_ns: int = -1


_Stamp = tuple[int, int, int, int, int]
_known: OrderedDict[str, tuple[_Stamp, Read]] = OrderedDict()
_lock = threading.Lock()
#: A file younger than this may be written again within its time stamp's grain, so its digest is not remembered.
_GRAIN_NS = 2_000_000_000


def _stamp(path: str) -> tuple[_Stamp, bool]:
    found = os.stat(path)
    directory = (found.st_mode & 0o170000) == 0o040000
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns), directory


def digest_file(path: str | os.PathLike[str]) -> Read:
    """The content of a file; unchanged files are not read again.

    A directory counts by its listing, what is not there as absent, what cannot be read as unreadable.
    """
    name = os.fspath(path)
    full = os.path.abspath(name)
    try:
        stamp, directory = _stamp(full)
        if directory:
            return digest_listing(name)
        known = _known.get(full)
        if known is not None and known[0] == stamp:
            return Read("file", name, known[1].digest, stamp[2], stamp[3])
        digest = _content(full)
        after, _ = _stamp(full)
    except FileNotFoundError:
        return digest_absent(name)
    except OSError as err:
        return Read("file", name, f"unreadable: {err.strerror or type(err).__name__}")
    read = Read("file", name, digest, after[2], after[3])
    if stamp == after and _now_ns() - max(after[3], after[4]) > _GRAIN_NS:
        with _lock:
            _known[full] = (after, read)
            if len(_known) > 4096:
                _known.popitem(last=False)
    return read


def _now_ns() -> int:
    return time.time_ns()


def _content(path: str) -> str:
    hasher = blake3()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return "b3-" + hasher.hexdigest(20)


def digest_absent(path: str | os.PathLike[str]) -> Read:
    """That nothing is at this path."""
    return Read("absent", os.fspath(path), ABSENT)


def digest_listing(path: str | os.PathLike[str]) -> Read:
    """The names in a directory and whether each is a directory, in no order."""
    name = os.fspath(path)
    try:
        with os.scandir(name) as entries:
            listed = sorted((e.name, e.is_dir(follow_symlinks=False)) for e in entries)
    except OSError as err:
        return Read("listing", name, f"unreadable: {err.strerror or type(err).__name__}")
    return Read("listing", name, fingerprint(listed))


def digest_env(name: str) -> Read:
    """The value of an environment variable; ``"<cwd>"`` is the working directory."""
    value = os.getcwd() if name == "<cwd>" else os.environ.get(name)
    return Read("env", name, fingerprint(value))


def digest_rng(name: str) -> Read:
    """The state of a hidden generator; one whose library is not loaded has the state None."""
    return Read("rng", name, fingerprint(_state(name)))


def _state(name: str) -> Any:
    if name == "random":
        return sys.modules["random"].getstate() if "random" in sys.modules else None
    module = sys.modules.get(name)
    if module is None:
        return None
    if name == "torch":
        return bytes(module.get_rng_state())
    state = module.get_state(legacy=False)
    inner = state["state"]
    if "key" not in inner:
        return state
    if untouched(int(inner["key"][0]), int(inner["pos"]), int(state["has_gauss"])):
        return None
    return (state["bit_generator"], inner["key"].tobytes(), inner["pos"], state["has_gauss"], state["gauss"])


def untouched(first: int, position: int, has_gauss: int) -> bool:
    """Whether NumPy's global generator is as the operating system seeded it: nothing was drawn, no seed was given.

    NumPy begins with this word at this position; each seeding and each draw moves one of them.
    """
    return first == 0x80000000 and position == 623 and not has_gauss


def _again(read: Read) -> Read:
    if read.kind in ("file", "absent"):
        return digest_file(read.name)
    again = {"listing": digest_listing, "env": digest_env, "rng": digest_rng}
    return again[read.kind](read.name)


def holds(read: Read) -> bool:
    """Whether reading it today gives the same."""
    if read.kind == "absent":
        return not os.path.lexists(read.name)
    again = _again(read)
    return again.kind == read.kind and again.digest == read.digest


def describe_change(read: Read) -> str:
    """What happened to a read that does not hold, as a phrase."""
    if read.kind == "env":
        return "the working directory changed" if read.name == "<cwd>" else f"environment variable {read.name} changed"
    if read.kind == "rng":
        return f"the state of {read.name} changed"
    if read.kind == "listing":
        return f"the files in {read.name} changed"
    if read.kind == "absent":
        return f"{read.name} appeared"
    return f"{read.name} changed" if os.path.lexists(read.name) else f"{read.name} is gone"


def expand(files: tuple[str, ...], base: Path) -> list[Read]:
    """The reads that declared paths stand for.

    Parameters
    ----------
    files : tuple of str
        Paths and globs (``**`` crosses directories), relative to ``base``.
    base : Path
        Usually the notebook's directory.

    Returns
    -------
    list of Read
        Sorted by name; a pattern that matches nothing is an absent read, so that a file which appears is noticed.
    """
    found: dict[str, Read] = {}
    for pattern in files:
        whole = os.path.join(base, os.path.expanduser(pattern))
        matches = sorted(glob.glob(whole, recursive=True)) if glob.has_magic(pattern) else [whole]
        for match in matches:
            found[match] = digest_file(match)
        if not matches:
            found[whole] = digest_absent(whole)
    return [found[name] for name in sorted(found)]


class Observer:
    """Watches what happens between entry and exit of a ``with`` block.

    Parameters
    ----------
    ignore : iterable of path
        Files and directories whose use says nothing about the body: our own store and results.
    environment : iterable of str
        Variables that the body is known to read.
    """

    def __init__(self, *, ignore: Iterable[str | os.PathLike[str]] = (), environment: Iterable[str] = ()) -> None:
        self._watch = Watch(tuple(os.path.abspath(os.fspath(p)) for p in ignore))
        self._environment = tuple(environment)
        self._before: dict[str, Read] = {}
        self._states: dict[str, Any] = {}
        self._reads: dict[tuple[str, str], Read] = {}
        self._unstable: list[Read] = []

    def __enter__(self) -> Observer:
        for name in self._environment:
            self._before[name] = digest_env(name)
        for name in _GENERATORS:
            self._states[name] = _state(name)
        self._watch.start(self._sight)
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.stop()
        self._finish()

    def _sight(self, sighting: Sighting) -> None:
        """Take the digest when the body asks, before it reads; the second look comes at the end."""
        key = (sighting.kind, sighting.name)
        if key in self._reads:
            return
        with self._watch.blind():
            if sighting.kind == "listing":
                self._reads[key] = digest_listing(sighting.name)
            else:
                self._reads[key] = digest_file(sighting.name)

    def _finish(self) -> None:
        with self._watch.blind():
            for read in self._reads.values():
                if read.name not in self._watch.written and not holds(read):
                    self._unstable.append(read)
        for read in self._before.values():
            self._reads[("env", read.name)] = read
            if not holds(read):
                self._unstable.append(read)
        for name, state in self._states.items():
            if _state(name) != state:
                chance = state is None and name == "numpy.random"  # no later process begins like this one
                self._reads[("rng", name)] = Read("rng", name, _CHANCE if chance else fingerprint(state))

    def reads(self) -> tuple[Read, ...]:
        """What was read, sorted; a generator counts if its state moved."""
        return tuple(sorted(self._reads.values(), key=lambda r: (r.kind, r.name)))

    def taints(self) -> tuple[Any, ...]:
        """What was seen that takes purity away."""
        return tuple(self._watch.taints.values())

    def unstable(self) -> tuple[Read, ...]:
        """Reads that were not the same at the end; with any of them the result must not be stored."""
        return tuple(self._unstable)
