"""Starting from an ISO once, on a simulated Proxmox cluster, and every way in which that can break off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bridge import worker
from bridge.model import State
from tests.discs import DEBIAN, DISK, RESCUE, Site
from tests.pve.cluster import Fault
from tests.test_iso import FREEBSD, SERVES, words
from tests.test_iso import Site as Cloud


# -- starting from it once ------------------------------------------------------------------------
def test_it_starts_from_the_disc_once_and_then_from_its_disk(site: Site) -> None:
    site.mount()
    assert site.boot() == ""
    site.run()
    assert site.last().state is State.DONE, site.last()
    assert site.vm.ran["from"] == DEBIAN
    assert site.vm.status == "running"
    assert site.order_to_come()[0] == DISK
    assert not site.store.disc_order(1)
    site.order("reboot")
    site.run()
    assert site.vm.ran["from"] == DISK
    assert site.disc() == DEBIAN
    assert "Your server goes on starting from its own disk." in site.see()


def test_while_it_runs_from_the_iso_the_page_says_so_and_nothing_asks_for_a_restart(site: Site) -> None:
    site.mount()
    assert "goes on starting from its own disk" in site.see()
    site.boot()
    site.run()
    page = site.see()
    assert "Your server was started from it. A restart by the button starts it from its own disk again." in page
    site.order("converge")
    site.run()
    assert site.store.service(1).pending == ()
    assert site.order_to_come()[0] == DISK


def test_it_asks_first_and_needs_a_disc(site: Site) -> None:
    reply = site.send("boot")
    assert "Restarts your server once from the mounted ISO" in words(reply.json["html"])
    assert site.cluster.mutations() == []
    assert site.boot() == ""
    site.run()
    last = site.last()
    assert (last.state, last.error_code) == (State.FAILED, "no_iso")
    assert site.cluster.mutations() == []
    assert site.vm.status == "running"
    assert not site.store.disc_order(1)


def test_one_that_is_off_is_started_and_a_guest_that_does_not_listen_is_switched_off(tmp_path: Path) -> None:
    site = Site(tmp_path, running=False)
    site.mount()
    site.boot()
    site.run()
    assert site.vm.ran["from"] == DEBIAN
    assert site.order_to_come()[0] == DISK
    site.vm.acpi = False
    site.boot()
    site.run()
    assert site.last().state is State.DONE
    assert site.vm.ran["from"] == DEBIAN
    assert site.order_to_come()[0] == DISK
    site.close()


def test_where_a_provider_starts_from_what_is_mounted_there_is_nothing_to_do_once(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    cloud.submit("iso", action="mount", iso=FREEBSD)
    assert "Boot from the ISO once" not in cloud.see("iso")
    assert "Restart now" in cloud.see("iso")
    assert cloud.submit("iso", action="boot", confirmed="1") == SERVES
    assert len(cloud.store.operations_of(1, 9)) == 1
    cloud.close()


# -- whatever breaks off --------------------------------------------------------------------------
def booting(path: Path) -> Site:
    site = Site(path)
    site.mount()
    site.cluster.calls.clear()
    assert site.boot() == ""
    return site


def ended_well(site: Site) -> tuple[Any, ...]:
    return (
        site.vm.status,
        site.disc(),
        site.order_to_come(),
        site.store.disc_order(1),
        site.store.current_operation(1),
    )


class Killed(BaseException):
    """The worker is gone."""


def test_killed_anywhere_it_is_started_from_the_disc_and_the_disk_comes_first_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Before and after each call that changes something, and at each step border."""
    counted = booting(tmp_path_factory.mktemp("count"))
    borders: list[str] = []
    counted.border = borders.append
    counted.start()
    counted.settle()
    wanted, changes = ended_well(counted), len(counted.cluster.mutations())
    assert wanted == ("running", DEBIAN, [DISK, "ide0"], False, None)
    assert len(borders) == 9
    assert changes == 4
    counted.close()
    for phase, number in [(p, n) for p in ("before", "after") for n in range(1, changes + 1)] + [
        ("border", n) for n in range(1, len(borders) + 1)
    ]:
        site = booting(tmp_path_factory.mktemp("kill"))
        count = {"n": 0, "dead": 0}

        def die(which: str, count: dict[str, int] = count, phase: str = phase, number: int = number) -> None:
            if which == phase and not count["dead"]:
                count["n"] += 1
                if count["n"] == number:
                    count["dead"] = 1
                    raise Killed

        def on_call(when: str, index: int, method: str, path: str, die: Callable[[str], None] = die) -> None:
            if method != "GET":
                die(when)

        site.cluster.on_call, site.border = on_call, lambda name, die=die: die("border")
        site.start()
        while True:
            try:
                site.settle()
                break
            except Killed:
                site.restart()
        assert count["dead"], (phase, number)
        assert ended_well(site) == wanted, (phase, number)
        assert site.vm.ran["from"] == DEBIAN, (phase, number)
        assert site.last().state is State.DONE, (phase, number)
        site.close()


