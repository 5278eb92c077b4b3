"""Flows of functions in one thread, their turns chosen by a seeded generator; and what plain Python says of them.

The flow's body, the run, its attendance, the engine's `Session` and the results are the real ones; the workers, the
store's answers, time, and the person who approves are played. A life may be cut off (what was not yet written is lost)
or paused, and is then resumed.

Again, and what happened in it: ``PYTHONPATH=tests/proof python tests/proof/flow_world.py SEED``.
"""

from __future__ import annotations

import builtins
import random
import sys
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from sim_judge import hold
from sim_world import Stepped

from prefect_nb import Retry, context, flow, signals, task, triggers, unmapped
from prefect_nb.authoring import attend, childflows, flowruns, flows, footing
from prefect_nb.authoring.footing import Footing
from prefect_nb.core.fold import fold
from prefect_nb.core.states import StateName, StateType
from prefect_nb.engine import recovery
from prefect_nb.errors import NotAvailable, StoreError, TaskCancelled
from prefect_nb.stores.memory import MemoryStore
from prefect_nb.testing import FakeClock
from prefect_nb.wiring import find_place, open_vault

__all__ = ["Program", "World", "lived", "oracle"]

MODES = ("ok",) * 6 + ("flaky", "fails", "skips", "asks", "odd")


class Died(BaseException):
    """The process is gone."""


class Program:
    """A small flow: rows of (kind, mode, trigger, the earlier rows that it takes)."""

    def __init__(self, rng: random.Random) -> None:
        self.rows: list[tuple[str, str, str, tuple[int, ...]]] = []
        for number in range(rng.randint(2, 6)):
            kind = rng.choice(("call", "map", "call", "over")) if number else rng.choice(("call", "map"))
            maps = [n for n, row in enumerate(self.rows) if row[0] != "call"]
            if kind == "over":
                above = (rng.choice(maps),) if maps else ()
                kind = kind if maps else "map"
            else:
                above = tuple(rng.sample(range(number), rng.randint(0, min(2, number)))) if kind == "call" else ()
            self.rows.append((kind, rng.choice(MODES), rng.choice(("all", "all", "all", "finished")), above))
        self.waits = rng.randrange(len(self.rows)) if rng.random() < 0.3 else -1
        self.width = rng.randint(0, 4)


def fate(mode: str, value: int) -> str:
    """How a body ends in the end."""
    if mode == "odd":
        return "fails" if value % 2 else "ok"
    return {"flaky": "ok", "asks": "ok"}.get(mode, mode)


def mixed(number: int, values: Any) -> int:
    """What a body makes of its inputs: a number that shows each of them."""
    total = number + 1
    for value in values if isinstance(values, list | tuple) else [values]:
        part = mixed(0, value) if isinstance(value, list | tuple) else value if isinstance(value, int) else 7
        total = (total * 31 + part) % 10007
    return total


def oracle(program: Program) -> list[list[tuple[str, int]]]:
    """Of each row the ends of its call, or of its children: a state and a value; in plain Python, without an engine."""
    ends: list[list[tuple[str, int]]] = []

    def one(number: int, mode: str, trigger: str, above: list[tuple[str, int]], given: Any) -> tuple[str, int]:
        bad = any(state in ("Failed", "TriggerFailed") for state, _ in above)
        if bad and trigger == "all":
            return "TriggerFailed", 0
        if not bad and any(state == "Skipped" for state, _ in above):
            return "Skipped", 0
        value = mixed(number, given)
        return {"ok": ("Success", value), "fails": ("Failed", 0), "skips": ("Skipped", 0)}[fate(mode, value)]

    for number, (kind, mode, trigger, above) in enumerate(program.rows):
        if kind == "map":
            ends.append([one(number, mode, trigger, [], x) for x in range(program.width)])
        elif kind == "over":
            taken = ends[above[0]]
            ends.append([one(number, mode, trigger, [end], _given([end])[0]) for end in taken])
        else:
            flat = [end for n in above for end in ends[n]]
            given = [_whole(program.rows[n][0], ends[n]) for n in above]
            ends.append([one(number, mode, trigger, flat, given)])
    return ends


def _whole(kind: str, ends: list[tuple[str, int]]) -> Any:
    """What a row's node stands for."""
    return _given(ends)[0] if kind == "call" else _given(ends)


def _given(ends: list[tuple[str, int]]) -> list[Any]:
    return [value if state == "Success" else None for state, value in ends]


def work(number: int, mode: str, values: Any) -> int:
    """The body of every task."""
    value = mixed(number, values)
    builtins.SIM.entered(number, value)  # type: ignore[attr-defined]
    if mode == "flaky" and context.attempt < 3:
        raise OSError("again")
    if mode == "asks" and not builtins.SIM.answered(number, value):  # type: ignore[attr-defined]
        raise signals.pause("sure?")
    if fate(mode, value) == "fails":
        raise ValueError("no")
    if fate(mode, value) == "skips":
        raise signals.skip("nothing")
    return value


TASKS = {
    "all": task(retry=Retry(2, delay=5, on=OSError))(work),
    "finished": task(retry=Retry(2, delay=5, on=OSError), trigger=triggers.all_finished)(work),
}


