"""Programs that take turns: each has a thread of its own, but only the one that was called on runs.

Whoever holds the turn hands it back by :meth:`Player.wait`; so the order of everything follows from the choices of one
seeded generator, and a program can be frozen, or end, at every place where it waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Killed", "Player"]


class Killed(BaseException):
    """The process of this program was killed; nothing may catch it."""


class Player:
    """A program that runs when it is called on.

    Parameters
    ----------
    program : callable
        Gets the player, by which it waits.
    """

    def __init__(self, program: Callable[[Player], None]) -> None:
        self._program = program
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._until: Callable[[], bool] = lambda: True
        self._killed = False
        self.over = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether it has anything to do."""
        return not self.over and self._until()

    def turn(self) -> None:
        """Let it run until it waits again; raises what it raised."""
        self._go.release()
        self._back.acquire()
        if self.error is not None:
            raise self.error

    def wait(self, until: Callable[[], bool] = lambda: True) -> None:
        """Hand the turn back; called by the program itself. Goes on when it is called on after `until` holds."""
        self._until = until
        self._back.release()
        self._go.acquire()
        if self._killed:
            raise Killed

    def kill(self) -> None:
        """End it where it waits."""
        if not self.over:
            self._killed = True
            self.turn()
        self._thread.join()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._killed:
                self._program(self)
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        self.over = True
        self._back.release()
