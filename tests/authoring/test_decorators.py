"""``@task``: what its options make of a function, and what it refuses."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from cells.bench import ShellBench
from cells.probe import extension

from prefect_nb import Cache, Retry, task
from prefect_nb.core.spec import TaskKind
from prefect_nb.errors import UsageError

OPTIONS: list[tuple[dict[str, Any], str, Any]] = [
    ({}, "name", "double"),
    ({"name": "twice"}, "name", "twice"),
    ({}, "kind", TaskKind.FUNCTION),
    ({}, "retry", Retry(0)),
    ({"retry": 3}, "retry", Retry(3)),
    ({"retry": Retry(2, "1s", on=KeyError)}, "retry", Retry(2, "1s", on=KeyError)),
    ({}, "cache", Cache("pure")),
    ({"cache": "1d"}, "cache", Cache("1d")),
    ({"cache": Cache("never")}, "cache", Cache("never")),
    ({"version": "2"}, "version", "2"),
    ({"tags": ("net", "slow")}, "tags", ("net", "slow")),
]


def double(x: int, *, by: int = 2) -> int:
    """Twice as much."""
    return by * x


async def later() -> None: ...


def lazily() -> Any:
    yield 1


@pytest.mark.parametrize(("options", "part", "wanted"), OPTIONS, ids=lambda value: str(value)[:30])
def test_an_option_becomes_a_part_of_the_spec(options: dict[str, Any], part: str, wanted: Any) -> None:
    """Every option, given or not, is in the task's spec as the value that it stands for."""
    made = task(**options)(double) if options else task(double)
    assert getattr(made.spec, part) == wanted


REFUSED = [
    (lambda: task(staticmethod(double)), "above @staticmethod", "put @task below"),
    (lambda: task(classmethod(double)), "above @classmethod", "put @task below"),
    (lambda: task(3), "takes a function, not 3", "write a def"),
    (lambda: task(print), "takes a function", "write a def"),
    (lambda: task(lazily), "lazily is", "return"),
    (lambda: task(retry=-1)(double), "retries", ""),
    (lambda: task(cache="sometimes")(double), "sometimes", ""),
]


@pytest.mark.parametrize(("made", "what", "hint"), REFUSED, ids=[what for _, what, _ in REFUSED])
def test_what_cannot_be_a_task_is_refused_at_once(made: Any, what: str, hint: str) -> None:
    """A body or an option that cannot be meant is one error where it is written, with what to do instead."""
    with pytest.raises(UsageError, match=what) as caught:
        made()
    assert hint in (caught.value.hint or "")


def test_without_a_notebook_a_task_is_its_function() -> None:
    """Where no extension is loaded a task is called, named, documented and bound as its function."""
    made = task(double)
    assert (made(4), made(4, by=3)) == (8, 12)
    assert (made.__name__, made.__doc__, made.__wrapped__) == ("double", "Twice as much.", double)  # type: ignore[attr-defined]
    assert repr(made) == "<task double>"
    assert type("Box", (), {"get": task(lambda self, x: x + self.n), "n": 1})().get(2) == 3


def test_a_task_goes_through_a_pickle_as_what_it_is() -> None:
    """A copy of a task has its spec and its body."""
    back = pickle.loads(pickle.dumps(task(name="again", retry=2)(later_double)))
    assert (back.spec.name, back.spec.retry, back(5)) == ("again", Retry(2), 10)


def later_double(x: int) -> int:
    return 2 * x


def test_in_a_notebook_its_calls_are_visits_of_the_cell(bench: ShellBench) -> None:
    """Each call in a task cell is a visit below the cell's, under the name that the decorator gave it."""
    source = "from prefect_nb import task\n@task(name='twice')\ndef double(x):\n    return 2 * x"
    cells = [{"id": "def", "source": source}, {"id": "a", "source": "%%task a\na = [double(n) for n in (1, 2)]"}]
    for cell in cells:
        assert not bench.execute(cell["id"], cell["source"], cells).error
    visits = extension(bench.shell).flow.session.run.visits.values()
    below = [v for v in visits if v.parent is not None]
    assert [(v.parent.task, v.id.task.split(".")[-1], v.state.name.value) for v in below] == [
        ("a", "twice", "Success"),
        ("a", "twice", "Success"),
    ]
    assert bench.value("a") == "[2, 4]"


@pytest.mark.parametrize(("options", "wants"), [({"approve": True}, "waits for a person"), ({"once": True}, "once")])
def test_what_has_to_be_recorded_does_not_run_where_nothing_is(options: Any, wants: str) -> None:
    """Without a flow and without the extension a task is its function, unless that would break its word."""

    @task(**options)
    def deploy() -> str:
        return "done"

    with pytest.raises(UsageError, match=wants):
        deploy()
    assert deploy.function() == "done"
