"""Snapshots, backups, restore, reinstall and passwords in process; the simulated cluster is the judge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge import customer, schedules
from bridge.errors import BadRequest, Forbidden, NotFound, Refused
from bridge.model import State
from tests.configs import raw_config
from tests.pve.cluster import Fault
from tests.world import World


def cared_for(path: Path) -> World:
    """One running server of two systems, which may become bigger."""
    raw = raw_config(web={"costly_per_hour": 100})
    raw["plans"]["kvm-s"] |= {"templates": ["debian-12", "ubuntu-24.04"]}
    raw["plans"]["kvm-l"] = {
        **raw["plans"]["kvm-s"],
        "cores": 4,
        "ram_mib": 8192,
        "disk_gib": 40,
        "additional_disk_gib": 10,
    }
    world = World(path, plans=raw["plans"], web=raw["web"])
    world.order("create")
    world.run()
    world.cluster.calls.clear()
    return world


@pytest.fixture
def born(tmp_path: Path) -> Iterator[World]:
    world = cared_for(tmp_path)
    yield world
    world.close()


def newest(world: World) -> Any:
    return world.store.operations_of(1)[0]


# -- snapshots ------------------------------------------------------------------------------------
def test_a_snapshot_is_taken_counted_and_removed(born: World) -> None:
    vm = born.cluster.vms[20000]
    born.page("snapshots", "take", description="before <b>upgrade</b>")
    assert len(born.store.snapshots_of(1)) == 1  # counts while it is made
    born.run()
    row = born.store.snapshots_of(1)[0]
    assert row["state"] == "ready"
    assert row["with_memory"]
    assert row["expires_at"] == row["taken_at"] + 86400
    assert vm.snapshots[row["name"]]["vmstate"]
    assert vm.snapshots[row["name"]]["description"] == "before <b>upgrade</b>"
    born.page("snapshots", "delete", name=row["name"])
    born.run()
    assert born.store.snapshots_of(1) == []
    assert vm.snapshots == {}


def test_the_quota_counts_running_creations(born: World) -> None:
    for _ in range(3):
        born.page("snapshots", "take")
        born.run()
    with pytest.raises(Refused, match="3 of 3 in use: remove one first"):
        born.page("snapshots", "take")
    assert newest(born).state is State.DONE


def test_rollback_keeps_package_identity_and_power(born: World) -> None:
    vm = born.cluster.vms[20000]
    vm.content["scsi0"] = "before"
    born.page("snapshots", "take")
    born.run()
    name = born.store.snapshots_of(1)[0]["name"]
    born.order("change_package", configoption1="kvm-l", configoption9="1")
    born.run()
    born.order("reboot")
    born.run()
    vm.content["scsi0"] = "after"
    uuids = born.store.service(1).uuids
    born.page("snapshots", "rollback", name=name)
    born.run()
    assert newest(born).state is State.DONE
    assert vm.content["scsi0"] == "before"
    assert vm.rolled_back == [name]
    assert vm.status == "running"
    assert f"uuid={uuids[0]}" in vm.config["smbios1"]
    assert vm.config["onboot"] == "1"
    assert (vm.pending.get("cores") or vm.config["cores"]) == "4"
    assert "tag=40" in vm.config["net0"]
    assert set(born.store.service(1).pending) == {"cores", "ram_mib"}  # it came back running: told, not done by itself
    assert vm.ipsets["ipfilter-net0"] == ["203.0.113.10", "203.0.113.11"]


@pytest.mark.parametrize("action", ["rollback", "restore"])
def test_going_back_after_a_downgrade_and_an_address_change(born: World, action: str) -> None:
    vm = born.cluster.vms[20000]
    born.order("change_package", configoption4="4", configoption9="2")
    born.run()
    born.page(*(("snapshots", "take") if action == "rollback" else ("backups", "take")))
    born.run()
    born.order("change_package", configoption4="1", configoption9="1", configoption8="50")
    born.run()
    if action == "rollback":
        born.page("snapshots", action, name=born.store.snapshots_of(1)[0]["name"])
    else:
        born.page("backups", action, backup=born.store.backups_of(1)[0]["id"])
    born.run()
    born.order("reboot")
    born.run()
    assert vm.config["cores"] == "1"
    assert "rate=5.96" in vm.config["net0"]
    assert vm.ipsets["ipfilter-net0"] == ["203.0.113.10", "203.0.113.11"]
    assert born.store.service(1).uuids[0] in vm.config["smbios1"]
    assert born.store.service(1).pending == ()


def test_a_stopped_machine_stays_stopped_after_rollback(born: World) -> None:
    born.order("stop")
    born.run()
    born.page("snapshots", "take")
    born.run()
    born.page("snapshots", "rollback", name=born.store.snapshots_of(1)[0]["name"])
    born.run()
    assert born.cluster.vms[20000].status == "stopped"


def test_expired_snapshots_go_by_themselves_and_foreign_ones_stay(born: World) -> None:
    vm = born.cluster.vms[20000]
    born.page("snapshots", "take")
    born.run()
    vm.snapshots["staffs-own"] = {**next(iter(vm.snapshots.values()))}
    customer.renew_mirror("pve1", born.drivers["pve1"], born.store)
    assert [r["foreign_one"] for r in born.store.snapshots_of(1, foreign=True)].count(1) == 1
    assert len(born.store.snapshots_of(1)) == 1
    born.clock.time += 86401
    assert customer.expire_snapshots(born.store) == 1
    born.run()
    assert list(vm.snapshots) == ["staffs-own"]
    assert born.store.snapshots_of(1) == []
    assert customer.expire_snapshots(born.store) == 0


@pytest.mark.parametrize("name", ["", "../x", "staffs-own", "current"])
def test_only_ones_own_snapshots_can_be_named(born: World, name: str) -> None:
    born.cluster.vms[20000].snapshots["staffs-own"] = {
        "time": 1,
        "description": "",
        "vmstate": False,
        "snapstate": "",
        "config": {},
        "content": {},
    }
    customer.renew_mirror("pve1", born.drivers["pve1"], born.store)
    for action in ("delete", "rollback"):
        with pytest.raises(NotFound):
            born.page("snapshots", action, name=name)


# -- backups --------------------------------------------------------------------------------------
def test_a_backup_is_made_listed_and_removed(born: World) -> None:
    operation = born.page("backups", "take", note="first")
    born.run()
    row = born.store.backups_of(1)[0]
    assert row["state"] == "ready"
    assert row["size"] == 3 * 1024**3
    assert row["note"] == "first"
    assert born.cluster.about[row["archive"]].notes == f"vmbridge {operation}"
    call = next(p for _, m, path, p in born.cluster.calls if path.endswith("/vzdump"))
    assert call["remove"] == "0"
    assert call["mode"] == "snapshot"
    born.page("backups", "delete", backup=row["id"])
    born.run()
    assert born.store.backups_of(1) == []
    assert not [v for v in born.cluster.volumes if ":backup/" in v]


def test_a_machine_that_moved_is_backed_up_where_it_is(born: World) -> None:
    vm = born.cluster.vms[20000]
    vm.node = "pve2" if vm.node == "pve1" else "pve1"
    born.page("backups", "take")
    born.run()
    assert born.store.backups_of(1)[0]["state"] == "ready"
    assert newest(born).state is State.DONE


def test_a_full_storage_is_told_and_nothing_is_left(born: World) -> None:
    born.cluster.storages["nfs-backup"].used = born.cluster.storages["nfs-backup"].total
    born.page("backups", "take")
    born.run()
    op = newest(born)
    assert op.state is State.FAILED
    assert op.error_code == "backup_failed"
    assert born.store.backups_of(1) == []
    assert [e["event"] for e in born.store.events()].count("backup_failed") == 1
    assert not born.cluster.vms[20000].lock


def test_one_backup_at_a_time_per_node(tmp_path: Path) -> None:
    world = World(tmp_path)
    for i in range(1, 4):
        world.order("create", i)
    world.run()
    for vm in [v for v in world.cluster.vms.values() if not v.template]:
        vm.node = "pve1"
    for i in range(1, 4):
        world.page("backups", "take", i)
    most = 0
    for _ in range(200):
        world.engine.tick()
        world.clock.time += 1
        most = max(
            most, len([t for t in world.cluster.tasks.values() if t.kind == "vzdump" and world.cluster.running(t)])
        )
    assert most == 1
    assert all(world.store.backups_of(i)[0]["state"] == "ready" for i in (1, 2, 3))
    world.close()


def test_restore_brings_back_data_with_todays_package(born: World) -> None:
    vm = born.cluster.vms[20000]
    vm.content["scsi0"] = "precious"
    born.page("backups", "take")
    born.run()
    born.order("change_package", configoption1="kvm-l", configoption9="1")
    born.run()
    born.page("snapshots", "take")
    born.run()
    vm.content["scsi0"] = "ruined"
    born.page("backups", "restore", backup=born.store.backups_of(1)[0]["id"])
    born.run()
    assert newest(born).state is State.DONE
    assert vm.content["scsi0"] == "precious"
    assert vm.status == "running"
    assert (vm.config["cores"], vm.config["memory"]) == ("4", "8192")
    assert "size=40G" in vm.config["scsi0"]
    assert "size=10G" in vm.config["scsi1"]
    assert vm.ipsets["ipfilter-net0"] == ["203.0.113.10", "203.0.113.11"]
    assert vm.config["onboot"] == "1"
    assert born.store.snapshots_of(1) == []
    assert not born.store.service(1).birth.restoring
    assert [m[1][1] for m in born.whmcs.mails()][-1] == "Your backup is restored"


def test_nothing_is_stopped_for_an_archive_that_is_gone(born: World) -> None:
    born.page("backups", "take")
    born.run()
    row = born.store.backups_of(1)[0]
    del born.cluster.volumes[row["archive"]]
    born.page("backups", "restore", backup=row["id"])
    born.run()
    assert newest(born).error_code == "backup_gone"
    assert born.cluster.vms[20000].status == "running"


@pytest.mark.parametrize("way_out", ["retry", "reinstall"])
def test_a_failed_restore_leaves_two_ways_out(born: World, way_out: str) -> None:
    vm = born.cluster.vms[20000]
    born.page("backups", "take")
    born.run()
    born.cluster.faults = [
        Fault("fail_task", "POST", r"/nodes/\w+/qemu$", reason="unable to restore: zstd failed", times=9)
    ]
    born.page("backups", "restore", backup=born.store.backups_of(1)[0]["id"])
    born.run()
    op = newest(born)
    assert op.state is State.FAILED
    assert op.error_code == "restore_failed"
    assert "smbios1" not in vm.config
    born.cluster.faults = []
    if way_out == "retry":
        assert born.store.retry(op.id) == ""
    else:
        born.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    born.run()
    assert newest(born).state is State.DONE
    assert vm.status == "running"
    assert vm.config["cores"] == "2"
    assert born.store.service(1).uuids[0] in vm.config["smbios1"]
    assert "tag=40" in vm.config["net0"]
    assert not born.store.service(1).birth.restoring
    born.order("suspend")
    born.run()
    assert vm.status == "stopped"


def test_a_foreign_machine_without_uuid_is_not_taken_for_a_restore(born: World) -> None:
    born.cluster.vms[20000].config.pop("smbios1")
    born.order("suspend")
    born.run()
    assert born.store.current_operation(1).error_code == "not_ours"


# -- schedules ------------------------------------------------------------------------------------
def schedule(world: World, zone: str, **days: str) -> None:
    form = {f"on_{d}": "1" for d in days} | {f"time_{d}": t for d, t in days.items()}
    world.page("backups", "schedule", time_zone=zone, **form)


def pass_time(world: World, until: float, step: float = 600.0) -> None:
    while world.clock.time < until:
        customer.start_backups(world.store, world.config)
        world.run(60)
        world.clock.time += step


def test_scheduled_backups_rotate_safely(born: World) -> None:
    schedule(born, "UTC", **dict.fromkeys(customer.WEEK, "02:30"))
    pass_time(born, born.clock.time + 6 * 86400, 3600)
    rows = born.store.backups_of(1)
    assert len(rows) == 3
    assert len({r["local_date"] for r in rows}) == 3
    assert {r["state"] for r in rows} == {"ready"}
    calls = [(m, p) for m, p in born.cluster.mutations() if "vzdump" in p]
    assert len([c for c in calls if c[1].endswith("/vzdump")]) == 6
    for index, (method, _) in enumerate(calls):  # a new one is found before an old one goes
        if method == "DELETE":
            assert calls[index - 1][0] == "POST"


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2027-03-27 12:00", ["2027-03-28 03:30", "2027-03-29 02:30"]),  # the hour of 02:30 is skipped on the 28th
        ("2027-10-30 12:00", ["2027-10-31 02:30", "2027-11-01 02:30"]),  # it comes twice on the 31st
    ],
)
def test_the_clocks_change_in_berlin(born: World, start: str, expected: list[str]) -> None:
    zone = ZoneInfo("Europe/Berlin")
    born.clock.time = datetime.fromisoformat(start).replace(tzinfo=zone).timestamp()
    schedule(born, "Europe/Berlin", saturday="02:30", sunday="02:30", monday="02:30")
    pass_time(born, born.clock.time + 2 * 86400, 300)
    made = [r["made_at"] for r in reversed(born.store.backups_of(1))]
    assert [datetime.fromtimestamp(m, zone).strftime("%Y-%m-%d %H:%M")[:15] for m in made] == [e[:15] for e in expected]
    assert len(made) == 2


def test_a_missed_slot_is_made_up_once_and_an_old_one_is_not(born: World) -> None:
    schedule(born, "UTC", **dict.fromkeys(customer.WEEK, "02:30"))
    born.clock.time += 3 * 86400  # the worker was down
    pass_time(born, born.clock.time + 3 * 3600)
    assert len(born.store.backups_of(1)) == 1


def test_a_manual_backup_does_not_count_for_the_day(born: World) -> None:
    born.page("backups", "take")
    born.run()
    schedule(born, "UTC", **dict.fromkeys(customer.WEEK, "02:30"))
    pass_time(born, born.clock.time + 86400, 1800)
    assert sorted(bool(r["local_date"]) for r in born.store.backups_of(1)) == [False, True]


def test_a_suspended_service_makes_no_backups(born: World) -> None:
    schedule(born, "UTC", **dict.fromkeys(customer.WEEK, "02:30"))
    born.order("suspend")
    pass_time(born, born.clock.time + 2 * 86400, 3600)
    assert born.store.backups_of(1) == []


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"time_zone": "Mars/Base"}, "Time zone"),
        ({"time_zone": "UTC", "on_monday": "1", "time_monday": "25:00"}, "Monday"),
        ({"time_zone": "UTC", "on_friday": "1"}, "Friday"),
        ({"time_zone": "../../etc/passwd"}, "Time zone"),
    ],
)
def test_a_wrong_schedule_names_the_field_and_keeps_the_old_one(born: World, form: dict[str, str], words: str) -> None:
    schedule(born, "UTC", monday="02:30")
    with pytest.raises(BadRequest, match=words):
        born.page("backups", "schedule", **form)
    assert born.store.schedule(1)["days"] == {"0": "02:30"}


def test_next_due_is_never_in_the_past() -> None:
    days = {"0": "00:00", "3": "23:59"}
    now = 1_800_000_000.0
    for _ in range(50):
        due = schedules.next_due(days, "America/New_York", now)
        assert due
        assert now < due <= now + 7 * 86400
        now = due


# -- reinstall, password --------------------------------------------------------------------------
def test_reinstall_replaces_the_disks_and_keeps_the_rest(born: World) -> None:
    vm = born.cluster.vms[20000]
    born.order("change_package", configoption1="kvm-l")
    born.run()
    for _ in range(2):
        born.page("snapshots", "take")
        born.run()
    vm.content |= {"scsi0": "old data", "scsi1": "more data"}
    vm.rules.append({"type": "in", "action": "ACCEPT", "enable": 1, "comment": "customer's"})
    before, old_password = dict(vm.config), vm.config["cipassword"]
    born.page("reinstall", "reinstall", template="ubuntu-24.04", confirm="REINSTALL")
    born.run()
    assert newest(born).state is State.DONE
    assert vm.content == {"scsi0": "ubuntu-24.04"}
    assert vm.status == "running"
    assert vm.snapshots == {}
    assert "size=40G" in vm.config["scsi0"]
    assert "size=10G" in vm.config["scsi1"]
    assert not [k for k in vm.config if k.startswith("unused")]
    assert len([v for v in born.cluster.volumes if ":vm-20000-disk-" in v]) == 2
    for key in ("net0", "smbios1", "name", "ipconfig0", "cores", "memory"):
        assert (vm.pending.get(key) or vm.config[key]) == (
            before.get(key) if key not in ("cores", "memory") else {"cores": "4", "memory": "8192"}[key]
        )
    assert vm.config["cipassword"] != old_password
    assert vm.rules
    assert born.store.service(1).package.template == "ubuntu-24.04"
    mail = born.whmcs.mails()[-1]
    assert mail[1][1] == "Your server was reinstalled"
    assert born.store.password(1) == ""


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"template": "debian-12", "confirm": "reinstall"}, "REINSTALL in capital letters"),
        ({"template": "debian-12"}, "REINSTALL"),
        ({"template": "windows", "confirm": "REINSTALL"}, "is not one of: Debian 12, Ubuntu 24.04"),
    ],
)
def test_reinstall_is_asked_for_exactly(born: World, form: dict[str, str], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        born.page("reinstall", "reinstall", **form)
    assert newest(born).kind == "create"


def test_backups_survive_a_reinstall(born: World) -> None:
    vm = born.cluster.vms[20000]
    vm.content["scsi0"] = "precious"
    born.page("backups", "take")
    born.run()
    born.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    born.run()
    born.page("backups", "restore", backup=born.store.backups_of(1)[0]["id"])
    born.run()
    assert vm.content["scsi0"] == "precious"
    assert newest(born).state is State.DONE


def test_reset_password_tells_the_guest_and_mails_it(born: World) -> None:
    vm = born.cluster.vms[20000]
    born.page("reset_password", "reset")
    born.run()
    assert vm.guest_password.startswith("root:")
    assert len(vm.guest_password) == 21
    assert born.whmcs.mails()[-1][1][1] == "Your new password"
    assert born.store.password(1) == ""


# -- may it be done -------------------------------------------------------------------------------
def test_what_is_not_part_of_the_product_is_access_denied(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.order("create", configoption18="deny", configoption17="deny")
    world.run()
    for capability, action in (
        ("snapshots", "take"),
        ("reinstall", "reinstall"),
        ("firewall", "add"),
        ("overview", "x"),
        ("snapshots", "explode"),
    ):
        with pytest.raises(Forbidden, match="Access Denied"):
            world.page(capability, action)
    world.close()


def test_busy_and_suspended_are_refused_with_the_reason(born: World) -> None:
    born.page("backups", "take")
    with pytest.raises(Refused, match="A backup is being made"):
        born.page("snapshots", "take")
    with pytest.raises(Refused, match="A backup is being made"):
        born.order("start")
    born.run()
    born.order("suspend")
    with pytest.raises(Refused, match="suspended"):
        born.page("snapshots", "take")


def test_costly_actions_are_counted_per_hour(tmp_path: Path) -> None:
    world = World(tmp_path, web={"costly_per_hour": 2})
    world.order("create")
    world.run()
    for _ in range(2):
        world.page("reset_password", "reset")
        world.run()
    with pytest.raises(Refused, match=r"Try again in \d+ min"):
        world.page("reset_password", "reset")
    world.clock.time += 3700
    world.page("reset_password", "reset")
    world.close()


def test_hostile_notes_become_one_harmless_line(born: World) -> None:
    born.page("snapshots", "take", description="a\n\u202eb\x00 <script>")
    assert born.store.snapshots_of(1)[0]["description"] == "a b <script>"
    born.run()
    with pytest.raises(BadRequest, match="description: at most 200"):
        born.page("snapshots", "take", description="x" * 1_000_000)
