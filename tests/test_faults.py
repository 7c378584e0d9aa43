"""Fault matrix: each kind of fault on each upstream call of create, suspend and terminate. The end is the undisturbed
one, or a named failure that `retry` heals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.branches import Branches
from tests.pve.cluster import Fault
from tests.test_crashes import SCENARIOS, VERBS, outcome, prepared, without_failures

KINDS = {
    "500": {"kind": "status", "status": 500, "reason": "can't lock file '/var/lock/x' - got timeout"},
    "busy": {"kind": "status", "status": 500, "reason": "VM is locked (backup)"},
    "no quorum": {"kind": "status", "status": 500, "reason": "cluster not ready - no quorum?"},
    "401": {"kind": "status", "status": 401, "reason": "Authentication failed!"},
    "403": {"kind": "status", "status": 403, "reason": "Permission check failed (/vms/1, VM.Audit)"},
    "595": {"kind": "status", "status": 595, "reason": "No route to host"},
    "596 without effect": {"kind": "status", "status": 596, "reason": "Connection timed out"},
    "reset before": {"kind": "reset_before"},
    "reset after effect": {"kind": "reset_after"},
    "time-out with effect": {"kind": "timeout_after"},
    "slow": {"kind": "slow", "seconds": 12},
    "proxy time-out with effect": {"kind": "slow", "seconds": 45},
    "failing task": {"kind": "fail_task", "reason": "unable to activate storage: no such device"},
    "failing task, transient": {
        "kind": "fail_task",
        "reason": "can't lock file '/var/lock/pve-manager/s' - got timeout",
    },
    "unexpected status": {"kind": "unexpected_status"},
}


# one kind of each sort for the orders whose calls are much the same; `make matrix` plays them all
BRIEF = ("busy", "403", "596 without effect", "reset after effect", "failing task", "unexpected status")
CASES = [
    pytest.param(verb, name, marks=[] if verb in VERBS or name in BRIEF else [pytest.mark.matrix], id=f"{verb}-{name}")
    for verb in SCENARIOS
    for name in KINDS
]


@pytest.mark.parametrize(("verb", "name"), CASES)
def test_a_fault_on_any_call(verb: str, name: str, tmp_path: Path) -> None:
    world = prepared(tmp_path, verb)
    branches = Branches(world, tmp_path)
    of_tasks = KINDS[name]["kind"] in ("fail_task", "unexpected_status")  # no question begins one

    def on_call(phase: str, index: int, method: str, path: str) -> None:
        if phase == "before" and not (of_tasks and method == "GET") and branches.branch((index, method, path)):
            world.cluster.faults = [Fault(**KINDS[name])]  # type: ignore[arg-type]

    def play() -> tuple[dict[str, Any], int]:
        world.run(4000)
        stopped = world.store.operations_of(None, 5, ("failed", "waiting_for_staff"))
        for op in stopped:
            assert op.error_code, op
            assert op.next_action, op
            assert [e for e in world.store.events() if e["event"] in ("staff_notice", "backup_failed")]
            if "qm unlock" in op.next_action:  # staff does as it is told
                world.cluster.let_go(20000)
            assert world.store.retry(op.id) == ""
        world.run(4000)
        return without_failures(outcome(world), len(stopped)), len(stopped)

    world.cluster.on_call = on_call
    wanted, stopped = branches.grow(play)
    assert stopped == 0
    assert branches.ends
    for call, (end, _) in branches.ends.items():
        assert end == wanted, f"{name} on call {call}"
    world.close()


@pytest.mark.parametrize("verb", ["suspend", "terminate"])
def test_suspend_and_terminate_never_give_up(verb: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    world = prepared(tmp_path_factory.mktemp("w"), verb)
    world.cluster.faults = [
        Fault("status", status=403, reason="Permission check failed (/vms, VM.PowerMgmt)", times=10**9)
    ]
    world.run(6 * 3600)
    current = world.store.current_operation(1)
    assert current
    assert current.kind == verb
    assert current.error_code == "upstream_privilege"
    assert len([e for e in world.store.events() if e["event"] == "staff_notice"]) == 1
    assert current.due_at - world.clock.time <= 1200
    world.cluster.faults = []
    world.run(2000)
    assert world.store.current_operation(1) is None
    world.close()
