"""Resources: set up for a block of calls, given as the live thing, and cleaned up after it whatever happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from flow_parts import PATIENCE_S, Ledger

from prefect_nb import Flow, Retry, case, flow, merge, open_store, resource_manager, resume, signals, task, triggers
from prefect_nb.errors import NotAvailable, TaskCancelled, UsageError

L = Ledger()
STORY: list[str] = []


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, an empty ledger and an empty story."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]
    STORY.clear()


def noted(word: str) -> int:
    """Note it in a file, for code whose captured data changed is another call; how often it was."""
    with open("ledger", "a+") as file:
        file.write(f"{word}\n")
        file.seek(0)
        return file.read().splitlines().count(word)


def ledger() -> list[str]:
    """What was noted."""
    return Path("ledger").read_text().splitlines()


class Client:
    """A handle that could be copied and pickled, which nobody may do."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = True
        self.uses = 0


@resource_manager
class Cluster:
    """Tells what happens to it."""

    def __init__(self, name: str = "c") -> None:
        self.name = name

    def setup(self) -> Client:
        """Give a client."""
        if self.name == "broken":
            raise OSError("no such host")
        if self.name == "absent":
            raise signals.skip("none needed")
        if self.name == "slow":
            L.event("setting up").set()
            L.wait("set up")
        STORY.append(f"up {self.name}")
        self.client = Client(self.name)
        return self.client

    def cleanup(self, client: Client) -> None:
        """Close it."""
        assert client is self.client
        client.open = False
        STORY.append(f"down {self.name}")


@resource_manager
class Steady:
    """The same, noted in a file."""

    def setup(self) -> Client:
        """Give a client."""
        if noted("up") == 2 and Path("gone").exists():
            raise OSError("gone")
        return Client("steady")

    def cleanup(self, client: Client) -> None:
        """Close it."""
        client.open = False
        noted("down")


@task
def use(client: Client, x: Any = 0) -> Any:
    assert client.open
    client.uses += 1
    if x == "bad":
        raise ValueError("refused")
    STORY.append(f"use {x}")
    return x


@task
def beside(x: Any = 0) -> Any:
    STORY.append(f"beside {x}")
    return x


@task
def uses(client: Client, x: Any) -> int:
    return client.uses


def states(run: Any) -> dict[str, str]:
    """How the tasks of a run ended."""
    run.wait(PATIENCE_S)
    return {name: t.state.name.label for name, t in run.tasks.items()}


def test_what_is_called_in_the_block_uses_the_same_live_thing() -> None:
    """Settings may be nodes; the handle is never copied or stored; the cleanup gets it, after the last task."""

    @flow
    def using() -> Any:
        with Cluster(beside("a")) as client:
            first = use(client, 1)
            beside("in")
            count = uses(client, use(client, first))
        beside("after")
        return count

    run = using.submit()
    assert run.wait(PATIENCE_S).name == "Success"
    assert run.result() == 2
    assert run.tasks["setup Cluster"].state.name == run.tasks["cleanup Cluster"].state.name == "Success"
    visits = run.session.run.visits.values()
    assert all(not v.result for v in visits if v.spec.resource)
    steps = [s for s in STORY if s != "beside after"]
    assert steps[:2] == ["beside a", "up a"]
    assert steps[-1] == "down a"
    assert sorted(steps[2:-1]) == ["beside in", "use 1", "use 1"]
    edges = set(using.graph().edges)
    assert {("setup Cluster", "beside-2"), ("use-2", "cleanup Cluster"), ("beside-2", "cleanup Cluster")} <= edges
    assert ("setup Cluster", "beside-3") not in edges


def test_outside_of_a_flow_it_is_a_plain_context() -> None:
    """The block gives the resource itself, and cleans it up."""
    with Cluster("here") as client:
        assert client.open
    assert STORY == ["up here", "down here"]


@pytest.mark.parametrize(("name", "label"), [("broken", "TriggerFailed"), ("absent", "Skipped")])
def test_what_was_not_set_up_is_not_cleaned_up(name: str, label: str) -> None:
    """A failed setup fails what stands in the block, a skipped one skips it; nothing is cleaned up."""

    @flow
    def using() -> None:
        with Cluster(name) as client:
            use(client)
            beside()

    found = states(using.submit())
    assert (found["use"], found["beside"], found["cleanup Cluster"]) == (label, label, "Skipped")
    assert STORY == []


