"""For tests, ours and those of plugin authors: a clock to turn by hand, and what every store and executor must do."""

from __future__ import annotations

from prefect_nb.testing.executors import EXECUTOR_CHECKS, check_executor
from prefect_nb.testing.stores import (
    STORE_CHECKS,
    FakeClock,
    check_store,
    entry,
    opening,
    planning,
    run_row,
    visit_row,
)

__all__ = [
    "EXECUTOR_CHECKS",
    "STORE_CHECKS",
    "FakeClock",
    "check_executor",
    "check_store",
    "entry",
    "opening",
    "planning",
    "run_row",
    "visit_row",
]
