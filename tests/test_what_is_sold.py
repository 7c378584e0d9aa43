"""What is sold arrives, whatever the template brought: processor, disks, network, password, backups; and what differs
is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import Refused
from bridge.model import Order, Package, State
from bridge.orders import upgrades
from bridge.staff import contents, findings, mending
from drivers.proxmox import goal
from tests.test_template_keys import templates_with
from tests.world import World


def made(world: World, config: dict[str, str | None], **values: Any) -> Any:
    """The machine of an order from a template with this configuration."""
    templates_with(world, config)
    world.order("create", **values)
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE, world.store.operations_of(1)[0]
    return world.cluster.vms[20000]


def newest(world: World) -> Any:
    return world.store.operations_of(1)[0]


def differing(world: World) -> dict[str, tuple[Any, Any]]:
    rows = upgrades.rows_of(world.store.service(1), world.drivers["pve1"], world.store, world.config)
    return {r.word: (r.sold, r.real) for r in rows if not r.same}


def sweep(world: World) -> list[str]:
    findings.sweep_state("pve1", world.drivers["pve1"], world.store, now=True)
    contents.sweep_contents("pve1", world.drivers["pve1"], world.store, world.config, everything=True)
    return [f["text"] for f in world.store.findings(1) if f["kind"] == "differs_from_package"]


# -- birth -------------------------------------------------------------------------------------------
BASE = "local-lvm:base-9000-disk-0,size=2252M"
BROUGHT: list[dict[str, str | None]] = [
    {"scsi0": f"{BASE},backup=0"},
    {"scsi0": f"{BASE},backup=no,ro=1"},
    {"scsi0": f"{BASE},snapshot=1,cache=unsafe,werror=ignore,rerror=ignore"},
    {"scsi0": f"{BASE},mbps=1,iops=10,bps=9999,iops_rd=5,iops_rd_max=50,iops_rd_max_length=3"},
    {"vcpus": "1", "cpulimit": "1", "cpuunits": "100", "smp": "2"},
    {"numa": "1", "numa0": "cpus=0,memory=1024"},
    {"freeze": "1", "acpi": "0", "reboot": "0", "startdate": "2006-06-17"},
    {"cicustom": "user=local:snippets/base.yaml"},
    {"cicustom": "network=local:snippets/n.yaml,meta=local:snippets/m.yaml"},
    {"net0": "e1000=BC:24:11:00:00:01,bridge=vmbr0,link_down=1,trunks=2;3,rate=1,tag=7,firewall=0"},
    {"net1": "virtio=BC:24:11:00:00:09,bridge=vmbr0", "ipconfig1": "ip=192.0.2.9/24"},
    {"boot": "c", "bootdisk": "virtio0", "virtio0": f"{BASE}", "scsi0": None},
    {"boot": "order=net0;scsi0"},
    {"boot": "order=ide2;scsi0;net0"},
    {"balloon": "256", "shares": "100"},
    {"ide0": "local:iso/drivers.iso,media=cdrom"},
    {"vga": "none"},
    {"vga": "type=none,memory=16"},
    {"memory": "current=4096"},
    {"smbios1": None},
    {"scsi0": None, "scsi30": BASE, "boot": "order=scsi30"},
]


@pytest.mark.parametrize("config", BROUGHT, ids=lambda c: ",".join(c))
def test_a_new_server_is_what_was_sold_whatever_the_template_brought(
    world: World, config: dict[str, str | None]
) -> None:
    vm = made(world, config)
    disk = next((d for d in ("virtio0", "scsi30") if d in config), "scsi0")
    ran = {k: v for k, v in vm.ran.items() if k not in ("password", "address")}
    assert ran == {
        "cores": 2,
        "disk": disk,
        "from": disk,
        "system": "debian-12",
        "user": "root",
        "halted": False,
        "online": True,
        "writes": True,
    }
    assert vm.ran["password"].startswith("$6$")
    assert vm.ran["address"].startswith("ip=203.0.113.")
    gone = (
        "vcpus",
        "cpulimit",
        "cpuunits",
        "smp",
        "numa0",
        "freeze",
        "acpi",
        "reboot",
        "startdate",
        "cicustom",
        "shares",
    )
    assert not [k for k in (*gone, "bootdisk", "net1", "ipconfig1") if k in vm.config]
    parts = dict(p.partition("=")[::2] for p in vm.config[disk].split(",")[1:])
    assert set(parts) <= {"size", "format"}
    assert parts["size"] == "20G"
    assert vm.config["net0"].startswith("virtio=")
    assert "trunks" not in vm.config["net0"]
    assert ",tag=40" in vm.config["net0"]
    assert "firewall=1" in vm.config["net0"]
    assert vm.config["boot"].startswith(("order=scsi0", "order=scsi30", "order=virtio0", "order=ide2;scsi0"))
    assert vm.config["vga"] == "std"
    assert vm.config["ide0"] == "none,media=cdrom"
    assert vm.config["balloon"] == vm.config["memory"]
    assert differing(world) == {}
    assert sweep(world) == []


def test_the_cause_of_each_key_is_told_by_check_and_cleared(world: World) -> None:
    from bridge.staff import doctor

    templates_with(world, {"cicustom": "user=local:snippets/base.yaml", "scsi0": f"{BASE},backup=0", "vcpus": "1"})
    said = [f.text for f in doctor.check(world.context) if "every order takes off" in f.text]
    assert said
    assert all(w in said[0] for w in ("cicustom", "vcpus", "scsi0 backup=0"))


# -- later: compared, told in words, written by converge ----------------------------------------------
LATER: list[tuple[dict[str, str], str]] = [
    ({"vcpus": "1"}, "CPU cores switched on is 1, sold all."),
    ({"cpulimit": "1"}, "Limit of processor time is 1, sold unlimited."),
    ({"cpuunits": "50"}, "Weight of processor time is 50, sold as all."),
    ({"freeze": "1"}, "Processor halted at the start is on, sold off."),
    ({"acpi": "0"}, "Shutdown on request (ACPI) is off, sold on."),
    ({"cicustom": "user=local:snippets/x"}, "Cloud-init files in place of ours is user=local:snippets/x, sold none."),
    ({"scsi0": "local-lvm:vm-20000-disk-0,backup=0,size=20G"}, "System disk: In backups is off, sold on."),
    (
        {"scsi0": "local-lvm:vm-20000-disk-0,snapshot=1,size=20G"},
        "System disk: Forgets what is written is on, sold off.",
    ),
    ({"scsi0": "local-lvm:vm-20000-disk-0,mbps=5,size=20G"}, "together, MiB/s is 5, sold unlimited."),
    ({"net0": "LINK"}, "Network cable plugged in is off, sold on."),
    ({"boot": "order=net0;scsi0"}, "Boot order is order=net0;scsi0, sold order=scsi0;net0."),
    ({"balloon": "64"}, "RAM that is never taken back is 64 MiB, sold 2048 MiB."),
]


@pytest.mark.parametrize(("config", "text"), LATER, ids=lambda x: ",".join(x) if isinstance(x, dict) else "")
def test_what_takes_from_the_sold_is_told_in_words_and_mended(world: World, config: dict[str, str], text: str) -> None:
    vm = made(world, {})
    before = dict(vm.config)
    vm.config.update({k: v if v != "LINK" else f"{vm.config['net0']},link_down=1" for k, v in config.items()})
    [told] = sweep(world)
    assert text in told
    row = next(f for f in world.store.findings(1) if f["kind"] == "differs_from_package")
    assert findings.fixable(row)
    mending.fix(row["id"], "staff", world.store, world.config, world.drivers)
    world.run()
    world.order("reboot")
    world.run()
    assert {k: v for k, v in vm.config.items() if k != "boot"} == {k: v for k, v in before.items() if k != "boot"}
    assert vm.config["boot"].startswith("order=scsi0")
    assert sweep(world) == []


def test_what_only_root_can_change_is_told_and_left(world: World) -> None:
    vm = made(world, {})
    vm.config["affinity"] = "0-1"
    [told] = sweep(world)
    row = next(f for f in world.store.findings(1) if f["kind"] == "differs_from_package")
    assert "Cores of the host it is tied to is 0-1, sold all." in told
    assert not findings.fixable(row)
    assert "by hand" in row["fix"]
    world.order("change_package", configoptions={"CPU Cores": "4"})
    world.run()
    assert newest(world).state is State.DONE
    assert vm.config["affinity"] == "0-1"


def test_an_adopted_machine_is_compared_and_never_cleaned(world: World) -> None:
    vm = made(world, {})
    vm.config |= {"cpulimit": "1", "scsi0": vm.config["scsi0"] + ",backup=0", "boot": "order=net0;scsi0"}
    world.store.update_service(1, birth=replace(world.store.service(1).birth, adopted=True))
    kept = {k: vm.config[k] for k in ("cpulimit", "scsi0", "boot")}
    [told] = sweep(world)
    assert "Limit of processor time is 1" in told
    assert "In backups is off" in told
    assert not findings.fixable(next(f for f in world.store.findings(1) if f["kind"] == "differs_from_package"))
    world.order("converge")
    world.run()
    assert {k: vm.config[k] for k in kept} == kept


def test_a_second_disk_that_nobody_sold_does_not_stand_in_the_way_of_more_cores(world: World) -> None:
    vm = made(world, {})
    vm.config["scsi1"] = "local-lvm:vm-20000-disk-9,size=4G"
    sweep(world)
    assert [f["kind"] for f in world.store.findings(1)] == ["disk_bigger_than_sold"]
    world.order("change_package", configoptions={"CPU Cores": "4"})
    world.run()
    assert newest(world).state is State.DONE
    world.order("reboot")
    world.run()
    assert vm.ran["cores"] == 4
    assert vm.config["scsi1"].endswith("size=4G")


def test_a_disk_that_was_sold_still_cannot_shrink(world: World) -> None:
    made(world, {})
    world.order("change_package", configoptions={"System Disk": "40"})
    world.run()
    with pytest.raises(Refused, match="cannot shrink"):
        world.order("change_package", configoptions={"System Disk": "20"})


# -- backups -----------------------------------------------------------------------------------------
def test_a_backup_without_a_disk_that_is_sold_is_refused_before_anything_is_made(world: World) -> None:
    vm = made(world, {})
    vm.config["scsi0"] += ",backup=0"
    world.page("backups", "take")
    world.run()
    op = newest(world)
    assert (op.error_code, op.state) == ("backup_failed", State.FAILED)
    assert "system disk (scsi0)" in op.error_text
    assert world.store.backups_of(1) == []
    assert not [p for _, p in world.cluster.mutations() if p.endswith("vzdump")]


def test_an_archive_that_lacks_a_disk_is_no_backup_and_does_not_stay(world: World) -> None:
    vm = made(world, {})

    def staff(when: str, index: int, method: str, path: str) -> None:
        """Takes the disk out of backups after our look and before the backup."""
        if when == "before" and path.endswith("/vzdump"):
            vm.config["scsi0"] += ",backup=0"

    world.cluster.on_call = staff
    world.page("backups", "take")
    world.run()
    op = newest(world)
    assert op.error_code == "backup_failed"
    assert "without the system disk (scsi0)" in op.error_text
    world.clock.time += 5
    world.cluster.settle()
    assert world.store.backups_of(1) == []
    assert not [v for v in world.cluster.volumes if ":backup/" in v]


def test_an_old_archive_without_the_system_disk_stops_nothing(world: World) -> None:
    vm = made(world, {})
    world.page("backups", "take")
    world.run()
    [row] = world.store.backups_of(1)
    world.cluster.archives[row["archive"]]["disks"] = []  # as an earlier release took it for good
    before = dict(vm.config)
    world.cluster.calls.clear()
    world.page("backups", "restore", backup=row["id"])
    world.run()
    op = newest(world)
    assert op.error_code == "backup_incomplete"
    assert "system disk (scsi0)" in op.error_text
    assert (vm.status, vm.config, world.cluster.mutations()) == ("running", before, [])
    assert not world.store.service(1).birth.restoring


def test_a_disk_that_is_not_sold_may_stay_out(world: World) -> None:
    vm = made(world, {})
    vm.config["scsi1"] = "local-lvm:vm-20000-disk-9,size=4G,backup=0"
    world.page("backups", "take")
    world.run()
    assert world.store.backups_of(1)[0]["state"] == "ready"


def test_a_sold_additional_disk_has_to_be_in_it(world: World) -> None:
    vm = made(world, {}, configoption9="1", configoptions={"Additional Disk": "10"})
    assert "size=10G" in vm.config["scsi1"]
    vm.config["scsi1"] += ",backup=0"
    world.page("backups", "take")
    world.run()
    assert newest(world).error_code == "backup_failed"
    assert "additional disk (scsi1)" in newest(world).error_text


# -- reinstall ---------------------------------------------------------------------------------------
UEFI: dict[str, str | None] = {
    "bios": "ovmf",
    "machine": "q35",
    "efidisk0": "local-lvm:base-9000-disk-1,efitype=4m,pre-enrolled-keys=1,size=4M",
    "tpmstate0": "local-lvm:base-9000-disk-2,size=4M,version=v2.0",
    "citype": "configdrive2",
    "tablet": "0",
}


def reinstalled(world: World) -> Any:
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    world.run()
    assert newest(world).state is State.DONE, newest(world)
    return world.cluster.vms[20000]


@pytest.mark.parametrize("was", [{}, {"tpmstate0": "local-lvm:base-9000-disk-2,size=4M,version=v1.2"}, UEFI])
def test_a_reinstall_takes_the_firmware_and_the_hardware_of_the_image(world: World, was: dict[str, str | None]) -> None:
    vm = made(world, was)
    old = {k: vm.config.get(k, "").split(",")[0] for k in ("scsi0", "efidisk0", "tpmstate0")}
    templates_with(world, UEFI)
    reinstalled(world)
    assert {k: vm.config[k] for k in ("bios", "machine", "citype", "tablet")} == {
        k: UEFI[k] for k in ("bios", "machine", "citype", "tablet")
    }
    assert "pre-enrolled-keys=1" in vm.config["efidisk0"]
    assert "version=v2.0" in vm.config["tpmstate0"]
    for slot, volume in old.items():
        assert vm.config[slot].split(",")[0] != volume
        assert vm.config[slot].startswith("local-lvm:vm-20000-")
    assert not [k for k in vm.config if k.startswith("unused")]
    assert not [v for v in old.values() if v and v in world.cluster.volumes]


def test_firmware_of_the_old_image_does_not_stay(world: World) -> None:
    vm = made(world, UEFI)
    templates_with(world, dict.fromkeys(UEFI))
    reinstalled(world)
    assert not [k for k in vm.config if k in UEFI or k.startswith("unused")]


@pytest.mark.parametrize("adopted", [False, True])
def test_a_fresh_system_gets_its_password_in_a_machine_without_a_cloud_init_drive(world: World, adopted: bool) -> None:
    vm = made(world, {})
    del vm.config["ide2"]
    vm.config["cicustom"] = "user=local:snippets/x"
    if adopted:
        world.store.update_service(1, birth=replace(world.store.service(1).birth, adopted=True))
    reinstalled(world)
    assert "cloudinit" in vm.config["ide2"]
    assert vm.ran["password"].startswith("$6$")
    assert vm.ran["user"] == "root"


def test_a_missing_cloud_init_drive_is_told(world: World) -> None:
    vm = made(world, {})
    del vm.config["ide2"]
    [told] = sweep(world)
    assert "Drive that tells the system its password and addresses (cloud-init) is off, sold on." in told


def test_a_system_for_another_kind_of_machine_is_refused_before_anything_is_stopped(world: World) -> None:
    vm = made(world, {})
    templates_with(world, {"arch": "aarch64"})
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    world.run()
    assert (newest(world).error_code, vm.status) == ("template_unfit", "running")
    assert "arch" in newest(world).error_text


def test_an_interruption_at_birth_does_not_change_which_disk_is_the_systems() -> None:
    """The order of the new kind is written before the word of the old kind goes."""
    package = Package(
        "p", "s", "t", 1, 512, 10, options={"tags": [], "onboot": True, "firewall": True, "nic_model": "virtio"}
    )
    package.options.update({"bridge": "vmbr0", "vlan": 0})
    order = Order("1", "u", "h", "02:00:00:00:00:01", package, (), birth=True)
    config = {"boot": "c", "bootdisk": "virtio0", "scsi0": "l:vm-1-disk-1,size=10G", "virtio0": "l:vm-1-disk-0,size=8G"}
    todo = goal.changes(order, {**config, "ide2": "l:vm-1-cloudinit,media=cdrom"})
    assert todo.boot == "order=virtio0"
    assert "bootdisk" in todo.drop
    assert todo.grow == [("virtio0", 10)]


def test_a_reinstall_keeps_how_the_templates_disk_is_driven(world: World) -> None:
    vm = made(world, {"scsi0": f"{BASE},discard=on,iothread=1,ssd=1,backup=0,mbps=1"})
    how = {p for p in vm.config["scsi0"].split(",")[1:] if not p.startswith(("size", "format"))}
    assert how == {"discard=on", "iothread=1", "ssd=1"}
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    world.run()
    assert newest(world).state is State.DONE
    assert {p for p in vm.config["scsi0"].split(",")[1:] if not p.startswith(("size", "format"))} == how


def test_another_bus_does_not_get_what_only_the_templates_can_do(world: World) -> None:
    """PVE refuses `iothread` on SATA."""
    vm = made(world, {})
    vm.config["sata0"] = vm.config.pop("scsi0")
    vm.config["boot"] = "order=sata0"
    templates_with(world, {"scsi0": f"{BASE},discard=on,iothread=1"})
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    world.run()
    assert newest(world).state is State.DONE, newest(world).error_text
    assert "iothread" not in vm.config["sata0"], newest(world).error_text
