"""History is forgotten by age, in short transactions, and never what later orders are answered by."""

from __future__ import annotations

import dataclasses
import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from bridge import worker
from bridge.errors import Refused
from bridge.metering import status
from bridge.model import State, VmStatus
from bridge.orders import packages
from bridge.store import Store
from tests.world import World

DAY = 86400.0
KINDS = ("create", "suspend", "unsuspend", "start", "stop", "reboot", "change_package")


def filled(world: World, services: int, each: int) -> int:
    """`services` services, every fourth terminated, with `each` operations of the last 800 days and two
    steps per operation."""
    chance, now = random.Random(7), world.clock.now()
    package = json.dumps(dataclasses.asdict(packages.of_plan(world.config.plans["kvm-s"])))
    rows, steps = [], []
    for s in range(1, services + 1):
        world.store.change(
            "INSERT INTO services (id, whmcs, service_id, generation, client_id, desired, server, package,"
            " hostname, vm_id, mac, uuids, provisioned, created_at, updated_at) VALUES (?, 'main', ?, 1, 7, ?,"
            " 'pve1', ?, 'h', ?, '', '[\"u\"]', 1, 0, 0)",
            s,
            s,
            "terminated" if s % 4 == 0 else "active",
            package,
            str(20000 + s),
        )
        for i in range(each):
            key, at = f"{s:05d}-{i:05d}", now - chance.uniform(0, 800) * DAY
            kind = "terminate" if s % 4 == 0 and i == 0 else chance.choice(KINDS)
            rows.append((key, s, kind, chance.choice(("done", "failed", "superseded")), now, at, at, at + 60))
            steps += [(key, "one", "done", 1, at), (key, "two", "done", 1, at)]
    with world.store.write() as db:
        db.conn.executemany(
            "INSERT INTO operations (number, id, service, kind, state, due_at, created_at, started_at, ended_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(number, *row) for number, row in enumerate(rows, 1)],
        )
        db.conn.executemany(
            "INSERT INTO steps (operation, name, state, attempt, started_at) VALUES (?, ?, ?, ?, ?)", steps
        )
    return len(rows)


def expected(world: World, before: float) -> set[str]:
    """What must stay, reckoned without SQL's help."""
    rows = world.store.rows(
        "SELECT o.number AS n, o.id, o.service, o.kind, o.created_at, o.ended_at, s.desired FROM operations o"
        " JOIN services s ON s.id = o.service"
    )
    newest: dict[tuple[int, str], tuple[float, int]] = {}
    for r in rows:
        group = (r["service"], "" if r["desired"] == "terminated" else r["kind"])
        newest[group] = max(newest.get(group, (0.0, 0)), (r["created_at"], r["n"]))
    return {
        r["id"]
        for r in rows
        if r["ended_at"] is None
        or r["ended_at"] >= before
        or newest[(r["service"], "" if r["desired"] == "terminated" else r["kind"])] == (r["created_at"], r["n"])
    }


def test_a_clock_that_was_ahead_and_is_set_right(world: World) -> None:
    world.order("create")
    world.run()
    status.refresh("pve1", world.drivers["pve1"], world.store)
    right = world.clock.time
    world.clock.time += 10 * 86400
    assert status.refresh("pve1", world.drivers["pve1"], world.store)
    assert not world.store.spend("somebody", 100, 0.0)
    world.clock.time = right + 700
    assert not status.refresh("pve1", world.drivers["pve1"], world.store)
    worker.prune(world.context)
    world.clock.time += 61
    assert status.refresh("pve1", world.drivers["pve1"], world.store)
    assert world.store.health("pve1")["refreshed_at"] == world.clock.time
    row = world.store.status_row("pve1", "20000")
    assert row
    assert row["seen_at"] == world.clock.time
    assert world.store.stamps_ahead() == 0


def test_twenty_thousand_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    assert filled(world, 200, 100) == 20_000
    before = world.clock.now() - 400 * DAY
    want = expected(world, before)
    assert 10_000 < len(want) < 11_000
    most = 0
    plain = Store.forget_operations

    def watched(store: Store, *args: Any) -> Any:
        nonlocal most
        was = store.db.conn.total_changes
        rows = plain(store, *args)
        most = max(most, store.db.conn.total_changes - was)
        return rows

    monkeypatch.setattr(Store, "forget_operations", watched)
    worker.prune(world.context)
    assert {r["id"] for r in world.store.rows("SELECT id FROM operations")} == want
    assert {r["operation"] for r in world.store.rows("SELECT DISTINCT operation FROM steps")} == want
    assert most <= 500 * 3  # an operation and its two steps each
    world.clock.time -= 3600  # whatever a second run finds, it was there before
    worker.prune(world.context)
    assert len(world.store.rows("SELECT id FROM operations")) == len(want)
    world.close()


