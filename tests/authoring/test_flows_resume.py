"""Runs of flows that go on: after ``kill -9``, after a pause, after a failure; in other processes and in this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flow_parts import PATIENCE_S, Ledger

from prefect_nb import flow, open_store, resume, task
from prefect_nb.errors import NotAvailable, UsageError

ROOT = Path(__file__).parents[2]
L = Ledger()

CODE = """
import builtins, os, sys, time
from prefect_nb import task, flow, resume, Retry, context, signals
def note(text):
    fd = os.open("ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)
def hold(name):
    if getattr(builtins, "HOLD", "") == name:
        note("held")
        time.sleep(60)
@task
def first(x):
    note(f"first {x}")
    return x + 1
@task
def many(n):
    note(f"many {n}")
    if n == 5:
        hold("many")
    return n
@task(once=True)
def charge(x):
    note("charge")
    hold("charge")
    return x
@task(retry=Retry(1, delay="1h"))
def flaky(x):
    note("flaky")
    raise OSError("later")
@task
def total(xs):
    note("total")
    return sum(xs)
@flow
def child(x):
    return total(many.map(range(x)))
@flow(workers=2)
def etl(n: int, where: object = None):
    return total([first(n), total(many.map(range(10))), charge(1)])
@flow(workers=2)
def parent():
    return child(8)
@flow
def shapes(n: int):
    numbers = many.map(range(n))
    return {"sum": total(numbers), "all": (numbers, first(3)), "plain": 7}
@flow
def waiting():
    return flaky(1)
"""


class Place:
    """A folder with a module of flows, in which processes run and are killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pyproject.toml").write_text("")
        (folder / "flowcode.py").write_text(textwrap.dedent(CODE))

    def start(self, code: str, hold: str = "") -> subprocess.Popen[str]:
        env = os.environ | {"PYTHONPATH": f"{ROOT}:{self.folder}"}
        code = f"import builtins\nbuiltins.HOLD = {hold!r}\n{code}"
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=self.folder, env=env, stdout=subprocess.PIPE, text=True
        )

    def run(self, code: str) -> str:
        process = self.start(code)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        return said.strip()

    @property
    def noted(self) -> Counter[str]:
        file = self.folder / "ledger"
        return Counter(file.read_text().splitlines()) if file.exists() else Counter()

    def killed(self, code: str, hold: str, flow: str, *, done: int) -> str:
        """Run until a body holds and `done` others are recorded as successful, then ``kill -9``; the run's id."""
        process = self.start(code, hold)
        for _ in range(8000):
            if self.noted["held"] and self.successes(flow) == done:
                break
            try:
                process.wait(0.005)
                raise AssertionError("it ended before it could be killed")
            except subprocess.TimeoutExpired:
                continue
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        return self.newest(flow)

    def newest(self, flow: str) -> str:
        store = open_store(self.folder, readonly=True)
        try:
            return store.runs(flow=flow, limit=1)[0].run
        finally:
            store.close()

    def successes(self, flow: str) -> int:
        """How many bodies of the newest run are recorded as successful."""
        store = open_store(self.folder, readonly=True)
        try:
            return sum(v.state == "Success" and v.attempt > 0 for v in store.visits(self.newest(flow)))
        finally:
            store.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_after_a_kill_only_what_was_running_is_entered_again(place: Place) -> None:
    """``kill -9`` in the middle of a map: another process resumes, and successes are not entered again."""
    run = place.killed("from flowcode import etl\netl.submit(4).wait()", "many", "flowcode.etl", done=11)
    before = place.noted
    said = place.run(f"from prefect_nb import resume\nprint(resume({run!r}).result(30))")
    assert said == str(5 + sum(range(10)) + 1)
    after = place.noted
    assert {name for name in before if after[name] > before[name]} == {"many 5"}
    assert {n for n in after if n.startswith("many")} == {f"many {n}" for n in range(10)}


def test_a_once_task_of_unknown_outcome_waits_for_a_person(place: Place) -> None:
    """It was running at the crash: nobody knows what it did, so it is not entered until somebody agrees."""
    run = place.killed("from flowcode import etl\netl.submit(1).wait()", "charge", "flowcode.etl", done=12)
    code = f"""
from prefect_nb import resume
run = resume({run!r})
print(run.wait(20).name)
print(run.tasks["charge"].state.name, run.tasks["charge"].state.message)
run.approve("charge", note="it had not charged")
print(run.result(20))
"""
    said = place.run(code).splitlines()
    assert said[0] == "Paused"
    assert "when the process vanished" in said[1]
    assert said[2] == str(2 + 45 + 1)
    assert place.noted["charge"] == 2
    assert place.noted["first 1"] == 1


