"""Sessions that are closed with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_parts import BreakableStore, start

from prefect_nb.engine.session import Session
from prefect_nb.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A clock turned by hand."""
    return FakeClock()


@pytest.fixture
def store() -> BreakableStore:
    """A store in memory that can be broken."""
    return BreakableStore()


@pytest.fixture
def opened(clock: FakeClock) -> Iterator[Callable[..., Session]]:
    """Open sessions; all are closed with the test."""
    sessions: list[Session] = []

    def make(store: Any, **more: Any) -> Session:
        sessions.append(start(store, clock, **more))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def session(opened: Callable[..., Session], store: BreakableStore) -> Session:
    """A session of a new live run."""
    return opened(store)
