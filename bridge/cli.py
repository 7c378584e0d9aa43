"""The command line. Every command takes --config; faults are printed with their path and exit with 2."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography.fernet import Fernet

from bridge import addresses, doctor, findings, logs, packages, servers, services, worker
from bridge import config as config_module
from bridge.clock import Clock
from bridge.context import Context, open_context
from bridge.errors import ConfigError, VmbridgeError
from bridge.model import VmRef
from bridge.store import archive
from bridge.web.filters import moment


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config", "path", envvar="VMBRIDGE_CONFIG", default="config.toml", show_default=True, help="The configuration file."
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


def _die_with_parent() -> None:
    """A killed `serve` must not leave its children behind: Linux sends them SIGTERM then (prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


@main.command()
@with_config
def serve(path: str) -> None:
    """Run web, worker and console here; ends when one of them dies."""
    context = opened(path, migrated=False)
    context.store.migrate()
    context.store.close()
    opened(path).store.close()
    context.store.hold()
    # --config goes on by the environment too, so that each child reads the same file
    children = {
        name: subprocess.Popen([sys.executable, "-m", "bridge.cli", name, "--config", path], env=os.environ, preexec_fn=_die_with_parent)
        for name in ("worker", "web", "console")
    }
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    clock, died = Clock(), ""
    while not ended.is_set() and not died:
        died = next((n for n, c in children.items() if c.poll() is not None), "")
        clock.wait(ended, 0.2)
    for child in children.values():
        if child.poll() is None:
            child.terminate()
    for child in children.values():
        try:
            child.wait(timeout=35)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    worker_pid = children["worker"].pid
    context.store.free_owner_of(worker_pid)
    if died:
        click.echo(f"{died} has ended with {children[died].returncode}; stopped the others", err=True)
        sys.exit(1)


@main.command()
@with_config
def web(path: str) -> None:
    """Run the HTTP service (gunicorn)."""
    context = opened(path)
    context.store.close()  # a connection must not be inherited
    context.store.hold()  # gunicorn's workers inherit this
    settings = context.config.web
    os.environ["VMBRIDGE_CONFIG"] = os.path.abspath(path)
    from gunicorn.app.wsgiapp import WSGIApplication  # its import patches warnings: only here

    sys.argv = [
        "gunicorn", "--bind", settings["listen"], "--workers", str(settings["workers"]), "--threads", str(settings["threads"]),
        "--worker-class", "gthread", "--log-level", "warning", "--keep-alive", "30", "bridge.wsgi:application()",
    ]
    WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]").run()


@main.command(name="worker")
@with_config
def worker_command(path: str) -> None:
    """Run operations, status refresh and deliveries."""
    context = opened(path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker.run(context, stop)


@main.command(name="console")
@with_config
@click.option("--listen", default="", help="HOST:PORT instead of [console] listen, for a second process.")
def console_command(path: str, listen: str) -> None:
    """Run the console's page and relay."""
    from bridge import console_relay  # its libraries are for this process only

    asyncio.run(console_relay.run(opened(path), listen))


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
    store = opened(path, migrated=False).store
    try:
        size = archive.take(store.path, file, force)
    except (VmbridgeError, OSError) as e:
        raise click.ClickException(str(e)) from None
    click.echo(f"{file}: {size / 1024**2:.1f} MiB")
    for line in _holdings(archive.holdings(file)):
        click.echo(f"  {line}")
    click.echo("The secret key is not in it. Keep [store] secret_key in another place: without it, passwords and unsent mails cannot be read.")


@main.command()
@with_config
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--skip-vm-ids", "skip", type=click.IntRange(0, 1_000_000), default=None,
              help="VM ids to leave out, for those given since the copy; 1000 when the present store cannot be read, else 0.")
@click.option("--without-key", is_flag=True, help="The key is lost: give up first passwords and unsent events.")
def restore(path: str, file: Path, skip: int | None, without_key: bool) -> None:
    """Put a copy in the place of the store; what stood there is moved aside."""
    context = opened(path, migrated=False, hold=False)
    now = context.clock.now()
    ranges = {name: list(s.get("vm_ids", ())) for name, s in context.config.servers.items()}
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"
    try:
        found = archive.put_back(file, context.store.path, context.config.store["secret_key"], ranges, now, stamp, skip, without_key)
    except (VmbridgeError, OSError) as e:
        raise click.ClickException(str(e)) from None
    for line in _restored(found):
        click.echo(line)


def _holdings(h: archive.Holdings) -> list[str]:
    services = ", ".join(f"{n} {state}" for state, n in h.services.items()) or "none"
    ids = ", ".join(f"{server} from {n}" for server, n in h.vm_ids.items()) or "none given"
    return [
        f"last change {moment(h.at) if h.at else 'never'}", f"services: {services}", f"operations: {h.operations}, {h.open_operations} of them open",
        f"addresses taken: {h.addresses}", f"events not sent yet: {h.unsent_events}", f"next VM ids: {ids}",
    ]


