"""The page of what was done with a server: what, who, when, how long, and how it ended; a plan may hide it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.config import from_dict
from bridge.errors import Capacity, ConfigError
from bridge.model import PERMISSIONS, Capability, Memory, State
from tests import looks
from tests.configs import raw_config
from tests.looks import Look, Node
from tests.test_failures import fail
from tests.test_iso import Site
from tests.world import World


def rows(page: Node) -> list[list[str]]:
    """What, who, when, took, result of each row."""
    return [[c.text for c in r.find(role="cell")] for r in page.all() if "data-entry" in r.at]


def test_what_who_when_how_long_and_how_it_ended(world: World) -> None:
    world.order("create")
    world.run()
    world.page("snapshots", "take", description="before <b>nginx</b>")
    world.run()
    world.cluster.storages["nfs-backup"].used = world.cluster.storages["nfs-backup"].total
    world.store.submit(1, "scheduled_backup", "system: schedule", Memory(date="2026-01-01"))
    world.run()
    world.store.submit(1, "converge", "admin grace")
    world.run()
    world.page("power", "stop")
    lines = rows(Look(world).page("activity"))
    assert [(r[0], r[1]) for r in lines] == [
        ("Stop", "You"),
        ("Check of the configuration", "Our staff"),
        ("Scheduled backup", "Schedule"),
        ("Snapshot before <b>nginx</b>", "You"),
        ("Set-up", "Billing"),
    ]
    assert [r[4].partition(" Reference")[0] for r in lines] == [
        "Running",
        "Done",
        "Did not work The storage has not enough free space. Your server and your earlier backups are as they were."
        " Our staff has been told.",
        "Done",
        "Done",
    ]
    assert lines[0][3] == "–"
    assert lines[4][3].endswith("s")
    assert all(len(r[2]) == 16 for r in lines)
    text = " ".join(map(" ".join, lines))
    assert "grace" not in text
    assert "nfs-backup" not in text


def test_the_newest_fifty_and_what_is_removed_with_time(world: World) -> None:
    world.order("create")
    world.run()
    for _ in range(50):
        key = world.store.submit(1, "reboot", "client Ada")
        world.store.end_operation(key, State.DONE)
    page = Look(world).page("activity")
    assert len(rows(page)) == 50
    assert "The newest 50 are shown." in page.text
    assert "more than 400 days ago" in page.text
    world.clock.time += 401 * 86400
    world.store.forget_operations(world.clock.time - 400 * 86400)
    page = Look(world).page("activity")
    assert [r[0] for r in rows(page)] == [
        "Restart",
        "Set-up",
    ]
    assert "are shown" not in page.text


def test_only_the_newest_of_a_kind_can_be_tried_again(world: World) -> None:
    world.order("create")
    world.run()
    for _ in range(2):
        fail(world, "take_snapshot", Capacity(), description="x")
    page = Look(world).page("activity")
    forms = [f for f in page.find("form") if f.hidden()["do"] == "again"]
    newest = world.store.newest(1)
    assert newest
    assert [f.hidden()["operation"] for f in forms] == [newest.id]
    assert page.text.count("The snapshot did not work.") == 0
    assert page.text.count("Open a ticket") == 1
    assert "Your server and your other snapshots are as they were." in rows(page)[0][4]
    assert "are as they were" not in rows(page)[1][4]
    other = Look(world).page("snapshots")
    assert other.text.count("Try again") == 1
    assert other.text.count("The snapshot did not work.") == 1
    assert [("Try again" in r[4], "Open a ticket" in r[4]) for r in rows(page)] == [
        (True, True),
        (False, False),
        (False, False),
    ]


def cloud(path: Path, **plan: Any) -> World:
    return Site(path, **plan)


def host(path: Path, **plan: Any) -> World:
    raw = raw_config()
    raw["plans"]["kvm-s"] |= plan
    world = World(path, plans=raw["plans"])
    world.order("create")
    world.run()
    return world


@pytest.mark.parametrize("build", [host, cloud])
@pytest.mark.parametrize("hide", [[], ["activity"]])
def test_every_driver_has_it_and_a_plan_may_hide_it(tmp_path: Path, build: Any, hide: list[str]) -> None:
    world = build(tmp_path, hide=hide)
    page, menu = Look(world).page("activity"), looks.menu(Look(world).page())
    if hide:
        assert "Access Denied" in page.text
        assert rows(page) == []
        assert menu["activity"] == ("Not part of your plan.", False)
    else:
        assert "Access Denied" not in page.text
        assert len(rows(page)) == 1
        assert menu["activity"] == ("", True)
    world.order("suspend")
    world.run()
    assert ("Access Denied" in Look(world).page("activity").text) == bool(hide)  # to be looked at whatever the state
    world.close()


def test_products_options_stay_where_they_are() -> None:
    """WHMCS stores them by position."""
    assert Capability.ACTIVITY not in PERMISSIONS
    assert len(PERMISSIONS) == 9
    assert PERMISSIONS[-1] == "firewall"
    raw = raw_config()
    raw["plans"]["kvm-s"]["hide"] = ["overview"]
    with pytest.raises(ConfigError, match=r"plans\.kvm-s\.hide\[0\].*activity"):
        from_dict(raw, "x")
