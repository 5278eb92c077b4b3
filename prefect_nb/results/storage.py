"""Result files: written once under the address of their content, mapped privately when read.

Knows paths and bytes; must not know what the bytes mean or who refers to them. A file appears under its final name
only when all of it is on the disk, and is never overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prefect_nb.errors import ResultUnavailable, StoreError, StoreFull, StoreReadOnly

__all__ = ["ORPHAN_S", "FileId", "FileResults"]

FileId = tuple[int, int, int, int]

_CHUNK = 1 << 24
ORPHAN_S = 24 * 3600.0
_QUARANTINE = "damaged"


class FileResults:
    """A directory of result files, in shards by the first two digits of their address.

    Parameters
    ----------
    directory : Path
        Made when the first file is written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.abspath(directory))

    def path(self, address: str) -> Path:
        """Where the file of that address lies.

        Raises
        ------
        ResultUnavailable
            If that is no address of ours, so that no name from a store leads out of the directory.
        """
        if len(address) != 64 or not set(address) <= set("0123456789abcdef"):
            raise ResultUnavailable(f"{address[:70]!r} is not the address of a result")
        return self.directory / address[:2] / address

    def put(self, address: str, pieces: Sequence[bytes | bytearray | memoryview], size: int) -> None:
        """Write a file durably; nothing happens when it is there already.

        Raises
        ------
        StoreFull, StoreReadOnly, StoreError
            If it cannot be written; nothing is left behind.
        """
        path = self.path(address)
        try:
            if not self._refreshed(path, size):
                self._write(path, pieces)
        except OSError as error:
            raise self._explain(error) from error

    def _refreshed(self, path: Path, size: int) -> bool:
        """Whether the file is there; then it counts as written now, so that nobody deletes it who thought it old."""
        with self._deleting(fcntl.LOCK_SH):
            try:
                if path.stat().st_size == size:
                    at = time.time()
                    os.utime(path, (at, at))
                    return True
            except FileNotFoundError:
                return False
            self.quarantine(path.name)
            return False

    @contextlib.contextmanager
    def _deleting(self, how: int) -> Iterator[None]:
        """Between a look at a file's age and what follows from it nobody else may act on that file."""
        self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self.directory.with_name(self.directory.name + ".lock")
        fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    def _write(self, path: Path, pieces: Sequence[bytes | bytearray | memoryview]) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.parent / f".{path.name[:16]}.{os.getpid()}-{os.urandom(4).hex()}.part"
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                for piece in pieces:
                    rest = memoryview(piece)
                    while rest.nbytes:
                        rest = rest[os.write(fd, rest[:_CHUNK]) :]
                os.fsync(fd)
            finally:
                os.close(fd)
            _appear(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
        _sync_directory(path.parent)

    def get(self, address: str) -> tuple[memoryview, FileId]:
        """A private, writable mapping of a file and the file's identity.

        Raises
        ------
        ResultUnavailable
            If there is no such file, or it cannot be read.
        """
        path = self.path(address)
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                if not status.st_size:
                    return memoryview(b""), (status.st_dev, status.st_ino, 0, status.st_mtime_ns)
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except FileNotFoundError as error:
            raise ResultUnavailable(
                f"the file of result {address[:12]} is missing",
                hint="it was evicted or deleted; run the task again",
                digest=address,
            ) from error
        except OSError as error:
            raise ResultUnavailable(
                f"the file of result {address[:12]} cannot be read: {error.strerror}",
                hint=f"check {path}",
                digest=address,
            ) from error
        return memoryview(mapped), (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def delete(self, address: str) -> None:
        """Remove a file; mappings of it stay valid."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(address))

    def discard(self, address: str, before: float) -> int:
        """Remove a file unless it was written, or written again, since `before`; bytes freed.

        Who writes the same content again counts on the file from then on, before any row names it.
        """
        return self._discard(self.path(address), before)

    def _discard(self, path: Path, before: float) -> int:
        with self._deleting(fcntl.LOCK_EX), contextlib.suppress(FileNotFoundError):
            status = path.stat(follow_symlinks=False)
            if status.st_mtime <= before:
                os.unlink(path)
                return status.st_size
        return 0

    def quarantine(self, address: str) -> None:
        """Set a damaged file aside, for people to look at; it is swept like an orphan later."""
        place = self.directory / _QUARANTINE
        with contextlib.suppress(OSError):
            place.mkdir(mode=0o700, exist_ok=True)
            os.replace(self.path(address), place / address)
            os.utime(place / address)

    def orphans(self, known: Callable[[str], bool], before: float) -> dict[Path, int]:
        """Files that no row refers to (by `known`) and unfinished drafts, last written before a time; their bytes."""
        found = {}
        for entry in self._files():
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                aside = os.path.basename(os.path.dirname(entry.path)) == _QUARANTINE
                if status.st_mtime <= before and not (len(entry.name) == 64 and not aside and known(entry.name)):
                    found[Path(entry.path)] = status.st_size
        return found

    def sweep(self, known: Callable[[str], bool], *, older_than: float = ORPHAN_S, now: float | None = None) -> int:
        """Remove :meth:`orphans` once they are a day old; bytes freed."""
        limit = (time.time() if now is None else now) - older_than
        return sum(self._discard(path, limit) for path in self.orphans(known, limit))

    def usage(self) -> int:
        """Bytes of all files."""
        total = 0
        for entry in self._files():
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
        return total

    def _files(self) -> Iterator[os.DirEntry[str]]:
        if not self.directory.is_dir():
            return
        for shard in os.scandir(self.directory):
            if shard.is_dir(follow_symlinks=False):
                yield from (entry for entry in os.scandir(shard.path) if entry.is_file(follow_symlinks=False))

    def _explain(self, error: OSError) -> StoreError:
        reason = os.strerror(error.errno) if error.errno else str(error)
        where = str(self.directory)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return StoreFull(
                f"a result could not be written under {where}: {reason}; nothing that was acknowledged is lost",
                hint="free some space there (prefect-nb paths shows what we use), then run again",
                path=where,
            )
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return StoreReadOnly(
                f"a result could not be written under {where}: {reason}",
                hint=f"make it writable (chmod -R u+rwX {where}) or name another place in PREFECT_NB_STORE",
                path=where,
            )
        return StoreError(f"a result could not be written under {where}: {reason}", hint="check the disk", path=where)


def _appear(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return  # somebody wrote the same content
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        os.rename(draft, path)  # a file system without links; the content is the same in any case


def _sync_directory(path: Path) -> None:
    for directory in (path, path.parent):
        fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
