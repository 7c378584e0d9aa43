"""Snapshots, backups and schedules: what a second look found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bridge import customer
from bridge.errors import Refused
from bridge.model import Backup, State
from tests.pve.cluster import Fault
from tests.test_care import cared_for, newest, pass_time, schedule
from tests.world import World


@pytest.fixture
def born(tmp_path: Path) -> Iterator[World]:
    world = cared_for(tmp_path)
    yield world
    world.close()


# -- what a second look found ---------------------------------------------------------------------
def blank(world: World) -> None:
    """A restore that ended badly: the machine has neither disks nor identity."""
    world.page("backups", "take", note="precious")
    world.run()
    world.cluster.faults = [
        Fault("fail_task", "POST", r"/nodes/\w+/qemu$", reason="unable to restore: no space left", times=9)
    ]
    world.page("backups", "restore", backup=world.store.backups_of(1)[0]["id"])
    world.run()
    world.cluster.faults = []


def test_a_backup_whose_notes_could_not_be_written_is_still_the_customers(born: World) -> None:
    born.cluster.notes_fail = True
    born.page("backups", "take", note="before the update")
    born.run()
    assert newest(born).state is State.DONE
    [archive] = born.cluster.archives
    [row] = born.store.backups_of(1)
    assert (row["archive"], row["note"], row["state"]) == (archive, "before the update", "ready")
    customer.renew_mirror("pve1", born.drivers["pve1"], born.store, now=True)
    assert [r["archive"] for r in born.store.backups_of(1)] == [archive]
    born.page("backups", "delete", backup=row["id"])
    born.run()
    assert archive not in born.cluster.volumes


def test_an_archive_that_was_listed_before_its_notes_becomes_the_customers(born: World) -> None:
    born.page("backups", "take", note="mine")
    born.run()
    [ours] = born.drivers["pve1"].backups(born.store.service(1).ref)
    born.store.change("DELETE FROM backups")  # whoever took it was given up
    for seen, foreign in ((replace(ours, mark=""), 1), (ours, 0), (replace(ours, mark=""), 0)):
        born.store.mirror_backups(1, [seen], 0.0)
        [row] = born.store.backups_of(1, foreign=True)
        assert row["foreign_one"] == foreign
    assert row["note"] == "mine"


def test_nothing_is_copied_from_a_blank_machine(born: World) -> None:
    schedule(born, "UTC", **dict.fromkeys(customer.WEEK, "02:30"))
    blank(born)
    for capability, action in (
        ("backups", "take"),
        ("snapshots", "take"),
        ("power", "start"),
        ("reset_password", "reset"),
    ):
        with pytest.raises(Refused, match="last restore did not end well"):
            born.page(capability, action)
    pass_time(born, born.clock.time + 3 * 86400, 3600)
    assert [r["note"] for r in born.store.backups_of(1)] == ["precious"]
    born.order("suspend")
    born.run()
    born.order("unsuspend")
    born.run()
    assert newest(born).state is State.DONE
    assert born.cluster.vms[20000].status == "stopped"
    born.page("backups", "restore", backup=born.store.backups_of(1)[0]["id"])
    born.run()
    assert newest(born).state is State.DONE
    assert born.cluster.vms[20000].status == "running"


@pytest.mark.parametrize("end", ["refused", "superseded", "cancelled"])
def test_what_was_not_made_gives_its_place_back(born: World, end: str) -> None:
    if end == "refused":
        born.cluster.faults = [
            Fault(
                "status",
                "POST",
                "/(snapshot|vzdump)$",
                status=500,
                reason="snapshot feature is not available",
                times=99,
            )
        ]
    else:
        born.cluster.hold(20000, "qmigrate", "migrate")
    for capability in ("snapshots", "backups"):
        born.page(capability, "take")
        born.engine.tick()
        if end == "superseded":
            born.order("suspend")
            born.order("unsuspend")
        if end == "cancelled":
            born.order("cancel")
        born.run(600)
        born.cluster.let_go(20000)
        born.run(600)
        assert newest(born).state is not State.RUNNING
        if end != "refused":
            born.cluster.hold(20000, "qmigrate", "migrate")
    assert born.store.snapshots_of(1) == []
    assert born.store.backups_of(1) == []


def test_a_list_without_anything_is_not_believed_and_our_own_come_back(born: World) -> None:
    born.page("backups", "take", note="mine")
    born.run()
    row = born.store.backups_of(1)[0]
    backups = born.drivers["pve1"].backups(born.store.service(1).ref)
    born.store.mirror_backups(1, [], 0)
    assert born.store.backups_of(1) == [row]
    born.store.forget_backup(row["id"])
    born.store.mirror_backups(1, backups, 0)
    assert [(r["note"], r["operation"], r["foreign_one"]) for r in born.store.backups_of(1)] == [
        ("mine", row["operation"], 0)
    ]


@pytest.mark.parametrize("phase", ["before", "after"])
@pytest.mark.parametrize("listing", ["/snapshot", "/content"])
@pytest.mark.parametrize("noun", ["backups", "snapshots"])
@pytest.mark.parametrize("action", ["take", "delete"])
def test_what_is_done_while_the_mirror_reads_stays_as_it_was_left(
    born: World, action: str, noun: str, listing: str, phase: str
) -> None:
    for first in ("backups", "snapshots"):
        born.page(first, "take")
        born.run()
    born.clock.time += 4000
    named = {"backup": str(born.store.backups_of(1)[0]["id"]), "name": born.store.snapshots_of(1)[0]["name"]}
    met = []

    def meanwhile(when: str, index: int, method: str, path: str) -> None:
        if (when, method) == (phase, "GET") and path.endswith(listing) and not met:
            met.append(path)
            born.page(noun, action, **(named if action == "delete" else {}))
            born.run()

    born.cluster.on_call = meanwhile
    customer.renew_mirror("pve1", born.drivers["pve1"], born.store)
    born.cluster.on_call = None
    assert met
    assert newest(born).state is State.DONE
    ref = born.store.service(1).ref
    for _ in range(2):
        rows = born.store.backups_of(1, foreign=True)
        there = {b.archive for b in born.drivers["pve1"].backups(ref)}
        assert {(r["archive"], r["state"], r["foreign_one"]) for r in rows} == {(a, "ready", 0) for a in there}
        assert {(r["name"], r["state"], r["foreign_one"]) for r in born.store.snapshots_of(1, foreign=True)} == {
            (s, "ready", 0) for s in born.cluster.vms[20000].snapshots
        }
        customer.renew_mirror("pve1", born.drivers["pve1"], born.store, now=True)


def test_a_storage_that_is_away_keeps_no_snapshot_from_the_list(born: World) -> None:
    vm = born.cluster.vms[20000]
    born.page("snapshots", "take")
    born.run()
    vm.snapshots["staffs-own"] = {**next(iter(vm.snapshots.values()))}
    born.cluster.faults = [Fault("status", status=500, reason="storage is not online", path=".*/content", times=9)]
    born.clock.time += 4000
    customer.renew_mirror("pve1", born.drivers["pve1"], born.store)
    assert [r["foreign_one"] for r in born.store.snapshots_of(1, foreign=True)].count(1) == 1


def test_a_backup_that_was_seen_before_its_operation_heard_of_it_is_there_once(born: World) -> None:
    """Its notes are written after the archive itself: until then nobody can know whose it is."""
    born.page("backups", "take", note="mine")

    def meanwhile(when: str, index: int, method: str, path: str) -> None:
        seen = [b for b in born.cluster.volumes if "vzdump" in b]
        if seen and not born.store.backups_of(1, foreign=True)[0]["archive"] and path.endswith("/content"):
            born.store.mirror_backups(1, [Backup(seen[0], born.clock.time, 10)], 0)

    born.cluster.on_call = meanwhile
    born.run()
    assert newest(born).state is State.DONE
    [row] = born.store.backups_of(1, foreign=True)
    assert (row["note"], row["state"], row["foreign_one"]) == ("mine", "ready", 0)


def test_reinstall_to_a_system_that_is_not_there_switches_nothing_off(born: World) -> None:
    vm = born.cluster.vms[20000]
    for key in [k for k, v in born.cluster.vms.items() if v.template and v.config["name"] == "ubuntu-24.04"]:
        del born.cluster.vms[key]
    born.page("reinstall", "reinstall", template="ubuntu-24.04", confirm="REINSTALL")
    born.run()
    assert newest(born).error_code == "no_template"
    assert vm.status == "running"
    assert born.store.service(1).package.template == "debian-12"
