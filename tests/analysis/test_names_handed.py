"""Lambdas that somebody may call at once are read at once."""

from __future__ import annotations

import pytest

from prefect_nb.analysis.names import analyze


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("y = x.loc[lambda c: c['k'] >= m]", {"x", "m"}),
        ("x.loc[lambda c: c > m, 'k'] = 1", {"x", "m"}),
        ("y = [lambda: m][0]()", {"m"}),
        ("y = a | (lambda: m)", {"a", "m"}),
        ("y = a < (lambda: m)", {"a", "m"}),
        ("y = f(lambda: m)", {"f", "m"}),
    ],
)
def test_a_lambda_handed_to_somebody_is_an_input(source, reads):
    """An argument, an index or an operand may be called while the cell runs, so its names are inputs."""
    assert analyze(source).reads == reads


def test_a_lambda_that_is_only_bound_looks_its_names_up_later():
    """A name for a lambda does not call it."""
    names = analyze("f = lambda q: q * k")
    assert (names.reads, names.defers) == (frozenset(), {"k"})
