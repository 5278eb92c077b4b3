"""``prefect-nb run``: a notebook from the shell, with parameters, live progress and an honest exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from prefect_nb.analysis.kinds import yaml_loader
from prefect_nb.apps.headless import Job, Outcome, Wish, prepare
from prefect_nb.apps.opened import Opened
from prefect_nb.apps.params import Text
from prefect_nb.errors import ParameterError, PrefectNBError, UsageError
from prefect_nb.views.words import duration, size

__all__ = ["run"]


@click.command(short_help="Run a notebook headless; see its tasks as they go.")
@click.argument("paths", nargs=-1, metavar="IN [OUT]", type=click.Path(path_type=Path))
@click.option("-p", "--param", "params", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter.")
@click.option("-f", "--params-file", "files", multiple=True, metavar="FILE", help="Set parameters from a YAML file.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value="last",
    default="",
    metavar="[RUN]",
    help="Go on with a run that failed, crashed or was interrupted; the last one by default.",
)
@click.option("--kernel", default="", metavar="NAME", help="Run in this kernel instead of the notebook's own.")
@click.pass_context
def run(
    context: click.Context,
    paths: tuple[Path, ...],
    params: tuple[tuple[str, str], ...],
    files: tuple[str, ...],
    resume: str,
    kernel: str,
) -> None:
    """Run the notebook IN and write the executed one to OUT.

    OUT is IN's name with .out.ipynb, beside it, by default. The static graph goes beside OUT. Parameters are checked
    against the annotations of the cell tagged `parameters` before anything starts. Tasks that do not depend on a
    failed one go on. Results are shared with every other run of this notebook, live ones too.

    Exit status: 0 success, 1 the flow failed, 2 it could not start as asked, 3 it waits for a person or a time
    (prefect-nb approve NAME, then --resume), 130 interrupted (Ctrl-C once; twice ends the kernel at once). What did not
    finish can be resumed with --resume.
    """
    if resume.endswith(".ipynb"):  # --resume IN: the option took what was meant as the notebook
        paths, resume = (Path(resume), *paths), "last"
    if not 1 <= len(paths) <= 2:
        raise UsageError(
            "give one notebook, and perhaps where to write it", hint="prefect-nb run IN.ipynb [OUT.ipynb] --help"
        )
    given: dict[str, Any] = {}
    for file in files:
        given |= _from_file(Path(file))
    given |= {name: Text(value) for name, value in params}
    job = _prepared(Wish(paths[0], paths[1] if len(paths) == 2 else None, given, kernel, resume))
    word = "resuming" if resume else "run"
    click.echo(f"{job.source.name} · {word} {job.launch.run} · kernel {job.kernel}")
    outcome = job.run(click.echo)
    _report(job, outcome)
    context.exit(130 if outcome.ending.interrupted else 0 if outcome.ok else 3 if outcome.waits else 1)


def _prepared(wish: Wish) -> Job:
    """The checked job; whatever is wrong now is a matter of what was asked for."""
    try:
        return prepare(wish)
    except PrefectNBError as error:
        error.fields["exit_status"] = 2
        raise


def _from_file(path: Path) -> dict[str, Any]:
    hint = "write one `name: value` per line"
    try:
        values = yaml.load(path.read_bytes(), Loader=yaml_loader())
    except OSError as error:
        raise ParameterError(f"the parameters file {path} cannot be read: {error.strerror}", hint="check it") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:160]
        raise ParameterError(f"the parameters file {path} is not YAML: {why}", hint=hint) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ParameterError(f"the parameters file {path} holds a {type(values).__name__}, not names", hint=hint)
    return values


def _report(job: Job, outcome: Outcome) -> None:
    """The last lines: how it ended, where things lie, and what to do next."""
    ending, told = outcome.ending, outcome.told
    state = told.row.state if told is not None else "Failed" if ending.error else "no tasks"
    facts = [state]
    if told is not None:
        counts = told.model.counts
        total = sum(counts.values())
        facts.append(f"{counts.get('COMPLETED', 0)} of {total} done")
        facts += [f"{n} {kind.lower()}" for kind, n in counts.items() if kind != "COMPLETED"]
    facts.append(duration(outcome.seconds))
    if told is not None and told.model.saved_s >= 0.0005:
        facts.append(f"cache saved {duration(told.model.saved_s)}")
    click.echo(f"\n{' · '.join(facts)}")
    click.echo(f"  notebook  {job.out}")
    if told is not None:
        click.echo(f"  graph     {job.graph}")
        click.echo(f"  results   {_results(job)}")
    if ending.stopped_at is not None:
        cell = job.nb.cells[ending.stopped_at]
        why = ending.error or "it asked to end the notebook"
        why = "interrupted" if ending.interrupted else "the run was cancelled" if ending.cancelled else why
        place = f"stopped at cell {ending.stopped_at + 1} ({_title(cell)}): {why}"
        click.echo(place, err=bool(ending.error))
    elif ending.died:
        click.echo("the kernel died after the last cell", err=True)
    for name in outcome.waits:
        click.echo(f"{name} waits: prefect-nb approve {name}")
    if not outcome.ok and told is not None and told.row.state != "Cancelled":
        click.echo(f"to go on with what did not finish: prefect-nb run {job.source} {job.out} --resume")


def _title(cell: Any) -> str:
    first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    return "".join(c for c in first[:60] if c.isprintable())


def _results(job: Job) -> str:
    with Opened(job.place) as opened:
        usage = opened.store.usage()
    return f"{opened.place.folder} ({size(usage.results)} of {size(usage.quota)})"
