"""Forgetting runs and collecting results, beside others at work and through kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from retention_parts import KEY, LARGE, Ground, Worker, age

from prefect_nb.core.retention import Ended
from prefect_nb.protocols import Commit
from prefect_nb.results.vault import Vault
from prefect_nb.testing.stores import run_row

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def ground(tmp_path):
    """A store, and who prunes it."""
    found = Ground(tmp_path / ".prefect_nb")
    yield found
    found.store.close()


@pytest.fixture
def work(ground):
    """Start a process at work; all end with the test."""
    started = []

    def start(name="one"):
        started.append(Worker(ground.folder, name))
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


def done(worker, run, text, *, key="", type="COMPLETED"):
    """A run with one task, which ended."""
    worker.open(run)
    name = worker.save(text)
    worker.commit(run, "a", key=key)
    worker.end(run, type=type)
    return name


def sized(letter):
    """A value large enough for a file of its own."""
    return letter * LARGE


def test_an_ended_run_goes_with_all_its_rows_and_its_results(ground, work):
    """Once its process is gone, a pruned run leaves no event, row, log or file, and others lose nothing."""
    worker = work()
    record = done(worker, "r1", sized(b"a"))
    kept = done(worker, "r2", sized(b"b"))
    assert ground.forget() == [], "their process still lives"
    worker.stop()
    age(ground.folder, HOUR)
    rehearsed = ground.prune(rehearsal=True, runs=(Ended("r1", "flow", worker.id, 0.0),))
    assert (rehearsed.swept.dropped, rehearsed.freed) == (2, 0)
    assert ground.problems() == []
    assert len(ground.store.runs()) == 2, "a rehearsal forgot a run"
    assert ground.store.prune_run("r1", worker.id)
    got = ground.prune()
    assert got.swept.dropped == 2
    assert got.freed > LARGE
    assert (ground.store.run("r1"), ground.store.visits("r1"), ground.store.events("r1")) == (None, [], [])
    assert ground.store.result(record) is None
    assert ground.store.result(kept) is not None
    assert ground.problems() == []
    assert ground.store.check() == []


@pytest.mark.parametrize("type", ["PAUSED", "RUNNING", "SCHEDULED"])
def test_what_has_not_ended_is_never_forgotten(ground, work, type):
    """A run that is paused, open or waits stays although its process is gone."""
    worker = work()
    worker.open("r1")
    worker.save(sized(b"a"))
    worker.commit("r1", "a")
    if type == "PAUSED":
        worker.end("r1", type=type)
    worker.stop()
    age(ground.folder, 90 * DAY)
    assert not ground.store.prune_run("r1", worker.id)
    ground.prune()
    assert ground.problems() == []


def test_a_run_that_somebody_took_meanwhile_stays(ground, work):
    """Whoever resumes a run between the look and the deletion keeps it."""
    former, heir = work(), work("two")
    done(former, "r1", b"x", type="FAILED")
    former.stop()
    assert ground.store.take_run("r1", heir.id, former.id)
    assert not ground.store.prune_run("r1", former.id)
    assert not ground.store.prune_run("r1", heir.id)
    heir.stop()
    assert ground.store.prune_run("r1", heir.id)


def test_a_result_that_another_run_reused_stays(ground, work):
    """The run that computed a result goes; the run that reused it keeps it, and so does its entry."""
    worker = work()
    done(worker, "r1", sized(b"a"), key="k")
    worker.open("r2")
    assert worker.reuse("r2", "a", "k")
    worker.stop()
    age(ground.folder, HOUR)
    assert ground.store.prune_run("r1", worker.id)
    assert ground.prune().swept.dropped == 0
    assert ground.store.entries(key="k")
    assert ground.problems() == []


@pytest.mark.parametrize(("used", "left"), [(True, 1), (False, 0)])
def test_entries_go_by_age_of_their_last_use(ground, work, used, left):
    """A reusable result that nobody used since the limit goes; one that was used stays however old it is."""
    worker = work()
    done(worker, "r1", b"x", key="k")
    worker.open("r2")
    worker.stop()
    age(ground.folder, 40 * DAY)
    if used:
        other = work("two")
        other.store.result(other.store.entries(key="k")[0].result)
        other.stop()
    ground.prune(before=time.time() - 30 * DAY)
    assert len(ground.store.entries(key="k")) == left
    assert ground.problems() == []


def test_between_the_file_and_its_row(ground, work):
    """What a kernel wrote and has not committed survives every prune, also when the same content was dropped before."""
    worker = work()
    done(worker, "r1", sized(b"a"))
    worker.stop()
    age(ground.folder, 2 * DAY)
    other = work("two")
    other.open("r2")
    other.save(sized(b"a"))  # the file is there already
    other.save(sized(b"b"))
    assert ground.store.prune_run("r1", worker.id)
    ground.prune()
    for text in (sized(b"a"), sized(b"b")):
        other.save(text)
        break
    other.commit("r2", "a")
    ground.prune()
    assert ground.problems() == []


def test_the_same_content_written_again_while_it_is_deleted(ground, work):
    """A file that becomes fresh between the transaction and its deletion is not deleted."""
    worker, other = work(), work("two")
    done(worker, "r1", sized(b"a"))
    worker.stop()
    other.open("r2")
    age(ground.folder, 2 * DAY)
    forget, drop = ground.store.prune_run, ground.store.sweep

    def sweep(asked):
        swept = drop(asked)
        other.save(sized(b"a"))
        return swept

    ground.store.sweep = sweep
    assert forget("r1", worker.id)
    ground.prune()
    other.commit("r2", "a")
    assert ground.problems() == []


def test_what_a_kernel_at_work_may_have_found_waits(ground, work):
    """Beside a living kernel a result goes only when it was without reference for an hour; alone, at once."""
    worker, other = work(), work("two")
    done(worker, "r1", sized(b"a"), key="k")
    worker.stop()
    other.open("r2")
    found = other.store.entries(key="k")[0]
    age(ground.folder, DAY)
    assert ground.store.prune_run("r1", worker.id)
    got = ground.prune()
    assert (got.swept.dropped, got.swept.waiting, got.swept.alone) == (0, 2, False)
    assert ground.store.entries(key="k") == []
    other.saved = found.result, ()
    other.commit("r2", "a")
    age(ground.folder, 2 * HOUR)
    ground.prune()
    assert ground.problems() == []
    other.end("r2")
    other.stop()
    assert ground.store.prune_run("r2", other.id)
    got = ground.prune()
    assert (got.swept.dropped, got.swept.alone) == (2, True)


def test_a_map_of_a_pruned_file_stays_valid(ground, work):
    """Who reads a result while it goes keeps what it mapped."""
    worker = work()
    done(worker, "r1", sized(b"a"))
    digest = next(row.uses for row in worker.saved[1] if row.uses)
    mapped, _ = ground.files.get(digest)
    worker.stop()
    age(ground.folder, DAY)
    assert ground.store.prune_run("r1", worker.id)
    assert ground.prune().freed
    assert not ground.files.path(digest).exists()
    assert bytes(mapped).count(b"a" * LARGE) == 1


def test_evicting_takes_a_value_and_its_record_together(tmp_path):
    """What costs least per byte goes first, a value with the record that names it, and nothing half-readable stays."""
    ground = Ground(tmp_path / "s", quota=2 * LARGE + 2000)
    worker = Worker(ground.folder, "one")
    try:
        for n, letter in enumerate((b"a", b"b", b"c")):
            done(worker, f"r{n}", sized(letter), key=f"k{n}")
        worker.stop()
        age(ground.folder, DAY)
        got = ground.prune()
        assert (got.swept.evicted, got.swept.entries) == (2, 1)
        assert got.freed > LARGE
        assert [len(ground.store.entries(key=f"k{n}")) for n in range(3)].count(0) == 1
        assert ground.store.usage().results <= 2 * LARGE + 2000
    finally:
        ground.store.close()


def test_what_an_event_or_a_run_names_stays(ground, work):
    """An address in a run's own record counts as a reference, though no column holds it."""
    worker = work()
    worker.open("r1")
    address, row = worker.vault.save(sized(b"p"), namespace={})
    told = replace(run_row("r1", worker.id), graph={"parameters": address})
    assert worker.store.append(Commit("r1", run_row=told, results=(row,))).result().accepted
    worker.stop()
    age(ground.folder, DAY)
    assert ground.prune().swept.dropped == 0
    assert Vault(ground.store, ground.files, KEY).load(address, namespace={}) == sized(b"p")


