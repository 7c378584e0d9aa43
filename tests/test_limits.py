"""How often an hour customers may do what: every verb of theirs is counted, nobody else's is, and a refusal costs
nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge import customer, limits, passwords, services
from bridge.errors import Refused, VmbridgeError
from bridge.kinds import BILLING, POWER
from bridge.services import Caller
from bridge.web.page import PAGES, load
from tests.world import World

CLIENT, ADMIN, SYSTEM = Caller("main", "client Ada", True), Caller("main", "admin grace"), Caller("main", "system")


@pytest.fixture
def born(tmp_path: Path) -> Any:
    world = World(tmp_path, web={"costly_per_hour": 2, "power_per_hour": 4, "edits_per_hour": 3})
    world.order("create")
    world.run()
    yield world
    world.close()


def verb(world: World, name: str, caller: Caller, **params: Any) -> str:
    values = {"userid": 7, "serviceid": 1042, "password": "Other-pass-22", **params}
    return services.run(name, 1042, "pve1", values, caller, world.store, world.config, world.drivers).operation


def refused(call: Callable[[], Any]) -> int:
    """The minutes that it says."""
    with pytest.raises(Refused, match=r"Try again in \d+ min") as e:
        call()
    assert e.value.code == "too_often"
    return int(e.value.sentence.rpartition("in ")[2].split()[0])


def test_every_customer_verb_is_in_the_table() -> None:
    kinds = {kind or action for (_, action), (kind, _) in customer.ACTIONS.items()}
    load()
    edits = {name for name, page in PAGES.items() if page.edits}
    assert set(limits.HOURLY) == kinds | edits | set(POWER) | {"change_password", "console"}
    assert not set(limits.HOURLY) & set(BILLING)


@pytest.mark.parametrize("via", ["page", "verb"])
def test_power_is_limited_for_the_customer_alone(born: World, via: str) -> None:
    def press(name: str) -> None:
        if via == "page":
            born.page("power", name)
        else:
            verb(born, name, CLIENT)

    for n in range(4):
        press("stop" if n % 2 else "reboot") if n % 2 else press("start")
        born.run()
    left = refused(lambda: press("start"))
    assert 50 <= left <= 60
    for caller in (ADMIN, SYSTEM):
        for _ in range(5):
            assert verb(born, "start", caller)
            born.run()
    born.clock.time += left * 60
    press("start")


def test_whmcs_billing_is_never_limited(born: World) -> None:
    for _ in range(4):
        born.page("power", "start")
        born.run()
    refused(lambda: born.page("power", "start"))
    for _ in range(8):
        for name in ("suspend", "unsuspend"):
            assert verb(born, name, CLIENT)  # whoever WHMCS says has ordered it
            born.run()
    assert verb(born, "terminate", CLIENT)


def test_the_password_form_counts_with_what_is_costly(born: World) -> None:
    verb(born, "change_password", CLIENT)
    born.run()
    born.page("reset_password", "reset")
    born.run()
    refused(lambda: verb(born, "change_password", CLIENT))
    refused(lambda: born.page("reset_password", "reset"))
    refused(lambda: born.page("snapshots", "take"))
    assert verb(born, "change_password", ADMIN)


def test_schedules_and_removals_are_counted_too(born: World) -> None:
    for _ in range(3):
        born.page("backups", "schedule", time_zone="UTC")
    refused(lambda: born.page("backups", "schedule", time_zone="UTC"))
    with born.store.write():
        born.store.add_snapshot(1, "snap-1", "", False)
        born.store.snapshot_state(1, "snap-1", "ready")
    refused(lambda: born.page("snapshots", "delete", name="snap-1"))
    assert born.store.snapshot_row(1, "snap-1")["state"] == "ready"


@pytest.mark.parametrize("state", ["busy", "suspended", "too often", "terminated", "restoring"])
def test_a_refused_password_is_not_hashed(born: World, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    hashed: list[str] = []
    if state == "busy":
        born.page("power", "stop")
    elif state in ("suspended", "terminated"):
        verb(born, {"suspended": "suspend"}.get(state, "terminate"), SYSTEM)
        born.run()
    elif state == "restoring":
        service = born.store.service(1)
        born.store.update_service(1, birth=replace(service.birth, restoring="a restore"))
    else:
        for _ in range(2):
            verb(born, "change_password", CLIENT)
            born.run()
    monkeypatch.setattr(passwords, "hashed", lambda text: hashed.append(text) or "x")
    for _ in range(3):
        with pytest.raises(VmbridgeError):
            verb(born, "change_password", CLIENT)
    assert hashed == []


def test_a_create_that_was_made_already_is_not_hashed(born: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "hashed", lambda text: pytest.fail("hashed"))
    born.order("create")
    with pytest.raises(Refused, match="has its server already"):
        born.order("create", status="Active")


def test_many_at_once_are_counted_one_after_the_other(born: World) -> None:
    """Four are allowed; of twelve in twelve threads no more than these begin."""
    begun: list[str] = []

    def press() -> None:
        with suppress(Refused):
            begun.append(born.page("power", "hard_stop"))

    born.page("power", "stop")  # a hard stop takes its place each time
    threads = [threading.Thread(target=press) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(born.store.rows("SELECT 1 FROM operations WHERE kind IN ('stop', 'hard_stop')")) <= 4
