"""ISOs on a simulated Proxmox cluster, in process: what a node has, what lies in the drive, and what is not there any
more. The held clock, the pages over HTTP."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from bridge import config
from bridge.customer import direct, isos
from bridge.errors import ConfigError, StoreUnavailable
from bridge.model import State
from bridge.staff import doctor
from tests.configs import raw_config
from tests.discs import DEBIAN, DISK, RESCUE, Site
from tests.pve.cluster import Fault


# -- what is offered, and mounting ----------------------------------------------------------------
def test_an_empty_drive_is_there_from_birth_and_is_not_the_one_of_cloud_init(site: Site) -> None:
    assert site.vm.config["ide0"] == "none,media=cdrom"
    assert "cloudinit" in site.vm.config["ide2"]
    assert site.order_to_come() == [DISK, "ide0"]
    assert not site.vm.pending


def test_only_what_the_machines_own_node_has_is_offered(site: Site) -> None:
    page = site.see()
    assert "4 of 4" in page
    assert "debian 2" in page
    assert "systemrescue 1" in page
    assert "OTHER 1" in page
    assert page.index("debian 2") < page.index("systemrescue 1") < page.index("OTHER 1")
    assert "elsewhere" not in page
    assert site.submit("mount", iso="local:iso/only-elsewhere.iso") == isos.GONE
    assert site.cluster.mutations() == []


def test_a_mount_takes_the_place_of_another_at_once_and_a_repeat_is_nothing(site: Site) -> None:
    for name in (DEBIAN, RESCUE, RESCUE):
        site.mount(name)
        assert site.disc() == name
        assert not site.vm.pending
        assert "cloudinit" in site.vm.config["ide2"]
    assert len(site.cluster.mutations()) == 2
    assert site.submit("unmount") == ""
    assert site.disc() == "none"
    assert site.submit("unmount") == ""
    assert len(site.cluster.mutations()) == 3
    assert site.order_to_come() == [DISK, "ide0"]


@pytest.mark.parametrize("name", ["two  spaces.iso", " first.iso", 'Ümläut [x64] <b>&amp;"q".iso'])
def test_any_file_name_that_a_storage_has_can_be_mounted(name: str, site: Site) -> None:
    volume = site.cluster.add_iso(name)
    site.see()
    page = site.shim.send("GET", "/v1/services/1042/pages/iso?client=7").json["html"]
    values = [html.unescape(v) for v in re.findall(r'name="vmb\[iso\]" value="([^"]*)"', page)]
    assert volume in values
    assert "<b>" not in page
    site.mount(volume)
    assert site.disc() == volume
    assert site.see().count("Unmount")


def test_a_mount_that_is_made_is_never_said_to_be_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is locked by the time that others are to be told."""
    real = site.store.change

    def locked(sql: str, *args: Any) -> int:
        if "SET edits" in sql:
            raise StoreUnavailable()
        return real(sql, *args)

    monkeypatch.setattr(site.store, "change", locked)
    site.mount()
    assert site.disc() == DEBIAN
    assert site.submit("unmount") == ""
    assert site.disc() == "none"


def test_a_name_that_no_line_of_a_drive_can_hold_is_not_offered(site: Site) -> None:
    site.cluster.add_iso("one,media=disk.iso")
    assert "4 of 4" in site.see()
    assert "media=disk" not in site.see()
    for wanted in (
        "local:iso/one,media=disk.iso",
        "local:iso/../one.iso",
        f"local:iso/{DEBIAN}",
        "/etc/passwd",
        "none",
    ):
        assert site.submit("mount", iso=wanted) == isos.GONE
    assert site.cluster.mutations() == []


def test_a_list_names_a_file_with_brackets_as_it_is(tmp_path: Path) -> None:
    site = Site(tmp_path, isos=["rescue [2024].iso"])
    site.cluster.add_iso("rescue [2024].iso")
    assert "1 of 1" in site.see()
    site.close()


