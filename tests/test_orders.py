"""The main job in process on a held clock: orders, repeats and overlaps; the simulated cluster is the judge."""

from __future__ import annotations

from bridge.model import State
from tests.world import World


def test_an_order_becomes_a_running_machine(world: World) -> None:
    answer = world.order("create")
    assert answer.properties["Dedicated IP"] == "203.0.113.10"
    world.run()
    vm = world.cluster.vms[20000]
    service = world.store.service(1)
    assert vm.status == "running" and service.provisioned
    assert vm.config["smbios1"].startswith(f"uuid={service.uuids[0]},serial=")
    assert (vm.config["cores"], vm.config["memory"], vm.config["balloon"]) == ("2", "2048", "2048")
    assert "size=20G" in vm.config["scsi0"]
    assert vm.config["net0"] == f"virtio={service.mac},bridge=vmbr0,firewall=1,rate=23.84,tag=40"
    assert vm.config["ipconfig0"] == "ip=203.0.113.10/24,gw=203.0.113.1"
    assert vm.config["cipassword"].startswith("$6$") and "sshkeys" not in vm.config and "protection" not in vm.config
    assert vm.config["ide0"] == "none,media=cdrom" and vm.config["agent"] == "enabled=1" and vm.config["vga"] == "std"
    assert vm.rules == [] and vm.ipsets == {"ipfilter-net0": ["203.0.113.10"]} and vm.firewall["enable"] == "1"
    assert len(world.whmcs.mails()) == 1


def test_each_change_is_made_once_and_reads_are_few(world: World) -> None:
    world.order("create")
    world.run()
    vm = f"/nodes/{world.store.service(1).node}/qemu/20000"
    clone = next(p for m, p in world.cluster.mutations() if p.endswith("/clone"))
    assert world.cluster.mutations() == [
        ("POST", clone), ("PUT", f"{vm}/config"), ("PUT", f"{vm}/config"), ("DELETE", f"{vm}/firewall/rules/0"),
        ("POST", f"{vm}/firewall/ipset"), ("POST", f"{vm}/firewall/ipset/ipfilter-net0"), ("PUT", f"{vm}/firewall/options"),
        ("PUT", f"{vm}/resize"), ("POST", f"{vm}/status/start"),
    ]
    reads = [p for _, m, p, _ in world.cluster.calls if m == "GET" and "/tasks/" not in p]
    assert len(reads) <= 8, reads


def test_suspend_unsuspend_terminate(world: World) -> None:
    world.order("create")
    world.run()
    vm = world.cluster.vms[20000]
    world.order("suspend")
    world.run()
    assert vm.status == "stopped" and vm.config["onboot"] == "0"
    world.order("unsuspend")
    world.run()
    assert vm.status == "running" and vm.config["onboot"] == "1"
    assert world.store.service(1).ran_when_suspended is None
    world.order("terminate")
    world.run()
    assert world.vms() == []
    assert world.store.addresses_of(1) == []


def test_a_stopped_machine_stays_off_after_unsuspend(world: World) -> None:
    world.order("create")
    world.run()
    world.order("stop")
    world.run()
    for verb in ("suspend", "unsuspend"):
        world.order(verb)
        world.run()
    assert world.cluster.vms[20000].status == "stopped"


def test_a_create_repeated_while_pending_is_one_machine(world: World) -> None:
    first = world.order("create")
    again = world.order("create")
    assert (again.operation, again.properties) == (first.operation, first.properties)
    world.run()
    assert world.order("create").properties == first.properties
    world.run()
    assert world.vms() == [20000]


def test_a_create_repeated_while_active_is_refused(world: World) -> None:
    world.order("create")
    world.run()
    try:
        world.order("create", status="Active")
    except Exception as e:
        assert getattr(e, "code", "") == "already_created"
    else:
        raise AssertionError("accepted")


def test_suspend_during_the_copy_is_done_after_it(world: World) -> None:
    world.order("create")
    world.engine.tick()
    assert world.order("suspend").operation
    world.run()
    assert world.store.operations_of(1)[-1].state is State.SUPERSEDED
    assert [v.status for v in world.cluster.vms.values() if not v.template] == ["stopped"]
    world.order("unsuspend")
    world.run()
    assert world.cluster.vms[20000].status == "running" and world.store.service(1).provisioned
    assert len(world.whmcs.mails()) == 1


def test_terminate_during_create(world: World) -> None:
    world.order("create")
    world.engine.tick()
    world.order("terminate")
    world.run()
    assert world.vms() == [] and world.store.addresses_of(1) == []


def test_create_after_terminate_is_a_new_generation(world: World) -> None:
    for verb in ("create", "terminate", "create"):
        world.order(verb)
        world.run()
    service = world.store.find_service("main", 1042)
    assert service and service.generation == 2 and world.vms() == [20001]
    assert world.store.addresses_of(service.id)[0]["address"] == "203.0.113.11"  # the first one cools down


def test_every_order_of_two_billing_verbs_overlapping(tmp_path_factory: object) -> None:
    for second in ("suspend", "terminate", "unsuspend"):
        for ticks in range(14):
            w = World(tmp_path_factory.mktemp("w"))  # type: ignore[attr-defined]
            w.order("create")
            for _ in range(ticks):
                w.engine.tick()
                w.clock.time += 1
            w.order(second)
            w.run()
            states = [v.status for v in w.cluster.vms.values() if not v.template]
            wanted = {"suspend": ([], ["stopped"]), "terminate": ([],), "unsuspend": (["running"],)}[second]
            assert states in wanted, (second, ticks, states)
            assert not w.store.operations_of(None, 5, ("running", "waiting", "failed", "waiting_for_staff")), (second, ticks)
            w.close()
