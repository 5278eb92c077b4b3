"""The static picture is well-formed, inert and says everything in words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from prefect_nb.core.states import StateName
from prefect_nb.views.model import EdgeView, NodeView, RunView, ViewModel
from prefect_nb.views.svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "<script>alert(1)</script>",
    "\"onload='alert(1)' x=\"",
    "]]><script>",
    "</svg><img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "a\x00b\x1b[31m\ud800",
    "\u202eabc" * 40,
    "url(javascript:alert(1))",
    "名前" * 80,
    "--><!--",
)


def model_of(text: str) -> ViewModel:
    nodes = (
        NodeView(id=text, label=text, message=text, reason=text, state="Failed", type="FAILED", counts={text: 2}),
        NodeView(id="child", label=text, kind="function", parent=text, message=text),
        NodeView(id="other", label="other", state=text, type="FAILED"),
    )
    edges = (EdgeView(text, "other", (text,)),)
    return ViewModel.of(1, RunView(id=text, flow=text, state="Open", message=text), nodes, edges)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    """Whatever names and messages hold, the picture parses, and nothing in it can run or fetch."""
    picture = to_svg(model_of(text))
    tree = ET.fromstring(picture.encode("utf-8"))
    for element in tree.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg", "title", "desc", "style", "rect", "g", "path", "text", "line", "circle",
        }  # fmt: skip
        for name in element.attrib:
            assert not name.startswith("on")
            assert "href" not in name
    style = tree.find(f"{SVG}style")
    assert style is not None
    assert "url(" not in (style.text or "")
    assert "@import" not in (style.text or "")


def test_every_state_is_drawn_and_named() -> None:
    """Each state of the vocabulary appears in words on its card and in the legend."""
    nodes = [
        NodeView(id=f"t-{name.label}", label=f"t-{name.label}", state=name.label, type=name.type.value)
        for name in StateName
    ]
    picture = to_svg(ViewModel.of(1, RunView(id="r", flow="all"), nodes, ()))
    tree = ET.fromstring(picture)
    texts = [element.text for element in tree.iter(f"{SVG}text")]
    for name in StateName:
        assert texts.count(name.label) >= 2, name
    assert "prefers-color-scheme:dark" in picture


def test_screen_reader_hears_each_task_and_its_dependencies() -> None:
    """The image has a name, a description, and each card a label: name, state, what it depends on."""
    nodes = (
        NodeView(id="load", label="load", state="Success", type="COMPLETED", duration_s=3.21),
        NodeView(id="fit", label="fit", state="Failed", type="FAILED", message="ValueError", freshness="stale-code"),
    )
    tree = ET.fromstring(to_svg(ViewModel.of(1, RunView(id="r", flow="demo"), nodes, [EdgeView("load", "fit")])))
    assert tree.get("role") == "img"
    assert "demo" in (tree.get("aria-label") or "")
    labels = [g.get("aria-label") for g in tree.iter(f"{SVG}g") if g.get("role") == "listitem"]
    assert labels == [
        "load: completed, 3.2 s",
        "fit: failed, ValueError, out of date: code changed, depends on load",
    ]
    description = tree.find(f"{SVG}desc")
    assert description is not None
    assert all(label in (description.text or "") for label in labels if label)


def test_picture_is_the_same_each_time() -> None:
    """Equal models give equal bytes, so that saving a notebook again changes nothing."""
    model = model_of("x")
    assert to_svg(model) == to_svg(ViewModel.from_plain(model.to_plain()))


def test_empty_flow_is_a_picture_too() -> None:
    """A flow without tasks is drawn, with its name."""
    picture = to_svg(ViewModel.of(0, RunView(id="r", flow="nothing yet"), (), ()))
    assert "nothing yet" in picture
    assert re.match(r"<svg [^>]*width=\"460\"", picture)
