"""A running installation goes on in another store: `vmbridge store copy` and `reopen`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click
from marshmallow import ValidationError

from bridge.cli.base import main, opened, with_config
from bridge.config import database
from bridge.context import Context
from bridge.errors import StoreUnavailable, VmbridgeError
from bridge.store import Store, copying
from bridge.store import opened as store_at


@main.group()
def store() -> None:
    """The store as a whole: bring it to another place."""


@store.command(name="copy")
@with_config
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The password of a database that is not the configured one; else PGPASSWORD or a passfile.",
)
def copy_command(path: str, source: str, target: str, password_file: Path | None) -> None:
    """Copy all of FROM into TO, which must be empty, while nothing runs; each is a file's path or postgresql://...
    without its password."""
    context = opened(path, migrated=False, hold=False)
    password = password_file.read_text("utf-8").strip() if password_file else ""
    places = [_place(context, word, password, name) for name, word in (("FROM", source), ("TO", target))]
    key = context.config.store["secret_key"]
    old, new = (Store(p.place, key, context.clock, p) for p in places)
    try:
        if places[0].there():
            old.fit()
            old.close()
        counts = copying.copy(places[0], places[1], lambda line: click.echo(f"  {line}"))
        new.fit()
        old.leave(new.place)
    except StoreUnavailable as e:
        raise click.ClickException(f"{e.sentence} {e.detail}") from None
    except VmbridgeError as e:
        raise click.ClickException(str(e)) from None
    finally:
        old.close()
        new.close()
    click.echo(f"{sum(counts.values())} rows of {len(counts)} tables stand in {new.place}, counted and compared.")
    click.echo(
        f"Next: name {new.place} in [store], then `vmbridge check`, then start everything again. {old.place} is kept,"
        " and does not start any more."
    )


def _place(context: Context, word: str, password: str, name: str) -> copying.Place:
    if "://" not in word:
        return cast(copying.Place, store_at(word))
    configured = context.config.store
    try:
        database.fitting(word)
    except ValidationError as e:
        raise click.ClickException(f"{name}: {' '.join(map(str, e.messages))}") from None
    if database.secrets_of({"url": word, "password": ""}, {}):
        raise click.ClickException(
            f"{name}: leave the password out, every user of this machine could read it here; it comes from [store]"
            " password where this is the configured one, else from --password-file, PGPASSWORD or a passfile."
        )
    there = store_at(word)
    if configured["url"] and there.place == context.store.place:
        there = store_at(configured["url"], configured["password"])
    elif password:
        there = store_at(word, password)
    return cast(copying.Place, there)


@store.command(name="reopen")
@with_config
def reopen(path: str) -> None:
    """Go on with the configured store although it was copied to another place."""
    context = opened(path, migrated=False, fit=False)
    context.store.leave("")
    click.echo(f"{context.store.place} may be started again; what it was copied to must not be.")