def _restored(r: archive.Restored) -> list[str]:
    """What a person must know before everything is started again."""
    lines = ["Restored.", *(f"  {line}" for line in _holdings(r.holdings))]
    lines.append(f"The store that stood here is now {r.moved_to}." if r.moved_to else "There was no store here before.")
    if r.moved_to and not r.replaced_readable:
        lines.append("It could not be read: what it knew since the copy was taken is lost.")
    if not r.replaced_readable:
        lines.append("Addresses given since the copy was taken are not known: compare WHMCS's services before new orders come in.")
    for server, (before, after) in r.vm_ids.items():
        lines.append(f"VM ids of {server} go on at {after} (the copy said {before or 'none'}; {r.skipped} left out).")
    if r.held_operations:
        lines.append("These operations were open. They do nothing until you say `vmbridge operations retry` or `cancel`:")
    for op in r.held_operations:
        later = f"; the replaced store has it as {op['later']}" if op["later"] else ""
        lines.append(f"  {op['id']}  {op['kind']} of service {op['service_id']} ({op['whmcs']}), VM {op['vm_id']} on {op['server']}{later}")
    if r.sent_since:
        lines.append(f"Events sent since the copy was taken, as the replaced store knows: {r.sent_since}. They are not sent again.")
    if r.held_events:
        lines.append("These events may have been sent since. They wait until you say `vmbridge events send` or `drop`:")
    lines += [_event(e) for e in r.held_events]
    for s in r.unknown_services:
        lines.append(f"Only the replaced store knows service {s['service_id']} ({s['whmcs']}), {s['desired']}: if its machine is there,"
                     f" `vmbridge adopt {s['service_id']} {s['vm_id']} --whmcs {s['whmcs']} --plan {s['plan']} --client ...`")
    for s in r.changed_services:
        lines.append(f"Service {s['service_id']} ({s['whmcs']}) is {s['here']} with VM {s['here_vm']} here; it was {s['desired']} with VM {s['vm_id']}.")
    if r.kept_addresses:
        lines.append(f"Taken in the replaced store alone, kept out of use for 90 days: {', '.join(r.kept_addresses)}")
    return [*lines, "Next: `vmbridge check`, then `vmbridge findings sweep`, then start everything again."]


def _event(e: dict[str, Any]) -> str:
    whose = f" of service {e['service_id']} ({e['whmcs']})" if e["service_id"] else ""
    return f"  {e['id']}  {e['event']}{whose}, {moment(e['created_at'])}"


@main.group()
def events() -> None:
    """Mails and notices that a restore has held."""


@events.command(name="list")
@with_config
def list_events(path: str) -> None:
    """Those that wait for a person."""
    for event in opened(path).store.held_events():
        click.echo(_event(event))


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


@main.command()
@with_config
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
def check(path: str, as_json: bool) -> None:
    """Look for faults in configuration, servers, pools and WHMCS; exit 1 when there is one."""
    found = doctor.check(opened(path, migrated=False))
    if as_json:
        click.echo(json.dumps([asdict(f) for f in found]))
    else:
        marks = {"ok": "ok     ", "warning": "WARNING", "fault": "FAULT  "}
        for f in found:
            click.echo(f"{marks[f.level]} {f.subject}: {f.text}" + (f"\n        fix: {f.fix}" if f.fix else ""))
    sys.exit(1 if any(f.level == "fault" for f in found) else 0)


@main.command()
def keygen() -> None:
    """Print a new key for [store] secret_key."""
    click.echo(Fernet.generate_key().decode())


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
        click.echo(f"{op.id}  {op.kind:<10} {op.state.value:<18} service {s.service_id} ({s.whmcs})  {moment(op.created_at)}"
                   + (f"  {op.error_code}: {op.next_action}" if op.error_code else ""))


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
        click.echo(f"{f['id']:>5}  {f['kind']:<22} {f['server']}  since {moment(f['found_at'])}{mark}\n       {f['text']}")
        click.echo(f"       {f['fix']}" + (f" `vmbridge findings fix {f['id']}`" if findings.fixable(f) else ""))


@findings_group.command(name="fix")
@with_config
@click.argument("finding", type=int)
def fix_finding(path: str, finding: int) -> None:
    """Mend one after the server has proven what it is about."""
    context = opened(path)
    try:
        click.echo(findings.fix(finding, "command line", context.store, context.config, context.drivers))
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
        visited = findings.sweep_contents(name, context.drivers[name], context.store, context.config, everything=True)
        click.echo(f"{name}: {visited} machines and lists read, {len(context.store.findings(server=name))} open findings")


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


@main.command()
@with_config
@click.argument("service_id", type=int)
@click.argument("vm_id")
@click.option("--whmcs", default="main", show_default=True)
@click.option("--plan", required=True)
@click.option("--client", type=int, required=True, help="WHMCS client id.")
@click.option("--hostname", default="", help="The machine's own name when absent.")
@click.option("--address", "own", multiple=True, help="An address of it, again for more; read from the machine when absent.")
def adopt(path: str, service_id: int, vm_id: str, whmcs: str, plan: str, client: int, hostname: str, own: tuple[str, ...]) -> None:
    """Record an existing machine for a WHMCS service; nothing is written to it."""
    context = opened(path)
    if plan not in context.config.plans:
        raise click.ClickException(f"--plan: {plan!r} is not one of: {', '.join(sorted(context.config.plans))}")
    if whmcs not in context.config.whmcs:
        raise click.ClickException(f"--whmcs: {whmcs!r} is not one of: {', '.join(sorted(context.config.whmcs))}")
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
        service, outside = services.adopt(whmcs, service_id, client, hostname, package, machine, context.store, context.config, own)
    except VmbridgeError as e:
        raise click.ClickException(f"{e.sentence} {e.detail}".strip()) from None
    try:  # so that the first change is compared with what it has
        seen = context.drivers[package.server].read(VmRef(service.vm_id, service.uuids, service.node, service.build))
        context.store.save_seen(service.id, seen.config, seen.pending)
    except VmbridgeError as e:
        click.echo(f"  its configuration could not be read yet: {e.sentence}")
    click.echo(f"service {service_id} has VM {vm_id} on {service.node}, known by uuid {machine.uuid}")
    for address in outside:
        click.echo(f"  its address {address} is in no pool, or another service has it: not recorded")


if __name__ == "__main__":
    main()
