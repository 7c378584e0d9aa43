"""The audit log: each line says who, what, to which service, from where and with which result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.config import from_dict
from bridge.errors import ConfigError
from bridge.origin import Origin
from bridge.worker import prune
from tests.configs import raw_config
from tests.stores import asked_by
from tests.system import ROOT, System
from tests.world import World


def told(world: World) -> list[tuple[str, str, str, str, int | None, str]]:
    """(kind, who, address, deed, service, result) of each line."""
    return [(r["kind"], r["who"], r["address"], r["deed"], r["service"], r["result"]) for r in world.store.audited()]


def test_who_ordered_and_how_it_ended(world: World) -> None:
    with asked_by(Origin("admin", "4", "192.0.2.9", "0123456789ab")):
        world.order("create")
    world.run()
    lines = world.store.audited()
    assert told(world) == [
        ("staff", "4", "192.0.2.9", "create", 1042, "accepted"),
        ("worker", "", "", "create ended", 1042, "done"),
    ]
    assert lines[0]["request"] == "0123456789ab"
    assert lines[0]["subject"] == lines[1]["subject"]
    assert lines[0]["at"] == 1_800_000_000 < lines[1]["at"]


def test_staffs_other_deeds_and_a_schedule(world: World) -> None:
    world.order("create")
    with asked_by(Origin("command line", "ada")):
        key = world.store.operations_of(None, 1)[0].id
        assert world.store.ask_cancel(key)
        world.store.set_maintenance("pve1", "soon")
    world.run()
    world.store.submit(1, "start", "system: schedule")
    deeds = [(k, w, d, s) for k, w, _, d, s, _ in told(world)]
    assert ("command line", "ada", "cancel create", 1042) in deeds
    assert ("command line", "ada", "maintenance on", None) in deeds
    assert ("schedule", "schedule", "start", 1042) in deeds


def test_what_is_rolled_back_was_not_done(world: World) -> None:
    with pytest.raises(RuntimeError), world.store.write():
        world.order("create")
        raise RuntimeError
    assert told(world) == []


def test_lines_are_kept_as_long_as_the_configuration_says(world: World) -> None:
    world.order("create")
    world.clock.time += 399 * 86400
    prune(world.context)
    assert told(world)
    world.clock.time += 2 * 86400
    prune(world.context)
    assert not [x for x in told(world) if x[3] == "create"]
    with pytest.raises(ConfigError, match=r"audit\.keep_days.*1.*36500"):
        from_dict(raw_config(audit={"keep_days": 0}))


def test_real_processes_write_it_and_the_command_prints_it(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.05) as s:
        s.wait_for(lambda: s.order(1) == "success", 30)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        s.submit(1, "power", "stop")
        s.wait_for(lambda: s.operation(1).get("kind") == "stop" and s.operation(1)["state"] == "done", 60)
        s.submit(1, "snapshots", "delete", name="nothing-there")
        command = [sys.executable, "-m", "bridge.cli"]
        on = [*command, "maintenance", "pve1", "on", "--config", str(s.config)]
        subprocess.run(on, cwd=ROOT, check=True, capture_output=True, timeout=60)
        printed = subprocess.run(
            [*command, "audit", "--config", str(s.config)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    lines = [json.loads(line) for line in printed.stdout.splitlines()]
    deeds = {x["deed"]: x for x in lines}
    assert deeds["create"]["result"] == "accepted"
    assert deeds["create ended"]["result"] == "done"
    assert deeds["create"]["request"]
    assert deeds["create"]["address"] == "127.0.0.1"
    assert (deeds["stop"]["kind"], deeds["stop"]["service"], deeds["stop"]["address"]) == ("client", 1, "127.0.0.1")
    assert deeds["snapshots delete"]["result"].startswith("refused ")
    assert deeds["maintenance on"]["kind"] == "command line"
    assert deeds["maintenance on"]["who"]
    assert [x["id"] for x in lines] == sorted(x["id"] for x in lines)
