"""Commands about the store: migrate, backup, restore, and the events that a restore has held."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from bridge.cli.base import main, opened, with_config
from bridge.errors import StoreUnavailable, VmbridgeError
from bridge.store.holdings import HeldEvent, Holdings, Restored
from bridge.web.filters import moment


@main.command()
@with_config
def migrate(path: str) -> None:
    """Bring the database to this release."""
    done = opened(path, migrated=False).store.migrate()
    click.echo(f"applied: {', '.join(done)}" if done else "nothing to do")


@main.command()
@with_config
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
def backup(path: str, file: Path, force: bool) -> None:
    """Copy the store into FILE, also while everything runs and before a migration."""
    store = opened(path, migrated=False, fit=False).store
    try:
        size, held = store.database.take(file, force)
    except StoreUnavailable:
        raise
    except (VmbridgeError, OSError) as e:
        raise click.ClickException(str(e)) from None
    with suppress(VmbridgeError):  # of another release, or locked: the copy is good all the same
        store.backed_up()
    click.echo(f"{file}: {size / 1024**2:.1f} MiB")
    for line in _holdings(held):
        click.echo(f"  {line}")
    click.echo(
        "The secret key is not in it. Keep [store] secret_key in another place: without it, passwords and unsent"
        " mails cannot be read."
    )


@main.command()
@with_config
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--skip-vm-ids",
    "skip",
    type=click.IntRange(0, 1_000_000),
    default=None,
    help="VM ids to leave out, for those given since the copy; 1000 when the present store cannot be read, else 0.",
)
@click.option("--without-key", is_flag=True, help="The key is lost: give up first passwords and unsent events.")
def restore(path: str, file: Path, skip: int | None, without_key: bool) -> None:
    """Put a copy in the place of the store; what stood there is moved aside."""
    context = opened(path, migrated=False, hold=False)
    now = context.clock.now()
    ranges = {name: list(context.config.id_ranges(name)) for name in context.config.servers}
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
    try:
        restored = context.store.database.put_back(
            file, context.config.store["secret_key"], ranges, now, stamp, skip, without_key
        )
    except (VmbridgeError, OSError) as e:
        raise click.ClickException(str(e)) from None
    for line in _restored(restored):
        click.echo(line)


def _holdings(h: Holdings) -> list[str]:
    services = ", ".join(f"{n} {state}" for state, n in h.services.items()) or "none"
    ids = ", ".join(f"{server} from {n}" for server, n in h.vm_ids.items()) or "none given"
    return [
        f"last change {moment(h.at) if h.at else 'never'}",
        f"services: {services}",
        f"operations: {h.operations}, {h.open_operations} of them open",
        f"addresses taken: {h.addresses}",
        f"events not sent yet: {h.unsent_events}",
        f"next VM ids: {ids}",
    ]


def _restored(r: Restored) -> list[str]:
    """What a person must know before everything is started again."""
    lines = ["Restored.", *(f"  {line}" for line in _holdings(r.holdings))]
    lines.append(f"The store that stood here is now {r.moved_to}." if r.moved_to else "There was no store here before.")
    if r.moved_to and not r.replaced_readable:
        lines.append("It could not be read: what it knew since the copy was taken is lost.")
    if not r.replaced_readable:
        lines.append(
            "Addresses given since the copy was taken are not known: compare WHMCS's services before new orders come"
            " in."
        )
    for server, (before, after) in r.vm_ids.items():
        lines.append(f"VM ids of {server} go on at {after} (the copy said {before or 'none'}; {r.skipped} left out).")
    if r.held_operations:
        lines.append(
            "These operations were open. They do nothing until you say `vmbridge operations retry` or `cancel`:"
        )
    for op in r.held_operations:
        later = f"; the replaced store has it as {op['later']}" if op["later"] else ""
        lines.append(
            f"  {op['id']}  {op['kind']} of service {op['service_id']} ({op['whmcs']}), VM {op['vm_id']} on"
            f" {op['server']}{later}"
        )
    if r.sent_since:
        lines.append(
            f"Events sent since the copy was taken, as the replaced store knows: {r.sent_since}. They are not sent"
            " again."
        )
    if r.held_events:
        lines.append("These events may have been sent since. They wait until you say `vmbridge events send` or `drop`:")
    lines += [_event(e) for e in r.held_events]
    for s in r.unknown_services:
        lines.append(
            f"Only the replaced store knows service {s['service_id']} ({s['whmcs']}), {s['desired']}: if its machine"
            f" is there, `vmbridge adopt {s['service_id']} {s['vm_id']} --whmcs {s['whmcs']} --plan {s['plan']}"
            " --client ...`"
        )
    for s in r.changed_services:
        lines.append(
            f"Service {s['service_id']} ({s['whmcs']}) is {s['here']} with VM {s['here_vm']} here; it was"
            f" {s['desired']} with VM {s['vm_id']}."
        )
    if r.kept_addresses:
        lines.append(f"Taken in the replaced store alone, kept out of use for 90 days: {', '.join(r.kept_addresses)}")
    return [*lines, "Next: `vmbridge check`, then `vmbridge findings sweep`, then start everything again."]


def _event(e: HeldEvent) -> str:
    whose = f" of service {e['service_id']} ({e['whmcs']})" if e["service_id"] else ""
    return f"  {e['id']}  {e['event']}{whose}, {moment(e['created_at'])}"


@main.group()
def events() -> None:
    """Mails and notices that a restore has held."""


@events.command(name="list")
@with_config
def list_events(path: str) -> None:
    """Those that wait for a person, and how many WHMCS has not taken yet."""
    context = opened(path)
    held = context.store.held_events()
    for event in held:
        click.echo(_event(event))
    waits = {name: context.store.undelivered(name) for name in context.config.whmcs}
    for name, u in waits.items():
        if u["n"]:
            since, said = moment(u["oldest"] or 0.0), u["error"]
            click.echo(f"{u['n']} not taken by WHMCS {name!r} since {since}, tried again by themselves: {said}")
    if not held and not any(u["n"] for u in waits.values()):
        click.echo("Nothing is held, and WHMCS has taken all that was sent.")


@events.command(name="send")
@with_config
@click.argument("event", type=int)
def send_event(path: str, event: int) -> None:
    """Deliver it now."""
    if not opened(path).store.send_held(event):
        raise click.ClickException(f"no held event {event}")
    click.echo("is sent")


@events.command(name="drop")
@with_config
@click.argument("event", type=int)
def drop_event(path: str, event: int) -> None:
    """Never deliver it."""
    if not opened(path).store.drop_held(event):
        raise click.ClickException(f"no held event {event}")
    click.echo("is dropped")
