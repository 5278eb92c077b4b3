"""Tab in a header offers options, after a command task names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from prefect_nb.authoring import completion

OPTIONS = ["--retries", "--retry-on", "--delay", "--timeout"]


@pytest.fixture
def completer(shell: Any) -> Iterator[Any]:
    """The completer of a shell with our completions."""
    completion.install(shell, OPTIONS, lambda: ["load", "lookup", "clean"])
    yield shell.Completer
    completion.uninstall(shell)


def _offers(completer: Any, source: str) -> list[str]:
    """What the source would become, by each offer at its end."""
    from IPython.core.completer import provisionalcompleter

    with provisionalcompleter():
        found = [c for c in completer.completions(source, len(source)) if c.type in {"option", "task"}]
    return sorted(source[: c.start] + c.text for c in found)


@pytest.mark.parametrize(
    ("source", "offers"),
    [
        ("%%task --re", ["%%task --retries", "%%task --retry-on"]),
        ("%%task load --retries 3 --", ["%%task load --retries 3 --delay", "%%task load --retries 3 --retry-on",
                                       "%%task load --retries 3 --timeout"]),
        ("%%task -", ["%%task --delay", "%%task --retries", "%%task --retry-on", "%%task --timeout"]),
        ("#| task: --re", ["#| task: --retries", "#| task: --retry-on"]),
        ("#| task: load --d", ["#| task: load --delay"]),
        ("%%task load", []),
        ("%%task --retries", ["%%task --retries"]),
        ("x = 1\n%%task --re", []),
        ("%flow why lo", ["%flow why load", "%flow why lookup"]),
        ("%flow why ", ["%flow why clean", "%flow why load", "%flow why lookup"]),
        ("%flow logs c", ["%flow logs clean"]),
        ("x --re", []),
    ],
)  # fmt: skip
def test_offers(completer: Any, source: str, offers: list[str]) -> None:
    """Each place offers exactly what fits there and was not used yet."""
    assert _offers(completer, source) == offers


def test_installing_twice_and_uninstalling(shell: Any) -> None:
    """Uninstalled completions offer nothing, and installing twice installs once."""
    before = list(shell.Completer.custom_matchers)
    completion.install(shell, OPTIONS, list)
    completion.install(shell, OPTIONS, list)
    assert len(shell.Completer.custom_matchers) == len(before) + 1
    completion.uninstall(shell)
    assert shell.Completer.custom_matchers == before
