"""The store follows a name that was changed in the configuration."""

from __future__ import annotations

import click

from bridge.cli.base import main, opened, with_config
from bridge.errors import ConfigError, VmbridgeError
from bridge.staff import doctor
from bridge.store import rename as store_rename

TABLES = {"whmcs": "whmcs", "server": "servers", "plan": "plans", "pool": "pools"}


@main.command()
@with_config
@click.argument("kind", type=click.Choice(list(TABLES)))
@click.argument("old")
@click.argument("new")
def rename(path: str, kind: str, old: str, new: str) -> None:
    """Change the name in the configuration first; then, while nothing runs, this gives all that the store has of OLD to NEW."""
    context = opened(path, migrated=False, hold=False)
    known = getattr(context.config, TABLES[kind])
    if new not in known:
        found = ", ".join(sorted(known)) or "none"
        raise click.ClickException(f"NEW: there is no [{TABLES[kind]}.{new}] in the configuration; found: {found}")
    if old in known:
        raise click.ClickException(
            f"OLD: [{TABLES[kind]}.{old}] still stands in the configuration; change its name first"
        )
    if context.store.pending_migrations():
        raise click.ClickException("the database is not of this release; run `vmbridge migrate` first")
    context.store.close()
    try:
        done = store_rename.rename(context.store.path, kind, old, new)
    except VmbridgeError as e:
        raise click.ClickException(str(e)) from None
    rows = ", ".join(f"{count} of {table}" for table, count in done.items())
    click.echo(f"{kind} {old} is {new} now: {rows}")
    try:
        doctor.against_store(context.config, context.store)
    except ConfigError as e:
        for where, code, text in e.faults:
            click.echo(f"still to do: {where}: {text} [{code}]")