def test_a_failure_in_the_block_is_cleaned_up_after_and_not_answered_for() -> None:
    """The cleanup runs after failures, retries and skips; the run is Failed for the task, and raises what it raised."""

    @task(retry=Retry(1))
    def flaky(client: Client) -> str:
        assert client.open
        if L.enter("flaky") == 1:
            raise ValueError("once")
        return "ok"

    @flow
    def using() -> None:
        with Cluster() as client:
            flaky(client)
            use(client, use(client, "bad"))

    run = using.submit()
    found = states(run)
    assert (found["flaky"], found["use"], found["use-2"]) == ("Success", "Failed", "TriggerFailed")
    assert (found["cleanup Cluster"], STORY) == ("Success", ["up c", "down c"])
    assert run.state.name == "Failed"
    with pytest.raises(ValueError, match="refused"):
        run.result()


def test_a_cleanup_that_fails_does_not_fail_the_run() -> None:
    """It is no reference task: what it raised is shown and told."""

    @resource_manager(name="torn")
    class Torn:
        def setup(self) -> int:
            return 1

        def cleanup(self, value: int) -> None:
            raise OSError("stuck")

    @flow
    def using() -> Any:
        with Torn() as value:
            return beside(value)

    run = using.submit()
    assert (run.wait(PATIENCE_S).name, run.state.message) == ("Success", "does not decide: cleanup torn Failed")
    assert run.result() == 1


def test_the_inner_one_is_cleaned_up_first() -> None:
    """A nested resource is set up after the outer one and cleaned up before it."""

    @flow
    def nested() -> None:
        with Cluster("outer") as one, Cluster("inner") as two:
            use(one, 1)
            use(two, 2)

    assert set(states(nested.submit()).values()) == {"Success"}
    assert (STORY[:2], STORY[-2:]) == (["up outer", "up inner"], ["down inner", "down outer"])


def test_in_a_branch_that_is_not_taken_nothing_is_set_up() -> None:
    """Setup, tasks and cleanup are skipped, in the other branch they run."""

    @flow
    def either(way: str) -> Any:
        with case(beside(way), "left"), Cluster("left") as client:
            left = use(client, "l")
        with case(beside(way), "right"), Cluster("right") as client:
            right = use(client, "r")
        return merge(left, right)

    run = either.submit("right")
    found = states(run)
    assert run.result() == "r"
    assert [s for s in STORY if not s.startswith("beside")] == ["up right", "use r", "down right"]
    assert [found[n] for n in ("setup Cluster", "use", "cleanup Cluster")] == ["Skipped"] * 3


def test_a_map_in_the_block() -> None:
    """Every child is given the resource, and the cleanup waits for all of them, also where some fail."""
    from prefect_nb import unmapped

    @flow
    def mapped(xs: list[Any]) -> None:
        with Cluster() as client:
            use.map(unmapped(client), xs)

    run = mapped.submit([1, 2, "bad", 4])
    assert states(run)["use"] == "Failed"
    assert (STORY[0], STORY[-1], sorted(STORY[1:-1])) == ("up c", "down c", ["use 1", "use 2", "use 4"])


def test_a_built_flow_uses_it_anew_in_each_run() -> None:
    """Recorded calls are made in the block again; the cleanup waits for what was called there."""
    with Flow("built") as f:
        name = f.parameter("name")
        with Cluster(name) as client:
            last = use(client, 1)
            beside("in")
        after = beside("after")
        after.set_upstream(last)
    for name_ in ("one", "two"):
        STORY.clear()
        assert f.run(name=name_).state.name == "Success"
        assert STORY[0] == f"up {name_}"
        assert STORY.index(f"down {name_}") > max(STORY.index("use 1"), STORY.index("beside in"))


def test_a_body_that_raises_in_the_block_is_cleaned_up_after() -> None:
    """The block is left by an exception of the flow's own body."""

    @flow
    def raising() -> None:
        with Cluster() as client:
            use(client, 1).result()
            raise KeyError("mine")

    run = raising.submit()
    assert states(run)["cleanup Cluster"] == "Success"
    assert STORY == ["up c", "use 1", "down c"]
    with pytest.raises(KeyError):
        run.result()


# --- stops -----------------------------------------------------------------------------------------------------------


@task
def held(client: Client) -> None:
    L.event("in").set()
    while not L.event("go on").is_set():  # Python lines, so that a stop can strike
        threading.Event().wait(0.001)


@flow
def holding(name: str) -> None:
    with Cluster(name) as client:
        use(client, held(client))


