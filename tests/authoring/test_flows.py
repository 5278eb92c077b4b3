"""Flows of functions: nodes, values, failures, parallel bodies, cancelling."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flow_parts import PATIENCE_S, Ledger

from prefect_nb import Retry, context, flow, resume, signals, task, triggers
from prefect_nb.authoring.nodes import Node
from prefect_nb.errors import NotAvailable, ParameterError, TaskCancelled, UsageError

L = Ledger()


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]


@task
def inc(x: int) -> int:
    return x + 1


@task
def total(xs: Any) -> int:
    return sum(xs)


@task
def broken(x: Any) -> int:
    raise ValueError(f"no {x}")


def test_calls_give_nodes_and_the_flow_gives_values() -> None:
    """Inside a flow a call is a node at once; the flow's value has their values in place of nodes."""
    seen: list[object] = []

    @flow
    def etl(start: int) -> Any:
        one = inc(start)
        seen.append(one)
        return {"one": one, "sum": total([one, inc(one), 10])}

    assert etl(1) == {"one": 2, "sum": 15}
    assert type(seen[0]) is Node


@pytest.mark.parametrize("shape", [list, tuple, lambda ns: {ns[0], ns[1]}, lambda ns: {"a": ns[0], "b": [ns[1]]}])
def test_nodes_inside_containers_are_edges(shape: Any) -> None:
    """Nodes in lists, tuples, sets and dicts are waited for and arrive as values in the same container."""

    @task
    def kind(x: Any) -> tuple[str, list[int]]:
        flat = [*x.values()] if isinstance(x, dict) else [*x]
        numbers = [n for v in flat for n in (v if isinstance(v, list) else [v])]
        return type(x).__name__, sorted(numbers)

    @flow
    def etl() -> Any:
        a, b = inc(1), inc(2)
        made = {a, b} if shape not in (list, tuple) and not isinstance(shape([1, 2]), dict) else shape([a, b])
        return kind(made)

    name, numbers = etl()
    assert (name, numbers) == (type(shape([1, 2])).__name__, [2, 3])


def test_the_second_call_of_a_task_has_a_name_of_its_own() -> None:
    """Names count up; each stands in the run with its state and its value."""

    @flow
    def etl() -> Any:
        return inc(inc(1))

    run = etl.submit()
    assert run.result(PATIENCE_S) == 3
    assert {n: (t.state.name, t.result()) for n, t in run.tasks.items()} == {
        "inc": ("Success", 2),
        "inc-2": ("Success", 3),
    }
    assert (run.state.name, run.state.type, run.wait(1).name) == ("Success", "COMPLETED", "Success")


USES = {
    "bool": bool,
    "str": str,
    "format": lambda n: f"{n:>3}",
    "iter": list,
    "len": len,
    "hash": hash,
    "in": lambda n: 3 in n,
    "int": int,
    "float": float,
    "index": lambda n: [0][n],
    "unpack": lambda n: (lambda a, b: None)(*n),
    "equal": lambda n: n == 2,
    "if": lambda n: 1 if n < 2 else 0,
    "key": lambda n: {n: 1},
}


@pytest.mark.parametrize("use", USES)
def test_a_node_used_as_a_value_says_so(use: str) -> None:
    """No use as a value gives a wrong answer: each says to wait for the result."""

    @flow
    def etl() -> Any:
        node = inc(1)
        assert "inc" in repr(node)
        with pytest.raises(UsageError, match=r"\.result\(\)"):
            USES[use](node)
        return node

    assert etl() == 2


@task(nout=2)
def halves(x: int) -> tuple[int, int]:
    return x // 2, x - x // 2


