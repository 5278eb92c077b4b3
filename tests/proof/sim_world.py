"""Kernels, a command line, disks and deaths on one store, chosen step by step by a seeded generator.

The engine's `Session`, its recovery and the store's SQL are the real ones; a kernel's cells, processes, pipes, threads
and clocks are played. Each seed has a random part of the kinds of faults, and an end without faults.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from sim_judge import Judge, Violated, hold
from sim_stage import Player
from sim_store import Client, Disk

from prefect_nb.core import effects as ef
from prefect_nb.core import events as ev
from prefect_nb.core.policy import Retry
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine import recovery
from prefect_nb.engine import session as engine
from prefect_nb.engine.batch import Attachments, Post
from prefect_nb.engine.desk import Desk, Settled
from prefect_nb.engine.recovery import Opening, open_session, sweep
from prefect_nb.engine.session import Session
from prefect_nb.errors import PrefectNBError, StoreError, UsageError
from prefect_nb.protocols import ResultRow, Signal
from prefect_nb.testing import FakeClock

__all__ = ["FAULTS", "World", "played"]

FIRST = Reason(ReasonCode.FIRST)
ERROR = ev.ErrorInfo("ValueError", "no", ("ValueError",))
FAULTS = ("kill kernel", "kill owner", "die unheard", "stop", "lease", "full", "write", "answer", "wishes")
"""The kinds of faults; a seed plays with a random part of them."""


class Stepped(Session):
    """The real session without its thread: whoever waits for it turns it."""

    def _loop(self) -> None:
        return

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be handled."""
        return self._queue.empty() and not self._batch_at and not self._out.logs

    def turn(self, most: int = 256) -> None:
        """One turn of the loop, with at most so many of the items that wait."""
        items: list[Any] = []
        while len(items) < most and not self._queue.empty():
            items.append(self._queue.get())
        self._turn(items)

    def ask(self, *events: ev.Event, attachments: Attachments | None = None, durable: bool = True) -> Any:
        done: Future[Any] = Future()
        self._queue.put(Post(events, attachments or Attachments(), done, durable))
        while not done.done():
            self.turn()
            if not done.done():
                self.store._wait(lambda: done.done() or not self.idle)
        return done.result()

    def close(self) -> None:
        self.turn()


