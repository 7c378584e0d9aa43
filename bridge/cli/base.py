"""What every command needs: the group, `--config`, and an open context. No command of its own."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from bridge import config as config_module
from bridge import logs
from bridge.context import Context, open_context
from bridge.errors import ConfigError, StoreUnavailable, VmbridgeError
from bridge.origin import Origin, origin
from bridge.staff import doctor


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command `--config`, which comes to it as `path`."""
    return click.option(
        "--config",
        "path",
        envvar="VMBRIDGE_CONFIG",
        default="config.toml",
        show_default=True,
        help="The configuration file.",
    )(command)


def _user() -> str:
    """Who sits at the command line; the person behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


class Group(click.Group):
    """Ends each command that the store cannot serve with one line: what is wrong with it and what to do."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command as "command line"; a store that is not there ends it with a sentence and status 2."""
        origin.set(Origin("command line", _user()))
        try:
            return super().invoke(ctx)
        except StoreUnavailable as e:
            click.echo(trouble(e, ctx.meta.get(OPENED)), err=True)
            ctx.exit(2)
        finally:
            if context := ctx.meta.get(OPENED):
                context.store.close()


OPENED = "vmbridge.context"


def trouble(e: StoreUnavailable, context: Context | None) -> str:
    if context is None:
        return str(e)
    return context.store.database.told(e, context.config.store["secret_key"], context.config.path)


def opened(path: str, migrated: bool = True, hold: bool = True, fit: bool = True) -> Context:
    """The context, or exit 2 with every fault. `migrated` false: before the database is of this release; `hold` false:
    the store is not used but replaced; `fit` false: also when it is of a newer release or sealed with another key."""
    try:
        config = config_module.load(path)
    except ConfigError as e:
        _faults(e)
    logs.setup(config.secrets(), config.log["level"], config.log["format"])
    try:
        context = open_context(config)
    except VmbridgeError as e:
        raise click.ClickException(str(e)) from None
    click.get_current_context().meta[OPENED] = context
    try:
        if hold:
            context.store.hold()
            context.store.database.stands()
        if hold and fit:
            context.store.fit()
    except StoreUnavailable:
        raise
    except VmbridgeError as e:
        raise click.ClickException(str(e)) from None
    if migrated and context.store.pending_migrations():
        what = "the database is not of this release" if context.store.begun() else "there is no database yet"
        click.echo(f"{context.store.place}: {what}; run `vmbridge migrate`", err=True)
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


@click.group(cls=Group)
@click.version_option(package_name="vmbridge")
def main() -> None:
    """vmbridge: WHMCS orders become running virtual machines."""
