"""Copies of the store: taken while it is in use, put back with nothing given twice and nothing running on stale
knowledge."""

from __future__ import annotations

import resource
import sqlite3
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from bridge.errors import Refused
from bridge.metering import usage
from bridge.model import State, VmStatus
from bridge.store import Store, archive
from bridge.store.restored import Restored
from tests.configs import KEY
from tests.held import HeldClock
from tests.world import World

RANGES = {"pve1": [(20000, 29999)]}


def back(world: World, copy: Path, **options: Any) -> Restored:
    """Everything is stopped, the copy is put back, everything is started again."""
    world.store.close()
    put_back = archive.put_back(
        copy, str(world.path), KEY, {**RANGES, "cloud": []}, world.clock.now(), "aside", **options
    )
    world.store.migrate()
    world.restart()
    return put_back


def test_a_copy_holds_all_and_is_private(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.run()
    copy = tmp_path / "copy.db"
    size = archive.take(str(world.path), copy)
    assert size == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    held = archive.holdings(copy)
    assert (held.services, held.operations, held.open_operations, held.addresses, held.vm_ids) == (
        {"active": 1},
        1,
        0,
        1,
        {"pve1": 20001},
    )
    assert KEY.encode() not in copy.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_a_copy_never_replaces_a_file_unless_forced(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("mine")
    with pytest.raises(Refused, match="exists already"):
        archive.take(str(world.path), copy)
    assert copy.read_text() == "mine"
    archive.take(str(world.path), copy, force=True)
    assert archive.holdings(copy).services == {}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    for itself in (world.path, Path(f"{world.path}-wal")):
        with pytest.raises(Refused, match="is the store itself"):
            archive.take(str(world.path), itself, force=True)


def test_a_copy_is_whole_while_others_write(tmp_path: Path) -> None:
    path, done, counts = tmp_path / "vmbridge.db", threading.Event(), []
    store = Store(path, KEY, HeldClock())
    store.migrate()

    def write() -> None:
        n = 0
        while not done.is_set():
            with store.write():  # each pair belongs together
                store.change("INSERT INTO nonces VALUES ('a', ?, 0)", f"{n}")
                store.change("INSERT INTO nonces VALUES ('b', ?, 0)", f"{n}")
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(5):
            archive.take(str(path), tmp_path / f"copy{i}")
            with sqlite3.connect(tmp_path / f"copy{i}") as conn:
                counts.append(dict(conn.execute("SELECT key_id, count(*) FROM nonces GROUP BY 1").fetchall()))
            conn.close()
    finally:
        done.set()
        writer.join()
        store.close()
    assert all(c.get("a") == c.get("b") for c in counts)
    assert len(counts) == 5


def test_restore_goes_back_and_moves_the_present_store_aside(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.run()
    archive.take(str(world.path), tmp_path / "copy.db")
    world.order("suspend")
    world.run()
    put_back = back(world, tmp_path / "copy.db")
    assert put_back.moved_to == f"{world.path}.aside"
    assert put_back.replaced_readable
    assert put_back.skipped == 0
    assert world.store.service(1).desired == "active"
    aside = Store(put_back.moved_to, KEY, world.clock)
    assert aside.service(1).desired == "suspended"
    aside.close()
    assert [(s["desired"], s["here"]) for s in put_back.changed_services] == [("suspended", "active")]
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("who", ["holds", "reads"])
def test_restore_is_refused_while_the_store_is_in_use(world: World, tmp_path: Path, who: str) -> None:
    archive.take(str(world.path), tmp_path / "copy.db")
    world.store.close()
    user = Store(world.path, KEY, world.clock)
    user.hold() if who == "holds" else user.find_service("main", 1)
    with pytest.raises(Refused, match="is in use") as caught:
        archive.put_back(tmp_path / "copy.db", str(world.path), KEY, RANGES, 0, "aside")
    assert caught.value.code == "store_in_use"
    assert not Path(f"{world.path}.aside").exists()
    user.close()
    archive.put_back(tmp_path / "copy.db", str(world.path), KEY, RANGES, 0, "aside")


def test_nobody_opens_the_store_while_it_is_replaced(world: World) -> None:
    world.store.close()
    use = archive.Use(str(world.path))
    use.alone()
    with pytest.raises(Refused, match="is being restored"):
        world.store.find_service("main", 1)
    use.free()
    assert world.store.find_service("main", 1) is None


def damaged(copy: Path) -> None:
    raw = bytearray(copy.read_bytes())
    raw[8192:20480] = b"\xff" * 12288
    copy.write_bytes(raw)


def other_database(copy: Path) -> None:
    copy.unlink()
    with sqlite3.connect(copy) as conn:
        conn.execute("CREATE TABLE services (id INTEGER)")
    conn.close()


def newer(copy: Path) -> None:
    with sqlite3.connect(copy) as conn:
        conn.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('vmbridge', 'of_tomorrow', '')"
        )
    conn.close()


def other_key(copy: Path) -> None:
    with sqlite3.connect(copy) as conn:
        conn.execute("UPDATE facts SET value = ?", (Fernet(Fernet.generate_key()).encrypt(b"vmbridge").decode(),))
    conn.close()


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (damaged, ("damaged", "not_a_store")),
        (other_database, ("not_a_store",)),
        (newer, ("newer",)),
        (other_key, ("wrong_key",)),
        (lambda copy: copy.write_text("no database at all"), ("not_a_store",)),
        (lambda copy: copy.unlink(), ("no_copy",)),
    ],
)
def test_what_must_not_be_put_back_changes_nothing(
    world: World, tmp_path: Path, spoil: Any, codes: tuple[str, ...]
) -> None:
    world.order("create")
    world.run()
    copy = tmp_path / "copy.db"
    archive.take(str(world.path), copy)
    spoil(copy)
    world.store.close()
    before = world.path.read_bytes()
    with pytest.raises(Refused) as caught:
        archive.put_back(copy, str(world.path), KEY, RANGES, 0, "aside")
    assert caught.value.code in codes
    assert world.path.read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.endswith((".aside", ".new"))]


