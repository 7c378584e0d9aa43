"""Benchmarks of usage: WHMCS's sync of 10,000 services, and the booking beside it. Parts of `make bench`."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from bridge.app import create_app
from bridge.metering import usage
from bridge.model import VmStatus
from bridge.web.auth import sign
from tests import stores
from tests.configs import raw_config
from tests.system import ROOT
from tests.world import World

Show = Callable[..., None]
TARGET = "/v1/servers/pve1/usage"
# what stands in the answer, as plainly as it can be had
BARE = (
    "SELECT s.service_id, u.net_in, u.net_out, u.snapshot_byte_s, u.backup_byte_s, v.counted_at, a.address, n.n,"
    " json_extract(s.package, '$.disk_gib') FROM services s JOIN usage u ON u.service = s.id AND u.month = ? JOIN"
    " vm_status v ON v.server = s.server AND v.vm_id = s.vm_id LEFT JOIN addresses a ON a.service = s.id AND a.role ="
    " 'main' LEFT JOIN (SELECT service, count(*) AS n FROM snapshots WHERE state = 'ready' GROUP BY service) n ON"
    " n.service = s.id WHERE s.server = 'pve1'"
)


def populated(count: int) -> World:
    """Services with an address, a backup, every tenth with a snapshot, traffic and two generations each hundredth."""
    world = World(Path(tempfile.mkdtemp()))
    world.clock.time = 1_803_000_000.0
    world.order("create", 1)
    world.run()
    package = world.store.service(1).package
    with world.store.write() as db:
        for i in range(2, count + 1):
            for generation in range(1, 2 + (i % 100 == 0)):
                row = stores.add(
                    world.store,
                    package,
                    i,
                    generation=generation,
                    desired="active" if generation == 1 + (i % 100 == 0) else "terminated",
                    vm_id=str(100_000 * generation + i),
                )
                usage.begin(row.id, world.store, "UTC")
            address = f"10.0.{i // 250}.{i % 250}"
            db.conn.execute(
                "INSERT INTO addresses (address, pool, service, role, taken_at) VALUES (?, 'p', ?, 'main', 0)",
                (address, row.id),
            )
            db.conn.execute(
                "INSERT INTO backups (service, archive, made_at, size, state) VALUES (?, 'a', 0, 5000000000, 'ready')",
                (row.id,),
            )
            if i % 10 == 0:
                db.conn.execute(
                    "INSERT INTO snapshots (service, name, taken_at, state, size) VALUES (?, 's', 0, 'ready', 1000)",
                    (row.id,),
                )
    grow(world, 1)
    gc.collect()
    gc.freeze()  # the simulator's objects are not in a real web process
    return world


def grow(world: World, times: int) -> None:
    ids = world.store.column("SELECT vm_id FROM services WHERE desired = 'active'")
    world.store.save_statuses(
        "pve1",
        [
            VmStatus(v, "running", "pve1", uptime=times * 4000, net_in=times * 10**9, net_out=times * 3 * 10**9)
            for v in ids
        ],
    )


def ask(client: FlaskClient, world: World, nonce: int) -> Any:
    secret, stamp = raw_config()["whmcs"]["main"]["keys"][0]["secret"], str(int(world.clock.time))
    mark = f"{nonce:032x}"
    raw = b'{"billed": true}'
    return client.post(
        TARGET,
        data=raw,
        headers={
            "Vmbridge-Key": "main-1",
            "Vmbridge-Timestamp": stamp,
            "Vmbridge-Nonce": mark,
            "Vmbridge-Signature": sign(secret, "POST", TARGET, stamp, mark, raw),
        },
    )


def longest_write(world: World) -> tuple[float, float]:
    """(seconds of the longest transaction, of all) of a booking of everything."""
    took, plain = [], world.store.book_usage

    def timed(*args: Any) -> None:
        begin = time.perf_counter()
        plain(*args)
        took.append(time.perf_counter() - begin)

    world.store.book_usage = timed
    usage.book(world.store, "UTC")
    world.store.book_usage = plain
    return max(took), sum(took)


def sync(show: Show, count: int = 10_000) -> None:
    """One signed call for the whole server, beside the bare reading of the same numbers and their JSON."""
    world = populated(count)
    world.clock.time += 3700
    usage.book(world.store, "UTC")
    client, calls, ratios, answer = create_app(world.context).test_client(), len(world.cluster.calls), [], None
    month = usage.month_at(world.clock.time, "UTC").name
    for turn in range(9):
        begin = time.perf_counter()
        answer = ask(client, world, turn)
        ours = time.perf_counter() - begin
        values = answer.json
        begin = time.perf_counter()
        rows = world.store.db.conn.execute(BARE, (month,)).fetchall()
        json.dumps(values)
        ratios.append(ours / (time.perf_counter() - begin))
        assert answer.status_code == 200
        assert len(values["services"]) == count
        assert len(rows) >= count - 1
    whole, names = answer.data if answer else b"", len(usage.METRICS)
    show(
        f"metric sync of {count:,} services / (SELECT + json.dumps)",
        statistics.median(ratios),
        "<= 3",
        whmcs_calls=1,
        upstream_calls=len(world.cluster.calls) - calls,
        metrics=count * names,
        mb=round(len(whole) / 1e6, 2),
    )
    written = []
    for turn in range(2, 7):
        world.clock.time += 3700
        grow(world, turn)
        written.append(longest_write(world))
    show(
        f"booking of {count:,} services: ms of the longest transaction",
        statistics.median(w[0] for w in written) * 1000,
        "< 100",
        all_ms=round(statistics.median(w[1] for w in written) * 1000),
    )
    show("metric sync in WHMCS: ms of PHP to read the answer and make 100,000 metrics", php(whole), "< 2000")
    world.close()


def php(answer: bytes) -> float:
    """The shim's own part, without the call."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(answer)
        file.flush()
        code = """
            require $argv[1] . '/tests/whmcs_host/usage_billing.php';
            $shim = $argv[1] . '/whmcs-shim/modules/servers/vmbridge/lib/';
            foreach (['BridgeException', 'Bridge', 'Module', 'Usage', 'MetricProvider'] as $f) {
              require $shim . $f . '.php'; }
            $begin = microtime(true);
            $reply = json_decode(file_get_contents($argv[2]), true);
            $class = 'WHMCS\\\\Module\\\\Server\\\\Vmbridge\\\\';
            $whole = new ReflectionMethod($class . 'Usage', 'isWhole');
              $of = new ReflectionMethod($class . 'MetricProvider', 'of');
            $provider = new ($class . 'MetricProvider')([]);
            if (!$whole->invoke(null, $reply)) { exit(1); }
            foreach ($reply['services'] as $used) { $of->invoke($provider, $used, $reply['month']); }
            echo (microtime(true) - $begin) * 1000;"""
        made = subprocess.run(
            ["php", "-d", "memory_limit=512M", "-r", code, str(ROOT), file.name],
            capture_output=True,
            text=True,
            check=True,
        )
        return float(made.stdout)
