"""From a run to the view model: cells, calls of functions, flows of functions, maps."""

from __future__ import annotations

from prefect_nb.core import events as ev
from prefect_nb.core.fold import fold
from prefect_nb.core.machine import step
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run
from prefect_nb.core.spec import TaskKind, TaskSpec, VisitId
from prefect_nb.views.build import Calls, build
from prefect_nb.views.model import NodeView, ViewModel
from prefect_nb.views.text import status_table

FIRST = Reason(ReasonCode.FIRST)
FETCH, CLEAN, LOAD = VisitId("fetch"), VisitId("clean"), VisitId("load")


def spec(name: str, kind: TaskKind = TaskKind.FUNCTION, **options: object) -> TaskSpec:
    return TaskSpec(name, kind=kind, **options)  # type: ignore[arg-type]


def ran(visit: VisitId, at: float = 2.0) -> tuple[ev.Event, ...]:
    """A body from its key to its end."""
    return (
        ev.KeyResolved(at=at, visit=visit, key="k", reason=FIRST),
        ev.BodyEntered(at=at, visit=visit, token=1),
        ev.BodyReturned(at=at + 1, visit=visit, token=1),
    )


def run_of(*events: ev.Event) -> Run:
    return fold([ev.RunOpened(at=1.0, run="r1", flow="etl", live=False, worker="w"), *events])


def mapped(count: int) -> list[ev.Event]:
    """A map of `clean` over `count` elements, the first of which has run."""
    events: list[ev.Event] = [
        ev.TaskPlanned(at=1.0, visit=FETCH, spec=spec("fetch")),
        ev.TaskPlanned(at=1.0, visit=CLEAN, spec=spec("clean"), upstream=(FETCH,)),
        ev.TaskPlanned(at=1.0, visit=LOAD, spec=spec("load"), upstream=(CLEAN, FETCH)),
        *ran(FETCH),
        ev.MapOpened(at=4.0, visit=CLEAN),
    ]
    for index in range(count):
        child = VisitId("clean", 1, index)
        events.append(ev.TaskPlanned(at=4.0, visit=child, spec=spec("clean"), parent=CLEAN))
    return [*events, *ran(VisitId("clean", 1, 0), 5.0)]


def node(model: ViewModel, name: str) -> NodeView:
    return next(n for n in model.nodes if n.id == name)


def test_a_flow_of_functions_has_its_edges_from_its_visits() -> None:
    """Where no document tells the graph, each task waits for what it was planned to wait for."""
    model = build(run_of(*mapped(3)), {}, seq=1)
    assert [(e.source, e.target) for e in sorted(model.edges, key=lambda e: (e.target, e.source))] == [
        ("fetch", "clean"),
        ("clean", "load"),
        ("fetch", "load"),
    ]


def test_a_document_keeps_its_own_edges() -> None:
    """The edges of cells are the document's, with the names that they carry."""
    planned = [
        ev.TaskPlanned(at=1.0, visit=FETCH, spec=spec("fetch", TaskKind.CELL)),
        ev.TaskPlanned(at=1.0, visit=LOAD, spec=spec("load", TaskKind.CELL), upstream=(FETCH,)),
    ]
    nodes = [{"task": "fetch", "cell": "a"}, {"task": "load", "cell": "b"}]
    graph = {"nodes": nodes, "edges": [{"source": "fetch", "target": "load", "names": ["x"], "kind": "data"}]}
    model = build(run_of(*planned), graph, seq=1)
    assert [(e.source, e.target, e.names) for e in model.edges] == [("fetch", "load", ("x",))]


def test_a_map_is_one_node_with_counts() -> None:
    """Its children are counted by state and are no nodes of their own."""
    model = build(run_of(*mapped(9)), {}, seq=1)
    assert [n.id for n in model.nodes] == ["fetch", "clean", "load"]
    assert node(model, "clean").counts == {"Success": 1, "Pending": 8}
    assert node(model, "clean").state == "Mapped"
    assert node(model, "fetch").counts is None
    assert "Mapped 1/9" in status_table(model)


def test_a_paused_task_can_be_approved_and_says_when_it_goes_on() -> None:
    """Approve and reject are offered while it waits, and never else."""
    body = [
        ev.TaskPlanned(at=1.0, visit=LOAD, spec=spec("load")),
        ev.KeyResolved(at=2.0, visit=LOAD, key="k", reason=FIRST),
        ev.BodyEntered(at=2.0, visit=LOAD, token=1),
        ev.BodyPaused(at=3.0, visit=LOAD, token=1, message="look at the plot", until=60.0),
    ]
    paused = node(build(run_of(*body), {}, seq=1), "load")
    assert (paused.state, paused.due_at, paused.message) == ("Paused", 60.0, "look at the plot")
    assert {"approve", "reject"} <= set(paused.actions)
    approved = run_of(*body, ev.VisitApproved(at=4.0, visit=LOAD, actor="ann", note="fine"))
    resuming = node(build(approved, {}, seq=1), "load")
    assert (resuming.state, resuming.message) == ("Resuming", "approved by ann: fine")
    assert not {"approve", "reject"} & set(resuming.actions)


def test_retries_that_a_body_asked_for_are_counted() -> None:
    """The attempts that a view shows are those that the task may take."""
    run = run_of(
        ev.TaskPlanned(at=1.0, visit=LOAD, spec=spec("load")),
        ev.KeyResolved(at=2.0, visit=LOAD, key="k", reason=FIRST),
        ev.BodyEntered(at=2.0, visit=LOAD, token=1),
        ev.BodyDeferred(at=3.0, visit=LOAD, token=1, due=9.0),
    )
    shown = node(build(run, {}, seq=1), "load")
    assert (shown.state, shown.attempt, shown.attempts, shown.due_at) == ("Retrying", 1, 2, 9.0)


def test_what_is_kept_between_models_changes_none_of_them() -> None:
    """A model made from the last one's calls is the model made from nothing, in every step, also for another run."""
    calls = Calls()
    for name in ("first", "second"):
        events: list[ev.Event] = [ev.RunOpened(at=1.0, run=name, flow="f", live=True, worker="w")]
        events.append(ev.TaskPlanned(at=1.0, visit=VisitId("cell"), spec=spec("cell")))
        for number in range(9):
            visit = VisitId("cell.call", 1, number)
            events.append(ev.TaskPlanned(at=2.0, visit=visit, spec=spec("call"), parent=VisitId("cell")))
            events += ran(visit, 2.0 + number)
        events += [*ran(VisitId("cell")), ev.TaskPlanned(at=20.0, visit=VisitId("cell", 2), spec=spec("cell"))]
        again = VisitId("cell.call", 2, 0)
        events += [
            ev.TaskPlanned(at=21.0, visit=again, spec=spec("call"), parent=VisitId("cell", 2)),
            *ran(again, 22.0),
        ]
        run = Run()
        for number, event in enumerate(events):
            run, _ = step(run, event)
            if number % 3 == 0 or number > len(events) - 6:
                assert build(run, {}, seq=1, calls=calls) == build(run, {}, seq=1)