OPERATIONS: dict[str, tuple[Any, Any]] = {
    "add": (lambda n: n + 1, 8),
    "radd": (lambda n: 1 + n, 8),
    "rsub": (lambda n: 10 - n, 3),
    "two nodes": (lambda n: n * n, 49),
    "chain": (lambda n: (n + 1) / 2 - n**2 // 3 % 5, 3.0),
    "compare": (lambda n: [n > 6, n <= 6], [True, False]),
    "logic": (lambda n: (n > 6) & (n < 8) | (n > 100), True),
    "unary": (lambda n: [-n, ~n, abs(-n), +n], [-7, -8, 7, 7]),
    "index": (lambda n: halves(n)[1], 4),
    "key": (lambda n: inc.map([1, n])[-1], 8),
    "unpacked": (lambda n: (lambda a, b: b - a)(*halves(n)), 1),
    "sum": (lambda n: sum([n, n, n]), 21),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operators_and_indexing_make_nodes(name: str) -> None:
    """Each is a small task, with the value that the operator gives on values."""
    build, value = OPERATIONS[name]

    @flow
    def etl() -> Any:
        return build(inc(6))

    assert etl() == value


def test_an_operator_that_fails_is_a_task_that_fails() -> None:
    """Its error is the operator's own."""

    @flow
    def etl() -> Any:
        return inc(1)["key"]

    run = etl.submit()
    with pytest.raises(TypeError, match="not subscriptable"):
        run.result()
    assert run.tasks["getitem"].state.name == "Failed"


@pytest.mark.parametrize("nout", [0, "2", True])
def test_a_count_of_values_that_is_none_is_refused(nout: Any) -> None:
    """At once."""
    with pytest.raises(UsageError, match="nout must be a whole number"):
        task(nout=nout)(lambda: None)


def test_an_array_of_a_node_says_so_too() -> None:
    """NumPy asks a node for an array and hears that it is none."""
    numpy = pytest.importorskip("numpy")

    @flow
    def etl() -> Any:
        with pytest.raises(UsageError, match=r"\.result\(\)"):
            numpy.asarray(inc(1))
        return 0

    assert etl() == 0


def test_results_let_the_graph_grow() -> None:
    """``.result()`` waits, so that native if and for work on values."""

    @flow
    def etl() -> Any:
        found = [inc(n) for n in range(inc(2).result())]
        return inc(100) if found[-1].result() > 2 else inc(200)

    assert etl() == 101


def test_independent_bodies_run_at_the_same_time() -> None:
    """Three bodies meet at a barrier, which one after the other never would."""
    barrier = threading.Barrier(3, timeout=PATIENCE_S)

    @task
    def meet(n: int) -> int:
        barrier.wait()
        return n

    @flow(workers=3)
    def etl() -> Any:
        return [meet(1), meet(2), meet(3)]

    assert etl() == [1, 2, 3]


def test_no_more_bodies_than_workers() -> None:
    """With two workers never three bodies run."""
    busy, most = 0, 0
    lock = threading.Lock()

    @task
    def work(n: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        with lock:
            busy -= 1
        return n

    @flow(workers=2)
    def etl() -> Any:
        return [work(n) for n in range(30)]

    assert etl() == list(range(30))
    assert most <= 2


def test_a_failure_is_the_tasks_own_exception() -> None:
    """The flow raises what the task raised, with a note of which task; what depends on it did not run, the rest did."""

    @flow
    def etl() -> Any:
        bad = broken(7)
        return [inc(bad), inc(1)]

    run = etl.submit()
    with pytest.raises(ValueError, match="no 7") as caught:
        run.result(PATIENCE_S)
    assert any("broken" in note and run.id in note for note in caught.value.__notes__)
    assert {n: t.state.name for n, t in run.tasks.items()} == {
        "broken": "Failed",
        "inc": "TriggerFailed",
        "inc-2": "Success",
    }
    assert "broken" in run.tasks["inc"].why()
    assert run.state.name == "Failed"


def test_a_failure_nobody_reads_fails_the_flow() -> None:
    """A task whose value is not used fails the run all the same."""

    @flow
    def etl() -> int:
        broken(1)
        return 5

    with pytest.raises(ValueError, match="no 1"):
        etl()


def test_what_the_flows_own_body_raises_fails_the_run() -> None:
    """An error between the calls is raised as it is, the run is Failed, and tasks that were planned still end."""

    @flow
    def etl() -> None:
        inc(1)
        raise KeyError("mine")

    run = etl.submit()
    with pytest.raises(KeyError, match="mine"):
        run.result(PATIENCE_S)
    assert run.state.name == "Failed"
    assert run.tasks["inc"].state.name == "Success"
    assert "KeyError" in run.tasks["etl"].state.message


def test_a_trigger_that_heeds_failures_gets_the_exception() -> None:
    """``any_failed`` runs on a failure and is given the exception; the failure is answered, so the run succeeds."""

    @task(trigger=triggers.any_failed)
    def mend(x: Any) -> str:
        return repr(x)

    @flow
    def etl() -> Any:
        return mend(broken(3))

    assert etl() == "ValueError('no 3')"


def test_a_trigger_of_the_authors_sees_the_states() -> None:
    """A callable is asked with the states by name, and its no is told."""
    seen: dict[str, str] = {}

    def mine(states: Any) -> bool:
        seen.update({name: str(s.name) for name, s in states.items()})
        return False

    @task(trigger=mine)
    def last(x: Any) -> int:
        return 1

    @flow
    def etl() -> Any:
        return last(broken(1))

    run = etl.submit()
    run.wait(PATIENCE_S)
    assert seen == {"broken": "Failed"}
    assert run.tasks["last"].state.name == "TriggerFailed"


def test_signals_become_states() -> None:
    """Skip skips what depends on it, success ends early with its value, retry enters again."""

    @task
    def skipped() -> int:
        raise signals.skip("nothing new")

    @task
    def early() -> int:
        raise signals.success(9)

    @task
    def again() -> int:
        if L.enter("again") < 3:
            raise signals.retry("not yet", after=0)
        return L.entries["again"]

    @task(skip_on_upstream_skip=False)
    def whatever(x: Any) -> Any:
        return x

    @flow
    def etl() -> Any:
        none = skipped()
        return [none, inc(none), early(), again(), whatever(none)]

    run = etl.submit()
    assert run.result(PATIENCE_S) == [None, None, 9, 3, None]
    assert run.tasks["inc"].state.name == "Skipped"
    assert run.tasks["again"].attempts == 3


def test_retries_wait_without_a_worker() -> None:
    """While one task waits for its next attempt, the only worker runs the others."""

    @task(retry=Retry(1, delay="1h"), cache="never")
    def flaky() -> int:
        if L.enter("flaky") == 1:
            raise OSError("later")
        return 1

    @task
    def other(n: int) -> int:
        return n

    @flow(workers=1)
    def etl() -> Any:
        first = flaky()
        values = [other(n).result() for n in range(3)]
        L.event("others ran").set()
        return first, values

    run = etl.submit()
    L.wait("others ran")
    assert run.tasks["flaky"].state.name == "Retrying"
    run.cancel()
    assert run.wait(PATIENCE_S).name == "Cancelled"


def test_retried_attempts_are_counted() -> None:
    """Two failures, then a value; the third attempt's."""

    @task(retry=Retry(3, delay=0))
    def flaky() -> int:
        if L.enter("flaky") < 3:
            raise OSError("later")
        return context.attempt

    @flow
    def etl() -> Any:
        return flaky()

    run = etl.submit()
    assert run.result(PATIENCE_S) == 3
    assert run.tasks["flaky"].attempts == 3


def test_cancel_stops_running_python_and_begins_nothing() -> None:
    """A body that loops ends within seconds, what waits becomes NotRun, and the caller hears of it."""

    @task
    def endless() -> None:
        L.event("began").set()
        while True:
            time.sleep(0.001)

    @flow
    def etl() -> Any:
        return inc(endless())

    run = etl.submit()
    L.wait("began")
    run.cancel()
    assert run.wait(PATIENCE_S).name == "Cancelled"
    assert {n: t.state.name for n, t in run.tasks.items()} == {"endless": "Cancelled", "inc": "NotRun"}
    with pytest.raises(TaskCancelled):
        run.result()


def test_a_body_that_cannot_be_stopped_is_left_behind_and_its_result_refused() -> None:
    """It waits where no exception arrives: the run ends without it, and what it gives later does not count."""

    @task
    def deaf() -> int:
        L.event("began").set()
        L.event("let go").wait(PATIENCE_S)
        L.event("came back").set()
        return 1

    @flow
    def etl() -> Any:
        return deaf()

    run = etl.submit()
    L.wait("began")
    run.cancel()
    assert run.wait(PATIENCE_S).name == "Cancelled"
    L.event("let go").set()
    with pytest.raises(TaskCancelled):
        run.result(PATIENCE_S)
    assert run.tasks["deaf"].state.name == "Cancelled"
    assert "could not be stopped" in run.tasks["deaf"].logs()


def test_a_timeout_in_a_thread_is_soft_and_says_so() -> None:
    """The visit times out though its body goes on; the late result is refused."""

    @task(timeout=0.05)
    def slow() -> int:
        L.event("let go").wait(PATIENCE_S)
        return 1

    @flow
    def etl() -> Any:
        slow()
        L.wait("over")
        return 0

    run = etl.submit()
    deadline = time.monotonic() + PATIENCE_S
    while "slow" not in run.tasks or not run.tasks["slow"].state.final:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    assert run.tasks["slow"].state.name == "TimedOut"
    assert "soft" in run.tasks["slow"].state.message
    L.event("let go").set()
    while "too late" not in run.tasks["slow"].logs():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    L.event("over").set()
    with pytest.raises(TimeoutError):
        run.result(PATIENCE_S)
    assert run.tasks["slow"].state.name == "TimedOut"


def test_async_tasks_share_one_thread() -> None:
    """Coroutines wait for each other though there is only one worker."""
    import asyncio

    gate: dict[str, asyncio.Event] = {}

    @task
    async def first() -> str:
        gate["open"] = asyncio.Event()
        L.event("gate").set()
        await gate["open"].wait()
        return threading.current_thread().name

    @task
    async def second() -> str:
        await asyncio.to_thread(L.wait, "gate")
        gate["open"].set()
        return threading.current_thread().name

    @flow(workers=1)
    def etl() -> Any:
        return first(), second()

    one, two = etl()
    assert one == two


def test_calls_within_a_body_return_values_and_are_children() -> None:
    """A task called in a task's body gives its value, and is recorded below the caller."""

    @task
    def outer(n: int) -> int:
        return sum(inc(i) for i in range(n))

    @flow
    def etl() -> Any:
        return outer(3)

    run = etl.submit()
    assert run.result(PATIENCE_S) == 6
    visits = run._work.session.run.visits.values()
    assert sorted(str(v.id) for v in visits if v.parent is not None) == [f"outer.inc[{i}]#1" for i in range(3)]


def test_a_flow_in_a_flow_is_a_run_of_its_own() -> None:
    """Its node has its state and value; its tasks are in its own run."""

    @flow
    def child(x: int) -> Any:
        return inc(x)

    @flow
    def parent() -> Any:
        return inc(child(5))

    run = parent.submit()
    assert run.result(PATIENCE_S) == 7
    row = run._work.store.run(f"child@{run.id}")
    assert row is not None
    assert row.state == "Success"
    assert "inc" in run.tasks


def test_a_failing_child_flow_fails_its_node() -> None:
    """The parent raises the very exception of the child's task."""

    @flow
    def child() -> Any:
        return broken("child")

    @flow
    def parent() -> Any:
        return child()

    with pytest.raises(ValueError, match="no child"):
        parent()


def test_parameters_are_checked_together_before_anything_runs() -> None:
    """Every fault is told at once, and no run is opened."""

    @flow
    def etl(region: str, pages: int = 10, *, rate: float = 1.0) -> Any:
        L.enter("body")
        return region, pages, rate

    with pytest.raises(ParameterError) as caught:
        etl(5, pages="x", colour=1)  # type: ignore[call-arg, arg-type]
    told = str(caught.value)
    assert all(word in told for word in ("region", "pages", "colour"))
    with pytest.raises(ParameterError, match="region is missing"):
        etl.submit()  # type: ignore[call-arg]
    assert not L.entries
    assert etl("EU", rate=2) == ("EU", 10, 2.0)


def test_the_graph_is_known_before_anything_runs() -> None:
    """``graph`` runs the flow's body and no task; at a result it says that the rest is unknown."""

    @task
    def fetch(region: str) -> int:
        return L.enter("fetch")

    @flow
    def etl(region: str, more: bool = False) -> Any:
        raw = fetch.map([region, region])
        done = total(raw)
        return inc(done.result()) if more else inc(done)

    whole = etl.graph("EU")
    assert whole.nodes == ("fetch", "total", "inc")
    assert whole.edges == (("fetch", "total"), ("total", "inc"))
    part = etl.graph("EU", True)
    assert (part.nodes, part.unknown_from) == (("fetch", "total"), "total")
    assert "unknown from here" in repr(part)
    assert "<svg" in whole._repr_mimebundle_()["image/svg+xml"]
    assert not L.entries


def test_a_call_inside_try_warns() -> None:
    """A node cannot raise there; asking for the result at once is fine."""

    @flow
    def careless() -> Any:
        try:
            return inc(1)
        except ValueError:
            return 0

    @flow
    def careful() -> Any:
        try:
            return broken(1).result()
        except ValueError:
            return 0

    with pytest.warns(UserWarning, match="inside try"):
        careless()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="no 1"):
            careful()


def test_a_wrong_call_is_told_where_it_stands() -> None:
    """Arguments that the task cannot take raise in the flow's body."""

    @flow
    def etl() -> Any:
        return inc(1, 2)  # type: ignore[call-arg]

    with pytest.raises(TypeError, match="too many positional"):
        etl()


def test_approval_holds_no_worker_and_is_recorded() -> None:
    """The task waits for a person while the others run; who agreed, and why, is known to its body."""

    @task(approve=True)
    def deploy(x: int) -> Any:
        approval = context.approval
        assert approval is not None
        return x, approval.note

    @flow(workers=1)
    def etl() -> Any:
        return deploy(inc(1)), inc(5)

    run = etl.submit()
    assert run.wait(PATIENCE_S).name == "Paused"
    assert run.tasks["deploy"].state.name == "Paused"
    with pytest.raises(NotAvailable):
        run.result(timeout=0)
    run.approve("deploy", note="ok")
    assert run.result(PATIENCE_S) == ((2, "ok"), 6)


def test_a_call_waits_for_no_person() -> None:
    """Where only an answer is missing the call ends and says how to go on; approved and resumed, the rest runs."""

    @task
    def build(x: int) -> int:
        L.enter("build")
        return x + 1

    @task(approve=True)
    def deploy(x: int) -> int:
        return x * 10

    @flow
    def etl() -> int:
        return deploy(build(1))

    with pytest.raises(NotAvailable, match="waits for a person: deploy") as told:
        etl()
    run = resume(told.value.fields["run"])
    assert run.wait(PATIENCE_S).name == "Paused"
    run.approve("deploy")
    assert run.result(PATIENCE_S) == 20
    assert L.entries["build"] == 1


def test_a_body_that_changes_its_input_hurts_nobody_else() -> None:
    """What comes after it reads the value as it was stored."""

    @task
    def make() -> list[int]:
        return [1, 2]

    @task
    def spoil(xs: list[int]) -> int:
        xs.append(99)
        return len(xs)

    @task
    def after(xs: list[int], done: int) -> list[int]:
        return xs

    @flow
    def etl() -> Any:
        xs = make()
        return after(xs, spoil(xs))

    assert etl() == [1, 2]


def test_a_thousand_trivial_tasks() -> None:
    """They end in seconds, all of them."""

    @flow
    def etl() -> Any:
        return total([inc(n) for n in range(1000)])

    began = time.monotonic()
    assert etl() == 500_500
    assert time.monotonic() - began < 20
