"""What a task that ended badly leaves on a machine: half-made snapshots, locks that nobody holds, the power state of
before; and guests that do not react."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import customer
from bridge.errors import Refused
from bridge.model import State
from bridge.staff import contents, findings, mending
from tests.branches import Killed
from tests.pve.cluster import Fault
from tests.test_care import newest
from tests.test_crashes import plans
from tests.world import World


@pytest.fixture
def born(tmp_path: Path) -> Iterator[World]:
    raw = plans()
    raw["plans"]["kvm-s"]["templates"] = ["debian-12", "ubuntu-24.04"]
    world = World(tmp_path, **raw)
    world.order("create")
    world.run()
    world.cluster.calls.clear()
    yield world
    world.close()


def half_made(world: World, locked: bool = False) -> str:
    """A snapshot whose task failed; the operator has unlocked the machine, or not yet."""
    world.cluster.faults = [Fault("fail_task", "POST", "/snapshot$", reason="got timeout on the node", times=99)]
    world.page("snapshots", "take", description="before")
    world.run()
    world.cluster.faults = []
    if not locked:
        world.cluster.vms[20000].config.pop("lock")
        world.order("cancel")
        world.run()
    return str(next(iter(world.cluster.vms[20000].snapshots)))


def test_a_half_made_snapshot_stays_in_the_list_counts_and_can_be_removed(born: World) -> None:
    name = half_made(born)
    vm = born.cluster.vms[20000]
    assert vm.snapshots[name]["snapstate"] == "prepare"
    assert newest(born).state is State.CANCELLED
    assert [(r["name"], r["state"]) for r in born.store.snapshots_of(1)] == [(name, "unfinished")]
    with pytest.raises(Exception, match="not there any more"):
        born.page("snapshots", "rollback", name=name)
    born.page("snapshots", "delete", name=name)
    born.run()
    assert newest(born).state is State.DONE
    assert vm.snapshots == {}
    assert not vm.lock
    assert born.store.snapshots_of(1) == []


def test_one_that_lost_its_record_is_known_again_and_found_by_the_sweep(born: World) -> None:
    name = half_made(born)
    born.store.forget_snapshots(1)
    customer.renew_mirror("pve1", born.drivers["pve1"], born.store)
    assert [(r["name"], r["state"]) for r in born.store.snapshots_of(1)] == [(name, "unfinished")]
    findings.sweep_state("pve1", born.drivers["pve1"], born.store, now=True)
    [finding] = born.store.findings(1)
    assert finding["kind"] == "unfinished_snapshot"
    assert name in finding["text"]
    assert findings.fixable(finding)
    mending.fix(finding["id"], "staff", born.store, born.config, born.drivers)
    born.run()
    findings.sweep_state("pve1", born.drivers["pve1"], born.store, now=True)
    assert born.cluster.vms[20000].snapshots == {}
    assert born.store.findings(1) == [] == born.store.snapshots_of(1)


def test_without_force_it_would_fail_and_leave_its_lock(born: World) -> None:
    """The simulator is as strict as the real one."""
    name = half_made(born)
    base = f"nodes/{born.cluster.vms[20000].node}/qemu/20000"
    born.drivers["pve1"].api.delete(f"{base}/snapshot/{name}")
    born.clock.time += 10
    born.cluster.settle()
    assert born.cluster.vms[20000].lock == "snapshot-delete"
    assert name in born.cluster.vms[20000].snapshots


def test_a_reinstall_clears_it_before_anything_stops(born: World) -> None:
    half_made(born)
    born.cluster.calls.clear()
    born.page("reinstall", "reinstall", template="ubuntu-24.04", confirm="REINSTALL")
    born.run()
    sent = [p.rpartition("/20000")[2] for m, p in born.cluster.mutations()]
    assert newest(born).state is State.DONE
    assert sent[0].startswith("/snapshot/")
    assert sent[1] == "/status/shutdown"
    assert born.cluster.vms[20000].snapshots == {}
    assert born.store.snapshots_of(1) == []


@pytest.mark.parametrize(
    ("lock", "ask"),
    [
        ("rollback", ("power", "reboot")),
        ("snapshot-delete", ("snapshots", "take")),
        ("backup", ("backups", "take")),
        ("migrate", ("power", "stop")),
        ("create", ("reset_password", "reset")),
        ("snapshot", ("power", "hard_stop")),
    ],
)
def test_a_lock_that_no_task_holds_is_named_at_once(born: World, lock: str, ask: tuple[str, str]) -> None:
    born.cluster.vms[20000].config["lock"] = lock
    born.page(*ask)
    born.run(30)
    op = newest(born)
    assert op.state is State.STAFF
    assert "`qm unlock 20000` on pve" in op.next_action
    assert lock in op.error_text
    assert born.cluster.mutations() == []
    with pytest.raises(Refused, match="Our staff has to look at this server first"):
        born.page("power", "reboot")
    born.run(3600)
    assert len([e for e in born.store.events() if e["event"] == "staff_notice"]) == 1
    born.cluster.let_go(20000)
    born.order("retry")
    born.run()
    assert newest(born).state is State.DONE


def test_a_lock_that_a_task_holds_is_waited_for_however_long(born: World) -> None:
    born.cluster.hold(20000)
    born.cluster.holding[20000].target = ""  # of a job for many machines the task names none
    born.page("power", "reboot")
    born.run(3000)
    assert newest(born).state is State.RUNNING
    assert "vzdump" in newest(born).error_text
    born.cluster.let_go(20000)
    born.run()
    assert newest(born).state is State.DONE


def test_the_sweep_names_a_locked_machine_and_forgets_it_when_it_is_free(born: World) -> None:
    born.cluster.vms[20000].config["lock"] = "rollback"
    findings.sweep_state("pve1", born.drivers["pve1"], born.store, now=True)
    contents.sweep_contents("pve1", born.drivers["pve1"], born.store, born.config, everything=True)
    [finding] = born.store.findings(1)
    assert finding["kind"] == "machine_locked"
    assert "qm unlock 20000" in finding["fix"]
    del born.cluster.vms[20000].config["lock"]
    findings.sweep_state("pve1", born.drivers["pve1"], born.store, now=True)
    contents.sweep_contents("pve1", born.drivers["pve1"], born.store, born.config, everything=True)
    assert born.store.findings(1) == []


# -- the power state of before --------------------------------------------------------------------------
FAILS: dict[str, dict[str, Any]] = {
    "rollback": {"method": "POST", "path": "/rollback$"},
    "restore": {"method": "POST", "path": r"/nodes/\w+/qemu$"},
}


def fail(world: World, verb: str, times: int = 99, early: bool = False) -> None:
    """Go back to a copy, and it breaks while it writes."""
    world.cluster.faults = [
        Fault("fail_task", reason="got timeout on the node", times=times, early=early, **FAILS[verb])
    ]
    again(world, verb)
    world.cluster.faults = []


def again(world: World, verb: str) -> None:
    if verb == "rollback":
        world.page("snapshots", "rollback", name=world.store.snapshots_of(1)[0]["name"])
    else:
        world.page("backups", "restore", backup=world.store.backups_of(1)[0]["id"])
    world.run(4000)


@pytest.mark.parametrize("way", ["customer", "staff", "suspended between"])
@pytest.mark.parametrize("power", ["running", "stopped"])
@pytest.mark.parametrize("verb", FAILS)
def test_a_second_try_knows_the_power_state_of_before_the_first(born: World, verb: str, power: str, way: str) -> None:
    vm = born.cluster.vms[20000]
    born.page("snapshots" if verb == "rollback" else "backups", "take")
    born.run()
    if power == "stopped":
        born.order("stop")
        born.run()
    fail(born, verb)
    assert vm.status == "stopped"
    assert newest(born).state in (State.STAFF, State.FAILED)
    vm.config.pop("lock", None)
    if way == "staff":
        born.order("retry")
        born.run()
    else:
        if newest(born).state is State.STAFF:
            born.order("cancel")
            born.run()
        if way == "suspended between":
            for order in ("suspend", "unsuspend"):
                born.order(order)
                born.run()
        again(born, verb)
    assert newest(born).state is State.DONE, newest(born).error_text
    assert vm.status == power, newest(born).error_text
    assert born.store.service(1).birth.ran_before is None


def test_what_the_customer_switches_himself_counts_from_then_on(born: World) -> None:
    vm = born.cluster.vms[20000]
    born.page("snapshots", "take")
    born.run()
    fail(born, "rollback")
    vm.config.pop("lock", None)
    born.order("cancel")
    born.run()
    born.page("power", "start")
    born.run()
    born.page("power", "stop")
    born.run()
    again(born, "rollback")
    assert newest(born).state is State.DONE
    assert vm.status == "stopped"


@pytest.mark.parametrize("how", ["cancel", "change_package"])
def test_an_operation_that_is_stopped_half_way_leaves_the_machine_on(born: World, how: str) -> None:
    born.page("backups", "take")
    born.run()
    born.cluster.faults = [
        Fault("status", "POST", r"/nodes/\w+/qemu$", reason="cluster not ready - no quorum?", times=10**6)
    ]
    born.page("backups", "restore", backup=born.store.backups_of(1)[0]["id"])
    born.run(60)
    assert born.cluster.vms[20000].status == "stopped"
    assert newest(born).state is State.RUNNING
    born.order(how, **({"configoption1": "kvm-l"} if how != "cancel" else {}))
    born.run()
    service = born.store.service(1)
    assert born.cluster.vms[20000].status == "running"
    assert (service.birth.restoring, service.birth.ran_before) == (
        "",
        None,
    )
    assert born.cluster.vms[20000].content == {"scsi0": "debian-12"}


def test_killed_between_a_refusal_and_the_start(born: World) -> None:
    born.page("backups", "take")
    born.run()
    for nth in range(1, 40):
        born.cluster.faults = [Fault("status", "POST", r"/nodes/\w+/qemu$", reason="bad", status=403, times=10**6)]
        seen = 0

        def border(name: str, nth: int = nth) -> None:
            nonlocal seen
            seen += 1
            if seen == nth:
                raise Killed

        born.border = border
        born.page("backups", "restore", backup=born.store.backups_of(1)[0]["id"])
        try:
            born.run()
        except Killed:
            born.border = lambda name: None
            born.restart()
            born.run()
        assert newest(born).state is State.FAILED, nth
        assert born.cluster.vms[20000].status == "running", nth
        assert (born.store.service(1).birth.restoring, born.store.service(1).birth.ran_before) == ("", None), nth
        if seen < nth:
            return
        born.clock.time += 3600
    raise AssertionError("there was always one more border")


# -- honest sentences -----------------------------------------------------------------------------------
@pytest.mark.parametrize("verb", ["stop", "reboot"])
def test_a_guest_that_ignores_its_button_is_told_as_that(born: World, verb: str) -> None:
    born.cluster.vms[20000].acpi = False
    born.page("power", verb)
    born.run()
    op = newest(born)
    assert op.state is State.FAILED
    assert op.error_code == "no_reaction"
    assert born.cluster.vms[20000].status == "running"
    assert op.error_text.startswith("The system inside did not react; a hard stop turns it off.")
    assert not [e for e in born.store.events() if e["event"] == "staff_notice"]


@pytest.mark.parametrize("verb", ["stop", "reboot"])
def test_another_failure_of_the_same_task_is_not_taken_for_that(born: World, verb: str) -> None:
    born.cluster.faults = [Fault("fail_task", "POST", "status/(shutdown|reboot)$", reason="no such device", times=99)]
    born.page("power", verb)
    born.run()
    assert newest(born).error_code == "upstream_error"
    assert "no such device" in newest(born).error_text


@pytest.mark.parametrize("reason", ["unable to find command 'zstd'", "job errors"])
def test_a_backup_that_never_succeeds_is_never_called_busy(born: World, reason: str) -> None:
    born.cluster.faults = [Fault("fail_task", "POST", "/vzdump$", reason=reason, times=99)]
    born.page("backups", "take")
    said = set()
    for _ in range(400):
        born.run(1)
        said.add(newest(born).error_text)
    assert newest(born).error_code == "backup_failed"
    assert reason in newest(born).error_text
    assert not [s for s in said if "busy" in s or "by itself" in s]


def test_why_a_backup_failed_is_read_from_its_log(born: World) -> None:
    born.cluster.storages["nfs-backup"].used = born.cluster.storages["nfs-backup"].total
    born.page("backups", "take")
    born.run()
    assert "no space left on device" in newest(born).error_text


def test_what_was_tried_for_an_hour_does_not_go_on_by_itself(born: World) -> None:
    born.cluster.faults = [
        Fault("status", "POST", "status/reboot$", reason="cluster not ready - no quorum?", times=10**6)
    ]
    born.page("power", "reboot")
    born.run(7200)
    op = newest(born)
    assert op.state is State.FAILED
    assert "by itself" not in op.error_text + op.next_action
    assert "quorum" in op.error_text


def test_a_retry_of_what_was_done_goes_on_behind_it(born: World) -> None:
    vm = born.cluster.vms[20000]
    born.page("snapshots", "take")
    born.run()
    born.cluster.durations["qmrollback"] = 30.0
    born.page("snapshots", "rollback", name=born.store.snapshots_of(1)[0]["name"])
    born.run(10)
    born.cluster.faults = [Fault("status", "GET", "/config$", status=403, reason="Permission check failed", times=99)]
    born.run(600)
    assert newest(born).state is State.FAILED
    assert vm.rolled_back
    assert vm.lock == ""
    born.cluster.faults = []
    born.order("retry")
    born.run()
    assert newest(born).state is State.DONE
    assert len(vm.rolled_back) == 1
    assert vm.status == "running"
