"""The exam: every case of every catalogue, at its level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cells.bench import Bench, KernelBench, ShellBench
from cells.catalogue import Case, CatalogueError, cases
from cells.conftest import catalogues
from cells.exam import Exam
from kernel.conftest import Kernel

from prefect_nb.core.reading import build

STATIC = ("MULTI_DEF", "FORWARD_READ", "UNDEF_READ", "MUTATES_INPUT")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case and place."""
    if "case" not in metafunc.fixturenames:
        return
    found = [case for path in catalogues(metafunc.config) for case in cases(path)]
    if "place" not in metafunc.fixturenames:
        metafunc.parametrize("case", [pytest.param(c, id=c.id) for c in found])
        return
    everywhere = metafunc.config.getoption("--everywhere", default=False)
    rows = []
    for case in found:
        if case.level == "engine":
            rows += [pytest.param(case, place, id=f"{case.id}-{place}") for place in ("press", "pull")]
        if case.level == "kernel" or (case.level == "engine" and everywhere):
            rows.append(pytest.param(case, "kernel", id=f"{case.id}-kernel", marks=pytest.mark.kernel))
    metafunc.parametrize(("case", "place"), rows)


@pytest.fixture
def make_kernel() -> Iterator[Callable[..., Kernel]]:
    """Real kernels, ended with the test."""
    kernels: list[Kernel] = []

    def make(cwd: Path, **env: str) -> Kernel:
        kernels.append(Kernel(cwd, env))
        return kernels[-1]

    yield make
    for kernel in kernels:
        kernel.close()


def test_names_and_graph_are_as_stated(case: Case) -> None:
    """What a cell reads, writes, defers, deletes and mutates, by its source alone, is what the catalogue states."""
    names = case.names()
    for cell in case.cells:
        for key in ("reads", "writes", "defers", "deletes", "mutates"):
            if key in cell:
                assert getattr(names[cell["id"]], key) == set(cell[key]), (cell["id"], key)
    if case.level == "static":
        kinds: dict[str, Any] = {c["id"]: c.get("kind", "task") for c in case.cells}
        graph = build([n.node(i, "task" if kinds[i] == "task" else "plain") for i, n in names.items()])
        edges = sorted([e.source, e.target, e.name] for e in graph.edges if e.kind == "data")
        order = sorted([e.source, e.target, e.name, e.kind] for e in graph.order_edges)
        assert edges == sorted(case.data.get("edges", edges))
        assert order == sorted(case.data.get("order_edges", order))
        assert set(case.data.get("diag", ())) & set(STATIC) <= {p.code for p in graph.problems}


def test_case(case: Case, place: str, tmp_path: Path, make_kernel: Callable[..., Kernel]) -> None:
    """The case's script does to its notebook what the catalogue says: outcomes, values, edges, outputs, diagnoses."""
    bench: Bench = (
        KernelBench(tmp_path, make_kernel) if place == "kernel" else ShellBench(tmp_path, pull=place == "pull")
    )
    try:
        Exam(case, bench, exact=place != "pull").sit()
    finally:
        bench.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('id="X"\nname="x"\nlevel="engine"\ncells=[]\nexpect=1', "no key 'expect'"),
        ('id="X"\nname="x"\nlevel="engine"\ncells=[{id="a", src="1", write=["x"]}]', "no key 'write'"),
        ('id="X"\nname="x"\nlevel="engine"\ncells=[]\nsteps=[{do="run_all", value={}}]', "no key 'value'"),
        ('id="X"\nname="x"\nlevel="engine"\ncells=[]\nsteps=[{do="walk"}]', "no step 'walk'"),
        ('id="X"\nname="x"\nlevel="engine"\ncells=[]\nsteps=[{do="run_all", out={a="run"}}]', "no outcome 'run'"),
        ('id="X"\nname="x"\nlevel="moon"\ncells=[]', "no level 'moon'"),
        ('id="X"\nname="x"\nlevel="engine"', "no cells"),
    ],
)
def test_a_catalogue_that_says_something_unknown_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """A key, step, outcome or level outside the format is an error, since it would assert nothing."""
    path = tmp_path / "cases.md"
    path.write_text(f"```toml\n{text}\n```\n", encoding="utf-8")
    with pytest.raises(CatalogueError, match=words):
        cases(path)
