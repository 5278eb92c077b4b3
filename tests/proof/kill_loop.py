"""Real kernels with real stores, killed and stopped at random moments; what was told has to be true in the end.

``python kill_loop.py FOLDER SEED KILLS`` prints what happened and what was wrong as JSON. Two kernels work on a store,
each on a notebook of its own; a kernel is forked from this process, which has everything imported, and starts a store
process of its own as any kernel does. Its bodies write a line to a ledger when they are entered, and one when their end
was told. A killed kernel is followed by another, which goes on with the run.

The moments follow from the seed and from how far the kernels are (they write a byte for each line), not from sleeping.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter
from prefect_nb.core.fold import fold
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine.batch import Attachments
from prefect_nb.engine.desk import Desk, Settled
from prefect_nb.engine.recovery import Opening, open_session
from prefect_nb.engine.session import Session
from prefect_nb.protocols import ResultRow
from prefect_nb.stores.process import ProcessStore
from prefect_nb.stores.sqlite import SqliteStore

__all__ = ["main"]

ITEMS, WIDTH, PATIENCE_S = 30, 3, 30.0
FIRST = Reason(ReasonCode.FIRST)


# --- a kernel


def kernel(folder: str, flow: str, ledger: int, steps: int) -> None:
    """Work on the notebook's run, item by item, and begin another when all are done; never returns."""
    store = ProcessStore(Path(folder))
    worker, fresh = store.open_worker("kernel", flow), False

    def line(*words: object) -> None:
        os.write(ledger, (" ".join(map(str, (*words, os.getpid()))) + "\n").encode())
        os.write(steps, b".")

    while True:
        new_id = f"{flow}-{time.time_ns():x}"
        opening = Opening(flow, "", True, worker, new_id, {}, fresh=fresh, former=worker)
        session = open_session(store, opening, time.time)[0]
        done = {v.id.task for v in session.run.visits.values() if v.state.name is StateName.SUCCESS}
        left = [f"t{n}" for n in range(ITEMS) if f"t{n}" not in done]
        while left:
            several, left = left[:WIDTH], left[WIDTH:]
            _work(session, several, line)
        session.ask(ev.RunClosed(at=time.time()))
        session.close()
        fresh = True


def _work(session: Session, tasks: list[str], line: Any) -> None:
    """Some items at a time, in step, so that several bodies are under way at once."""
    desks: dict[VisitId, Desk] = {}
    for task in tasks:
        last = session.run.visit(task)
        visit = VisitId(task, last.id.visit + 1 if last else 1)
        desks[visit] = desk = Desk()
        session.sit(visit, desk)
        session.post(ev.TaskPlanned(at=time.time(), visit=visit, spec=TaskSpec(task)))
    tokens: dict[VisitId, int] = {}
    for visit, desk in desks.items():
        desk.next().result(PATIENCE_S)
        session.post(ev.KeyResolved(at=time.time(), visit=visit, key="k", reason=FIRST))
        enter = desk.next().result(PATIENCE_S)
        assert isinstance(enter, Enter)
        tokens[visit] = enter.token
        line("E", session.run.id, visit.task, visit.visit, enter.token)
        session.post(ev.BodyEntered(at=time.time(), visit=visit, token=enter.token))
    for visit, token in tokens.items():
        digest = f"{session.run.id}-{visit.task}-{visit.visit}-{token}"
        row = ResultRow(digest, 4, "x", b"done")
        returned = ev.BodyReturned(at=time.time(), visit=visit, token=token, result=digest)
        session.post(returned, attachments=Attachments(results=(row,)))
    for visit, desk in desks.items():
        end = desk.next().result(PATIENCE_S)
        assert isinstance(end, Settled)
        assert end.visit.state.name is StateName.SUCCESS
        line("R", session.run.id, visit.task, visit.visit, end.visit.token)


# --- who kills


@dataclass
class Slot:
    """A notebook, and the kernel that works on it now."""

    flow: str
    pid: int = 0
    steps: int = -1