def test_lists_of_the_plan_and_of_all_plans(tmp_path: Path) -> None:
    site = Site(tmp_path, isos=["systemrescue-*"])
    assert "1 of 1" in site.see()
    assert site.submit("mount", iso=DEBIAN) == isos.GONE
    site.close()
    (tmp_path / "both").mkdir()
    site = Site(tmp_path / "both", isos=["systemrescue-*"], everywhere=["NETBOOT.iso"])
    page = site.see()
    assert "2 of 2" in page
    assert "netboot.iso" in page
    assert "systemrescue 1" in page
    site.mount(RESCUE)
    site.close()


@pytest.mark.parametrize("name", ["", "folder/debian.iso", "a,b", 7])
def test_a_list_with_what_is_no_name_is_refused_at_its_place(name: Any) -> None:
    raw = raw_config(isos={"offered": ["debian-*", name]})
    raw["plans"]["kvm-s"]["isos"] = [name]
    with pytest.raises(ConfigError) as e:
        config.from_dict(raw)
    assert [fault[0] for fault in e.value.faults] == ["isos.offered[1]", "plans.kvm-s.isos[0]"]


def test_it_has_to_be_part_of_the_product(tmp_path: Path) -> None:
    site = Site(tmp_path, allow=["console"])
    assert "not part of your plan" in site.see()
    for action in ("mount", "unmount", "boot"):
        assert site.send(action, iso=DEBIAN, confirmed="1").status_code == 403
    assert site.cluster.calls == []
    site.close()


def test_while_something_runs_and_while_it_is_suspended_nothing_is_touched(site: Site) -> None:
    site.mount()
    for verb, told in (("reboot", "The server is restarting"), ("suspend", "The service is suspended.")):
        site.order(verb)
        if verb == "suspend":
            site.run()
        site.cluster.calls.clear()
        for action in ("mount", "unmount", "boot"):
            assert told in site.submit(action, iso=RESCUE, confirmed="1")
        assert site.cluster.mutations() == []
        site.run()


@pytest.mark.parametrize(
    ("wrong", "level", "text"),
    [
        ("", "ok", "storage 'local': 4 on pve1, 5 on pve2"),
        ("nowhere", "fault", "there is no storage 'nowhere'"),
        ("nfs-backup", "fault", "storage 'nfs-backup' does not take ISOs"),
        ("half", "warning", "storage 'half' is not available on pve2: no ISOs are offered there"),
        ("bare", "warning", "storage 'bare' has no ISO on pve1, pve2"),
    ],
)
def test_the_check_of_the_storage(site: Site, wrong: str, level: str, text: str) -> None:
    site.cluster.add_storage("half", ("pve1",), "iso")
    site.cluster.add_storage("bare", ("pve1", "pve2"), "iso", shared=True)
    site.drivers["pve1"].settings["iso_storage"] = wrong or "local"
    findings = [f for f in doctor.check(site.context) if f.subject == "server pve1 ISOs"]
    assert [(f.level, f.text) for f in findings] == [(level, text)]
    assert bool(findings[0].fix) == (level != "ok")


def test_the_check_of_what_plans_offer(tmp_path: Path) -> None:
    site = Site(tmp_path, isos=["only-elsewhere*", "windows-*"], everywhere=["debian-11.iso", "nothing"])
    told = [(f.subject, f.text) for f in doctor.check(site.context) if "no ISO is called" in f.text]
    assert told == [("plan kvm-s", "no ISO is called 'windows-*'"), ("[isos] offered", "no ISO is called 'nothing'")]
    site.drivers["pve1"].settings["iso_storage"] = ""
    told = [(f.subject, f.text) for f in doctor.check(site.context) if "ISO" in f.text]
    assert ("plan kvm-s", "ISOs are allowed, and its server has none to offer") in told
    site.close()


def test_drivers_for_windows_are_said_to_be_that(site: Site) -> None:
    site.cluster.add_iso("virtio-win-0.1.271.iso")
    assert (
        "virtio 1 virtio-win-0.1.271.iso Drivers for Windows: its setup finds disk and network with them" in site.see()
    )
    assert site.submit("mount", iso="local:iso/virtio-win-0.1.271.iso") == ""
    assert not site.vm.pending


