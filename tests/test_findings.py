"""Findings: each kind planted, found, mended and ended; what is not ours is never touched. The simulated cluster is the
judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import NotOurs, Refused
from bridge.model import Capability, State
from bridge.staff import contents, doctor, findings, mending
from tests.configs import raw_config
from tests.pve.cluster import Fault, Vm
from tests.test_adoption import adopted
from tests.world import World

DAY = 86400.0
DISK = "local-lvm:vm-20000-disk-7"
ARCHIVE = "nfs-backup:backup/vzdump-qemu-20000-2027_01_15-08_00_00.vma.zst"


class Swept(World):
    """A world that can look for findings; time passes before each look, as it would."""

    def state(self) -> None:
        self.clock.time += 3700
        assert findings.sweep_state("pve1", self.drivers["pve1"], self.store)

    def contents(self) -> int:
        self.clock.time += 100
        self.state()
        return contents.sweep_contents("pve1", self.drivers["pve1"], self.store, self.config, everything=True)

    def open(self, everything: bool = True) -> list[str]:
        return sorted(f["kind"] for f in self.store.findings(dismissed=everything))

    def one(self, kind: str) -> dict[str, Any]:
        findings = [f for f in self.store.findings(dismissed=True) if f["kind"] == kind]
        assert len(findings) == 1, self.open()
        return findings[0]

    def fix(self, kind: str) -> str:
        text = mending.fix(self.one(kind)["id"], "test", self.store, self.config, self.drivers)
        self.run()
        return text

    def changes(self) -> list[tuple[str, str]]:
        return self.cluster.mutations()


def made(path: Path, *verbs: str, **config: Any) -> Swept:
    world = Swept(path, **config)
    world.cluster.privileges["/storage"] |= {"Datastore.Allocate"}
    world.cluster.privileges["/vms"] |= {"VM.Backup"}
    for verb in ("create", *verbs):
        world.order(verb)
        world.run()
    world.cluster.calls.clear()
    return world


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Swept]:
    world = made(tmp_path)
    yield world
    world.close()


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Swept]:
    world = made(tmp_path, "terminate")
    yield world
    world.close()


# -- machines -------------------------------------------------------------------------------------
def test_a_sound_service_has_no_findings_and_nothing_is_written(live: Swept) -> None:
    live.contents()
    assert live.open() == []
    assert live.changes() == []


def test_suspended_but_running(live: Swept) -> None:
    live.order("suspend")
    live.run()
    vm = live.cluster.vms[20000]
    vm.status, vm.started = "running", live.clock.now()
    live.state()
    assert "VM 20000 of service 1042 (main) is running" in live.one("suspended_but_running")["text"]
    assert "has begun" in live.fix("suspended_but_running")
    assert vm.status == "stopped"
    live.state()
    assert live.open() == []
    with pytest.raises(Refused, match="over"):
        mending.fix(1, "test", live.store, live.config, live.drivers)


def test_an_operation_that_is_open_or_just_ended_is_no_finding(live: Swept) -> None:
    live.order("suspend")
    live.state()  # ordered, not done
    assert live.open() == []
    live.run()
    vm = live.cluster.vms[20000]
    vm.status = "running"
    live.clock.time += 70
    assert findings.sweep_state("pve1", live.drivers["pve1"], live.store, now=True)
    assert live.open() == []  # the bulk read may be older than the operation's end


def test_it_was_switched_off_meanwhile(live: Swept) -> None:
    live.order("suspend")
    live.run()
    vm = live.cluster.vms[20000]
    vm.status = "running"
    live.state()
    key = live.one("suspended_but_running")["id"]
    vm.status = "stopped"
    with pytest.raises(Refused, match="over"):
        mending.fix(key, "test", live.store, live.config, live.drivers)
    assert live.open() == []
    assert live.store.current_operation(1) is None


def test_a_machine_left_after_terminate(live: Swept) -> None:
    """It comes back from a backup that staff restored after the end."""
    before = live.cluster.vms[20000]
    live.order("terminate")
    live.run()
    live.cluster.vms[20000] = before
    before.status = "running"
    live.state()
    assert live.open() == ["leftover_vm"]
    live.fix("leftover_vm")
    assert live.vms() == []
    assert live.store.operations_of(1)[0].state is State.DONE
    live.state()
    assert live.open() == []


def test_a_foreign_machine_under_the_id_of_a_terminated_service_is_not_touched(ended: Swept) -> None:
    ended.cluster.add_vm(20000, "pve1", ipconfig0="ip=10.0.0.1/24")
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    assert ended.open() == ["leftover_vm"]  # and its disk is its own
    with pytest.raises(NotOurs):
        ended.fix("leftover_vm")
    ended.run()
    assert ended.changes() == []
    assert ended.vms() == [20000]
    assert ended.open() == ["leftover_vm"]


def test_missing(live: Swept) -> None:
    vm = live.cluster.vms.pop(20000)
    live.state()
    finding = live.one("vm_missing")
    with pytest.raises(Refused, match="terminate the service in WHMCS"):
        mending.fix(finding["id"], "test", live.store, live.config, live.drivers)
    live.cluster.vms[20000] = vm
    live.state()
    assert live.open() == []


@pytest.mark.parametrize("how", ["down", "refused", "maintenance", "node"])
def test_a_server_that_is_down_misses_nothing(live: Swept, how: str) -> None:
    live.state()
    live.cluster.vms.pop(20000)
    if how == "down":
        live.cluster.faults.append(Fault("reset_before", times=1000))
    elif how == "refused":
        live.cluster.faults.append(Fault("status", status=500, reason="got timeout", path="resources", times=1000))
    elif how == "maintenance":
        live.store.set_maintenance("pve1", "New disks tonight.")
    else:
        live.cluster.vms[20000] = Vm(20000, "pve2", {"name": "x"})
        live.cluster.nodes["pve2"] = False
    live.clock.time += 3700
    findings.sweep_state("pve1", live.drivers["pve1"], live.store)
    contents.sweep_contents("pve1", live.drivers["pve1"], live.store, live.config)
    assert live.open() == []


# -- configurations ---------------------------------------------------------------------------------
def test_differs_from_package(live: Swept) -> None:
    vm = live.cluster.vms[20000]
    vm.config["cores"] = "16"
    vm.config["net0"] = vm.config["net0"].replace("rate=23.84", "rate=119.21")
    live.contents()
    text = live.one("differs_from_package")["text"]
    assert "CPU cores is 16, sold 2." in text
    assert "Network is 1000 Mbit/s, sold 200 Mbit/s." in text
    live.fix("differs_from_package")
    assert vm.pending["cores"] == "2"
    assert "rate=23.84" in vm.config["net0"]
    live.contents()
    assert live.open() == []


FILTERS: list[tuple[str, Callable[[Vm], Any]]] = [
    ("it is switched off", lambda vm: vm.firewall.update(enable="0")),
    ("its network adapter is not filtered", lambda vm: unfilter(vm)),
]


def unfilter(vm: Vm) -> None:
    vm.config["net0"] = vm.config["net0"].replace("firewall=1", "firewall=0")


@pytest.mark.parametrize(("why", "plant"), FILTERS, ids=["machine", "adapter"])
def test_a_firewall_that_filters_nothing_is_found_and_switched_on(
    live: Swept, why: str, plant: Callable[[Vm], Any]
) -> None:
    vm = live.cluster.vms[20000]
    plant(vm)
    vm.rules.append({"type": "in", "action": "ACCEPT", "dport": "80", "proto": "tcp", "enable": "1"})
    live.contents()
    assert why in live.one("firewall_off")["text"]
    [told] = [f for f in doctor.check(live.context) if "filters nothing" in f.text]
    assert told.subject == "server pve1 firewall"
    assert "services 1042" in told.text
    assert "`vmbridge findings fix ID` switches one on" in told.fix
    live.fix("firewall_off")
    assert vm.firewall["enable"] == "1"
    assert "firewall=1" in vm.config["net0"]
    assert len(vm.rules) == 1
    live.contents()
    assert live.open() == []
    assert not [f for f in doctor.check(live.context) if "filters nothing" in f.text]


def test_whether_a_firewall_filters_costs_the_look_one_read(live: Swept) -> None:
    live.contents()
    asked = [path.partition("/qemu/")[2] for _, _, path, _ in live.cluster.calls if "/firewall/" in path]
    assert asked == ["20000/firewall/options"]


def test_a_firewall_that_cannot_be_read_ends_no_finding(live: Swept) -> None:
    unfilter(live.cluster.vms[20000])
    live.contents()
    live.cluster.faults.append(Fault("status", r"/firewall/options", times=99))
    live.contents()
    assert "firewall_off" in live.open()


@pytest.mark.parametrize("page", [True, False], ids=["page", "no page"])
def test_an_adopted_machine_is_told_where_its_customer_has_the_page_and_left_as_it_is(
    tmp_path: Path, page: bool
) -> None:
    world, vm = adopted(tmp_path)
    if page:
        world.config.plans["kvm-s"] = replace(world.config.plans["kvm-s"], allow=frozenset({Capability.FIREWALL}))
    before = dict(vm.config)
    findings.sweep_state("pve1", world.drivers["pve1"], world.store, now=True)
    contents.sweep_contents("pve1", world.drivers["pve1"], world.store, world.config, everything=True)
    told = [f for f in world.store.findings(1) if f["kind"] == "firewall_off"]
    assert [f["fix"].partition(" There: ")[2] for f in told] == ["VM > Firewall > Options > Firewall = Yes."] * page
    assert not any(findings.fixable(f) for f in told)
    assert vm.config == before
    world.close()


def test_a_suspended_machines_firewall_is_not_asked_after(live: Swept) -> None:
    live.order("suspend")
    live.run()
    unfilter(live.cluster.vms[20000])
    live.contents()
    assert live.open() == ["differs_from_package"]


def test_disk_bigger_than_sold(live: Swept) -> None:
    vm = live.cluster.vms[20000]
    vm.config["scsi0"] = vm.config["scsi0"].replace("20G", "50G")
    live.contents()
    finding = live.one("disk_bigger_than_sold")
    assert "has 50 GiB and cannot shrink to 20 GiB" in finding["text"]
    with pytest.raises(Refused, match="Sell the bigger package"):
        mending.fix(finding["id"], "test", live.store, live.config, live.drivers)
    vm.config["scsi0"] = vm.config["scsi0"].replace("50G", "20G")
    live.contents()
    assert live.open() == []
    assert live.changes() == []


def test_the_finding_about_a_refused_order_lasts_until_an_order_fits(live: Swept) -> None:
    with pytest.raises(Refused):
        live.order("change_package", configoption6="10")
    live.contents()
    assert live.open() == ["disk_bigger_than_sold"]
    live.order("change_package")
    live.run()
    assert live.open() == []


def test_another_machine_under_a_live_service(live: Swept) -> None:
    live.cluster.vms[20000].config["smbios1"] = "uuid=11111111-2222-3333-4444-555555555555"
    live.contents()
    assert live.open() == ["not_ours"]
    assert live.changes() == []


def test_findings_about_a_live_service_end_with_it(live: Swept) -> None:
    live.cluster.vms[20000].config["cores"] = "16"
    live.contents()
    live.order("terminate")
    live.run()
    live.state()
    assert live.open() == []


@pytest.mark.parametrize("where", ["ipconfig0", "ipconfig1", "ipfilter"])
def test_duplicate_address(live: Swept, where: str) -> None:
    foreign = live.cluster.add_vm(150, "pve2")
    live.contents()
    assert live.open() == []
    if where == "ipfilter":
        foreign.ipsets["ipfilter-net0"] = ["203.0.113.10/32"]
    else:
        foreign.config[where] = "ip=203.0.113.10/24,gw=203.0.113.1"
    live.contents()
    text = live.one("duplicate_address")["text"]
    assert "VM 20000 of service 1042 (main)" in text
    assert "VM 150 (vm150)" in text
    assert "203.0.113.10" in text
    del live.cluster.vms[150]
    live.state()
    assert live.open() == []
    assert live.changes() == []


def test_an_address_handed_out_later_is_seen_without_another_reading(live: Swept) -> None:
    live.cluster.add_vm(150, "pve2", ipconfig0="ip=203.0.113.11/24,gw=203.0.113.1")
    live.contents()
    assert live.open() == []
    live.order("create", 2)
    live.run()
    live.state()
    assert live.open() == ["duplicate_address"]


# -- what terminated services left ------------------------------------------------------------------
def test_leftover_disk(ended: Swept) -> None:
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    assert f"Disk {DISK} (10.0 GiB) on pve1/local-lvm is left of VM 20000" in ended.one("leftover_disk")["text"]
    ended.fix("leftover_disk")
    assert DISK not in ended.cluster.volumes
    assert ended.open() == []
    op = ended.store.operations_of(1)[0]
    assert (op.kind, op.state) == ("clean_up", State.DONE)
    assert ended.order("terminate").operation == ""  # a clean-up does not change what WHMCS is told


def test_a_key_that_may_not_remove_disks_says_what_to_do(ended: Swept) -> None:
    ended.cluster.privileges["/storage"] -= {"Datastore.Allocate"}
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    ended.fix("leftover_disk")
    op = ended.store.operations_of(1)[0]
    assert op.state is State.STAFF
    assert f"pvesm free {DISK}` on pve1" in op.next_action
    del ended.cluster.volumes[DISK]
    ended.store.retry(op.id)
    ended.run()
    assert ended.store.operations_of(1)[0].state is State.DONE
    assert ended.open() == []


@pytest.mark.parametrize("user", ["foreign", "ours"])
def test_a_disk_that_a_live_machine_uses_is_not_removed(ended: Swept, user: str) -> None:
    ended.cluster.add_volume(DISK, "pve1")
    if user == "foreign":
        ended.cluster.add_vm(150, "pve1", scsi1=f"{DISK},size=10G")
    else:
        ended.order("create", 2)
        ended.run()
        ended.cluster.vms[20001].config["unused0"] = DISK
    ended.contents()
    ended.cluster.calls.clear()
    with pytest.raises(Refused, match="uses this disk"):
        ended.fix("leftover_disk")
    assert DISK in ended.cluster.volumes
    assert ended.changes() == []


def test_nobody_removes_a_disk_before_all_foreign_machines_are_read(ended: Swept) -> None:
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    ended.cluster.add_vm(150, "pve1")
    ended.state()
    with pytest.raises(Refused, match="has been read yet"):
        ended.fix("leftover_disk")
    assert DISK in ended.cluster.volumes
    assert ended.changes() == []


def test_disks_of_others_are_no_leftovers(ended: Swept) -> None:
    ended.cluster.add_vm(150, "pve1")
    ended.cluster.add_volume("local-lvm:vm-150-disk-0", "pve1")
    ended.cluster.add_volume("local-lvm:vm-200001-disk-0", "pve1")
    ended.cluster.add_volume(
        "local-lvm:vm-20000-disk-3", "pve1", made=ended.clock.now() - 90 * 86400
    )  # another cluster's of long ago
    ended.contents()
    assert ended.open() == []


def test_leftover_backup(ended: Swept) -> None:
    ended.cluster.add_volume(ARCHIVE)
    ended.contents()
    ended.fix("leftover_backup")
    assert ARCHIVE not in ended.cluster.volumes
    assert ended.open() == []


@pytest.mark.parametrize("case", ["older", "younger", "unknown age", "plan keeps", "plan gone", "protected"])
def test_backups_that_are_not_left_over(tmp_path: Path, case: str) -> None:
    world = made(tmp_path, "terminate")
    now, raw = world.clock.now(), raw_config()
    made_at = {"older": now - 40 * 86400, "younger": now + 2 * 86400, "unknown age": 0.0}.get(case, now)
    world.cluster.add_volume(ARCHIVE, made=made_at, protected=case == "protected")
    if case == "plan keeps":
        raw["plans"]["kvm-s"]["keep_backups"] = True
    if case == "plan gone":
        raw["plans"] = {"other": raw["plans"]["kvm-s"]}
    from bridge import config as config_module

    world.config = config_module.from_dict(raw)
    world.start()
    world.contents()
    if case == "protected":
        with pytest.raises(Refused, match="protected"):
            world.fix("leftover_backup")
    else:
        assert world.open() == []
    assert ARCHIVE in world.cluster.volumes
    assert world.changes() == []
    world.close()


def test_leftover_firewall_file(ended: Swept) -> None:
    ended.cluster.old_firewalls[20000] = Vm(
        20000,
        "",
        {},
        rules=[{"type": "in", "action": "ACCEPT"}, {"type": "in", "action": "DROP"}],
        aliases=["office"],
        ipsets={"ipfilter-net0": ["203.0.113.10"]},
        firewall={"enable": "1", "policy_in": "DROP"},
    )
    ended.contents()
    ended.fix("leftover_firewall")
    assert ended.cluster.old_firewalls == {}
    assert ended.open() == []


def test_leftover_address(ended: Swept) -> None:
    ended.store.claim_address("203.0.113.99", "public-v4", 1, "extra")
    ended.state()
    assert "1 address(es) given back" in ended.fix("leftover_address")
    assert ended.open() == []
    assert ended.store.addresses_of(1) == []
    assert (
        next(a["free_at"] for a in ended.store.taken_addresses() if a["address"] == "203.0.113.99")
        > ended.clock.now() + 80000
    )


def test_an_address_is_not_given_back_while_its_machine_is_there(live: Swept) -> None:
    live.order("terminate")
    operation = live.store.operations_of(1)[0]
    live.store.ask_cancel(operation.id)
    live.run()
    live.state()
    assert live.open() == ["leftover_address", "leftover_vm"]
    with pytest.raises(Refused, match="remove it first"):
        live.fix("leftover_address")
    live.fix("leftover_vm")
    live.state()
    assert live.open() == []
    assert live.vms() == []


def test_a_disk_is_not_removed_when_a_machine_takes_the_id_meanwhile(ended: Swept) -> None:
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    mending.fix(ended.one("leftover_disk")["id"], "test", ended.store, ended.config, ended.drivers)
    ended.cluster.add_vm(20000, "pve2")
    ended.run(60)
    assert ended.store.operations_of(1)[0].state is State.STAFF
    assert DISK in ended.cluster.volumes
    assert ended.changes() == []


def test_an_absence_without_quorum_proves_nothing(ended: Swept) -> None:
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    mending.fix(ended.one("leftover_disk")["id"], "test", ended.store, ended.config, ended.drivers)
    ended.cluster.quorate = False
    ended.run(60)
    assert DISK in ended.cluster.volumes
    assert ended.changes() == []
    ended.cluster.quorate = True
    ended.run()
    assert DISK not in ended.cluster.volumes
