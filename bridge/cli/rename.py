"""The store follows a name that was changed in the configuration."""

from __future__ import annotations

import click

from bridge.cli.base import main, opened, with_config
from bridge.config import Config
from bridge.errors import ConfigError, Refused, StoreUnavailable, VmbridgeError
from bridge.staff import doctor
from bridge.store import Store
from bridge.store import rename as store_rename

TABLES = {"whmcs": "whmcs", "server": "servers", "plan": "plans", "pool": "pools"}


@main.command()
@with_config
@click.argument("kind", type=click.Choice(list(TABLES)))
@click.argument("old")
@click.argument("new")
def rename(path: str, kind: str, old: str, new: str) -> None:
    """Change the name in the configuration first; then, while nothing runs, this gives all that the store has of OLD to
    NEW."""
    context = opened(path, migrated=False, hold=False)
    known = getattr(context.config, TABLES[kind])
    if new not in known:
        configured = ", ".join(sorted(known)) or "none"
        raise click.ClickException(f"NEW: there is no [{TABLES[kind]}.{new}] in the configuration; found: {configured}")
    if old in known:
        raise click.ClickException(
            f"OLD: [{TABLES[kind]}.{old}] still stands in the configuration; change its name first"
        )
    if context.store.pending_migrations():
        raise click.ClickException("the database is not of this release; run `vmbridge migrate` first")
    try:
        context.store.fit()
        before, elsewhere = _faults(context.config, context.store), {}
        if kind == "plan":
            elsewhere = _elsewhere(old, new, context.config, context.store)
        context.store.close()

        def judge(seen: Store) -> None:
            faults = {f: text for f, text in _faults(context.config, seen).items() if f not in before}
            if faults | elsewhere:
                said = "; ".join(f"{where}: {text}" for (where, _), text in sorted((faults | elsewhere).items()))
                raise Refused(f"{kind} {old} cannot become {new}: {said}. Nothing was changed.", code="does_not_fit")

        done = store_rename.rename(context.store, kind, old, new, judge)
    except StoreUnavailable:
        raise
    except VmbridgeError as e:
        raise click.ClickException(str(e)) from None
    rows = ", ".join(f"{count} of {table}" for table, count in done.items())
    click.echo(f"{kind} {old} is {new} now: {rows}")
    for (where, code), text in _faults(context.config, context.store).items():
        click.echo(f"still to do: {where}: {text} [{code}]")


def _faults(config: Config, store: Store) -> dict[tuple[str, str], str]:
    """What of the configuration does not go with the store: (path, code) -> sentence; several of one path are one."""
    try:
        doctor.against_store(config, store)
    except ConfigError as e:
        return {(where, code): text for where, code, text in reversed(e.faults)}
    return {}


def _elsewhere(old: str, new: str, config: Config, store: Store) -> dict[tuple[str, str], str]:
    """A plan of another server than that which the services are on would order a move of them all."""
    here = config.plans[new].server
    servers = {r["server"] for r in store.in_use() if r["plan"] == old and r["server"] in config.servers} - {here}
    said = f"is {here!r}, but services with {old!r} are on {', '.join(map(repr, sorted(servers)))}"
    return {(f"plans.{new}.server", "other_server"): said} if servers else {}