PRUNER = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from retention_parts import Ground
import prefect_nb.results.storage as storage
unlink, left = os.unlink, [int(sys.argv[3])]
ground = Ground(Path(sys.argv[1]))
def stop(path, *more, **named):
    if "results" in str(path):
        if not left[0]:
            os.kill(os.getpid(), 9)
        left[0] -= 1
    return unlink(path, *more, **named)
storage.os.unlink = stop
ground.forget()
ground.prune()
"""


@pytest.mark.parametrize("files", [0, 2])
def test_killed_in_the_middle(ground, work, files):
    """A prune that is killed after some files loses nothing, and the next one takes what it left."""
    worker = work()
    for n in range(4):
        done(worker, f"r{n}", sized(b"%d" % n))
    worker.open("stays")
    worker.save(sized(b"s"))
    worker.commit("stays", "a")
    worker.stop()
    age(ground.folder, 2 * DAY)
    tests = str(Path(__file__).parent)
    ended = subprocess.run(
        [sys.executable, "-c", PRUNER, str(ground.folder), tests, str(files)], check=False, timeout=60
    )
    assert ended.returncode == -signal.SIGKILL
    assert [row.run for row in ground.store.runs()] == ["stays"]
    assert ground.store.check() == []
    assert len(ground.problems()) == 4 - files, "what it left is not what it had not come to"
    got = ground.prune()
    assert got.orphans == 4 - files
    assert ground.problems() == []


BUSY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from retention_parts import Worker
worker = Worker(Path(sys.argv[1]), sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for n in range(60):
    run = f"{sys.argv[3]}-{n}"
    worker.open(run)
    for task in "ab":
        if not worker.reuse(run, task, f"k{n % 7}"):
            worker.save(b"%d" % (n % 7) * 40_000)
            worker.commit(run, task, key=f"k{n % 7}")
    worker.end(run)
worker.stop()
"""


