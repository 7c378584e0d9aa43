"""The command line. Every command takes --config; faults are printed with their path and exit with 2."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click
from cryptography.fernet import Fernet

from bridge import addresses, doctor, logs, packages, servers, services, worker
from bridge import config as config_module
from bridge.clock import Clock
from bridge.context import Context, open_context
from bridge.errors import ConfigError, VmbridgeError
from bridge.web.filters import moment


def with_config(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--config", "path", envvar="VMBRIDGE_CONFIG", default="config.toml", show_default=True, help="The configuration file."
    )(command)


def opened(path: str, migrated: bool = True) -> Context:
    """The context, or exit 2 with every fault. `migrated` false: before the database is of this release."""
    try:
        config = config_module.load(path)
    except ConfigError as e:
        _faults(e)
    logs.setup(config.secrets())
    context = open_context(config)
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
    """Run web and worker here; ends when one of them dies."""
    context = opened(path, migrated=False)
    context.store.migrate()
    context.store.close()
    opened(path).store.close()
    # --config goes on by the environment too, so that each child reads the same file
    children = {
        name: subprocess.Popen([sys.executable, "-m", "bridge.cli", name, "--config", path], env=os.environ, preexec_fn=_die_with_parent)
        for name in ("worker", "web")
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
    settings = opened(path).config.web
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


@main.command()
@with_config
def migrate(path: str) -> None:
    """Bring the database to this release."""
    done = opened(path, migrated=False).store.migrate()
    click.echo(f"applied: {', '.join(done)}" if done else "nothing to do")


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
        if addresses.pool_of(address, context.config) is None:
            raise click.ClickException(f"--address: {address} is in no pool")
    package = packages.of_plan(context.config.plans[plan])
    try:
        machine = context.drivers[package.server].inspect(vm_id)
        service, outside = services.adopt(whmcs, service_id, client, hostname, package, machine, context.store, context.config, own)
    except VmbridgeError as e:
        raise click.ClickException(f"{e.sentence} {e.detail}".strip()) from None
    click.echo(f"service {service_id} has VM {vm_id} on {service.node}, known by uuid {machine.uuid}")
    for address in outside:
        click.echo(f"  its address {address} is in no pool, or another service has it: not recorded")


if __name__ == "__main__":
    main()
