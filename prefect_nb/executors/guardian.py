"""A small process that sees to it that no worker, and nothing that a body started, outlives the process they work for.

It is told the process groups on its standard input and waits for the end of its parent, however that comes (kill -9,
a crash); then it kills the groups. It must not be one of them, imports nothing of ours and runs as a plain file.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

__all__ = ["main"]

_LOOK_MS = 1000


def main(parent: int) -> None:
    """Guard until the parent's end."""
    for heard in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(heard, signal.SIG_IGN)
    groups: set[int] = set()
    poll = select.poll()
    poll.register(0, select.POLLIN)
    # A child that the parent forked keeps the pipe open after the parent's end: watch the process itself too.
    with contextlib.suppress(AttributeError, OSError):
        poll.register(os.pidfd_open(parent), select.POLLIN)
    rest = b""
    while os.getppid() == parent:
        for descriptor, _ in poll.poll(_LOOK_MS):
            data = os.read(0, 1 << 16) if descriptor == 0 else b""
            if not data:
                _kill(groups)
                return
            *words, rest = (rest + data).split(b"\n")
            for word in words:
                number = int(word[1:])
                groups.add(number) if word[:1] == b"+" else groups.discard(number)
    _kill(groups)


def _kill(groups: set[int]) -> None:
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
