"""Bodies in worker processes: the same states, keys, values and records as in threads, and hard ends."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import reload
from pathlib import Path
from typing import Any

import pytest
from flow_parts import PATIENCE_S

from prefect_nb import Retry, context, flow, resume, signals, task
from prefect_nb.analysis.header import options
from prefect_nb.analysis.purity import Verdict
from prefect_nb.authoring.errands import Errand
from prefect_nb.authoring.runs import Run
from prefect_nb.errors import TaskCrashed, TaskTimeout, UsageError
from prefect_nb.wiring import processes


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not listen is killed after half a second."""
    monkeypatch.setattr(processes(), "grace_s", 0.5)


def until(path: str) -> None:
    """Wait for a file."""
    limit = time.monotonic() + PATIENCE_S
    while not Path(path).exists():
        assert time.monotonic() < limit, f"{path} never came"
        threading.Event().wait(0.002)


def entered(path: str) -> int:
    """Note an entry of a body in a file; how many there are."""
    with open(path, "a") as file:
        file.write("x")
    return len(Path(path).read_text())


def ended(run: Run) -> Run:
    """The run at its end."""
    run.wait(PATIENCE_S)
    assert run.state.type != "RUNNING", run
    with suppress(BaseException):
        run.result(PATIENCE_S)
    return run


@task(retry=Retry(1))
def here(x: int) -> tuple[int, int]:
    """A task of the flow's own process that works at the second attempt."""
    if context.attempt == 1:
        raise ValueError("not yet")
    return x + 1, os.getpid()


@pytest.mark.parametrize("spelled", ["task", "flow"])
def test_a_body_runs_elsewhere_and_is_the_same(spelled: str) -> None:
    """Its value, its context and its edges are those of a thread; only the process is another one."""
    ask = {"executor": "processes"}

    @task(**(ask if spelled == "task" else {}))
    def tell(x: int) -> dict[str, Any]:
        return {
            "x": x,
            "pid": os.getpid(),
            "asked": [context.run_id, context.attempt, context.map_index, dict(context.parameters), context.cancelled],
            "token": context.idempotency_token,
        }

    @task
    def add(xs: Any) -> int:
        return sum(x["x"] for x in xs)

    @flow(**(ask if spelled == "flow" else {}))
    def etl(n: int) -> Any:
        told = tell.map(range(n))
        return told, add(told)

    run = etl.submit(3)
    told, total = run.result(PATIENCE_S)
    assert ([t["x"] for t in told], total) == ([0, 1, 2], 3)
    assert os.getpid() not in {t["pid"] for t in told}
    assert [t["asked"] for t in told] == [[run.id, 1, i, {"n": 3}, False] for i in range(3)]
    assert len({t["token"] for t in told}) == 3


def test_an_unknown_executor_is_refused_before_anything_runs() -> None:
    """Tasks and flows say so when they are written; cells say where they run."""
    with pytest.raises(UsageError, match="no executor 'process'"):
        task(executor="process")(here.function)
    with pytest.raises(UsageError, match="no executor"):
        flow(executor="cloud")
    with pytest.raises(UsageError, match="a cell runs in the kernel"):
        options("fit --executor processes")


def test_tasks_that_a_body_calls_run_at_home() -> None:
    """A call inside a body in a worker is a visit of its own, with its retries, and gives its value; map too."""

    @task(executor="processes")
    def outer(x: int) -> Any:
        return here(x), [value for value, _ in here.map([5, 6])], os.getpid()

    @flow
    def etl() -> Any:
        return outer(1)

    run = etl.submit()
    (value, pid), mapped, own = run.result(PATIENCE_S)
    assert (value, mapped, pid) == (2, [6, 7], os.getpid())
    assert own != pid
    called = [v for v in run._work.session.run.visits.values() if v.id.task == "outer.here"]
    assert [(v.state.name.label, v.attempt) for v in called] == [("Success", 2)] * 3


def test_a_task_that_fails_inside_a_body_raises_there() -> None:
    """What it raises can be caught in the worker, by its type."""

    @task
    def bad() -> None:
        raise KeyError("no such day")

    @task(executor="processes")
    def outer() -> str:
        try:
            bad()
        except KeyError as error:
            return f"caught {error}"
        return "nothing"

    @flow
    def etl() -> Any:
        return outer()

    assert etl() == "caught 'no such day'"


