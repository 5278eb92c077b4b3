"""What leaves a kernel, without the values that must not: every message to the page, and every stream.

Knows a kernel's session and IPython's events; must not know which values there are. Nothing is changed until the first
secret is revealed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from prefect_nb.analysis import redaction
from prefect_nb.authoring import taps

__all__ = ["guard", "revealed"]

_ECHO = "_original_stdstream_copy"


def guard() -> None:
    """See to it that no text leaves this process unseen; does nothing the second time."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    taps.install(shell)
    session: Any = getattr(getattr(shell, "kernel", None), "session", None)
    if shell is None or session is None or isinstance(session.send, _Send):
        return
    session.send = _Send(session.send)
    shell.events.register("post_execute", taps.release)
    for stream in (sys.stdout, sys.stderr):
        # What other programs write is repeated, byte by byte, where the kernel was started: on a server's terminal.
        if getattr(stream, "watch_fd_thread", None) is not None and hasattr(stream, _ECHO):
            setattr(stream, _ECHO, os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC))


def revealed(name: str, value: str) -> None:
    """A secret was asked for its value, here or in a process that works for this one."""
    redaction.register(name, value)
    guard()


class _Send:
    """Stands in for the session's ``send``, through which streams, displays, errors, replies and comms go."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __call__(self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(msg_or_type, dict) and "content" in msg_or_type:
            msg_or_type = {**msg_or_type, "content": redaction.redacted(msg_or_type["content"])}
        return self._original(stream, msg_or_type, redaction.redacted(content), *args, **kwargs)