@dataclass
class Driver:
    """Starts, stops and kills."""

    folder: str
    rng: random.Random
    ledger: int
    slots: list[Slot] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)
    detected: list[float] = field(default_factory=list)

    def start(self, slot: Slot) -> None:
        """A kernel for that notebook."""
        read, write = os.pipe()
        slot.pid = os.fork()
        if slot.pid == 0:
            try:
                os.close(read)
                kernel(self.folder, slot.flow, self.ledger, write)
            except BaseException as error:
                print(f"kernel {os.getpid()} of {slot.flow}: {error!r}", file=sys.stderr, flush=True)
            finally:
                os._exit(3)
        os.close(write)
        slot.steps = read

    def await_steps(self, slot: Slot, count: int) -> None:
        """Wait until that kernel has come so much further."""
        while count > 0:
            ready, _, _ = select.select([slot.steps], [], [], PATIENCE_S)
            data = os.read(slot.steps, 4096 if count > 4096 else count) if ready else b""
            if not data:
                raise AssertionError(f"the kernel of {slot.flow} {'ended by itself' if ready else 'stands still'}")
            count -= len(data)

    def one(self) -> int:
        """Let something happen to one of them; how many kills it was."""
        rng, slot = self.rng, self.rng.choice(self.slots)
        self.await_steps(slot, rng.randrange(1, 14))
        select.select([], [], [], rng.random() * 0.004)
        kind = rng.choices(("kernel", "owner", "both", "stop"), (45, 30, 10, 15))[0]
        owners = _children(slot.pid)
        self.did[kind] += 1
        if kind == "stop":
            self._stop(rng.choice([slot.pid, *owners]), slot)
            return 0
        if kind in ("owner", "both"):
            for owner in owners:
                _send(owner, signal.SIGKILL)
        if kind in ("kernel", "both"):
            self._kill(slot, owners)
            self.start(slot)
        return 2 if kind == "both" else 1

    def _stop(self, pid: int, slot: Slot) -> None:
        """Let one process stand still while the others go on, or, if it holds the store's lock, wait for it a while."""
        if not _send(pid, signal.SIGSTOP):
            return
        other = self.rng.choice([s for s in self.slots if s is not slot])
        going, _, _ = select.select([other.steps], [], [], 0.4)
        if going:
            os.read(other.steps, self.rng.randrange(1, 20))
        self.did["held up"] += not going
        _send(pid, signal.SIGCONT)

    def _kill(self, slot: Slot, owners: list[int]) -> None:
        """Kill a kernel, and wait until its death can be proven: its owner ends when the pipe does."""
        watches = [fd for fd in map(_watch, owners) if fd >= 0]
        began = time.monotonic()
        os.kill(slot.pid, signal.SIGKILL)
        os.waitpid(slot.pid, 0)
        os.close(slot.steps)
        for fd in watches:
            select.select([fd], [], [], PATIENCE_S)
            os.close(fd)
        self.detected.append(time.monotonic() - began)

    def finish(self) -> None:
        """Kill everything; the record must do without a good end."""
        for slot in self.slots:
            self._kill(slot, _children(slot.pid))


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _watch(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


# --- what is true in the end


def judged(folder: str, ledger: Path, deaths: int) -> dict[str, Any]:
    """What the ledger and the store say of each other.

    Entering a body may run ahead of its commit. If the kernel dies in between, the next one knows nothing of that
    permission and gives the same again: two entries under one permission are a fault only within one kernel.
    """
    entered: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    told: dict[tuple[str, str], tuple[int, int]] = {}
    wrong: list[str] = []
    for text in ledger.read_text().splitlines():
        kind, run, task, visit, token, pid = text.split()
        item, number = (run, task), (int(visit), int(token))
        if kind == "E":
            if item in told:
                wrong.append(f"{item} was entered again after it was told as done")
            if (*number, pid) in entered[item]:
                wrong.append(f"{item} was entered twice with one permission {number}")
            entered[item].append((*number, pid))
        else:
            told[item] = number
    store = SqliteStore(Path(folder))
    wrong += store.check()
    successes = 0
    for row in store.runs(limit=100_000):
        run = fold(event for _, event in store.events(row.run))
        ends = Counter(v.id.task for v in run.visits.values() if v.state.name is StateName.SUCCESS)
        successes += sum(ends.values())
        wrong += [f"{task} of {row.run} has {n} successes" for task, n in ends.items() if n > 1]
        rows = {v.visit: (v.state, v.version, v.token, v.result) for v in store.visits(row.run)}
        folded = {v.id: (v.state.label, v.version, v.token, v.result) for v in run.visits.values()}
        if rows != folded:
            wrong.append(f"the rows of {row.run} are not the fold of its events")
    store.close()
    with sqlite3.connect(os.path.join(folder, "state.db")) as c:
        recorded = {
            (r, t, v): (k, d) for r, t, v, k, d in c.execute("SELECT run_id, task, visit, token, result FROM success")
        }
    for (run_id, task), (visit, token) in told.items():
        if recorded.get((run_id, task, visit)) != (token, f"{run_id}-{task}-{visit}-{token}"):
            wrong.append(f"LOST: {task}#{visit} of {run_id}, told as done by {token}")
    again = sum(len(numbers) - 1 for numbers in entered.values())
    if again > deaths * WIDTH:
        wrong.append(f"{again} bodies were entered again after {deaths} deaths of kernels with {WIDTH} bodies each")
    return {"told": len(told), "successes": successes, "entered_again": again, "wrong": wrong[:20]}


def main(folder: str, seed: int, kills: int) -> dict[str, Any]:
    """Kill so often, then look."""
    os.makedirs(folder, exist_ok=True)
    ledger = Path(folder) / "ledger"
    fd = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    place = os.path.join(folder, "store")
    driver = Driver(place, random.Random(seed), fd, [Slot("f0"), Slot("f1")])
    began, count = time.monotonic(), 0
    for slot in driver.slots:
        driver.start(slot)
    try:
        while count < kills:
            count += driver.one()
    finally:
        driver.finish()
    took = time.monotonic() - began
    deaths = len(driver.detected)
    found = judged(place, ledger, deaths)
    return {**found, "kills": count, "did": driver.did, "slowest_detection_s": max(driver.detected), "took_s": took}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
