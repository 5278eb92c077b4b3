"""The line between this process and one worker process: frames of a kind and some buffers, on a socket.

Both ends are this package under the same interpreter. Large buffers are sent from where they lie and received into
memory of their own, so that what is unpickled over them can be written to. Standard library only.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["ANSWER", "ASK", "BEGUN", "ERROR", "RUN", "STDERR", "STDOUT", "STOPPED", "TELL", "VALUE", "Frame", "Inbox"]

RUN, ANSWER = b"R", b"A"
"""To the worker: a body, and what it asked for."""
BEGUN, STDOUT, STDERR, TELL, ASK, VALUE, ERROR, STOPPED = b"b", b"o", b"e", b"t", b"q", b"v", b"x", b"s"
"""From the worker: the body begins, prints, tells, asks; and its one end."""

_HEAD = struct.Struct("<cI")
_SIZE = struct.Struct("<Q")


class Frame(NamedTuple):
    """One message."""

    kind: bytes
    parts: Sequence[bytes | bytearray | memoryview]

    def buffers(self) -> list[memoryview]:
        """What goes over the line, in order."""
        parts = [memoryview(part).cast("B") for part in self.parts]
        head = _HEAD.pack(self.kind, len(parts)) + b"".join(_SIZE.pack(part.nbytes) for part in parts)
        return [memoryview(head), *(part for part in parts if part.nbytes)]


class Inbox:
    """Frames out of what a socket delivers, in whatever pieces.

    Parameters
    ----------
    line : socket
        Where from; may be blocking or not.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._kind = b""
        self._sizes: list[int] | None = None
        self._parts: list[bytearray] = []
        self._target = bytearray(_HEAD.size)
        self._filled = 0

    def read(self) -> Frame | None:
        """Take in what is there: the next frame, None if it is not complete yet.

        Raises
        ------
        EOFError
            If the other end is gone.
        """
        while True:
            while self._filled < len(self._target):
                try:
                    count = self._line.recv_into(memoryview(self._target)[self._filled :])
                except BlockingIOError:
                    return None
                except ConnectionError as error:
                    raise EOFError from error
                if not count:
                    raise EOFError
                self._filled += count
            if (frame := self._next()) is not None:
                return frame

    def _next(self) -> Frame | None:
        """The part that was read is whole: set out for the next one, or hand the frame over."""
        if not self._kind:
            self._kind, count = _HEAD.unpack(self._target)
            self._aim(_SIZE.size * count)
            return None
        if self._sizes is None:
            self._sizes = [size for (size,) in _SIZE.iter_unpack(self._target)]
        else:
            self._parts.append(self._target)
        if len(self._parts) < len(self._sizes):
            self._aim(self._sizes[len(self._parts)])
            return None
        frame = Frame(self._kind, self._parts)
        self._kind, self._sizes, self._parts = b"", None, []
        self._aim(_HEAD.size)
        return frame

    def _aim(self, size: int) -> None:
        self._target, self._filled = bytearray(size), 0
