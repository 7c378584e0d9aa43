"""A new release takes over while work is under way: real processes, a slow clone, and a store of the first release."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlite_utils import Database

from bridge import config as config_module
from bridge.clock import Clock
from bridge.context import open_context
from bridge.metering import status
from bridge.model import END, State
from bridge.orders.wanted import thawed
from bridge.store import Store
from bridge.store.numbered import FORMER
from bridge.store.schema import migrations
from tests.configs import KEY
from tests.held import HeldClock
from tests.system import ROOT, System
from tests.test_kill import Rig
from tests.world import World

SERVE = [sys.executable, "-m", "bridge.cli", "serve", "--config"]
OLD_PACKAGE = {  # as the first release wrote it: none of the keys that came later
    "plan": "kvm-s",
    "server": "pve1",
    "template": "debian-12",
    "cores": 2,
    "ram_mib": 2048,
    "disk_gib": 20,
    "rate_mbit": 200,
    "permissions": {},
    "options": {
        "storage": "local-lvm",
        "clone": "full",
        "node": "",
        "os_user": "root",
        "nic_model": "virtio",
        "firewall": True,
        "mac_filter": True,
        "onboot": True,
        "tags": [],
    },
}


def clones(cluster: Any) -> list[str]:
    return [p for m, p in cluster.mutations() if p.endswith("/clone")]


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=45) == 0


def test_the_next_serve_goes_on_with_a_clone_under_way(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.1) as s:
        s.cluster.durations["qmclone"] = 9e9  # until it is let end
        assert s.order(1) == "success"
        s.wait_for(lambda: clones(s.cluster), 20)
        stop(s.processes.pop("serve"))
        store = Store(tmp_path / "vmbridge.db", s.key, s.clock)
        [left] = store.rows("SELECT state, task, lease_until FROM operations")
        store.close()
        assert left["state"] == "running"
        assert left["task"].startswith("UPID")
        assert left["lease_until"] == 0
        assert s.cluster.vms[20000].temporary  # the clone still runs
        s.start("serve", [*SERVE, str(s.config)])
        [clone] = [t for t in s.cluster.tasks.values() if t.kind == "qmclone"]
        clone.end = s.clock.now()
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        assert len(clones(s.cluster)) == 1
        assert [v.vmid for v in s.cluster.vms.values() if not v.template] == [20000]
        assert s.cluster.vms[20000].status == "running"


def test_a_worker_that_stops_between_two_steps_is_followed_at_once(tmp_path: Path) -> None:
    """The stand-alone worker is stopped while a step's call is open: the step ends, the next is another process's."""
    rig = Rig(tmp_path)
    try:
        rig.order("create")
        reached, go_on = threading.Event(), threading.Event()

        def hold(when: str, index: int, method: str, path: str) -> None:
            if when == "before" and method == "PUT" and not reached.is_set():
                reached.set()
                go_on.wait(20)

        rig.cluster.on_call = hold
        rig.start()
        assert rig.worker
        assert reached.wait(30)
        rig.worker.terminate()
        while "stopping" not in (tmp_path / "borders.log").read_text():  # the call ends after the signal has come
            assert rig.worker.poll() is None
        go_on.set()
        rig.worker.wait(timeout=40)
        assert (tmp_path / "borders.log").read_text().endswith("ended\n")
        [left] = rig.context.store.rows("SELECT state, step, lease_until FROM operations")
        assert left == {
            "state": "running",
            "step": "configure",
            "lease_until": 0.0,
        }  # identify has ended, configure has not begun
        begun = rig.clock.monotonic()
        rig.run()
        assert rig.context.store.operations_of(1)[0].state is State.DONE
        assert rig.clock.monotonic() - begun < 25
        assert len(clones(rig.cluster)) == 1
    finally:
        rig.close()


def old_store(path: Path, now: float, build: dict[str, Any], step: int, task: str = "") -> None:
    """A file as the first migration made it, with a create under way whose worker was killed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        migrations.apply(Database(conn), stop_before="second")
        conn.execute(
            "INSERT INTO services (id, whmcs, service_id, generation, client_id, desired, server, package, hostname,"
            " vm_id, mac, uuids, node, build, created_at, updated_at) VALUES (1, 'main', 1, 1, 7, 'active', 'pve1', ?,"
            " 'a.example.com', '20000', '02:56:4D:00:00:01', ?, ?, ?, ?, ?)",
            (
                json.dumps(OLD_PACKAGE),
                json.dumps(["11111111-2222-4333-8444-555555555555"]),
                "pve1" if step else "",
                json.dumps(build),
                now,
                now,
            ),
        )
        conn.execute("INSERT INTO addresses VALUES ('203.0.113.10', 'public-v4', 1, 'main', ?, NULL)", (now,))
        conn.execute("INSERT INTO vm_ids VALUES ('pve1', 20001)")
        conn.execute(
            "INSERT INTO operations (id, service, kind, state, step, task, task_since, due_at, created_at, started_at,"
            " owner, lease_until, fence) VALUES ('0123456789ab', 1, 'create', 'running', ?, ?, ?, ?, ?, ?, '1-dead',"
            " ?, 3)",
            (step, task, now, now, now, now, now + (0 if task else 30)),
        )