def test_a_child_flow_is_resumed_with_its_parent(place: Place) -> None:
    """The child's finished tasks are not run again."""
    place.killed("from flowcode import parent\nparent.submit().wait()", "many", "flowcode.child", done=7)
    run = place.newest("flowcode.parent")
    said = place.run(f"from prefect_nb import resume\nprint(resume({run!r}).result(30))")
    assert said == str(sum(range(8)))
    assert place.noted["many 5"] == 2
    assert {place.noted[f"many {n}"] for n in range(8) if n != 5} == {1}


def test_a_retry_waits_on_after_a_restart(place: Place) -> None:
    """The wait that was left is waited: the body is not entered at once."""
    code = """
import os, signal
from flowcode import waiting
run = waiting.submit()
while not any(v.state == "Retrying" for v in run._work.store.visits(run.id)):
    run.wait(0.01)
print(run.id, run.tasks["flaky"].state.data["due"], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = place.start(code)
    said, _ = process.communicate(timeout=PATIENCE_S)
    run, due = said.split()
    code = f"""
from prefect_nb import resume
run = resume({run!r})
while "flaky" not in run.tasks or run.tasks["flaky"].state.name != "Retrying":
    run.wait(0.01)
print(run.tasks["flaky"].state.data["due"] == {due})
run.cancel()
run.wait(20)
"""
    assert place.run(code) == "True"
    assert place.noted["flaky"] == 1


def test_a_paused_run_goes_on_in_another_process(place: Place) -> None:
    """``pause`` lets running bodies end and begins nothing; the process may go on living."""
    code = """
import flowcode, time
run = flowcode.etl.submit(7)
while "first" not in run.tasks or not run.tasks["first"].state.final:
    run.wait(0.005)
run.pause()
print(run.id, run.wait(20).name, flush=True)
run.left()
print("left", flush=True)
import sys
sys.stdin.read()
"""
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{place.folder}"}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=place.folder,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        run, state = process.stdout.readline().split()
        assert state == "Paused"
        assert process.stdout.readline().strip() == "left"
        said = place.run(f"from prefect_nb import resume\nprint(resume({run!r}).result(30))")
        assert said == str(8 + 45 + 1)
        process.kill()
    noted = place.noted
    assert noted["first 7"] == 1
    assert max(noted[f"many {n}"] for n in range(10)) == 1
    assert noted["charge"] == 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A store of the test's own for runs of this process."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]
    return lambda: None


def test_a_failed_run_is_resumed_here_with_what_had_succeeded(here: Any) -> None:
    """After the cause is gone, only the failed task and those below it run."""

    @task(cache="never")
    def good(n: int) -> int:
        return L.enter(f"good {n}") + n

    @task
    def shaky(x: int) -> int:
        if not L.event("mended").is_set():
            raise OSError("down")
        return x

    @flow
    def shaky_flow() -> Any:
        return shaky(good(1)), good(1), good(2)

    run = shaky_flow.submit()
    with pytest.raises(OSError, match="down"):
        run.result(PATIENCE_S)
    L.event("mended").set()
    again = resume(run.id)
    assert sorted(again.result(PATIENCE_S)) == [2, 3, 3]
    assert L.entries == {"good 1": 2, "good 2": 1}
    assert again.tasks["good"].state.name == "Cached"
    assert sorted(resume(run.id).result()) == [2, 3, 3]
    assert L.entries == {"good 1": 2, "good 2": 1}


def test_pausing_raises_for_who_waits_and_resumes_here(here: Any) -> None:
    """The caller hears that the run was paused; nothing runs twice afterwards."""

    @task
    def held() -> int:
        L.enter("held")
        L.event("began").set()
        L.wait("let go")
        return 1

    @task
    def after(x: int) -> int:
        return L.enter("after")

    @flow
    def held_flow() -> Any:
        return after(held())

    run = held_flow.submit()
    L.wait("began")
    run.pause()
    assert run.wait(PATIENCE_S).name == "Paused"
    L.event("let go").set()
    with pytest.raises(NotAvailable, match="paused"):
        run.result(PATIENCE_S)
    assert run.tasks["held"].state.name == "Success"
    assert resume(run.id).result(PATIENCE_S) == 1
    assert L.entries == {"held": 1, "after": 1}


def test_parameters_that_json_cannot_hold_come_back(here: Any) -> None:
    """They are stored as a value, and the resumed flow is called with them."""

    @task
    def shaky(x: Any) -> Any:
        if not L.event("mended").is_set():
            raise OSError("down")
        return sorted(x)

    @flow
    def odd_flow(things: Any, n: int = 3) -> Any:
        return shaky(things)

    run = odd_flow.submit({3, 1, 2})
    run.wait(PATIENCE_S)
    assert dict(run.parameters) == {"n": 3}
    L.event("mended").set()
    assert resume(run.id).result(PATIENCE_S) == [1, 2, 3]


def test_what_cannot_be_resumed_says_why(here: Any) -> None:
    """No such run, or one that still runs."""

    @task
    def held() -> None:
        L.event("began").set()
        L.wait("let go")

    @flow
    def busy_flow() -> Any:
        return held()

    with pytest.raises(UsageError, match="no run nonsense"):
        resume("nonsense")
    run = busy_flow.submit()
    L.wait("began")
    with pytest.raises(UsageError, match="still runs"):
        resume(run.id)
    L.event("let go").set()
    run.wait(PATIENCE_S)


def test_an_interrupt_leaves_a_run_that_can_be_resumed(place: Place) -> None:
    """Ctrl-C while the flow runs: KeyboardInterrupt, the run is Paused, and it goes on later."""
    code = """
