"""Faults put into a copy of the package, one at a time, and the tests that must see each.

A mutant is a text to replace in today's source (a test checks that each still applies). Where guards overlap, removing
one of them changes nothing that anybody can see: those are broken in groups, and listed here as such:

* the owner, the visits' versions and the number of the newest event each refuse most of what is stale;
* taking a run over crashes its bodies, and so does who takes it over;
* a lock and a running process each prove life;
* a visit's version rises with its token, so that only a made-up append shows whether the token is compared.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MUTANTS", "PACKAGE", "ROOT", "Mutant", "planted", "survives"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "prefect_nb"
CLAIMS = "tests/proof/test_claims.py"
LIVES = "tests/proof/test_simulation.py"
TOLD = "tests/proof/test_regressions.py"
STORES = "tests/stores/test_store_conformance.py"
FAULTS = "tests/stores/test_store_faults.py"
FENCE = "tests/proof/test_fence.py"
CORE = "tests/core/test_laws.py"
MACHINE = "tests/core/test_machine.py"
OWNER = "tests/stores/test_store_process.py"
RECOVERY = "tests/engine/test_recovery.py"
ENGINE = "tests/engine/test_session.py"


@dataclass(frozen=True)
class Mutant:
    """What is broken, where, and who has to notice (the first that does is enough)."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    killers: tuple[str, ...]


def _one(name: str, path: str, old: str, new: str, *killers: str) -> Mutant:
    return Mutant(name, ((path, old, new),), killers)


_SQL, _BASE, _BATCH = "stores/statements.py", "stores/database.py", "engine/batch.py"
_OWNER_GUARD = (_SQL, "if found is not None and owner and found[1] != owner:", "if False:")
_AFTER_GUARD = (_SQL, "if after not in (seq, -1):", "if False:")
_VISIT_GUARD = (_SQL, "if row != (version, token):", "if False:")
_RECOVERY = "engine/recovery.py"
_LET_GO = '    session.store.take_run(session.run.id, "", session.run.worker)\n'
_SURVIVE = (
    "core/machine.py",
    "    run, effects = (run, ()) if same else _crash_all(run, event)",
    "    run, effects = run, ()",
)
_SAME_ANSWER = "            if n <= last:"
_LATE = "    if event.token != visit.token:\n        return visit, ()\n"
_TOLD_EARLY = """        self._run = run
        for order in orders:
            if isinstance(order, ef.Settle):
                self._seats.settle(run.visits[order.visit])
"""