@pytest.mark.parametrize("under_way", [False, True])
def test_a_store_of_the_first_release_is_migrated_and_its_operation_goes_on(tmp_path: Path, under_way: bool) -> None:
    clock = HeldClock()
    world = World(tmp_path / "cluster")
    build: dict[str, Any] = {}
    if under_way:
        task = world.drivers["pve1"].api.post(
            "nodes/pve1/qemu/9000/clone",
            newid=20000,
            name="a",
            full=True,
            storage="local-lvm",
            description="vmbridge 11111111-2222-4333-8444-555555555555",
        )
        build = {"source": "9000", "storage": "local-lvm", "sent_at": clock.now(), "task": task}
    world.store.close()
    for end in ("", "-wal", "-shm"):
        Path(f"{world.path}{end}").unlink(missing_ok=True)
    old_store(world.path, clock.now(), build, 2 if under_way else 0, build.get("task", ""))
    world.store = Store(world.path, KEY, world.clock)
    expected = [
        "second",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "resources",
        "key_fault",
        "counters",
        "requests",
        "audit",
        "tokens",
        "dns",
        "own_words",
        "firewall_changes",
        "disc_orders",
        "told",
        "numbers",
        "dns_kept_at",
    ]
    assert world.store.pending_migrations() == expected == world.store.migrate()
    world.restart()
    world.run()
    op = world.store.operation("0123456789ab")
    assert op.state is State.DONE, op
    vm = world.cluster.vms[20000]
    assert world.vms() == [20000]
    assert vm.status == "running"
    assert len(clones(world.cluster)) == 1
    assert vm.config["ipconfig0"] == "ip=203.0.113.10/24,gw=203.0.113.1"
    assert vm.config["memory"] == "2048"
    for verb in ("suspend", "unsuspend", "change_package", "terminate"):
        world.order(verb, 1)
        world.run()
        assert world.store.operations_of(1)[0].state is State.DONE, verb
    assert world.vms() == []
    world.close()


def test_what_was_a_drivers_option_is_a_word_of_the_package(tmp_path: Path) -> None:
    """DHCP, the user and the additional disk's words leave the driver's options; also in the package that an adopted
    machine waits for."""
    world, options = (
        World(tmp_path / "x"),
        {**OLD_PACKAGE["options"], "dhcp4": True, "dhcp6": False, "os_user": "admin"},
    )
    options |= {"additional_disk_gib": 0, "disk_read_mib_s": 5, "vlan": 7}
    path, package = tmp_path / "old.db", {**OLD_PACKAGE, "options": options}
    old_store(path, world.clock.now(), {"adopted": True, "ordered": {**package, "templates": []}}, 0)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("UPDATE services SET package = ?", [json.dumps(package)])
        conn.commit()
    store = Store(path, KEY, world.clock)
    store.migrate()
    service = store.service(1)
    for resolved in (service.package, thawed(service).package):
        assert (resolved.dhcp4, resolved.dhcp6, resolved.os_user, resolved.options["vlan"]) == (True, False, "admin", 7)
        assert not {"dhcp4", "dhcp6", "os_user", "additional_disk_gib", "disk_read_mib_s"} & set(resolved.options)
    store.close()
    world.close()