def test_beside_two_processes_at_work(ground):
    """While two processes compute, share and reuse results, one prunes without rest: nothing that is named is lost."""
    tests = str(Path(__file__).parent)
    command = [sys.executable, "-c", BUSY, str(ground.folder), tests]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, name], **pipes) for name in ("x", "y")]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    rounds = 0
    while any(worker.poll() is None for worker in workers):
        ground.forget()
        ground.prune(grace_s=5.0, before=time.time())
        assert ground.problems() == []
        rounds += 1
    for worker in workers:
        worker.communicate()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert rounds > 2
    ground.prune()
    assert ground.problems() == []


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("do"), st.integers(0, 1), st.integers(0, 4), st.booleans()),
        st.tuples(st.just("save"), st.integers(0, 1), st.integers(0, 4)),
        st.tuples(st.just("commit"), st.integers(0, 1)),
        st.tuples(st.just("reuse"), st.integers(0, 1), st.integers(0, 4)),
        st.tuples(st.just("end"), st.integers(0, 1)),
        st.tuples(st.just("restart"), st.integers(0, 1)),
        st.tuples(st.just("age"), st.sampled_from([1800.0, HOUR, 2 * DAY])),
        st.tuples(st.just("prune"), st.booleans()),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(MOVES)
def test_any_sequence_of_runs_and_prunes(moves):
    """Whatever happens between prunes, all that a surviving row names can be read, and no file is left over."""
    with tempfile.TemporaryDirectory() as place:
        ground = Ground(Path(place) / "s")
        workers = [Worker(ground.folder, name) for name in "xy"]
        numbers = count()
        try:
            for move in (*moves, ("age", 2 * DAY), ("prune", True)):
                _play(ground, workers, numbers, *move)
        finally:
            for worker in workers:
                worker.stop()
            ground.store.close()


def _play(ground, workers, numbers, what, *more):
    if what == "age":
        if any(worker.saved[0] for worker in workers):
            return  # nobody stays between a file and its row for that long
        age(ground.folder, *more)
    elif what == "prune":
        ground.forget()
        ground.prune(before=time.time() - HOUR if more[0] else None)
        assert ground.problems() == []
    else:
        worker, number = workers[more[0]], next(numbers)
        if not worker.runs and what != "restart":
            worker.open(f"r{number}")
        if what in ("do", "save"):
            worker.save(b"%d" % more[1] * (LARGE if more[1] % 2 else 5))
        if what in ("do", "commit") and worker.saved[0]:
            worker.commit(worker.runs[-1], f"t{number}", key=f"k{more[1]}" if what == "do" and more[2] else "")
            worker.saved = ("", ())
        elif what == "reuse":
            worker.reuse(worker.runs[-1], f"t{number}", f"k{more[1]}")
        elif what == "end":
            worker.end(worker.runs.pop())
        elif what == "restart":
            worker.stop()
            workers[more[0]] = Worker(ground.folder, "again")


def test_nobody_deletes_what_is_being_looked_at(ground):
    """Between the look at a file and the claim on it, who deletes waits."""
    address, row = ground.vault.save(sized(b"a"), namespace={})
    os.utime(ground.files.path(address), (1.0, 1.0))
    ground.files.put(address, [b"x" * row.size], row.size)
    assert ground.files.discard(address, time.time() - 1.0) == 0
    assert ground.files.path(address).exists()