DEATHS = {
    "exit": lambda: os._exit(7),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


@pytest.mark.parametrize("death", DEATHS)
def test_one_body_that_dies_is_one_crash(death: str) -> None:
    """Its siblings end well, it is Crashed and says how, and who waits for it gets an exception."""
    dies = DEATHS[death]

    @task(executor="processes", retry=Retry(3, crashes=0))
    def fragile(x: int) -> int:
        if x == 1:
            dies()
        return x

    @flow
    def etl() -> Any:
        return fragile.map(range(4))

    run = ended(etl.submit())
    children = run.tasks["fragile"].children
    assert [c.state.name.label for c in children] == ["Success", "Crashed", "Success", "Success"]
    assert children[1].attempts == 1
    assert any(w in children[1].state.message for w in ("exit code 7", "SIGSEGV", "SIGKILL"))
    with pytest.raises(TaskCrashed, match=r"fragile\[1\]#1 crashed"):
        run.result()
    assert run.state.name.label == "Failed"


def test_a_crash_is_forgiven_once_and_takes_no_retry() -> None:
    """By default a body is entered again after its first crash; the retries of its failures are still there."""

    @task(executor="processes", retry=Retry(1))
    def fragile() -> int:
        number = entered("entries")
        if number == 1:
            os._exit(1)
        if number == 2:
            raise ValueError("and a failure")
        return number

    @flow
    def etl() -> Any:
        return fragile()

    run = etl.submit()
    assert run.result(PATIENCE_S) == 3
    assert run.tasks["fragile"].attempts == 3


def test_what_runs_once_is_never_entered_again_unasked() -> None:
    """After a crash it is Crashed, and a resumed run asks a person before it runs again."""

    @task(executor="processes", once=True, retry=Retry(crashes=5))
    def charge() -> int:
        if entered("entries") == 1:
            os._exit(1)
        return 1

    @flow
    def etl() -> Any:
        return charge()

    run = ended(etl.submit())
    assert (run.tasks["charge"].state.name.label, run.tasks["charge"].attempts) == ("Crashed", 1)
    again = resume(run.id)
    assert again.wait(PATIENCE_S).name.label == "Paused"
    assert Path("entries").read_text() == "x"
    again.approve("charge")
    assert again.result(PATIENCE_S) == 1


def test_a_limit_is_hard_and_its_retries_count() -> None:
    """A body over its limit is stopped in its C code, its state says hard, and it is tried again as after a failure."""

    @task(executor="processes", timeout=0.3, retry=Retry(1))
    def slow() -> None:
        entered("entries")
        time.sleep(100)

    @flow
    def etl() -> Any:
        return slow()

    run = ended(etl.submit())
    state = run.tasks["slow"].state
    assert (state.name.label, state.data["hard"]) == ("TimedOut", True)
    assert "stopped" in state.message
    assert Path("entries").read_text() == "xx"
    with pytest.raises(TaskTimeout):
        run.result()


def test_what_a_body_gives_after_its_limit_does_not_count() -> None:
    """A body that swallows its stop and returns is over its limit all the same."""

    @task(executor="processes", timeout=0.3)
    def stubborn() -> int:
        with suppress(BaseException):
            time.sleep(100)
        return 5

    @flow
    def etl() -> Any:
        return stubborn()

    assert ended(etl.submit()).tasks["stubborn"].state.name.label == "TimedOut"


def test_a_cancel_ends_what_runs_and_begins_nothing_more() -> None:
    """A body in C code ends within two seconds with its child processes, what waited for it does not run."""

    @task(executor="processes")
    def sleeps() -> None:
        import subprocess

        child = subprocess.Popen(["sleep", "100"])
        Path("tmp").write_text(str(child.pid))
        os.rename("tmp", "child")
        time.sleep(100)

    @task
    def after(x: Any) -> None:
        entered("after")

    @flow
    def etl() -> Any:
        return after(sleeps())

    run = etl.submit()
    until("child")
    asked = time.monotonic()
    run.cancel()
    ended(run)
    assert time.monotonic() - asked < 2
    labels = {name: t.state.name.label for name, t in run.tasks.items()}
    assert labels == {"sleeps": "Cancelled", "after": "NotRun"}
    assert not Path("after").exists()
    stat = Path(f"/proc/{Path('child').read_text()}/stat")
    assert not stat.exists() or " Z " in stat.read_text()


def test_a_deaf_body_is_cancelling_until_it_is_killed(short_grace: None) -> None:
    """A body that blocks TERM is Cancelling while it lives, never Cancelled, and is killed when its grace is over."""

    @task(executor="processes")
    def deaf() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        Path("pid").write_text(str(os.getpid()))
        Path("began").touch()
        time.sleep(100)

    @flow
    def etl() -> Any:
        return deaf()

    run = etl.submit()
    until("began")
    pid, lived = int(Path("pid").read_text()), False
    run.cancel()
    while (label := run.tasks["deaf"].state.name.label) != "Cancelled":
        with suppress(ProcessLookupError):  # it may be killed between the two looks
            os.kill(pid, 0)
            lived |= label == "Cancelling"
        threading.Event().wait(0.005)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert lived
    assert ended(run).state.name.label == "Cancelled"


def test_a_thread_goes_on_where_a_process_ends() -> None:
    """The same deaf body in a thread is left behind, and its state says that its limit was soft."""
    gate = threading.Event()

    @task(timeout=0.2)
    def deaf() -> None:
        gate.wait(PATIENCE_S)

    @flow
    def etl() -> Any:
        return deaf()

    try:
        assert ended(etl.submit()).tasks["deaf"].state.data["hard"] is False
    finally:
        gate.set()


def test_signals_raised_in_a_worker_mean_what_they_say() -> None:
    """Skip, retry and success reach the engine as from a thread."""

    @task(executor="processes")
    def skips() -> None:
        raise signals.skip("no new data")

    @task(executor="processes")
    def done() -> None:
        raise signals.success(7)

    @task(executor="processes")
    def later() -> int:
        if context.attempt == 1:
            raise signals.retry("busy", after=0.01)
        return context.attempt

    @flow
    def etl() -> Any:
        return skips(), done(), later()

    run = etl.submit()
    assert run.result(PATIENCE_S) == (None, 7, 2)
    assert run.tasks["skips"].state.message == "no new data"


def test_what_bodies_say_is_theirs_in_order_and_at_once() -> None:
    """Two bodies at a time each have their own text, and it is on record while they still run."""

    @task(executor="processes")
    def talks(name: str) -> None:
        print(f"{name} one")
        print(f"{name} two", file=sys.stderr)
        context.logger.info("%s three", name)
        print(f"{name} four")
        Path(name).touch()
        until("go")

    @flow
    def etl() -> Any:
        return talks("a"), talks("b")

    run = etl.submit()
    for name in "ab":
        until(name)
    limit = time.monotonic() + PATIENCE_S
    while "a four" not in run.tasks["talks"].logs() and time.monotonic() < limit:
        threading.Event().wait(0.01)
    early = run.tasks["talks"].logs()
    Path("go").touch()
    run.result(PATIENCE_S)
    for task_name, name in (("talks", "a"), ("talks-2", "b")):
        lines = run.tasks[task_name].logs().splitlines()
        assert [line.split()[-1] for line in lines] == ["one", "two", "three", "four"]
        assert all(line.split()[-2] == name for line in lines)
    assert early == run.tasks["talks"].logs()


def test_records_reach_the_handlers_at_home(caplog: pytest.LogCaptureFixture) -> None:
    """Loggers have the levels that they have at home, and their records go to the handlers there, once."""

    @task(executor="processes")
    def logs() -> None:
        import logging

        mine = logging.getLogger("mine")
        mine.debug("not wanted")
        try:
            raise ValueError("inner")
        except ValueError:
            mine.exception("number %d", 5)
        logging.getLogger("other").info("not wanted")

    @flow
    def etl() -> Any:
        return logs()

    with caplog.at_level("INFO", "mine"):
        etl()
    mine = [r for r in caplog.records if r.name in ("mine", "other")]
    assert [(r.name, r.levelname) for r in mine] == [("mine", "ERROR")]
    assert mine[0].getMessage().startswith("number 5")
    assert "ValueError: inner" in mine[0].getMessage()


def test_an_error_has_the_lines_of_the_body() -> None:
    """It is raised by its type with the user's line, is retried by its type, and is on record so."""

    @task(executor="processes", retry=Retry(1, on=OSError))
    def broken() -> None:
        entered("entries")
        raise TimeoutError("no answer")

    @flow
    def etl() -> Any:
        return broken()

    run = ended(etl.submit())
    assert Path("entries").read_text() == "xx"
    with pytest.raises(TimeoutError, match="no answer") as caught:
        run.result()
    assert caught.traceback[-1].name == "broken"
    visit = run._work.session.run.visit("broken")
    assert visit is not None
    assert visit.error is not None
    assert 'raise TimeoutError("no answer")' in visit.error.traceback
    assert "afar" not in visit.error.traceback
    assert "executors" not in visit.error.traceback


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A local module that flows import."""
    Path(tmp_path, "house_rules.py").write_text(RULES)
    monkeypatch.syspath_prepend(str(tmp_path))
    import house_rules  # type: ignore[import-not-found]

    yield house_rules
    del sys.modules["house_rules"]


RULES = """
import threading
from prefect_nb import flow, task
LIMIT = 3
LOCK = threading.Lock()
MISSING = object()
class Order:
    size = 2
def scale(x, y=MISSING):
    assert y is MISSING
    with LOCK:
        return x * LIMIT


@task(executor="processes")
def reads():
    return open("data.txt").read()


@flow
def reading():
    return reads()


@task(executor="processes")
def writes(path):
    if path:
        with open(path, "w") as file:
            file.write("x")
    return 1


@flow
def writing(path=None):
    return writes(path)
"""


def test_files_that_a_worker_reads_belong_to_the_manifest(module: Any) -> None:
    """A result is reused while the file that its body read is the same, and no longer."""
    labels = []
    for text in ("one", "one", "other"):
        Path("data.txt").write_text(text)
        run = module.reading.submit()
        assert run.result(PATIENCE_S) == text
        labels.append(run.tasks["reads"].state.name.label)
    assert labels == ["Success", "Cached", "Success"]


def test_what_a_worker_does_outside_takes_purity_away(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the analysis calls pure and the worker sees to leave the process runs again in the next run."""
    monkeypatch.setattr("prefect_nb.authoring.functions.judge", lambda *_: Verdict(True, (), True, False))
    labels = []
    for path in (None, None, "made"):
        for _ in range(2):
            run = module.writing.submit(path)
            run.result(PATIENCE_S)
            labels.append(run.tasks["writes"].state.name.label)
    assert labels == ["Success", "Cached", "Cached", "Cached", "Success", "Success"]


def test_a_worker_that_tells_nothing_is_trusted_with_nothing(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a record of what was read nobody else may reuse the result."""
    monkeypatch.setattr(Errand, "heard", lambda *_: None)
    Path("data.txt").write_text("one")
    for _ in range(2):
        run = module.reading.submit()
        run.result(PATIENCE_S)
        assert run.tasks["reads"].state.name.label == "Success"


def test_a_worker_draws_what_a_thread_would_draw() -> None:
    """Global generators are where they are at home, and go on there after the body, as in a thread."""
    found = {}
    for where in ("threads", "processes"):

        @task(executor=where, cache="never")
        def draw() -> float:
            return random.random()

        @flow
        def etl(draw: Any = draw) -> Any:
            first = draw().result()
            return first, draw().result()

        random.seed(5)
        found[where] = etl(), random.random()
    assert found["threads"] == found["processes"]
    assert len({*found["threads"][0], found["threads"][1]}) == 3


def test_an_async_body_runs_in_a_worker_too() -> None:
    """It has a loop of its own there."""

    @task(executor="processes")
    async def answer() -> tuple[int, int]:
        import asyncio

        await asyncio.sleep(0)
        return 5, os.getpid()

    @flow
    def etl() -> Any:
        return answer()

    value, pid = etl()
    assert (value, pid != os.getpid()) == (5, True)


def test_a_call_outside_of_flows_is_sent_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain call gives the value or the error; a death is an exception; the environment is the caller's own."""

    @task(executor="processes")
    def tell(x: int) -> tuple[int, int, str | None]:
        if x == 1:
            raise ValueError("one")
        if x == 2:
            os._exit(4)
        return x, os.getpid(), os.environ.get("OF_THE_CALLER")

    monkeypatch.setenv("OF_THE_CALLER", "yes")
    value, pid, told = tell(5)
    assert (value, pid == os.getpid(), told) == (5, False, "yes")
    with pytest.raises(ValueError, match="one"):
        tell(1)
    with pytest.raises(TaskCrashed, match="exit code 4"):
        tell(2)


def test_local_modules_are_what_they_are_at_home(module: Any) -> None:
    """Their data as it is now and their code as it was loaded count; an edit that was not loaded is an error."""

    @task(executor="processes", cache="never")
    def use(x: int) -> Any:
        order = module.Order()
        return module.scale(x), order, isinstance(order, module.Order)

    @flow
    def etl() -> Any:
        return use(2)

    assert (etl()[0], etl()[2]) == (6, True)
    module.LIMIT = 5
    value, order, same = etl()
    assert (value, type(order) is module.Order, same) == (10, True, True)
    path = Path(module.__file__)
    path.write_text(RULES.replace("x * LIMIT", "x * LIMIT + 1"))
    os.utime(path, (1, 1))
    reload(module)
    assert etl()[0] == 7, "a worker that has the old code is replaced"
    path.write_text(RULES.replace("x * LIMIT", "x * LIMIT + 2"))
    processes()._pool.close()
    with pytest.raises(UsageError, match="house_rules was edited since it was imported"):
        etl()


def test_what_cannot_travel_is_told_of(tmp_path: Path) -> None:
    """Arguments, and what the code uses, have to be picklable; the failure names the task and the kind."""

    @task(executor="processes")
    def takes(x: Any) -> int:
        return 1

    @flow
    def etl() -> Any:
        return takes(threading.Lock())

    with pytest.raises(TypeError, match=r"takes, or what it is given, cannot travel.*lock"):
        etl()


def test_threads_stay_where_they_are() -> None:
    """A flow that does not ask for processes starts none."""
    before = set(processes()._pool._all)

    @task
    def pid() -> int:
        return os.getpid()

    @flow
    def etl() -> Any:
        return pid()

    assert etl() == os.getpid()
    assert set(processes()._pool._all) == before
