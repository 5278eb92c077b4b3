"""Why the body of a flow does not go on in this process though its run has not ended."""

from __future__ import annotations

__all__ = ["Parked", "Unattended"]


class Parked(BaseException):
    """The run was paused as a whole: its flow's body does not go on in this process."""


class Unattended(BaseException):
    """Nothing goes on until a person says something, and nobody here wants to wait for that."""
