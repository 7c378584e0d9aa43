"""The command that prints the audit log."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from bridge.cli.base import main, opened, with_config

PAGE = 500


@main.command()
@with_config
@click.option("--days", type=click.IntRange(1, 36500), default=None, help="Only the last so many days.")
@click.option("--service", type=click.IntRange(1), default=None, help="Only of this service, by WHMCS's number.")
@click.option("--after", type=click.IntRange(0), default=0, help="Only behind the line with this id.")
def audit(path: str, days: int | None, service: int | None, after: int) -> None:
    """Print who did what to which service, from where and with which result: one JSON object a line, oldest first."""
    context = opened(path)
    since = context.clock.now() - days * 86400.0 if days else 0.0
    while rows := context.store.audited(after, since, service, PAGE):
        for row in rows:
            at = datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            click.echo(json.dumps({**row, "at": at}, ensure_ascii=False))
        after = rows[-1]["id"]
