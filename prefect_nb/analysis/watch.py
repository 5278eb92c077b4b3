"""The audit hook: one for the process, which tells the active watches what the interpreter is about to do.

A hook cannot be removed, so it is installed at the first watch and does nothing while there is none. It must never
raise and never wait.
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

from prefect_nb.analysis.witness import Cause

__all__ = ["Sighting", "Watch", "unseen"]

_EVENTS: dict[str, str] = {
    **dict.fromkeys(("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"), "NETWORK"),
    **dict.fromkeys(("urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect"), "NETWORK"),
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"), "SUBPROCESS"
    ),
    **dict.fromkeys(("os.spawn", "os.startfile", "os.kill", "os.killpg", "pty.spawn"), "SUBPROCESS"),
    **dict.fromkeys(("sqlite3.connect", "sqlite3.connect/handle"), "DATABASE"),
    **dict.fromkeys(("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink"), "WRITES_FILE"),
    **dict.fromkeys(("os.truncate", "os.chmod", "os.chown", "os.utime", "os.chflags"), "WRITES_FILE"),
    **dict.fromkeys(("shutil.rmtree", "shutil.move", "shutil.copyfile", "shutil.unpack_archive"), "WRITES_FILE"),
    **dict.fromkeys(("tempfile.mkstemp", "tempfile.mkdtemp"), "WRITES_FILE"),
    **dict.fromkeys(("os.putenv", "os.unsetenv", "os.chdir"), "IMPURE_GLOBAL"),
    **dict.fromkeys(("ctypes.dlopen",), "DYNAMIC"),
    **dict.fromkeys(("webbrowser.open",), "NETWORK"),
}
_CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dylib", ".pth")
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/usr/share/zoneinfo", "/etc/localtime", "/usr/share/fonts", "/etc/ld.so")
_CACHES = ("/__pycache__/", "/matplotlib/fontlist-", "/.cache/matplotlib", "/.config/matplotlib")
_WRITE = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


class Sighting(NamedTuple):
    """A file or directory that is about to be read, under the name it was asked for."""

    kind: Literal["file", "listing"]
    name: str


class Watch:
    """What one body does, seen from its thread and from the threads it starts."""

    def __init__(self, ignore: tuple[str, ...] = ()) -> None:
        self.taints: dict[tuple[str, str], Cause] = {}
        self.written: set[str] = set()
        self._made: set[str] = set()
        self._ignore = ignore
        self._thread = 0
        self._before: tuple[frozenset[threading.Thread], frozenset[int]] = (frozenset(), frozenset())
        self._tell: Callable[[Sighting], None] | None = None

    def start(self, tell: Callable[[Sighting], None]) -> None:
        """Begin to watch the calling thread."""
        self._tell = tell
        self._thread = threading.get_ident()
        threads = threading.enumerate()
        self._before = (frozenset(threads), frozenset(sys._current_frames()) - {t.ident for t in threads})
        _install()
        _active.append(self)

    def stop(self) -> None:
        """Stop watching."""
        if self in _active:
            _active.remove(self)

    @contextlib.contextmanager
    def blind(self) -> Iterator[None]:
        """Do not see what this thread does inside the block."""
        with unseen():
            yield

    def concerns(self, thread: int) -> bool:
        """Whether an event in a thread belongs to this watch."""
        if getattr(_blind, "on", False):
            return False
        if thread == self._thread:
            return True
        # Numbers of ended threads are used again, so a thread is told by its object where it has one.
        known, foreign = self._before
        own = next((t for t in threading.enumerate() if t.ident == thread), None)
        return own not in known if own is not None else thread not in foreign

    def opened(self, path: Any, mode: Any, flags: Any) -> None:
        """A file is about to be opened."""
        if isinstance(path, int) or path is None:
            return
        name = os.fsdecode(path)
        full = os.path.abspath(name)
        writes = bool(isinstance(flags, int) and flags & _WRITE) or (isinstance(mode, str) and set(mode) & set("wax+"))
        if self._ignored(full):
            return
        if not writes and self._inside_made(full):
            return
        if writes:
            if not _is_cache(full):
                self.written.add(name)
                self._taint("WRITES_FILE", name)
        elif not _is_code(full) and self._tell is not None:
            self._tell(Sighting("file", name))

    def listed(self, path: Any) -> None:
        """A directory is about to be listed."""
        if isinstance(path, int):
            return
        name = os.fsdecode(path) if path is not None else "."
        full = os.path.abspath(name)
        if self._ignored(full) or self._inside_made(full):
            return
        if not _is_code(full + "/") and not _importing() and self._tell is not None:
            self._tell(Sighting("listing", name))

    def left(self, code: str, event: str, args: tuple[Any, ...]) -> None:
        """The body is about to touch the world outside."""
        if code == "WRITES_FILE" and args and isinstance(args[0], str | bytes | os.PathLike):
            name = os.fsdecode(args[0])
            full = os.path.abspath(name)
            if event == "os.mkdir" and not os.path.lexists(full):
                self._made.add(full)
            if not self._ignored(full) and not _is_cache(full):
                self.written.add(name)
                self._taint(code, name)
            return
        if code in ("DYNAMIC", "IMPURE_GLOBAL") and _importing():
            return
        self._taint(code, event)

    def _inside_made(self, full: str) -> bool:
        """Whether a path lies in a directory that the body itself made: nothing there can come from outside."""
        return any(full == made or full.startswith(made + "/") for made in self._made)

    def _taint(self, code: str, name: str) -> None:
        self.taints.setdefault((code, name), Cause(code, name))

    def _ignored(self, full: str) -> bool:
        return any(full == p or full.startswith(p + "/") for p in self._ignore)


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Let no watch see what this thread does inside the block: it is ours, not a body's."""
    before, _blind.on = getattr(_blind, "on", False), True
    try:
        yield
    finally:
        _blind.on = before


@cache
def _code_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    roots = {paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")} | {os.path.join(sys.prefix, "share")}
    return tuple(os.path.abspath(r) + "/" for r in roots)


def _is_code(full: str) -> bool:
    """Whether a read is part of importing, fonts, zones or the system rather than of the analysis."""
    if full.endswith(_CODE) or full.startswith(_SYSTEM) or full.startswith(_code_roots()):
        return True
    return "/site-packages/" in full or "/dist-packages/" in full or _is_cache(full)


def _is_cache(full: str) -> bool:
    own = os.environ.get("MPLCONFIGDIR")
    if own and (full + "/").startswith(os.path.abspath(own) + "/"):
        return True
    return any(part in full for part in _CACHES) or full.startswith(("/dev/null", "/dev/tty"))


def _importing() -> bool:
    """Whether the interpreter is in the middle of an import."""
    frame: Any = sys._getframe(1)
    for _ in range(12):
        if frame is None:
            return False
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


_blind = threading.local()
_active: list[Watch] = []
_installed: list[bool] = []


def _install() -> None:
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _active:
        return
    code = _EVENTS.get(event)
    if code is None and event not in ("open", "os.listdir", "os.scandir"):
        return
    thread = threading.get_ident()
    for watch in tuple(_active):
        if not watch.concerns(thread):
            continue
        try:
            if event == "open":
                watch.opened(*args)
            elif code is None:
                watch.listed(args[0])
            else:
                watch.left(code, event, args)
        except Exception as err:  # an audit hook that raises would break the user's own call
            watch.taints.setdefault(("UNANALYSED", event), Cause("UNANALYSED", f"{event}: {type(err).__name__}"))
