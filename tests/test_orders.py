"""The main job in process on a held clock: orders, repeats and overlaps; the simulated cluster is the judge."""

from __future__ import annotations

import pytest

from bridge import services
from bridge.errors import BadRequest, NotFound, Refused
from bridge.model import State
from bridge.services import Caller
from tests.pve.cluster import Fault
from tests.world import World


def test_an_order_becomes_a_running_machine(world: World) -> None:
    answer = world.order("create")
    assert answer.properties["Dedicated IP"] == "203.0.113.10"
    world.run()
    vm = world.cluster.vms[20000]
    service = world.store.service(1)
    assert vm.status == "running"
    assert service.provisioned
    assert vm.config["smbios1"].startswith(f"uuid={service.uuids[0]},serial=")
    assert (vm.config["cores"], vm.config["memory"], vm.config["balloon"]) == ("2", "2048", "2048")
    assert "size=20G" in vm.config["scsi0"]
    assert vm.config["net0"] == f"virtio={service.mac},bridge=vmbr0,firewall=1,rate=23.84,tag=40"
    assert vm.config["ipconfig0"] == "ip=203.0.113.10/24,gw=203.0.113.1"
    assert vm.config["cipassword"].startswith("$6$")
    assert "sshkeys" not in vm.config
    assert "protection" not in vm.config
    assert vm.config["ide0"] == "none,media=cdrom"
    assert vm.config["agent"] == "enabled=1"
    assert vm.config["vga"] == "std"
    assert vm.rules == []
    assert vm.ipsets == {"ipfilter-net0": ["203.0.113.10"]}
    assert vm.firewall["enable"] == "1"
    assert len(world.whmcs.mails()) == 1


def test_each_change_is_made_once_and_reads_are_few(world: World) -> None:
    world.order("create")
    world.run()
    vm = f"/nodes/{world.store.service(1).node}/qemu/20000"
    clone = next(p for m, p in world.cluster.mutations() if p.endswith("/clone"))
    assert world.cluster.mutations() == [
        ("POST", clone),
        ("PUT", f"{vm}/config"),
        ("PUT", f"{vm}/config"),
        ("DELETE", f"{vm}/firewall/rules/0"),
        ("POST", f"{vm}/firewall/ipset"),
        ("POST", f"{vm}/firewall/ipset/ipfilter-net0"),
        ("PUT", f"{vm}/firewall/options"),
        ("PUT", f"{vm}/resize"),
        ("POST", f"{vm}/status/start"),
    ]
    reads = [p for _, m, p, _ in world.cluster.calls if m == "GET" and "/tasks/" not in p]
    # one judges the one template that is taken, before anything is made; three see that what was written is there
    assert len(reads) <= 12, reads


def test_what_is_refused_beside_a_suspension_does_not_keep_the_server_running(world: World) -> None:
    world.order("create")
    world.run()
    vm = world.cluster.vms[20000]
    world.cluster.privileges["/vms"].discard("VM.Config.Options")  # needed to write onboot
    world.order("suspend")
    world.run(300)
    current = world.store.current_operation(1)
    assert vm.status == "stopped"
    assert vm.config["onboot"] == "1"
    assert current
    assert (current.kind, current.step, current.error_code) == (
        "suspend",
        "autostart_again",
        "upstream_privilege",
    )
    world.cluster.privileges["/vms"].add("VM.Config.Options")
    world.run(2000)
    assert vm.config["onboot"] == "0"
    assert world.store.current_operation(1) is None


def test_suspend_unsuspend_terminate(world: World) -> None:
    world.order("create")
    world.run()
    vm = world.cluster.vms[20000]
    world.order("suspend")
    world.run()
    assert vm.status == "stopped"
    assert vm.config["onboot"] == "0"
    world.order("unsuspend")
    world.run()
    assert vm.status == "running"
    assert vm.config["onboot"] == "1"
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
    with pytest.raises(Refused) as caught:
        world.order("create", status="Active")
    assert caught.value.code == "already_created"


def test_suspend_during_the_copy_is_done_after_it(world: World) -> None:
    world.order("create")
    world.engine.tick()
    assert world.order("suspend").operation
    world.run()
    assert world.store.operations_of(1)[-1].state is State.SUPERSEDED
    assert [v.status for v in world.cluster.vms.values() if not v.template] == ["stopped"]
    world.order("unsuspend")
    world.run()
    assert world.cluster.vms[20000].status == "running"
    assert world.store.service(1).provisioned
    assert len(world.whmcs.mails()) == 1