import os, signal, threading, time
import flowcode
from prefect_nb import open_store
def strike():
    while not os.path.exists("ledger") or "held" not in open("ledger").read():
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=strike, daemon=True).start()
import builtins
builtins.HOLD = "many"
try:
    flowcode.etl(3)
except KeyboardInterrupt:
    print("interrupted")
"""
    process = place.start(code)
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert said.strip() == "interrupted"
    run = place.newest("flowcode.etl")
    store = open_store(place.folder, readonly=True)
    row = store.run(run)
    store.close()
    assert row is not None
    assert (row.state, "interrupted" in row.message) == ("Paused", True)
    said = place.run(f"from prefect_nb import resume\nprint(resume({run!r}).result(30))")
    assert said == str(4 + 45 + 1)
    assert place.noted["first 3"] == 1


def _entered(name: str) -> int:
    """Note an entry in a file, for a body whose captured data changed is another call; how many there were."""
    with open("entries", "a+") as file:
        file.write(f"{name}\n")
        file.seek(0)
        return file.read().splitlines().count(name)


def test_a_task_is_tried_again_in_a_run_that_ended_badly(here: Any) -> None:
    """Also one that had succeeded; what depends on it runs again where its value is another, the rest is taken over."""

    @task
    def drawn() -> int:
        return _entered("drawn")

    @task
    def doubled(x: int) -> int:
        _entered("doubled")
        return 2 * x

    @task
    def apart() -> int:
        return _entered("apart")

    @task
    def last(x: int, y: int) -> int:
        if _entered("last") < 3:
            raise ValueError("not yet")
        return x + y

    @flow
    def retried() -> Any:
        return last(doubled(drawn()), apart())

    def entries() -> dict[str, int]:
        return dict(Counter(Path("entries").read_text().split()))

    run = retried.submit()
    with pytest.raises(ValueError, match="not yet"):
        run.result()
    second = run.retry("last")
    with pytest.raises(ValueError, match="not yet"):
        second.result()
    assert entries() == {"drawn": 1, "doubled": 1, "apart": 1, "last": 2}
    third = second.retry("drawn")
    assert third.result() == 5
    assert entries() == {"drawn": 2, "doubled": 2, "apart": 1, "last": 3}
    with pytest.raises(UsageError, match="ended as Success"):
        third.retry("last")


def test_what_cannot_be_tried_again_says_why(here: Any) -> None:
    """An unknown task, and a run that is under way."""
    L.__init__()  # type: ignore[misc]

    @task
    def fails() -> None:
        raise ValueError("always")

    @flow
    def failing() -> Any:
        return fails()

    run = failing.submit()
    with pytest.raises(ValueError, match="always"):
        run.result()
    with pytest.raises(UsageError, match="has no task nowhere"):
        run.retry("nowhere")

    @task
    def held() -> None:
        L.event("in").set()
        L.wait("go")

    @flow
    def holding() -> Any:
        return held()

    under_way = holding.submit()
    L.wait("in")
    with pytest.raises(UsageError, match="is Running"):
        under_way.retry("held")
    L.event("go").set()
    assert under_way.result() is None


def test_a_run_that_ended_well_is_given_as_it_ended(place: Place) -> None:
    """In another process, with its value, its tasks and theirs; nothing of it runs again."""
    run_id = place.run("from flowcode import *\nrun = shapes.submit(3); run.result(); print(run.id)")
    before = place.noted
    code = (
        "from flowcode import *\nrun = resume({!r})\nprint(run.state.name, run.wait().name, run.result(), "
        "run.tasks['many'].children[1].result(), run.tasks['first'].result(), dict(run.parameters))"
    )
    said = place.run(code.format(run_id))
    assert said == "Success Success {'sum': 3, 'all': ([0, 1, 2], 4), 'plain': 7} 1 4 {'n': 3}"
    assert place.noted == before
