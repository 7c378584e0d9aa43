"""Findings: clean-ups that are killed, sweeps, and what people do with what was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bridge import cli, worker
from bridge.app import create_app
from bridge.errors import NotFound
from bridge.model import State
from bridge.staff import contents, findings, mending
from tests import stores
from tests.branches import killed_anywhere
from tests.looks import whole
from tests.pve.cluster import Fault, Vm
from tests.test_findings import ARCHIVE, DAY, DISK, Swept, made
from tests.test_signature import Shim


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Swept]:
    world = made(tmp_path)
    yield world
    world.close()


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[Swept]:
    world = made(tmp_path, "terminate")
    yield world
    world.close()


# -- crash matrix -----------------------------------------------------------------------------------
@pytest.mark.parametrize("what", [DISK, ARCHIVE, "firewall"])
def test_a_clean_up_killed_anywhere_ends_the_same(what: str, tmp_path: Path) -> None:
    world = made(tmp_path, "terminate")
    if what == "firewall":
        world.cluster.old_firewalls[20000] = Vm(
            20000, "", {}, rules=2 * [{"type": "in", "action": "DROP"}], firewall={"enable": "1"}
        )
    else:
        world.cluster.add_volume(what, "pve1" if what == DISK else "")
    world.cluster.add_volume("local-lvm:vm-150-disk-0", "pve1")
    world.contents()
    mending.fix(world.store.findings()[0]["id"], "test", world.store, world.config, world.drivers)
    world.cluster.calls.clear()

    def outcome() -> Any:
        states = [o.state for o in world.store.operations_of(1)]
        return sorted(world.cluster.volumes), len(world.cluster.old_firewalls), world.open(), states

    wanted, ends = killed_anywhere(world, tmp_path, world.run, outcome)
    assert wanted[1:3] == (0, [])
    assert "local-lvm:vm-150-disk-0" in wanted[0]
    assert wanted[3][0] is State.DONE
    for place, end in ends.items():
        assert end == wanted, place
    world.close()


@pytest.mark.parametrize("kind", ["reset_after", "timeout_after", "fail_task", "unexpected_status"])
def test_a_removal_whose_reply_is_lost_or_whose_task_fails(ended: Swept, kind: str) -> None:
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    ended.cluster.faults.append(
        Fault(kind, method="DELETE", reason="cfs-lock 'storage-lvm' error: got lock request timeout")
    )
    ended.fix("leftover_disk")
    assert DISK not in ended.cluster.volumes
    assert ended.open() == []
    assert ended.store.operations_of(1)[0].state is State.DONE


# -- sweeps -----------------------------------------------------------------------------------------
def test_a_restart_neither_doubles_nor_drops(live: Swept) -> None:
    live.state()
    live.restart()
    live.cluster.calls.clear()
    assert not findings.sweep_state("pve1", live.drivers["pve1"], live.store)
    assert live.cluster.calls == []
    live.clock.time += 3600
    assert live.store.claim_sweep("pve1", "state", 600)  # a worker that dies here
    live.restart()
    assert not findings.sweep_state("pve1", live.drivers["pve1"], live.store)
    live.clock.time += 600
    assert findings.sweep_state("pve1", live.drivers["pve1"], live.store)


def test_a_machine_just_removed_is_nobodys(live: Swept) -> None:
    live.state()
    live.order("terminate")
    live.run()
    findings.sweep_state("pve1", live.drivers["pve1"], live.store, now=True)
    assert live.open() == []
    assert live.store.count_in_turn("pve1") == (0, 0)


def test_one_bulk_read_at_most(live: Swept) -> None:
    live.state()
    assert [p for _, _, p, _ in live.cluster.calls] == ["/cluster/resources"]


def test_everything_has_its_turn_once_a_day(tmp_path: Path) -> None:
    world = made(tmp_path)
    with world.store.write():
        first = world.store.service(1)
        for i in range(2, 40):
            world.cluster.add_vm(30000 + i, "pve1", smbios1=f"uuid=00000000-0000-0000-0000-{i:012d}")
            row = stores.add(world.store, first.package, i, uuids=[f"00000000-0000-0000-0000-{i:012d}"])
            world.store.update_service(row.id, provisioned=1, node="pve1")
    for i in range(20):
        world.cluster.add_vm(500 + i, "pve2")
    reads: list[list[str]] = []
    for _ in range(2):
        world.cluster.calls.clear()
        for _ in range(24 * 60):
            world.clock.time += 60
            findings.sweep_state("pve1", world.drivers["pve1"], world.store)
            if world.store.health("pve1")["refreshed_at"] < world.clock.now() - 100:
                world.store.change("UPDATE server_health SET refreshed_at = ? WHERE server = 'pve1'", world.clock.now())
                world.store.change("UPDATE vm_status SET seen_at = ?", world.clock.now())
            contents.sweep_contents("pve1", world.drivers["pve1"], world.store, world.config)
        reads.append([p for _, _, p, _ in world.cluster.calls])
    visits = [p for p in reads[1] if p.endswith(("/pending", "qemu/500/config", "qemu/519/config"))]
    assert len(set(visits)) == 41
    assert 41 <= len(visits) <= 45
    assert all(reads[0].count(p) >= 1 for p in visits)
    world.close()


def test_a_machine_that_cannot_be_read_holds_up_nobody(live: Swept) -> None:
    live.cluster.hold(20000)
    live.order("create", 2)
    live.run()
    live.cluster.vms[20001].config["cores"] = "9"
    live.contents()
    assert live.open() == ["differs_from_package"]


# -- people -----------------------------------------------------------------------------------------
def test_dismissed_ones_stay_out_of_sight_until_they_end(ended: Swept) -> None:
    ended.store.claim_address("203.0.113.99", "public-v4", 1, "extra")
    ended.state()
    assert ended.store.dismiss_finding(ended.one("leftover_address")["id"])
    ended.state()
    assert ended.open(everything=False) == []
    assert ended.open() == ["leftover_address"]


def test_the_service_tab_shows_those_of_every_generation(ended: Swept) -> None:
    ended.cluster.add_volume(DISK, "pve1")
    ended.contents()
    ended.order("create")
    ended.run()
    shim = Shim(create_app(ended.context).test_client(), ended.clock)
    html = shim.send("GET", "/v1/services/1042/pages/admin?admin=1", secret="shim-secret-0123456789").get_json()["html"]
    assert f"Disk {DISK}" in whole(html)
    assert "<code>vmbridge findings fix 1</code>" in html


def test_the_worker_sweeps_when_it_is_due(live: Swept) -> None:
    live.cluster.vms[20000].config["cores"] = "16"
    live.clock.time += DAY
    worker.sweep_state(live.context, "pve1")
    worker.sweep_contents(live.context, "pve1")
    assert live.open() == ["differs_from_package"]
    calls = len(live.cluster.calls)
    worker.sweep_state(live.context, "pve1")
    worker.sweep_contents(live.context, "pve1")
    assert len(live.cluster.calls) == calls


def test_the_command_line(ended: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.findings, "opened", lambda path: ended.context)
    ended.cluster.add_volume(DISK, "pve1")
    run = CliRunner().invoke
    ended.clock.time += 3700
    swept = run(cli.main, ["findings", "sweep"])
    assert swept.exit_code == 0
    assert "1 open findings" in swept.output
    assert "`vmbridge findings fix 1`" in run(cli.main, ["findings", "list", "--server", "pve1"]).output
    assert "has begun" in run(cli.main, ["findings", "fix", "1"]).output
    assert run(cli.main, ["findings", "dismiss", "1"]).exit_code == 0
    assert run(cli.main, ["findings", "fix", "7"]).exit_code == 1
    assert run(cli.main, ["findings", "sweep", "nowhere"]).exit_code == 1
    with pytest.raises(NotFound):
        mending.fix(7, "test", ended.store, ended.config, ended.drivers)


def test_a_sweep_by_hand_looks_at_snapshots_too(live: Swept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.findings, "opened", lambda path: live.context)
    live.cluster.vms[20000].snapshots["half"] = {
        "time": 1.0,
        "description": "",
        "vmstate": False,
        "snapstate": "prepare",
        "config": {},
        "content": {},
        "running": True,
    }
    swept = CliRunner().invoke(cli.main, ["findings", "sweep", "pve1"])
    assert "1 open findings" in swept.output
    assert live.open() == ["unfinished_snapshot"]


def test_a_sweep_by_hand_reads_anew(live: Swept) -> None:
    """What was read a moment ago says nothing of what has happened since, such as a store that was put back."""
    assert findings.sweep_state("pve1", live.drivers["pve1"], live.store, now=True)
    live.cluster.add_vm(20007, "pve1", tags="vmbridge")
    live.clock.time += 1
    assert findings.sweep_state("pve1", live.drivers["pve1"], live.store, now=True)
    assert live.open() == ["unknown_vm"]