class Actor:
    """A process with a program, a store of its own, and a will to live."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.dead = self.stopped = False
        self.session: Stepped | None = None
        self.client = Client(world.disk, name, self._wait, world.alive, world.clock)
        self.player = Player(self._program)

    def _wait(self, until: Callable[[], bool] = lambda: True) -> None:
        self.player.wait(until)

    def _program(self, player: Player) -> None:
        raise NotImplementedError


class Kernel(Actor):
    """A notebook's kernel: cells are planned, run, retried, cancelled; a broken engine is opened again."""

    def _program(self, player: Player) -> None:
        former = worker = ""
        while True:
            try:
                worker = worker or self.client.open_worker("kernel", "f")
                self.desks: dict[VisitId, Desk] = {}
                self.waits: dict[VisitId, Future[Any]] = {}
                self.bodies: dict[VisitId, int] = {}
                opening = Opening("f", "f.ipynb", True, worker, self.world.new_run(), {}, former=former)
                self.session = None
                self.session = open_session(self.client, opening, self.world.clock)[0]
                former, worker = worker, ""
                for visit in self.session.run.visits.values():
                    if not visit.state.final:  # what waits for a person or a time outlived its kernel
                        self._sit(self.session, visit.id)
                self._live(self.session)
            except (StoreError, UsageError):
                player.wait()
            self.world.happened["engine failed"] += 1

    def _live(self, session: Stepped) -> None:
        rng, world = self.world.rng, self.world
        while session.failure is None:
            kind = rng.random()
            if kind < 0.25 and not world.ending and len(self.desks) < 4:
                self._plan(session)
            elif kind < 0.5:
                self._obey(session)
            elif kind < 0.65 and self.bodies:
                self._end(session, rng.choice(sorted(self.bodies)))
            elif kind < 0.7:
                world.clock.advance(rng.choice((0.001, 0.01, 1.0, 30.0)))
            else:
                session.turn(rng.choice((1, 2, 256)))
            self._wait()

    def _plan(self, session: Stepped) -> None:
        rng, run = self.world.rng, session.run
        task = f"t{rng.randrange(4)}"
        last = run.visit(task)
        visit = VisitId(task, last.id.visit + 1 if last else 1)
        if visit in self.desks:
            return
        known = [v for v in run.visits if v.task != task]
        upstream = tuple(rng.sample(known, min(len(known), rng.randrange(3))))
        spec = TaskSpec(task, retry=Retry(rng.randrange(2), delay=5.0), timeout=rng.choice((None, 20.0)))
        self._sit(session, visit)
        session.post(ev.TaskPlanned(at=session.now(), visit=visit, spec=spec, upstream=upstream))

    def _sit(self, session: Stepped, visit: VisitId) -> None:
        self.desks[visit] = desk = Desk(waits_for_end=self.world.rng.random() < 0.6)
        session.sit(visit, desk)
        self.waits[visit] = desk.next()

    def _obey(self, session: Stepped) -> None:
        ready = [v for v in sorted(self.waits) if self.waits[v].done()]
        if not ready:
            return
        rng, visit, at = self.world.rng, self.world.rng.choice(ready), session.now()
        try:
            order = self.waits.pop(visit).result()
        except PrefectNBError:
            self.desks.pop(visit)
            self.bodies.pop(visit, None)
            return
        if isinstance(order, Settled):
            self.world.told(session.run.id, order.visit)
            self.desks.pop(visit)
            self.bodies.pop(visit, None)
            return
        self.waits[visit] = self.desks[visit].next()
        if isinstance(order, ef.Enter):
            self.bodies[visit] = order.token
            session.post(ev.BodyEntered(at=at, visit=visit, token=order.token))
        elif rng.random() < 0.1 and session.run.visits[visit].state.name is StateName.PENDING:
            reused = {"key": "k", "result": "", "reason": FIRST, "source_run": "r0", "age_s": 1.0, "saved_s": 1.0}
            session.post(ev.ResultReused(at=at, visit=visit, **reused))
        else:
            session.post(ev.KeyResolved(at=at, visit=visit, key="k", reason=FIRST))

    def _end(self, session: Stepped, visit: VisitId) -> None:
        rng, at, token = self.world.rng, session.now(), self.bodies.pop(visit)
        kind = rng.random()
        if kind < 0.7:
            digest = f"{self.name}-{visit}-{token}"
            row = ResultRow(digest, 1, "x", b"1")
            returned = ev.BodyReturned(at=at, visit=visit, token=token, result=digest)
            session.post(returned, attachments=Attachments(results=(row,)))
        elif kind < 0.85:
            session.post(ev.BodyRaised(at=at, visit=visit, token=token, error=ERROR))
        elif kind < 0.9:
            session.post(ev.BodyDeferred(at=at, visit=visit, token=token, due=at + 3))
        elif kind < 0.95 and not self.world.ending:
            session.post(ev.BodyPaused(at=at, visit=visit, token=token, until=at + 40))
        else:
            session.post(ev.BodyCancelled(at=at, visit=visit, token=token))

    @property
    def at_rest(self) -> bool:
        """Whether nothing goes on here any more."""
        s = self.session
        busy = s is None or s.failure is not None or not s.idle or self.waits or self.bodies
        return self.client.quiet and not busy


