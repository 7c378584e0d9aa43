"""Scheduled backups that are refused or fail: nothing is lost for them, and who relies on them hears of it once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import customer
from bridge.model import State
from tests.pve.cluster import Fault
from tests.test_care import newest, pass_time, schedule
from tests.test_crashes import plans
from tests.world import World

DAY = 86400.0


def installation(path: Path, rotation: str) -> World:
    raw = plans()
    raw["plans"]["kvm-s"] |= {"rotation": rotation, "backups": 2}
    world = World(path, **raw)
    world.order("create")
    world.run()
    schedule(world, "UTC", **dict.fromkeys(customer.WEEK, "02:30"))
    pass_time(world, world.clock.time + 3 * DAY, 3600)
    assert len(ready(world)) == 2
    return world


@pytest.fixture(params=["safe", "oldest_first"])
def full(request: Any, tmp_path: Path) -> Iterator[World]:
    world = installation(tmp_path, request.param)
    yield world
    world.close()


def ready(world: World) -> list[str]:
    return sorted(r["archive"] for r in world.store.backups_of(1) if r["state"] == "ready")


REFUSED = {
    "storage": Fault("status", "POST", "/vzdump$", status=500, reason="storage 'nfs-backup' is not online", times=999),
    "key": Fault("status", "POST", "/vzdump$", status=403, reason="Permission check failed (/vms/20000)", times=999),
    "value": Fault("status", "POST", "/vzdump$", status=400, reason="Parameter verification failed.", times=999),
    "unlisted": Fault("status", "POST", "/vzdump$", status=500, reason="out of moon phase", times=999),
    "at once": Fault("fail_task", "POST", "/vzdump$", reason="unable to find command", early=True, times=999),
}


@pytest.mark.parametrize("how", list(REFUSED))
def test_nothing_is_lost_for_one_that_was_refused_and_it_is_mailed_once(full: World, how: str) -> None:
    before, mails = ready(full), len(full.whmcs.mails())
    full.cluster.faults = [REFUSED[how]]
    full.cluster.durations["vzdump"] = 0.0 if how == "at once" else 5.0
    pass_time(full, full.clock.time + DAY, 3600)
    assert newest(full).kind == "scheduled_backup"
    assert newest(full).state is State.FAILED
    full.cluster.faults = []
    assert ready(full) == before
    assert set(before) <= set(full.cluster.volumes)
    told = [m[1][1] for m in full.whmcs.mails()][mails:]
    assert len(told) == 1
    assert "backup" in told[0].lower()


def test_one_that_a_person_cancels_is_not_mailed(full: World) -> None:
    mails = len(full.whmcs.mails())
    full.cluster.hold(20000)
    full.store.submit(1, "scheduled_backup", "system")
    full.run(30)
    full.order("cancel")
    full.cluster.let_go(20000)
    full.run()
    assert newest(full).state is State.CANCELLED
    assert len(full.whmcs.mails()) == mails


def test_by_plan_the_oldest_goes_while_the_new_one_is_written(tmp_path: Path) -> None:
    world = installation(tmp_path, "oldest_first")
    oldest = min(world.store.backups_of(1), key=lambda r: r["made_at"])["archive"]
    world.cluster.calls.clear()
    pass_time(world, world.clock.time + DAY, 3600)
    assert [m for m, p in world.cluster.mutations() if "vzdump" in p] == ["POST", "DELETE"]
    gone, task = (
        next(t for t in world.cluster.tasks.values() if t.kind == kind and t.start > world.clock.time - DAY)
        for kind in ("imgdel", "vzdump")
    )
    assert gone.start < task.end
    assert oldest not in ready(world)
    assert len(ready(world)) == 2
    world.close()


def test_an_oldest_that_cannot_be_removed_stops_no_backup(tmp_path: Path) -> None:
    world = installation(tmp_path, "oldest_first")
    world.cluster.faults = [Fault("status", "DELETE", "content", reason="unable to acquire lock: possibly in use")]
    pass_time(world, world.clock.time + DAY, 3600)
    assert newest(world).state is State.DONE
    assert len(ready(world)) == 2
    world.close()
