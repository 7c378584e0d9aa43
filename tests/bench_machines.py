"""Benchmarks of several machines on one PostgreSQL, against what the database does by itself. Part of `make bench`;
each worker is a process of its own: `python -m tests.bench_machines work|replay URL FILE COUNT`."""

from __future__ import annotations

import json
import logging
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import structlog

from bridge import config as config_module
from bridge import customer
from bridge.app import create_app
from bridge.clock import Clock
from bridge.metering import status
from bridge.model import Operation
from bridge.operations import Engine
from bridge.orders import packages
from bridge.staff import findings
from bridge.steps import Book, Done, Recipe, Step
from bridge.store import Store
from bridge.store.postgres import Postgres
from bridge.store.postgres.text import adapt
from drivers.proxmox.driver import Proxmox
from tests import bench_pages, postgres, stores
from tests.configs import KEY, raw_config
from tests.system import ROOT
from tests.world import World

Show = Callable[..., None]
COUNT = 64  # trivial operations of one measurement
BOOK = Book(
    {"trivial": Recipe("trivial", (Step("nothing", "", lambda job: Done()),))},
    lambda kind, service: "trivial",
    frozenset({"converge"}),
)


def all_of_it(show: Show) -> None:
    if reason := postgres.missing():
        raise RuntimeError(reason)
    workers(show)
    page(show)
    refresh(show)
    growth(show)


def world_on(engine: str) -> World:
    with stores.on(engine):
        return World(Path(tempfile.mkdtemp()))


# -- trivial operations -------------------------------------------------------------------------------
def queue(store: Store, config: Any) -> None:
    """So many services with an operation each that has nothing to do."""
    package = packages.of_plan(config.plans["kvm-s"])
    with store.write():
        for i in range(1, COUNT + 1):
            service = stores.add(store, package, i)
            store.submit(service.id, "converge", "system")


def engine_on(store: Store) -> Engine:
    config, clock = config_module.from_dict(raw_config()), Clock()
    drivers = {"pve1": Proxmox("pve1", config.servers["pve1"], clock)}
    return Engine(store, config, clock, drivers, BOOK)


def work(url: str) -> int:
    """Until nothing is due; how many."""
    store, done = Store(url, KEY, Clock()), 0
    engine = engine_on(store)
    while op := engine._claim():
        engine.run(op)
        done += 1
    store.close()
    return done


Statement = tuple[bytes, tuple[Any, ...] | None]


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Every statement, in its order, with what begins and ends the changes."""
    said: list[Statement] = []
    real = psycopg.Connection.execute

    def execute(conn: Any, query: Any, params: Any = None, **more: Any) -> Any:
        said.append((query, tuple(params) if params is not None else None))
        return real(conn, query, params, **more)

    with patch.object(psycopg.Connection, "execute", execute):
        yield said


def statements(url: str) -> list[Statement]:
    """Those of one trivial operation."""
    store = Store(url, KEY, Clock())
    engine = engine_on(store)
    for _ in range(2):
        engine.tick()  # what is read once for each process
    op: Operation | None
    with recorded() as said:
        op = engine._claim()
        assert op
        engine.run(op)
    store.close()
    return said


def replay(url: str, said: list[Statement], count: int) -> int:
    """The same statements, without anything of ours."""
    with psycopg.connect(url, autocommit=True) as conn:
        adapt(conn)
        for _ in range(count):
            for sql, args in said:
                cursor = conn.execute(sql, args)
                while cursor.nextset():
                    pass
                if cursor.description:
                    cursor.fetchall()
    return count


def run(mode: str, url: str, file: Path, processes: int) -> float:
    """Operations in a second, of so many processes at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench_machines", mode, url, str(file), str(COUNT // processes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    begin = time.perf_counter()
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    done = 0
    for process in started:
        assert process.stdout
        done += int(process.stdout.readline())
    took = time.perf_counter() - begin
    for process in started:
        process.communicate()
    return done / took


def workers(show: Show) -> None:
    config = config_module.from_dict(raw_config())
    url = postgres.server().database()
    store = Store(url, KEY, Clock())
    queue(store, config)
    store.close()
    said, recorded_at = statements(url), url
    file = Path(tempfile.mkdtemp()) / "statements"
    file.write_bytes(pickle.dumps(said))
    rates: dict[int, list[float]] = {1: [], 2: [], 4: []}
    bare: dict[int, list[float]] = {1: [], 2: [], 4: []}
    for _ in range(2):
        for processes in rates:
            url = postgres.server().database()
            store = Store(url, KEY, Clock())
            queue(store, config)
            store.close()
            rates[processes].append(run("work", url, file, processes))
            bare[processes].append(run("replay", recorded_at, file, processes))
    for processes, mine in rates.items():
        ratio = statistics.median(a / b for a, b in zip(mine, bare[processes], strict=True))
        show(
            f"trivial operations of {processes} worker(s) / the same statements by psycopg alone",
            ratio,
            "0.5-9",
            a_second=round(statistics.median(mine)),
            statements=len(said),
        )
    show("trivial operations: 2 workers / 1", statistics.median(rates[2]) / statistics.median(rates[1]), "")


