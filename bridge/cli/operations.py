"""Commands about operations: list, show, retry, cancel."""

from __future__ import annotations

import json
from typing import Any

import click

from bridge import services
from bridge.cli.base import main, opened, with_config
from bridge.web.filters import moment


@main.group()
def operations() -> None:
    """Look at operations and act on them."""


@operations.command(name="list")
@with_config
@click.option("--all", "everything", is_flag=True, help="Ended ones too.")
@click.option("--limit", default=50, show_default=True)
def list_operations(path: str, everything: bool, limit: int) -> None:
    """Newest first: open and failed ones, with --all those that ended well too."""
    store = opened(path).store
    states = () if everything else ("waiting", "running", "waiting_for_staff", "failed")
    for op in store.operations_of(None, limit, states):
        s = store.service(op.service)
        click.echo(
            f"{op.id}  {op.kind:<10} {op.state.value:<18} service {s.service_id} ({s.whmcs})  {moment(op.created_at)}"
            + (f"  {op.error_code}: {op.next_action}" if op.error_code else "")
        )


@operations.command(name="show")
@with_config
@click.argument("operation")
def show_operation(path: str, operation: str) -> None:
    """One operation with its steps."""
    store = opened(path).store
    op = _operation(store, operation)
    click.echo(json.dumps(services.operation_view(op, store.service(op.service), store), indent=2))


@operations.command(name="retry")
@with_config
@click.argument("operation")
def retry_operation(path: str, operation: str) -> None:
    """Go on with a failed, cancelled or waiting operation."""
    store = opened(path).store
    _operation(store, operation)
    reason = store.retry(operation)
    if reason:
        raise click.ClickException(f"it cannot go on: {reason}")
    click.echo("goes on")


@operations.command(name="cancel")
@with_config
@click.argument("operation")
def cancel_operation(path: str, operation: str) -> None:
    """Stop at the next step border; nothing is undone."""
    store = opened(path).store
    _operation(store, operation)
    if not store.ask_cancel(operation):
        raise click.ClickException(f"it has ended already ({store.operation(operation).state})")
    click.echo("stops at its next step border")


def _operation(store: Any, key: str) -> Any:
    try:
        return store.operation(key)
    except KeyError:
        raise click.ClickException(f"there is no operation {key}") from None
