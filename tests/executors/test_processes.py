"""The process executor does what every executor must; a body that dies, dies alone, and nothing of it is left."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pytest

from prefect_nb.executors.processes import ProcessExecutor
from prefect_nb.executors.stopping import BodyLost, BodyStopped, Unfit
from prefect_nb.protocols import Executor
from prefect_nb.testing import EXECUTOR_CHECKS

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessExecutor]:
    """One executor for the tests that leave it as it was."""
    executor = ProcessExecutor(2, grace_s=0.5)
    yield executor
    executor.close(patience_s=PATIENCE_S)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is only waited for does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(pid: int) -> bool:
    """Wait for the end of a process."""
    limit = time.monotonic() + PATIENCE_S
    while alive(pid) and time.monotonic() < limit:
        threading.Event().wait(0.005)
    return not alive(pid)


def appears(path: Path) -> str:
    """Wait for a file with a line; the line."""
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        with suppress(FileNotFoundError):
            if (text := path.read_text()).endswith("\n"):
                return text.strip()
        threading.Event().wait(0.002)
    raise AssertionError(f"{path.name} never came")


@pytest.mark.parametrize("check", EXECUTOR_CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check: Callable[[Executor], None]) -> None:
    """Each check of the conformance suite holds."""
    executor = ProcessExecutor(2, grace_s=0.3)
    try:
        check(executor)
    finally:
        executor.close(patience_s=PATIENCE_S)


def quits() -> None:
    os._exit(7)


def segfaults() -> None:
    ctypes.string_at(0)


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


DEATHS = {
    "exit": (quits, 7, "by itself with exit code 7"),
    "segfault": (segfaults, -11, "signal 11 (SIGSEGV)"),
    "kill": (is_killed, -9, "signal 9 (SIGKILL); the system may have run out of memory"),
}


@pytest.mark.parametrize(("body", "code", "words"), DEATHS.values(), ids=DEATHS)
def test_a_body_that_ends_its_process_is_lost_alone(
    body: Callable[[], None], code: int, words: str, shared: ProcessExecutor
) -> None:
    """Its death is told at once and by its name, and the next body runs."""
    began = time.monotonic()
    with redirect_stderr(io.StringIO()), pytest.raises(BodyLost) as lost:
        shared.guarded("a", body)
    assert (lost.value.code, words in lost.value.message) == (code, True), lost.value.message
    assert time.monotonic() - began < 10
    assert shared.guarded("b", lambda: 5) == 5


def test_a_death_is_noticed_though_a_child_holds_the_line(shared: ProcessExecutor) -> None:
    """A child that the body forked keeps every descriptor open; the death is noticed, and the child does not stay."""

    def forks() -> None:
        child = os.fork()
        if not child:
            signal.pause()
        print(child, flush=True)
        os._exit(3)

    shown = io.StringIO()
    with redirect_stdout(shown), pytest.raises(BodyLost):
        shared.guarded("a", forks)
    assert gone(int(shown.getvalue()))


def test_what_died_while_it_was_idle_is_no_crash(shared: ProcessExecutor) -> None:
    """A worker that somebody killed between two bodies is replaced without a word."""
    pid = shared.guarded("a", os.getpid)
    os.kill(pid, signal.SIGKILL)
    assert shared.guarded("b", os.getpid) != pid


def test_a_stop_ends_the_whole_group_after_its_grace(tmp_path: Path, shared: ProcessExecutor) -> None:
    """A body that blocks TERM in C, and its child that ignores it, run until the grace is over, and not longer."""

    def body() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 100"])
        Path(tmp_path, "pids").write_text(f"{os.getpid()} {child.pid}\n")
        time.sleep(100)

    ends: list[type] = []

    def job() -> None:
        try:
            shared.guarded("a", body)
        except BaseException as error:
            ends.append(type(error))

    thread = threading.Thread(target=job)
    thread.start()
    pids = [int(word) for word in appears(tmp_path / "pids").split()]
    asked = time.monotonic()
    assert shared.stop("a")
    thread.join(PATIENCE_S)
    assert ends == [BodyStopped]
    assert 0.5 <= time.monotonic() - asked < 5
    assert all(gone(pid) for pid in pids)


def test_a_stop_lets_the_body_put_things_in_order(tmp_path: Path, shared: ProcessExecutor) -> None:
    """A body that hears of the stop runs its last lines, and what it prints then is shown."""

    def body() -> None:
        try:
            Path(tmp_path, "began").write_text("\n")
            time.sleep(100)
        finally:
            print("tidy")

    shown = io.StringIO()

    def job() -> None:
        with suppress(BodyStopped):
            shared.guarded("a", body)

    with redirect_stdout(shown):
        thread = threading.Thread(target=job)
        thread.start()
        appears(tmp_path / "began")
        shared.stop("a")
        thread.join(PATIENCE_S)
    assert shown.getvalue() == "tidy\n"


def test_an_interrupt_of_who_waits_ends_the_body(tmp_path: Path, shared: ProcessExecutor) -> None:
    """Ctrl-C in the thread that waits is raised there, and the body's process has ended by then."""

    def body() -> None:
        Path(tmp_path, "pid").write_text(f"{os.getpid()}\n")
        time.sleep(100)

    def interrupt() -> None:
        appears(tmp_path / "pid")
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        shared.guarded("a", body)
    assert not alive(int((tmp_path / "pid").read_text()))


