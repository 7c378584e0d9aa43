"""What is not proven ours is never touched; what is gone is proven gone; ids and addresses are given once."""

from __future__ import annotations

import copy
import dataclasses
import threading
import uuid
from pathlib import Path

import pytest

from bridge.clock import Clock
from bridge.errors import Refused, VmbridgeError
from bridge.model import State
from tests.pve.cluster import Fault
from tests.world import World


def born(world: World) -> None:
    world.order("create")
    world.run()
    world.cluster.calls.clear()


@pytest.mark.parametrize("verb", ["suspend", "terminate", "converge"])
@pytest.mark.parametrize("how", ["reused by hand", "swapped uuid"])
def test_a_foreign_machine_under_our_id_is_not_touched(world: World, verb: str, how: str) -> None:
    born(world)
    vm = world.cluster.vms[20000]
    if how == "reused by hand":
        node = vm.node
        del world.cluster.vms[20000]
        world.cluster.add_vm(20000, node)
    else:
        vm.config["smbios1"] = f"uuid={uuid.uuid4()}"
    before = copy.deepcopy(world.cluster.vms[20000].config)
    world.order(verb)
    world.run()
    assert world.cluster.mutations() == []
    assert world.cluster.vms[20000].config == before
    assert world.cluster.vms[20000].status == "running"
    current = world.store.current_operation(1)
    assert current
    assert current.state is State.STAFF
    assert current.error_code == "not_ours"
    assert world.store.addresses_of(1)


def test_a_gui_clone_of_a_customers_machine_is_not_touched(world: World) -> None:
    born(world)
    twin = dataclasses.replace(world.cluster.vms[20000], config=dict(world.cluster.vms[20000].config))
    twin.vmid, twin.config["smbios1"] = 777, f"uuid={uuid.uuid4()}"
    world.cluster.vms[777] = twin
    for verb in ("suspend", "unsuspend", "terminate"):
        world.order(verb)
        world.run()
    assert world.vms() == [777]
    assert not [p for _, p in world.cluster.mutations() if "/777" in p]


def test_a_foreign_id_in_our_range_is_left_alone(world: World) -> None:
    world.cluster.add_vm(20000, "pve1")
    world.order("create")
    world.run()
    assert world.vms() == [20000, 20001]
    assert world.store.service(1).vm_id == "20001"
    assert world.cluster.vms[20000].config["name"] == "vm20000"


def test_gone_needs_quorum(world: World) -> None:
    born(world)
    del world.cluster.vms[20000]
    world.cluster.quorate = False
    world.order("terminate")
    world.run(300)
    assert world.store.current_operation(1)
    world.cluster.quorate = True
    world.run(3000)
    assert world.store.current_operation(1) is None
    assert not world.store.addresses_of(1)


def test_a_moved_machine_is_found_again(world: World) -> None:
    born(world)
    vm = world.cluster.vms[20000]
    vm.node = "pve1" if vm.node == "pve2" else "pve2"
    world.order("suspend")
    world.run()
    assert vm.status == "stopped"
    assert world.store.service(1).node == vm.node


def test_a_stale_lock_waits_for_staff_with_the_command(world: World) -> None:
    born(world)
    world.cluster.vms[20000].config["lock"] = "rollback"
    world.order("suspend")
    world.run(7200)
    current = world.store.current_operation(1)
    assert current
    assert current.state is State.STAFF
    assert "qm unlock 20000" in current.next_action
    del world.cluster.vms[20000].config["lock"]
    world.store.retry(current.id)
    world.run()
    assert world.cluster.vms[20000].status == "stopped"


def test_adopt_records_and_writes_nothing(world: World) -> None:
    from bridge import services
    from bridge.orders import packages

    vm = world.cluster.add_vm(555, "pve1")
    machine = world.drivers["pve1"].inspect("555")
    services.adopt("main", 9, 7, "", packages.of_plan(world.config.plans["kvm-s"]), machine, world.store, world.config)
    assert world.cluster.mutations() == []
    world.order("suspend", 9)
    world.run()
    assert vm.status == "stopped"
    world.order("unsuspend", 9)
    world.run()
    assert vm.status == "running"


def test_converge_twice_writes_once(world: World) -> None:
    born(world)
    world.cluster.vms[20000].config["cores"] = "8"
    for expected in (["cores"], []):
        world.cluster.calls.clear()
        world.order("converge")
        world.run()
        assert [k for _, m, _, p in world.cluster.calls if m == "PUT" for k in p] == expected
    assert world.cluster.vms[20000].pending == {"cores": "2"}


def test_the_password_is_sent_once(world: World) -> None:
    born(world)
    world.order("suspend")
    world.run()
    world.order("unsuspend")
    world.run()
    assert not [p for _, m, _, p in world.cluster.calls if "cipassword" in p]


def test_two_hundred_orders_on_a_hundred_addresses(tmp_path: Path) -> None:
    from tests.configs import raw_config

    pool = {**raw_config()["pools"]["public-v4"], "ranges": ["203.0.113.1-203.0.113.100"], "gateway": "203.0.113.254"}
    world = World(tmp_path, pools={"public-v4": pool})
    world.clock.time = Clock().now()
    got: list[str] = []
    refused: list[str] = []

    def one(number: int) -> None:
        try:
            got.append(world.order("create", number).properties["Dedicated IP"])
        except Refused as e:
            refused.append(e.sentence)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(1, 201)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(got) == len(set(got)) == 100
    assert refused == ["No free IPv4 address in pool 'public-v4'."] * 100
    assert len(world.store.rows("SELECT id FROM services")) == 100
    world.close()


