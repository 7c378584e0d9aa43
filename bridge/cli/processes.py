"""Commands that run: serve and its three processes."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import http.client
import multiprocessing
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from importlib import import_module

import click
from setproctitle import setproctitle

from bridge import alive, readiness, worker
from bridge.cli.base import main, opened, with_config
from bridge.clock import Clock
from bridge.context import Context
from bridge.errors import StoreUnavailable
from bridge.operations import OWNER, owner_name


def _die_with_parent() -> None:
    """A killed `serve` must not leave its children behind: Linux sends them SIGTERM then (prctl(2),
    PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _run(name: str, path: str, owner: str, parent: int) -> None:
    """One of serve's processes, in a copy of it."""
    _die_with_parent()
    if os.getppid() != parent:
        sys.exit(1)
    setproctitle(f"vmbridge {name}")  # people and supervisors tell them apart by it
    for told_by_serve in (alive.SOCKET, alive.WATCHDOG):
        os.environ.pop(told_by_serve, None)
    os.environ[OWNER] = owner
    main([name, "--config", path])


PATIENCE = 5.0  # seconds that the web process has for an answer to its own supervisor


def _answers(listen: str) -> bool:
    """Whether the web process says that it lives."""
    host, _, port = listen.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host).strip("[]")
    line = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        line.request("GET", "/health")
        return line.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def _lives(context: Context) -> bool:
    """Whether web and worker go on. A worker that cannot save anything is no dead one: a restart would not help it."""
    if not _answers(context.config.web["listen"]):
        return False
    state = readiness.look(context.store, context.config)
    return state["store"] != "ok" or (state["worker_age"] is not None and state["worker_age"] <= readiness.LATELY)


class Signals:
    """Waits for the end of a child and for being ended, without looking again and again. Handlers take no lock: one
    that the interrupted code holds would never be free. What wakes is a byte that Python writes for each signal."""

    def __init__(self, clock: Clock) -> None:
        self.ended, self._clock = False, clock
        self._woken, self._waking = socket.socketpair()
        for end in (self._woken, self._waking):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._seen)

    def _seen(self, number: int, _frame: object) -> None:
        self.ended = self.ended or number != signal.SIGCHLD

    def wait(self, seconds: float | None) -> None:
        """Until the next signal, `seconds` at most; for ever where that is None."""
        self._clock.ready(self._woken, seconds)
        with suppress(BlockingIOError):
            self._woken.recv(4096)


@main.command()
@with_config
def serve(path: str) -> None:
    """Run web, worker and console here; ends when one of them dies."""
    context = opened(path, migrated=False)
    if not context.store.database.begins_itself and not context.store.begun():
        raise click.ClickException(
            f"{context.store.place} is empty: `vmbridge migrate` begins there, without any services; where there were"
            " some, put a backup back by `vmbridge restore FILE`."
        )
    context.store.migrate()
    context.store.database.whole()
    context.store.close()
    opened(path).store.close()
    context.store.hold()
    owner, copies = owner_name(), multiprocessing.get_context("fork")  # what is imported is there once, for all
    import_module("bridge.app")
    gc.collect()
    gc.freeze()
    children = {
        name: copies.Process(target=_run, args=(name, path, owner, os.getpid()), name=name, daemon=True)
        for name in ("worker", "web", "console")
    }
    for child in children.values():
        child.start()
    signals, died, due = Signals(clock := Clock()), "", 0.0
    while not signals.ended and not (died := next((n for n, c in children.items() if c.exitcode is not None), "")):
        if not alive.watched():
            signals.wait(None)
            continue
        if (left := due - clock.monotonic()) <= 0 and _lives(context):
            alive.notify("READY=1\nWATCHDOG=1")
            due, left = clock.monotonic() + alive.every(), alive.every()
        signals.wait(left if left > 0 else 0.2)
    alive.notify("STOPPING=1")
    for child in children.values():
        child.terminate()
    for child in children.values():
        child.join(35)
        if child.exitcode is None:
            child.kill()
            child.join()
    with suppress(StoreUnavailable):  # then what it held waits for its lease
        context.store.free_owner(owner)
    if died:
        click.echo(f"{died} has ended with {children[died].exitcode}; stopped the others", err=True)
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
    import_module("bridge.app")  # before its workers are copied
    gc.freeze()
    from gunicorn.app.wsgiapp import WSGIApplication  # its import patches warnings: only here

    sys.argv = [
        "gunicorn",
        "--bind",
        settings["listen"],
        "--name",
        "vmbridge web",
        "--workers",
        str(settings["workers"]),
        "--threads",
        str(settings["threads"]),
        "--worker-class",
        "gthread",
        "--log-level",
        "warning",
        "--keep-alive",
        "30",
        "bridge.wsgi:application()",
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
    if fault := worker.run(context, stop):
        raise fault


@main.command(name="console")
@with_config
@click.option("--listen", default="", help="HOST:PORT instead of [console] listen, for a second process.")
def console_command(path: str, listen: str) -> None:
    """Run the console's page and relay."""
    from bridge.console import relay  # its libraries are for this process only

    asyncio.run(relay.run(opened(path), listen))
