"""What a store that was put back from a copy does not do by itself, on both engines: nothing is given twice and nothing
runs on stale knowledge."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.metering import usage
from bridge.model import State, VmStatus
from bridge.store.holdings import Restored
from tests import stores
from tests.configs import KEY
from tests.world import World

RANGES: dict[str, list[tuple[int, int]]] = {"pve1": [(20000, 29999)], "cloud": []}


def take(world: World, copy: Path) -> None:
    assert world.store.database.take(copy, False)[0] == copy.stat().st_size


def back(world: World, copy: Path, skip: int | None = None, stamp: str = "aside") -> Restored:
    """Everything is stopped, the copy is put back, everything is started again."""
    world.store.close()
    put_back = world.store.database.put_back(copy, KEY, RANGES, world.clock.now(), stamp, skip, False)
    world.store.migrate()
    world.restart()
    return put_back


def lose(world: World) -> None:
    """The store is not there any more."""
    world.store.close()
    if isinstance(world.store.database, stores.SQLite):
        for end in ("", "-wal", "-shm"):
            Path(f"{world.path}{end}").unlink(missing_ok=True)
    else:
        with world.store.write() as db:
            db.conn.execute("DROP SCHEMA public CASCADE")
            db.conn.execute("CREATE SCHEMA public")
        world.store.close()


# -- nothing is given twice -------------------------------------------------------------------------
def test_vm_ids_given_since_the_copy_are_not_given_again(world: World, tmp_path: Path) -> None:
    world.order("create", 1)
    world.run()
    take(world, tmp_path / "copy.db")
    for service in (2, 3):
        world.order("create", service)
    world.run()
    put_back = back(world, tmp_path / "copy.db")
    assert put_back.vm_ids == {"pve1": (20001, 20003)}
    world.order("create", 4)
    assert world.store.find_service("main", 4).vm_id == "20003"


def test_addresses_given_since_the_copy_stay_out_of_use_until_adopted(world: World, tmp_path: Path) -> None:
    world.order("create", 1)
    world.run()
    take(world, tmp_path / "copy.db")
    world.order("create", 2)
    world.run()
    put_back = back(world, tmp_path / "copy.db")
    assert put_back.kept_addresses == ["203.0.113.11"]
    assert [(s["service_id"], s["vm_id"], s["plan"]) for s in put_back.unknown_services] == [(2, "20001", "kvm-s")]
    assert world.order("create", 3).properties["Dedicated IP"] == "203.0.113.12"
    assert world.store.claim_address("203.0.113.11", "public-v4", 1, "extra")


@pytest.mark.parametrize("replaced", ["absent", "broken"])
def test_without_a_readable_store_ids_are_left_out(world: World, tmp_path: Path, replaced: str, engine: str) -> None:
    if replaced == "broken" and engine == stores.POSTGRESQL:
        pytest.skip("what cannot be read of a database cannot be moved aside either")
    world.order("create")
    world.run()
    take(world, tmp_path / "copy.db")
    lose(world) if replaced == "absent" else world.path.write_bytes(b"rubbish" * 1000)
    put_back = back(world, tmp_path / "copy.db")
    assert not put_back.replaced_readable
    assert put_back.skipped == 1000
    assert put_back.vm_ids == {"pve1": (20001, 21001)}
    assert bool(put_back.moved_to) == (replaced == "broken")
    if put_back.moved_to:
        assert Path(put_back.moved_to).read_bytes().startswith(b"rubbish")
    assert world.store.service(1).vm_id == "20000"


def test_ids_are_left_out_when_no_order_had_come_yet(world: World, tmp_path: Path) -> None:
    take(world, tmp_path / "copy.db")
    assert back(world, tmp_path / "copy.db", 50).vm_ids == {"pve1": (0, 20050)}


def test_adopted_machines_elsewhere_do_not_use_up_the_range(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.run()
    world.store.update_service(1, vm_id="999999")
    take(world, tmp_path / "copy.db")
    assert back(world, tmp_path / "copy.db").vm_ids == {"pve1": (20001, 20001)}
    world.store.update_service(1, vm_id="25000")
    take(world, tmp_path / "copy2.db")
    put_back = back(world, tmp_path / "copy2.db", 7, "aside2")
    assert put_back.vm_ids == {"pve1": (20001, 25008)}


# -- nothing runs by itself -------------------------------------------------------------------------
@pytest.mark.parametrize("newer", [False, True])
def test_open_operations_wait_for_a_person_and_then_go_on(world: World, tmp_path: Path, newer: bool) -> None:
    world.order("create")
    for _ in range(3):
        world.engine.tick()
    if newer:
        world.order("change_package", configoption4="4")
    take(world, tmp_path / "copy.db")
    calls = len(world.cluster.mutations())
    put_back = back(world, tmp_path / "copy.db")
    assert [(o["kind"], o["state"], o["later"]) for o in put_back.held_operations] == [
        ("create", "running", "running"),
        ("change_package", "waiting", "waiting"),
    ][: 1 + newer]
    world.run(120)
    assert len(world.cluster.mutations()) == calls
    held = world.store.current_operation(1)
    assert held is not None
    assert held.state is State.STAFF
    assert held.error_code == "restored"
    verb = "cancel" if newer else "retry"
    assert f"then {verb}" in held.next_action
    world.order(verb)
    world.run()
    assert world.vms() == [20000]
    assert world.cluster.vms[20000].config["cores"] == ("4" if newer else "2")
    assert world.store.service(1).provisioned
    assert len([1 for m, p in world.cluster.mutations() if p.endswith("/clone")]) == 1


def test_an_operation_of_long_ago_whose_task_nobody_knows_any_more_goes_on(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.engine.tick()
    take(world, tmp_path / "copy.db")
    world.run()
    back(world, tmp_path / "copy.db")
    world.cluster.tasks.clear()
    world.order("retry")
    world.run()
    assert world.store.service(1).provisioned
    assert world.vms() == [20000]
    assert len([1 for m, p in world.cluster.mutations() if p.endswith("/clone")]) == 1


def test_mails_are_not_sent_twice(world: World, tmp_path: Path) -> None:
    for key in ("sent-since", "never-sent"):
        world.store.emit("staff_notice", "main", None, key, subject=key, text="t", reference="r")
    take(world, tmp_path / "copy.db")
    world.delivery.deliver_one()
    put_back = back(world, tmp_path / "copy.db")
    assert put_back.sent_since == 1
    assert [e["event"] for e in put_back.held_events] == ["staff_notice"]
    world.whmcs.sent.clear()
    assert not world.delivery.deliver_one()
    [held] = world.store.held_events()
    assert world.store.send_held(held["id"])
    assert world.delivery.deliver_one()
    assert [a[0] for name, a in world.whmcs.sent if name == "notify_admins"] == ["never-sent"]
    assert not world.store.send_held(held["id"])
    assert not world.store.drop_held(held["id"])


def test_a_dropped_event_is_never_sent(world: World, tmp_path: Path) -> None:
    world.store.emit("staff_notice", "main", None, "old", subject="s", text="t", reference="r")
    take(world, tmp_path / "copy.db")
    back(world, tmp_path / "copy.db")
    assert world.store.drop_held(world.store.held_events()[0]["id"])
    assert not world.delivery.deliver_one()
    assert not world.store.emit("staff_notice", "main", None, "old")
    assert world.whmcs.sent == []


class Collected:
    """What WHMCS's records have of one service's incoming traffic, in GB."""

    def __init__(self, world: World) -> None:
        self.world, self.months = world, {}  # type: tuple[World, dict[str, float]]
        self.at("2027-03-10T12:00", 0)
        world.order("create")
        world.run()
        world.cluster.vms[20000].rates = (0, 0)

    def at(self, text: str, gigabytes: int, collect: bool = True) -> None:
        store = self.world.store
        self.world.clock.time = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        store.save_statuses(
            "pve1", [VmStatus("20000", "running", "pve1", uptime=10_000, net_in=gigabytes * 10**9, net_out=0)]
        )
        if collect and (report := usage.report("pve1", "main", store, "UTC", billed=True))["services"]:
            self.months[report["month"]["name"]] = round(report["services"]["1042"]["bandwidth_in"], 3)


@pytest.mark.parametrize(
    ("taken", "since", "expected"),
    [
        ("2027-03-20T12:00", [("2027-03-31T12:00", 30)], {"2027-03": 30.0, "2027-04": 61.0}),
        (
            "2027-03-30T12:00",
            [("2027-03-31T23:00", 10), ("2027-04-01T01:00", 11), ("2027-04-03T01:00", 30)],
            {"2027-03": 10.0, "2027-04": 81.0},
        ),
        ("2027-04-02T12:00", [("2027-04-03T01:00", 30)], {"2027-03": 5.0, "2027-04": 86.0}),
        ("2027-02-20T12:00", [("2027-03-31T23:00", 10), ("2027-04-03T01:00", 30)], {"2027-03": 10.0, "2027-04": 81.0}),
    ],
)
def test_after_a_restore_everything_is_billed_once(
    world: World, tmp_path: Path, taken: str, since: list[tuple[str, int]], expected: dict[str, float]
) -> None:
    whmcs = Collected(world)
    for text, count in (("2027-03-11T12:00", 5), ("2027-03-31T22:00", 5), ("2027-04-01T00:30", 6)):
        if text <= taken:
            whmcs.at(text, count)
    take(world, tmp_path / "copy.db")
    for text, count in since:
        whmcs.at(text, count)
    back(world, tmp_path / "copy.db")
    for text, count in (("2027-04-03T02:00", 31), ("2027-04-20T02:00", 91)):
        whmcs.at(text, count)
    assert whmcs.months == expected
    whmcs.at("2027-05-01T02:00", 92)
    assert sum(whmcs.months.values()) == pytest.approx(92)


def test_a_record_of_this_month_keeps_what_was_left_of_the_last(world: World, tmp_path: Path) -> None:
    """Also where the replaced store cannot be read."""
    whmcs = Collected(world)
    whmcs.at("2027-03-11T12:00", 1)
    whmcs.at("2027-03-31T12:00", 100, collect=False)
    usage.book(world.store, "UTC")
    whmcs.at("2027-04-10T12:00", 110)
    assert whmcs.months == {"2027-03": 1.0, "2027-04": 109.0}
    take(world, tmp_path / "copy.db")
    lose(world)
    world.clock.time = datetime(2027, 4, 11, tzinfo=UTC).timestamp()
    back(world, tmp_path / "copy.db")
    whmcs.at("2027-04-12T12:00", 111)
    assert whmcs.months == {"2027-03": 1.0, "2027-04": 110.0}


def test_leases_are_free_and_nonces_are_kept(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.store.claim("1-a", 30, ["create"])
    world.store.use_nonce("main-1", "before")
    take(world, tmp_path / "copy.db")
    world.store.use_nonce("main-1", "after")
    back(world, tmp_path / "copy.db")
    assert world.store.row("SELECT owner, lease_until FROM operations") == {"owner": "", "lease_until": 0.0}
    assert not world.store.use_nonce("main-1", "before")
    assert not world.store.use_nonce("main-1", "after")


def test_the_same_copy_twice_still_gives_no_address_twice(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "twice.db"
    take(world, copy)
    given = world.order("create", 40).properties["Dedicated IP"]
    world.run()
    for stamp in ("first", "second"):
        put_back = back(world, copy, None, stamp)
        assert given in put_back.kept_addresses
    assert world.order("create", 41).properties["Dedicated IP"] != given
