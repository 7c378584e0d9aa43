"""What every command needs: the group, `--config`, and an open context. No command of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from bridge import config as config_module
from bridge import doctor, logs
from bridge.context import Context, open_context
from bridge.errors import ConfigError, VmbridgeError


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config",
        "path",
        envvar="VMBRIDGE_CONFIG",
        default="config.toml",
        show_default=True,
        help="The configuration file.",
    )(command)


def opened(path: str, migrated: bool = True, hold: bool = True) -> Context:
    """The context, or exit 2 with every fault. `migrated` false: before the database is of this release; `hold` false: the
    store is not used but replaced."""
    try:
        config = config_module.load(path)
    except ConfigError as e:
        _faults(e)
    logs.setup(config.secrets())
    context = open_context(config)
    try:
        if hold:
            context.store.hold()
    except VmbridgeError as e:
        raise click.ClickException(str(e)) from None
    if migrated and context.store.pending_migrations():
        click.echo(f"{context.store.path}: the database is not of this release; run `vmbridge migrate`", err=True)
        sys.exit(2)
    try:
        if migrated:
            doctor.against_store(config, context.store)
    except ConfigError as e:
        _faults(e)
    return context


def _faults(e: ConfigError) -> None:
    for where, code, text in e.faults:
        click.echo(f"{where}: {text} [{code}]", err=True)
    sys.exit(2)


@click.group()
@click.version_option(package_name="vmbridge")
def main() -> None:
    """vmbridge: WHMCS orders become running virtual machines."""
