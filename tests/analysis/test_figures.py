"""Fingerprints of matplotlib's figures: equal for equal pictures, kept by a round trip, changed by every change."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import matplotlib.figure
import pytest

from prefect_nb.analysis.values import fingerprint


def _line(axes: Any) -> None:
    axes.plot([1, 2], label="a")
    axes.legend()
    axes.annotate("z", (0, 0), (1, 1), arrowprops={})


def _words(axes: Any) -> None:
    axes.bar(["a", "b"], [1, 2])
    axes.plot([0, 1], [1, 2])
    axes.text(1, 1, "t")


def _field(axes: Any) -> None:
    axes.figure.colorbar(axes.pcolormesh([[1, 2], [3, 4]]))
    axes.twinx().plot([1, 2])
    axes.plot([0, 1])
    axes.text(1, 1, "t")


def made(draw: Callable[[Any], None]) -> Any:
    """A figure that pyplot does not know."""
    figure = matplotlib.figure.Figure()
    draw(figure.add_subplot())
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize("draw", [_line, _words, _field])
def test_equal_figures_are_equal_however_they_came_to_be(draw: Callable[[Any], None]) -> None:
    """Made twice, drawn again or stored and loaded: one fingerprint."""
    figure = made(draw)
    expected = fingerprint(figure)
    assert fingerprint(made(draw)) == expected
    again = pickle.loads(pickle.dumps(figure))
    assert fingerprint(again) == expected
    again.canvas.draw()
    assert fingerprint(again) == expected


@pytest.mark.parametrize("draw", [_line, _words, _field])
@pytest.mark.parametrize(
    "change",
    [
        lambda f, a: a.set_title("new"),
        lambda f, a: a.set_xlim(0, 9),
        lambda f, a: a.texts[0].set_position((3, 3)),
        lambda f, a: a.texts[0].set_text("other"),
        lambda f, a: a.lines[0].set_color("red"),
        lambda f, a: a.lines[0].set_data([1, 5], [3, 4]),
        lambda f, a: a.set_xticks([1, 2]),
        lambda f, a: a.grid(True),
        lambda f, a: a.plot([3, 4]),
        lambda f, a: f.set_size_inches(3, 3),
        lambda f, a: f.subplots_adjust(left=0.3),
        lambda f, a: a.remove(),
    ],
)
def test_each_change_is_seen(draw: Callable[[Any], None], change: Callable[[Any, Any], Any]) -> None:
    """A change through any part changes the figure's fingerprint."""
    figure = made(draw)
    before = fingerprint(figure)
    change(figure, figure.axes[0])
    assert fingerprint(figure) != before
