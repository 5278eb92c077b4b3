"""Artifacts: what bodies show of themselves, from wherever they run, kept with the visit and inert."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from flow_parts import PATIENCE_S, Ledger

from prefect_nb import Cache, Secret, artifact, flow, task
from prefect_nb.analysis import redaction
from prefect_nb.apps.cli import cli
from prefect_nb.authoring import exhibits
from prefect_nb.authoring.shelf import artifacts_now
from prefect_nb.core.artifacts import Artifact, share_done
from prefect_nb.core.states import StateName
from prefect_nb.errors import UsageError
from prefect_nb.stores import retention
from prefect_nb.views.artifacts import artifact_text, far_words
from prefect_nb.views.model import NodeView
from prefect_nb.views.progress import told

L = Ledger()
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store and a registry of secrets of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(redaction, "_values", {})
    monkeypatch.setattr(redaction, "_known", None)
    L.__init__()  # type: ignore[misc]


def shown(name: str = "") -> list[dict[str, Any]]:
    """The artifacts of the latest run as the command line tells them."""
    done = CliRunner().invoke(cli, ["artifacts", "--json", *(["--task", name] if name else [])])
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout))


def everything(size: int = 10) -> None:
    going = artifact.progress(0, 4, "begins")
    artifact.markdown("# Title")
    artifact.table([{"a": 1}, {"b": 2.5}])
    artifact.link("https://example.org", "there")
    artifact.image(PNG + b"x" * size, alt="a plot")
    for step in range(5):
        going.update(step, message=f"step {step}")


EXPECTED = [
    {"name": "progress-1", "kind": "progress", "value": 4, "total": 4, "message": "step 4"},
    {"name": "markdown-1", "kind": "markdown", "text": "# Title"},
    {"name": "table-1", "kind": "table", "columns": ["a", "b"], "rows": [["1", ""], ["", "2.5"]]},
    {"name": "link-1", "kind": "link", "url": "https://example.org", "text": "there"},
]


@task
def in_thread(n: int) -> int:
    everything()
    return n


@task
async def in_loop(n: int) -> int:
    await asyncio.sleep(0)
    everything()
    return n


@task(executor="processes")
def in_process(n: int) -> int:
    everything()
    return n


@task
def in_own_thread(n: int) -> int:
    worker = threading.Thread(target=everything)
    worker.start()
    worker.join()
    return n


@pytest.mark.parametrize("work", [in_thread, in_loop, in_process, in_own_thread], ids=lambda work: work.__name__)
def test_every_body_shows_the_same(work: Any) -> None:
    """In threads, on the loop, in worker processes and in threads of its own a body's last versions are kept."""

    @flow
    def show() -> Any:
        return work(1)

    assert show() == 1
    found = shown(work.__name__)
    for row, wanted in zip(found, EXPECTED, strict=False):
        assert row.items() >= wanted.items()
    assert found[4]["mime"] == "image/png"
    assert found[4]["alt"] == "a plot"
    assert len(found) == 5


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_hit_shows_them_again_and_they_are_no_part_of_the_key(size: int) -> None:
    """A result of another run comes with its artifacts, large pictures too; the store's own check finds no fault."""

    @task(cache=Cache("always"))
    def work(size: int) -> int:
        with Path("entries").open("a") as file:
            file.write("x")
        everything(size)
        return size

    @flow
    def show() -> Any:
        return work(size)

    show.submit().result()
    first = shown()
    run = show.submit()
    assert run.result() == size
    assert run.tasks["work"].state.name is StateName.CACHED
    assert Path("entries").read_text() == "x"
    kept = [{k: v for k, v in row.items() if k not in ("attempt", "at")} for row in shown()]
    assert kept == [{k: v for k, v in row.items() if k not in ("attempt", "at")} for row in first]
    assert ("address" in first[4]) == (size > 1 << 16)
    session = run.session
    pane = artifacts_now(session, session.run.latest["work"], run.vault)
    assert len(pane[4]["data"]) > size
    assert session.store.check() == []
    with sqlite3.connect(".prefect_nb/state.db") as c:
        assert first[4].get("address") not in retention._unused(c), "a sweep would drop what an artifact shows"
    c.close()


