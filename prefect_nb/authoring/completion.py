"""Tab completion of a task header's options and of task names.

Knows IPython's completer. Knows nothing about what the options mean: spellings and task names come from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

__all__ = ["install", "uninstall"]

_IDENTIFIER = "prefect_nb"
_HEADER = re.compile(r"(?:%%task\s|#\|\s*task\s*:)(?:.*\s)?(?P<fragment>-[\w-]*)$")
_COMMAND = re.compile(r"%flow\s+\w+\s+(?:.*\s)?(?P<fragment>[^\s-]\S*|)$")


def install(shell: Any, options: Iterable[str], names: Callable[[], Iterable[str]]) -> None:
    """Complete headers, and task names after ``%flow COMMAND``, in this shell; a second call replaces the first.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        Whose completer is extended.
    options : iterable of str
        The long options with their dashes (``--retries``).
    names : callable
        Gives the names of the tasks at the time of the question.
    """
    uninstall(shell)
    if shell.Completer is None:
        return
    known = sorted(options)

    @context_matcher(priority=100, identifier=_IDENTIFIER)  # type: ignore[untyped-decorator, unused-ignore]
    def matcher(context: CompletionContext) -> dict[str, Any]:
        line = context.text_until_cursor
        header = _HEADER.match(line) if context.cursor_line == 0 else None
        command = _COMMAND.match(line)
        found: list[str] = []
        if header is not None:
            used = set(context.line_with_cursor.split()) - {header["fragment"]}
            found = [option for option in known if option.startswith(header["fragment"]) and option not in used]
        elif command is not None:
            found = sorted(name for name in names() if name.startswith(command["fragment"]))
        match = header or command
        kind = "option" if header is not None else "task"
        return {
            "completions": [SimpleCompletion(text=text, type=kind) for text in found],
            "matched_fragment": match["fragment"] if match is not None else context.token,
            "suppress": bool(found),
        }

    shell.Completer.custom_matchers.append(matcher)


def uninstall(shell: Any) -> None:
    """Take the completions away again; does nothing if there are none."""
    if shell.Completer is not None:
        matchers = shell.Completer.custom_matchers
        matchers[:] = [known for known in matchers if getattr(known, "matcher_identifier", "") != _IDENTIFIER]
