"""Commands about the operator's own scripts: their tokens, and the document of what may be called."""

from __future__ import annotations

import json
import re
import secrets

import click

from bridge.cli.base import main, opened, with_config
from bridge.web.filters import moment
from bridge.web.reading import PREFIX, SCOPES, hashed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@main.group()
def token() -> None:
    """Tokens with which scripts read services, operations, findings and pools."""


@token.command(name="add")
@with_config
@click.argument("name")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help="What it may read; once for each.")
@click.option("--whmcs", default="", help="Only this installation's; without: of all.")
def add_token(path: str, name: str, scopes: tuple[str, ...], whmcs: str) -> None:
    """Make one, and print it this one time."""
    context = opened(path)
    if not NAME.match(name):
        raise click.ClickException("NAME: use 1 to 63 letters, digits, dots, _ and -, a letter or digit first")
    if not scopes:
        raise click.ClickException(f"--scope: at least one of {', '.join(SCOPES)}")
    if whmcs and whmcs not in context.config.whmcs:
        raise click.ClickException(f"--whmcs: {whmcs!r} is not one of: {', '.join(sorted(context.config.whmcs))}")
    made = PREFIX + secrets.token_urlsafe(32)
    if not context.store.add_token(name, hashed(made), list(dict.fromkeys(scopes)), whmcs):
        raise click.ClickException(f"there is a token {name!r} already; revoke it first, or take another name")
    click.echo(made)
    click.echo("Only its hash is kept: it is not shown again. Send it as `Authorization: Bearer TOKEN`.", err=True)


@token.command(name="list")
@with_config
def list_tokens(path: str) -> None:
    """Their names, scopes and last use; never the tokens."""
    for row in opened(path).store.tokens():
        used = f"used {moment(row['used_at'])}" if row["used_at"] else "never used"
        ended = f"  revoked {moment(row['revoked_at'])}" if row["revoked_at"] else ""
        click.echo(
            f"{row['name']:<24} {','.join(row['scopes'])}  {row['whmcs'] or 'all installations'}"
            f"  made {moment(row['created_at'])}  {used}{ended}"
        )


@token.command(name="revoke")
@with_config
@click.argument("name")
def revoke_token(path: str, name: str) -> None:
    """It opens nothing any more, at once."""
    if not opened(path).store.revoke_token(name):
        raise click.ClickException(f"there is no token {name!r} that holds")
    click.echo("revoked")


@main.command()
@with_config
def openapi(path: str) -> None:
    """Print the OpenAPI document of the whole API."""
    from bridge.app import create_app  # the web's libraries are for this command only
    from bridge.web.openapi import document

    click.echo(json.dumps(document(create_app(opened(path, migrated=False, hold=False, fit=False))), indent=2))