def test_progress_is_on_the_node_while_the_body_runs() -> None:
    """A view sees how far a running body is at once, and nothing of it when the body has ended."""

    @task
    def work() -> None:
        going = artifact.progress(1, 4, "loading")
        L.event("told").set()
        L.wait("further")
        going.update(3)
        L.event("told again").set()
        L.wait("end")

    @flow
    def show() -> None:
        work()

    run = show.submit()
    moved = threading.Event()
    run.session.bus.subscribe(lambda _: moved.set())

    def gauge() -> Any:
        found = run.session.bus.gauges().get(run.session.run.latest["work"])
        return found and found.progress and far_words(found.progress.body)

    for told_by, go_on, words in (("told", "further", "1 of 4 · loading"), ("told again", "end", "3 of 4 · loading")):
        L.wait(told_by)
        while gauge() != words:
            assert moved.wait(PATIENCE_S), "nobody was told"
            moved.clear()
        L.event(go_on).set()
    run.wait(timeout=PATIENCE_S)


def test_a_million_updates_are_a_few_rows() -> None:
    """Of each artifact one row is kept, whatever happens to it; the last version is that row."""

    @task
    def work() -> None:
        going = artifact.progress(0, 20_000)
        for step in range(20_000):
            going.update(step + 1)

    @flow
    def show() -> None:
        work()

    show()
    assert [row["value"] for row in shown()] == [20_000]


