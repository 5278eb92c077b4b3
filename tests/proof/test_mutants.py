"""The tests see every fault of the list; see :mod:`mutants`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mutants import MUTANTS, PACKAGE, Mutant, planted, survives


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_still_applies(mutant: Mutant) -> None:
    """Its text stands in today's source exactly once, so the list cannot rot, and the fault is valid Python."""
    for path, old, new in mutant.edits:
        source = (PACKAGE / path).read_text(encoding="utf-8")
        assert source.count(old) == 1, f"{path} has {source.count(old)} times: {old}"
        compile(source.replace(old, new), path, "exec")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_mutant_is_killed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The named tests fail on each of them; prints who killed which, and the score."""

    def judged(number: int) -> str:
        place = tmp_path / str(number)
        return survives(planted(MUTANTS[number], place), MUTANTS[number].killers)

    with ThreadPoolExecutor(2) as pool:
        killed = list(pool.map(judged, range(len(MUTANTS))))
    with capsys.disabled():
        print()
        for mutant, killer in zip(MUTANTS, killed, strict=True):
            print(f"  {mutant.name:45} {killer or 'SURVIVES'}")
        print(f"  {sum(map(bool, killed))} of {len(MUTANTS)} mutants killed")
    assert all(killed)