# -- the rest against SQLite, or against itself -------------------------------------------------------
def page(show: Show) -> None:
    """One view of the overview, on one engine and on the other, in turns."""
    views: list[Callable[[], float]] = []
    for engine in (stores.POSTGRESQL, stores.SQLITE):
        world = world_on(engine)
        world.order("create")
        world.run()
        world.store.save_statuses("pve1", world.drivers["pve1"].statuses())
        client, target = create_app(world.context).test_client(), "/v1/services/1042/pages/overview?client=7&theme=bs4"

        def view(world: World = world, client: Any = client, target: str = target) -> float:
            begin = time.perf_counter()
            for _ in range(20):
                headers = bench_pages.signed(target, world.clock.time, random.randbytes(16).hex())
                assert client.get(target, headers=headers).status_code == 200
            return time.perf_counter() - begin

        view()
        views.append(view)
    pairs = [(views[0](), views[1]()) for _ in range(9)]
    show(
        "overview view on PostgreSQL / on SQLite",
        statistics.median(a / b for a, b in pairs),
        "<= 2",
        ms=round(statistics.median(a for a, _ in pairs) / 20 * 1000, 1),
    )


def refresh(show: Show) -> None:
    world = world_on(stores.POSTGRESQL)
    for i in range(10_000):
        world.cluster.add_vm(30_000 + i, "pve1")
    world.clock.time += 100
    headers = {"Authorization": "PVEAPIToken=vmbridge@pve!bridge=sim-secret"}
    reply = world.cluster.handle("GET", "/api2/json/cluster/resources", {"type": "vm"}, headers)
    world.cluster.handle = lambda *a: reply
    plain = world_on(stores.POSTGRESQL)
    sql = (
        "INSERT INTO vm_status (server, vm_id, status, node, name, uptime, cpu, cores, mem, maxmem, maxdisk, lock,"
        " seen_at) VALUES ('pve1', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0) ON CONFLICT (server, vm_id) DO UPDATE SET"
        " status = excluded.status, node = excluded.node, uptime = excluded.uptime, cpu = excluded.cpu,"
        " mem = excluded.mem, seen_at = excluded.seen_at"
    )
    ratios = []
    for _ in range(5):
        world.clock.time += 100
        begin = time.perf_counter()
        assert status.refresh("pve1", world.drivers["pve1"], world.store)
        ours = time.perf_counter() - begin
        begin = time.perf_counter()
        names = ("status", "node", "name", "uptime", "cpu", "maxcpu", "mem", "maxmem", "maxdisk")
        rows = [
            (str(r["vmid"]), *(r.get(n, "" if n in ("status", "node", "name") else 0) for n in names))
            for r in json.loads(reply.body)["data"]
        ]
        with plain.store.write() as db:
            db.conn.executemany(sql, rows)
        ratios.append(ours / (time.perf_counter() - begin))
    show("PostgreSQL: refresh of 10,000 VMs / (json + executemany)", statistics.median(ratios), "<= 2.5")
    world.close()
    plain.close()


def growth(show: Show) -> None:
    """Tick, page and sweep with 50,000 services against 1,000."""
    worlds = [grown(50_000), grown(1_000)]
    target = "/v1/services/1042/pages/overview?client=7&theme=bs4"
    acts: dict[str, Callable[[World], Any]] = {
        "tick": lambda w: customer.start_backups(w.store, w.config),
        "page": lambda w: viewed(w, target),
        "sweep": lambda w: findings.sweep_state("pve1", w.drivers["pve1"], w.store),
        "claim": lambda w: w.store.claim("x", 30, ["create"]),
    }
    for name, act in acts.items():
        ratios = []
        for _ in range(7):
            took = []
            for world in worlds:
                begin = time.perf_counter()
                for _ in range(5):
                    act(world)
                took.append(time.perf_counter() - begin)
            ratios.append(took[0] / took[1])
        show(f"PostgreSQL: {name} with 50,000 services / with 1,000", statistics.median(ratios), "<= 1.3")


def viewed(world: World, target: str) -> None:
    client = world.__dict__.setdefault("bench_client", create_app(world.context).test_client())
    headers = bench_pages.signed(target, world.clock.time, random.randbytes(16).hex())
    assert client.get(target, headers=headers).status_code == 200


def grown(count: int) -> World:
    world = world_on(stores.POSTGRESQL)
    world.order("create")
    world.run()
    world.store.save_statuses("pve1", world.drivers["pve1"].statuses())
    package = world.store.service(1).package
    with world.store.write() as db:
        first = stores.add(world.store, package, 2000, vm_id="40000")
        columns = [c for c in world.store.database.tables()["services"] if c not in ("id", "service_id", "vm_id")]
        names = ", ".join(columns)
        db.conn.execute(
            f"INSERT INTO services (service_id, vm_id, {names}) SELECT 2000 + n, CAST(40000 + n AS TEXT), {names}"
            f" FROM services, generate_series(1, {count}) n WHERE id = ?",
            (first.id,),
        )
        db.conn.execute("UPDATE services SET provisioned = 1, swept_at = ?", (world.clock.time,))
    assert isinstance(world.store.database, Postgres)
    with psycopg.connect(world.store.path, autocommit=True) as conn:
        conn.execute("ANALYZE")
    return world


def main() -> None:
    mode, url, file, count = sys.argv[1:]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    said = pickle.loads(Path(file).read_bytes()) if mode == "replay" else []
    print("ready", flush=True)
    sys.stdin.readline()
    print(work(url) if mode == "work" else replay(url, said, int(count)), flush=True)


if __name__ == "__main__":
    main()
