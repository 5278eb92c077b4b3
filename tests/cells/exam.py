"""A case's script, step by step: the notebook as it is edited, the session, and what must then be so."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from cells.bench import Bench, Shown
from cells.catalogue import Case
from cells.headless import step_headless

__all__ = ["Exam", "header"]

_ENDS = {
    "CACHED": "hit",
    "SKIPPED": "skipped",
    "TRIGGER_FAILED": "blocked",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "CANCELLED": "failed",
}
_SPELLED = {
    "retries": "--retries",
    "timeout": "--timeout",
    "delay": "--delay",
    "cache_version": "--version",
    "files": "--files",
    "env": "--env",
    "trigger": "--trigger",
}


def header(cell: dict[str, Any]) -> str:
    """The first line of a task cell with these options; the task is named after its cell unless it is told a name."""
    opts = dict(cell.get("opts", {}))
    words = [shlex.quote(str(opts.pop("name", cell["id"])))]
    cache = opts.pop("cache", None)
    if cache is not None:
        words += ["--cache", "never" if cache is False else "always" if cache is True else str(cache)]
    if opts.pop("fresh", False):
        words.append("--fresh")
    for name in opts.pop("upstream", ()):
        words += ["--after", name]
    if opts.pop("skip_on_upstream_skip", True) is False:
        words += ["--on-upstream-skip", "run"]
    for key, value in opts.items():
        for each in value if isinstance(value, list) else [value]:
            words += [_SPELLED[key], shlex.quote(str(each))]
    return "%%task " + " ".join(words)


class Exam:
    """One case on one bench.

    Parameters
    ----------
    case : Case
        What is done and expected.
    bench : Bench
        Where.
    exact : bool
        Whether what is shown and raised is looked at (a task that is merely brought up to date shows it elsewhere).
    """

    def __init__(self, case: Case, bench: Bench, *, exact: bool = True) -> None:
        self.case, self.bench, self.exact = case, bench, exact
        self.cells: list[dict[str, Any]] = [dict(c) for c in case.cells]
        self.shown: dict[str, Shown] = {}
        self.diagnosed: set[str] = set()
        self._full = False

    def sit(self) -> None:
        """Every step, then what holds for the whole case."""
        for number, step in enumerate(self.case.steps, 1):
            where = f"{self.case.id} step {number} ({step['do']})"
            before = self.bench.report()["tasks"]
            self.shown = {}
            asked = self._do(step)
            after = self.bench.report()
            self.diagnosed |= set(after["diag"])
            if step["do"] in ("nbclient", "papermill"):  # compared where the notebook is
                continue
            self._compare(step, where, self._outcomes(before, after["tasks"], asked), after)
            if step["do"] == "run_all" and not self._full:
                self._full = True
                self._edges(after, where)
        if not self.case.steps:
            self.bench.tell(self._document())
            self.diagnosed |= set(self.bench.report()["diag"])
        missing = set(self.case.data.get("diag", ())) - self.diagnosed
        assert not missing, f"{self.case.id}: not diagnosed: {sorted(missing)}"

    # --- doing ---

    def _document(self) -> list[dict[str, str]]:
        return [{"id": c["id"], "source": self._source(c)} for c in self.cells]

    def _source(self, cell: dict[str, Any]) -> str:
        if cell.get("kind", "task") != "task":
            return str(cell["src"])
        return f"{header(cell)}\n{cell['src']}"

    def _do(self, step: dict[str, Any]) -> list[str]:
        """Carry a step out; the tasks that were asked for."""
        kind, bench = step["do"], self.bench
        if kind == "run_all":
            for cell in self.cells:
                self._execute(cell)
            return [c["id"] for c in self.cells]
        if kind == "run":
            if step.get("force"):
                bench.force(step["cell"])
            self._execute(self._cell(step["cell"]))
            return [c["id"] for c in self.cells]
        if kind in ("nbclient", "papermill"):
            step_headless(step, [(c, self._source(c)) for c in self.cells], bench.folder)
            return []
        if kind == "restart":
            bench.restart()
        elif kind == "writefile":
            path = bench.folder / step["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step["text"], encoding="utf-8")
            return []
        elif kind == "removefile":
            (bench.folder / step["path"]).unlink()
            return []
        elif kind == "setenv":
            bench.setenv(step["name"], step["value"])
            return []
        elif kind == "module":
            Path(bench.folder, f"{step['name']}.py").write_text(step["src"], encoding="utf-8")
            return []
        else:
            self._change(step)
        bench.tell(self._document())
        return []

    def _execute(self, cell: dict[str, Any]) -> None:
        self.shown[cell["id"]] = self.bench.execute(cell["id"], self._source(cell), self._document())

    def _change(self, step: dict[str, Any]) -> None:
        match step["do"]:
            case "edit":
                self._cell(step["cell"])["src"] = step["src"]
            case "opts":
                self._cell(step["cell"])["opts"] = step["opts"]
            case "delete":
                self.cells.remove(self._cell(step["cell"]))
            case "insert":
                new = {k: step[k] for k in ("src", "kind", "opts") if k in step} | {"id": step["cell"]}
                self._place(new, step.get("before"))
            case "move":
                moved = self._cell(step["cell"])
                self.cells.remove(moved)
                self._place(moved, step.get("before"))

    def _place(self, cell: dict[str, Any], before: str | None) -> None:
        at = len(self.cells) if before is None else self.cells.index(self._cell(before))
        self.cells.insert(at, cell)

    def _cell(self, cell_id: str) -> dict[str, Any]:
        return next(c for c in self.cells if c["id"] == cell_id)

    # --- comparing ---

    def _outcomes(
        self, before: dict[str, Any], after: dict[str, Any], asked: list[str]
    ) -> dict[str, tuple[str, dict[str, Any]]]:
        found = {}
        for cell, now in after.items():
            moved = now["visit"] != before.get(cell, {}).get("visit", 0)
            if not moved and cell not in asked:
                continue
            end = _ENDS.get(now["state"])
            if end is None:
                end = "hit" if not moved else "ran" if now["stored"] else "uncached"
            found[cell] = (end, now)
        return found

    def _compare(self, step: dict[str, Any], where: str, outcomes: dict[str, Any], after: dict[str, Any]) -> None:
        for cell, wanted in step.get("out", {}).items():
            end, seen = outcomes.get(cell, ("nothing", {}))
            shown = self.shown.get(cell)
            assert end == wanted, f"{where}: {cell} is {end}, not {wanted}: {seen} {shown}"
        for expression, wanted in step.get("vals", {}).items():
            if expression == "_" and not self.exact:
                continue
            assert self.bench.value(expression) == wanted, f"{where}: {expression}; {outcomes}"
        if "stale" in step:
            assert after["stale"] == sorted(step["stale"]), f"{where}: stale"
        for cell, tries in step.get("attempts", {}).items():
            assert after["tasks"][cell]["attempt"] == tries, f"{where}: attempts of {cell}"
        missing = set(step.get("diag", ())) - set(after["diag"])
        assert not missing, f"{where}: not diagnosed: {sorted(missing)}"
        if not self.exact:
            return
        for cell, lines in step.get("shows", {}).items():
            assert self.shown[cell].lines == lines, f"{where}: what {cell} shows"
        for cell, name in step.get("raises", {}).items():
            assert self.shown[cell].error == name, f"{where}: what {cell} raises"
        for cell, number in step.get("error_outputs", {}).items():
            assert self.shown[cell].errors == number, f"{where}: error outputs of {cell}"

    def _edges(self, after: dict[str, Any], where: str) -> None:
        if "edges" in self.case.data:
            assert after["edges"] == sorted(self.case.data["edges"]), f"{where}: edges"
        if "order_edges" in self.case.data:
            assert after["order_edges"] == sorted(self.case.data["order_edges"]), f"{where}: order edges"
