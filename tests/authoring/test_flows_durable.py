"""What a kill may cost a flow: of bodies worth a commit, one for each worker."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from flow_parts import PATIENCE_S, Ledger

from prefect_nb import flow, task
from prefect_nb.authoring import attend
from prefect_nb.stores.process import ProcessStore

L = Ledger()


class Gate:
    """Holds the store's receipts back, and knows how many bodies ended whose end nobody has acknowledged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lock = threading.Lock()
        self.open = True
        self.early = 0
        self.held: list[tuple[Future[Any], Future[Any]]] = []
        real = ProcessStore.append

        def append(store: ProcessStore, commit: Any) -> Future[Any]:
            inner, outer = real(store, commit), Future[Any]()
            with self.lock:
                if not self.open:
                    self.held.append((inner, outer))
                    return outer
            return inner

        monkeypatch.setattr(ProcessStore, "append", append)

    def enter(self) -> None:
        """A body began."""
        with self.lock:
            self.early += not self.open

    def shut(self) -> None:
        """Hold from now on."""
        with self.lock:
            self.open = False

    def release(self) -> None:
        """Pass on what was held, and hold nothing any more."""
        with self.lock:
            self.open = True
        for inner, outer in self.held:
            outer.set_result(inner.result(PATIENCE_S))


@pytest.mark.parametrize(("dear_s", "cheap"), [(0.0, False), (60.0, True)])
def test_a_worker_goes_on_only_when_a_dear_end_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dear_s: float, cheap: bool
) -> None:
    """With two workers and no receipt from the store, two dear bodies are entered; cheap ones do not wait."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]
    monkeypatch.setattr(attend, "_DEAR_S", dear_s)

    @task
    def noted(x: int) -> int:
        gate.enter()
        L.event("two" if L.enter("noted") == 2 else f"at {x}").set()
        return x

    @flow(workers=2)
    def many(n: int) -> Any:
        gate.shut()
        return noted.map(range(n))

    gate = Gate(monkeypatch)
    run = many.submit(8)
    L.wait("at 7" if cheap else "two")
    gate.release()
    assert run.result() == list(range(8))
    assert gate.early == (8 if cheap else 2)
