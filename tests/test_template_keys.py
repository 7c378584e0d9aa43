"""What a template brings along: every key of both majors is decided on, and what cannot be sold is refused before
anything is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bridge.model import State
from bridge.staff import doctor
from drivers.proxmox import convert, keys
from drivers.proxmox.keys import Use
from tests.world import World

SHARED = Path(__file__).parent.parent.parent / "shared/reference"


def official(major: int) -> dict[str, Any]:
    path = SHARED / f"pve-api-schema-{major}.json"
    if not path.exists():
        pytest.skip("the official API description is not beside this checkout")
    call = json.loads(path.read_text("utf-8"))["paths"]["/nodes/{node}/qemu/{vmid}/config"]["POST"]
    properties: dict[str, Any] = call["parameters"]["properties"]
    return properties


# -- the table ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("major", [8, 9])
def test_every_key_of_the_schema_is_decided_on(major: int) -> None:
    known = official(major)
    assert sorted(k for k in known if k not in keys.KEYS and k not in keys.REQUEST) == []
    for slot in ("scsi[n]", "virtio[n]", "sata[n]", "ide[n]"):
        assert sorted(set(known[slot]["format"]) - set(keys.DRIVE)) == [], slot
    models = {"virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "pcnet"}
    parts = {p for p in known["net[n]"]["format"] if not any(p.startswith(m) for m in (*models, "i825", "ne2k"))}
    assert sorted(parts - set(keys.NIC)) == []


def test_the_table_names_nothing_that_is_in_neither_major() -> None:
    known = {**official(8), **official(9)}
    own = {k for k, v in keys.KEYS.items() if v.use is Use.OWN}
    assert sorted(set(keys.KEYS) - set(known) - own) == []


def test_what_is_taken_off_can_be_taken_off_by_a_token_and_says_so_in_words() -> None:
    for name, key in {**keys.KEYS, **keys.DRIVE, **keys.NIC}.items():
        assert key.why, name
        assert not (key.root and key.use in (Use.SOLD, Use.CLEARED, Use.BIRTH)), name
        assert key.label or key.use is not Use.CLEARED, name
        assert not key.label or key.use in (Use.CLEARED, Use.REFUSED), name
        assert key.never or key.use is not Use.REFUSED, name


def test_numbers_belong_to_the_family_but_where_there_is_only_one() -> None:
    assert [keys.base_name(k) for k in ("scsi12", "numa", "numa0", "efidisk0", "net0", "smbios1", "cores")] == [
        "scsi[n]",
        "numa",
        "numa[n]",
        "efidisk0",
        "net[n]",
        "smbios1",
        "cores",
    ]


# -- which disk PVE boots ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("config", "slot"),
    [
        ({"boot": "order=scsi0;ide2;net0"}, "scsi0"),
        ({"boot": "order=virtio0;scsi0"}, "virtio0"),
        ({"boot": "order=net0;ide2;virtio0"}, "virtio0"),
        ({"boot": "c", "bootdisk": "virtio0"}, "virtio0"),
        ({"boot": "cdn", "bootdisk": "virtio0"}, "virtio0"),
        ({"boot": "legacy=dc", "bootdisk": "virtio0"}, "virtio0"),
        ({"bootdisk": "virtio0"}, "virtio0"),  # no boot at all: cdn
        ({"boot": "order=virtio0", "bootdisk": "scsi0"}, "virtio0"),  # the old word means nothing beside an order
        ({"boot": "n", "bootdisk": "virtio0"}, "scsi0"),
        ({}, "scsi0"),
    ],
)
def test_the_system_disk_is_what_pve_boots(config: dict[str, str], slot: str) -> None:
    both = {"scsi0": "local-lvm:vm-1-disk-1,size=4G", "virtio0": "local-lvm:vm-1-disk-0,size=8G"}
    cds = {"ide2": "local-lvm:vm-1-cloudinit,media=cdrom", "net0": "virtio=02:00:00:00:00:01,bridge=vmbr0"}
    assert convert.system_disk({**config, **both, **cds}) == slot


def test_a_cloud_init_drive_is_told_by_its_volume() -> None:
    for good in ("local-lvm:vm-9-cloudinit", "nfs:9/vm-9-cloudinit.qcow2", "local-lvm:cloudinit"):
        assert convert.cloud_init_slot({"ide2": f"{good},media=cdrom"}) == "ide2", good
    assert convert.cloud_init_slot({"ide2": "local:iso/cloudinit-tools.iso,media=cdrom"}) == ""


# -- refused before the clone, by the words of the doctor ---------------------------------------------
UNFIT: list[tuple[dict[str, str | None], str]] = [
    ({"ide2": None}, "no cloud-init drive"),
    ({"scsi1": "local-lvm:vm-9000-disk-1,size=4G"}, "boots from scsi0 and has further disks (scsi1)"),
    ({"boot": "c", "bootdisk": "virtio0", "virtio0": "local-lvm:base-1-disk-1,size=8G"}, "further disks (scsi0)"),
    (
        {"boot": "order=net0", "virtio0": "local-lvm:base-1-disk-1,size=8G"},
        "several disks (scsi0, virtio0) and boots from none",
    ),
    ({"scsi0": None}, "no system disk"),
    ({"scsi0": "local-lvm:base-9000-disk-0,size=100G"}, "bigger disk than the plan's"),
    ({"scsi0": "/dev/disk/by-id/x,size=2252M"}, "device of the host"),
    ({"affinity": "0-1"}, "affinity (0-1)"),
    ({"args": "-cpu host"}, "args"),
    ({"hookscript": "local:snippets/x.pl"}, "hookscript"),
    ({"ivshmem": "size=1"}, "ivshmem"),
    ({"virtiofs0": "dirid=share"}, "virtiofs0"),
    ({"hostpci0": "0000:01:00.0,pcie=1"}, "hostpci0"),
    ({"usb0": "host=1234:5678"}, "usb0"),
    ({"serial1": "/dev/ttyS0"}, "serial1"),
    ({"parallel0": "/dev/parport0"}, "parallel0"),
    ({"rng0": "source=/dev/hwrng"}, "rng0"),
    ({"cicustom": "user=local:snippets/u.yaml,vendor=local:snippets/v.yaml"}, "cicustom"),
    ({"hugepages": "1024"}, ""),
]


def templates_with(w: World, config: dict[str, str | None]) -> None:
    for vm in w.cluster.vms.values():
        if vm.config["name"] == "debian-12":
            own = f"base-{vm.vmid}-"
            vm.config.update({k: v.replace("base-9000-", own) for k, v in config.items() if v is not None})
            for gone in (k for k, v in config.items() if v is None):
                vm.config.pop(gone, None)


@pytest.mark.parametrize(("config", "text"), UNFIT, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_what_check_calls_a_fault_an_order_refuses_by_name_before_the_clone(
    world: World, config: dict[str, str | None], text: str
) -> None:
    templates_with(world, config)
    faults = [f.text for f in doctor.check(world.context) if f.level == "fault" and f.subject.startswith("plan ")]
    world.order("create")
    world.run()
    [op] = world.store.operations_of(1)
    if not text:  # whole pages: nothing is wrong
        assert op.state is State.DONE
        assert faults == []
        return
    assert any(text in f for f in faults), faults
    assert (op.error_code, op.state) == ("template_unfit", State.FAILED), op
    assert text in op.error_text, op
    assert world.vms() == []
    assert world.cluster.mutations() == []
    assert any(f in op.error_text for f in faults), (faults, op.error_text)  # the same sentence


@pytest.mark.parametrize(
    "config",
    [
        {"usb0": "spice"},
        {"usb0": "mapping=dongle"},
        {"hostpci0": "mapping=gpu"},
        {"cicustom": "vendor=local:snippets/v"},
    ],
)
def test_what_is_left_to_the_template_on_purpose_is_no_fault(world: World, config: dict[str, str | None]) -> None:
    templates_with(world, config)
    assert [f for f in doctor.check(world.context) if f.level != "ok"] == []


def test_the_other_nodes_template_is_taken_when_one_is_unfit(world: World) -> None:
    world.cluster.vms[9000].config["scsi1"] = "local-lvm:vm-9000-disk-1,size=4G"  # on pve1 alone
    world.order("create")
    world.run()
    assert world.cluster.vms[20000].node == "pve2"


def test_a_reinstall_is_refused_before_anything_is_stopped(world: World) -> None:
    world.order("create")
    world.run()
    world.cluster.vms[9000].config["scsi1"] = world.cluster.vms[9001].config["scsi1"] = (
        "local-lvm:base-1-disk-1,size=4G"
    )
    vm, before = world.cluster.vms[20000], dict(world.cluster.vms[20000].config)
    world.cluster.calls.clear()
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    world.run()
    op = world.store.operations_of(1)[0]
    assert (op.error_code, vm.status, vm.config) == ("template_unfit", "running", before)
    assert world.cluster.mutations() == []
