"""Benchmark of reverse DNS: the names of 5,000 services are moved by one change of their pool, while customers use
their pages. A part of `make bench`; alone: `python -m tests.bench_dns`."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.clock import Clock
from bridge.config.pools import PoolSchema, pool_of
from bridge.dns import records, writer
from bridge.orders import packages
from drivers.dns.contract import Provider
from tests import stores
from tests.configs import raw_config
from tests.dns import sims
from tests.dns.world import Zoned

Show = Callable[..., None]
SERVICES, ZONE, RULE = 5000, "10.in-addr.arpa", "{ip_dashed}.static.example.com"
OLD, NEW = "10.64.0.10-10.64.63.250", "10.65.0.10-10.65.63.250"


class Counted:
    """A provider whose calls are counted; each takes as long as one over the network does."""

    def __init__(self, provider: Provider, latency: float) -> None:
        self._provider, self._latency, self.calls = provider, latency, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._provider, name)

        def call(*args: Any) -> Any:
            self.calls[name] += 1
            time.sleep(self._latency)
            return real(*args)

        return call if name in ("get", "set", "remove") else real


def pool(span: str) -> dict[str, Any]:
    return {
        **raw_config()["pools"]["public-v4"],
        "ranges": [span],
        "prefix": 18,
        "gateway": span.split("-")[0][:-2] + "1",
    }


def site(folder: Path, settings: dict[str, Any], prepare: Any) -> Zoned:
    made = Zoned(folder, {ZONE: settings}, prepare, pools=["public-v4"], ptr_name=RULE)
    made.clock = made.store.clock = Clock()
    return made


def sell(world: Zoned) -> None:
    """5,000 services as if they had been made long ago, each with an address of the pool."""
    package, now_pool = packages.of_plan(world.config.plans["kvm-s"]), world.config.pools["public-v4"]
    first = now_pool.ranges[0][0]
    with world.store.write() as db:
        for n in range(SERVICES):
            key = stores.add(
                world.store,
                package,
                1000 + n,
                hostname=f"vm-{1000 + n}.example.com",
                vm_id=str(20000 + n),
                mac="02:00:00:00:00:00",
                uuids=[f"{n:032x}"],
            ).id
            world.store.update_service(key, provisioned=1)
            number = first + n
            text = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
            db.conn.execute(
                "INSERT INTO addresses (address, pool, service, role, taken_at) VALUES (?, 'public-v4', ?, 'main', 0)",
                (text, key),
            )


def move(world: Zoned) -> None:
    """One change of the pool: the same last numbers in another network."""
    world.store.change("UPDATE addresses SET address = replace(address, '10.64.', '10.65.')")


def drain(world: Zoned, provider: Any) -> float:
    begun = time.monotonic()
    while world.store.zones_due():
        writer.write_due(ZONE, world.config, world.store, {ZONE: provider}, {})
    return time.monotonic() - begun


def views(world: Zoned, stop: threading.Event, took: list[float]) -> None:
    """A customer's page and a save, again and again."""
    n = 0
    while not stop.is_set():
        n += 1
        service = 1000 + n * 37 % SERVICES
        [address] = world.addresses(service)
        begun = time.monotonic()
        if n % 5:
            world.page_html(service)
        else:
            assert world.save(address, f"m{n}.example.com", service) in ("", SAVED_OFTEN)
        took.append(time.monotonic() - begun)
        stop.wait(0.02)


SAVED_OFTEN = "Try again"


def pointers(show: Show, latency: float = 0.001) -> None:
    sim = sims.PowerDns(ZONE)
    world = site(Path(tempfile.mkdtemp(prefix="vmbridge-dns-")), sim.settings(), sim.mount)
    world.config.pools["public-v4"] = _pool(OLD)
    sell(world)
    records.sweep(world.store, world.config)
    provider = Counted(world.providers[ZONE], latency)
    drain(world, provider)
    show("dns: calls per address of a first name", sum(provider.calls.values()) / SERVICES, "<= 2")
    provider.calls.clear()
    world.config.pools["public-v4"] = _pool(NEW)
    move(world)
    begun = time.monotonic()
    records.sweep(world.store, world.config)
    show(f"dns: seconds to see what {SERVICES:,} moved services need", time.monotonic() - begun, "< 30")
    stop, took = threading.Event(), []  # type: threading.Event, list[float]
    looker = threading.Thread(target=views, args=(world, stop, took))
    looker.start()
    seconds = drain(world, provider)
    stop.set()
    looker.join()
    saved = world.store.row("SELECT count(*) AS n FROM dns_records WHERE chosen = 1") or {"n": 0}
    calls = sum(provider.calls.values()) / (2 * SERVICES + saved["n"])
    show("dns: calls per address moved (a name removed, a name set)", calls, "1-2", **provider.calls)
    show(f"dns: seconds to move {SERVICES:,}", seconds, "info", latency_ms=1000 * latency)
    took.sort()
    slow, median = took[int(len(took) * 0.99)], took[len(took) // 2]
    show("dns: a page or a save meanwhile, 99th percentile, s", slow, "< 1", views=len(took), median=round(median, 4))
    assert len([1 for _, kind in sim.zones[ZONE] if kind == "PTR"]) == SERVICES
    world.close()


def _pool(span: str) -> Any:
    return pool_of("public-v4", PoolSchema().load(pool(span)))


def alone(figure: str, value: float, goal: str, **more: Any) -> None:
    print(json.dumps({"figure": figure, "value": round(value, 3), "goal": goal, **more}), flush=True)


if __name__ == "__main__":
    SERVICES = int(sys.argv[1]) if len(sys.argv) > 1 else SERVICES
    pointers(alone)
