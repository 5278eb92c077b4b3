"""Worker processes: started when one is needed, kept for the next body, ended with everything that belongs to them.

Each is a session and process group of its own, started anew and never forked from this process, whose threads would not
survive that. Knows processes, pipes and signals; must not know bodies.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading

from prefect_nb.analysis.watch import unseen
from prefect_nb.executors.line import Inbox

__all__ = ["Pool", "WorkerProcess"]

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = (
    "import sys; sys.path[:] = sys.argv.pop(1).splitlines(); "
    "from prefect_nb.executors.worker import main; main(sys.argv[1:])"
)
_GUARDIAN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guardian.py")


class WorkerProcess:
    """One worker as seen from here: its process, its line, and what it prints past us."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        command = [
            sys.executable,
            "-P",
            "-X",
            "faulthandler",
            "-c",
            _BOOT,
            "\n".join([*sys.path, _ROOT]),
            str(theirs.fileno()),
        ]
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.line = ours
        ours.setblocking(False)
        self.inbox = Inbox(ours)
        self.pipes: dict[int, str] = {}
        for pipe, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr")):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self.pipes[pipe.fileno()] = name
        self.used = False
        self._lock = threading.Lock()
        self.sentinel = -1  # readable once the process has ended; a forked child cannot hold it back
        with contextlib.suppress(AttributeError, OSError):
            self.sentinel = os.pidfd_open(self.pid)

    def ended(self) -> bool:
        """Whether the process has ended; it stays to be waited for, so that its number is not given away."""
        if self.sentinel < 0:
            return self._process.poll() is not None
        poll = select.poll()
        poll.register(self.sentinel, select.POLLIN)
        return bool(poll.poll(0))

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group, unless it was buried."""
        with self._lock, contextlib.suppress(OSError):
            if self.line.fileno() >= 0:
                os.killpg(self.pid, number)

    def bury(self) -> int:
        """Kill what is left of the group and wait for the process; its exit code, negative for a signal."""
        with self._lock:
            if self.line.fileno() < 0:
                return self._process.wait()
            if self._process.returncode is None or self.sentinel >= 0:
                with contextlib.suppress(OSError):
                    os.killpg(self.pid, signal.SIGKILL)
            code = self._process.wait()
            self.line.close()
            for pipe in (self._process.stdout, self._process.stderr):
                assert pipe is not None
                pipe.close()
            if self.sentinel >= 0:
                os.close(self.sentinel)
                self.sentinel = -1
            return code


class Pool:
    """The worker processes of this process; safe from any thread.

    Parameters
    ----------
    spare : int
        How many idle workers are kept for later.
    """

    def __init__(self, spare: int) -> None:
        self._spare = spare
        self._lock = threading.Lock()
        self._idle: list[WorkerProcess] = []
        self._all: set[WorkerProcess] = set()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()
        atexit.register(self.close)

    def take(self, *, fresh: bool = False) -> WorkerProcess:
        """A worker, started now if none is idle or a `fresh` one is wanted; an idle one may have died meanwhile.

        Raises
        ------
        OSError
            If the system cannot start one.
        """
        with self._lock:
            if self._idle and not fresh:
                worker = self._idle.pop()
                worker.used = True
                return worker
        with unseen():  # that it starts processes says nothing about the body
            worker = WorkerProcess()
        with self._lock, unseen():
            self._all.add(worker)
            self._guard(f"+{worker.pid}\n")
        return worker

    def give_back(self, worker: WorkerProcess) -> None:
        """A worker that is ready for another body."""
        with self._lock:
            if len(self._idle) < self._spare and worker in self._all:
                self._idle.append(worker)
                return
        self.end(worker)

    def end(self, worker: WorkerProcess) -> int:
        """End a worker and all that belongs to it; its exit code."""
        with unseen(), self._lock:
            return self._bury(worker)

    def close(self) -> None:
        """End all workers."""
        if os.getpid() != self._pid:  # a forked child: they are not its own
            return
        with unseen(), self._lock:
            self._idle.clear()
            for worker in list(self._all):
                self._bury(worker)
            guardian, self._guardian = self._guardian, None
            if guardian is not None and guardian.stdin is not None:
                guardian.stdin.close()
                guardian.wait()

    def _bury(self, worker: WorkerProcess) -> int:
        code = worker.bury()
        if worker in self._all:
            self._all.remove(worker)
            self._guard(f"-{worker.pid}\n")
        return code

    def _guard(self, word: str) -> None:
        """Tell the guardian; a new one, told of all, if there is none or it was ended."""
        guardian = self._guardian
        if guardian is not None and guardian.poll() is None:
            with contextlib.suppress(OSError):
                assert guardian.stdin is not None
                guardian.stdin.write(word.encode())
                return
        if not self._all:
            return
        guardian = self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", _GUARDIAN, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        assert guardian.stdin is not None
        guardian.stdin.write("".join(f"+{worker.pid}\n" for worker in self._all).encode())
