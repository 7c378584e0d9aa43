"""Live data of a large project: who is looked at comes first, within the allowance of calls, and customers' orders do
not wait for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.metering import status
from bridge.model import Desired
from bridge.staff import servers
from drivers.hetzner.driver import Hetzner
from drivers.proxmox.driver import Proxmox
from tests.hcloud.project import Fault
from tests.test_hetzner import Cloud, crowded
from tests.world import World

FLEET, COLUMNS = (
    2000,
    (
        "whmcs, generation, client_id, desired, server, package, hostname, mac, node, build, provisioned, created_at,"
        " updated_at"
    ),
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path)
    yield made
    made.close()


def fleet(world: Cloud, services: int = FLEET) -> None:
    """A project of 2,000 servers, `services` of which are ours, like the one that was ordered."""
    world.order("create")
    world.run()
    crowded(world, FLEET - 1)
    for i in range(services):
        world.store.change(
            f"INSERT INTO services (id, service_id, vm_id, uuids, {COLUMNS}) SELECT ?, ?, ?, ?, {COLUMNS} FROM services"
            " WHERE id = 1",
            10 + i,
            20_000 + i,
            str(i),
            f'["u{i}"]',
        )
    world.clock.time += 3600
    world.cloud.settle()


def looked_at(world: Cloud, ids: list[int], seconds: float, work: Any = None) -> list[float]:
    """Somebody at each of these services, asking every 7 s; the worker's refresh each second. Returns the ages that
    they saw."""
    driver, viewers, ages, rng = world.drivers["pve1"], {i: 0.0 for i in ids}, [], random.Random(1)
    services = {i: world.store.service(10 + i) for i in ids}
    end, begun = world.clock.time + seconds, world.clock.time
    while world.clock.time < end:
        status.refresh("pve1", driver, world.store)
        for i, due in viewers.items():
            if due <= world.clock.time:
                state = status.view(services[i], world.store)
                if world.clock.time - begun > 400 and "as_of" in state:
                    ages.append(world.clock.time - state["as_of"])
                viewers[i] = world.clock.time + 7 * rng.uniform(0.9, 1.1)
        if work:
            work()
        world.clock.time += 1.0
    return ages


def test_watched_servers_come_first(world: Cloud) -> None:
    """Twenty viewers of two thousand servers: what they see is a few seconds old, and what nobody looks at some
    minutes."""
    fleet(world)
    ages = looked_at(world, list(range(0, 400, 20)), 1200)
    oldest = world.store.row("SELECT ? - min(seen_at) AS age FROM vm_status WHERE server = 'pve1'", world.clock.time)
    assert max(ages) <= 16
    assert len(ages) > 2000
    assert oldest
    assert oldest["age"] <= 330
    assert world.cloud.refused == 0
    assert len(world.cloud.calls) <= 0.55 * 1200 + 45


def test_two_thousand_servers_and_five_hundred_viewers_leave_room_for_customers(world: Cloud) -> None:
    """Twenty minutes: never above the allowance, viewers see what is half a minute old at most, orders go through as if
    they were alone."""
    fleet(world)
    took: list[float] = []
    start = world.clock.time

    def order() -> None:
        if (world.clock.time - start) % 300 < 1:
            begun = world.clock.time
            world.order("create", 5000 + len(took))
            world.run()
            took.append(world.clock.time - begun)

    ages = sorted(looked_at(world, list(range(500)), 1200, order))
    assert world.cloud.refused == 0, took
    assert len(took) >= 4, took
    assert max(took) < 40, took
    assert ages[len(ages) * 95 // 100] <= 32, (ages[len(ages) * 95 // 100], ages[-1])
    assert ages[-1] <= 70, (ages[len(ages) * 95 // 100], ages[-1])
    health = world.store.health("pve1")
    assert health["ok"]
    assert not health["error"]
    assert world.cloud.left > 720


def test_fifty_watched_servers_are_one_call(world: Cloud) -> None:
    fleet(world, 60)
    refs = [world.store.service(10 + i).ref for i in range(60)]
    world.cloud.calls.clear()
    statuses = world.drivers["pve1"].statuses(refs)
    assert len(world.cloud.calls) == 2
    assert {s.vm_id for s in statuses} == {str(i) for i in range(60)}


def test_a_change_of_a_watched_server_is_seen_soon_and_the_others_stay_as_they_were(world: Cloud) -> None:
    fleet(world, 10)
    looked_at(world, [3], 420)
    world.cloud.servers[3].status = world.cloud.servers[4].status = "off"
    looked_at(world, [3], 16)
    states = [(world.store.status_row("pve1", str(i)) or {})["status"] for i in (3, 4, 1999 - 2)]
    assert states == ["stopped", "running", "running"]


def test_a_watched_server_that_is_not_in_its_reply_is_left_to_the_next_whole_one(world: Cloud) -> None:
    fleet(world, 10)
    looked_at(world, [3], 420)
    del world.cloud.servers[3]
    looked_at(world, [3], 20)
    assert (world.store.status_row("pve1", "3") or {})["status"] == "running"
    looked_at(world, [3], 330)
    assert (world.store.status_row("pve1", "3") or {})["status"] == "unknown"


def test_a_service_that_ended_or_is_suspended_is_not_watched(world: Cloud) -> None:
    fleet(world, 10)
    looked_at(world, [3, 4], 420)
    world.store.update_service(13, desired=Desired.TERMINATED.value)
    assert [r.vm_id for r in world.store.watched("pve1", 45)] == ["4"]
    world.store.update_service(14, desired=Desired.SUSPENDED.value)
    world.clock.time += 50
    status.view(world.store.service(14), world.store)
    assert world.store.watched("pve1", 45) == []
    world.store.update_service(13, desired=Desired.ACTIVE.value)
    world.store.watch("pve1", "3")
    world.store.update_service(13, desired=Desired.TERMINATED.value)  # between the count and the read
    world.cloud.calls.clear()
    assert not status.refresh("pve1", world.drivers["pve1"], world.store)
    assert world.cloud.calls == []
    assert world.store.health("pve1")["lease_until"] == 0


def test_nobody_reads_them_twice_at_once(world: Cloud) -> None:
    fleet(world, 10)
    looked_at(world, [3], 420)
    world.clock.time += 10
    assert world.store.claim_watched("pve1", 7.0, 45.0)
    assert not world.store.claim_watched("pve1", 7.0, 45.0)
    assert not status.refresh("pve1", world.drivers["pve1"], world.store)


@pytest.mark.parametrize("kind", ["reset", "unavailable", "rate_limit_exceeded"])
def test_a_read_of_watched_ones_that_fails_is_tried_again(world: Cloud, kind: str) -> None:
    fleet(world, 10)
    looked_at(world, [3], 420)
    world.cloud.faults = [Fault("GET /servers", kind)]
    world.clock.time += 8
    assert status.refresh("pve1", world.drivers["pve1"], world.store)
    assert world.store.health("pve1")["failures"] == 1
    assert world.store.health("pve1")["ok"]
    looked_at(world, [3], 20)
    assert world.store.health("pve1")["failures"] == 0
    assert not world.store.health("pve1")["error"]


def test_a_look_is_noted_only_where_it_is_worth_it(world: Cloud, tmp_path: Path) -> None:
    """On a small project, and on a back end that does not count, polls stay reads."""
    world.order("create")
    world.run()
    other = World(tmp_path / "other")
    other.order("create")
    other.run()
    for at in (world, other):
        service = at.store.find_service("main", 1042)
        assert service
        for _ in range(60):
            at.clock.time += 7
            status.refresh("pve1", at.drivers["pve1"], at.store)
            status.view(service, at.store)
        assert at.store.watched_count("pve1", 1e9) == 0
        assert (at.store.status_row("pve1", service.vm_id) or {})["seen_at"] > at.clock.time - 20
    other.close()


def test_how_often(world: Cloud) -> None:
    """Never more than half of the calls that become possible meanwhile."""
    driver = world.drivers["pve1"]
    for pages in (1, 2, 7, 40, 400):
        driver._pages = pages
        for watched in (0, 1, 50, 51, 500, 2000, 20_000):
            everything, some = driver.live_ages(watched)
            per_second = pages / everything + (-(-watched // 50) / some if some else 0.0)
            assert per_second <= 0.5 + 1e-9, (pages, watched)
    driver._pages = 7  # 350 servers
    assert driver.live_ages(20) == (14.0, 0.0)
    driver._pages = 40
    assert driver.live_ages(20) == (320.0, pytest.approx(8 / 3))
    assert driver.live_ages(1500) == (80.0, 0.0)
    assert Proxmox.live_ages(driver, 500) == (0.0, 0.0)
    assert isinstance(driver, Hetzner)


def test_staff_sees_when_it_was_looked_at_last(world: Cloud) -> None:
    fleet(world, 10)
    looked_at(world, [3], 700)
    [view] = servers.views(world.store, world.config)
    assert view.state == "ok"
    assert view.age is not None
    assert view.age < 20