@flow(workers=3, name="simulated")
def simulated() -> Any:
    """The flow that the world's program is."""
    program, nodes = builtins.SIM.program, []  # type: ignore[attr-defined]
    for number, (kind, mode, trigger, above) in enumerate(program.rows):
        made = TASKS[trigger]
        if kind == "call":
            nodes.append(made(number, mode, [nodes[n] for n in above]))
        else:
            source = nodes[above[0]] if kind == "over" else range(program.width)
            source = iter(source) if kind == "map" and number % 2 else source
            nodes.append(made.map(unmapped(number), unmapped(mode), source))
        if number == program.waits:
            try:
                nodes[-1].result()
            except Exception:
                builtins.SIM.happened["body heard a failure"] += 1  # type: ignore[attr-defined]
    return nodes


class Workers:
    """An executor whose jobs run when the world says so, in its thread."""

    hard = False

    def __init__(self, world: World) -> None:
        self._world = world

    def submit(self, job: Callable[[], None]) -> None:
        self._world.jobs.append(job)

    def guarded(self, token: Hashable, body: Callable[[], Any]) -> Any:
        return body()

    def stop(self, token: Hashable) -> bool:
        return False

    def close(self, *, patience_s: float = 0.0) -> bool:
        self._world.jobs.clear()
        return True


class Slow(MemoryStore):
    """A store that writes and answers when the world says so; what it was not yet asked to write is lost with it."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: deque[tuple[Any, Future[Any]]] = deque()

    def append(self, commit: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        self.mail.append((commit, answer))
        return answer

    def write(self) -> None:
        """The oldest commit."""
        commit, answer = self.mail.popleft()
        answer.set_result(super().append(commit).result())

    def _wait(self, until: Callable[[], bool]) -> None:
        while not until():
            self.write()

    def watch(self, run: str, callback: Any) -> None:
        """Nobody else wishes anything here."""


class World:
    """One seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.program = Program(self.rng)
        self.clock = FakeClock(1000.0)
        self.happened: Counter[str] = Counter()
        self.jobs: list[Callable[[], None]] = []
        self.timers: list[Callable[[], None]] = []
        self.store = Slow()
        self.sessions: list[Any] = []
        self.deaths, self.pauses = self.rng.choice((0, 1, 2)), self.rng.choice((0, 0, 1))
        self.cancels = self.rng.random() < 0.15
        self.inputs = [[value for _, value in row] for row in oracle(self.program)]
        self._answers: set[tuple[int, int]] = set()
        self._done: set[tuple[int, int]] = set()
        place = find_place(folder)
        self.footing = Footing(self.store, open_vault(self.store, place), place, None, folder / "s.py", lambda f: None)
        self.run: Any = None

    # --- what bodies tell ---

    def entered(self, number: int, value: int) -> None:
        """A body was entered."""
        again = (number, value) in self._done and not self._twice(number, value)
        hold(not again, f"I9: row {number} was entered again after its success was durable")
        hold(not (self.run and self.run._work.parked), "I13: a body was entered in a run that was left")
        self._perhaps_stop()

    def _twice(self, number: int, value: int) -> bool:
        """Whether two children of a row are equal, so that one may run where the other has ended."""
        return self.inputs[number].count(value) > 1

    def answered(self, number: int, value: int) -> bool:
        """Whether a person let this body go on; it is asked once."""
        before = (number, value) in self._answers
        self._answers.add((number, value))
        return before

    # --- time ---

    def step(self) -> None:
        """Something happens."""
        session, store = self.sessions[-1], self.store
        able: list[Callable[[], None]] = [self._work] * bool(self.jobs) + [store.write] * bool(store.mail)
        able += [session.turn] * (not session._queue.empty() or bool(session._batch_at))
        if not able:
            self._later()
            return
        self.clock.advance(0.001)
        self.rng.choice(able)()
        if session.failure is not None:
            raise Died
        self._perhaps_stop()

    def _work(self) -> None:
        self.jobs.pop(self.rng.randrange(len(self.jobs)))()

    def _perhaps_stop(self) -> None:
        run = self.run
        if run is None or self.rng.random() > 0.02 or run._work.stopping:
            return
        if self.deaths and self.rng.random() < 0.6:
            self.deaths -= 1
            self.happened["died"] += 1
            for _ in range(self.rng.randint(0, len(self.store.mail))):
                self.store.write()
            self.store.mail.clear()
            run._work.session._failure = StoreError("the process is gone")
            raise Died
        if self.pauses:
            self.pauses -= 1
            self.happened["paused"] += 1
            run.pause()
        elif self.cancels:
            self.happened["cancelled"] += 1
            run.cancel()

    def _later(self) -> None:
        """Nothing can happen now: a person answers, or time passes."""
        session = self.sessions[-1]
        paused = [v for v in session.run.visits.values() if v.state.name is StateName.PAUSED]
        due = session._timers.next()
        hold(paused or due is not None, "I16: nothing can happen any more, and somebody waits")
        if paused:
            self.run.approve(self.rng.choice(paused).id.label)
            self.happened["approved"] += 1
            return
        self.clock.advance(max(0.0, due - self.clock()) + 0.001)
        session.turn()

    # --- lives ---

    def play(self) -> None:
        """Lives until the run has ended."""
        opened = simulated.opened({})
        while True:
            self.run, drive = opened
            try:
                self._ended(drive(), raised=False)
                return
            except (Died, NotAvailable):
                pass
            except (TaskCancelled, ValueError):
                self._ended(None, raised=True)
                return
            row = self.store.run(self.run.id)
            if row is None:  # it had not begun
                self.sessions.clear()
                self.run = None
                opened = simulated.opened({})
                continue
            self._remember()
            self.run = None
            self.happened["resumed"] += 1
            opened = flows._go_on(row)

    def _remember(self) -> None:
        """What is durable now must not be entered again."""
        assert self.run is not None
        kept = fold(e for _, e in self.store.events(self.run.id))
        ends = oracle(self.program)
        named = {n: i for i, n in enumerate(self._names())}
        for visit in kept.visits.values():
            if visit.state.name is StateName.SUCCESS and visit.width is None and visit.id.task in named:
                number = named[visit.id.task]
                end = ends[number][max(0, visit.id.index)]
                self._done.add((number, end[1]))

    def _names(self) -> list[str]:
        return ["work" if n == 0 else f"work-{n + 1}" for n in range(len(self.program.rows))]

    def _ended(self, value: Any, *, raised: bool) -> None:
        while self.store.mail:
            self.store.write()
        run = fold(e for _, e in self.store.events(self.run.id))
        hold(run.state.final, f"I16: the run ended as {run.state.label}")
        open_ = [str(v.id) for v in run.visits.values() if not v.state.final]
        hold(not open_, f"I7: the run is final and {open_} are not")
        for visit in run.visits.values():
            limit = visit.spec.retry.attempts
            hold(visit.attempt <= limit, f"I9: {visit.id} was attempted {visit.attempt} times of {limit}")
        if run.cancelled:
            hold(run.state.name is StateName.CANCELLED, f"a cancelled run is {run.state.label}")
            return
        self._compare(run, value, raised=raised)

    def _compare(self, run: Any, value: Any, *, raised: bool) -> None:
        ends = oracle(self.program)
        for number, name in enumerate(self._names()):
            visit = run.visits[run.latest[name]]
            kinds = [visit] if self.program.rows[number][0] == "call" else self._children(run, visit)
            got = ["Success" if v.state.name is StateName.CACHED else str(v.state.name.value) for v in kinds]
            hold(got == [s for s, _ in ends[number]], f"row {number} is {got}, not {ends[number]}")
            for v, (state, wanted) in zip(kinds, ends[number], strict=True):
                hold(state != "Success" or self.run._work.outcome(v.id) == wanted, f"{v.id} has a wrong value")
        states = {state for end in ends for state, _ in end}
        hold(raised is bool(states & {"Failed", "TriggerFailed"}), f"the call raised: {raised}, after {states}")
        if not raised:
            hold(run.state.type is StateType.COMPLETED, f"the run is {run.state.label} and its call gave a value")
            wanted = [_whole(row[0], end) for row, end in zip(self.program.rows, ends, strict=True)]
            hold(value == wanted, f"the flow gave {value}, not {wanted}")

    def _children(self, run: Any, visit: Any) -> list[Any]:
        return [run.visits[type(visit.id)(visit.id.task, visit.id.visit, i)] for i in range(visit.width or 0)]


