"""Files that tasks make: a value written to a path, in the format that the path's ending names.

Knows values and files; must not know tasks, keys or when a file is to be made. A file appears under its name only when
all of it is on the disk. Nothing is read back: the value of a task is kept in the result storage, its file is for
others.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect_nb.analysis.reads import digest_file
from prefect_nb.errors import StoreError, UsageError

__all__ = ["ENDINGS", "write_product"]


def write_product(path: Path, value: object) -> str:
    """Write a value in the format of the path's ending, whole or not at all; the content's fingerprint.

    Raises
    ------
    UsageError
        If the value does not go with the ending.
    StoreError
        If the file cannot be written.
    """
    writer = _WRITERS.get(path.suffix.lower(), _write_raw)
    draft = path.with_name(f".{path.name[:64]}.{os.getpid()}-{os.urandom(4).hex()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            writer(value, draft, path)
            with open(draft, "rb") as file:
                os.fsync(file.fileno())
            digest = digest_file(draft).digest
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise StoreError(
            f"the target {path} could not be written: {error.strerror or error}",
            hint="check its folder and the space there; the task's value is lost with this attempt",
            path=str(path),
        ) from error
    return digest


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unfit(value: object, path: Path, why: str) -> UsageError:
    return UsageError(
        f"a {type(value).__name__} cannot be written to the target {path.name}: {why}",
        hint=f"return what fits that ending, or choose another one: {', '.join(ENDINGS)}",
    )


def _write_raw(value: object, draft: Path, path: Path) -> None:
    if isinstance(value, str):
        draft.write_bytes(value.encode())
    elif isinstance(value, bytes | bytearray | memoryview):
        draft.write_bytes(value)
    else:
        raise _unfit(value, path, "only text and bytes go there as they are")


def _write_json(value: object, draft: Path, path: Path) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unfit(value, path, str(error)) from error
    draft.write_text(text + "\n", encoding="utf-8")


def _write_pickle(value: object, draft: Path, path: Path) -> None:
    try:
        data = pickle.dumps(value, protocol=5)
    except Exception as error:  # the border to every class's own __reduce__
        raise _unfit(value, path, str(error)) from error
    draft.write_bytes(data)


def _write_npy(value: object, draft: Path, path: Path) -> None:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, numpy.ndarray) or value.dtype.hasobject:
        raise _unfit(value, path, "it is no array of plain numbers or text")
    numpy.save(draft, value, allow_pickle=False)


def _write_npz(value: object, draft: Path, path: Path) -> None:
    numpy: Any = sys.modules.get("numpy")
    arrays = numpy is not None and isinstance(value, dict)
    if not arrays or not all(isinstance(a, numpy.ndarray) and not a.dtype.hasobject for a in value.values()):  # type: ignore[attr-defined]
        raise _unfit(value, path, "it is no dict of arrays of plain numbers or text")
    numpy.savez(draft, **value)  # type: ignore[arg-type]


def _tabular(method: str, other: str) -> Callable[[object, Path, Path], None]:
    """A table's own method: of pandas (an index that only counts is left out), or of polars."""

    def write(value: object, draft: Path, path: Path) -> None:
        pandas: Any = sys.modules.get("pandas")
        options: dict[str, Any] = {}
        write = getattr(value, other, None) if type(value).__module__.startswith("polars") else None
        if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
            write = getattr(value, method, None)
            if method == "to_csv":
                options["index"] = not isinstance(value.index, pandas.RangeIndex)
        if write is None:
            raise _unfit(value, path, "it is no table")
        try:
            write(draft, **options)
        except ImportError as error:
            raise _unfit(value, path, str(error).splitlines()[0]) from error
        except (ValueError, TypeError) as error:
            raise _unfit(value, path, str(error)) from error

    return write


_WRITERS: dict[str, Callable[[object, Path, Path], None]] = {
    ".json": _write_json,
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".csv": _tabular("to_csv", "write_csv"),
    ".parquet": _tabular("to_parquet", "write_parquet"),
    ".pkl": _write_pickle,
    ".pickle": _write_pickle,
}

ENDINGS = (*_WRITERS, "any other for text and bytes")
