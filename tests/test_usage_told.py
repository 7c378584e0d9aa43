"""What WHMCS's records end up with: one record a month, overwritten at every collection, and collections that come late
or never."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Refused
from bridge.metering import usage
from bridge.model import VmStatus
from tests import stores
from tests.configs import raw_config
from tests.test_usage import GB, HOUR, create_elsewhere, moment, post
from tests.test_usage_counters import STEPS, ZONE, Books
from tests.world import World

SUMS = ("bandwidth_in", "bandwidth_out", "bandwidth_total", "snapshot_gb", "backup_gb")


class Records:
    """WHMCS's side: what it keeps of each month for a service."""

    def __init__(self, world: World, service: int = 1042) -> None:
        self.world, self.service = world, service
        self.months: dict[str, dict[str, float]] = {}

    def collect(self, server: str = "pve1", **more: Any) -> dict[str, Any] | None:
        report = usage.report(server, "main", self.world.store, "UTC", billed=True, **more)
        used: dict[str, Any] | None = report["services"].get(str(self.service))
        if used and not used["stale"]:
            self.months[report["month"]["name"]] = {name: used[name] for name in SUMS}
        return used

    def of(self, name: str = "bandwidth_in") -> dict[str, float]:
        return {month: round(kept[name], 6) for month, kept in self.months.items()}


