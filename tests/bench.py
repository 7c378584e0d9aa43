"""`make bench`: figures as JSON lines. Ratios are measured side by side in one run; medians of interleaved runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import random
import re
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests
import structlog

from bridge.clock import Clock
from bridge.web.auth import sign
from tests import (
    bench_cloud,
    bench_console,
    bench_dashboard,
    bench_dns,
    bench_firewall,
    bench_fleet,
    bench_machines,
    bench_pages,
    bench_usage,
    stores,
)
from tests.configs import KEY, REST
from tests.pve.cluster import GIB, default_cluster
from tests.pve.http import certificate
from tests.system import ROOT, SHIM_SECRET, System, free_port
from tests.world import World

TICK = os.sysconf("SC_CLK_TCK")


MISSED: list[str] = []  # figures worse than their goal


def holds(value: float, goal: str) -> bool:
    """Against "<= 2", "< 100 ms", "1-2" or "40"; a goal without a number is none."""
    match = re.fullmatch(r"(?:(<=?) ?|([\d.]+)-)?([\d.]+)\b.*", goal)
    if not match:
        return True
    sign, least, most = match.group(1), float(match.group(2) or 0), float(match.group(3))
    return value < most if sign == "<" else least <= value <= most


def show(figure: str, value: float, goal: str, **more: Any) -> None:
    met = holds(value, goal)
    if not met:
        MISSED.append(figure)
    print(json.dumps({"figure": figure, "value": round(value, 3), "goal": goal, "met": met, **more}), flush=True)


def children(pid: int) -> list[int]:
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            pids += children(int(child))
    return pids


def cpu(pid: int) -> float:
    """CPU seconds of a process and all below it."""
    total = 0
    for p in children(pid):
        fields = Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def pss(pid: int) -> float:
    """MB of all processes, shared pages counted once."""
    lines = (
        line
        for p in children(pid)
        for line in Path(f"/proc/{p}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
    return sum(int(line.split()[1]) for line in lines) / 1024


def signed(session: requests.Session, base: str, target: str, count: int) -> None:
    for _ in range(count):
        stamp, nonce = str(int(time.time())), os.urandom(16).hex()
        headers = {
            "Vmbridge-Key": "main-1",
            "Vmbridge-Timestamp": stamp,
            "Vmbridge-Nonce": nonce,
            "Vmbridge-Signature": sign(SHIM_SECRET, "GET", target, stamp, nonce, b""),
        }
        assert session.get(base + target, headers=headers).status_code == 200


def status_read(s: System) -> None:
    """The same gunicorn serves both routes; CPU is read from the kernel around each batch."""
    port, count = free_port(), 800
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--bind",
            f"127.0.0.1:{port}",
            "--workers",
            "1",
            "--threads",
            "8",
            "--worker-class",
            "gthread",
            "--log-level",
            "error",
            "tests.bench_app:application()",
        ],
        cwd=ROOT,
        env={**os.environ, "VMBRIDGE_CONFIG": str(s.config)},
    )
    try:
        base = f"http://127.0.0.1:{port}"
        s.wait_for(lambda: requests.get(f"{base}/bare", timeout=30).ok, 90)
        ratios = []
        with requests.Session() as session:
            for _ in range(13):
                a = cpu(process.pid)
                for _ in range(count):
                    session.get(f"{base}/bare")
                b = cpu(process.pid)
                signed(session, base, "/status/v1/services/1?client=7", count)
                ratios.append((cpu(process.pid) - b) / (b - a))
        show("CPU per signed status read / per bare Flask route", statistics.median(ratios), "<= 1.8")
    finally:
        process.terminate()
        process.wait()


def create_latency() -> None:
    """What the bridge adds to each upstream task."""
    with System(latency=0.02) as s:
        s.cluster.duration = lambda kind: random.uniform(2, 12)
        for template in s.cluster.vms.values():
            template.agent_after = 0.0  # how long a system boots is not the bridge's
        for i in range(1, 5):
            s.order(i)
        s.wait_for(lambda: all(s.operation(i)["state"] == "done" for i in range(1, 5)), 240)
        added, polls = [], []
        for i in range(1, 5):
            op = s.operation(i)
            vm = str(19999 + i)
            tasks = [
                t for t in s.cluster.tasks.values() if t.target == vm or any(f"with ID {vm}" in line for line in t.log)
            ]
            mine = [c for c in s.cluster.calls if f"/qemu/{vm}" in c[2]]
            copying = sum(t.end - t.start for t in tasks)
            waited = sum(
                x["ended_at"] - x["started_at"] for x in op["steps"] if x["name"] == "copy"
            )  # in the queue of a node
            added.append((op["ended_at"] - op["started_at"] - waited - copying - 0.02 * len(mine)) / len(tasks))
            asked = [[c[0] for c in s.cluster.calls if t.upid in c[2]] for t in tasks]
            polls.append(max(len(a) / max(a[-1] - t.start, 1) for a, t in zip(asked, tasks, strict=True)))
        show(
            "create: seconds added per task",
            statistics.median(added),
            "<= 0.8",
            status_calls_per_second=round(max(polls), 2),
        )


def order_calls() -> None:
    world = World(Path(tempfile.mkdtemp()))
    for verb, goal in {"create": 12, "suspend": 5, "unsuspend": 5, "terminate": 9}.items():
        world.cluster.calls.clear()
        world.order(verb)
        world.run()
        calls = [p for _, _, p, _ in world.cluster.calls if "/tasks/" not in p and "/agent/" not in p]
        show(f"{verb}: calls apart from polling", len(calls), f"<= {goal}")
    world.close()


def create_calls() -> None:
    world = World(Path(tempfile.mkdtemp()))
    world.order("create")
    world.run()
    changes = world.cluster.mutations()
    reads = [p for _, m, p, _ in world.cluster.calls if m == "GET" and "/tasks/" not in p]
    show(
        "create: reads apart from polling",
        len(reads),
        "<= 8",
        changes=len(changes),
        repeated=len(changes) - len({(m, p) for m, p in changes}) - 1,
    )
    world.close()


def change_package_calls() -> None:
    world = World(Path(tempfile.mkdtemp()))
    world.order("create")
    world.run()
    world.cluster.calls.clear()
    world.order("change_package")
    world.run()
    show(
        "change_package without differences: changing calls",
        len(world.cluster.mutations()),
        "0",
        reads=len(world.cluster.calls),
    )
    world.close()


def makespan() -> None:
    """Held clock: 100 creates on four nodes, clone 30 s, two per node and storage."""
    world = World(Path(tempfile.mkdtemp()))
    world.cluster = default_cluster(world.clock, nodes=("pve1", "pve2", "pve3", "pve4"), memory=1024 * GIB)
    world.cluster.storages["local-lvm"].total = 100_000 * GIB
    world.cluster.durations["qmclone"] = 30.0
    world.adapter.cluster = world.cluster
    world.start()
    begin = world.clock.time
    for i in range(1, 101):
        world.order("create", i)
    world.run(5000)
    done = world.store.rows("SELECT max(ended_at) AS ended, count(*) AS n FROM operations WHERE state = 'done'")[0]
    ideal = 100 / (4 * 2) * 30
    show("100 creates: makespan / ideal", (done["ended"] - begin) / ideal, "<= 1.2", done=done["n"])
    world.close()


def idle() -> None:
    with System() as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1)["state"] == "done", 60)
        from bridge.context import load_context

        context = load_context(str(s.config))
        package = context.store.service(1).package
        with context.store.write():
            for i in range(2, 1001):
                stores.add(context.store, package, i)
        pid, pause = s.processes["serve"].pid, threading.Event()
        pause.wait(5)
        begin = cpu(pid)
        pause.wait(60)
        show(
            "idle serve with 1,000 services: % of one core",
            (cpu(pid) - begin) / 60 * 100,
            "< 1",
            pss_mb=round(pss(pid), 1),
            pss_goal="< 250",
        )
        status_read(s)


def page_calls() -> None:
    """How often one page view asks the bridge: a page that is not ours, and our overview."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = b'{"html": "", "redirect": "", "title": ""}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with System() as s, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as counter:
        threading.Thread(target=counter.serve_forever, daemon=True).start()
        s.post("/test/order", {"serviceid": 1})
        host = s.folder / "host/host.json"
        record = json.loads(host.read_text())
        host.write_text(json.dumps({**record, "server": {**record["server"], "port": str(counter.server_address[1])}}))
        requests.get(f"http://127.0.0.1:{s.host}/clientarea.php", timeout=10)
        foreign = len(asked)
        requests.get(s.page(1), timeout=10)
        show("bridge calls per WHMCS page: ours", len(asked) - foreign, "1", not_ours=foreign, not_ours_goal=0)
        counter.shutdown()


