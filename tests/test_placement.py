"""Where a new machine goes: by free memory, with what is still being made, and why a node cannot take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.model import Operation, State
from tests.configs import raw_config
from tests.held import HeldClock
from tests.pve.cluster import GIB, Cluster, Fault, default_cluster
from tests.world import World

FOUR = ("pve1", "pve2", "pve3", "pve4")


def made(
    path: Path,
    nodes: tuple[str, ...] = ("pve1", "pve2"),
    memory: int = 64,
    plan: dict[str, Any] | None = None,
    **config: Any,
) -> World:
    """A world with a fresh look at every bulk read."""
    raw = raw_config(**config)
    raw["plans"]["kvm-s"] |= {"locations": [*nodes, "pve9"], **(plan or {})}
    cluster = default_cluster(HeldClock(), nodes=nodes, memory=memory * GIB, bulk_age=0.0)
    world = World(path, cluster, plans=raw["plans"], **config)
    cluster.clock = world.clock
    return world


@pytest.fixture
def two(tmp_path: Path) -> Any:
    world = made(tmp_path)
    yield world
    world.close()


def nodes(world: World) -> list[str]:
    return [world.cluster.vms[n].node for n in world.vms()]


def create(world: World, service: int = 1, **values: Any) -> Operation:
    world.order("create", service, **values)
    world.run()
    record = world.store.find_service("main", service)
    assert record is not None
    return world.store.operations_of(record.id, 1)[0]


def refused(op: Operation, *why: str, code: str = "no_capacity") -> bool:
    waits = code == "no_capacity"
    assert (op.state, op.error_code) == (State.RUNNING if waits else State.FAILED, code)
    assert op.waits_for_room == waits
    assert {"no_capacity": "waits for room", "plan_impossible": "Mend"}[code] in op.next_action
    assert all(w in op.error_text for w in why), op.error_text
    return True


def fill(cluster: Cluster, node: str, gib: int, vmid: int = 500, status: str = "running") -> None:
    cluster.add_vm(vmid, node, status, memory=str(gib * 1024))


# -- by free memory ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("status", "tags"), [("running", ""), ("stopped", "vmbridge"), ("paused", "")])
def test_the_node_with_most_memory_left(two: World, status: str, tags: str) -> None:
    fill(two.cluster, "pve2", 8, status=status)
    two.cluster.vms[500].config |= {"tags": tags} if tags else {}  # one of ours, also if another store knows it
    assert create(two).state is State.DONE
    assert nodes(two)[-1] == "pve1"


def test_a_foreign_machine_that_is_off_takes_no_memory(two: World) -> None:
    for vmid, node in ((500, "pve1"), (501, "pve2")):
        fill(two.cluster, node, 63, vmid, "stopped")
    assert create(two).state is State.DONE


def test_containers_use_memory_too(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = two.cluster.handlers.get_cluster_resources
    monkeypatch.setattr(
        two.cluster.handlers,
        "get_cluster_resources",
        lambda w, p: [
            *plain(w, p),
            {"type": "lxc", "vmid": 700, "node": "pve2", "status": "running", "maxmem": 60 * GIB, "template": 0},
        ],
    )
    assert create(two).state is State.DONE
    assert nodes(two) == ["pve1"]


def test_four_nodes_are_filled_evenly(tmp_path: Path) -> None:
    world = made(tmp_path, FOUR, worker={"threads": 8, "per_node": 8, "per_storage": 8})
    for service in range(1, 13):
        world.order("create", service)
    world.run()
    assert sorted(nodes(world)) == sorted(FOUR * 3)
    world.close()


# -- counting what is still being made --------------------------------------------------------------
def test_running_creates_count_before_their_machines_show(tmp_path: Path) -> None:
    world = made(tmp_path, memory=4)  # each node holds two of them
    for service in range(1, 6):
        world.order("create", service)
    world.run()
    states = [world.store.operations_of(s)[0].state for s in range(1, 6)]
    assert states == [State.DONE] * 4 + [State.RUNNING]
    assert sorted(nodes(world)) == ["pve1", "pve1", "pve2", "pve2"]
    assert refused(
        world.store.operations_of(5)[0],
        "pve1: 0 MiB of memory free, 2048 needed",
        "pve2: 0 MiB of memory free, 2048 needed",
    )
    world.close()


def test_a_machine_that_is_being_made_counts_once(tmp_path: Path) -> None:
    """Its promise and its line in the bulk read are the same memory."""
    world = made(tmp_path, ("pve1",), memory=4)
    world.cluster.vms[9000].agent_after = 100.0  # the first stays unfinished for long
    world.cluster.vms[9000].config["agent"] = "1"
    world.order("create", 1)
    for _ in range(40):
        world.engine.tick()
        world.clock.time += 1
    assert world.cluster.vms[20000].status == "running"
    assert world.store.current_operation(1) is not None
    world.order("create", 2)
    world.run()
    assert [world.store.operations_of(s)[0].state for s in (1, 2)] == [State.DONE, State.DONE]
    world.close()


def test_promised_disks_count_on_their_own_storage(tmp_path: Path) -> None:
    world = made(tmp_path, ("pve1",), plan={"additional_disk_gib": 300, "additional_storage": "big"})
    world.cluster.add_storage("big", ("pve1",), total=1000, used=0)
    world.cluster.storages["local-lvm"].used = 440 * GIB  # 60 GiB: three system disks
    for service in range(1, 5):
        world.order("create", service)
    world.run()
    states = [world.store.operations_of(s)[0].state for s in range(1, 5)]
    assert states == [State.DONE] * 3 + [State.RUNNING]
    assert refused(world.store.operations_of(4)[0], "pve1: storage '", " needed")
    world.close()


@pytest.mark.parametrize("shared", [True, False])
def test_promised_disks_on_shared_storage_count_for_every_node(tmp_path: Path, shared: bool) -> None:
    world = made(tmp_path, plan={"storage": "san"})
    world.cluster.add_storage("san", ("pve1", "pve2"), total=30, used=0, shared=shared)
    for service in (1, 2):
        world.order("create", service)
    for _ in range(20):  # both are placed before the first disk shows
        world.engine.tick()
    placed = [bool(world.store.service(s).node) for s in (1, 2)]
    assert placed == [True, not shared]
    world.close()


# -- why not ----------------------------------------------------------------------------------------
def test_a_node_without_the_template_is_left_out(two: World) -> None:
    del two.cluster.vms[9000]
    fill(two.cluster, "pve2", 30)
    assert create(two).state is State.DONE
    assert 20000 in two.vms()
    assert two.cluster.vms[20000].node == "pve2"
    del two.cluster.vms[9001]
    assert refused(
        create(two, 2),
        "pve1: no template named 'debian-12'",
        "pve2: no template named 'debian-12'",
        code="plan_impossible",
    )


def test_the_template_of_the_chosen_node_is_copied(tmp_path: Path) -> None:
    world = made(tmp_path, FOUR)
    for service, node in enumerate(("pve3", "pve1", "pve4", "pve2"), 1):
        create(world, service, configoption2=node)
    sources = [p.split("/")[2:5:2] for m, p in world.cluster.mutations() if p.endswith("/clone")]
    assert sources == [["pve3", "9002"], ["pve1", "9000"], ["pve4", "9003"], ["pve2", "9001"]]
    assert nodes(world) == [
        "pve3",
        "pve1",
        "pve4",
        "pve2",
    ]
    world.close()


@pytest.mark.parametrize(
    ("change", "why", "code"),
    [
        (
            lambda c: setattr(c.storages["local-lvm"], "used", 490 * GIB),
            "storage 'local-lvm' has 10 GiB free, 20 needed",
            "no_capacity",
        ),
        (
            lambda c: setattr(c.storages["local-lvm"], "online", False),
            "storage 'local-lvm' is not available",
            "no_capacity",
        ),
        (lambda c: c.storages.pop("local-lvm"), "storage 'local-lvm' is not available", "plan_impossible"),
        (
            lambda c: (fill(c, "pve1", 63), fill(c, "pve2", 63, 501)),
            "1024 MiB of memory free, 2048 needed",
            "no_capacity",
        ),
    ],
)
def test_each_node_is_named_with_its_reason(two: World, change: Any, why: str, code: str) -> None:
    change(two.cluster)
    assert refused(create(two), f"pve1: {why}", f"pve2: {why}", code=code)
    assert 20000 not in two.vms()
    assert [e["event"] for e in two.store.events() if e["event"] == "staff_notice"] == ["staff_notice"]


@pytest.mark.parametrize("how", ["full", "offline", "elsewhere"])
def test_the_additional_disks_storage(tmp_path: Path, how: str) -> None:
    world = made(tmp_path, plan={"additional_disk_gib": 50, "additional_storage": "big"})
    world.cluster.add_storage(
        "big", ("pve2",) if how == "elsewhere" else ("pve1", "pve2"), total=100, used=60 if how == "full" else 0
    )
    world.cluster.storages["big"].online = how != "offline"
    op = create(world)
    if how == "elsewhere":
        assert op.state is State.DONE
        assert nodes(world) == ["pve2"]
    else:
        why = "storage 'big' has 40 GiB free, 50 needed" if how == "full" else "storage 'big' is not available"
        assert refused(op, f"pve1: {why}", f"pve2: {why}")
    world.close()


def test_both_disks_on_one_storage_need_room_together(tmp_path: Path) -> None:
    world = made(tmp_path, plan={"additional_disk_gib": 50})
    world.cluster.storages["local-lvm"].used = 440 * GIB
    assert refused(create(world), "storage 'local-lvm' has 60 GiB free, 70 needed")
    world.close()


def test_a_node_that_is_down_is_left_out(two: World) -> None:
    two.cluster.nodes["pve1"] = False
    assert create(two).state is State.DONE
    assert nodes(two) == ["pve2"]
    two.cluster.nodes["pve2"] = False
    assert refused(create(two, 2), "pve1: node is offline", "pve2: node is offline")


# -- a named place ----------------------------------------------------------------------------------
@pytest.mark.parametrize("by", ["plan", "location", "configurable option"])
def test_a_named_node_is_taken_though_another_has_more_room(tmp_path: Path, by: str) -> None:
    world = made(tmp_path, FOUR, plan={"node": "pve3"} if by == "plan" else {})
    fill(world.cluster, "pve3", 50)
    values: dict[str, Any] = {
        "location": {"configoption2": "pve3"},
        "configurable option": {"configoptions": {"Location": "pve3"}},
    }.get(by, {})
    assert create(world, **values).state is State.DONE
    assert world.cluster.vms[20000].node == "pve3"
    world.close()


@pytest.mark.parametrize(
    ("change", "why", "code"),
    [
        (lambda c: c.nodes.__setitem__("pve3", False), "pve3: node is offline", "no_capacity"),
        (lambda c: fill(c, "pve3", 63), "pve3: 1024 MiB of memory free", "no_capacity"),
        (
            lambda c: c.vms.pop(9002),
            "pve3: no template named 'debian-12'",
            "plan_impossible",
        ),  # no room would mend that
    ],
)
def test_a_named_node_that_cannot_is_a_named_failure(tmp_path: Path, change: Any, why: str, code: str) -> None:
    world = made(tmp_path, FOUR)
    change(world.cluster)
    op = create(world, configoption2="pve3")
    assert refused(op, why, code=code)
    assert "pve1" not in op.error_text
    world.close()


def test_a_named_node_that_does_not_exist(two: World) -> None:
    assert refused(create(two, configoption2="pve9"), "there is no node 'pve9'", code="plan_impossible")


def test_a_failure_is_taken_up_again_when_there_is_room(two: World) -> None:
    two.cluster.storages["local-lvm"].used = 495 * GIB
    assert refused(create(two), "5 GiB free")
    two.cluster.storages["local-lvm"].used = 0
    assert create(two).state is State.DONE
    assert two.vms() == [20000]


# -- linked clones, quorum --------------------------------------------------------------------------
def test_linked_clones(tmp_path: Path) -> None:
    world = made(tmp_path, plan={"clone": "linked"})
    assert create(world).state is State.DONE
    call = next(p for _, m, path, p in world.cluster.calls if path.endswith("/clone"))
    assert call["full"] == "0"
    assert "storage" not in call
    assert "size=20G" in world.cluster.vms[20000].config["scsi0"]
    world.close()


def test_full_clones_name_the_plans_storage(tmp_path: Path) -> None:
    world = made(tmp_path, plan={"storage": "fast"})
    world.cluster.add_storage("fast", ("pve2",))
    assert create(world).state is State.DONE
    assert nodes(world) == ["pve2"]
    call = next(p for _, m, path, p in world.cluster.calls if path.endswith("/clone"))
    assert call["full"] == "1"
    assert call["storage"] == "fast"
    world.close()


def test_without_quorum_it_waits_and_goes_on(two: World) -> None:
    two.cluster.quorate = False
    two.order("create")
    two.run(120)
    op = two.store.current_operation(1)
    assert op is not None
    assert op.state is State.RUNNING
    assert "quorum" in op.error_text
    assert two.vms() == []
    two.cluster.quorate = True
    two.run()
    assert two.store.operations_of(1)[0].state is State.DONE
    assert two.vms() == [20000]


@pytest.mark.parametrize(("times", "state"), [(2, State.DONE), (99, State.FAILED)])
def test_a_list_without_any_node_says_nothing_of_the_plan(two: World, times: int, state: State) -> None:
    """As a cluster that is only starting answers, or one that our token may not see."""
    two.cluster.faults = [Fault("body_before", "GET", "/cluster/resources$", times=times, body=b'{"data": []}')]
    op = create(two)
    assert op.state is state, op
    assert state is State.DONE or "Sys.Audit" in op.error_text, op