def sample(world: World, gigabytes: float, vm_id: str = "20000", out: float = 0) -> None:
    world.store.save_statuses(
        "pve1",
        [VmStatus(vm_id, "running", "pve1", uptime=10_000, net_in=round(gigabytes * GB), net_out=round(out * GB))],
    )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One running server on the tenth of a month, and WHMCS has collected once."""
    made = World(tmp_path)
    made.clock.time = moment("2027-03-10T12:00:00")
    made.order("create")
    made.run()
    made.cluster.vms[20000].rates = (0, 0)
    sample(made, 1)
    Records(made).collect()
    yield made
    made.close()


def at(world: World, text: str) -> None:
    world.clock.time = moment(text)


def test_what_the_last_collection_of_a_month_missed_is_in_the_next_months_record(world: World) -> None:
    whmcs = Records(world)
    at(world, "2027-03-31T23:50:00")
    sample(world, 5, out=2)
    whmcs.collect()
    at(world, "2027-03-31T23:59:50")
    sample(world, 7, out=3)
    at(world, "2027-04-01T00:05:00")
    sample(world, 8, out=3)
    whmcs.collect()
    at(world, "2027-04-01T00:10:00")
    sample(world, 9, out=3)
    whmcs.collect()
    whmcs.collect()
    assert whmcs.of() == {"2027-03": 5.0, "2027-04": 4.0}
    assert whmcs.of("bandwidth_out") == {
        "2027-03": 2.0,
        "2027-04": 1.0,
    }
    assert whmcs.of("bandwidth_total") == {"2027-03": 7.0, "2027-04": 5.0}
    plain = usage.report("pve1", "main", world.store, "UTC")["services"]["1042"]  # for the disk and bandwidth columns
    assert (plain["bandwidth_in"], plain["bandwidth_mb"]) == (
        1.0,
        1000,
    )  # the count is seen at 00:05 first: it is April's
    at(world, "2027-05-01T00:05:00")
    sample(world, 9, out=3)
    whmcs.collect()
    assert whmcs.of() == {"2027-03": 5.0, "2027-04": 4.0, "2027-05": 0.0}


def test_a_month_that_was_never_collected_is_not_lost(world: World) -> None:
    whmcs = Records(world)
    for text, count in (("2027-03-31T12:00:00", 5.0), ("2027-04-20T12:00:00", 50.0), ("2027-05-20T12:00:00", 70.0)):
        at(world, text)
        sample(world, count)
        usage.book(world.store, "UTC")
    at(world, "2027-06-02T12:00:00")
    sample(world, 71)
    whmcs.collect()
    assert whmcs.of() == {"2027-06": 70.0}  # 1 was told in March


def test_what_was_used_before_whmcs_ever_collected_is_not_its_concern(tmp_path: Path) -> None:
    world = World(tmp_path)
    at(world, "2027-03-10T12:00:00")
    world.order("create")
    world.run()
    world.cluster.vms[20000].rates = (0, 0)
    sample(world, 100)
    at(world, "2027-04-02T12:00:00")
    sample(world, 103)
    usage.book(world.store, "UTC")
    sample(world, 104)
    whmcs = Records(world)
    whmcs.collect()
    assert whmcs.of() == {"2027-04": 1.0}
    world.close()


def test_a_server_made_after_the_last_collection(world: World) -> None:
    at(world, "2027-03-31T23:00:00")
    world.order("create", 1043)
    world.run()
    new = world.store.find_service("main", 1043)
    assert new
    sample(world, 6, new.vm_id)
    usage.book_one(new.id, world.store, "UTC")
    at(world, "2027-04-01T01:00:00")
    sample(world, 7, new.vm_id)
    whmcs = Records(world, 1043)
    whmcs.collect()
    assert whmcs.of() == {"2027-04": 7.0}


def test_only_what_goes_into_the_records_counts_as_told(world: World) -> None:
    at(world, "2027-03-31T23:00:00")
    sample(world, 3)
    assert post(world).json["services"]["1042"]["bandwidth_in"] == 3.0  # UsageUpdate
    at(world, "2027-04-01T01:00:00")
    sample(world, 3)
    whmcs = Records(world)
    whmcs.collect()
    assert whmcs.of() == {"2027-04": 2.0}
    assert post(world, body={"billed": True}).json["services"]["1042"]["bandwidth_in"] == 2.0
    refused = post(world, body={"billed": "yes"})
    assert refused.status_code == 400
    assert "billed: must be true or false" in refused.json["error"]["message"]


def test_a_refresh_of_one_service_counts_as_told(world: World) -> None:
    at(world, "2027-03-31T23:00:00")
    sample(world, 3)
    whmcs = Records(world)
    whmcs.collect(service_id=1042)
    at(world, "2027-04-01T01:00:00")
    sample(world, 4)
    whmcs.collect(service_id=1042)
    assert whmcs.of() == {"2027-03": 3.0, "2027-04": 1.0}


def test_old_numbers_are_not_told_and_so_not_lost(world: World) -> None:
    whmcs = Records(world)
    at(world, "2027-03-31T18:00:00")
    sample(world, 3)
    at(world, "2027-03-31T22:00:00")  # nothing was read for four hours
    used = whmcs.collect()
    assert used
    assert used["stale"]
    assert used["collected_at"] == moment("2027-03-31T18:00:00")
    at(world, "2027-04-01T01:00:00")
    whmcs.collect()
    assert whmcs.months == {}
    sample(world, 4)
    whmcs.collect()
    assert whmcs.of() == {"2027-04": 3.0}


def test_a_number_of_a_new_month_never_bears_a_time_of_the_old_one(world: World) -> None:
    at(world, "2027-03-31T23:30:00")
    sample(world, 3)
    at(world, "2027-04-01T00:20:00")
    used = Records(world).collect()
    assert used
    assert not used["stale"]
    assert used["collected_at"] == moment("2027-04-01T00:00:00")


def test_what_a_terminated_server_used_last_is_told_once_more(world: World) -> None:
    whmcs = Records(world)
    at(world, "2027-03-31T23:00:00")
    sample(world, 3)
    whmcs.collect()
    sample(world, 8)
    world.order("terminate")
    world.run()
    at(world, "2027-04-01T01:00:00")
    used = whmcs.collect()
    assert used
    assert used["collected_at"] == moment("2027-04-01T00:00:00")
    assert used["ipv4"] == 0
    assert whmcs.of() == {"2027-03": 3.0, "2027-04": pytest.approx(5.0, abs=0.001)}
    at(world, "2027-05-01T01:00:00")
    assert whmcs.collect() is None
    plain = usage.report("pve1", "main", world.store, "UTC")["services"]
    assert "1042" not in plain


def test_sizes_are_carried_as_gb_months_of_the_month_they_were_kept_in(world: World) -> None:
    world.store.change(
        "INSERT INTO backups (service, archive, made_at, size, state) VALUES (1, 'a', 0, ?, 'ready')", 31 * GB
    )
    at(world, "2027-03-30T00:00:00")
    usage.book(world.store, "UTC")
    sample(world, 1)
    whmcs = Records(world)
    at(world, "2027-03-31T00:00:00")
    sample(world, 1)
    whmcs.collect()
    at(world, "2027-04-01T12:00:00")
    sample(world, 1)
    whmcs.collect()
    assert whmcs.of("backup_gb") == {"2027-03": 1.0, "2027-04": pytest.approx(1.0 + 31 / 60, abs=1e-6)}


def test_a_service_that_moves_to_another_server_takes_along_what_is_left(tmp_path: Path) -> None:
    raw = raw_config()
    two = {**raw["servers"], "pve2": {**raw["servers"]["pve1"], "vm_ids": "40000-49999"}}
    world = World(tmp_path, servers=two, plans={**raw["plans"], "kvm-2": {**raw["plans"]["kvm-s"], "server": "pve2"}})
    whmcs = Records(world)
    at(world, "2027-03-10T12:00:00")
    world.order("create")
    world.run()
    world.cluster.vms[20000].rates = (0, 0)
    sample(world, 2)
    whmcs.collect()
    sample(world, 6)
    at(world, "2027-04-01T01:00:00")
    sample(world, 6)
    whmcs.collect()  # 4 of March
    world.order("terminate")
    world.run()
    create_elsewhere(world)
    world.store.save_statuses("pve2", [VmStatus("40000", "running", "pve1", uptime=9, net_in=GB, net_out=0)])
    assert whmcs.collect() is None
    assert whmcs.collect("pve2")
    assert whmcs.of() == {"2027-03": 2.0, "2027-04": pytest.approx(5.0, abs=0.001)}
    world.close()


def test_each_installation_is_told_its_own(world: World) -> None:
    at(world, "2027-03-31T23:00:00")
    sample(world, 3)
    usage.report("pve1", "other", world.store, "UTC", billed=True)
    at(world, "2027-04-01T01:00:00")
    sample(world, 3)
    usage.report("pve1", "other", world.store, "UTC", billed=True)
    whmcs = Records(world)
    whmcs.collect()
    assert whmcs.of() == {"2027-04": 2.0}


def test_a_clock_that_goes_back_over_the_border_bills_nothing_twice(world: World) -> None:
    whmcs = Records(world)
    for text, count in (
        ("2027-03-31T23:50:00", 5),
        ("2027-04-01T00:00:03", 7),
        ("2027-03-31T23:59:58", 8),
        ("2027-04-01T01:00:00", 9),
    ):
        at(world, text)
        sample(world, count)
        whmcs.collect()
    at(world, "2027-05-01T01:00:00")
    sample(world, 9)
    whmcs.collect()
    assert whmcs.of() == {"2027-03": 5.0, "2027-04": 4.0, "2027-05": 0.0}


def test_a_zone_that_is_changed_at_the_border_bills_nothing_twice(world: World) -> None:
    """What is used in the hours that are two months' by the two zones is not billed."""
    months: dict[str, float] = {}
    for zone, text, count in (
        ("Asia/Tokyo", "2027-03-31T14:00:00", 5),
        ("Asia/Tokyo", "2027-03-31T17:00:00", 7),
        ("UTC", "2027-03-31T18:00:00", 8),
        ("UTC", "2027-04-01T01:00:00", 10),
        ("UTC", "2027-05-01T12:00:00", 11),
    ):
        at(world, text)
        sample(world, count)
        usage.book(world.store, zone)
        report = usage.report("pve1", "main", world.store, zone, billed=True)
        if not report["services"]["1042"]["stale"]:
            months[report["month"]["name"]] = report["services"]["1042"]["bandwidth_in"]
    assert months == pytest.approx({"2027-03": 5.0, "2027-04": 2.0, "2027-05": 1.0})