class CommandLine(Actor):
    """Somebody who looks after dead runs, and leaves wishes."""

    def _program(self, player: Player) -> None:
        rng, world = self.world.rng, self.world
        while not world.ending:
            try:
                if rng.random() < 0.3 or "wishes" not in world.kinds:
                    found = sweep(self.client, self.client.open_worker("cli", "x"), world.clock)
                    world.happened["swept"] += len(found)
                elif world.runs:
                    kind = rng.choice(("cancel", "cancel", "skip", "cancel-run"))
                    world.wishes += 1
                    run, task = rng.choice(world.runs), "" if kind == "cancel-run" else f"t{rng.randrange(4)}"
                    wish = Signal(run, kind, task, f"cli {world.wishes}", world.clock())
                    self.client.signal(wish)
                    world.wished.append(wish)
            except StoreError:
                pass
            for _ in range(rng.randrange(1, 12)):
                player.wait()


class World:
    """One seed's life.

    Parameters
    ----------
    seed : int
        Chooses everything.
    steps : int
        How long the part with faults lasts.
    """

    def __init__(self, seed: int, steps: int = 220) -> None:
        self.rng = random.Random(seed)
        self.clock = FakeClock()
        self.disk = Disk()
        self.judge = Judge(self.disk.base)
        self.kinds = set(self.rng.sample(FAULTS, self.rng.randrange(len(FAULTS) + 1)))
        self.ending = False
        self.full = False
        self.wishes = 0
        self.wished: list[Signal] = []
        self.runs: list[str] = []
        self.trail: list[str] = []
        self.happened: Counter[str] = Counter()
        self.steps = steps
        self._made = 0
        self.actors: list[Actor] = []
        self.actors += [self._kernel(), self._kernel(), CommandLine(self, "c")]

    def _kernel(self) -> Kernel:
        self._made += 1
        return Kernel(self, f"k{self._made}")

    def new_run(self) -> str:
        """An id for a run."""
        self.runs.append(f"r{len(self.runs) + 1}")
        return self.runs[-1]

    def alive(self, worker: str) -> bool:
        """Whether a worker's process or its owner lives; a stopped one may be taken for dead where a lease decides."""
        for actor in self.actors:
            if worker in actor.client.workers:
                if actor.stopped and "lease" in self.kinds and not self.ending:
                    return False
                return not actor.dead or actor.client.holds(worker)
        return False

    def told(self, run: str, visit: Any) -> None:
        """A person saw that this visit ended."""
        self.happened["told"] += 1
        if visit.state.name is StateName.SUCCESS:
            self.judge.told[run, visit.id] = (run, visit.token, visit.result)

    def play(self) -> None:
        """The whole life; raises what was violated, with what led there."""
        try:
            for _ in range(self.steps):
                self._step(faults=True)
            self._calm_down()
            self.judge.finish()
        except Violated as violated:
            raise Violated("\n".join([str(violated), *self.trail[-60:]])) from violated
        finally:
            for actor in self.actors:
                actor.player.kill()
            self.disk.base.close()

    def _step(self, *, faults: bool) -> None:
        if faults and self.rng.random() < 0.06:
            self._misfortune()
        moves = [move for actor in self.actors for move in self._moves(actor)]
        if not moves:
            return
        name, actor = self.rng.choice(moves)
        self.trail.append(f"{actor.name} {name}")
        match name:
            case "turn":
                actor.player.turn()
            case "deliver":
                actor.client.deliver()
            case "end":
                actor.client.end()
            case "owner":
                actor.client.start_owner()
            case "work":
                self._work(actor, faults=faults)
        self.judge.look()

    @property
    def heard(self) -> int:
        """How many wishes had effect."""
        return len(self.judge.heard)

    def _moves(self, actor: Actor) -> list[tuple[str, Actor]]:
        found: list[tuple[str, Actor]] = []
        client = actor.client
        if actor.stopped:
            return found
        if not actor.dead:
            found += [("turn", actor)] * (2 * actor.player.ready)
            found += [("deliver", actor)] * bool(client.replies)
        if client.owned:
            found += [("work", actor)] * (2 if client.pipe else 0 if actor.dead else 1)
            found += [("end", actor)] * (actor.dead and not client.pipe)
        elif not actor.dead:
            found.append(("owner", actor))
        return found

    def _work(self, actor: Actor, *, faults: bool) -> None:
        most, rng = self.rng.choice((1, 2, 256)), self.rng
        if not faults:
            actor.client.work(most)
            return
        fault = ("full", rng.randrange(9)) if self.full else None
        if rng.random() < 0.03:
            fault = next(((k, rng.randrange(12)) for k in ("write", "answer") if k in self.kinds), fault)
        unheard = "die unheard" in self.kinds and rng.random() < 0.03
        self.happened["die unheard"] += unheard
        if fault:
            self.happened[fault[0]] += 1
        if fault or unheard:
            self.trail.append(f"  {actor.name} {fault} {'dies unheard' if unheard else ''}")
        actor.client.work(most, fault=fault, answers=not unheard)

    def _misfortune(self) -> None:
        kinds = [k for k in FAULTS if k in self.kinds]
        if not kinds:
            return
        kind, actor = self.rng.choice(kinds), self.rng.choice(self.actors)
        self.trail.append(f"** {kind} {actor.name}")
        self.happened[kind] += 1
        if kind == "kill kernel" and not actor.dead and len(self.actors) < 7:
            self._kill(actor)
            self.actors.append(
                self._kernel() if isinstance(actor, Kernel) else CommandLine(self, f"c{len(self.actors)}")
            )
        elif kind == "kill owner" and actor.client.owned:
            actor.client.kill_owner()
        elif kind == "stop":
            actor.stopped = not actor.stopped
        elif kind == "full":
            self.full = not self.full

    def _kill(self, actor: Actor) -> None:
        actor.dead = True
        actor.player.kill()

    def _calm_down(self) -> None:
        """No more faults: everything that was begun ends, then everybody dies in turn and somebody looks after it."""
        self.ending, self.full = True, False
        for actor in self.actors:
            actor.stopped = False
        kernels = [a for a in self.actors if isinstance(a, Kernel)]
        for count in range(6000):
            if all(k.dead or k.at_rest for k in kernels):
                break
            if count % 40 == 39:
                self.clock.advance(15.0)
            self._step(faults=False)
        else:
            raise Violated(
                f"I16: without faults {[k.name for k in kernels if not k.dead and not k.at_rest]} never rest"
            )
        for wish in self.wished:
            self._look_at_wish(wish)
        for actor in list(self.actors):
            if not actor.dead:
                self._kill(actor)
        self.actors.append(_Sweeper(self, "s"))
        for _ in range(3000):
            if not any(self._moves(a) for a in self.actors[:-1]) and self.actors[-1].player.over:
                break
            self._step(faults=False)

    def _look_at_wish(self, wish: Signal) -> None:
        """A wish to end a whole run is not lost, whoever was told of it and died."""
        row = self.disk.base.execute("SELECT type FROM run WHERE run_id = ?", (wish.run,)).fetchone()
        if wish.kind == "cancel-run" and row and row[0] not in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED"):
            owner = self.disk.base.execute("SELECT worker FROM run WHERE run_id = ?", (wish.run,)).fetchone()[0]
            if self.alive(owner):
                had = (wish.actor, wish.at) in self.judge.heard
                hold(had, f"I15: the wish {wish} had no effect")


class _Sweeper(Actor):
    """The last one alive: sweeps until nothing is found."""

    def _program(self, player: Player) -> None:
        player.wait(lambda: not any(self.world._moves(a) for a in self.world.actors[:-1]))
        worker = self.client.open_worker("cli", "x")
        while sweep(self.client, worker, self.world.clock):
            pass


def played(seed: int, steps: int = 220) -> World:
    """Play a seed, with the engine's threads and clocks replaced for that time."""
    kept = recovery.Session, engine.time
    recovery.Session = Stepped
    try:
        world = World(seed, steps)
        engine.time = SimpleNamespace(monotonic=world.clock)
        world.play()
    finally:
        recovery.Session, engine.time = kept
    return world


if __name__ == "__main__":
    for number in sys.argv[1:]:
        print(f"seed {number}:", dict(played(int(number)).happened))