@pytest.mark.parametrize("waits", [False, True])
def test_a_cancel_while_a_task_of_the_block_runs_is_cleaned_up_after(waits: bool) -> None:
    """The task ends first, then the cleanup runs, then the run is Cancelled; also while the flow's body waits there."""

    @flow
    def waiting(name: str) -> None:
        with Cluster(name) as client:
            held(client).result()

    run = (waiting if waits else holding).submit("c")
    L.wait("in")
    run.cancel()
    with pytest.raises(TaskCancelled):
        run.result(PATIENCE_S)
    found = states(run)
    assert (run.state.name, found["held"], found["cleanup Cluster"]) == ("Cancelled", "Cancelled", "Success")
    assert STORY == ["up c", "down c"]


def test_a_cancel_from_elsewhere_cleans_up_too() -> None:
    """A cancel that only the engine hears of, as from the command line, lets the cleanup run."""
    run = holding.submit("c")
    L.wait("in")
    from prefect_nb.core import events as ev

    run.session.post(ev.RunCancelRequested(at=1.0, actor="ann"))
    with pytest.raises(TaskCancelled):
        run.result(PATIENCE_S)
    assert (run.state.name, STORY) == ("Cancelled", ["up c", "down c"])


def test_a_cancel_while_it_is_set_up_leaves_nothing_standing() -> None:
    """A setup that comes to its end, or is stopped, leaves nothing open: what stands is cleaned up."""
    run = holding.submit("slow")
    L.wait("setting up")
    run.cancel()
    L.event("set up").set()
    with pytest.raises(TaskCancelled):
        run.result(PATIENCE_S)
    assert run.state.name == "Cancelled"
    assert STORY in ([], ["up slow", "down slow"])
    assert all(s.state.final for s in run.tasks.values())


def test_a_pause_cleans_up_when_the_run_is_left_and_a_resumed_run_sets_up_again() -> None:
    """What the process leaves stands no longer; the resumed run takes over what had ended and sets up for the rest."""

    @task
    def first(client: Client) -> str:
        noted("first")
        return client.name

    @task(approve=True)
    def asked(client: Client, x: Any) -> str:
        assert client.open
        return f"{x} approved"

    @flow
    def pausing() -> Any:
        with Steady() as client:
            return asked(client, first(client))

    run = pausing.submit()
    assert run.wait(PATIENCE_S).name == "Paused"
    run.pause()
    run.left()
    assert ledger() == ["up", "first", "down"]
    again = resume(run.id)
    assert again.wait(PATIENCE_S).name == "Paused"
    again.approve("asked")
    assert again.result(PATIENCE_S) == "steady approved"
    assert ledger() == ["up", "first", "down", "up", "down"]


@pytest.mark.parametrize("waits", [False, True])
def test_a_person_is_asked_in_the_block_of_a_flow_that_waits_for_nobody(waits: bool) -> None:
    """The cleanup that is held hides no pause: the call returns, and what stood is cleaned up."""

    @task(approve=True)
    def asked(client: Client) -> str:
        return client.name

    @flow
    def asking() -> Any:
        with Cluster() as client:
            found = asked(client)
            return found.result() if waits else found

    with pytest.raises(NotAvailable, match="waits for a person"):
        asking()
    assert STORY == ["up c", "down c"]


def test_the_body_of_a_resumed_flow_that_asks_for_it_gets_it_anew() -> None:
    """``.result()`` of a resource whose setup was put off waits for the setup, and gives the live thing."""

    @task
    def last(x: Any) -> Any:
        if noted("last") == 1:
            raise ValueError("later")
        return x

    @flow
    def asking() -> Any:
        with Steady() as client:
            return last(client.result().open)

    run = asking.submit()
    run.left()
    assert resume(run.id).result(PATIENCE_S) is True
    assert ledger() == ["up", "last", "down", "up", "last", "down"]


def test_a_resumed_run_that_needs_it_no_more_sets_nothing_up() -> None:
    """When everything in the block had ended, only what stands outside of it runs again."""

    @task
    def last(x: Any) -> Any:
        if noted("last") == 1:
            raise ValueError("later")
        return x

    @task
    def first(client: Client) -> str:
        return client.name

    @flow
    def ending() -> Any:
        with Steady() as client:
            x = first(client)
        return last(x)

    run = ending.submit()
    assert run.wait(PATIENCE_S).name == "Failed"
    run.left()
    again = resume(run.id)
    assert again.result(PATIENCE_S) == "steady"
    assert sorted(ledger()) == ["down", "last", "last", "up"]
    assert again.tasks["setup Steady"].state.message.startswith("put off")
    assert again.tasks["cleanup Steady"].state.name == "Skipped"