def test_a_clock_that_was_ahead_for_a_while(world: World) -> None:
    whmcs = Records(world)
    for text, count in (
        ("2027-03-31T10:00:00", 5),
        ("2029-01-01T10:00:00", 5),
        ("2027-03-31T10:05:00", 6),
        ("2027-03-31T23:05:00", 7),
        ("2027-04-01T00:05:00", 10),
        ("2027-04-30T23:00:00", 20),
        ("2027-05-01T01:00:00", 30),
    ):
        at(world, text)
        world.store.stamps_ahead()
        usage.put_right(world.store, "UTC")
        sample(world, count)
        usage.book(world.store, "UTC")
        whmcs.collect()
    assert whmcs.of() == {"2027-03": 7.0, "2029-01": 0.0, "2027-04": 13.0, "2027-05": 10.0}


def test_two_collections_that_meet_at_midnight(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has read March when the other settles April."""
    first, second = Records(world), Records(world)
    at(world, "2027-03-31T23:00:00")
    sample(world, 5)
    first.collect()
    at(world, "2027-03-31T23:59:59")
    sample(world, 9)
    plain = world.store.note_told

    def late(*args: Any) -> bool:
        monkeypatch.setattr(world.store, "note_told", plain)
        at(world, "2027-04-01T00:00:01")
        sample(world, 9)
        second.collect()
        return plain(*args)

    monkeypatch.setattr(world.store, "note_told", late)
    first.collect()
    assert first.of() == {"2027-03": 5.0, "2027-04": 4.0}
    assert second.of() == {"2027-04": 4.0}
    monkeypatch.setattr(world.store, "note_told", lambda *args: False)
    with pytest.raises(Refused, match="being settled"):
        first.collect()


def test_an_installation_that_had_no_servers_when_it_first_collected(tmp_path: Path) -> None:
    world = World(tmp_path)
    at(world, "2027-03-10T12:00:00")
    whmcs = Records(world)
    assert whmcs.collect() is None
    at(world, "2027-03-31T12:00:00")
    world.order("create")
    world.run()
    world.cluster.vms[20000].rates = (0, 0)
    sample(world, 5)
    at(world, "2027-04-01T00:10:00")
    sample(world, 6)
    whmcs.collect()
    assert whmcs.of() == {"2027-04": 6.0}
    at(world, "2027-04-02T00:10:00")
    calls: list[str] = []
    world.store.unsettled = lambda *a: calls.append("asked") or []  # type: ignore[method-assign, func-returns-value]
    sample(world, 7)
    whmcs.collect()
    assert whmcs.of() == {"2027-04": 7.0}
    assert calls == []
    world.close()


EVENTS = st.sampled_from(["send", "send", "collect", "refresh", "book", "bridge", "size"])


@STEPS
@given(st.lists(st.tuples(EVENTS, st.floats(0.0, 20 * 86400.0), st.integers(0, 10**13)), max_size=40))
def test_all_records_together_are_all_that_was_used(events: list[tuple[str, float, int]]) -> None:
    """Whenever WHMCS collects: the records of all months add up to what was used since the month of the first
    collection."""
    with Books(datetime(2026, 12, 29, 5, tzinfo=UTC).timestamp()) as books:
        books.store.change(
            "INSERT INTO backups (service, archive, made_at, size, state) VALUES (1, 'a', 0, 0, 'ready')"
        )
        count, uptime, first = 0, 1000.0, ""
        records: dict[str, dict[str, float]] = {}
        for kind, seconds, value in [*events, ("send", HOUR, 5), ("collect", 0.0, 0)]:
            books.clock.time += seconds
            uptime += seconds
            if kind == "send":
                count += value
                books.read(VmStatus("20000", "running", "pve1", uptime=int(uptime), net_in=count, net_out=count // 2))
            elif kind == "bridge":
                books.restart()
            elif kind == "size":
                books.store.change("UPDATE backups SET size = ?", value)
            elif kind == "book":
                usage.book(books.store, ZONE)
            else:
                report = usage.report("pve1", "main", books.store, ZONE, 1 if kind == "refresh" else None, billed=True)
                first = first or report["month"]["name"]
                if not report["services"]["1"]["stale"]:
                    records[report["month"]["name"]] = report["services"]["1"]
        usage.book_one(books.service.id, books.store, ZONE)
        rows = [r for r in stores.months(books.store, books.service.id) if r["month"] >= first]
        assert sum(r["bandwidth_in"] for r in records.values()) * GB == pytest.approx(
            sum(r["net_in"] for r in rows), abs=1
        )
        assert sum(r["bandwidth_out"] for r in records.values()) * GB == pytest.approx(
            sum(r["net_out"] for r in rows), abs=1
        )
        kept = 0.0
        for row in rows:
            month = usage.month_named(row["month"], ZONE)
            kept += row["backup_byte_s"] / (month.end - month.begin) / GB
        assert sum(r["backup_gb"] for r in records.values()) == pytest.approx(
            kept, abs=1e-3
        )  # the last booking ends a moment later