def test_a_lost_key_gives_up_what_is_sealed_and_nothing_else(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.store.emit("staff_notice", "main", None, "n", subject="s", text="t", reference="r")
    archive.take(str(world.path), tmp_path / "copy.db")
    world.store.close()
    new_key = Fernet.generate_key().decode()
    archive.put_back(tmp_path / "copy.db", str(world.path), new_key, RANGES, 0, "aside", without_key=True)
    store = Store(world.path, new_key, world.clock)
    assert store.key_fits()
    assert store.password(1) == ""
    assert store.events() == []
    assert store.service(1).vm_id == "20000"
    store.close()


def test_the_configured_key_is_checked(world: World) -> None:
    assert world.store.key_fits()
    stranger = Store(world.path, Fernet.generate_key().decode(), world.clock)
    assert not stranger.key_fits()
    stranger.close()


# -- nothing is given twice -------------------------------------------------------------------------
def test_vm_ids_given_since_the_copy_are_not_given_again(world: World, tmp_path: Path) -> None:
    world.order("create", 1)
    world.run()
    archive.take(str(world.path), tmp_path / "copy.db")
    for service in (2, 3):
        world.order("create", service)
    world.run()
    put_back = back(world, tmp_path / "copy.db")
    assert put_back.vm_ids == {"pve1": (20001, 20003)}
    world.order("create", 4)
    assert world.store.find_service("main", 4).vm_id == "20003"  # type: ignore[union-attr]


def test_addresses_given_since_the_copy_stay_out_of_use_until_adopted(world: World, tmp_path: Path) -> None:
    world.order("create", 1)
    world.run()
    archive.take(str(world.path), tmp_path / "copy.db")
    world.order("create", 2)
    world.run()
    put_back = back(world, tmp_path / "copy.db")
    assert put_back.kept_addresses == ["203.0.113.11"]
    assert [(s["service_id"], s["vm_id"], s["plan"]) for s in put_back.unknown_services] == [(2, "20001", "kvm-s")]
    assert world.order("create", 3).properties["Dedicated IP"] == "203.0.113.12"
    assert world.store.claim_address("203.0.113.11", "public-v4", 1, "extra")


@pytest.mark.parametrize("replaced", ["absent", "broken"])
def test_without_a_readable_store_ids_are_left_out(world: World, tmp_path: Path, replaced: str) -> None:
    world.order("create")
    world.run()
    archive.take(str(world.path), tmp_path / "copy.db")
    world.store.close()
    world.path.unlink() if replaced == "absent" else world.path.write_bytes(b"rubbish" * 1000)
    put_back = back(world, tmp_path / "copy.db")
    assert not put_back.replaced_readable
    assert put_back.skipped == 1000
    assert put_back.vm_ids == {"pve1": (20001, 21001)}
    assert bool(put_back.moved_to) == (replaced == "broken")
    if put_back.moved_to:
        assert Path(put_back.moved_to).read_bytes().startswith(b"rubbish")
    assert world.store.service(1).vm_id == "20000"


def test_ids_are_left_out_when_no_order_had_come_yet(world: World, tmp_path: Path) -> None:
    archive.take(str(world.path), tmp_path / "copy.db")
    assert back(world, tmp_path / "copy.db", skip=50).vm_ids == {"pve1": (0, 20050)}


def test_adopted_machines_elsewhere_do_not_use_up_the_range(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.run()
    world.store.update_service(1, vm_id="999999")
    archive.take(str(world.path), tmp_path / "copy.db")
    assert back(world, tmp_path / "copy.db").vm_ids == {"pve1": (20001, 20001)}
    world.store.update_service(1, vm_id="25000")
    archive.take(str(world.path), tmp_path / "copy2.db")
    world.store.close()
    put_back = archive.put_back(tmp_path / "copy2.db", str(world.path), KEY, RANGES, 0, "aside2", 7)
    assert put_back.vm_ids == {"pve1": (20001, 25008)}


# -- nothing runs by itself -------------------------------------------------------------------------
@pytest.mark.parametrize("newer", [False, True])
def test_open_operations_wait_for_a_person_and_then_go_on(world: World, tmp_path: Path, newer: bool) -> None:
    world.order("create")
    for _ in range(3):
        world.engine.tick()
    if newer:
        world.order("change_package", configoption4="4")
    archive.take(str(world.path), tmp_path / "copy.db")
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
    archive.take(str(world.path), tmp_path / "copy.db")
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
    archive.take(str(world.path), tmp_path / "copy.db")
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
    archive.take(str(world.path), tmp_path / "copy.db")
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
    archive.take(str(world.path), tmp_path / "copy.db")
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
    archive.take(str(world.path), tmp_path / "copy.db")
    world.store.close()
    for end in ("", "-wal", "-shm"):
        Path(f"{world.path}{end}").unlink(missing_ok=True)
    world.clock.time = datetime(2027, 4, 11, tzinfo=UTC).timestamp()
    archive.put_back(tmp_path / "copy.db", str(world.path), KEY, RANGES, world.clock.now(), "aside")
    world.restart()
    whmcs.at("2027-04-12T12:00", 111)
    assert whmcs.months == {"2027-03": 1.0, "2027-04": 110.0}


def test_leases_are_free_and_nonces_are_kept(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.store.claim("1-a", 30, [], ["create"])
    world.store.use_nonce("main-1", "before")
    archive.take(str(world.path), tmp_path / "copy.db")
    world.store.use_nonce("main-1", "after")
    back(world, tmp_path / "copy.db")
    assert world.store.row("SELECT owner, lease_until FROM operations") == {"owner": "", "lease_until": 0.0}
    assert not world.store.use_nonce("main-1", "before")
    assert not world.store.use_nonce("main-1", "after")


def test_the_same_copy_twice_still_gives_no_address_twice(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "twice.db"
    archive.take(str(world.path), copy)
    given = world.order("create", 40).properties["Dedicated IP"]
    world.run()
    for _ in range(2):
        put_back = back(world, copy)
        assert given in put_back.kept_addresses
        Path(f"{world.path}.aside").unlink()
    assert world.order("create", 41).properties["Dedicated IP"] != given


def test_a_copy_that_cannot_be_written_says_so_of_the_copy(world: World, tmp_path: Path) -> None:
    """Not of the store, whose disk may have room."""
    with pytest.raises(Refused, match=r"/none/copy.db cannot be written: No such file or directory"):
        archive.take(str(world.path), tmp_path / "none/copy.db")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, hard))
    try:
        with pytest.raises(Refused, match=r"copy.db could not be written: look at its disk"):
            archive.take(str(world.path), tmp_path / "copy.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [f for f in tmp_path.iterdir() if "copy" in f.name]