def test_too_late_and_outside_are_errors() -> None:
    """Outside of bodies there is no artifact to make, and after the body's end none to change."""
    with pytest.raises(UsageError, match="outside of a task's body"):
        artifact.table([])
    kept: list[Any] = []

    @task
    def work() -> None:
        kept.append(artifact.markdown("x"))

    @flow
    def show() -> None:
        work()

    show()
    with pytest.raises(UsageError, match="after its task had ended"):
        kept[0].update("y")
    assert [row["text"] for row in shown()] == ["x"]


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value of a secret is in no artifact of any kind, and nowhere in the store."""
    monkeypatch.setenv("TOKEN", "correct-horse")
    token = Secret("TOKEN")

    @task
    def work() -> None:
        value = token.get()
        artifact.markdown(f"a {value} b")
        artifact.table([{value: value}])
        artifact.link(f"https://example.org/?t={value}", value)
        artifact.progress(1, 2, value)
        artifact.image(f"<svg>{value}</svg>", alt=value)

    @flow
    def show() -> None:
        work()

    show()
    assert len(shown()) == 5
    assert "correct-horse" not in json.dumps(shown())
    assert "not kept: it holds the value of the secret TOKEN" in json.dumps(shown())
    stored = b"".join(p.read_bytes() for p in Path(".prefect_nb").rglob("*") if p.is_file())
    assert b"correct-horse" not in stored


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", " java\nscript:x", "data:text/html,x", "file:///etc/passwd", "vbscript:x", "x" * 3000],
)
def test_links_lead_to_the_web_only(url: str) -> None:
    """Other schemes, however they are disguised, are refused; relative places and mailboxes are not."""
    with pytest.raises(UsageError, match=r"artifact\.link takes no"):
        exhibits.link(url, None)
    for good in ("https://a.b/c?d", "mailto:a@b.c", "results/table.html#x", "../up"):
        assert exhibits.link(good, None)["url"] == good


TABLES = {
    "mappings": ([{"a": 1}, {"a": None, "b": "x"}], ["a", "b"], [["1", ""], ["", "x"]]),
    "sequences": ([(1, 2), [3]], ["1", "2"], [["1", "2"], ["3", ""]]),
    "single values": ([1.25, "x"], ["1"], [["1.25"], ["x"]]),
    "columns": ({"a": [1, 2], "b": (3,)}, ["a", "b"], [["1", "3"], ["2", ""]]),
    "a frame": (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), ["a", "b"], [["1", "x"], ["2", "y"]]),
    "an indexed frame": (pd.DataFrame({"a": [1]}, index=pd.Index(["k"], name="i")), ["i", "a"], [["k", "1"]]),
    "a generator": (({"n": n} for n in range(2)), ["n"], [["0"], ["1"]]),
    "nothing": ([], [], []),
}


@pytest.mark.parametrize(("given", "columns", "rows"), TABLES.values(), ids=TABLES)
def test_tables_of_any_kind(given: Any, columns: list[str], rows: list[list[str]]) -> None:
    """Frames, mappings of columns and rows of any kind become columns and rows of text."""
    assert exhibits.table(given) == {"columns": columns, "rows": rows}


def test_what_is_too_large_is_cut_and_says_so() -> None:
    """Texts, tables and pictures have bounds; what was cut is told in words."""
    assert exhibits.markdown("x" * 70_000)["cut"] == "4,464 more characters"
    body = exhibits.table(pd.DataFrame({f"c{n}": range(5000) for n in range(60)}))
    assert (len(body["columns"]), len(body["rows"])) == (50, 1000)
    assert body["cut"] == "the first 1,000 of 5,000 rows, the first 50 of 60 columns"
    assert exhibits.table({"n": n} for n in range(2000))["cut"] == "the first 1,000 of more rows"
    assert len(json.dumps(exhibits.table([["y" * 5000] * 50] * 1000))) < 1 << 19
    large = exhibits.image(PNG + bytes(exhibits.IMAGE_CAP), "")
    assert "data" not in large
    assert large["cut"].startswith("not kept: 8,388,616 bytes")


def test_pictures_of_any_kind(tmp_path: Path) -> None:
    """Bytes, paths, figures and SVG text are pictures; anything else is refused by name."""
    figures = pytest.importorskip("matplotlib.figure")
    (tmp_path / "a.png").write_bytes(PNG)
    assert exhibits.image(tmp_path / "a.png", "")["mime"] == "image/png"
    assert exhibits.image(figures.Figure(), "")["mime"] == "image/png"
    assert exhibits.image("<svg xmlns='http://www.w3.org/2000/svg'/>", "")["mime"] == "image/svg+xml"
    with pytest.raises(UsageError, match="cannot show a int"):
        exhibits.image(3, "")
    with pytest.raises(UsageError, match="no picture"):
        exhibits.image(b"hello", "")


@pytest.mark.parametrize(
    ("value", "total", "share"),
    [(1, 4, 0.25), (9, 4, 1.0), (0.5, None, 0.5), (3, None, None), (0, 0, 1.0), (-1, 2, 0.0)],
)
def test_shares(value: float, total: float | None, share: float | None) -> None:
    """A share is known with a total, or from a fraction; a whole number alone only counts."""
    assert share_done(exhibits.progress(value, total, "")) == share


def test_a_terminal_cannot_be_steered() -> None:
    """Control characters and marks that turn text around reach no terminal."""
    text = artifact_text(Artifact("n\x1b[2J", "markdown", 0, {"text": "a\x1b]0;x\x07\u202eb\nc"}))
    assert text == "n\ufffd[2J\n  a\ufffd]0;x\ufffd\ufffdb\n  c"


def test_lines_of_a_run_tell_each_tenth() -> None:
    """In a terminal a running task tells each tenth of its way once."""

    def node(share: float | None) -> NodeView:
        progress = None if share is None else {"name": "p", "share": share, "text": f"{share:.0%}"}
        return NodeView(id="a", label="a", state="Running", type="RUNNING", attempt=1, progress=progress)

    assert "started" in told(node(None), None)
    assert told(node(0.05), node(None)) == ""
    assert "███████░░░" in told(node(0.31), node(0.05))
    assert told(node(0.39), node(0.31)) == ""


def test_too_many_are_counted() -> None:
    """Of a flood of artifacts the first 200 are kept, and how many more there were is told."""

    @task
    def work() -> None:
        for number in range(260):
            artifact.markdown(number)

    @flow
    def show() -> None:
        work()

    show()
    rows = shown()
    assert len(rows) == 201
    assert rows[-1]["text"] == "60 more artifacts were not kept"
