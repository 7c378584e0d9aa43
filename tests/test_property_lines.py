"""Lines of a configuration that somebody wrote by hand, each in another of the ways that Proxmox VE reads: all are read
as one."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.model import State
from bridge.staff import doctor
from drivers.proxmox import lines
from tests.test_template_keys import official
from tests.world import World

HAND = {  # key: how it may stand in the file; the words of the disk's line come from the machine
    "scsi0": "discard=on,volume={first},{rest}",
    "ide2": "media=cdrom,file={first}",
    "net0": "bridge=vmbr0,model=virtio,macaddr={mac}",
    "agent": "fstrim_cloned_disks=1,enabled=yes",
    "memory": "current=1024",
    "vga": "memory=32,type=serial0",
}


def service(w: World) -> Any:
    return w.store.find_service("main", 1042)


def machine(w: World) -> Any:
    return next(v for v in w.cluster.vms.values() if not v.template)


def by_hand(vm: Any, *keys: str) -> None:
    for key in keys:
        first, _, rest = str(vm.config[key]).partition(",")
        mac = first.partition("=")[2]
        vm.edit(key, HAND[key].format(first=first, rest=rest, mac=mac).replace("discard=on,", "", "discard" in rest))


# -- one way to write it -----------------------------------------------------------------------------
@pytest.mark.parametrize("major", [8, 9])
def test_the_official_words_that_may_stand_first_are_known(major: int) -> None:
    for key, told in official(major).items():
        words = told.get("format") if isinstance(told.get("format"), dict) else {}
        first = tuple(w for w, about in words.items() if about.get("default_key"))
        text = str(told.get("typetext", ""))
        if not words and text.startswith("[[") and "=]" in text and key != "startup":  # a format that only has its text
            first = (text[2 : text.index("=")],)
        same = {w for w, about in words.items() if about.get("alias") in first}
        if first or same:
            assert set(first) | same <= set(lines.FIRST.get(key, ())), key
        second = {w: a["alias"] for w, a in words.items() if "alias" in a and "keyAlias" not in a and w not in same}
        assert {w: a for w, a in second.items() if key != "agent"}.items() <= lines.SECOND.items(), key
        models = [w for w, about in words.items() if about.get("keyAlias")]
        assert all(lines.MODEL.fullmatch(w) for w in models), key


@pytest.mark.parametrize(
    ("key", "text", "plain"),
    [
        ("scsi0", "local-lvm:vm-1-disk-0,size=4G", "local-lvm:vm-1-disk-0,size=4G"),
        ("scsi0", "size=4G,file=local-lvm:vm-1-disk-0", "local-lvm:vm-1-disk-0,size=4G"),
        ("virtio15", "volume=nfs:1/vm-1-disk-0.qcow2,cache=none", "nfs:1/vm-1-disk-0.qcow2,cache=none"),
        ("sata0", "file=local-lvm:x,iops_rd_length=60", "local-lvm:x,iops_rd_max_length=60"),
        ("ide2", "media=cdrom,file=none", "none,media=cdrom"),
        ("efidisk0", "efitype=4m,file=local-lvm:x,size=4M", "local-lvm:x,efitype=4m,size=4M"),
        ("tpmstate0", "version=v2.0,volume=local-lvm:x", "local-lvm:x,version=v2.0"),
        ("unused0", "file=local-lvm:x", "local-lvm:x"),
        ("net0", "model=virtio,macaddr=02:00:00:00:00:01,bridge=b", "virtio=02:00:00:00:00:01,bridge=b"),
        ("net0", "bridge=b,virtio=02:00:00:00:00:01,tag=4", "virtio=02:00:00:00:00:01,bridge=b,tag=4"),
        ("net0", "e1000,bridge=b,macaddr=02:00:00:00:00:01", "e1000=02:00:00:00:00:01,bridge=b"),
        ("net1", "e1000,bridge=b", "e1000,bridge=b"),
        ("agent", "yes", "1"),
        ("agent", "type=virtio,enabled=0", "0,type=virtio"),
        ("boot", "legacy=cd", "cd"),
        ("boot", "order=scsi0;net0", "order=scsi0;net0"),
        ("memory", "current=4096", "4096"),
        ("cpu", "flags=+aes,cputype=host", "host,flags=+aes"),
        ("vga", "type=none", "none"),
        ("ipconfig0", "ip=dhcp,gw6=fe80::1", "ip=dhcp,gw6=fe80::1"),
        ("smbios1", "uuid=x,base64=1", "uuid=x,base64=1"),
        ("description", "a, file=b", "a, file=b"),
        ("cores", 4, 4),
    ],
)
def test_each_way_is_read_as_pve_writes_it(key: str, text: Any, plain: Any) -> None:
    assert lines.line(key, text) == plain
    assert lines.line(key, plain) == plain


# -- an order of such a template, and a machine whose file was edited ----------------------------------
def test_a_template_written_by_hand_sells_the_same(world: World) -> None:
    for vm in world.cluster.vms.values():
        if vm.config["name"] == "debian-12":
            by_hand(vm, *HAND)
    assert [f for f in doctor.check(world.context) if f.level == "fault" and "template" in f.text] == []
    world.order("create")
    world.run()
    assert [op.state for op in world.store.operations_of(1)] == [State.DONE]
    config = machine(world).config
    assert config["scsi0"].startswith("local-lvm:vm-")
    assert "size=20G" in config["scsi0"]
    assert config["net0"].startswith(f"virtio={service(world).mac}")
    assert config["memory"] == "2048"
    assert lines.line("agent", config["agent"]).startswith("1,")  # as the image has it


@pytest.mark.parametrize("key", ["scsi0", "ide2", "net0", "memory"])
def test_a_machine_edited_by_hand_is_the_same_machine(world: World, key: str) -> None:
    world.order("create")
    world.run()
    by_hand(machine(world), key)
    before = dict(machine(world).config)
    world.order("change_package", configoptions={"RAM": "4"})
    world.run()
    world.page("snapshots", "take", note="a")
    world.run()
    world.page("backups", "take", note="b")
    world.run()
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    world.run()
    ended = {op.kind: op.state.value for op in world.store.operations_of(service(world).id)}
    assert set(ended.values()) == {"done"}, {op.kind: op.error for op in world.store.operations_of(1)}
    assert machine(world).config["net0"].partition(",")[0] == before["net0"].partition(",")[0]
    assert "size=20G" in machine(world).config["scsi0"]
    assert machine(world).config["ide2"] == before["ide2"]
    world.order("terminate")
    world.run()
    assert world.vms() == []
    assert not [v for v in world.cluster.volumes if "vm-2" in v]


# -- a name of before ----------------------------------------------------------------------------------
@pytest.mark.parametrize("cut", [63, 200])
def test_a_machine_keeps_the_name_that_another_rule_made_of_the_same_text(world: World, cut: int) -> None:
    typed = f"{'a' * 40}.{'b' * 30}.{'c' * 20}.example.com"
    world.order("create", domain=typed)
    world.run()
    assert machine(world).config["name"] == "a" * 40  # as it is cut today
    machine(world).config["name"] = typed[:cut]
    world.order("change_package", configoptions={"RAM": "4"})
    world.run()
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    world.run()
    assert machine(world).config["name"] == typed[:cut]
    assert machine(world).config["memory"] == "4096"
    machine(world).config["name"] = "renamed-by-hand"
    world.order("converge", domain=typed)
    world.run()
    assert machine(world).config["name"] == "a" * 40