def test_terminate_during_create(world: World) -> None:
    world.order("create")
    world.engine.tick()
    world.order("terminate")
    world.run()
    assert world.vms() == []
    assert world.store.addresses_of(1) == []


def test_create_after_terminate_is_a_new_generation(world: World) -> None:
    for verb in ("create", "terminate", "create"):
        world.order(verb)
        world.run()
    service = world.store.find_service("main", 1042)
    assert service
    assert service.generation == 2
    assert world.vms() == [20001]
    assert world.store.addresses_of(service.id)[0]["address"] == "203.0.113.11"  # the first one cools down


def test_every_order_of_two_billing_verbs_overlapping(tmp_path_factory: pytest.TempPathFactory) -> None:
    for second in ("suspend", "terminate", "unsuspend"):
        for ticks in range(14):
            w = World(tmp_path_factory.mktemp("w"))
            w.order("create")
            for _ in range(ticks):
                w.engine.tick()
                w.clock.time += 1
            w.order(second)
            w.run()
            states = [v.status for v in w.cluster.vms.values() if not v.template]
            wanted = {"suspend": ([], ["stopped"]), "terminate": ([],), "unsuspend": (["running"],)}[second]
            assert states in wanted, (second, ticks, states)
            assert not w.store.operations_of(None, 5, ("running", "waiting", "failed", "waiting_for_staff")), (
                second,
                ticks,
            )
            w.close()


def test_a_failed_create_is_taken_up_again_although_whmcs_says_active(world: World) -> None:
    world.cluster.privileges["/vms"].discard("VM.Clone")
    world.order("create")
    world.run()
    failed = world.store.operations_of(1)[0]
    assert failed.state is State.FAILED
    assert failed.error_code == "upstream_privilege"
    world.cluster.privileges["/vms"].add("VM.Clone")
    assert world.order("create", status="Active").operation == failed.id
    world.run()
    assert world.cluster.vms[20000].status == "running"


def test_a_service_that_whmcs_gives_to_another_client_is_theirs_from_the_next_order_on(world: World) -> None:
    world.order("create")
    world.run()
    theirs = {"userid": 8, "configoption1": "kvm-s"}
    with pytest.raises(NotFound):
        services.run(
            "start", 1042, "", theirs, Caller("main", "client 8", client=True), world.store, world.config, world.drivers
        )
    assert world.store.service(1).client_id == 7  # a client's own word is none
    with pytest.raises(BadRequest, match="userid"):
        services.run(
            "converge",
            1042,
            "",
            {**theirs, "userid": "8 or so"},
            Caller("main"),
            world.store,
            world.config,
            world.drivers,
        )
    world.run()
    services.run("converge", 1042, "", theirs, Caller("main", "admin jo"), world.store, world.config, world.drivers)
    assert world.store.service(1).client_id == 8
    services.run("suspend", 1042, "", {}, Caller("main"), world.store, world.config, world.drivers)
    assert world.store.service(1).client_id == 8


@pytest.mark.parametrize("verb", ["suspend", "unsuspend", "terminate", "converge", "start"])
def test_an_unknown_service_is_named(world: World, verb: str) -> None:
    with pytest.raises(NotFound, match="vmbridge adopt") as caught:
        world.order(verb, 77)
    assert caught.value.code == "unknown_service"


def test_terminate_is_success_when_nothing_was_ever_made_or_all_is_gone(world: World) -> None:
    assert world.order("terminate", 77, status="Pending").operation == ""
    world.order("create")
    world.run()
    world.order("terminate")
    world.run()
    assert world.order("terminate").operation == ""


def test_a_repeated_suspend_keeps_what_ran(world: World) -> None:
    world.order("create")
    world.run()
    first = world.order("suspend").operation
    assert world.order("suspend").operation == first
    world.run()
    world.cluster.calls.clear()
    assert world.order("suspend").operation not in ("", first)  # looks again: somebody may have started it by hand
    world.run()
    assert world.store.service(1).ran_when_suspended is True
    assert world.cluster.mutations() == []
    world.cluster.vms[20000].status = "running"
    world.order("suspend")
    world.run()
    assert world.cluster.vms[20000].status == "stopped"


