"""Fault matrix: faults on each upstream call of each order. The end is the undisturbed one, or a named failure that
`retry` heals."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.branches import Branches
from tests.pve.cluster import Fault
from tests.slices import covering
from tests.test_crashes import PLAYED, SCENARIOS, outcome, prepared, without_failures

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


OF_TASKS = [name for name, fault in KINDS.items() if fault["kind"] in ("fail_task", "unexpected_status")]
OF_CALLS = [name for name in KINDS if name not in OF_TASKS]


def chosen(calls: list[str], turn: int) -> dict[int, tuple[str, ...]]:
    """Which kinds of `make test` each call meets, by its number from 1. No question begins a task."""
    numbers = range(1, len(calls) + 1)
    changes = [n for n in numbers if calls[n - 1] != "GET"]
    tasks = covering(OF_TASKS, changes, 1, turn)
    return {n: kinds + tasks.get(n, ()) for n, kinds in covering(OF_CALLS, numbers, 1, turn).items()}


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.matrix)], ids=["slice", "whole"])
@pytest.mark.parametrize("verb", PLAYED)
def test_a_fault_on_any_call(verb: str, whole: bool, tmp_path: Path) -> None:
    world = prepared(tmp_path, verb)
    branches, numbers, kinds = Branches(world, tmp_path), count(1), {}
    everything = {n: tuple(KINDS) for n in range(1, 1000)}

    def on_call(phase: str, index: int, method: str, path: str) -> None:
        if phase != "before" or not kinds:
            return
        number = next(numbers)
        for name in kinds.get(number, ()):
            if (name in OF_CALLS or method != "GET") and branches.branch((name, number, method, path)):
                world.cluster.faults = [Fault(**KINDS[name])]
                return

    def calls() -> list[str]:
        """Those of an undisturbed end."""
        begun = len(world.cluster.calls)
        world.run(4000)
        return [method for _, method, _, _ in world.cluster.calls[begun:]]

    def play() -> Any:
        if branches.branch("calls"):
            return calls()
        kinds.update(everything if whole else chosen(branches.ends.pop("calls"), list(SCENARIOS).index(verb)))
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
    assert {name for name, *_ in branches.ends} == set(KINDS)
    assert {number for _, number, *_ in branches.ends} == set(range(1, next(numbers)))
    for (name, *call), (ended, _) in branches.ends.items():
        assert ended == wanted, f"{name} on call {call}"
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
