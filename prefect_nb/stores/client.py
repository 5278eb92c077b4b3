"""The kernel's end of the pipe to its store's owner process: start it, ask it, start it again when it dies.

Knows processes, pipes and futures; must not know what is asked. Requests are numbered; what was not answered when an
owner died is sent again to the next one, which answers from its record what had been applied.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any

from prefect_nb.errors import StoreError
from prefect_nb.stores import codec
from prefect_nb.stores.frames import Unpacker, pack
from prefect_nb.stores.place import explain_os_error, prepare

__all__ = ["OwnerClient"]

# The package's own __init__ is left out on purpose: the owner needs none of what a notebook needs.
_BOOT = (
    "import sys, types; p = types.ModuleType('prefect_nb'); p.__path__ = [sys.argv[1]]; sys.modules['prefect_nb'] = p; "
    "from prefect_nb.stores.owner import main; main(sys.argv[2:])"
)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LOG_LIMIT = 1 << 20
_PIPE = 1 << 20
_FRUITLESS = 5
_END_S = 35.0


class _Request:
    __slots__ = ("frame", "future", "op")

    def __init__(self, op: str, frame: bytes) -> None:
        self.op = op
        self.frame = frame
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()


class OwnerClient:
    """A running owner process and what it has been asked.

    Parameters
    ----------
    directory, results : str
        Of the store, and of the result files.
    on_signal : callable
        Given each wish's row, on the reading thread.
    on_restart : callable
        What to tell a new owner before anything else: unanswered operations.
    on_change : callable
        Called on the reading thread when somebody else wrote, or the owner was started anew.
    """

    def __init__(
        self,
        directory: str,
        results: str,
        on_signal: Callable[[tuple[Any, ...]], None],
        on_restart: Callable[[], Iterable[tuple[str, tuple[Any, ...]]]],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._arguments = [directory, os.urandom(8).hex(), str(os.getpid()), results]
        self._on_signal = on_signal
        self._on_restart = on_restart
        self._on_change = on_change
        self.changes = 0  # how often the owner said that somebody else wrote, or was started anew
        self.commits = 0  # transactions with an append that the owner answered; each was synced to the disk once
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._pending: dict[int, _Request] = {}
        self._outbox: deque[memoryview] = deque()
        self._numbers = 0
        self._closing = False
        self._broken: StoreError | None = None
        self._fruitless = 0
        self._writer: threading.Thread | None = None
        prepare(directory)
        self._process, self.network, self._unpacker = self._start()
        self._reader = threading.Thread(target=self._read, name="prefect_nb-store-reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The owner's process id."""
        return self._process.pid

    def request(self, op: str, args: tuple[Any, ...]) -> Future[Any]:
        """Ask; the future gets the answer, or the store's error."""
        self._refuse_fork()
        with self._lock:
            if self._broken is not None or self._closing:
                raise self._broken or self._closed()
            self._numbers += 1
            request = _Request(op, pack((self._numbers, op, args)))
            self._pending[self._numbers] = request
            self._post(request.frame)
        return request.future

    def ask(self, op: str, args: tuple[Any, ...]) -> Any:
        """Ask and wait."""
        if threading.current_thread() is self._reader:
            raise StoreError(
                f"{op} was asked from the callback of an append, which would wait for itself",
                hint="hand the answer to a queue of your own, and ask from there",
            )
        return self.request(op, args).result()

    def tell(self, op: str, *args: Any) -> None:
        """Say something that has no answer."""
        self._refuse_fork()
        with self._lock:
            self._post(pack((0, op, args)))

    def close(self) -> None:
        """Wait for the answers, then end the owner; a second call, or one in a forked child, does nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._closing:
                return
            open_futures = [request.future for request in self._pending.values()]
        wait(open_futures)
        with self._lock:
            self._closing = True
            self._wake.notify_all()
            self._hang_up()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:  # it waits for a lock that somebody holds; what it answered is safe
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._writer is not None:
            self._writer.join()

    def _refuse_fork(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                f"the store {self._directory} was used from a forked child (process {os.getpid()})",
                hint="do the work in the child, and record it in the parent",
                path=self._directory,
            )

    def _closed(self) -> StoreError:
        return StoreError(f"the store {self._directory} is closed", hint="open it again", path=self._directory)

    # --- starting ---

    def _start(self) -> tuple[subprocess.Popen[bytes], str, Unpacker]:
        log = os.path.join(self._directory, "owner.log")
        try:
            size = os.path.getsize(log) if os.path.exists(log) else 0
            kind = os.O_TRUNC if size > _LOG_LIMIT else os.O_APPEND
            with open(os.open(log, os.O_WRONLY | os.O_CREAT | kind, 0o600), "wb") as errors:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-S", "-s", "-c", _BOOT, _PACKAGE, *self._arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    bufsize=0,
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            raise explain_os_error(error, log) from error
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        _widen(process.stdin.fileno())
        unpacker = Unpacker()
        status, payload = _first_word(process, unpacker)
        if status == "hello":
            return process, payload, unpacker
        process.stdin.close()
        code = process.wait()
        if status == "failed":
            raise codec.error_from_wire(payload)
        raise StoreError(
            f"the process that owns the store {self._directory} ended at once (exit code {code})",
            hint=f"its last words are in {log}",
            path=self._directory,
        )

    def _restart(self) -> bool:
        """Start a new owner after the old one died, and queue everything unanswered for it."""
        with self._lock:
            self._hang_up()
            self._process.wait()
            self._fruitless += 1
            try:
                if self._closing:
                    raise self._closed()
                if self._fruitless > _FRUITLESS:
                    raise StoreError(
                        f"the process that owns the store {self._directory} dies again and again",
                        hint=f"see {os.path.join(self._directory, 'owner.log')}, then restart the kernel",
                        path=self._directory,
                    )
                self._process, self.network, self._unpacker = self._start()
                self.changes += 1
            except StoreError as error:
                self._broken = error
                lost, self._pending = list(self._pending.values()), {}
            else:
                first = [pack((0, op, args)) for op, args in self._on_restart()]
                self._outbox.extend(memoryview(frame) for frame in first)
                self._outbox.extend(memoryview(request.frame) for request in self._pending.values())
                self._call_writer()
                return True
        for request in lost:
            request.future.set_exception(self._broken)
        return False

    def _hang_up(self) -> None:
        self._outbox.clear()
        assert self._process.stdin is not None
        self._process.stdin.close()

    # --- writing ---

    def _post(self, frame: bytes) -> None:
        rest = memoryview(frame)
        if not self._outbox:
            # Written by the caller: handing over to a thread could cost a turn of the interpreter's lock.
            rest = self._push(rest)
        if rest:
            self._outbox.append(rest)
            self._call_writer()

    def _push(self, rest: memoryview) -> memoryview:
        assert self._process.stdin is not None
        try:
            while rest:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
        except BlockingIOError:
            return rest
        except (OSError, ValueError):
            return memoryview(b"")  # the owner is gone; the reader notices and sends everything again
        return rest

    def _call_writer(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="prefect_nb-store-writer", daemon=True)
            self._writer.start()
        self._wake.notify()

    def _write(self) -> None:
        while True:
            with self._wake:
                while not self._outbox and not self._closing:
                    self._wake.wait()
                if not self._outbox:
                    return
                self._outbox[0] = self._push(self._outbox[0])
                if not self._outbox[0]:
                    self._outbox.popleft()
                    continue
                assert self._process.stdin is not None
                waiting = os.dup(self._process.stdin.fileno())
            try:
                select.select([], [waiting], [], 1.0)
            finally:
                os.close(waiting)

    # --- reading ---

    def _read(self) -> None:
        while True:
            assert self._process.stdout is not None
            try:
                data = os.read(self._process.stdout.fileno(), 1 << 16)
            except OSError:
                data = b""
            if not data:
                self._process.stdout.close()
                if not self._restart():
                    return
                continue
            for answers in self._unpacker.feed(data):
                asked = (self._pending.get(n) for n, _, _ in answers)
                self.commits += any(request is not None and request.op == "append" for request in asked)
                for n, status, payload in answers:
                    self._deliver(n, status, payload)

    def _deliver(self, n: int, status: str, payload: Any) -> None:
        if status == "signal":
            self._on_signal(payload)
            return
        if status == "changed":
            self.changes += 1
            self._on_change()
            return
        with self._lock:
            self._fruitless = 0
            request = self._pending.pop(n, None)
        if request is None:
            return
        try:
            value = codec.answer_from_wire(request.op, status, payload)
        except StoreError as error:
            request.future.set_exception(error)
        else:
            request.future.set_result(value)


def _widen(fd: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE)


def _first_word(process: subprocess.Popen[bytes], unpacker: Unpacker) -> tuple[str, Any]:
    assert process.stdout is not None
    while data := os.read(process.stdout.fileno(), 1 << 16):
        for answers in unpacker.feed(data):
            _, status, payload = answers[0]
            return status, payload
    return "", None