def consoles() -> None:
    """200 browsers drink 4 MiB each from one screen over TLS, through our relay and through a plain one, in turns."""
    folder, count, runs = Path(tempfile.mkdtemp()), 200, 3
    world = World(folder, web={"public_url": "http://127.0.0.1:1/vmbridge"})
    world.order("create")
    package = world.store.service(1).package
    (folder / "console.toml").write_text(bench_console.CONFIG.format(key=KEY, rest=REST))
    ca, key = certificate(folder)
    ports = {name: free_port() for name in ("screen", "relay", "plain")}
    url = f"wss://127.0.0.1:{ports['screen']}/"
    words = {
        "screen": [str(ports["screen"]), str(ca), str(key)],
        "plain": [str(ports["plain"]), url, str(ca)],
        "relay": [str(folder / "console.toml"), str(ports["relay"]), url, str(ca)],
    }
    started = {
        n: subprocess.Popen([sys.executable, "-m", "tests.bench_console", n, *w], cwd=ROOT, stdout=subprocess.DEVNULL)
        for n, w in words.items()
    }
    rates: dict[str, list[float]] = {"relay": [], "plain": []}
    spent: dict[str, list[float]] = {"relay": [], "plain": []}
    clock = Clock()
    try:
        for n, port in ports.items():
            while started[n].poll() is None and not listens(port):
                clock.sleep(0.1)
        for run in range(runs):
            for name in ("plain", "relay"):
                nonces = []
                for i in range(count):
                    number = run * count + i + 10
                    service = (
                        stores.add(world.store, package, number, vm_id=f"{name}{number}") if name == "relay" else None
                    )
                    nonces.append(secrets.token_urlsafe(32))
                    if service:
                        hashed = hashlib.sha256(nonces[-1].encode()).hexdigest()
                        world.store.add_console_key(
                            hashed,
                            "nonce",
                            service.id,
                            service.client_id,
                            "bench",
                            "en",
                            clock.now() - world.clock.time + 600,
                        )
                taken, cpu_seconds, got = asyncio.run(drink_all(ports[name], nonces, started[name].pid))
                rates[name].append(got / taken / 1e6)
                spent[name].append(cpu_seconds / got * 1e9)
        peak = next(
            int(x.split()[1]) / 1024
            for x in Path(f"/proc/{started['relay'].pid}/status").read_text().splitlines()
            if x.startswith("VmHWM")
        )
        pairs = list(zip(rates["relay"], rates["plain"], spent["relay"], spent["plain"], strict=True))
        show(
            "200 consoles: MB/s / a plain websockets relay",
            statistics.median(a / b for a, b, _, _ in pairs),
            ">= 0.7",
            mb_per_second=round(statistics.median(rates["relay"]), 1),
        )
        show(
            "200 consoles: CPU per GB / a plain websockets relay",
            statistics.median(c / d for _, _, c, d in pairs),
            "<= 1.4",
            cpu_seconds_per_gb=round(statistics.median(spent["relay"]), 2),
            peak_mb=round(peak, 1),
            peak_goal="< 150",
        )
    finally:
        for process in started.values():
            process.kill()
            process.wait()
        world.close()


def listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


async def drink_all(port: int, nonces: list[str], pid: int) -> tuple[float, float, int]:
    """(seconds, CPU seconds of the relay, bytes) of the pictures alone: all have shaken hands before."""
    ready = asyncio.Barrier(len(nonces) + 1)
    tasks = [
        asyncio.create_task(
            bench_console.drink(f"ws://127.0.0.1:{port}/console/socket", "http://127.0.0.1:1", n, ready)
        )
        for n in nonces
    ]
    begun = asyncio.create_task(ready.wait())
    for done in (await asyncio.wait({begun, *tasks}, return_when=asyncio.FIRST_COMPLETED))[0] - {begun}:
        await done  # one that was refused would be waited for by all, for ever
        raise AssertionError("a console ended before all were open")
    used, begin = cpu(pid), time.perf_counter()
    got = sum(await asyncio.gather(*tasks))
    return time.perf_counter() - begin, cpu(pid) - used, got


PARTS: dict[str, Callable[[], None]] = {
    "page_calls": page_calls,
    "create_calls": create_calls,
    "order_calls": order_calls,
    "change_package_calls": change_package_calls,
    "overview": partial(bench_pages.overview, show),
    "tick": partial(bench_pages.tick, show),
    "usage": partial(bench_usage.sync, show),
    "cloud": partial(bench_cloud.refresh, show),
    "refresh": partial(bench_fleet.refresh, show),
    "sweep": partial(bench_fleet.sweep, show),
    "growth": partial(bench_fleet.growth, show),
    "day_of_sweeps": partial(bench_fleet.day_of_sweeps, show),
    "makespan": makespan,
    "create_latency": create_latency,
    "idle": idle,
    "consoles": consoles,
    "dashboard": partial(bench_dashboard.all_of_it, show),
    "browsers": partial(bench_pages.browsers, show, cpu),
    "dns": partial(bench_dns.pointers, show),
    "firewall": partial(bench_firewall.pages, show),
    "machines": partial(bench_machines.all_of_it, show),
}


def main(names: list[str]) -> int:
    """All figures, or those of the named parts. One that fails is told and does not keep the others from being shown;
    the status is 1 then, or when a figure misses its goal."""
    logging.disable(logging.INFO)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    failed = []
    for name in names or PARTS:
        try:
            PARTS[name]()
        except Exception as e:
            traceback.print_exc()
            failed.append(name)
            print(json.dumps({"part": name, "failed": f"{type(e).__name__}: {e}"[:300]}), flush=True)
    print(json.dumps({"missed": MISSED, "failed": failed}), flush=True)
    return 1 if MISSED or failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