@pytest.mark.parametrize("storage", ["", "nowhere", "nfs-backup", "off"])
def test_without_a_storage_that_has_isos_none_are_offered(tmp_path: Path, storage: str) -> None:
    site = Site(tmp_path)
    site.drivers["pve1"].settings["iso_storage"] = storage
    site.cluster.add_storage("off", ("pve1",), "iso")
    site.cluster.storages["off"].online = False
    assert (direct.NOT_READ if storage == "off" else "No ISOs are offered for this server.") in site.see()
    site.close()


def test_what_staff_mounted_from_elsewhere_is_shown_and_can_be_unmounted(site: Site) -> None:
    site.cluster.add_storage("own", ("pve1", "pve2"), "iso", shared=True)
    site.vm.config["ide0"] = f"{site.cluster.add_iso('ours-1.iso', storage='own')},media=cdrom,size=1M"
    page = site.see()
    assert "Mounted ours-1.iso" in page
    assert "cannot be read" not in page
    site.cluster.privileges["/storage/own"] = set()  # what we may not see counts as there
    site.clock.time += 30
    assert "cannot be read" not in site.see()
    assert site.submit("unmount") == ""
    assert site.disc() == "none"


def test_a_new_drive_is_seen_after_a_restart_and_that_is_said(tmp_path: Path) -> None:
    """An adopted machine without a CD drive, and one with Proxmox VE's usual one."""
    site = Site(tmp_path)
    del site.vm.config["ide0"]
    site.vm.config["boot"] = "order=scsi0"
    site.mount()
    assert site.vm.pending["ide0"].startswith(DEBIAN)
    assert "ide0" not in site.vm.config
    page = site.see()
    assert "Your server gets its CD drive at its next restart." in page
    assert "Restart now" in page
    assert site.submit("unmount") == ""
    assert site.vm.pending["ide0"] == "none,media=cdrom"
    site.mount()
    site.order("reboot")
    site.run()
    assert site.disc() == DEBIAN
    assert site.vm.ran["from"] == DISK
    assert "as a disc in its drive" in site.see()
    site.submit("unmount")
    site.vm.config |= {"sata3": "none,media=cdrom"}
    site.vm.config.pop("ide0")
    site.mount()
    assert site.vm.config["sata3"].startswith(DEBIAN)
    assert "ide0" not in site.vm.config
    site.order("converge")
    site.run()
    assert set(site.vm.pending) == {"boot"}
    assert site.store.service(1).pending == ()
    site.close()


def test_a_machine_without_a_place_for_a_drive(site: Site) -> None:
    site.vm.config |= dict.fromkeys(("ide0", "ide3", "sata5"), "local-lvm:vm-20000-disk-9,size=1G")
    assert site.submit("mount", iso=DEBIAN) == "Your server has no place for a CD drive. Our staff can help."
    assert site.cluster.mutations() == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "status", "status": 500, "reason": "VM is locked (backup)"}, direct.HELD),
        ({"kind": "status", "status": 500, "reason": "volume 'local:iso/x.iso' does not exist"}, isos.GONE),
        (
            {"kind": "status", "status": 403, "reason": "Permission check failed (/vms/20000, VM.Config.CDROM)"},
            direct.NOT_TAKEN,
        ),
        ({"kind": "status", "status": 500, "reason": "got lock request timeout"}, direct.NOT_NOW),
        ({"kind": "status", "status": 596, "reason": "Connection timed out"}, direct.LOST),
        ({"kind": "status", "status": 595, "reason": "No route to host"}, direct.HOST_DOWN),
        ({"kind": "reset_before"}, direct.LOST),
        ({"kind": "reset_after"}, direct.LOST),
    ],
    ids=lambda x: str(x.get("reason", x["kind"])) if isinstance(x, dict) else "",
)
def test_a_mount_or_unmount_that_fails_says_what_is_true_and_works_again(
    site: Site, fault: dict[str, Any], told: str
) -> None:
    site.cluster.faults = [Fault(method="PUT", path="/config", **fault)]
    assert site.submit("mount", iso=DEBIAN) == told
    site.mount()
    site.cluster.faults = [Fault(method="PUT", path="/config", **fault)]
    assert site.submit("unmount") == (told if told != isos.GONE else direct.NOT_TAKEN)
    assert site.submit("unmount") == ""
    assert site.disc() == "none"


