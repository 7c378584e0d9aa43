"""Record a machine that exists already."""

from __future__ import annotations

import click

from bridge import services
from bridge.cli.base import main, opened, with_config
from bridge.errors import VmbridgeError
from bridge.model import Difference
from bridge.orders import addresses, packages, upgrades


def tell(rows: list[Difference], plan: str) -> None:
    """What the machine has in another way than its plan sells."""
    if not rows:
        click.echo(f"  it is as plan {plan!r} sells it")
        return
    click.echo(
        f"  it stays as it is; the button Converge in WHMCS, or a change of package, makes it as plan {plan!r} sells"
        " it:"
    )
    for row in rows:
        label = row.label or upgrades.LABELS.get(row.word, row.word)
        real, sold = upgrades.amount(row.word, row.real), upgrades.amount(row.word, row.sold)
        note = f" (not written: {row.refused})" if row.refused else " (kept)" if row.kept else ""
        click.echo(f"    {label}: {real} -> {sold}{note}")


@main.command()
@with_config
@click.argument("service_id", type=int)
@click.argument("vm_id")
@click.option("--whmcs", default="main", show_default=True)
@click.option("--plan", required=True)
@click.option("--client", type=int, required=True, help="WHMCS client id.")
@click.option("--hostname", default="", help="The machine's own name when absent.")
@click.option(
    "--address", "own", multiple=True, help="An address of it, again for more; read from the machine when absent."
)
def adopt(
    path: str, service_id: int, vm_id: str, whmcs: str, plan: str, client: int, hostname: str, own: tuple[str, ...]
) -> None:
    """Record an existing machine for a WHMCS service; nothing is written to it, and it stays as it is until a package
    is ordered."""
    context = opened(path)
    if plan not in context.config.plans:
        raise click.ClickException(f"--plan: {plan!r} is not one of: {', '.join(sorted(context.config.plans))}")
    if whmcs not in context.config.whmcs:
        raise click.ClickException(f"--whmcs: {whmcs!r} is not one of: {', '.join(sorted(context.config.whmcs))}")
    if plan not in context.config.of(whmcs).plans:
        server = context.config.plans[plan].server
        raise click.ClickException(
            f"--plan: {plan!r} is of server {server!r}, which [whmcs.{whmcs}] servers does not have"
        )
    for address in own:
        try:
            known = addresses.pool_of(address, context.config)
        except ValueError:
            raise click.ClickException(f"--address: {address!r} is not an IP address") from None
        if known is None:
            raise click.ClickException(f"--address: {address} is in no pool")
    package = packages.of_plan(context.config.plans[plan])
    try:
        machine = context.drivers[package.server].inspect(vm_id)
        service, outside = services.adopt(
            whmcs, service_id, client, hostname, package, machine, context.store, context.config, own
        )
    except VmbridgeError as e:
        raise click.ClickException(f"{e.sentence} {e.detail}".strip()) from None
    try:  # so that the first change is compared with what it has
        seen = context.drivers[package.server].read(service.ref)
        context.store.save_seen(service.id, seen.config, seen.pending)
        rows = upgrades.beside_order(service, context.drivers[package.server], context.store, context.config)
    except VmbridgeError as e:
        click.echo(f"  its configuration could not be read yet: {e.sentence}")
        rows = []
    click.echo(f"service {service_id} has VM {vm_id} on {service.node}, known by uuid {machine.uuid}")
    tell(rows, plan)
    for address in outside:
        click.echo(f"  its address {address} is in no pool, or another service has it: not recorded")