class Awkward(ConnectionError):
    """It can be pickled neither in its state nor by its arguments."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host} is away")
        self.lock = threading.Lock()


class Demanding(Exception):
    """It can be pickled, and not be made again."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port}")


ERRORS = {"awkward": (Awkward, "here is away", OSError), "demanding": (Demanding, "here:5", Exception)}


@pytest.mark.parametrize(("kind", "said", "base"), ERRORS.values(), ids=ERRORS)
def test_an_error_that_cannot_travel_is_stood_in_for(
    kind: type[Exception], said: str, base: type[Exception], shared: ProcessExecutor
) -> None:
    """Name, bases, words, cause and lines are those of the true one."""

    def body() -> None:
        try:
            {}["missing"]  # type: ignore[index]
        except KeyError as error:
            raise kind("here", 5) from error

    with pytest.raises(base) as caught:
        shared.guarded("a", body)
    error = caught.value
    assert (type(error).__name__, str(error)) == (kind.__name__, said)
    told = "".join(traceback.format_exception(error))
    assert "KeyError: 'missing'" in told
    assert 'raise kind("here", 5) from error' in told
    assert "^" not in told.partition("direct cause")[2].partition("in body")[2]


def test_a_result_that_cannot_travel_is_a_failure(shared: ProcessExecutor) -> None:
    """What cannot be pickled is the body's failure, and says what it was."""
    with pytest.raises(TypeError, match="lock cannot travel between processes"):
        shared.guarded("a", lambda: threading.Lock())


def test_large_values_travel_beside_the_pickle(shared: ProcessExecutor) -> None:
    """Arrays come back whole, and may be written to."""
    numpy = pytest.importorskip("numpy")
    sent = numpy.arange(3_000_000)
    back = shared.guarded("a", lambda: sent + 1)
    assert back.flags.writeable
    assert (back == sent + 1).all()


def test_text_of_c_code_and_children_is_shown_too(shared: ProcessExecutor) -> None:
    """What passes by Python's streams arrives before the body's end is told, also that of a process that dies."""

    def body() -> None:
        os.write(1, "é raw\n".encode())
        subprocess.run(["sh", "-c", "echo child >&2"], check=True)
        os._exit(1)

    shown, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(shown), redirect_stderr(errors), pytest.raises(BodyLost):
        shared.guarded("a", body)
    assert (shown.getvalue(), errors.getvalue()) == ("é raw\n", "child\n")


def test_workers_are_used_again_and_know_nothing_heavy(shared: ProcessExecutor) -> None:
    """The next body runs in the same process, which has imported neither pandas nor what a notebook needs."""
    pid = shared.guarded("a", os.getpid)
    heavy = ("pandas", "numpy", "IPython", "asyncio", "sqlite3", "prefect_nb.authoring", "prefect_nb.engine")
    again, found = shared.guarded("b", lambda: (os.getpid(), [name for name in heavy if name in sys.modules]))
    assert (again, found) == (pid, [])


def leaves_a_thread() -> int:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


def leaves_a_child() -> int:
    print(subprocess.Popen(["sleep", "100"]).pid)
    return os.getpid()


@pytest.mark.parametrize("body", [leaves_a_thread, leaves_a_child])
def test_what_a_body_leaves_running_ends_with_it(body: Callable[[], int], shared: ProcessExecutor) -> None:
    """Threads and children that it started do not run on beside the next body."""
    shown = io.StringIO()
    with redirect_stdout(shown):
        pid = shared.guarded("a", body)
    assert all(gone(int(left)) for left in (pid, *shown.getvalue().split()))


def test_an_unfit_worker_is_replaced_once(tmp_path: Path, shared: ProcessExecutor) -> None:
    """A body that does not want a used process gets a fresh one; where a fresh one does not help, it says why."""
    log = tmp_path / "log"

    def picky() -> int:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        if len(log.read_text().split()) == 1:
            raise Unfit("stale")
        return os.getpid()

    def never() -> None:
        raise Unfit("edited")

    used = shared.guarded("a", os.getpid)
    fresh = shared.guarded("b", picky)
    assert log.read_text().split() == [str(used), str(fresh)]
    assert used != fresh
    with pytest.raises(Unfit, match="edited"):
        shared.guarded("c", never)


ORPHANS = """
import os, signal, subprocess, sys, threading, time
from prefect_nb.executors.processes import ProcessExecutor
executor = ProcessExecutor(2)
def body():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = subprocess.Popen(["sleep", "100"])
    print(os.getpid(), child.pid)
    time.sleep(100)
idle = executor.guarded("idle", os.getpid)
threading.Thread(target=executor.guarded, args=("a", body), daemon=True).start()
if sys.argv[1] == "fork" and not os.fork():
    time.sleep(100)
print(idle, executor._pool._guardian.pid, flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("how", ["kill", "fork"])
def test_no_process_outlives_a_killed_kernel(how: str) -> None:
    """After kill -9 of the process nothing of it is left, idle or busy, though a forked child holds its pipes."""
    kernel = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, how], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert kernel.stdout is not None
        words: list[str] = []
        while len(words) < 4:
            words += kernel.stdout.readline().split()
        os.kill(kernel.pid, signal.SIGKILL)
        assert all(gone(int(word)) for word in words)
    finally:
        os.killpg(kernel.pid, signal.SIGKILL)
        kernel.wait()
