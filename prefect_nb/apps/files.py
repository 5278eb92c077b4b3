"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from prefect_nb.errors import NotebookError

__all__ = ["draft_of", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Write a file so that the path always holds a whole one.

    Raises
    ------
    NotebookError
        If it cannot be written.
    """
    draft = draft_of(path)
    try:
        try:
            # Half of a surrogate pair cannot be encoded; as an escape it means the same to JSON.
            draft.write_bytes(text.encode("utf-8", "backslashreplace"))
            os.replace(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
    except OSError as error:
        raise NotebookError(
            f"{path} cannot be written: {error.strerror}",
            hint="make room or name another output; the run itself is recorded, --resume goes on with it",
            path=str(path),
        ) from error


def draft_of(path: Path) -> Path:
    """A name beside a file for what is not finished yet."""
    return path.parent / f".{path.name[:100]}.{secrets.token_hex(4)}.part"
