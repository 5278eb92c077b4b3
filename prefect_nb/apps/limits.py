"""``limits``: how many tasks with a tag may run at a time, over all processes that share a store.

Knows the store's limits; must not know who waits for their slots.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click

from prefect_nb.apps.listing import as_json, in_store
from prefect_nb.apps.opened import place_of
from prefect_nb.core.slots import Limits
from prefect_nb.errors import UsageError
from prefect_nb.wiring import open_store

__all__ = ["limits"]


@contextmanager
def _opened(store: str) -> Iterator[Limits]:
    """The store, which comes into being with its first limit."""
    found = open_store(place_of(store).folder)
    assert isinstance(found, Limits)
    try:
        yield found
    finally:
        found.close()


@click.group(invoke_without_command=True)
@as_json
@in_store
@click.pass_context
def limits(ctx: click.Context, plain: bool, store: str) -> None:
    """List how many tasks with a tag may run at a time, and how many do; set and unset change that.

    A task needs a slot of each of its tags that has a limit before its body is entered, and waits as Queued meanwhile.
    """
    ctx.obj = store
    if ctx.invoked_subcommand is not None:
        return
    with _opened(store) as found:
        known, used = found.limits(), found.slots_used()
    if plain:
        click.echo(json.dumps([{"tag": tag, "slots": slots, "used": used.get(tag, 0)} for tag, slots in known.items()]))
        return
    if not known:
        click.echo("no tag has a limit; prefect-nb limits set TAG N sets one")
    for tag, slots in known.items():
        click.echo(f"{tag}: {used.get(tag, 0)} of {slots} in use")


@limits.command("set")
@click.argument("tag")
@click.argument("slots", type=click.IntRange(0))
@in_store
@click.pass_obj
def set_limit(above: str, tag: str, slots: int, store: str) -> None:
    """Let at most SLOTS tasks with TAG run at a time; 0 lets nothing enter. What runs goes on."""
    with _opened(store or above) as found:
        found.set_limit(tag, slots)
    click.echo(f"at most {slots} with {tag} at a time" if slots else f"nothing with {tag} enters")


@limits.command("unset")
@click.argument("tag")
@in_store
@click.pass_obj
def unset(above: str, tag: str, store: str) -> None:
    """Take the limit of TAG away."""
    with _opened(store or above) as found:
        if tag not in found.limits():
            raise UsageError(f"{tag} has no limit", hint="prefect-nb limits lists them")
        found.set_limit(tag, None)
    click.echo(f"any number with {tag} at a time")
