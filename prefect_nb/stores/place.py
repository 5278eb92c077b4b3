"""A store's directory and this process's identity: permissions, file systems, lock files, proof of life.

Knows files, locks and process ids; must not know what a database or a state is. Standard library only, and little of
it: the owner process starts through here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from types import TracebackType

from prefect_nb.errors import StoreError, StoreFull, StoreReadOnly

__all__ = [
    "FileLock",
    "Identity",
    "explain_os_error",
    "identity",
    "network_filesystem",
    "prepare",
    "process_runs",
    "process_start",
]

_NETWORK = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs", "gpfs"}
)
_LOCK_WAIT_S = 30.0


def explain_os_error(error: OSError, path: str) -> StoreError:
    """The store's own error for a failed system call on `path`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(
            f"the disk under {path} is full ({reason}); nothing that was acknowledged is lost",
            hint="free some space there (prefect-nb paths shows what we use), then run again",
            path=path,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreReadOnly(
            f"the store {path} cannot be written ({reason})",
            hint=f"make it writable (chmod u+rwX {path}) or name another place in PREFECT_NB_STORE",
            path=path,
        )
    return StoreError(
        f"the store {path} cannot be used ({reason})",
        hint="check the path, or name another place in PREFECT_NB_STORE",
        path=path,
    )


def prepare(directory: str) -> None:
    """Make the directory (0700) with its `.gitignore`, or tighten it.

    Raises
    ------
    StoreReadOnly, StoreFull, StoreError
        If it cannot be made, or others could plant files in it.
    """
    try:
        os.makedirs(os.path.dirname(directory) or ".", exist_ok=True)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            _tighten(directory)
        os.makedirs(os.path.join(directory, "workers"), 0o700, exist_ok=True)
        ignore = os.path.join(directory, ".gitignore")
        if not os.path.exists(ignore):
            with open(os.open(ignore, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write("*\n")
    except OSError as error:
        raise explain_os_error(error, directory) from error


def _tighten(directory: str) -> None:
    status = os.stat(directory)
    if status.st_mode & 0o022:
        if status.st_uid != os.geteuid():
            raise StoreError(
                f"the store directory {directory} belongs to user {status.st_uid} and others may write in it",
                hint=f"ask its owner for: chmod 700 {directory}",
                path=directory,
            )
        os.chmod(directory, 0o700)


def network_filesystem(directory: str, mounts: str = "/proc/mounts") -> str:
    """The type of the network file system that holds the directory, or an empty string."""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ") for line in file]
    except OSError:
        return ""
    real = os.path.realpath(directory)
    found, longest = "", -1
    for row in rows:
        point = row[1].replace("\\040", " ").rstrip("/")
        if (real == point or real.startswith(point + "/")) and len(point) >= longest:
            found, longest = row[2], len(point)
    return found if found in _NETWORK or found.startswith("fuse.sshfs") else ""


class Identity:
    """Where this process runs: host, boot and process-id namespace; equal values make locks and pids comparable."""

    __slots__ = ("boot", "host", "pid_ns")

    def __init__(self, host: str, boot: str, pid_ns: str) -> None:
        self.host = host
        self.boot = boot
        self.pid_ns = pid_ns


def identity() -> Identity:
    """Identity of the calling process."""
    host = os.uname().nodename + ":" + _read("/etc/machine-id")[:12]
    boot = _read("/proc/sys/kernel/random/boot_id")
    if not boot and sys.platform == "darwin":  # pragma: no cover - another system
        with os.popen("/usr/sbin/sysctl -n kern.bootsessionuuid") as answer:
            boot = answer.read().strip()
    try:
        pid_ns = os.readlink("/proc/self/ns/pid")
    except OSError:
        pid_ns = ""
    return Identity(host, boot, pid_ns)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty if it is gone, a zombie, or the system does not tell."""
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]


def process_runs(pid: int, start: str) -> bool:
    """Whether the process with that id is still the one that began at `start`."""
    if os.path.exists("/proc/self/stat"):
        return bool(start) and process_start(pid) == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class FileLock:
    """An exclusive lock on a file that the system releases when the process ends, however it ends."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise explain_os_error(error, path) from error

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise explain_os_error(error, self.path) from error
        return True

    def acquire(self) -> None:
        """Take the lock, waiting for a while if another holds it.

        Raises
        ------
        StoreError
            If it is still held after 30 s.
        """
        if self.try_acquire():
            return
        limit = time.monotonic() + _LOCK_WAIT_S
        pause = 0.0002
        while not self.try_acquire():
            if time.monotonic() > limit:
                raise StoreError(
                    f"another process has held {self.path} for {_LOCK_WAIT_S:g} s",
                    hint="a stopped process may hold it: fuser or lsof on that file names it",
                    path=self.path,
                )
            time.sleep(pause)
            pause = min(pause * 1.5, 0.004)

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give up the lock and its file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
