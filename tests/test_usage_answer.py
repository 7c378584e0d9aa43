"""What the bridge answers when it is asked for usage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.metering import status, usage
from bridge.model import VmStatus
from tests.configs import raw_config
from tests.test_usage import GB, HOUR, moment, on_the_tenth, post, sample, told
from tests.world import World


@pytest.fixture
def born(world: World) -> World:
    return on_the_tenth(world)


# -- the answer ------------------------------------------------------------------------------------------
def test_one_answer_for_the_whole_server_with_zeros(born: World) -> None:
    sample(born, 1_500_000_000, 500_000_000)
    calls = len(born.cluster.calls)
    reply = post(born)
    assert reply.status_code == 200
    assert len(born.cluster.calls) == calls
    tenant = reply.json["services"]["1042"]
    assert {k: tenant[k] for k in usage.METRICS} == {
        "floating_ipv4": 0,
        "floating_ipv6": 0,
        "ipv4": 1,
        "ipv6": 0,
        "snapshots": 0,
        "bandwidth_in": 1.5,
        "bandwidth_out": 0.5,
        "bandwidth_total": 2.0,
        "snapshot_gb": 0.0,
        "backup_gb": 0.0,
    }
    assert (tenant["disk_mb"], tenant["disk_limit_mb"], tenant["bandwidth_mb"], tenant["bandwidth_limit_mb"]) == (
        21475,
        21475,
        2000,
        0,
    )
    born.store.change("UPDATE vm_status SET maxdisk = ?", 40 * 1024**3)  # bigger than sold
    tenant = usage.report("pve1", "main", born.store, "UTC")["services"]["1042"]
    assert (tenant["disk_mb"], tenant["disk_limit_mb"]) == (42950, 21475)
    assert tenant["stale"] is False
    assert tenant["collected_at"] == int(born.clock.time) - 1
    assert reply.json["month"] == {
        "name": "2027-03",
        "start": int(moment("2027-03-01")),
        "end": int(moment("2027-04-01")),
        "time_zone": "UTC",
    }


def test_addresses_count_by_kind(born: World) -> None:
    given = ["192.0.2.7", "2001:db8:7::1", "198.51.100.9", "2001:db8:9::/64", "2001:db8:9::1"]
    floating = ("198.51.100.9", "2001:db8:9::/64")
    birth = replace(born.store.service(1).birth, addresses=tuple(given), floating=floating)
    born.store.update_service(1, birth=birth)
    report = told(born)
    assert (report["ipv4"], report["ipv6"], report["floating_ipv4"], report["floating_ipv6"]) == (
        2,
        1,
        1,
        1,
    )  # one of our pool, and the provider's
    born.store.change("UPDATE addresses SET role = 'leaving'")
    assert told(born)["ipv4"] == 1


def test_one_service_alone(born: World) -> None:
    born.order("create", 1043)
    born.run()
    assert list(post(born, body={"service_id": 1043}).json["services"]) == ["1043"]
    assert post(born, body={"service_id": 9}).status_code == 404
    said = post(born, body={"service_id": 2**70}).json["error"]  # more than any number of ours
    assert said["code"] == "number_too_large"
    assert said["message"].startswith("service_id: ")
    for wrong in ("1043", 1.5, True, -1, 0):
        assert post(born, body={"service_id": wrong}).json["error"]["code"] == "bad_service_id", wrong
    assert post(born, body=[1]).status_code == 400


def test_only_this_installations_services_and_only_signed(tmp_path: Path) -> None:
    other = {**raw_config()["whmcs"]["main"], "keys": [{"id": "other-1", "secret": "another-secret-0123"}]}
    shared = {"main": raw_config()["whmcs"]["main"], "other": other}
    world = World(tmp_path, whmcs={n: {**w, "servers": ["pve1"]} for n, w in shared.items()})
    world.order("create")
    world.run()
    assert list(post(world).json["services"]) == ["1042"]
    assert post(world, key="other-1", secret="another-secret-0123").json["services"] == {}
    assert post(world, key="other-1", secret="another-secret-0123", body={"service_id": 1042}).status_code == 404
    assert post(world, secret="wrong").status_code == 401
    assert post(world, "/v1/servers/pve9/usage").json["error"]["code"] == "unknown_server"
    world.close()


def test_old_numbers_are_told_as_old(born: World) -> None:
    sample(born, GB)
    seen = int(born.clock.time)
    born.clock.time += 3 * HOUR
    assert told(born)["stale"] is False
    born.clock.time += 1
    report = told(born)
    assert (report["stale"], report["bandwidth_in"], report["collected_at"]) == (True, 1.0, seen)


def test_a_machine_that_the_newest_read_does_not_show_is_told_as_old(born: World) -> None:
    sample(born, GB)
    seen = int(born.clock.time)
    born.clock.time += 60
    born.store.save_statuses("pve1", [VmStatus("30000", "running", "pve1")])
    assert (told(born)["stale"], told(born)["collected_at"]) == (True, seen)


def test_what_was_never_counted_is_told_as_old(world: World) -> None:
    world.order("create")
    assert (told(world)["stale"], told(world)["collected_at"]) == (True, 0)
    world.run()
    sample(world, None, None)
    assert told(world)["stale"] is True
    assert told(world)["ipv4"] == 1
    assert told(world)["new"] is True
    world.clock.time += 3 * HOUR
    sample(world, None, None)
    assert (told(world)["stale"], told(world)["new"]) == (True, False)
    sample(world, 0, 0)
    assert (told(world)["stale"], told(world)["new"]) == (False, False)
    world.clock.time += 4 * HOUR
    assert (told(world)["stale"], told(world)["new"]) == (True, False)


def test_the_bulk_read_of_the_simulated_cluster_counts(world: World) -> None:
    """Stop, start and migration begin the counters anew; what is told follows what went."""
    world.order("create")
    world.run()
    vm = world.cluster.vms[20000]
    vm.rates, vm.started, expected = (1000, 0), world.clock.time, 0.0
    for happens in ("", "stop", "start", "migrate", ""):
        begin = world.clock.time
        if happens in ("stop", "start"):
            world.order(happens)
            world.run()
        elif happens == "migrate":
            world.cluster.migrate(20000, "pve2")
        world.clock.time += 600
        status.refresh("pve1", world.drivers["pve1"], world.store)
        expected += 0 if happens == "stop" else 1000 * (world.clock.time - begin)
    assert told(world)["bandwidth_in"] * GB == pytest.approx(expected, abs=1000 * 30)