def test_limits_per_node_and_storage(world: World) -> None:
    running: list[int] = []

    def on_call(phase: str, index: int, method: str, path: str) -> None:
        running.append(
            max(
                (
                    sum(
                        t.node == n and t.kind == "qmclone" and world.cluster.running(t)
                        for t in world.cluster.tasks.values()
                    )
                    for n in world.cluster.nodes
                ),
                default=0,
            )
        )

    world.cluster.on_call = on_call
    for i in range(1, 11):
        world.order("create", i)
    world.run()
    assert len(world.vms()) == 10
    assert max(running) == 2
    assert {v.status for v in world.cluster.vms.values() if not v.template} == {"running"}


def test_placement_counts_running_creates_and_room(tmp_path: Path) -> None:
    world = World(tmp_path)
    for i in range(1, 5):
        world.order("create", i)
    world.run()
    nodes = [v.node for v in world.cluster.vms.values() if not v.template]
    assert sorted(nodes) == ["pve1", "pve1", "pve2", "pve2"]
    world.close()


def test_no_room_is_named_while_the_order_waits(world: World) -> None:
    world.cluster.storages["local-lvm"].used = world.cluster.storages["local-lvm"].total
    world.order("create")
    world.run()
    op = world.store.operations_of(1)[0]
    assert (op.waits_for_room, op.error_code) == (True, "no_capacity")
    assert "0 GiB free, 20 needed" in op.error_text
    world.cluster.storages["local-lvm"].used = 0
    world.order("create")  # WHMCS's Module Queue tries again
    world.run()
    assert world.vms() == [20000]


def test_a_server_that_is_down_pauses_only_itself(world: World) -> None:
    from bridge.metering import status

    world.store.health("pve1")
    world.cluster.faults = [Fault("status", status=595, reason="No route to host", times=10**9)]
    for _ in range(4):
        world.clock.time += 120
        status.refresh("pve1", world.drivers["pve1"], world.store)
    assert not world.store.health("pve1")["ok"]
    world.order("create")
    world.run(60)
    assert world.store.operations_of(1)[0].started_at is None
    world.cluster.faults = []
    world.clock.time += 120
    status.refresh("pve1", world.drivers["pve1"], world.store)
    world.run()
    assert world.vms() == [20000]


def test_power_is_refused_while_busy_and_while_suspended(world: World) -> None:
    world.order("create")
    with pytest.raises(VmbridgeError, match="set up") as caught:
        world.order("stop")
    assert caught.value.code == "service_busy"
    world.run()
    world.order("suspend")
    with pytest.raises(VmbridgeError) as caught:
        world.order("start")
    assert caught.value.code == "suspended"


def test_a_guest_that_ignores_stop_says_so(world: World) -> None:
    born(world)
    world.cluster.vms[20000].acpi = False
    world.order("stop")
    world.run()
    assert world.store.operations_of(1)[0].error_code == "no_reaction"
    world.order("hard_stop")
    world.run()
    assert world.cluster.vms[20000].status == "stopped"


def test_cancel_keeps_everything_and_retry_goes_on(world: World) -> None:
    world.order("create")
    world.engine.tick()
    world.order("cancel")
    world.run()
    assert world.store.operations_of(1)[0].state is State.CANCELLED
    assert world.store.addresses_of(1)
    world.order("retry")
    world.run()
    assert world.cluster.vms[20000].status == "running"


@pytest.mark.parametrize("kind", ["status", "reset_before", "reset_after", "timeout_after"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_adopt_disturbed_anywhere_is_all_or_nothing(tmp_path: Path, kind: str, nth: int) -> None:
    """Each upstream call fails or its reply is lost: the machine is recorded or it is not, nothing is written to it,
    and a repeat ends the same."""
    from click.testing import CliRunner

    from bridge import cli

    world = World(tmp_path)
    vm = world.cluster.add_vm(555, "pve1", ipconfig0="ip=203.0.113.77/24,gw=203.0.113.1")
    before = dict(vm.config)
    words = ["adopt", "9", "555", "--plan", "kvm-s", "--client", "7"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli.adopt, "opened", lambda path, migrated=True: world.context)
        world.cluster.faults = [Fault(kind, nth=nth, reason="got lock request timeout")]
        CliRunner().invoke(cli.main, words)
        record = world.store.find_service("main", 9)
        assert record is None or (
            record.vm_id == "555" and [a["address"] for a in world.store.addresses_of(record.id)] == ["203.0.113.77"]
        )
        world.cluster.faults = []
        done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 0, done.output
    service = world.store.find_service("main", 9)
    assert service
    assert service.generation == 1
    assert service.uuids[0] in vm.config["smbios1"]
    assert service.mac == "BC:24:11:00:00:02"
    assert world.cluster.mutations() == []
    assert vm.config == before
    world.close()


def test_adopt_refuses_a_template_and_a_machine_of_somebody_else(world: World) -> None:
    from bridge import services
    from bridge.orders import packages

    with pytest.raises(Refused, match="template"):
        world.drivers["pve1"].inspect("9000")
    born(world)
    machine = world.drivers["pve1"].inspect("20000")
    with pytest.raises(Refused, match="belongs to service 1042"):
        services.adopt(
            "main", 9, 7, "", packages.of_plan(world.config.plans["kvm-s"]), machine, world.store, world.config
        )