def test_a_customer_operation_finishes_before_a_billing_order(world: World) -> None:
    world.order("create")
    world.run()
    world.order("reboot")
    world.engine.tick()
    world.order("suspend")
    world.run()
    states = {o.kind: o.state for o in world.store.operations_of(1)}
    assert states["reboot"] is State.DONE
    assert states["suspend"] is State.DONE
    assert world.cluster.vms[20000].status == "stopped"


def test_a_customer_operation_in_back_off_gives_way(world: World) -> None:
    world.order("create")
    world.run()
    world.cluster.hold(20000)
    key = world.order("reboot").operation
    for _ in range(60):
        if world.store.operation(key).error_code == "vm_locked":
            break
        world.run(1)
    assert world.store.operation(key).error_code == "vm_locked"
    world.order("suspend")
    world.cluster.let_go(20000)
    world.run()
    states = {o.kind: o.state for o in world.store.operations_of(1)}
    assert states["reboot"] is State.SUPERSEDED
    assert states["suspend"] is State.DONE


def test_suspend_during_a_foreign_lock_is_accepted_and_done_after_it(world: World) -> None:
    world.order("create")
    world.run()
    world.cluster.hold(20000)
    assert world.order("suspend").operation
    world.run(300)
    assert world.cluster.vms[20000].status == "running"
    world.cluster.let_go(20000)
    world.run()
    assert world.cluster.vms[20000].status == "stopped"


def test_of_many_waiting_orders_the_newest_wins(world: World) -> None:
    world.order("create")
    world.run()
    world.order("suspend")
    world.engine.tick()
    for verb in ("unsuspend", "suspend", "unsuspend", "suspend", "unsuspend"):
        world.order(verb)
    assert len(world.store.operations_of(1, 20, ("running", "waiting"))) <= 2
    world.run()
    assert world.cluster.vms[20000].status == "running"
    assert world.cluster.vms[20000].config["onboot"] == "1"