def test_operations_of_an_old_store_keep_their_order_and_machines_their_uuids(tmp_path: Path) -> None:
    path, now = tmp_path / "old.db", 1_700_000_000.0
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        migrations.apply(Database(conn), stop_before="numbers")
        for number, uuids in enumerate(('["aa", "bb"]', '["cc"]', "not JSON", "7"), 1):
            conn.execute(
                "INSERT INTO services (id, whmcs, service_id, generation, client_id, desired, server, package,"
                " hostname, vm_id, mac, uuids, created_at, updated_at) VALUES (?1, 'main', ?1, 1, 7, 'active',"
                " 'pve1', '{}', '',"
                " ?1, '', ?2, 0, 0)",
                (number, uuids),
            )
        for key in ("zz", "aa", "gone", "mm"):  # at one moment: only the order in which they came tells
            conn.execute(
                "INSERT INTO operations (id, service, kind, state, due_at, created_at)"
                " VALUES (?, 1, 'reboot', 'done', 0, ?)",
                (key, now),
            )
        conn.execute("DELETE FROM operations WHERE id = 'gone'")
    store = Store(path, KEY, HeldClock())
    assert store.migrate()[0] == "numbers"
    assert store.column("SELECT id FROM operations ORDER BY number DESC") == ["mm", "aa", "zz"]
    assert [o.id for o in store.operations_of(1)] == ["mm", "aa", "zz"]
    newest = store.submit(1, "reboot", "staff")
    assert store.column("SELECT number FROM operations ORDER BY number") == [1, 2, 4, 5]
    assert [o.id for o in store.operations_of(1, states=("done", "running"))][:1] == [newest]
    assert store.known_machines("pve1", ["1", "9"], ["bb", "cc", "dd"]) == ({"1"}, {"bb", "cc"})
    store.close()


def test_serve_takes_over_a_store_of_the_first_release_with_a_clone_under_way(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.1) as s:
        stop(s.processes.pop("serve"))
        for end in ("", "-wal", "-shm"):
            (tmp_path / f"vmbridge.db{end}").unlink(missing_ok=True)
        s.cluster.durations["qmclone"] = 8.0
        context = open_context(config_module.load(s.config))
        task = context.drivers["pve1"].api.post(
            "nodes/pve1/qemu/9000/clone",
            newid=20000,
            name="a",
            full=True,
            storage="local-lvm",
            description="vmbridge 11111111-2222-4333-8444-555555555555",
        )
        build = {"source": "9000", "storage": "local-lvm", "sent_at": Clock().now(), "task": task}
        old_store(tmp_path / "vmbridge.db", Clock().now(), build, 2, task)
        s.start("serve", [*SERVE, str(s.config)])
        s.wait_for(lambda: requests.get(f"http://127.0.0.1:{s.web}/health", timeout=5).status_code == 200, 30)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        assert len(clones(s.cluster)) == 1
        assert s.cluster.vms[20000].status == "running"


def test_a_later_release_that_adds_columns_does_not_disturb_processes_that_still_run(world: World) -> None:
    """Web and worker of this release keep their connections while a later one migrates."""
    world.order("create")
    world.engine.tick()
    with closing(sqlite3.connect(world.path, isolation_level=None)) as later:
        for (table,) in later.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%sqlite%'"
        ).fetchall():
            later.execute(f"ALTER TABLE {table} ADD COLUMN of_tomorrow TEXT NOT NULL DEFAULT 'x'")
        later.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('vmbridge', 'of_tomorrow', '')"
        )
    world.run()
    assert world.store.use_nonce("main-1", "n")
    status.refresh("pve1", world.drivers["pve1"], world.store)
    assert world.store.status_row("pve1", "20000") is not None
    world.store.find("pve1", 1, "kind", "subject", "text", "", {})
    for verb, values in (
        ("change_package", {"configoption9": "1"}),
        ("suspend", {}),
        ("unsuspend", {}),
        ("reboot", {}),
        ("terminate", {}),
    ):
        world.order(verb, **values)
        world.run()
        assert world.store.operations_of(1)[0].state is State.DONE, verb


