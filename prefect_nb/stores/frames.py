"""Messages on the pipe between a store's client and its owner process: a length, then marshalled plain data.

Both ends are this package under the same interpreter, on a pipe that nobody else holds. Standard library only.
"""

from __future__ import annotations

import marshal
from typing import Any

__all__ = ["Unpacker", "pack"]

_HEAD = 4


def pack(message: Any) -> bytes:
    """One frame."""
    body = marshal.dumps(message)
    return len(body).to_bytes(_HEAD, "little") + body


class Unpacker:
    """Turns whatever pieces a pipe delivers into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages completed by `data`."""
        rest = self._rest
        rest += data
        found = []
        at = 0
        while len(rest) - at >= _HEAD:
            end = at + _HEAD + int.from_bytes(rest[at : at + _HEAD], "little")
            if len(rest) < end:
                break
            found.append(marshal.loads(rest[at + _HEAD : end]))
            at = end
        if at:
            del rest[:at]
        return found
