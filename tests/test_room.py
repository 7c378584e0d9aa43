"""Room: what counts on a node, how much may be sold of it, and that a machine grows only where it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge import config as config_module
from bridge.errors import ConfigError, Refused
from bridge.model import Operation, State
from bridge.orders import upgrades
from bridge.staff import servers
from tests.configs import raw_config
from tests.held import HeldClock
from tests.pve.cluster import GIB, default_cluster
from tests.world import World


def made(path: Path, memory: int = 8, nodes: tuple[str, ...] = ("pve1",), **server: Any) -> World:
    raw = raw_config()
    raw["servers"]["pve1"] |= server
    raw["plans"]["kvm-s"]["locations"] = list(nodes)
    cluster = default_cluster(HeldClock(), nodes=nodes, memory=memory * GIB, bulk_age=0.0)
    world = World(path, cluster, servers=raw["servers"], plans=raw["plans"])
    cluster.clock = world.clock
    return world


def born(world: World, *services: int, **values: Any) -> World:
    for service in services:
        world.order("create", service, **values)
        world.run()
    read(world)
    world.cluster.calls.clear()
    return world


def read(world: World) -> None:
    world.clock.time += 61
    assert servers.read_resources("pve1", world.drivers["pve1"], world.store)


def last(world: World, service: int) -> Operation:
    record = world.store.find_service("main", service)
    assert record is not None
    return world.store.operations_of(record.id, 1)[0]


def writes(world: World) -> list[str]:
    return [path for _, m, path, _ in world.cluster.calls if m != "GET"]


# -- what may be sold -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("overcommit", "fit", "why"),
    [
        ({}, 4, "0 MiB of memory free, 2048 needed (8192 of 8192 MiB are sold or in use)"),
        (
            {"ram": 1.5},
            6,
            "0 MiB of memory free, 2048 needed (12288 of 12288 MiB at overcommit 1.5 are sold or in use)",
        ),
        (
            {"ram": 0.9},
            3,
            "1228 MiB of memory free, 2048 needed (6144 of 7372 MiB at overcommit 0.9 are sold or in use)",
        ),
        ({"ram": 8, "cores": 0.25}, 4, "0 of 8 cores free, 2 needed"),
    ],
)
def test_as_many_as_may_be_sold(tmp_path: Path, overcommit: dict[str, float], fit: int, why: str) -> None:
    world = made(tmp_path, overcommit=overcommit) if overcommit else made(tmp_path)
    for service in range(1, fit + 2):
        world.order("create", service)
        world.run(200)
        if service % 2 and service <= fit:
            world.order("suspend", service)  # off, and sold all the same
            world.run(200)
    states = [world.store.operations_of(s)[-1].state for s in range(1, fit + 2)]
    assert states[:-1] == [State.DONE] * fit
    assert why in world.store.operations_of(fit + 1)[-1].error_text
    assert len(world.vms()) == fit
    world.close()


@pytest.mark.parametrize(
    ("overcommit", "path"),
    [
        ({"ram": 0}, "servers.pve1.overcommit.ram"),
        ({"ram": "much"}, "servers.pve1.overcommit.ram"),
        ({"cores": -1}, "servers.pve1.overcommit.cores"),
        ({"disk": 2}, "servers.pve1.overcommit.disk"),
        (1.5, "servers.pve1.overcommit"),
    ],
)
def test_a_wrong_overcommit_is_named(overcommit: Any, path: str) -> None:
    raw = raw_config()
    raw["servers"]["pve1"]["overcommit"] = overcommit
    with pytest.raises(ConfigError) as caught:
        config_module.from_dict(raw)
    assert [f[0] for f in caught.value.faults] == [path]


def test_more_processors_than_a_node_has(tmp_path: Path) -> None:
    world = made(tmp_path, memory=64)
    world.order("create", 1, configoption4="64")
    world.run(120)
    assert "pve1: it has 32 processors, 64 needed by one machine" in last(world, 1).error_text
    assert world.vms() == []
    world.close()


# -- growing ----------------------------------------------------------------------------------------
LIMITS: list[tuple[dict[str, Any], str, str]] = [
    ({"configoption5": "2048"}, "RAM", "4096 MiB of memory free, 2095104 needed"),
    ({"configoption5": "8"}, "RAM", "4096 MiB of memory free, 6144 needed"),
    ({"configoption4": "33"}, "CPU cores", "it has 32 processors, 33 needed"),
    ({"configoption6": "600"}, "System disk", "storage 'local-lvm' has"),
    ({"configoption7": "600"}, "System disk", "storage 'local-lvm' has"),
]


@pytest.mark.parametrize(("wish", "what", "why"), LIMITS)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, wish: dict[str, str], what: str, why: str
) -> None:
    world = born(made(tmp_path), 1, 2)
    service = world.store.service(1)
    params = {"configoption1": "kvm-s", **wish}
    shown = upgrades.preview(service, params, world.drivers["pve1"], world.store, world.config)
    sentence = f"There is not enough room for this where your server is now: {what}."
    assert shown.refused == (sentence,)
    assert why in shown.details[0]
    assert "It would fit on no other node." in shown.details[0]
    with pytest.raises(Refused, match="Nothing was changed") as caught:
        world.order("change_package", 1, **wish)
    assert sentence in caught.value.sentence
    assert why in caught.value.sentence
    assert world.store.service(1).package == service.package
    assert last(world, 1).kind == "create"
    assert writes(world) == []
    (finding,) = world.store.findings(1)
    assert finding["kind"] == "no_room"
    assert why in finding["text"]
    assert "Change Package" in finding["fix"]
    assert [e["event"] for e in world.store.events() if e["event"] == "staff_notice"] == ["staff_notice"]
    world.cluster.memory, world.cluster.processors = 4096 * GIB, 64
    world.cluster.storages["local-lvm"].total = 5000 * GIB
    read(world)
    world.order("change_package", 1, **wish)
    world.run()
    assert last(world, 1).state is State.DONE
    assert world.store.findings(1) == []
    world.close()


def test_only_what_it_grows_by_is_counted(tmp_path: Path) -> None:
    world = born(made(tmp_path), 1, 2)
    for gib, fits in (("6", True), ("6.5", False)):  # 8 - 2 of the other
        if fits:
            world.order("change_package", 1, configoption5=gib)
            world.run()
            assert last(world, 1).state is State.DONE
        else:
            with pytest.raises(Refused, match="512 needed"):
                world.order("change_package", 1, configoption5=gib)
    world.cluster.memory = 4 * GIB  # over-full now: what does not grow is nobody's room
    read(world)
    for wish in ({"configoption4": "4"}, {"configoption6": "30"}, {"configoption5": "4"}):
        world.order("change_package", 1, **{"configoption5": "6", "configoption4": "4", "configoption6": "30", **wish})
        world.run()
        assert last(world, 1).state is State.DONE
    world.close()


def test_the_node_that_has_room_is_named(tmp_path: Path) -> None:
    world = born(made(tmp_path, nodes=("pve1", "pve2")), 1, configoption2="pve1")
    world.cluster.add_vm(500, "pve1", "running", memory="6144")
    read(world)
    with pytest.raises(Refused, match=r"pve1: 0 MiB .* It would fit on pve2: migrate it there, then order again\."):
        world.order("change_package", 1, configoption5="4")
    world.cluster.migrate(20000, "pve2")
    read(world)
    world.order("change_package", 1, configoption5="4")
    world.run()
    assert last(world, 1).state is State.DONE
    assert world.cluster.vms[20000].pending["memory"] == "4096"
    world.close()


@pytest.mark.parametrize("verb", ["change_package", "change while suspended", "converge"])
def test_the_operation_looks_again_before_it_writes(tmp_path: Path, verb: str) -> None:
    """What a preview cannot know: the room went after it was read."""
    world = born(made(tmp_path), 1)
    if verb != "change_package":
        world.order("suspend", 1)
        world.run()
    world.cluster.calls.clear()
    world.cluster.add_vm(500, "pve1", "running", memory="6144")
    if verb == "converge":
        world.order("unsuspend", 1)
        world.run()
        world.cluster.calls.clear()
        world.store.update_service(1, package=upgraded(world))
        world.order("converge", 1)
    else:
        world.order("change_package", 1, configoption5="4")
    world.run(300)
    op = last(world, 1)
    assert op.error_code == "no_capacity"
    assert "pve1: 0 MiB of memory free, 2048 needed" in op.error_text
    assert "/nodes/pve1/qemu/20000/config" not in writes(world)
    assert world.cluster.vms[20000].pending == {}
    world.cluster.vms[500].status = "stopped"
    if op.state is State.FAILED:
        world.store.retry(op.id)
    world.run(3 * 3600)
    vm = world.cluster.vms[20000]
    assert last(world, 1).state is State.DONE
    assert "4096" in (vm.config["memory"], vm.pending.get("memory"))
    world.close()


def upgraded(world: World) -> Any:
    return upgrades.preview(
        world.store.service(1),
        {"configoption1": "kvm-s", "configoption5": "4"},
        world.drivers["pve1"],
        world.store,
        world.config,
    ).package


def test_two_that_want_the_same_room(tmp_path: Path) -> None:
    """One gets it; neither keeps the other from it by only wanting it."""
    world = born(made(tmp_path), 1, 2)
    for service in (1, 2):
        world.order("change_package", service, configoption5="6")
    world.run(300)
    codes = sorted(last(world, s).error_code for s in (1, 2))
    assert codes == ["", "no_capacity"], [last(world, s) for s in (1, 2)]
    world.close()


def test_a_customer_who_pays_gets_the_server_back_though_a_growth_waits(tmp_path: Path) -> None:
    world = born(made(tmp_path), 1)
    world.order("suspend", 1)
    world.run()
    world.cluster.add_vm(500, "pve1", "running", memory="6144")
    world.store.update_service(1, package=upgraded(world))
    world.order("unsuspend", 1)
    world.run(120)
    assert world.cluster.vms[20000].status == "running"
    assert world.cluster.vms[20000].config["memory"] == "2048"
    assert last(world, 1).error_code == "no_capacity"
    world.close()


@pytest.mark.parametrize("how", ["template", "memory"])
def test_a_machine_that_cannot_be_made_anew_stays(tmp_path: Path, how: str) -> None:
    world = born(made(tmp_path), 1)
    if how == "template":
        del world.cluster.vms[9000]
    else:
        world.cluster.add_vm(500, "pve1", "running", memory="7168")
    world.order("redeploy", 1, confirm="1")
    world.run(300)
    assert last(world, 1).error_code in ("plan_impossible", "no_capacity")
    assert world.cluster.vms[20000].status == "running"
    assert writes(world) == []
    world.close()


def test_its_own_room_is_enough_for_a_new_one(tmp_path: Path) -> None:
    world = born(made(tmp_path, memory=2), 1)
    world.order("redeploy", 1, confirm="1")
    world.run()
    assert last(world, 1).state is State.DONE
    assert world.vms() == [20001]
    world.close()


def test_the_old_disks_size_is_no_promise_for_the_new_one(tmp_path: Path) -> None:
    """A thin disk gives back what was written of it, so the old machine stays until the new one has a place without
    that."""
    world = born(made(tmp_path), 1)
    store = world.cluster.storages["local-lvm"]
    store.used = store.total - 5 * GIB
    world.cluster.calls.clear()
    world.order("redeploy", 1, confirm="1")
    world.run(60)
    assert last(world, 1).error_code == "no_capacity"
    assert writes(world) == []
    assert world.cluster.vms[20000].status == "running"
    world.page("power", "stop", 1)  # and its customer goes on meanwhile
    world.run(60)
    assert world.cluster.vms[20000].status == "stopped"
    world.close()


def test_a_reinstall_that_finds_no_room_beside_the_old_disk_stops_nothing(tmp_path: Path) -> None:
    world = born(made(tmp_path), 1)
    store = world.cluster.storages["local-lvm"]
    free, store.used = store.used, store.total - 1 * GIB
    world.cluster.calls.clear()
    world.page("reinstall", "reinstall", 1, template="debian-12", confirm="REINSTALL")
    world.run()
    op = last(world, 1)
    assert op.state is State.FAILED
    assert op.error_code == "no_capacity"
    assert "3 needed beside the old disk" in op.error_text
    assert writes(world) == []
    assert world.cluster.vms[20000].status == "running"
    store.used = free
    world.page("reinstall", "reinstall", 1, template="debian-12", confirm="REINSTALL")
    world.run()
    assert last(world, 1).state is State.DONE
    world.close()


def test_old_numbers_refuse_nothing(tmp_path: Path) -> None:
    world = born(made(tmp_path), 1, 2)
    world.clock.time += 901
    shown = upgrades.preview(
        world.store.service(1),
        {"configoption1": "kvm-s", "configoption5": "2048"},
        world.drivers["pve1"],
        world.store,
        world.config,
    )
    assert shown.refused == ()
    world.close()
