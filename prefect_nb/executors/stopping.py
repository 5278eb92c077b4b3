"""What a body hears of a stop. Knows nothing else."""

from __future__ import annotations

__all__ = ["BodyStopped"]


class BodyStopped(BaseException):
    """Raised in a body because somebody asked it to stop; ``except Exception`` must not swallow it."""