@pytest.mark.parametrize("first", ["suspend", "unsuspend", "terminate"])
@pytest.mark.parametrize("second", ["suspend", "unsuspend", "terminate"])
def test_two_orders_at_every_moment(first: str, second: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    for ticks in range(10):
        w = World(tmp_path_factory.mktemp("w"))
        for verb in ("create", "suspend") if first == "unsuspend" else ("create",):
            w.order(verb)
            w.run()
        w.order(first)
        for _ in range(ticks):
            w.engine.tick()
            w.clock.time += 1
        gone = first == "terminate"
        if gone and second != "terminate":
            with pytest.raises(NotFound):
                w.order(second)
        else:
            w.order(second)
        w.run()
        states = [v.status for v in w.cluster.vms.values() if not v.template]
        wanted = [] if "terminate" in (first, second) else ["stopped"] if second == "suspend" else ["running"]
        assert states == wanted, (ticks, states)
        assert not w.store.operations_of(None, 5, ("running", "waiting", "failed", "waiting_for_staff"))
        w.close()


def test_an_old_order_does_not_come_back_to_life(world: World) -> None:
    templates = {k: v for k, v in world.cluster.vms.items() if v.template}
    for key in templates:
        del world.cluster.vms[key]
    world.order("create")
    world.run()
    create = world.store.operations_of(1)[0]
    assert create.state is State.FAILED
    world.order("terminate")
    world.run()
    world.cluster.vms |= templates
    assert "terminated" in world.store.retry(create.id)
    world.run()
    assert world.vms() == []


def test_a_cancelled_suspend_is_not_retried_after_unsuspend(world: World) -> None:
    world.order("create")
    world.run()
    world.order("suspend")
    world.order("cancel")
    world.run()
    suspend = world.store.operations_of(1)[0]
    assert suspend.state is State.CANCELLED
    world.order("unsuspend")
    world.run()
    assert world.store.retry(suspend.id)
    assert world.cluster.vms[20000].status == "running"


def test_retry_does_not_undo_that_a_newer_order_waits(world: World) -> None:
    world.order("create")
    world.engine.tick()
    world.order("suspend")
    with pytest.raises(Refused, match="newer order"):
        world.order("retry")
    world.run()
    assert world.store.operations_of(1)[-1].state is State.SUPERSEDED
    assert world.whmcs.mails() == []


def test_create_of_a_suspended_service_does_not_start_it(world: World) -> None:
    world.cluster.faults = [
        Fault("status", "PUT", "config", nth=2, status=403, reason="Permission check failed (/vms, VM.Config.CPU)")
    ]
    world.order("create")
    world.run()
    world.order("suspend")
    world.run()
    with pytest.raises(Refused, match="unsuspend it instead"):
        world.order("create", status="Active")
    world.run()
    assert [v.status for v in world.cluster.vms.values() if not v.template] == ["stopped"]


def test_a_half_built_machine_cannot_be_started_but_retry_finishes_it(world: World) -> None:
    world.cluster.faults = [
        Fault("status", "PUT", "config", nth=2, status=403, reason="Permission check failed (/vms, VM.Config.CPU)")
    ]
    world.order("create")
    world.run()
    with pytest.raises(Refused, match="not set up yet"):
        world.order("start")
    world.order("retry")
    world.run()
    assert world.cluster.vms[20000].status == "running"
    assert world.store.service(1).provisioned


def test_a_corrected_order_is_what_is_built(world: World) -> None:
    world.order("create", configoption5="4000")
    world.run()
    assert world.store.operations_of(1)[0].error_code == "no_capacity"
    world.order("create", configoption5="2", status="Active")
    world.run()
    assert world.cluster.vms[20000].config["memory"] == "2048"
    assert world.vms() == [20000]


def test_retry_gives_a_long_failed_create_its_full_time(world: World) -> None:
    world.cluster.durations["qmclone"] = 4000.0
    world.cluster.faults = [Fault("status", "PUT", "config", status=500, reason="got lock request timeout")]
    world.order("create")
    world.run(6000)
    assert world.store.operations_of(1)[0].state is State.DONE


def test_an_adopted_id_inside_our_range_is_skipped(world: World) -> None:
    from bridge import services
    from bridge.orders import packages

    world.cluster.add_vm(20000, "pve1")
    machine = world.drivers["pve1"].inspect("20000")
    services.adopt("main", 9, 7, "", packages.of_plan(world.config.plans["kvm-s"]), machine, world.store, world.config)
    world.order("create")
    world.run()
    assert world.vms() == [20000, 20001]


def test_a_hard_stop_takes_the_place_of_a_stop_that_hangs(world: World) -> None:
    world.order("create")
    world.run()
    world.cluster.vms[20000].acpi = False
    world.order("stop")
    world.engine.tick()
    begun = world.clock.time
    world.order("hard_stop")
    world.run()
    assert world.cluster.vms[20000].status == "stopped"
    assert world.clock.time - begun < 30


def test_what_only_the_customer_can_mend_is_no_notice_to_staff(world: World) -> None:
    world.order("create")
    world.run()
    world.cluster.vms[20000].acpi = False
    world.order("stop")
    world.run()
    op = world.store.operations_of(1)[0]
    assert op.state is State.FAILED
    assert op.error_code == "no_reaction"
    assert not [e for e in world.store.events() if e["event"] == "staff_notice"]


def test_ready_means_that_the_system_inside_answers(world: World) -> None:
    for vm in world.cluster.vms.values():
        vm.agent_after = 40.0
    world.order("create")
    world.run(30)
    assert world.store.current_operation(1) is not None
    assert world.whmcs.mails() == []
    world.run()
    assert world.store.service(1).provisioned
    assert len(world.whmcs.mails()) == 1


@pytest.mark.parametrize("how", ["never", "no privilege"])
def test_nobody_waits_long_for_an_agent(world: World, how: str) -> None:
    for vm in world.cluster.vms.values():
        vm.agent_after = None
    if how == "no privilege":
        world.cluster.privileges["/vms"] -= {"VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"}
    begun = world.clock.time
    world.order("create")
    world.run()
    op = world.store.operations_of(1)[0]
    note = next(s["message"] for s in world.store.steps(op.id) if s["name"] == "answering")
    assert op.state is State.DONE
    assert world.clock.time - begun < (240 if how == "never" else 30)
    assert ("privilege" in note) == (how != "never")
