"""What was used: counters that begin anew, bookings by month, the last sample, the answer for WHMCS."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge import services, worker
from bridge.app import create_app
from bridge.errors import NotFound, Unknown, Unreachable, Waiting
from bridge.metering import status, usage
from bridge.model import Backup, Snapshot, State, VmStatus
from bridge.orders.packages import of_plan
from bridge.services import Caller
from bridge.store.status import COUNT_HOLDS
from bridge.store.tables import FOURTH
from bridge.web.auth import sign
from drivers.calls import time_left
from tests import stores
from tests.branches import Branches, Killed
from tests.configs import raw_config
from tests.world import World

GB = 10**9
HOUR = 3600.0


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def create_elsewhere(world: World) -> None:
    """The service again, on the second server."""
    params = {
        "configoption1": "kvm-2",
        "userid": 7,
        "domain": "vm.example.com",
        "password": "Secret-pass-1",
        "status": "Pending",
    }
    services.run("create", 1042, "pve2", params, Caller("main"), world.store, world.config, world.drivers)
    world.run()


def on_the_tenth(world: World) -> World:
    """One running server on the tenth of a month; its traffic is what the test says."""
    world.clock.time = moment("2027-03-10T12:00:00")
    world.order("create")
    world.run()
    world.cluster.vms[20000].rates = (0, 0)
    return world


@pytest.fixture
def born(world: World) -> World:
    return on_the_tenth(world)


def sample(world: World, net_in: int | None, net_out: int | None = 0, uptime: int = 10_000, **more: Any) -> None:
    """One bulk read that shows the server with these counters."""
    world.store.save_statuses(
        "pve1", [VmStatus("20000", "running", "pve1", uptime=uptime, net_in=net_in, net_out=net_out, **more)]
    )


def book(world: World) -> int:
    return usage.book(world.store, world.config.worker["usage_time_zone"])


def told(world: World, service: int = 1042, **more: Any) -> dict[str, Any]:
    report: dict[str, Any] = usage.report("pve1", "main", world.store, world.config.worker["usage_time_zone"], **more)[
        "services"
    ][str(service)]
    return report


def sums(world: World, service: int = 1) -> dict[str, tuple[int, int]]:
    return {r["month"]: (r["net_in"], r["net_out"]) for r in stores.months(world.store, service)}


def post(
    world: World, target: str = "/v1/servers/pve1/usage", body: Any = None, key: str = "main-1", secret: str = ""
) -> Any:
    raw = json.dumps({} if body is None else body).encode()
    stamp, nonce = str(int(world.clock.time)), f"{hash((target, raw, world.clock.time)) & (2**128 - 1):032x}"
    secret = secret or raw_config()["whmcs"]["main"]["keys"][0]["secret"]
    world.clock.time += 1
    return (
        create_app(world.context)
        .test_client()
        .post(
            target,
            data=raw,
            headers={
                "Vmbridge-Key": key,
                "Vmbridge-Timestamp": stamp,
                "Vmbridge-Nonce": nonce,
                "Vmbridge-Signature": sign(secret, "POST", target, stamp, nonce, raw),
            },
        )
    )


# -- bookings ------------------------------------------------------------------------------------------
def test_growth_is_booked_once_and_told_before_it_is_booked(born: World) -> None:
    sample(born, 3 * GB, 5 * GB)
    assert told(born)["bandwidth_in"] == 3.0
    assert sums(born) == {}
    born.clock.time += HOUR + 1
    assert book(born) == 1
    assert sums(born) == {"2027-03": (3 * GB, 5 * GB)}
    assert book(born) == 0
    assert told(born)["bandwidth_total"] == 8.0
    sample(born, 4 * GB, 5 * GB + 1)
    born.clock.time += 5 * HOUR  # runs that were missed are made up for
    book(born)
    assert sums(born) == {"2027-03": (4 * GB, 5 * GB + 1)}
    assert told(born)["bandwidth_out"] == (5 * GB + 1) / GB
    assert told(born)["bandwidth_mb"] == 9000


def test_a_booking_that_dies_half_way_leaves_nothing_half(born: World) -> None:
    sample(born, GB, 0)
    born.clock.time += HOUR + 1
    with pytest.raises(RuntimeError), born.store.write():
        book(born)
        raise RuntimeError("killed before the commit")
    assert sums(born) == {}
    assert told(born)["bandwidth_in"] == 1.0
    book(born)
    assert sums(born) == {"2027-03": (GB, 0)}


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [
        ("UTC", "2027-03-31T23:59:40", "2027-04-01T00:00:10"),
        ("Europe/Berlin", "2027-03-31T21:59:40", "2027-03-31T22:00:10"),
    ],
)
def test_a_month_ends_in_the_configured_zone_and_within_a_minute(
    tmp_path: Path, zone: str, last: str, first: str
) -> None:
    world = World(tmp_path, worker={"usage_time_zone": zone})
    world.clock.time = moment("2027-03-31T12:00:00")
    world.order("create")
    world.run()
    sample(world, 2 * GB)
    world.clock.time = moment(last)
    book(world)
    sample(world, 5 * GB)
    world.clock.time = moment(first)
    worker.book(world.context)
    assert sums(world)["2027-03"][0] >= 5 * GB
    assert told(world)["bandwidth_in"] == 0.0
    sample(world, 6 * GB)
    assert told(world)["bandwidth_in"] == 1.0
    world.clock.time += HOUR
    book(world)
    assert sums(world)["2027-04"][0] == GB
    world.close()


def test_growth_of_a_missed_month_goes_where_its_interval_began_and_sizes_are_split_at_every_border(
    born: World,
) -> None:
    begin = born.clock.time = moment("2027-03-30T00:00:00")
    born.store.mirror_backups(1, [Backup("nfs:one", begin, 10 * GB)], 0.0)
    born.store.change("UPDATE backups SET foreign_one = 0")
    sample(born, 0)
    book(born)
    sample(born, 7 * GB)
    born.clock.time = moment("2027-05-02T00:00:00")  # the bridge was off for a month
    book(born)
    assert sums(born) == {"2027-03": (7 * GB, 0), "2027-04": (0, 0), "2027-05": (0, 0)}
    seconds = {r["month"]: r["backup_byte_s"] / (10 * GB) for r in stores.months(born.store, 1)}
    assert seconds == {"2027-03": 2 * 86400, "2027-04": 30 * 86400, "2027-05": 86400}
    assert told(born)["backup_gb"] == pytest.approx(10 / 31)  # May has 31 days


def test_sizes_count_from_the_booking_that_saw_them_until_the_one_that_does_not(born: World) -> None:
    at = born.clock.time
    born.store.mirror_snapshots(
        1, [Snapshot(n, at, size=size) for n, size in (("a", 4 * GB), ("b", 2 * GB), ("staffs-own", 9 * GB))]
    )
    born.store.change("UPDATE snapshots SET foreign_one = 0 WHERE name <> 'staffs-own'")
    assert told(born)["snapshots"] == 2
    assert told(born)["snapshot_gb"] == 0.0
    born.clock.time += HOUR
    book(born)
    born.clock.time += 10 * HOUR
    assert told(born)["snapshot_gb"] == pytest.approx(6 * 10 / (31 * 24))
    born.store.forget_snapshot(1, "a")
    book(born)
    born.clock.time += 10 * HOUR
    assert told(born)["snapshot_gb"] == pytest.approx((6 * 10 + 2 * 10) / (31 * 24))
    assert told(born)["snapshots"] == 1


def test_a_clock_that_goes_back_counts_no_hour_twice(born: World) -> None:
    born.store.mirror_backups(1, [Backup("nfs:one", born.clock.time, GB)], 0.0)
    born.store.change("UPDATE backups SET foreign_one = 0")
    born.clock.time += 2 * HOUR
    book(born)
    begin = born.clock.time
    born.clock.time -= HOUR
    for _ in range(4):
        sample(born, 1)
        book(born)
        born.clock.time += HOUR / 2
    born.clock.time = begin + HOUR
    book(born)
    assert stores.months(born.store, 1)[0]["backup_byte_s"] == pytest.approx(
        HOUR * GB, rel=1e-4
    )  # reading takes some time on the held clock


def test_a_booking_at_an_earlier_time_than_the_last_waits(born: World) -> None:
    born.clock.time += HOUR
    usage.book_one(1, born.store, "UTC")
    born.clock.time -= HOUR / 2
    sample(born, GB)
    for _ in range(2):
        usage.book_one(1, born.store, "UTC")
    assert sums(born)["2027-03"] == (0, 0)
    born.clock.time += HOUR
    usage.book_one(1, born.store, "UTC")
    assert sums(born)["2027-03"] == (GB, 0)


def test_growth_that_waits_at_the_border_is_not_told_for_the_new_month(born: World) -> None:
    born.clock.time = moment("2027-03-31T23:59:30")
    book(born)
    sample(born, GB)
    born.clock.time = moment("2027-04-01T00:00:05")
    assert told(born)["bandwidth_in"] == 0.0
    book(born)
    assert sums(born) == {"2027-03": (GB, 0), "2027-04": (0, 0)}


def test_a_zone_that_is_none_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"worker.usage_time_zone.*'Mars/Base' is not a time zone"):
        World(tmp_path, worker={"usage_time_zone": "Mars/Base"})


def test_fourteen_months_are_kept(born: World) -> None:
    for month in ("2026-01", "2025-12", "2027-03"):
        born.store.change("INSERT INTO usage (service, month, booked_at) VALUES (1, ?, 0)", month)
    worker.prune(born.context)
    assert list(sums(born)) == ["2026-01", "2027-03"]


# -- whose traffic ---------------------------------------------------------------------------------------
def test_all_traffic_of_a_created_server_counts_and_none_that_an_older_machine_left_under_its_id(world: World) -> None:
    sample(world, 50 * GB)  # a foreign machine had the id
    world.order("create")
    world.run()
    sample(world, 2 * GB, uptime=50)
    assert told(world)["bandwidth_in"] == 2.0


@pytest.mark.parametrize("known", [True, False])
def test_what_an_adopted_machine_did_before_is_not_counted(world: World, known: bool) -> None:
    world.clock.time = moment("2027-03-10T12:00:00")
    world.cluster.add_vm(20500, "pve1", smbios1="uuid=00000000-0000-0000-0000-0000000000aa").rates = (1000, 0)
    world.clock.time += 10_000_000
    if known:
        status.refresh("pve1", world.drivers["pve1"], world.store)
    machine = world.drivers["pve1"].inspect("20500")
    services.adopt("main", 77, 7, "old", of_plan(world.config.plans["kvm-s"]), machine, world.store, world.config)
    world.clock.time += HOUR + 1
    status.refresh("pve1", world.drivers["pve1"], world.store)
    expected = 1000 * (HOUR + 1) if known else 0
    assert told(world, 77)["bandwidth_in"] * GB == pytest.approx(expected, abs=11_000)
    book(world)
    world.clock.time += HOUR
    status.refresh("pve1", world.drivers["pve1"], world.store)
    assert told(world, 77)["bandwidth_in"] * GB == pytest.approx(expected + 1000 * HOUR, abs=11_000)


def test_services_of_an_older_release_begin_at_the_update(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.order("create")
    world.run()
    world.store.change("DELETE FROM usage_marks")
    sample(world, 900 * GB)
    [update] = [s for s in FOURTH.split(";\n") if "INSERT INTO usage_marks" in s]
    world.store.change(update)
    mark = world.store.usage_mark(1)
    assert mark
    assert mark["base_in"] is None
    world.clock.time = max(world.clock.time, mark["booked_at"]) + 2 * HOUR
    sample(world, 905 * GB)
    book(world)
    assert told(world)["bandwidth_in"] == 0.0
    sample(world, 906 * GB)
    assert told(world)["bandwidth_in"] == 1.0
    world.close()


# -- the end ---------------------------------------------------------------------------------------------
def test_the_last_traffic_is_read_before_the_machine_goes_and_told_until_the_month_ends(born: World) -> None:
    born.cluster.vms[20000].rates = (1000, 3000)
    born.cluster.vms[20000].started = born.clock.time
    born.clock.time += 500
    born.order("terminate")
    born.run()
    assert born.store.operations_of(1)[0].state is State.DONE
    assert born.vms() == []
    assert sums(born)["2027-03"] == (500_000, 1_500_000)
    assert born.store.usage_mark(1) is None
    report = told(born)
    assert report["bandwidth_total"] == 0.002
    assert not report["stale"]
    assert report["ipv4"] == 0
    assert report["disk_mb"] == 0
    steps = [s["name"] for s in born.store.steps(born.store.operations_of(1)[0].id)]
    assert steps.index("traffic") < steps.index("off") < steps.index("destroy")
    born.clock.time = moment("2027-04-01T00:00:05")
    assert "1042" not in usage.report("pve1", "main", born.store, "UTC")["services"]


def test_backups_that_a_plan_keeps_are_not_metered_after_the_end(tmp_path: Path) -> None:
    plan = {**raw_config()["plans"]["kvm-s"], "keep_backups": True}
    world = World(tmp_path, plans={"kvm-s": plan})
    world.clock.time = moment("2027-03-10T12:00:00")
    world.order("create")
    world.run()
    world.page("backups", "take")
    world.run()
    world.store.change("UPDATE backups SET size = ?", 10 * GB)
    book(world)
    usage.book_one(1, world.store, "UTC")
    world.clock.time += 10 * HOUR
    world.order("terminate")
    world.run()
    assert len(world.store.backups_of(1)) == 1
    at_the_end = told(world)["backup_gb"]
    assert at_the_end == pytest.approx(100 / (31 * 24), rel=0.01)
    world.clock.time += 50 * HOUR
    book(world)
    assert told(world)["backup_gb"] == at_the_end
    assert told(world)["stale"] is False
    world.close()


@pytest.mark.parametrize(
    "error",
    [
        Unreachable(detail="no route"),
        Waiting(60.0),
        NotFound("It is not there.", code="vm_absent"),
        Unknown(),
        KeyError("x"),
    ],
)
def test_a_terminate_does_not_wait_for_traffic_that_cannot_be_read(
    born: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sample(born, 4 * GB)

    def broken(ref: Any) -> Any:
        raise error

    monkeypatch.setattr(born.drivers["pve1"], "traffic", broken)
    born.order("terminate")
    born.run()
    last = born.store.operations_of(1)[0]
    assert last.state is State.DONE
    assert sums(born)["2027-03"] == (4 * GB, 0)
    assert told(born)["bandwidth_in"] == 4.0
    [step] = [s for s in born.store.steps(last.id) if s["name"] == "traffic"]
    assert "not read" in step["technical"] + step["message"]


def test_the_last_read_has_ten_seconds(born: World, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[float] = []
    plain = born.drivers["pve1"].traffic

    def watched(ref: Any) -> Any:
        left = time_left.get()
        allowed.append(left() if left else 1e9)
        return plain(ref)

    monkeypatch.setattr(born.drivers["pve1"], "traffic", watched)
    born.order("terminate")
    born.run()
    assert allowed == [10.0]
    assert time_left.get() is None


def test_a_stale_bulk_read_after_the_last_sample_doubles_nothing(born: World) -> None:
    sample(born, 100, 100)
    born.clock.time += 60
    born.store.note_traffic("pve1", "20000", 1000, 1000, born.clock.time - 10_065)
    born.clock.time += 5
    sample(born, 900, 900)  # older than what we saw
    assert told(born)["bandwidth_in"] * GB == 1000
    born.clock.time += COUNT_HOLDS
    sample(born, 1200, 1200)  # the terminate was cancelled: it lives on
    assert told(born)["bandwidth_in"] * GB == 1200


def test_generations_of_one_month_are_one_sum(born: World) -> None:
    sample(born, GB)
    born.order("terminate")
    born.run()
    born.order("create")
    born.run()
    vm_id = born.store.find_service("main", 1042).vm_id
    born.store.save_statuses("pve1", [VmStatus(vm_id, "running", "pve1", net_in=2 * GB, net_out=0, uptime=5)])
    assert told(born)["bandwidth_in"] == 3.0
    assert told(born)["ipv4"] == 1


def test_a_service_is_told_by_the_server_of_its_newest_generation(tmp_path: Path) -> None:
    raw = raw_config()
    two = {**raw["servers"], "pve2": {**raw["servers"]["pve1"], "vm_ids": "40000-49999"}}
    world = World(tmp_path, servers=two, plans={**raw["plans"], "kvm-2": {**raw["plans"]["kvm-s"], "server": "pve2"}})
    world.order("create")
    world.run()
    sample(world, GB)
    world.order("terminate")
    world.run()
    create_elsewhere(world)
    assert usage.report("pve1", "main", world.store, "UTC")["services"] == {}
    assert usage.report("pve2", "main", world.store, "UTC")["services"]["1042"]["bandwidth_in"] == pytest.approx(
        1.0, abs=0.001
    )
    world.close()


def test_redeploy_keeps_the_old_machines_traffic_and_counts_the_new_ones(born: World) -> None:
    sample(born, GB)
    born.order("redeploy")
    born.run()
    assert born.store.operations_of(1)[0].state is State.DONE
    vm_id = born.store.service(1).vm_id
    born.store.save_statuses("pve1", [VmStatus(vm_id, "running", "pve1", net_in=GB // 2, net_out=0, uptime=5)])
    assert vm_id != "20000"
    assert told(born)["bandwidth_in"] == 1.5


def test_killed_at_every_border_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """A worker dies before each border of create, redeploy and terminate; the sum is the same."""
    world = World(tmp_path)
    branches, names = Branches(world, tmp_path), []  # type: tuple[Branches, list[str]]

    def border(name: str) -> None:
        names.append(name)
        if branches.branch((len(names), name)):
            raise Killed

    def play() -> None:
        for verb, sent in (("create", 4 * GB), ("redeploy", 2 * GB), ("terminate", 0)):
            world.order(verb)
            try:
                world.run()
            except Killed:
                world.restart()
                world.run()
            assert world.store.operations_of(1)[0].state is State.DONE, verb
            for vm in world.cluster.vms.values():
                vm.rates = (0, 0)
            world.clock.time += COUNT_HOLDS
            if sent:
                row = VmStatus(world.store.service(1).vm_id, "running", "pve1", net_in=sent, net_out=1, uptime=5000)
                world.store.save_statuses("pve1", [row])
        assert sum(i for i, _ in sums(world).values()) == 6 * GB
        assert world.store.usage_mark(1) is None

    world.border = border
    branches.grow(play)
    assert len(branches.ends) == len(names) > 25
    world.close()
