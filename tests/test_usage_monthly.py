"""Usage of a server whose provider tells the calendar month's traffic, with nulls, once an hour, gone with the
month."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge import worker
from bridge.metering import status, usage
from bridge.model import State
from drivers.hetzner import convert
from tests import stores
from tests.hcloud.project import Fault
from tests.test_hetzner import Cloud, one

GB = 10**9
HOUR = 3600.0


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def born(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path)
    made.clock.time = moment("2027-01-20T10:30:00")
    made.order("create")
    made.run()
    one(made).rates = (1_000_000, 2_000_000)
    yield made
    made.close()


def look(world: Cloud) -> None:
    assert status.refresh("pve1", world.drivers["pve1"], world.store)


def until(world: Cloud, at: str) -> None:
    """Time passes as in a worker: a bulk read every ten minutes, the booking looked at."""
    end = moment(at)
    while world.clock.time < end:
        world.clock.time = min(end, world.clock.time + 600)
        status.refresh("pve1", world.drivers["pve1"], world.store)
        worker.book(world.context)


def sums(world: Cloud) -> dict[str, float]:
    return {r["month"]: r["net_in"] / GB for r in stores.months(world.store, 1)}


def told(world: Cloud) -> dict[str, float]:
    tenant: dict[str, float] = usage.report("pve1", "main", world.store, "UTC")["services"]["1042"]
    return tenant


def test_null_is_not_zero_and_not_current(born: Cloud) -> None:
    world = born
    one(world).ingoing = one(world).outgoing = None
    one(world).told_at = world.clock.time + 10 * HOUR
    world.clock.time += 61
    look(world)
    assert told(world)["stale"]
    assert told(world)["bandwidth_in"] == 0.0
    assert told(world)["ipv4"] == 1
    assert told(world)["ipv6"] == 1
    one(world).ingoing, one(world).outgoing = 5 * GB, GB
    world.clock.time += 61
    look(world)
    assert not told(world)["stale"]
    assert told(world)["bandwidth_in"] == 5.0
    one(world).ingoing = one(world).outgoing = None  # null again says nothing
    world.clock.time += 61
    look(world)
    assert told(world)["bandwidth_in"] == 5.0


def test_the_month_begins_anew_and_nothing_is_lost_but_the_last_hour(born: Cloud) -> None:
    until(born, "2027-02-03T12:00:00")
    totals = sums(born)
    seconds = {
        "2027-01": moment("2027-02-01") - moment("2027-01-20T11:00:00"),
        "2027-02": moment("2027-02-03T11:00:00") - moment("2027-02-01"),
    }
    for month, expected in seconds.items():
        assert expected / 1000 - 2 * 3.6 <= totals[month] <= expected / 1000 + 3.6, (month, totals)
    assert told(born)["bandwidth_out"] == pytest.approx(2 * told(born)["bandwidth_in"])


def test_a_gap_over_the_begin_of_a_month_doubles_nothing(born: Cloud) -> None:
    until(born, "2027-01-31T20:00:00")
    before = sum(sums(born).values())
    born.clock.time = moment("2027-02-02T10:30:00")  # nobody read for 38 hours
    look(born)
    usage.book_one(1, born.store, "UTC")
    assert sum(sums(born).values()) == pytest.approx(before + (34 * HOUR / 1000), abs=4)


def test_a_corrected_number_is_no_new_month(born: Cloud) -> None:
    until(born, "2027-01-25T10:30:00")
    before = told(born)["bandwidth_in"]
    one(born).ingoing -= 1_000_000
    born.clock.time += 61
    look(born)
    assert told(born)["bandwidth_in"] == pytest.approx(before)
    one(born).ingoing += 3_000_000
    born.clock.time += 61
    look(born)
    assert told(born)["bandwidth_in"] == pytest.approx(before + 0.002)


def test_a_number_that_did_not_move_over_a_gap_is_not_counted_again(born: Cloud) -> None:
    until(born, "2027-01-31T20:00:00")
    before, server = told(born)["bandwidth_in"], one(born)
    born.clock.time, server.told_at = moment("2027-02-01T09:00:00"), moment("2027-02-01T09:00:00")
    look(born)
    usage.book_one(1, born.store, "UTC")
    assert sum(sums(born).values()) == pytest.approx(before)


def test_when_a_count_began(tmp_path: Path) -> None:
    at = moment("2027-02-01T00:00:00")
    assert convert.traffic_since(at + 5 * HOUR) == moment("2027-01-01")
    assert convert.traffic_by(at + 5 * HOUR) == 0.0
    assert convert.traffic_since(at + 7 * HOUR) == at
    assert convert.traffic_by(at + 7 * HOUR) == at + 6 * HOUR


def test_the_last_traffic_at_terminate(born: Cloud) -> None:
    until(born, "2027-01-21T10:30:00")
    born.clock.time = moment("2027-01-21T15:10:00")
    born.order("terminate")
    born.run()
    assert born.store.operations_of(1)[0].state is State.DONE
    assert born.cloud.servers == {}
    assert sums(born)["2027-01"] == pytest.approx(
        (moment("2027-01-21T15:00:00") - moment("2027-01-20T11:00:00")) / 1000, abs=4
    )
    assert not told(born)["stale"]
    assert born.store.usage_mark(1) is None


def test_a_terminate_goes_on_when_the_traffic_cannot_be_read(born: Cloud) -> None:
    until(born, "2027-01-21T10:30:00")
    before = told(born)["bandwidth_in"]
    born.cloud.faults = [Fault("GET /servers/\\d+", kind, nth) for nth, kind in ((2, "server_error"),)]
    born.order("terminate")
    born.run()
    last = born.store.operations_of(1)[0]
    assert last.state is State.DONE
    assert told(born)["bandwidth_in"] == pytest.approx(before)
    [step] = [s for s in born.store.steps(last.id) if s["name"] == "traffic"]
    assert "not read" in step["message"] + step["technical"]


def test_floating_addresses_count_apart(tmp_path: Path) -> None:
    world = Cloud(tmp_path)
    world.order("create", configoption9="2", configoption10="1")
    world.run()
    tenant = told(world)
    assert (tenant["ipv4"], tenant["ipv6"], tenant["floating_ipv4"], tenant["floating_ipv6"]) == (1, 1, 2, 1)
    world.order("change_package", configoption9="1")
    world.run()
    tenant = told(world)
    assert (tenant["ipv4"], tenant["ipv6"], tenant["floating_ipv4"], tenant["floating_ipv6"]) == (1, 1, 1, 0)
    world.order("terminate")
    world.run()
    assert not any(told(world)[k] for k in ("ipv4", "ipv6", "floating_ipv4", "floating_ipv6"))
    world.close()


def test_snapshots_and_backups_have_sizes(tmp_path: Path) -> None:
    world = Cloud(tmp_path, snapshots=3, allow=["snapshots"])
    world.order("create")
    world.run()
    world.page("snapshots", "take")
    world.run()
    [row] = world.store.snapshots_of(1)
    assert row["size"] > 0
    assert told(world)["snapshots"] == 1
    usage.book_one(1, world.store, "UTC")
    world.clock.time += 100 * HOUR
    assert told(world)["snapshot_gb"] * GB == pytest.approx(row["size"] * 100 / (31 * 24), rel=1e-3)
    world.close()
