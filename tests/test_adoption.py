"""An adopted machine stays what it is, whatever is done to it, until a package is ordered for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bridge import cli, services
from bridge.errors import Refused
from bridge.model import State
from bridge.orders import packages, upgrades
from tests.hcloud.project import Server
from tests.pve.cluster import Vm
from tests.test_hetzner import Cloud
from tests.world import World

FOREIGN = {
    "cores": "4",
    "sockets": "2",
    "memory": "6144",
    "balloon": "2048",
    "name": "db.customer.example",
    "virtio0": "local-lvm:vm-555-disk-0,size=10G,cache=writeback,mbps_rd=80",
    "virtio1": "local-lvm:vm-555-disk-1,size=50G,iops_wr=500",
    "boot": "order=virtio0",
    "net0": "e1000=BC:24:11:00:00:02,bridge=vmbr0,tag=77,rate=12.5,firewall=0,mtu=1400",
    "description": "database of a customer",
    "tags": "theirs",
    "ipconfig0": "ip=203.0.113.77/24,gw=203.0.113.254",
    "vcpus": "6",
    "cpulimit": "5",
    "onboot": "0",
}
LATER = ("digest", "lock", "parent")


def adopted(path: Path) -> tuple[World, Vm]:
    world = World(path)
    vm = world.cluster.add_vm(555, "pve1", **FOREIGN)
    vm.config.pop("scsi0", None)
    for key in ("virtio0", "virtio1"):
        world.cluster.volumes[vm.config[key].split(",")[0]] = 10 * 1024**3
    package = packages.of_plan(world.config.plans["kvm-s"])
    machine = world.drivers["pve1"].inspect("555")
    services.adopt("main", 9, 7, "", package, machine, world.store, world.config)
    assert world.cluster.mutations() == []
    seen = world.drivers["pve1"].read(world.store.service(1).ref)
    world.store.save_seen(1, seen.config, seen.pending)
    return world, vm


def shape(vm: Vm) -> dict[str, Any]:
    return {k: v for k, v in {**vm.config, **vm.pending}.items() if k not in LATER}


def test_its_package_is_what_it_is(tmp_path: Path) -> None:
    world, _ = adopted(tmp_path)
    package = world.store.service(1).package
    assert (package.cores, package.ram_mib, package.disk_gib, package.additional_disk_gib) == (8, 6144, 10, 50)
    assert package.rate_mbit == 105
    assert package.limits == {"disk_read_mib_s": 80, "additional_disk_write_iops": 500}
    assert package.plan == "kvm-s"
    assert package.backups == 3
    rows = upgrades.rows_of(world.store.service(1), world.drivers["pve1"], world.store, world.config)
    assert rows
    assert all(r.same for r in rows)
    world.close()


@pytest.mark.parametrize(
    "verbs", [["suspend", "unsuspend"], ["reboot"], ["stop", "start"], ["suspend", "suspend", "unsuspend"]]
)
def test_orders_leave_it_alone(tmp_path: Path, verbs: list[str]) -> None:
    world, vm = adopted(tmp_path)
    before = shape(vm)
    for verb in verbs:
        world.order(verb, 9)
        world.run()
        assert world.store.operations_of(1)[0].state is State.DONE, world.store.operations_of(1)[0]
    assert shape(vm) == before
    assert vm.status == "running"
    assert vm.firewall.get("enable", "0") in ("0", 0)
    world.close()


def test_one_that_starts_with_its_host_does_so_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    vm = world.cluster.add_vm(555, "pve1", **{**FOREIGN, "onboot": "1"})
    package = packages.of_plan(world.config.plans["kvm-s"])
    services.adopt("main", 9, 7, "", package, world.drivers["pve1"].inspect("555"), world.store, world.config)
    world.order("suspend", 9)
    world.run()
    assert vm.config["onboot"] in ("0", 0)
    world.order("unsuspend", 9)
    world.run()
    assert vm.config["onboot"] in ("1", 1)
    assert shape(vm)["cores"] == "4"
    world.close()


def test_a_rollback_brings_its_size_back_and_nothing_else(tmp_path: Path) -> None:
    world, vm = adopted(tmp_path)
    world.page("snapshots", "take", 9, description="before")
    world.run()
    before = shape(vm)
    name = world.store.snapshots_of(1)[0]["name"]
    vm.snapshots[name]["config"]["cores"] = "1"  # an older shape of it
    world.page("snapshots", "rollback", 9, name=name)
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE, world.store.operations_of(1)[0]
    after = shape(vm)
    assert int(after["cores"]) * int(after.get("sockets", 1)) == 8
    same = {k for k in before if k not in ("cores", "sockets")}
    assert {k: after.get(k) for k in same} == {k: before[k] for k in same}
    world.close()


def test_a_reinstall_keeps_its_shape(tmp_path: Path) -> None:
    world, vm = adopted(tmp_path)
    vm.config["ide2"] = "local-lvm:vm-555-cloudinit,media=cdrom"
    before = shape(vm)
    world.page("reinstall", "reinstall", 9, template="debian-12", confirm="REINSTALL")
    world.run(3600)
    op = world.store.operations_of(1)[0]
    assert op.state is State.DONE, op
    after = shape(vm)
    for key in (
        "cores",
        "sockets",
        "memory",
        "balloon",
        "net0",
        "name",
        "description",
        "tags",
        "ipconfig0",
        "vcpus",
        "cpulimit",
    ):
        assert after.get(key) == before[key], key
    assert "size=10G" in after["virtio0"]
    assert "size=50G" in after["virtio1"]
    world.close()


def test_a_converge_by_staff_writes_the_plans_package(tmp_path: Path) -> None:
    world, vm = adopted(tmp_path)
    world.order("converge", 9, domain="db.customer.example")
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE
    after = shape(vm)
    assert (after["cores"], after["memory"], after["name"]) == ("2", "2048", "db.customer.example")
    assert "size=20G" in after["virtio0"]
    assert "tag=77" not in after["net0"]
    assert world.store.service(1).package.cores == 2
    assert world.store.service(1).birth.ordered is None
    world.close()


def test_a_change_of_package_writes_and_ends_the_freeze(tmp_path: Path) -> None:
    world, vm = adopted(tmp_path)
    with pytest.raises(Refused, match="additional disk has 50 GiB and cannot shrink"):
        world.order("change_package", 9)
    assert world.store.service(1).birth.ordered
    world.order("change_package", 9, configoption4="12", configoption7="60")
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE, world.store.operations_of(1)[0]
    after = shape(vm)
    assert after["cores"] == "12"
    assert "size=60G" in after["virtio1"]
    assert world.store.service(1).birth.ordered is None
    world.close()


def test_a_finding_about_it_is_about_what_it_was(tmp_path: Path) -> None:
    """What somebody changes by hand differs; mending that brings back what it was, not the plan."""
    world, vm = adopted(tmp_path)
    vm.config["cores"] = "1"
    seen = world.drivers["pve1"].read(world.store.service(1).ref)
    world.store.save_seen(1, seen.config, seen.pending)
    service = world.store.service(1)
    rows = upgrades.rows_of(service, world.drivers["pve1"], world.store, world.config)
    assert [(r.word, r.sold, r.real) for r in rows if not r.same] == [("cores", 8, 2)]
    world.store.submit(1, "converge", "system")
    world.run()
    after = shape(vm)
    assert int(after["cores"]) * int(after.get("sockets", 1)) == 8
    assert after["net0"] == FOREIGN["net0"]
    world.close()


def test_the_command_tells_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    vm = world.cluster.add_vm(555, "pve1", **FOREIGN)
    vm.config.pop("scsi0", None)
    before = dict(vm.config)
    monkeypatch.setattr(cli.adopt, "opened", lambda path, migrated=True: world.context)
    done = CliRunner().invoke(cli.main, ["adopt", "9", "555", "--plan", "kvm-s", "--client", "7"])
    assert done.exit_code == 0, done.output
    assert vm.config == before, done.output
    for line in (
        "it stays as it is; the button Converge in WHMCS, or a change of package, makes it as plan 'kvm-s' sells it:",
        "CPU cores: 8 -> 2",
        "RAM: 6144 MiB -> 2048 MiB",
        "System disk: 10 GiB -> 20 GiB",
        "VLAN: 77 -> 40",
        "cannot shrink to 0 GiB",
    ):
        assert line in done.output, done.output
    world.close()


def test_a_cloud_server_keeps_its_type(tmp_path: Path) -> None:
    world = Cloud(tmp_path)
    uuid, package = "11111111-2222-4333-8444-555555555555", packages.of_plan(world.config.plans["kvm-s"])
    server = Server(77, "old-shop", "cx33", "debian-12", "nbg1", {"vmbridge": uuid}, "", "running")
    world.cloud.servers[77] = server
    driver = world.drivers["pve1"]
    services.adopt("main", 9, 7, "", package, driver.inspect("77"), world.store, world.config)
    adopted_package = world.store.service(1).package
    assert (adopted_package.cores, adopted_package.ram_mib, adopted_package.options["server_type"]) == (4, 8192, "cx33")
    for verb in ("suspend", "unsuspend", "converge"):
        world.order(verb, 9)
        world.run()
        assert world.store.operations_of(1)[0].state is State.DONE, world.store.operations_of(1)[0]
        if verb != "converge":
            assert (server.kind, server.status) == ("cx33", {"suspend": "off"}.get(verb, "running"))
    assert world.store.service(1).birth.ordered is None
    world.close()


def test_a_fresh_system_in_a_machine_without_a_cloud_init_drive_gets_its_password(tmp_path: Path) -> None:
    world, vm = adopted(tmp_path)
    assert not any("cloudinit" in v for v in vm.config.values())
    world.page("reinstall", "reinstall", 9, template="debian-12", confirm="REINSTALL")
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE
    assert vm.ran["user"] == "root", vm.ran
    assert vm.ran["password"].startswith("$6$"), vm.ran
    assert vm.ran["address"], vm.ran
    world.close()


def test_a_fresh_system_in_an_adopted_machine_leaves_its_disk_driven_as_it_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    vm = world.cluster.add_vm(555, "pve1", cores="8", scsi0="local-lvm:vm-555-disk-0,size=20G,cache=writeback")
    vm.config["ide2"] = "local-lvm:vm-555-cloudinit,media=cdrom"
    machine = world.drivers["pve1"].inspect("555")
    package = packages.resolve({"configoption1": "kvm-s"}, "pve1", world.config).package
    services.adopt("main", 9, 7, "", package, machine, world.store, world.config)
    service = world.store.find_service("main", 9)
    assert service
    world.page("reinstall", "reinstall", 9, template="debian-12", confirm="REINSTALL")
    world.run()
    assert world.store.operations_of(service.id)[0].state.value == "done"
    assert "cache=writeback" in vm.config["scsi0"]
    assert vm.config["cores"] == "8"
    world.close()
