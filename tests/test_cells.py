"""The fault matrix's cells, for every order on both drivers: one call of it meets one fault. The demand: it ends right
by itself, or fails with a code, a sentence and a next action that leave data, power and the way on as they were, and a
retry heals it. `make matrix` plays all cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.pve.cluster import Fault
from tests.test_crashes import PLAYED, SCENARIOS, outcome, prepared, without_failures
from tests.world import World

ODD = "malformed JSON string, neither tag, array, object, number, string or atom"
FAULTS: dict[str, dict[str, Any]] = {
    "page, not begun": {"kind": "body_before", "body": b"<html><title>Login</title></html>"},
    "page, done": {"kind": "body_after", "body": b"<html><title>Login</title></html>"},
    "cut": {"kind": "body_after", "body": b'{"data": {"digest": "0f'},
    "empty": {"kind": "body_after", "body": b""},
    "null": {"kind": "body_after", "body": b'{"data": null}'},  # some calls say so when they have done it
    "an unlisted 500": {"kind": "status", "status": 500, "reason": ODD},
    "refused": {"kind": "status", "status": 403, "reason": "Permission check failed (/vms/1, VM.Audit)"},
    "task fails, unlisted": {"kind": "fail_task", "reason": ODD, "early": True},
}
BY_THEMSELVES = [name for name in FAULTS if name != "refused"]


@dataclass
class Cell:
    ended_by_itself: bool
    code: str = ""


def reference(folder: Path, scenario: str) -> tuple[dict[str, Any], list[str]]:
    world = prepared(folder, scenario)
    world.run()
    end = outcome(world), [m for _, m, _, _ in world.cluster.calls]
    world.close()
    return end


def places(methods: list[str], column: str) -> list[int]:
    """A sample: one read and one change, another one for each column."""
    reads = [n for n, m in enumerate(methods, 1) if m == "GET"]
    changes = [n for n, m in enumerate(methods, 1) if m != "GET"]
    turn = list(FAULTS).index(column)
    if column == "task fails, unlisted":
        return [changes[(turn + i) % len(changes)] for i in range(min(2, len(changes)))]
    return [some[(turn * 7) % len(some)] for some in (reads, changes) if some]


def machines(world: World) -> dict[int, tuple[str, dict[str, str]]]:
    return {v.vmid: (v.status, dict(v.content)) for v in world.cluster.vms.values() if not v.template}


def cell(folder: Path, scenario: str, column: str, nth: int, wanted: dict[str, Any]) -> Cell:
    world = prepared(folder, scenario)
    before = machines(world)
    world.cluster.faults = [Fault(nth=nth, **FAULTS[column])]
    world.run(4000)
    where = f"{column} on call {nth} {world.cluster.calls[nth - 1][1:3] if nth <= len(world.cluster.calls) else '-'}"
    stopped = world.store.operations_of(None, 5, ("failed", "waiting_for_staff"))
    for op in stopped:
        assert op.error_code not in ("not_ours", "internal_error"), (where, op)
        assert op.error_text, (where, op)
        assert op.next_action, (where, op)
        assert [e for e in world.store.events() if e["event"] in ("staff_notice", "backup_failed")], where
        for vmid, (status, content) in machines(world).items():
            was = before.get(vmid, (status, content))
            ends = wanted["content"].get(vmid, content)
            assert content in (was[1], ends) or not content, (where, "data", was, content)
            assert status in (was[0], wanted["vms"].get(vmid, {}).get("status")), (where, "power", was, status, op)
        assert world.store.retry(op.id) == ""
    world.run(4000)
    end = without_failures(outcome(world), len(stopped))
    if stopped:  # a retry goes back once more: the machine was not started in between
        end["rolled back"] = min(end["rolled back"], wanted["rolled back"])
    assert end == wanted, where
    world.close()
    return Cell(not stopped, stopped[0].error_code if stopped else "")


@pytest.mark.parametrize("scenario", PLAYED)
def test_a_sample_of_cells(scenario: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    wanted, methods = reference(tmp_path_factory.mktemp("ref"), scenario)
    for column in list(FAULTS)[hash_of(scenario) % 2 :: 2]:
        for nth in places(methods, column)[:1]:
            end = cell(tmp_path_factory.mktemp("cell"), scenario, column, nth, wanted)
            assert end.ended_by_itself or column not in BY_THEMSELVES, (column, nth, end)


def hash_of(scenario: str) -> int:
    return list(SCENARIOS).index(scenario)


@pytest.mark.matrix
@pytest.mark.parametrize("column", FAULTS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_cell(scenario: str, column: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    wanted, methods = reference(tmp_path_factory.mktemp("ref"), scenario)
    for nth in range(1, len(methods) + 1):
        end = cell(tmp_path_factory.mktemp("cell"), scenario, column, nth, wanted)
        assert end.ended_by_itself or column not in BY_THEMSELVES, (column, nth, end)