def test_a_clean_up_that_is_stopped_goes_on_later(world: World) -> None:
    filled(world, 4, 1000)
    stop = threading.Event()
    stop.set()
    want = expected(world, world.clock.now() - 400 * DAY)
    worker.prune(world.context, stop)
    left = len(world.store.rows("SELECT id FROM operations"))
    assert len(want) < left < 4000
    worker.prune(world.context)
    assert {r["id"] for r in world.store.rows("SELECT id FROM operations")} == want


def test_orders_are_answered_by_old_history(world: World) -> None:
    first = world.order("create").operation
    world.run()
    world.clock.time += 500 * DAY
    for _ in range(3):
        world.order("reboot")
        world.run()
        world.clock.time += 500 * DAY
    worker.prune(world.context)
    assert [o.kind for o in world.store.operations_of(1)] == ["reboot", "create"]
    assert world.order("create", status="Pending").operation == first
    with pytest.raises(Refused, match="has its server already"):
        world.order("create", status="Active")
    assert world.order("unsuspend").operation == ""
    assert len(world.store.operations_of(1)) == 2


def test_a_cancelled_terminate_of_long_ago_is_taken_up_again(world: World) -> None:
    world.order("create")
    world.run()
    key = world.order("terminate").operation
    world.order("cancel")
    world.run()
    world.clock.time += 500 * DAY
    worker.prune(world.context)
    assert [o.kind for o in world.store.operations_of(1)] == ["terminate"]
    assert world.order("terminate").operation == key
    world.run()
    assert world.vms() == []
    assert world.store.operations_of(1)[0].state is State.DONE


def test_many_later_operations_do_not_hide_the_create(world: World) -> None:
    first = world.order("create").operation
    world.run()
    for i in range(60):
        world.store.change(
            "INSERT INTO operations (id, number, service, kind, state, due_at, created_at, ended_at)"
            " VALUES (?, ?, 1, 'reboot', 'done', 0, ?, ?)",
            f"r{i}",
            100 + i,
            world.clock.now() + i,
            world.clock.now() + i,
        )
    assert world.order("create", status="Pending").operation == first
    assert world.order("unsuspend").operation == ""
    assert world.store.current_operation(1) is None


def test_open_operations_stay_whatever_their_age(world: World) -> None:
    world.order("create")
    world.order("change_package", configoption4="4")
    world.clock.time += 1000 * DAY
    worker.prune(world.context)
    assert [o.state for o in world.store.operations_of(1)] == [State.WAITING, State.RUNNING]


def test_ended_findings_and_machines_not_seen_for_long(world: World) -> None:
    store = world.store
    ended, _ = (store.find("pve1", None, "kind", subject, "text", "", {}) for subject in ("a", "b"))
    store.end_finding(ended)
    store.save_statuses("pve1", [VmStatus(str(i), "running") for i in range(1200)])
    world.clock.time += 89 * DAY
    store.save_statuses("pve1", [VmStatus("7", "running")])
    worker.prune(world.context)
    assert len(store.rows("SELECT * FROM vm_status")) == 1200
    assert len(store.rows("SELECT * FROM findings")) == 2
    world.clock.time += 2 * DAY
    worker.prune(world.context)
    assert [r["vm_id"] for r in store.rows("SELECT vm_id FROM vm_status")] == ["7"]
    world.clock.time += 400 * DAY
    worker.prune(world.context)
    assert [r["subject"] for r in store.rows("SELECT subject FROM findings")] == ["b"]


def test_history_days_is_what_the_configuration_says(tmp_path: Path) -> None:
    world = World(tmp_path, worker={"history_days": 2})
    world.order("create")
    world.run()
    for _ in range(3):
        world.order("reboot")
        world.run()
        world.clock.time += 0.9 * DAY
        worker.prune(world.context)
    assert len([o for o in world.store.operations_of(1) if o.kind == "reboot"]) == 2
    world.close()
