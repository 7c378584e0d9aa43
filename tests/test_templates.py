"""Templates: which one a name means, where it can be copied to, and what keeps a plan from being sold. What `check`
calls a fault the order refuses by name before the clone, and nothing else is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge import config
from bridge.errors import ConfigError
from bridge.model import Operation, State
from bridge.staff import doctor
from tests.configs import raw_config
from tests.held import HeldClock
from tests.pve.cluster import Cluster, default_cluster
from tests.world import World


def made(path: Path, nodes: tuple[str, ...] = ("pve1", "pve2"), **plan: Any) -> World:
    raw = raw_config()
    raw["plans"]["kvm-s"] |= {"locations": list(nodes), **plan}
    cluster = default_cluster(HeldClock(), nodes=nodes, bulk_age=0.0)
    world = World(path, cluster, plans=raw["plans"])
    cluster.clock = world.clock
    return world


def create(world: World, service: int = 1, **values: Any) -> Operation:
    world.order("create", service, **values)
    world.run()
    record = world.store.find_service("main", service)
    assert record is not None
    return world.store.operations_of(record.id, 1)[0]


def faults(world: World) -> list[str]:
    return [f"{f.text} {f.fix}" for f in doctor.check(world.context) if f.level == "fault"]


def clones(world: World) -> list[tuple[str, dict[str, str]]]:
    return [(path, p) for _, m, path, p in world.cluster.calls if m == "POST" and path.endswith("/clone")]


def reinstall(world: World, template: str = "debian-12", service: int = 1) -> Operation:
    world.page("reinstall", "reinstall", service, template=template, confirm="REINSTALL")
    world.run()
    return world.store.operations_of(1, 1)[0]


# -- what a name means ------------------------------------------------------------------------------
def evil(c: Cluster, vmid: int = 9900, node: str = "pve1", storage: str = "local-lvm") -> None:
    c.add_template(vmid, "debian-12", node, storage, agent="enabled=1")


def test_two_templates_of_one_name_on_a_node_are_refused_with_the_remedy(tmp_path: Path) -> None:
    world = made(tmp_path)
    evil(world.cluster)
    [told] = faults(world)
    op = create(world)
    for text in (told, op.error_text):
        assert all(w in text for w in ("template 9000 on pve1", "template 9900 on pve1", "debian-12@9000")), text
    assert (op.state, op.error_code, clones(world)) == (State.FAILED, "plan_impossible", [])
    assert world.vms() == []
    world.close()


def test_another_node_may_be_asked_for_meanwhile(tmp_path: Path) -> None:
    world = made(tmp_path)
    evil(world.cluster)
    assert create(world, configoption2="pve2").state is State.DONE
    assert clones(world)[0][0].startswith("/nodes/pve2/qemu/9001/")
    world.close()


@pytest.mark.parametrize(
    ("plan", "pool"),
    [
        ({"templates": ["debian-12@9000", "debian-12@9001", "ubuntu-24.04"]}, ""),
        ({"templates": ["debian-12", "ubuntu-24.04"], "template_pool": "golden"}, "golden"),
    ],
)
def test_an_id_or_a_pool_says_which_one(tmp_path: Path, plan: dict[str, Any], pool: str) -> None:
    world = made(tmp_path, **plan)
    evil(world.cluster)
    for vmid in (9000, 9001, 9100, 9101):
        world.cluster.pools[vmid] = "golden"
    world.cluster.pools[9900] = "tenant"
    world.cluster.privileges["/pool"] = {"Pool.Audit"}
    assert faults(world) == []
    assert create(world, configoption2="pve1").state is State.DONE
    assert [path.split("/")[4] for path, _ in clones(world)] == ["9000"]
    assert world.store.service(1).package.template == "debian-12"
    assert world.store.service(1).package.templates == ("debian-12", "ubuntu-24.04")
    assert reinstall(world).state is State.DONE
    copied = [p["scsi0"] for _, m, path, p in world.cluster.calls if m == "POST" and path.endswith("/config")]
    assert ["base-9000-" in line for line in copied] == [True]
    world.close()


def test_an_id_that_has_another_name_is_no_template(tmp_path: Path) -> None:
    world = made(tmp_path, templates=["debian-12@9100"])
    assert "debian-12" in faults(world)[0]
    assert "9100" in faults(world)[0]
    assert create(world).error_code == "plan_impossible"
    assert clones(world) == []
    world.close()


def test_an_id_that_is_gone_is_told(tmp_path: Path) -> None:
    world = made(tmp_path, templates=["debian-12@9000", "debian-12@9099"])
    [finding] = [f for f in doctor.check(world.context) if f.level != "ok"]
    assert (finding.level, finding.text) == ("warning", "no template named 'debian-12' has the id 9099")
    assert create(world).state is State.DONE
    world.close()


def test_the_configuration_of_a_template_is_believed_before_the_bulk_read(tmp_path: Path) -> None:
    world = made(tmp_path)
    assert create(world, configoption2="pve1").state is State.DONE
    world.cluster.bulk_age = 3600.0
    world.cluster.bulk()
    for vmid in (9000, 9001):
        world.cluster.vms[vmid].template = False  # became an ordinary machine of the same name
    plain = world.cluster.handlers.get_cluster_resources
    world.cluster.handlers.get_cluster_resources = lambda w, p: [
        {**r, "template": 1} if r.get("vmid") in (9000, 9001) else r for r in plain(w, p)
    ]
    assert "is no template named 'debian-12' any more" in create(world, 2).error_text
    op = reinstall(world)
    assert op.state is State.FAILED
    assert "any more" in op.error_text
    assert world.cluster.vms[20000].status == "running"
    world.close()


def test_a_provider_whose_systems_have_no_ids_refuses_them(tmp_path: Path) -> None:
    raw = raw_config()
    raw["servers"]["hz1"] = {"driver": "hetzner", "token": "x" * 64}
    raw["plans"]["cx"] = {
        "server": "hz1",
        "server_type": "cx22",
        "location": "nbg1",
        "cores": 2,
        "ram_mib": 4096,
        "disk_gib": 40,
        "templates": ["debian-12@9"],
    }
    with pytest.raises(ConfigError, match=r"plans\.cx\.templates\[0\].*have no ids here"):
        config.from_dict(raw)


def test_the_configuration_says_what_an_id_may_be(tmp_path: Path) -> None:
    for bad in (["debian-12@"], ["@9000"], ["debian-12@9000x"], ["debian-12", "debian-12@9000"]):
        with pytest.raises(ConfigError, match=r"NAME or NAME@ID|with an id"):
            made(tmp_path, templates=bad)


def test_the_addon_and_check_show_the_ids(tmp_path: Path) -> None:
    world = made(tmp_path)
    told = [f.text for f in doctor.check(world.context) if f.subject == "plan kvm-s" and f.level == "ok"]
    assert told == ["debian-12 is template 9000 on pve1, 9001 on pve2"]
    world.close()


# -- birth and reinstall take the same one ----------------------------------------------------------
def test_reinstall_takes_the_template_of_the_birth(tmp_path: Path) -> None:
    world = made(tmp_path)
    assert create(world, configoption2="pve1").state is State.DONE
    evil(world.cluster, 8999)  # before and after the real one in every listing
    evil(world.cluster, 9900)
    assert reinstall(world).state is State.DONE
    copied = [p["scsi0"] for _, m, path, p in world.cluster.calls if m == "POST" and path.endswith("/config")]
    assert ["base-9000-" in line for line in copied] == [True]
    world.close()


def test_reinstall_from_a_name_that_means_two_is_refused_with_the_machine_on(tmp_path: Path) -> None:
    world = made(tmp_path, templates=["debian-12", "ubuntu-24.04"])
    assert create(world, configoption2="pve1").state is State.DONE
    world.cluster.add_template(9901, "ubuntu-24.04", "pve1")
    op = reinstall(world, "ubuntu-24.04")
    assert (op.state, op.error_code) == (State.FAILED, "no_template")
    assert "ubuntu-24.04@9100" in op.error_text
    assert world.cluster.vms[20000].status == "running"
    world.close()


def test_a_bound_template_that_has_another_name_now_is_not_taken(tmp_path: Path) -> None:
    world = made(tmp_path)
    assert create(world, configoption2="pve1").state is State.DONE
    world.cluster.vms[9000].config["name"] = "debian-12-old"
    world.cluster.add_template(9010, "debian-12", "pve1")
    assert reinstall(world).state is State.DONE
    copied = [p["scsi0"] for _, m, path, p in world.cluster.calls if m == "POST" and path.endswith("/config")]
    assert ["base-9010-" in line for line in copied] == [True]
    world.close()


# -- shared storage ---------------------------------------------------------------------------------
def shared(path: Path, **plan: Any) -> World:
    world = made(path, ("pve1", "pve2", "pve3"), **{"storage": "ceph", **plan})
    c = world.cluster
    c.add_storage("ceph", ("pve1", "pve2", "pve3"), shared=True)
    for vmid in (9000, 9001, 9002, 9100, 9101, 9102):
        del c.vms[vmid]
    c.add_template(9500, "debian-12", "pve1", "ceph", agent="enabled=1").agent_after = 5.0
    return world


@pytest.mark.parametrize("clone", ["full", "linked"])
def test_one_template_on_shared_storage_serves_every_node(tmp_path: Path, clone: str) -> None:
    world = shared(tmp_path, clone=clone)
    assert faults(world) == []
    for service, node in enumerate(("pve1", "pve2", "pve3"), 1):
        assert create(world, service, configoption2=node).state is State.DONE
    assert {v.node for v in world.cluster.vms.values() if not v.template} == {"pve1", "pve2", "pve3"}
    assert [(p.split("/")[2], a.get("target")) for p, a in clones(world)] == [
        ("pve1", None),
        ("pve1", "pve2"),
        ("pve1", "pve3"),
    ]
    world.close()


def test_a_lost_reply_of_a_copy_to_another_node_makes_no_second_one(tmp_path: Path) -> None:
    from tests.pve.cluster import Fault

    world = shared(tmp_path)
    world.cluster.faults.append(Fault("reset_after", "POST", "/clone$"))
    assert create(world, configoption2="pve2").state is State.DONE
    assert world.vms() == [20000]
    assert len(clones(world)) == 1
    assert world.cluster.vms[20000].node == "pve2"
    world.close()


def test_reinstall_goes_to_the_template_and_comes_back(tmp_path: Path) -> None:
    world = shared(tmp_path)
    assert create(world, configoption2="pve3").state is State.DONE
    assert reinstall(world).state is State.DONE
    vm = world.cluster.vms[20000]
    assert (vm.node, vm.status, vm.content) == ("pve3", "running", {"scsi0": "debian-12"})
    moved = [p["target"] for _, m, path, p in world.cluster.calls if path.endswith("/migrate")]
    assert moved == ["pve1", "pve3"]
    world.close()


@pytest.mark.parametrize("why", ["local storage", "local CD", "storage missing there"])
def test_what_is_not_shared_stays_on_its_node(tmp_path: Path, why: str) -> None:
    world = shared(tmp_path, storage="local-lvm" if why == "local storage" else "ceph")
    if why == "local CD":
        world.cluster.vms[9500].config["ide0"] = "local:iso/tools.iso,media=cdrom"
    if why == "storage missing there":
        world.cluster.storages["ceph"].nodes = ("pve1",)
    op = create(world, configoption2="pve2")
    assert (op.state, op.error_code) == (State.FAILED, "plan_impossible"), op  # nothing that waiting would mend
    assert "pve2: no template named 'debian-12'" in op.error_text
    assert clones(world) == []
    world.close()


def test_two_on_shared_storage_mean_none_until_one_is_named(tmp_path: Path) -> None:
    world = shared(tmp_path)
    evil(world.cluster, 9900, "pve2", "ceph")
    assert "debian-12@9500" in create(world).error_text
    assert clones(world) == []
    assert faults(world)
    world.close()
    (tmp_path / "pinned").mkdir()
    world = shared(tmp_path / "pinned", templates=["debian-12@9500"])
    evil(world.cluster, 9900, "pve2", "ceph")
    assert faults(world) == []
    assert create(world, configoption2="pve2").state is State.DONE
    world.close()


# -- storages ---------------------------------------------------------------------------------------
def on(path: Path, kind: str, chain: bool = False, **plan: Any) -> World:
    """A plan on a storage of this kind, with its template there."""
    world = made(path, storage="here", **plan)
    world.cluster.add_storage("here", ("pve1", "pve2"), kind=kind, chain=chain, shared=kind in ("nfs", "cifs", "rbd"))
    for vmid in (9000, 9001):
        del world.cluster.vms[vmid]
    world.cluster.add_template(9000, "debian-12", "pve1", "here", agent="enabled=1").agent_after = 5.0
    return world


KINDS = ["dir", "nfs", "cifs", "glusterfs", "btrfs", "lvm", "lvmthin", "rbd", "zfspool", "zfs", "iscsi"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("snapshots", [0, 3])
@pytest.mark.parametrize("clone", ["full", "linked"])
def test_a_fault_of_check_is_what_the_order_refuses(tmp_path: Path, kind: str, clone: str, snapshots: int) -> None:
    world = on(tmp_path, kind, clone=clone, snapshots=snapshots)
    told, op = faults(world), create(world)
    assert bool(told) == (op.state is State.FAILED) == (world.vms() == []), (told, op)
    if told:
        assert op.error_code in ("plan_impossible", "template_unfit")
        assert clones(world) == []
        assert "'here'" in op.error_text
        assert kind in ("lvm", "iscsi")
    elif snapshots:
        world.page("snapshots", "take", 1, note="before")
        world.run()
        assert list(world.cluster.vms[20000].snapshots) != [], world.store.operations_of(1, 1)[0]
    world.close()


@pytest.mark.parametrize("kind", ["dir", "nfs", "cifs", "glusterfs", "lvm"])
def test_disks_of_ours_can_take_the_snapshots_that_are_sold(tmp_path: Path, kind: str) -> None:
    world = on(tmp_path, kind, chain=kind == "lvm", additional_disk_gib=5)
    raw = world.cluster.vms[9000].config  # a template that was made as raw
    raw["scsi0"] = raw["scsi0"].replace(".qcow2", ".raw" if kind != "lvm" else "")
    assert faults(world) == []
    assert create(world, configoption2="pve1").state is State.DONE

    def disks() -> list[str]:
        vm = world.cluster.vms[20000]
        return [vm.config[k].split(",")[0] for k in ("scsi0", "scsi1")]

    assert all(d.endswith(".qcow2") for d in disks()), disks()
    assert reinstall(world).state is State.DONE, disks()
    assert all(d.endswith(".qcow2") for d in disks()), disks()
    world.page("snapshots", "take", 1, note="before")
    world.run()
    assert world.cluster.vms[20000].snapshots
    world.close()


def test_a_raw_disk_of_before_fails_with_the_remedy(tmp_path: Path) -> None:
    world = on(tmp_path, "dir")
    assert create(world, configoption2="pve1").state is State.DONE
    vm = world.cluster.vms[20000]
    vm.config["scsi0"] = vm.config["scsi0"].replace(".qcow2", ".raw")
    world.page("snapshots", "take", 1, note="before")
    world.run()
    op = world.store.operations_of(1, 1)[0]
    assert (op.state, op.error_code) == (State.FAILED, "no_snapshots")
    assert "qcow2" in op.next_action
    world.close()


def test_without_snapshots_the_storages_own_format_is_right(tmp_path: Path) -> None:
    world = on(tmp_path, "dir", snapshots=0, additional_disk_gib=5)
    assert create(world).state is State.DONE
    assert "format" not in clones(world)[0][1]
    assert world.cluster.vms[20000].config["scsi1"].split(",")[0].endswith(".raw")
    world.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.add_storage("fast", ("pve1", "pve2")), ("'local-lvm'", "'fast'", 'clone = "full"')),
        (
            lambda c: c.add_storage("fast", ("pve1", "pve2"), content="iso"),
            ("'fast' does not take disk images", "images"),
        ),
    ],
)
def test_a_linked_clone_never_lands_silently_elsewhere(
    tmp_path: Path, change: Callable[[Cluster], None], words: tuple[str, ...]
) -> None:
    world = made(tmp_path, storage="fast", clone="linked")
    change(world.cluster)
    op = create(world)
    assert (op.state, clones(world)) == (State.FAILED, []), op.error_text
    assert all(w in op.error_text for w in words), op.error_text
    assert all(any(w in text for text in faults(world)) for w in words)
    world.close()


def test_an_additional_disk_where_snapshots_cannot_be_taken_is_refused(tmp_path: Path) -> None:
    world = made(tmp_path, additional_disk_gib=5, additional_storage="slow")
    world.cluster.add_storage("slow", ("pve1", "pve2"), kind="lvm")
    op = create(world)
    assert "'slow' (lvm) cannot take snapshots" in op.error_text
    assert clones(world) == []
    assert any("'slow' (lvm) cannot take snapshots" in f for f in faults(world))
    world.close()


def test_a_node_whose_template_cannot_be_sold_is_left_out(tmp_path: Path) -> None:
    world = made(tmp_path)
    del world.cluster.vms[9000].config["ide2"]
    findings = [f for f in doctor.check(world.context) if f.level != "ok"]
    assert [(f.level, "template 9000 on pve1" in f.text, "new servers go to pve2" in f.text) for f in findings] == [
        ("warning", True, True)
    ]
    assert create(world).state is State.DONE
    assert world.cluster.vms[20000].node == "pve2"
    del world.cluster.vms[9001].config["ide2"]
    assert "no cloud-init drive" in create(world, 2).error_text
    assert len(faults(world)) == 2
    world.close()


# -- a template that is being worked on -------------------------------------------------------------
def test_an_order_waits_for_a_template_that_is_being_backed_up(tmp_path: Path) -> None:
    world = made(tmp_path)
    for vmid in (9000, 9001):
        world.cluster.hold(vmid)
    assert faults(world) == []
    world.order("create")
    world.run(1800)
    [op] = world.store.operations_of(1)
    assert op.state is State.RUNNING, op
    assert clones(world) == [], op
    assert "template 900" in op.error_text, op
    assert "template of this system is being worked on" in op.error_text
    world.cluster.let_go(9001)
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE
    assert world.cluster.vms[20000].node == "pve2"
    world.close()


def test_another_nodes_template_is_taken_while_one_is_being_backed_up(tmp_path: Path) -> None:
    world = made(tmp_path)
    world.cluster.hold(9001)
    assert create(world).state is State.DONE
    assert world.cluster.vms[20000].node == "pve1"
    world.close()


def test_a_template_locked_between_the_choice_and_the_copy_is_waited_for_by_its_own_name(tmp_path: Path) -> None:
    world = made(tmp_path)
    world.border = lambda name: world.cluster.hold(9001) if name == "create.copy" and not clones(world) else None
    world.order("create")
    world.run(1200)
    [op] = world.store.operations_of(1)
    assert op.state is State.RUNNING, op
    assert "template 9001 on pve2" in op.error_text, op
    world.cluster.vms[9001].config["lock"] = "backup"
    world.cluster.holding[9001].end = world.clock.time  # it was killed: nothing frees the lock any more
    world.run(1200)
    [op] = world.store.operations_of(1)
    assert op.state is State.STAFF, op
    assert "qm unlock 9001" in op.next_action, op
    assert any("qm unlock 9001" in f for f in (f"{f.text} {f.fix}" for f in doctor.check(world.context)))
    world.cluster.let_go(9001)
    world.close()


@pytest.mark.parametrize(("lock", "state"), [("backup", State.DONE), ("create", State.STAFF)])
def test_a_reinstall_from_a_locked_template(tmp_path: Path, lock: str, state: State) -> None:
    """PVE imports from one that is being backed up; one that is half made is waited for with the machine on."""
    world = made(tmp_path)
    assert create(world, configoption2="pve1").state is State.DONE
    world.cluster.vms[9000].config["lock"] = lock
    assert reinstall(world).state is state
    assert world.cluster.vms[20000].status == "running"
    world.close()
