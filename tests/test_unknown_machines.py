"""Machines that the store knows no service of although they are ours: made after the copy that was put back. Told,
never removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import Refused
from bridge.staff import findings, mending
from bridge.store import Store, archive
from tests.configs import KEY
from tests.pve.cluster import Fault
from tests.test_findings import Swept
from tests.test_hetzner import Cloud


@pytest.fixture
def swept(tmp_path: Path) -> Iterator[Swept]:
    world = Swept(tmp_path)
    world.order("create")
    world.run()
    yield world
    world.close()


def restored(world: Swept | Cloud, folder: Path) -> None:
    """A copy is taken, another service is ordered, and the copy is put back."""
    archive.take(str(world.path), folder / "copy.db")
    world.order("create", 1043)
    world.run()
    world.store.close()
    ranges = {n: s.get("vm_ids", []) for n, s in world.config.servers.items()}
    archive.put_back(folder / "copy.db", str(world.path), KEY, ranges, world.clock.now(), "19700101-000000")
    world.store = Store(world.path, KEY, world.clock)
    world.start()


def look(world: Swept | Cloud) -> list[tuple[str, str]]:
    world.clock.time += 3700
    assert findings.sweep_state("pve1", world.drivers["pve1"], world.store)
    return [(f["kind"], f["subject"]) for f in world.store.findings(dismissed=True)]


def test_a_machine_made_after_the_copy_is_told_and_never_touched(swept: Swept, tmp_path: Path) -> None:
    assert look(swept) == []
    restored(swept, tmp_path)
    before = len(swept.cluster.mutations())
    assert look(swept) == look(swept) == [("unknown_vm", "20001")]
    [finding] = swept.store.findings()
    assert finding["service"] is None
    assert "VM 20001 (vm-1043.example.com)" in finding["text"]
    assert "vmbridge adopt SERVICE VM" in finding["fix"]
    assert "never removes" in finding["fix"]
    assert not findings.fixable(finding)
    with pytest.raises(Refused):
        mending.fix(finding["id"], "test", swept.store, swept.config, swept.drivers)
    assert swept.vms() == [20000, 20001]
    assert len(swept.cluster.mutations()) == before
    machine = swept.drivers["pve1"].inspect("20001")
    from bridge import services
    from bridge.orders import packages

    package = packages.of_plan(swept.config.plans["kvm-s"])
    services.adopt("main", 1043, 7, "", package, machine, swept.store, swept.config)
    assert look(swept) == []  # it ends by itself


@pytest.mark.parametrize(
    ("vm_id", "tags", "told"),
    [
        (150, "", False),
        (150, "vmbridge", True),
        (150, "web;VMbridge;x", True),
        (150, "vmbridge2,notvmbridge", False),
        (20777, "", True),
        (29999, "other", True),
        (30000, "other", False),
    ],
)
def test_ours_is_what_has_our_tag_or_our_id(swept: Swept, vm_id: int, tags: str, told: bool) -> None:
    swept.cluster.add_vm(vm_id, "pve2", **({"tags": tags} if tags else {}))
    assert (("unknown_vm", str(vm_id)) in look(swept)) is told
    swept.cluster.vms.pop(vm_id)
    assert look(swept) == []


def test_ours_that_are_known_are_none(swept: Swept) -> None:
    """A terminated service's machine is a left-over one; a template of our ids is no machine; one that is being made
    has its service."""
    swept.order("create", 1043)
    swept.run(3)
    swept.cluster.add_vm(20500, "pve1").template = True
    swept.order("create", 1044)
    swept.run()
    swept.store.change("UPDATE services SET desired = 'terminated' WHERE service_id = 1044")
    assert "leftover_vm" in [kind for kind, _ in look(swept)]
    assert not [k for k, _ in look(swept) if k == "unknown_vm"]


def test_what_cannot_be_read_ends_nothing(swept: Swept) -> None:
    swept.cluster.add_vm(20777, "pve2")
    assert look(swept) == [("unknown_vm", "20777")]
    swept.clock.time += 3700
    findings.status.refresh("pve1", swept.drivers["pve1"], swept.store)
    swept.cluster.faults = [Fault("status", path="cluster/resources", method="GET", status=500, reason="x", times=9)]
    findings.sweep_state("pve1", swept.drivers["pve1"], swept.store)
    swept.cluster.faults = []
    assert [f["kind"] for f in swept.store.findings()] == ["unknown_vm"]


def test_nothing_is_asked_where_every_machine_has_its_service(swept: Swept) -> None:
    look(swept)
    before = len(swept.cluster.calls)
    look(swept)
    alone = len([c for c in swept.cluster.calls[before:] if "cluster/resources" in str(c)])
    swept.cluster.add_vm(150, "pve2")
    before = len(swept.cluster.calls)
    look(swept)
    with_a_stranger = len([c for c in swept.cluster.calls[before:] if "cluster/resources" in str(c)])
    assert (alone, with_a_stranger) == (1, 2)


def test_a_cloud_server_with_our_label(tmp_path: Path) -> None:
    world = Cloud(tmp_path)
    world.order("create")
    world.run()
    assert look(world) == []
    restored(world, tmp_path)
    theirs = next(iter(world.cloud.servers.values()))
    assert len(world.cloud.servers) == 2
    [(kind, subject)] = look(world)
    service = world.store.find_service("main", 1042)
    assert service
    assert kind == "unknown_vm"
    assert subject != service.vm_id
    assert str(theirs.id) == service.vm_id
    world.cloud.servers[int(subject)].labels.pop("vmbridge")  # somebody's own server in the project
    assert look(world) == []
    assert len(world.cloud.servers) == 2
    world.close()
