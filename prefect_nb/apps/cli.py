"""``prefect-nb``: the commands and the border where errors become two lines and an exit status.

Each command's module is loaded when it is used, so that ``--help`` answers at once. Knows names only; must not know
what the commands do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from prefect_nb.errors import PrefectNBError, UsageError

__all__ = ["cli", "main"]

_COMMANDS = {
    "run": ("run", "Run a notebook headless, with parameters; resume it."),
    "status": ("listing", "Show every task of a run, by default the latest."),
    "runs": ("listing", "List the runs of this store, newest first."),
    "why": ("listing", "Explain why a task ran, was reused or was not run."),
    "logs": ("listing", "Print what a task wrote."),
    "artifacts": ("artifacts", "Print what tasks show of themselves: texts, tables, how far they are."),
    "graph": ("listing", "Write a run's graph as SVG or DOT, or list its edges."),
    "cancel": ("cancel", "Stop a run, or one of its tasks."),
    "approve": ("approve", "Let a task that waits for a person go on."),
    "reject": ("approve", "End a task that waits for a person, without running it."),
    "limits": ("limits", "Bound how many tasks with a tag run at a time."),
    "prune": ("prune", "Forget old runs, and delete the results that nothing uses."),
    "paths": ("doctor", "Tell where things lie and how large they are."),
    "doctor": ("doctor", "Check this installation and this store."),
}
"""Command -> its module, and its line in the help."""


_GRAMMAR = "rfc3987_syntax"


@contextmanager
def _without_grammar() -> Iterator[None]:
    """Let nothing load the grammar of internationalised addresses for a moment.

    Where it is installed, nbformat's validator loads it through jsonschema, which takes 2.5 s of CPU and expects it to
    be missing as a matter of course; no schema of a notebook uses it.
    """
    absent = _GRAMMAR not in sys.modules
    if absent:
        sys.modules[_GRAMMAR] = None  # type: ignore[assignment]  # what the import system understands as: not there
    try:
        yield
    finally:
        if absent:
            sys.modules.pop(_GRAMMAR, None)


class _Commands(click.Group):
    """The commands, loaded at first use; our own errors end here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        with _without_grammar():
            module = import_module(f"{__package__}.{_COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PrefectNBError as error:
            click.echo(f"prefect-nb: {' '.join(error.message.split())}", err=True)
            if error.hint:
                click.echo(f"  -> {' '.join(error.hint.split())}", err=True)
            status = 2 if isinstance(error, UsageError) else int(error.fields.get("exit_status", 1))
            ctx.exit(status)
        except KeyboardInterrupt:
            ctx.exit(130)


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    try:
        number = version("prefect_nb")
    except PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"prefect_nb {number}")
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def cli() -> None:
    """Run notebooks as durable workflows, and look at their runs.

    Exit status: 0 success, 1 something failed, 2 wrong usage, 3 paused, 130 interrupted.
    """


def main() -> None:
    """The command line's entry point."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal that cannot show a sign gets a question mark, never a traceback; a pipe sees lines at once.
            reconfigure(errors="replace", line_buffering=True)
    cli(prog_name="prefect-nb")