FAULTS: dict[str, dict[str, Any]] = {
    "refused": {"kind": "status", "status": 403, "reason": "Permission check failed"},
    "locked": {"kind": "status", "status": 500, "reason": "VM is locked (backup)"},
    "lost before": {"kind": "reset_before"},
    "lost after": {"kind": "reset_after"},
    "failed task": {"kind": "fail_task", "reason": "start failed: QEMU exited with code 1"},
    "for good": {"kind": "status", "status": 403, "reason": "Permission check failed", "times": 9999},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_on_any_change_never_leaves_the_disc_first(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    for number in range(1, 5):
        site = booting(tmp_path_factory.mktemp("fault"))
        site.cluster.faults = [
            Fault(path="/(config|status/(start|shutdown))$", method="(?!GET)", nth=number, **FAULTS[name])
        ]
        site.cluster.faults[0].method = ""
        calls = site.cluster.handle

        def changes_only(method: str, *rest: Any, calls: Any = calls, site: Site = site) -> Any:
            kept = site.cluster.faults
            if method == "GET":
                site.cluster.faults = []
            try:
                return calls(method, *rest)
            finally:
                site.cluster.faults = kept

        site.cluster.handle = changes_only
        site.run(5000)
        site.cluster.faults = []
        site.settle(30_000)
        assert site.store.current_operation(1) is None, (name, number)
        assert not site.store.disc_order(1), (name, number)
        assert site.order_to_come()[0] == DISK, (name, number, site.vm.config, site.vm.pending)
        assert site.last().state is State.DONE or site.vm.status in ("running", "stopped"), (name, number)
        if name in ("locked", "lost before", "lost after", "failed task"):
            assert site.last().state is State.DONE, (name, number, site.last())
            assert site.vm.ran["from"] == DEBIAN, (name, number, site.last())
        site.close()


@pytest.mark.parametrize("border", range(1, 7))
@pytest.mark.parametrize("verb", ["suspend", "terminate", "change_package", "cancel"])
def test_an_order_in_between_does_right(tmp_path: Path, verb: str, border: int) -> None:
    """WHMCS's orders come at any time; staff may cancel."""
    site = booting(tmp_path)
    seen = {"n": 0}

    def at(name: str) -> None:
        seen["n"] += name.startswith("boot_iso")
        if seen["n"] == border:
            seen["n"] = 99
            if verb == "cancel":
                site.store.ask_cancel(site.last().id)
            else:
                site.order(verb)

    site.border = at
    site.start()
    site.settle()
    if verb == "terminate":
        assert 20000 not in site.cluster.vms
        assert not site.store.disc_order(1)
    else:
        assert ended_well(site)[2:] == ([DISK, "ide0"], False, None), ended_well(site)
        assert site.vm.status == ("stopped" if verb == "suspend" else "running")
    if verb == "suspend":
        site.order("unsuspend")
        site.settle()
        assert site.vm.ran["from"] == DISK
        assert site.vm.status == "running"
    site.close()


def test_the_row_outlives_an_operation_that_could_not_put_it_back(site: Site) -> None:
    """The host is down for hours; a worker that is new does it then."""
    site.mount()
    site.boot()
    site.border = lambda name: down() if name == "boot_iso.disk_first" else None

    def down() -> None:
        site.cluster.faults = [
            Fault("status", "PUT", "/config$", times=9999, status=403, reason="Permission check failed")
        ]

    site.start()
    site.run()
    assert site.last().state is State.FAILED
    assert site.store.disc_order(1)
    assert site.order_to_come()[0] == "ide0"
    site.restart()
    for _ in range(3):
        worker.disks_first(site.context, "pve1")
        site.run()
        site.clock.time += 901
    assert site.order_to_come()[0] == "ide0"
    assert site.store.disc_order(1)
    site.cluster.faults = []
    site.settle()
    assert site.order_to_come()[0] == DISK
    assert not site.store.disc_order(1)


def test_what_fails_for_days_is_begun_ever_more_seldom(site: Site) -> None:
    """Staff is told of each: after a quarter of an hour, half an hour and so on, once a day at last."""
    site.mount()
    site.boot()
    refuses = Fault("status", "PUT", "/config$", times=9999, status=403, reason="Permission check failed")
    site.border = lambda name: site.cluster.faults.append(refuses) if name == "boot_iso.disk_first" else None
    site.start()
    site.run()
    begun = []
    for _ in range(4 * 24 * 4):
        before = len(site.store.operations_of(1, 99))
        worker.disks_first(site.context, "pve1")
        if len(site.store.operations_of(1, 99)) > before:
            begun.append(site.clock.time)
            site.run()
        site.clock.time += 900
    waits = [round((b - a) / 900) for a, b in pairwise(begun)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 96, 96]


@pytest.mark.parametrize("what", ["rollback", "restore", "reinstall", "redeploy", "converge"])
def test_what_brings_the_order_back_from_before_is_put_right(site: Site, what: str) -> None:
    """A snapshot and an archive that were made while it ran from the disc hold that order."""
    site.mount()
    site.vm.config["boot"] = "order=ide0;scsi0"
    if what == "rollback":
        site.page("snapshots", "take")
        site.run()
        site.vm.config["boot"] = "order=scsi0;ide0"
        site.page("snapshots", "rollback", name=next(iter(site.vm.snapshots)))
    elif what == "restore":
        site.page("backups", "take")
        site.run()
        site.vm.config["boot"] = "order=scsi0;ide0"
        site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"], confirm="RESTORE")
    elif what == "reinstall":
        site.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    else:
        site.order(what)
    site.settle()
    assert site.store.operations_of(1, 1)[0].state is State.DONE
    vm = next(v for v in site.cluster.vms.values() if not v.template)
    order = str(vm.pending.get("boot") or vm.config["boot"])
    assert order.startswith(f"order={DISK}"), vm.config
    assert vm.status == "running", vm.config


def test_an_adopted_machines_own_order_is_its_owners(site: Site) -> None:
    """Only what we have put first is put back; what its owner boots first stays."""
    site.store.update_service(1, birth=replace(site.store.service(1).birth, adopted=True))
    site.vm.config["boot"] = "order=net0;scsi0;ide0"
    site.order("converge")
    site.run()
    assert site.order_to_come() == ["net0", "scsi0", "ide0"]
    site.mount()
    site.boot()
    site.settle()
    assert site.vm.ran["from"] == DEBIAN
    assert site.order_to_come() == ["net0", "scsi0", "ide0"]
    site.vm.pending.clear()
    site.vm.config["boot"] = "order=ide0;net0;scsi0"  # as a rollback brings it back
    site.order("converge")
    site.run()
    assert site.order_to_come() == ["net0", "scsi0", "ide0"]
    site.mount(RESCUE)
    site.vm.pending.clear()


def test_a_disc_that_comes_first_by_its_owners_own_order_needs_nothing(site: Site) -> None:
    site.store.update_service(1, birth=replace(site.store.service(1).birth, adopted=True))
    site.mount()
    site.vm.config["boot"] = "order=ide0;scsi0"
    assert "Your server starts from it at its next restart" in site.see()
    site.boot()
    site.settle()
    assert site.vm.ran["from"] == DEBIAN
    assert site.order_to_come() == ["ide0", "scsi0"]


def test_a_page_costs_few_calls_and_an_edit_is_seen_at_once(site: Site) -> None:
    site.see()
    assert [p.rsplit("/", 1)[1] for _, _, p, _ in site.cluster.calls] == ["pending", "content"]
    for _ in range(5):
        site.see()
    assert len(site.cluster.calls) == 2
    site.mount()
    assert "Mounted Debian-12" in site.see()
