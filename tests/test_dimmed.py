"""What is temporarily impossible is dimmed with its reason, in every state and on every button, and what is dimmed is
refused too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge.model import Memory, State
from tests import looks
from tests.looks import Look
from tests.test_iso import Site
from tests.test_protected import vanish as vanish_from
from tests.world import World

ALLOW = ["console", "charts", "reinstall", "snapshots", "backups", "reset_password"]
PAGES = ("overview", "reinstall", "snapshots", "backups", "reset_password", "console")
COSTLY = {
    ("snapshots", "take"),
    ("snapshots", "rollback"),
    ("backups", "take"),
    ("backups", "restore"),
    ("reinstall", "reinstall"),
    ("reset_password", "reset"),
}
ROWS = {("snapshots", "delete"), ("backups", "delete")}
POWER = {("power", v) for v in ("start", "stop", "reboot", "hard_stop")}
CONNECT, SCHEDULE = ("console", "connect"), ("backups", "schedule")
RUNS, OFF = "It is running already.", "Start the server first."
DOWN = "The host of your server does not answer just now. Please try again in a few minutes."
GONE = "Your server is not found on its host. Our staff has to look at it."


def host(path: Path) -> World:
    world = World(path, web={"public_url": "https://example.com/v", "costly_per_hour": 4}, **plans())
    return filled(world)


def plans() -> dict[str, Any]:
    from tests.configs import raw_config

    raw = raw_config()
    raw["plans"]["kvm-s"]["allow"] = ALLOW
    return {"plans": raw["plans"]}


def provider(path: Path) -> World:
    world = Site(path, allow=[*ALLOW, "iso", "rdns"], snapshots=3, backups=7)
    world.config.web["public_url"] = "https://example.com/v"
    return filled(world)


def filled(world: World) -> World:
    """With a snapshot and a backup, so that every button is there."""
    if world.store.find_service("main", 1042) is None:
        world.order("create")
        world.run()
    for noun in ("snapshots", "backups"):
        world.page(noun, "take")
        world.run()
    world.clock.time += 3700
    refresh(world)
    return world


def refresh(world: World) -> None:
    from bridge.metering import status

    world.clock.time += 70
    world.store.want_status("pve1")
    status.refresh("pve1", world.drivers["pve1"], world.store)


def seen(world: World) -> tuple[dict[tuple[str, str], str], dict[str, tuple[str, bool]]]:
    """All buttons of all pages, and the menu."""
    look, buttons = Look(world), {}
    for name in PAGES:
        page = look.page(name)
        buttons |= looks.buttons(page)
    return buttons, looks.menu(look.page())


def suspended(world: World) -> None:
    world.order("suspend")
    world.run()


def down(world: World) -> None:
    for _ in range(2):
        world.store.refresh_failed("pve1", "no route", down=True)


def node_down(world: World) -> None:
    """One node of a cluster that answers all the same, as if nothing had happened to its machines."""
    if isinstance(world, Site):
        return down(world)
    for node in {v.node for v in world.cluster.vms.values()}:
        world.cluster.nodes[node] = False
    refresh(world)


def vanish(world: World) -> None:
    if isinstance(world, Site):
        world.cloud._delete_servers_one({}, world.cloud.servers[world.server()])
        for _ in range(3):
            world.clock.time += 400
            refresh(world)
    else:
        vanish_from(world)


def busy(world: World) -> None:
    world.page("backups", "take")


def by_staff(world: World) -> None:
    world.store.submit(1, "converge", "admin grace")


def by_schedule(world: World) -> None:
    world.store.submit(1, "scheduled_backup", "system: schedule", Memory(date="2026-01-01"))


def by_billing(world: World) -> None:
    world.store.submit(1, "change_package", "system")


def reinstalled(world: World) -> None:
    world.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL")


def rest(world: World) -> None:
    pass


AGAIN = "; try again when this is done."
STATES: dict[
    str, tuple[Callable[[World], None], str, str, str]
] = {  # what is said of: all that acts, console, schedule
    "free": (rest, "", "", ""),
    "suspended": (suspended, *["The service is suspended."] * 3),
    "down": (down, DOWN, DOWN, ""),
    "node down": (node_down, DOWN, DOWN, ""),
    "missing": (vanish, GONE, GONE, ""),
    "busy": (busy, f"A backup is being made, as you ordered{AGAIN}", "", ""),
    "busy by staff": (by_staff, f"The configuration is being checked, as our staff ordered{AGAIN}", "", ""),
    "busy by schedule": (by_schedule, f"The scheduled backup is running, by schedule{AGAIN}", "", ""),
    "busy by billing": (by_billing, f"The package is being changed, as billing ordered{AGAIN}", "", ""),
    "away": (reinstalled, *[f"The server is being reinstalled, as you ordered{AGAIN}"] * 2, ""),
}


@pytest.mark.parametrize("build", [host, provider])
def test_every_button_in_every_state(tmp_path: Path, build: Callable[[Path], World]) -> None:
    for n, (name, (make, acts, screen, schedule)) in enumerate(STATES.items()):
        (tmp_path / str(n)).mkdir()
        world = build(tmp_path / str(n))
        make(world)
        own = build is provider
        buttons, menu = seen(world)
        expected = dict.fromkeys(COSTLY | POWER | ROWS, acts) | {CONNECT: screen, SCHEDULE: schedule}
        if not acts:
            expected[("power", "start")] = RUNS
        if own:  # the provider's own hour
            expected.pop(SCHEDULE)
        assert {k: v for k, v in buttons.items() if k in expected} == expected, name
        lasting = name == "suspended"
        for page in ("reinstall", "reset_password"):
            assert menu[page] == (acts, not acts), (name, page)
        for page in ("snapshots", "backups"):
            assert menu[page] == (acts, not (acts and lasting)), (name, page)
        assert menu["console"] == (screen, not screen), name
        assert menu["overview"][0] == menu["charts"][0] == "", name
        if acts:
            refused(world, acts)
        world.close()


def refused(world: World, why: str) -> None:
    """What is dimmed is refused with the same words, and nothing is begun."""
    before = world.store.newest(1)
    look = Look(world)
    for capability, do in sorted(COSTLY | {("power", "stop")}):
        rows = {"name": world.store.snapshots_of(1)[0]["name"], "backup": str(world.store.backups_of(1)[-1]["id"])}
        form = {**rows, "template": "debian-12", "confirm": "REINSTALL", "confirmed": "1"}
        reply = look.send(capability, do, **form)
        assert why in looks.read(reply["html"]).text, (capability, do)
        assert not reply["redirect"], (capability, do)
    assert world.store.newest(1) == before


def test_reverse_records_and_isos_too(tmp_path: Path) -> None:
    for n, (name, why, iso, rdns) in enumerate(
        [
            ("suspended", suspended, *["The service is suspended."] * 2),
            ("missing", vanish, GONE, GONE),
            ("down", down, DOWN, DOWN),
            ("busy", busy, f"A backup is being made, as you ordered{AGAIN}", ""),
        ]
    ):
        (tmp_path / str(n)).mkdir()
        world = provider(tmp_path / str(n))
        why(world)
        look = Look(world)
        menu = looks.menu(look.page())
        assert (menu["iso"][0], menu["rdns"][0]) == (iso, rdns), name
        for page, said in (("iso", iso), ("rdns", rdns)):
            shown = look.page(page)
            buttons = {k: v for k, v in looks.buttons(shown).items() if k[0] == page and k[1] != "search"}
            assert all(v == said for v in buttons.values()), (name, buttons)
            assert buttons or name in ("down", "missing"), name  # what could not be read has no buttons
        world.close()


def test_while_it_is_set_up_nothing_is_bright_but_what_can_be_seen(world: World) -> None:
    world.order("create")
    look = Look(world)
    page = look.page()
    words = f"The server is being set up, as billing ordered{AGAIN}"
    assert {v for k, v in looks.buttons(page).items()} == {words}
    menu = looks.menu(page)
    assert {n for n, (why, leads) in menu.items() if not why and leads} == {"overview", "charts", "activity"}
    assert menu["reinstall"] == menu["snapshots"] == menu["backups"] == (words, False)


def test_one_failed_look_is_told_and_dims_and_a_form_is_taken_all_the_same(tmp_path: Path) -> None:
    """A single look in vain is often nothing: who was quicker is not refused for it."""
    world = host(tmp_path)
    world.store.refresh_failed("pve1", "no route", down=True)
    page = Look(world).page("console")
    assert looks.buttons(page)[CONNECT] == looks.buttons(page)["power", "stop"] == DOWN
    assert Look(world).send("backups", "take")["redirect"] == "backups"
    world.close()


def test_a_reached_limit_dims_until_the_hour_is_over(tmp_path: Path) -> None:
    world = host(tmp_path)
    for _ in range(4):
        world.page("reset_password", "reset")
        world.run()
    refresh(world)
    world.clock.time += 1
    look = Look(world)
    buttons, _ = seen(world)
    often = buttons["snapshots", "take"]
    assert often.startswith("That was often enough for this hour. Try again in ")
    assert buttons["snapshots", "delete"] == ""
    page = look.page("snapshots")
    [mark] = [n for n in page.all() if "data-until" in n.at]
    world.clock.time = float(mark.at["data-until"]) + 1
    world.store.want_status("pve1")
    page = look.page("snapshots")
    assert looks.buttons(page)["snapshots", "take"] == ""
    assert not [n for n in page.all() if "data-until" in n.at]
    world.close()


def test_a_hard_stop_may_follow_a_stop_that_does_not_end(tmp_path: Path) -> None:
    world = host(tmp_path)
    world.page("power", "stop")
    buttons = looks.buttons(Look(world).page())
    assert buttons["power", "hard_stop"] == ""
    assert buttons["power", "reboot"].startswith("The server is stopping, as you")
    world.page("power", "hard_stop")
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE
    world.close()