@contextmanager
def _played(world: World) -> Iterator[None]:
    """The modules of flows in the hands of a world."""

    class Event:
        def __init__(self) -> None:
            self._set = False

        def set(self) -> None:
            self._set = True

        def clear(self) -> None:
            self._set = False

        def wait(self, timeout: float | None = None) -> bool:
            while not self._set:
                world.step()
            return True

    class Session(Stepped):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            world.sessions.append(self)

    timer = SimpleNamespace(Timer=lambda *a: SimpleNamespace(start=lambda: None, daemon=True), Event=Event)
    shim = SimpleNamespace(**{**vars(threading), "Event": Event, "Timer": timer.Timer})
    with mock.patch.object(builtins, "SIM", world, create=True), mock.patch.object(flowruns, "threading", shim):
        patches = [mock.patch.object(attend, "threading", shim), mock.patch.object(recovery, "Session", Session)]
        patches += [mock.patch.object(flowruns, "ThreadExecutor", return_value=Workers(world))]
        for module in (flows, childflows, footing):
            patches.append(mock.patch.object(module, "footing", return_value=world.footing))
        for name, module in list(sys.modules.items()):
            if name.startswith("prefect_nb.authoring") and hasattr(module, "now"):
                patches.append(mock.patch.object(module, "now", world.clock))
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in reversed(patches):
                patch.stop()


def lived(seed: int) -> World:
    """The world of a seed, after its end; raises if an invariant does not hold."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(seed, Path(folder))
        with _played(world):
            world.play()
        return world


if __name__ == "__main__":
    played = lived(int(sys.argv[1]))
    print(played.program.width, *played.program.rows, played.happened, sep="\n")