MUTANTS = (
    # --- the store's guards
    Mutant("append: owner not asked", (_OWNER_GUARD,), (STORES, CLAIMS)),
    Mutant("append: order of commits not asked", (_AFTER_GUARD,), (CLAIMS,)),
    Mutant("append: visits not asked", (_VISIT_GUARD,), (STORES,)),
    _one("append: token not compared", _SQL, "if row != (version, token):", "if row[0] != version:", STORES),
    _one("append: version not compared", _SQL, "if row != (version, token):", "if row[1] != token:", STORES),
    Mutant("append: no guard at all", (_OWNER_GUARD, _AFTER_GUARD, _VISIT_GUARD), (CLAIMS,)),
    _one(
        "success: a second one replaces the first",
        _SQL,
        "INSERT OR IGNORE INTO success",
        "REPLACE INTO success",
        STORES,
    ),
    _one("success: not recorded", _SQL, '        if row[6] == "COMPLETED":', "        if False:", LIVES),
    _one(
        "taking a run: former owner not compared",
        _SQL,
        'WHERE run_id = ? AND worker = ?"',
        "WHERE run_id = ? AND ? <> ''\"",
        STORES,
        CLAIMS,
    ),
    _one("events not numbered on", _SQL, "        seq += len(events)\n", "", STORES),
    _one("a refused append leaves traces", _BASE, '        c.execute("ROLLBACK TO one")\n', "", STORES),
    _one(
        "acknowledged though the commit failed",
        _BASE,
        "                raise self._explain(error) from error\n            self._refuse_lost_log()",
        '                answers = [(n, "ok", 0) for n, _, _ in batch]\n            self._refuse_lost_log()',
        LIVES,
    ),
    _one("a group sent twice is applied twice", _BASE, _SAME_ANSWER, "            if False:", FAULTS, LIVES),
    _one(
        "answers not recorded with their group",
        _BASE,
        "        if fresh and session:",
        "        if False:",
        FAULTS,
        LIVES,
    ),
    _one(
        "a failed sync is trusted",
        _BASE,
        "        if _code(error) & 0xFF == sqlite3.SQLITE_IOERR:",
        "        if False:",
        FAULTS,
    ),
    _one(
        "a deleted log is not noticed",
        _BASE,
        """        if _file_id(self.path + "-wal") != self._wal_id:""",
        "        if False:",
        FAULTS,
    ),
    # --- wishes
    _one(
        "a wish dies with who heard it",
        _SQL,
        "WHERE run_id = ? AND taken_by <> 'answered'\", (session, run)",
        "WHERE run_id = ? AND taken_by = ''\", (session, run)",
        TOLD,
        LIVES,
        STORES,
    ),
    _one("a wish is never answered", _BATCH, "            wishes=tuple(self.wishes),\n", "", TOLD, LIVES),
    _one("a wish goes to whoever watches", _SQL, "    if row is None or row[0] == session:", "    if True:", OWNER),
    # --- the engine
    _one(
        "a refusal is not heard",
        "engine/session.py",
        "            if not receipt.accepted:",
        "            if False:",
        RECOVERY,
        LIVES,
    ),
    _one(
        "an end is told before its commit",
        "engine/session.py",
        "        self._run = run\n        if post.done",
        _TOLD_EARLY + "        if post.done",
        LIVES,
        ENGINE,
    ),
    _one(
        "rows do not travel with their events",
        _BATCH,
        "tuple(visit_row(run.id, visit) for visit in touched)",
        "()",
        CLAIMS,
    ),
    _one("events do not travel with their rows", _BATCH, "            events=tuple(self.events),\n", "", CLAIMS),
    _one("the owner is not named", _BATCH, "            run_owner=run.worker,\n", "", CLAIMS),
    _one("what a commit follows is not named", _BATCH, "            after=self.after,\n", "", CLAIMS, TOLD),
    _one("results do not travel with their success", _BATCH, "            results=tuple(self.results),\n", "", LIVES),
    _one(
        "a broken engine goes on",
        "engine/session.py",
        "        self._failure = self._failure or error\n",
        "        self._failure = None\n",
        LIVES,
        ENGINE,
    ),
    # --- recovery
    _one(
        "sweeping the living",
        "engine/recovery.py",
        ' or row.state == "Paused" or store.alive(row.worker)',
        ' or row.state == "Paused"',
        RECOVERY,
        LIVES,
    ),
    _one(
        "only the newest run is looked at",
        "engine/recovery.py",
        "for r in rows if not _held",
        "for r in rows[:1] if not _held",
        TOLD,
        LIVES,
    ),
    _one(
        "a kernel forgets its own run",
        "engine/recovery.py",
        "        rows.sort(key=lambda r: r.worker not in own)",
        "        rows.sort(key=lambda r: r.worker in own)",
        TOLD,
        LIVES,
    ),
    Mutant(
        "sweeping without a second look",
        (
            (
                _RECOVERY,
                "        if row.live and not _left_over(_told(store, row.run)[0], now()):",
                "        early = _told(store, row.run)\n        if row.live and not _left_over(early[0], now()):",
            ),
            (_RECOVERY, "        run, after = _told(store, row.run)  # again", "        run, after = early  # again"),
        ),
        (TOLD,),
    ),
    _one("who sweeps keeps the run", _RECOVERY, _LET_GO, "", TOLD, LIVES),
    Mutant(
        "bodies of the dead are left running",
        ((_RECOVERY, "        if visit.state.name in _BODIES:", "        if False:"), _SURVIVE),
        (RECOVERY,),
    ),
    _one(
        "an unknown worker lives",
        "stores/rowstore.py",
        "        if row is None or row[6]:\n            return False",
        "        if row is None or row[6]:\n            return True",
        STORES,
    ),
    Mutant(
        "neither lock nor process proves life",
        (
            ("stores/rowstore.py", "            if self._locked(worker):", "            if False:"),
            ("stores/rowstore.py", "return pid_ns == self._me.pid_ns and process_runs(pid, start)", "return False"),
        ),
        (STORES, OWNER),
    ),
    # --- the machine
    _one(
        "a permission without a new token",
        "core/moves.py",
        "    token = visit.token + 1",
        "    token = max(1, visit.token)",
        CORE,
        MACHINE,
    ),
    _one(
        "attempts forgotten",
        "core/moves.py",
        "    attempt = visit.attempt + 1\n",
        "    attempt = 1\n",
        CORE,
        MACHINE,
        LIVES,
    ),
    _one("a late value counts", "core/bodies.py", _LATE + "    message = ", "    message = ", FENCE),
    _one("a late error counts", "core/bodies.py", _LATE + "    error, retry = ", "    error, retry = ", FENCE),
    _one(
        "a late entry counts",
        "core/bodies.py",
        _LATE + "    started = event.at if visit.started_at is None else visit.started_at\n    tried = [",
        "    started = event.at if visit.started_at is None else visit.started_at\n    tried = [",
        FENCE,
    ),
    _one(
        "an old timer counts",
        "core/moves.py",
        _LATE + '    if event.kind == "retry"',
        '    if event.kind == "retry"',
        FENCE,
    ),
    Mutant("bodies survive a takeover", (_SURVIVE,), (CORE, MACHINE, CLAIMS)),
    _one("a stopped run goes on", "core/machine.py", "evolved(run, cancelled=True)", "run", CORE, MACHINE, LIVES),
    _one(
        "nobody waits for what is upstream",
        "core/machine.py",
        "        if not found.state.final:\n            unmet.append(up)",
        "        if False:\n            unmet.append(up)",
        CORE,
        MACHINE,
        LIVES,
    ),
)


def planted(mutant: Mutant, place: Path) -> Path:
    """A copy of the package with this fault in it; the folder to import it from."""
    ignore = shutil.ignore_patterns("labextension", "static", "*.js", "__pycache__", "*.pyc")
    shutil.copytree(PACKAGE, place / "prefect_nb", ignore=ignore)
    for path, old, new in mutant.edits:
        file = place / "prefect_nb" / path
        source = file.read_text(encoding="utf-8")
        file.write_text(source.replace(old, new, 1), encoding="utf-8")
    return place


def survives(place: Path, killers: tuple[str, ...]) -> str:
    """Run the killers on the package in `place`: the first that fails, else an empty string."""
    environ = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    for killer in killers:
        command = ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout", "60"]
        done = subprocess.run(
            [sys.executable, *command, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(ROOT / killer)],
            cwd=place,
            env=environ,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise AssertionError(f"{killer} could not be run: {done.stdout[-2000:]}{done.stderr[-1000:]}")
        if done.returncode == 1:
            return killer
    return ""