# -- what is not there any more -------------------------------------------------------------------
def lose(site: Site, how: str) -> None:
    """The mounted ISO is gone, in one of the ways in which that happens."""
    if how == "deleted":
        del site.cluster.isos[DEBIAN]
    elif how == "moved":
        site.cluster.isos[DEBIAN] = {"pve1"}
        site.cluster.migrate(20000, "pve2")
    elif how == "storage elsewhere":
        site.cluster.storages["local"].nodes = ("pve2",)
    elif how == "storage down":
        site.cluster.storages["local"].online = False
    else:
        del site.cluster.storages["local"]


LOST = ("deleted", "moved", "storage elsewhere", "storage down", "no storage")


@pytest.mark.parametrize("how", LOST)
def test_a_missing_iso_is_said_and_unmounted_by_hand(site: Site, how: str) -> None:
    site.mount()
    lose(site, how)
    site.clock.time += isos.LISTED + 1
    if how != "storage down":  # then the list cannot be read either
        page = site.see()
        assert "This ISO cannot be read any more where your server is" in page
        assert "Boot from the ISO" not in page
    assert site.submit("unmount") == ""
    assert site.disc() == "none"


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize("verb", ["start", "reboot", "unsuspend", "iso boot"])
def test_a_missing_iso_keeps_nothing_from_starting(site: Site, how: str, verb: str) -> None:
    site.mount()
    if verb in ("start", "unsuspend"):
        site.order({"start": "stop", "unsuspend": "suspend"}[verb])
        site.run()
    lose(site, how)
    if verb == "iso boot":
        assert site.boot() == ""
    else:
        site.order(verb)
    site.settle()
    last = site.store.operations_of(1, 1)[0]
    assert site.vm.status == "running", last
    assert site.vm.ran["from"] == DISK, last
    if verb == "iso boot":
        assert (last.state, last.error_code) == (State.FAILED, "iso_gone")
        assert site.order_to_come()[0] == DISK
    else:
        assert last.state is State.DONE, last
        assert site.disc() == "none", last
        notes = [s["message"] for s in site.store.steps(last.id)]
        assert any("Debian-12.5.0-amd64-netinst.iso cannot be read any more and was unmounted" in n for n in notes), (
            notes
        )


def test_an_archive_that_names_a_deleted_iso_can_be_restored(site: Site) -> None:
    site.mount()
    site.page("backups", "take")
    site.run()
    site.submit("unmount")
    del site.cluster.isos[DEBIAN]
    site.page("backups", "restore", backup=site.store.backups_of(1)[0]["id"], confirm="RESTORE")
    site.run()
    assert site.store.operations_of(1, 1)[0].state is State.DONE
    assert site.disc() == "none"
    assert site.vm.status == "running"


@pytest.mark.parametrize("running", [True, False])
def test_a_snapshot_with_memory_needs_its_iso_before_anything_is_written_over(tmp_path: Path, running: bool) -> None:
    site = Site(tmp_path, running)
    site.mount()
    site.page("snapshots", "take")
    site.run()
    name = next(iter(site.vm.snapshots))
    site.submit("unmount")
    del site.cluster.isos[DEBIAN]
    site.page("snapshots", "rollback", name=name)
    site.run()
    last = site.last("rollback")
    if running:
        assert (last.state, last.error_code) == (State.FAILED, "iso_gone")
        assert site.vm.rolled_back == []
        assert "Debian-12.5.0-amd64-netinst.iso in the drive" in last.error_text
        assert site.vm.status == "running"
    else:
        assert last.state is State.DONE
        assert site.vm.rolled_back == [name]
        site.order("start")
        site.run()
        assert site.vm.status == "running"
        assert site.disc() == "none"
    site.close()