def test_a_setup_that_fails_in_a_resumed_run_fails_what_needs_it() -> None:
    """The task that needs the resource fails, naming the setup; nothing hangs, and nothing is cleaned up."""

    @task
    def needs(client: Client) -> None:
        if noted("needs") == 1:
            raise ValueError("later")

    @flow
    def using() -> None:
        with Steady() as client:
            needs(client)

    run = using.submit()
    run.left()
    Path("gone").write_text("")
    again = resume(run.id)
    found = states(again)
    assert (found["setup Steady-2"], found["needs"], found["cleanup Steady"]) == ("Failed", "Failed", "Skipped")
    assert "setup Steady-2 is Failed" in again.tasks["needs"].state.message
    assert ledger() == ["up", "needs", "down", "up"]


CODE = """
import builtins, os, time
from prefect_nb import task, flow, resource_manager

def note(word):
    with open("ledger", "a") as file:
        file.write(f"{word}\\n")

class Client:
    def __init__(self):
        self.pid = os.getpid()

@resource_manager
class Cluster:
    def __init__(self, n): self.n = n
    def setup(self):
        note(f"up {self.n}")
        return Client()
    def cleanup(self, client):
        assert client.pid == os.getpid()
        note(f"down {self.n}")

@task
def one(client):
    note("one")
    return 1

@task
def two(client, x):
    assert client.pid == os.getpid()
    note("two")
    if getattr(builtins, "HOLD", False):
        note("held")
        time.sleep(60)
    return x + 1

@flow
def etl():
    with Cluster(1) as outer, Cluster(2) as inner:
        return two(inner, one(outer))
"""


def succeeded(folder: Path) -> int:
    """How many bodies of the newest run are recorded as successful."""
    store = open_store(folder, readonly=True)
    try:
        return sum(v.state == "Success" and v.attempt > 0 for v in store.visits(store.runs(limit=1)[0].run))
    finally:
        store.close()


def test_after_a_kill_it_is_set_up_again_for_what_is_left(tmp_path: Path) -> None:
    """``kill -9`` while a task of the block runs: another process sets up again, runs that task only, and cleans up."""
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "rescode.py").write_text(textwrap.dedent(CODE))
    root = str(Path(__file__).parents[2])
    env = os.environ | {"PYTHONPATH": f"{root}:{tmp_path}"}
    hold = "import builtins; builtins.HOLD = True; import rescode; rescode.etl()"
    process = subprocess.Popen([sys.executable, "-c", hold], cwd=tmp_path, env=env)
    ledger = tmp_path / "ledger"
    while not (ledger.exists() and "held" in ledger.read_text() and succeeded(tmp_path) == 3):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)
    assert ledger.read_text().split("\n")[:-1] == ["up 1", "up 2", "one", "two", "held"]
    ledger.write_text("")
    store = open_store(tmp_path, readonly=True)
    run = store.runs(limit=1)[0].run
    store.close()
    said = subprocess.run(
        [sys.executable, "-c", f"import rescode, prefect_nb; print(prefect_nb.resume({run!r}).result(50))"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert said.stdout.strip() == "2", said.stderr
    assert ledger.read_text().split("\n")[:-1] == ["up 1", "up 2", "two", "down 2", "down 1"]


# --- wrong uses ------------------------------------------------------------------------------------------------------


def test_what_is_no_resource_is_refused() -> None:
    """A function, a class without cleanup and an async setup are told at once, and so are settings that do not fit."""

    class Half:
        def setup(self) -> None: ...

    class Later:
        async def setup(self) -> None: ...
        def cleanup(self, x: Any) -> None: ...

    for wrong in (Half, Later, len):
        with pytest.raises(UsageError):
            resource_manager(wrong)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        Cluster(1, 2, 3)


def test_what_was_left_is_not_used_any_more() -> None:
    """A resource that is given to a task after its block is refused where the call stands, in both spellings."""

    @flow
    def late() -> None:
        with Cluster() as client:
            use(client)
        use(client)

    with pytest.raises(UsageError, match="after its block"):
        late()
    with Flow("built"):
        with Cluster() as client:
            pass
        with pytest.raises(UsageError, match="after its block"):
            use(client)


def test_trigger_in_a_block_is_given_the_failure_of_the_setup() -> None:
    """A task in the block that heeds failures runs after a failed setup, and the run ends well for that."""

    @task(trigger=triggers.any_failed)
    def instead(client: Any) -> str:
        return type(client).__name__

    @flow
    def using() -> Any:
        with Cluster("broken") as client:
            return instead(client)

    assert using() == "OSError"
