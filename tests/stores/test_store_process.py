"""The owner process: groups, deaths on either side of the pipe, and its end."""

from __future__ import annotations

import marshal
import os
import signal
import sqlite3
import subprocess
import sys
from queue import Empty, SimpleQueue

import pytest
from store_parts import PATIENCE_S, in_another_process, wait_for_end

from prefect_nb.core.events import RunAttached
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import StoreCorrupt, StoreError
from prefect_nb.protocols import Commit, Expect, Signal
from prefect_nb.stores.place import FileLock
from prefect_nb.testing import opening, planning, visit_row

A = VisitId("a")


def attached(n: int) -> Commit:
    """An append that tells which one it is."""
    return Commit("r1", events=(RunAttached(at=float(n), worker="w"),))


def test_what_arrives_together_is_committed_together(start, folder):
    """Appends that pile up while the owner cannot work share one transaction."""
    store = start()
    store.append(opening()).result(PATIENCE_S)
    before = store.commits
    os.kill(store.owner_pid, signal.SIGSTOP)
    futures = [store.append(attached(n)) for n in range(200)]
    os.kill(store.owner_pid, signal.SIGCONT)
    assert [future.result(PATIENCE_S).seq for future in futures] == list(range(2, 202))
    assert store.commits == before + 1
    with sqlite3.connect(folder / "state.db") as c:
        answers = marshal.loads(c.execute("SELECT answers FROM writer").fetchone()[0])
    assert len(answers) == 200


def test_kill_of_the_owner_loses_and_doubles_nothing(start, open_here):
    """However often the owner is killed in a burst, every append is applied once, in order."""
    store = start()
    futures = [store.append(opening())]
    for n in range(1, 501):
        futures.append(store.append(attached(n)))
        if n % 100 == 50:
            futures[-40].result(PATIENCE_S)
            os.kill(store.owner_pid, signal.SIGKILL)
    assert [future.result(PATIENCE_S).seq for future in futures] == list(range(1, 502))
    reader = open_here()
    assert [event.at for _, event in reader.events("r1", after=1)] == [float(n) for n in range(1, 501)]
    assert reader.check() == []


def test_requests_larger_than_the_pipe_arrive(start):
    """Appends beyond the room of the pipe wait in the kernel, return at once, and keep their order."""
    store = start()
    store.append(opening()).result(PATIENCE_S)
    os.kill(store.owner_pid, signal.SIGSTOP)
    blob = "x" * 300_000
    futures = [store.append(Commit("r1", events=(RunAttached(at=float(n), worker=blob),))) for n in range(12)]
    assert not any(future.done() for future in futures)
    os.kill(store.owner_pid, signal.SIGCONT)
    assert [future.result(PATIENCE_S).seq for future in futures] == list(range(2, 14))


def test_worker_outlives_its_owner_process(start, open_here):
    """A worker counts as alive across the death and return of the owner process."""
    store = start()
    worker = store.open_worker("kernel", "k")
    store.append(opening(worker=worker)).result(PATIENCE_S)
    other = open_here()
    before = store.owner_pid
    os.kill(before, signal.SIGKILL)
    assert other.alive(worker)
    assert store.alive(worker)
    assert store.owner_pid != before
    lock = FileLock(str(store.location) + f"/workers/{worker}.lock")
    assert not lock.try_acquire()
    lock.close()


KERNEL = """
import os, sys
from pathlib import Path
from prefect_nb.stores.process import ProcessStore
from prefect_nb.testing import opening
store = ProcessStore(Path(sys.argv[1]))
worker = store.open_worker("kernel", "k")
store.append(opening(worker=worker)).result(20)
if os.fork() == 0:
    os.read(int(sys.argv[2]), 1)
    os._exit(0)
print(worker, store.owner_pid, flush=True)
sys.stdin.read()
"""


def test_death_of_the_kernel_is_seen_at_once(open_here, folder):
    """After kill -9 of a kernel its owner ends, its worker is dead its lock free, though a forked child lives."""
    other = open_here()
    gate, hold = os.pipe()
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL, str(folder), str(gate)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[gate],
        text=True,
    )
    try:
        worker, owner = kernel.stdout.readline().split()
        assert other.alive(worker)
        kernel.kill()
        kernel.wait()
        wait_for_end(int(owner))
        assert not other.alive(worker)
        lock = FileLock(str(folder / "workers" / f"{worker}.lock"))
        assert lock.try_acquire()
        lock.close()
        assert other.take_run("r1", "w2", worker)
    finally:
        os.close(hold)
        os.close(gate)
        kernel.kill()
        kernel.stdin.close()
        kernel.stdout.close()


def test_close_ends_the_owner(start):
    """Closing waits for what is open, ends the owner and the worker, and leaves no log behind."""
    store = start()
    worker = store.open_worker("kernel", "k")
    owner = store.owner_pid
    future = store.append(opening(worker=worker))
    store.close()
    wait_for_end(owner)
    assert future.done()
    assert future.result().accepted
    folder = store.location
    assert not os.path.exists(f"{folder}/state.db-wal")
    assert os.listdir(f"{folder}/workers") == []


def test_interpreter_exit_without_close_keeps_what_was_appended(folder, open_here):
    """A process that just ends has its appends recorded and leaves no owner behind."""
    code = (
        "import sys; from pathlib import Path; from prefect_nb.stores.process import ProcessStore\n"
        "from prefect_nb.testing import opening\n"
        "store = ProcessStore(Path(sys.argv[1])); future = store.append(opening()); print(store.owner_pid)"
    )
    wait_for_end(int(in_another_process(code, str(folder))))
    assert open_here().run("r1") is not None


