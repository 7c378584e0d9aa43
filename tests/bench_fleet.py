"""Figures of thousands of machines: their refresh, the hourly sweeps, and how both grow."""

from __future__ import annotations

import gc
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bridge.metering import status
from bridge.staff import contents, findings
from bridge.store import Store
from tests import stores
from tests.bench_pages import Show
from tests.pve.cluster import Reply
from tests.world import World

TOKEN = {"Authorization": "PVEAPIToken=vmbridge@pve!bridge=sim-secret"}


def refresh(show: Show) -> None:
    world = World(Path(tempfile.mkdtemp()))
    for i in range(10_000):
        world.cluster.add_vm(30_000 + i, "pve1")
    world.clock.time += 100
    reply = world.cluster.handle(
        "GET",
        "/api2/json/cluster/resources",
        {"type": "vm"},
        {"Authorization": "PVEAPIToken=vmbridge@pve!bridge=sim-secret"},
    )
    world.cluster.handle = lambda *a: reply
    plain = World(Path(tempfile.mkdtemp()))
    sql = (
        "INSERT OR REPLACE INTO vm_status (server, vm_id, status, node, name, uptime, cpu, cores, mem, maxmem, maxdisk,"
        " lock, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    ratios = []
    for _ in range(7):
        world.clock.time += 100
        begin = time.perf_counter()
        assert status.refresh("pve1", world.drivers["pve1"], world.store)
        ours = time.perf_counter() - begin
        begin = time.perf_counter()
        rows = [
            (
                "pve1",
                str(r["vmid"]),
                r["status"],
                r["node"],
                r.get("name", ""),
                r.get("uptime", 0),
                r.get("cpu", 0),
                r.get("maxcpu", 0),
                r.get("mem", 0),
                r.get("maxmem", 0),
                r.get("maxdisk", 0),
                "",
                0,
            )
            for r in json.loads(reply.body)["data"]
        ]
        with plain.store.write() as db:
            db.conn.executemany(sql, rows)
        ratios.append(ours / (time.perf_counter() - begin))
    show("refresh of 10,000 VMs / (json.loads + executemany)", statistics.median(ratios), "<= 2.5", upstream_calls=1)
    world.close()
    plain.close()


def populated(count: int) -> tuple[World, Reply]:
    """A world with so many services and their machines, and the bulk read's answer, made once: the simulator's own work
    is not ours."""
    world = World(Path(tempfile.mkdtemp()))
    world.order("create", 1)
    world.run()
    package = world.store.service(1).package
    with world.store.write():
        for i in range(2, count + 1):
            world.cluster.add_vm(
                30_000 + i, "pve1", smbios1=f"uuid=00000000-0000-0000-0000-{i:012d}", cores="2", memory="2048"
            )
            row = stores.add(
                world.store,
                package,
                i,
                desired="suspended" if i % 20 == 0 else "active",
                uuids=[f"00000000-0000-0000-0000-{i:012d}"],
            )
            world.store.change(
                "UPDATE services SET provisioned = 1, node = 'pve1', swept_at = ? WHERE id = ?",
                world.clock.time,
                row.id,
            )
    for i in range(0, count, 100):  # some are not as they should be
        if 30_000 + i in world.cluster.vms:
            world.cluster.vms[30_000 + i].status = "stopped"
    world.clock.time += 4000
    gc.collect()
    gc.freeze()  # the simulator's objects are not in a real worker
    return world, world.cluster.handle("GET", "/api2/json/cluster/resources", {"type": "vm"}, TOKEN)


def _share(store: Store) -> None:
    """What one tick of a worker asks the store for, whatever there is to do."""
    store.live_due("pve1", 0.0, 5)
    store.count_in_turn("pve1")


def frozen(world: World, reply: Reply) -> list[str]:
    """The cluster answers every bulk read with this; the calls are listed."""
    calls: list[str] = []
    world.cluster.handle = lambda method, path, *a: calls.append(path) or reply
    return calls


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    assert work() is not False
    return time.perf_counter() - begin


def sweep(show: Show) -> None:
    """The hourly sweep with its bulk read, beside the bare parsing of the answer."""
    world, reply = populated(10_000)
    calls, ratios, bare = frozen(world, reply), [], []
    for _ in range(7):
        world.clock.time += 4000
        calls.clear()
        whole = timed(lambda: findings.sweep_state("pve1", world.drivers["pve1"], world.store))
        read = timed(lambda: status.refresh("pve1", world.drivers["pve1"], world.store, now=True))
        parse = timed(lambda: json.loads(reply.body))
        ratios.append(whole / parse)
        bare.append(read / parse)
    show(
        "findings sweep of 10,000 VMs / json.loads",
        statistics.median(ratios),
        "<= 6",
        of_it_the_bulk_read=round(statistics.median(bare), 2),
        upstream_calls=len(calls),
        findings=len(world.store.findings()),
    )
    world.close()


def growth(show: Show) -> None:
    """Cost per service of the status refresh and of the sweep, 20,000 services against 1,000."""
    worlds = {count: populated(count) for count in (1_000, 20_000)}
    cost: dict[str, dict[int, list[float]]] = {"refresh": {}, "sweep": {}, "share": {}}
    for world, reply in worlds.values():
        frozen(world, reply)
    for _ in range(7):
        for count, (world, _) in worlds.items():
            world.clock.time += 4000
            driver, store = world.drivers["pve1"], world.store
            cost["refresh"].setdefault(count, []).append(timed(partial(status.refresh, "pve1", driver, store)) / count)
            sweep = partial(findings.sweep_state, "pve1", driver, store)
            cost["sweep"].setdefault(count, []).append(timed(sweep) / count)
            cost["share"].setdefault(count, []).append(timed(partial(_share, store)))
    for name, goal in (("refresh", "<= 1.3"), ("sweep", "<= 1.3")):
        small, big = (statistics.median(cost[name][c]) for c in (1_000, 20_000))
        show(f"{name}: cost per service with 20,000 / with 1,000", big / small, goal, microseconds=round(big * 1e6, 2))
    show("choosing a minute's share among 20,000 services: ms", statistics.median(cost["share"][20_000]) * 1000, "< 10")
    for world, _ in worlds.values():
        world.close()


def day_of_sweeps(show: Show) -> None:
    """Held clock: the calls of one turn for 300 services, 30 ended ones, 30 foreign machines and the simulator's
    storages."""
    world, _ = populated(300)
    for i in range(30):
        world.cluster.add_vm(500 + i, "pve2")
        world.order("create", 5000 + i)
    world.run(5000)
    for i in range(30):
        world.order("terminate", 5000 + i)
    world.run(5000)
    driver, calls = world.drivers["pve1"], world.cluster.calls
    for _ in range(2):
        calls.clear()
        for _ in range(int(contents.TURN / 60)):
            world.clock.time += 60
            findings.sweep_state("pve1", driver, world.store)
            with world.store.write():  # as the worker's refresh would keep it; its calls are not the sweeps'
                world.store.change(
                    "UPDATE vm_status SET seen_at = ? WHERE seen_at = (SELECT refreshed_at FROM server_health)",
                    world.clock.time,
                )
                world.store.set_maintenance("pve1", "")
                world.store.change("UPDATE server_health SET refreshed_at = ?", world.clock.time)
            contents.sweep_contents("pve1", driver, world.store, world.config)
    per: dict[str, int] = {}
    for _, _, path, _ in calls:
        kind = (
            "foreign"
            if re.search(r"/qemu/5\d\d/", path)
            else next(
                (k for k in ("pending", "content", "firewall", "resources", "config", "status") if k in path), path
            )
        )
        per[kind] = per.get(kind, 0) + 1
    show(
        "config reads per live service and turn of 23 hours",
        per.get("pending", 0) / 300,
        "1",
        most_per_minute=_busiest(calls),
        **per,
    )
    world.close()


def _busiest(calls: list[Any]) -> int:
    minutes: dict[int, int] = {}
    for at, *_ in calls:
        minutes[int(at // 60)] = minutes.get(int(at // 60), 0) + 1
    return max(minutes.values())
