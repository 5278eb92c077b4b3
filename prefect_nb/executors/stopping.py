"""What a body hears of a stop, and what its caller hears of a body whose process vanished. Knows nothing else."""

from __future__ import annotations

__all__ = ["BodyLost", "BodyStopped", "Unfit"]


class BodyStopped(BaseException):
    """Raised in a body because somebody asked it to stop; ``except Exception`` must not swallow it."""


class BodyLost(BaseException):
    """The process that ran the body alone vanished.

    Parameters
    ----------
    message : str
        How, for people.
    code : int
        How it ended as the system tells it; negative: the number of a signal.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class Unfit(Exception):
    """A body says before its first line that this process cannot run it; a fresh one may."""