def test_interrupts_do_not_reach_the_owner(start):
    """The owner has a session of its own and ignores the interrupt and hang-up signals."""
    store = start()
    owner = store.owner_pid
    assert os.getsid(owner) == owner
    os.kill(owner, signal.SIGINT)
    os.kill(owner, signal.SIGHUP)
    assert store.append(opening()).result(PATIENCE_S).accepted
    assert store.owner_pid == owner


def test_forked_child_is_refused(start):
    """A child that user code forked gets an error of ours instead of the parent's pipe."""
    store = start()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        found = [type(store.append(opening()).exception(1)).__name__]
        try:
            store.runs()
        except StoreError as error:
            found.append(error.message)
        store.close()
        os.write(write, "\n".join(found).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with open(read) as file:
        told = file.read()
    assert told.startswith("StoreError\nthe store ")
    assert "forked child" in told
    assert store.append(opening()).result(PATIENCE_S).accepted


def test_two_processes_append_to_one_run(start):
    """Appends of two kernels interleave without gaps, and only one of two claims is accepted."""
    one, two = start(), start()
    one.append(opening()).result(PATIENCE_S)
    one.append(planning(A)).result(PATIENCE_S)
    futures = [store.append(attached(n)) for n in range(150) for store in (one, two)]
    seqs = sorted(future.result(PATIENCE_S).seq for future in futures)
    assert seqs == list(range(3, 303))
    row = visit_row(A, version=2, token=1, type="RUNNING")
    claims = [store.append(Commit("r1", expect=(Expect(A, 1, 0),), visit_rows=(row,))) for store in (one, two)]
    assert sorted(claim.result(PATIENCE_S).accepted for claim in claims) == [False, True]
    assert one.check() == []


def test_wishes_reach_the_owner_of_the_run_only(start, open_here):
    """A wish goes to the session whose worker owns the run, also when another one watches, and after a restart."""
    owner, watcher = start(), start()
    worker = owner.open_worker("kernel", "one")
    watcher.open_worker("kernel", "two")
    owner.append(opening(worker=worker)).result(PATIENCE_S)
    mine: SimpleQueue[Signal] = SimpleQueue()
    wrong: SimpleQueue[Signal] = SimpleQueue()
    watcher.watch("r1", wrong.put)
    owner.watch("r1", mine.put)
    cli = open_here()
    cli.signal(Signal("r1", "cancel", "a"))
    assert mine.get(timeout=PATIENCE_S).kind == "cancel"
    os.kill(owner.owner_pid, signal.SIGKILL)
    cli.signal(Signal("r1", "skip", "a"))
    assert mine.get(timeout=PATIENCE_S).kind == "skip"
    for queue in (mine, wrong):
        with pytest.raises(Empty):
            queue.get(timeout=0.12)


def test_asking_from_an_append_callback_is_refused(start):
    """A blocking question on the reading thread would wait for itself, so it is an error."""
    store = start()
    answers: SimpleQueue[object] = SimpleQueue()

    def ask(_):
        try:
            answers.put(store.runs())
        except StoreError as error:
            answers.put(error.message)

    os.kill(store.owner_pid, signal.SIGSTOP)
    store.append(opening()).add_done_callback(ask)
    os.kill(store.owner_pid, signal.SIGCONT)
    assert "wait for itself" in answers.get(timeout=PATIENCE_S)


def test_a_store_damaged_under_a_dying_owner_is_reported(start, folder):
    """When no new owner can open the store, everything unanswered gets the reason, and so does what follows."""
    store = start()
    store.append(opening()).result(PATIENCE_S)
    os.kill(store.owner_pid, signal.SIGSTOP)
    futures = [store.append(attached(n)) for n in range(3)]
    for name in ("state.db", "state.db-wal"):
        (folder / name).write_bytes(b"garbage " * 1000)
    os.kill(store.owner_pid, signal.SIGKILL)
    for future in [*futures, store.append(attached(4))]:
        assert isinstance(future.exception(PATIENCE_S), StoreCorrupt)
    with pytest.raises(StoreCorrupt):
        store.runs()


def test_an_owner_that_dies_before_every_answer_is_given_up(start):
    """A request that kills each owner ends in an error that names the log, not in an endless loop."""
    store = start()
    with pytest.raises(StoreError, match=r"dies again and again(.|\n)*owner\.log"):
        store._ask("a question that no owner knows")
    with open(f"{store.location}/owner.log") as log:
        assert "KeyError" in log.read()
    with pytest.raises(StoreError, match="dies again and again"):
        store.runs()


def test_owner_starts_light():
    """The owner's process loads nothing that a kernel would have to wait for."""
    code = (
        "import sys, types; p = types.ModuleType('prefect_nb'); p.__path__ = [sys.argv[1]]\n"
        "sys.modules['prefect_nb'] = p; import prefect_nb.stores.owner; print(*sys.modules)"
    )
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/prefect_nb"
    run = subprocess.run(
        [sys.executable, "-P", "-S", "-s", "-c", code, package], capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split())
    assert "sqlite3" in loaded
    heavy = {"dataclasses", "inspect", "json", "asyncio", "subprocess", "threading", "pathlib", "pickle", "IPython"}
    assert not loaded & heavy
