"""Commands about findings, and the maintenance switch of a server."""

from __future__ import annotations

import click

from bridge import customer
from bridge.cli.base import main, opened, with_config
from bridge.errors import VmbridgeError
from bridge.staff import contents, findings, mending, servers
from bridge.web.filters import moment


@main.group(name="findings")
def findings_group() -> None:
    """Look at what is not as it should be, and mend it."""


@findings_group.command(name="list")
@with_config
@click.option("--server", default="", help="Only this server's.")
@click.option("--all", "everything", is_flag=True, help="Dismissed ones too.")
def list_findings(path: str, server: str, everything: bool) -> None:
    """Open ones, newest first."""
    store = opened(path).store
    for f in store.findings(server=server, dismissed=everything):
        mark = " (dismissed)" if f["dismissed"] else ""
        click.echo(
            f"{f['id']:>5}  {f['kind']:<22} {f['server']}  since {moment(f['found_at'])}{mark}\n       {f['text']}"
        )
        click.echo(f"       {f['fix']}" + (f" `vmbridge findings fix {f['id']}`" if findings.fixable(f) else ""))


@findings_group.command(name="fix")
@with_config
@click.argument("finding", type=int)
def fix_finding(path: str, finding: int) -> None:
    """Mend one after the server has proven what it is about."""
    context = opened(path)
    try:
        click.echo(mending.fix(finding, "command line", context.store, context.config, context.drivers))
    except VmbridgeError as e:
        raise click.ClickException(f"{e.sentence} {e.detail}".strip()) from None


@findings_group.command(name="dismiss")
@with_config
@click.argument("finding", type=int)
def dismiss_finding(path: str, finding: int) -> None:
    """Keep one out of sight until it ends."""
    if not opened(path).store.dismiss_finding(finding):
        raise click.ClickException(f"there is no open finding {finding}")
    click.echo("dismissed")


@findings_group.command(name="sweep")
@with_config
@click.argument("server", default="")
def sweep_findings(path: str, server: str) -> None:
    """Look at everything of one server, or of all, now."""
    context = opened(path)
    if server and server not in context.drivers:
        raise click.ClickException(f"{server!r} is not one of: {', '.join(sorted(context.drivers))}")
    for name in [server] if server else sorted(context.drivers):
        if not findings.sweep_state(name, context.drivers[name], context.store, now=True):
            click.echo(f"{name}: not looked at; it is down, under maintenance, or was not read lately", err=True)
            continue
        customer.renew_mirror(
            name, context.drivers[name], context.store, now=True
        )  # half-made snapshots are among these
        findings.sweep_state(name, context.drivers[name], context.store, now=True)
        visited = contents.sweep_contents(name, context.drivers[name], context.store, context.config, everything=True)
        click.echo(
            f"{name}: {visited} machines and lists read, {len(context.store.findings(server=name))} open findings"
        )


@main.command()
@with_config
@click.argument("server")
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.option("--text", default="", help="What customers read while it is on.")
def maintenance(path: str, server: str, switch: str, text: str) -> None:
    """New operations of a server wait while it is on; running ones finish."""
    context = opened(path)
    try:
        shown = servers.set_maintenance(server, switch == "on", text, context.store, context.config)
    except VmbridgeError as e:
        raise click.ClickException(e.sentence) from None
    load = next(v for v in servers.views(context.store, context.config) if v.name == server)
    click.echo(f"on: customers read: {shown}" if shown else "off")
    click.echo(f"{load.running} running, {load.waiting} waiting")
