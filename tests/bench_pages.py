"""Benchmarks of the customer's pages: one view, thousands of browsers, the scheduler's tick. Parts of `make bench`."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from flask import render_template, template_rendered

from bridge import customer, schedules
from bridge.app import create_app
from bridge.web.auth import Guard, sign
from tests import stores
from tests.configs import raw_config
from tests.processes import child
from tests.system import ROOT, System
from tests.world import World

Show = Callable[..., None]


def signed(target: str, now: float, nonce: str) -> dict[str, str]:
    secret = raw_config()["whmcs"]["main"]["keys"][0]["secret"]
    stamp = str(int(now))
    return {
        "Vmbridge-Key": "main-1",
        "Vmbridge-Timestamp": stamp,
        "Vmbridge-Nonce": nonce,
        "Vmbridge-Signature": sign(secret, "GET", target, stamp, nonce, b""),
    }


def overview(show: Show) -> None:
    """One view of the overview against the same template rendered from the same values."""
    world = World(Path(tempfile.mkdtemp()))
    world.order("create")
    world.run()
    world.store.save_statuses("pve1", world.drivers["pve1"].statuses())
    app, target = create_app(world.context), "/v1/services/1042/pages/overview?client=7&theme=bs4"
    app.add_url_rule("/bare", view_func=lambda: "bare")
    client, kept = app.test_client(), {}

    def keep(sender: Any, template: Any, context: dict[str, Any], **_: Any) -> None:
        kept.update(context)

    def view() -> None:
        assert (
            client.get(target, headers=signed(target, world.clock.time, random.randbytes(16).hex())).status_code == 200
        )

    with template_rendered.connected_to(keep, app):
        view()
    calls, ratios = len(world.cluster.calls), []
    with app.test_request_context(target):
        for _ in range(15):
            begin = time.perf_counter()
            for _ in range(20):
                view()
            ours = time.perf_counter() - begin
            begin = time.perf_counter()
            for _ in range(20):
                client.get("/bare")  # the request itself costs the same on both sides
                json.dumps({"html": render_template("overview.html", **{**kept, "counter": []})})
            ratios.append(ours / (time.perf_counter() - begin))
    show(
        "overview view / the same template from constants",
        statistics.median(ratios),
        "<= 1.5",
        upstream_calls=len(world.cluster.calls) - calls,
    )
    world.close()


def tick(show: Show) -> None:
    """The schedule's sweep: ten due among ten thousand against ten due among a hundred."""

    def prepared(count: int) -> World:
        world = World(Path(tempfile.mkdtemp()))
        world.order("create")
        world.run()
        package = world.store.service(1).package
        with world.store.write():
            for i in range(2000, count + 2000):
                service = stores.add(world.store, package, i)
                world.store.update_service(service.id, provisioned=1)
                world.store.save_schedule(
                    service.id, "UTC", dict.fromkeys("0123456", "02:30"), world.clock.time + 86400
                )
        return world

    worlds, ratios = [prepared(10_000), prepared(100)], []
    for turn in range(9):
        took = []
        for world in worlds:
            now = world.clock.time
            with world.store.write() as db:
                db.conn.execute("DELETE FROM steps")
                db.conn.execute("DELETE FROM operations WHERE kind = 'scheduled_backup'")
                db.conn.execute(
                    "UPDATE schedules SET next_due_at = ?, last_date = '' WHERE service BETWEEN ? AND ?",
                    (now - 60, 2 + turn * 10, 11 + turn * 10),
                )
                db.conn.execute(
                    "UPDATE schedules SET days = ? WHERE service BETWEEN ? AND ?",
                    (
                        json.dumps(dict.fromkeys("0123456", time.strftime("%H:%M", time.gmtime(now - 60)))),
                        2 + turn * 10,
                        11 + turn * 10,
                    ),
                )
            begin = time.perf_counter()
            begun = customer.start_backups(world.store, world.config)
            took.append(time.perf_counter() - begin)
            assert begun == 10, begun
        ratios.append(took[0] / took[1])
    show("scheduler tick: 10 due of 10,000 / 10 due of 100", statistics.median(ratios), "<= 1.5")
    for world in worlds:
        world.close()
    assert schedules.next_due({}, "UTC", 0) is None


def browsers(show: Show, cpu: Callable[[int], float], count: int = 5000) -> None:
    """An open loop in its own process: each browser asks every 7 s, a tenth more or less, whatever the answers do."""
    with System() as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1)["state"] == "done", 60)
        from bridge.context import load_context

        context = load_context(str(s.config))
        token = Guard(context).issue(context.store.service(1))
        pid = child(s.processes["serve"].pid, "web")
        figures = {}
        for name, path in (("bare", "/health"), ("ours", "/status/v1/services/1")):
            calls, begin, started = len(s.cluster.calls), cpu(pid), s.clock.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench_pages", str(s.web), path, token, str(count), "28"],
                cwd=ROOT,
                stdout=subprocess.PIPE,  # what goes wrong is to be read
                text=True,
                check=True,
                timeout=120,
            )
            measured = json.loads(done.stdout)
            bulk = [c for c in s.cluster.calls[calls:] if c[2] == "/cluster/resources"]
            figures[name] = {
                **measured,
                "cpu": (cpu(pid) - begin) / max(1, measured["answers"]),
                "bulk": len(bulk) / (s.clock.monotonic() - started) * 7,
            }
        show(
            f"{count} browsers: time-outs",
            figures["ours"]["timeouts"],
            "0",
            answers=figures["ours"]["answers"],
            refused=figures["ours"]["refused"],
            bare={k: figures["bare"][k] for k in ("answers", "timeouts", "refused")},
            p99_ms=figures["ours"]["p99_ms"],
            bulk_reads_per_7_s=round(figures["ours"]["bulk"], 2),
        )
        show(
            f"{count} browsers: CPU per request / a bare route", figures["ours"]["cpu"] / figures["bare"]["cpu"], "<= 2"
        )
        assert requests.get(f"http://127.0.0.1:{s.web}/health", timeout=5).ok


async def _play(port: int, path: str, token: str, count: int, seconds: float) -> dict[str, Any]:
    loop, took, timeouts, refused = asyncio.get_running_loop(), list[float](), 0, Counter[str]()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    ).encode()
    end = loop.time() + seconds

    async def ask() -> None:
        nonlocal timeouts
        begin = loop.time()
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request)
                head = await reader.readline()
                await reader.read()
                writer.close()
        except (TimeoutError, OSError):
            timeouts += 1
            return
        if b" 200 " in head:
            took.append(loop.time() - begin)
        else:
            refused[head.decode("latin-1").strip() or "closed"] += 1

    async def browser() -> None:
        await asyncio.sleep(random.uniform(0, 7))
        waiting = set()
        while loop.time() < end:
            task = asyncio.create_task(ask())
            waiting.add(task)
            task.add_done_callback(waiting.discard)
            await asyncio.sleep(7 * random.uniform(0.9, 1.1))
        await asyncio.gather(*waiting)

    await asyncio.gather(*[browser() for _ in range(count)])
    p99 = sorted(took)[int(len(took) * 0.99)] if took else 0.0
    return {"answers": len(took), "timeouts": timeouts, "refused": dict(refused), "p99_ms": round(p99 * 1000)}


def main() -> None:
    port, path, token, count, seconds = sys.argv[1:6]
    threading.stack_size(256 * 1024)
    print(json.dumps(asyncio.run(_play(int(port), path, token, int(count), float(seconds)))))


if __name__ == "__main__":
    main()