def test_an_open_write_of_a_migration_makes_others_wait_not_fail(world: World) -> None:
    world.store.health("pve1")
    begun, done = threading.Event(), threading.Event()

    def migrate() -> None:
        with closing(sqlite3.connect(world.path, isolation_level=None)) as later:
            later.execute("BEGIN IMMEDIATE")
            later.execute("ALTER TABLE services ADD COLUMN of_tomorrow TEXT NOT NULL DEFAULT ''")
            begun.set()
            done.wait(1.0)
            later.execute("COMMIT")

    thread = threading.Thread(target=migrate)
    thread.start()
    assert begun.wait(10)
    assert world.order("create").operation  # waits for the commit
    done.set()
    thread.join()
    assert world.store.service(1).vm_id == "20000"


# -- the command line beside running processes ------------------------------------------------------
def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_backup_beside_serve_and_restore_after_it(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.05) as s:
        config, copy = ("--config", str(s.config)), str(tmp_path / "copy.db")
        s.order(1)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        taken = run("backup", copy, *config)
        assert taken.returncode == 0, taken.stderr
        assert "services: 1 active" in taken.stdout, taken.stderr
        assert "The secret key is not in it" in taken.stdout, taken.stderr
        again = run("backup", copy, *config)
        assert again.returncode == 1
        assert "exists already" in again.stderr
        assert run("backup", copy, "--force", *config).returncode == 0
        refused = run("restore", copy, *config)
        assert refused.returncode == 1
        assert "The store is in use" in refused.stderr
        s.order(2)
        s.wait_for(lambda: s.operation(2).get("state") == "done", 60)
        stop(s.processes.pop("serve"))
        done = run("restore", copy, *config)
        assert done.returncode == 0, done.stderr
        assert "VM ids of pve1 go on at 20002" in done.stdout
        assert "vmbridge adopt 2 20001 --whmcs main --plan kvm-s" in done.stdout
        assert "203.0.113.12" in done.stdout
        assert "Next: `vmbridge check`" in done.stdout
        s.start("serve", [*SERVE, str(s.config)])
        s.wait_for(lambda: s.order(3) == "success", 30)
        s.wait_for(lambda: s.operation(3).get("state") == "done", 60)
        assert sorted(v.vmid for v in s.cluster.vms.values() if not v.template) == [20000, 20001, 20002]


KINDS_OF = {
    "power": ("start", "hard_stop"),
    "redeploy": ("redeploy", "unsuspend"),
    "create": ("create", "change_package"),
    "change_while_suspended": ("change_package",),
}


def test_operations_that_stood_at_a_number_stand_at_that_step(tmp_path: Path) -> None:
    rows = [
        (f"{kind}-{recipe}-{at}", kind, recipe, at)
        for recipe, names in FORMER.items()
        for kind in KINDS_OF.get(recipe, (recipe,))
        for at in range(len(names.split()) + 1)
    ]
    path = tmp_path / "vmbridge.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        migrations.apply(Database(conn), stop_before="fifth")
        conn.execute("PRAGMA foreign_keys = OFF")
        for service, (key, kind, recipe, at) in enumerate(rows):
            conn.execute(
                "INSERT INTO operations (id, service, kind, state, step, due_at, created_at) VALUES (?, ?, ?, 'failed',"
                " ?, 0, 0)",
                (key, service, kind, at),
            )
            for position, name in enumerate(FORMER[recipe].split()[: at + 1]):
                conn.execute(
                    "INSERT INTO steps (operation, position, name, state, attempt, started_at) VALUES (?, ?, ?, 'done',"
                    " 1, 0)",
                    (key, position, name),
                )
    store = Store(path, KEY, HeldClock())
    assert store.migrate()[0] == "fifth"
    for key, _, recipe, at in rows:
        names = [*FORMER[recipe].split(), END]
        operation = store.operation(key)
        assert (operation.recipe, operation.step) == ((recipe, names[at]) if at else ("", "")), key
    store.close()
