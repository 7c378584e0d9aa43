"""A Hetzner server's surroundings, further addresses, change of type, suspension by firewall, and what is left when it
goes: nothing that is paid. Each with every lost reply and a kill at every border."""

from __future__ import annotations

import copy
import email
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import BadRequest, ConfigError, Refused
from bridge.metering import status
from bridge.model import Restart, State
from bridge.orders import upgrades
from bridge.staff import contents, mending
from tests.hcloud import matrix
from tests.hcloud.project import Fault
from tests.test_hetzner import PLAN, Cloud, one
from tests.test_hetzner_images import done, kept, last

SMALL = {k: v for k, v in PLAN.items() if k != "server"}
BIG = {"server_type": "cx33", "cores": 4, "ram_mib": 8192, "disk_gib": 80}


class Shop(Cloud):
    """Sells a small plan, the next bigger with and without its disk, as it is told."""

    def __init__(self, path: Path, **plan: Any) -> None:
        self.sold = {**SMALL, **plan}
        super().__init__(path, **self.sold)

    def change(self, service_id: int = 1042, **plan: Any) -> Any:
        """The operator writes another plan; WHMCS orders it."""
        self.config.plans["kvm-s"].values.update(
            {k: v for k, v in plan.items() if k in self.config.plans["kvm-s"].values}
        )
        self.config.plans["kvm-s"].driver_values.update(
            {k: v for k, v in plan.items() if k in self.config.plans["kvm-s"].driver_values}
        )
        return self.order("change_package", service_id)

    def paid(self) -> list[Any]:
        """Everything in the project that costs money."""
        paid: list[Any] = [
            *self.cloud.servers.values(),
            *self.cloud.floating_ips.values(),
            *self.cloud.primary_ips.values(),
        ]
        return paid + [i for i in self.cloud.images.values() if i.type != "system"]


@contextmanager
def shops(path: Path) -> Iterator[Callable[..., Shop]]:
    """What makes one after the other, each with a server unless it is not to order."""
    made: list[Shop] = []

    def build(order: bool = True, **plan: Any) -> Shop:
        shop = Shop(path / str(len(made)), **plan)
        made.append(shop)
        if order:
            shop.order("create")
            shop.run()
        return shop

    yield build
    for shop in made:
        shop.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    with shops(tmp_path) as build:
        yield build


def sent(world: Cloud) -> list[str]:
    return [p.rpartition("/")[2] for m, p in world.cloud.mutations()]


# -- surroundings -------------------------------------------------------------------------------------
def test_the_plan_says_what_a_server_is_put_into(make: Callable[..., Shop]) -> None:
    script = "#!/bin/sh\necho ready\n"
    world = make(
        networks=["internal"],
        firewalls=["web", "ssh"],
        placement_group="spread",
        labels={"team": "hosting"},
        user_data=script,
    )
    server = one(world)
    done(world)
    assert (server.networks, server.firewalls, server.placement_group, server.status) == ([41], [31, 32], 51, "running")
    assert server.labels == {"team": "hosting", "vmbridge": world.store.service(1).uuids[0]}
    ours, theirs = email.message_from_string(server.user_data).get_payload()
    assert ours.get_content_type() == "text/cloud-config"
    assert "chpasswd" in ours.get_payload()
    assert theirs.get_content_type() == "text/x-shellscript"
    assert theirs.get_payload() == script


@pytest.mark.parametrize("plan", [{"networks": ["nowhere"]}, {"firewalls": ["none"]}, {"placement_group": "gone"}])
def test_what_the_project_does_not_have_is_named(make: Callable[..., Shop], plan: dict[str, Any]) -> None:
    world = make(**plan)
    assert last(world).state is State.FAILED
    assert last(world).error_code == "plan_impossible"
    assert world.paid() == []
    assert str(next(iter(plan.values()))).strip("[]'") in last(world).error_text


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        ({"user_data": "echo hello"}, "must begin with"),
        ({"labels": {"vmbridge": "x"}}, "not ours"),
        ({"labels": {"a": "b c"}}, "label's value"),
        ({"suspend": "freeze"}, "poweroff"),
        ({"firewalls": ["a"] * 6}, "5"),
        ({"user_data": "#!" + "x" * 30_000}, "at most"),
    ],
)
def test_a_wrong_plan_is_told_with_its_key(tmp_path: Path, plan: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as e:
        Shop(tmp_path, **plan)
    assert f"plans.kvm-s.{next(iter(plan))}" in str(e.value)
    assert text.lower() in str(e.value).lower()


# -- further addresses --------------------------------------------------------------------------------
def test_extra_addresses_are_floating_ones_with_names_that_collide(make: Callable[..., Shop]) -> None:
    world = make(extra_ipv4=2, extra_ipv6=1)
    done(world)
    floating, name = list(world.cloud.floating_ips.values()), one(world).name
    assert sorted(f.name for f in floating) == [f"{name}-f4-1", f"{name}-f4-2", f"{name}-f6-1"]
    assert {f.owner for f in floating} == {one(world).id}
    birth = world.store.service(1).birth
    assert sorted(birth.floating) == sorted(f.ip for f in floating)
    assert birth.addresses[2:] == birth.floating
    assert len(birth.addresses) == 5
    assert [e["event"] for e in world.store.events()].count("addresses") == 1


def test_more_and_fewer_addresses_and_one_that_was_unassigned_by_hand(make: Callable[..., Shop]) -> None:
    world = make(extra_ipv4=1)
    first = next(iter(world.cloud.floating_ips.values()))
    world.change(extra_ipv4=3)
    world.run()
    done(world)
    assert len(world.cloud.floating_ips) == 3
    assert len(world.store.service(1).birth.addresses) == 5
    first.owner = None
    world.change(extra_ipv4=1)
    world.run()
    done(world)
    assert list(world.cloud.floating_ips.values()) == [first]
    assert first.owner == one(world).id
    assert list(world.store.service(1).birth.floating) == [first.ip]
    assert [e["event"] for e in world.store.events()].count("addresses") == 3


def test_a_foreign_address_with_the_name_is_left_alone(make: Callable[..., Shop]) -> None:
    world = make(extra_ipv4=0)
    theirs = world.cloud._new_ip("ipv4", None, f"{one(world).name}-f4-1", {})
    world.cloud.floating_ips[theirs.id] = theirs
    world.change(extra_ipv4=1)
    world.run()
    assert last(world).state is State.FAILED
    assert last(world).error_code == "name_taken"
    assert list(world.cloud.floating_ips.values()) == [theirs]
    world.order("terminate")
    world.run()
    assert world.paid() == [theirs]


# -- change of type -----------------------------------------------------------------------------------
def test_a_bigger_type_with_its_disk_is_told_beforehand_and_then_done(make: Callable[..., Shop]) -> None:
    world = make()
    world.config.plans["kvm-s"].values.update({k: v for k, v in BIG.items() if k != "server_type"})
    world.config.plans["kvm-s"].driver_values["server_type"] = "cx33"
    world.store.note_status("pve1", str(one(world).id), "nbg1", "running", 0)
    told = upgrades.preview(
        world.store.service(1), {"configoption1": "kvm-s"}, world.drivers["pve1"], world.store, world.config
    )
    assert told.restart is Restart.NOW
    assert told.refused == ()
    assert {c.word for c in told.changes} == {"server_type", "disk_gib"}
    assert told.notices == (
        (
            "When the order is carried out, your server is switched off and on again. It cannot be reached for some"
            " minutes."
        ),
        "The system disk grows to 80 GB for good: no smaller server is possible after that.",
    )
    world.order("change_package")
    world.run()
    done(world)
    assert (one(world).kind, one(world).disk, one(world).status) == ("cx33", 80, "running")
    assert sent(world)[-2:] == ["shutdown", "change_type"]
    assert world.store.seen(1)[0]["server_type"] == "cx33"
    world.config.plans["kvm-s"].values.update({k: v for k, v in SMALL.items() if k in ("cores", "ram_mib", "disk_gib")})
    world.config.plans["kvm-s"].driver_values["server_type"] = "cx23"
    with pytest.raises(Refused, match="has 80 GB and cannot shrink to 40 GB"):
        world.order("change_package")


@pytest.mark.parametrize("verb", ["stop", "suspend"])
def test_nothing_is_told_of_a_restart_that_is_none(make: Callable[..., Shop], verb: str) -> None:
    """Off already, or suspended behind a firewall: then the operation leaves its power alone."""
    world = make(suspend="firewall")
    world.order(verb)
    world.run()
    world.config.plans["kvm-s"].values.update({k: v for k, v in BIG.items() if k != "server_type"})
    world.config.plans["kvm-s"].driver_values["server_type"] = "cx33"
    world.store.note_status("pve1", str(one(world).id), "nbg1", "stopped" if verb == "stop" else "running", 0)
    told = upgrades.preview(
        world.store.service(1), {"configoption1": "kvm-s"}, world.drivers["pve1"], world.store, world.config
    )
    assert told.restart is Restart.NONE
    assert told.notices == ("The system disk grows to 80 GB for good: no smaller server is possible after that.",)


def test_a_bigger_type_on_the_old_disk_can_go_back(make: Callable[..., Shop]) -> None:
    world = make()
    for kind in ("cx33", "cx23"):
        world.change(server_type=kind)
        world.run()
        done(world)
        assert (one(world).kind, one(world).disk, one(world).status) == (kind, 40, "running")


def test_a_server_that_is_off_stays_off(make: Callable[..., Shop]) -> None:
    world = make()
    world.order("stop")
    world.run()
    world.change(server_type="cx33")
    world.run()
    done(world)
    assert (one(world).kind, one(world).status) == ("cx33", "off")


def test_no_room_is_known_before_anything_stops_or_is_bought(make: Callable[..., Shop]) -> None:
    world = make()
    world.cloud.sold["cx33"]["nbg1"] = False
    world.cloud.calls.clear()
    world.change(server_type="cx33", extra_ipv4=2)
    world.run()
    assert last(world).waits_for_room
    assert "no room for the new type" in last(world).error_text
    assert world.cloud.mutations() == []


@pytest.mark.parametrize("kind", ["failing action", "invalid_input"])
def test_when_the_change_cannot_be_the_old_server_runs_again(make: Callable[..., Shop], kind: str) -> None:
    world = make()
    world.cloud.faults = [Fault("POST .*/change_type", kind) for _ in range(4 if kind == "failing action" else 1)]
    world.change(server_type="cx33")
    world.run()
    assert last(world).state is State.FAILED
    assert last(world).next_action
    assert (one(world).kind, one(world).status) == ("cx23", "running")
    assert world.store.service(1).birth.offline is None
    assert len([e for e in world.store.events() if e["event"] == "staff_notice"]) == 1
    world.store.retry(last(world).id)
    world.run()
    done(world)
    assert (one(world).kind, one(world).status) == ("cx33", "running")


def test_a_change_that_takes_long_and_whose_reply_was_lost(make: Callable[..., Shop]) -> None:
    world = make()
    world.cloud.durations["change_server_type"] = 900.0
    world.cloud.faults = [Fault("POST .*/change_type", "lost")]
    world.change(server_type="cx33")
    world.run(2000)
    done(world)
    assert (one(world).kind, one(world).status) == ("cx33", "running")
    assert sent(world).count("change_type") <= 40


@pytest.mark.parametrize("after", range(2, 60, 3))
def test_suspended_in_the_middle_of_a_change(make: Callable[..., Shop], after: int) -> None:
    """Whenever the suspension comes: off now, and on again afterwards."""
    world = make()
    world.change(server_type="cx33")
    world.run(after)
    world.order("suspend")
    world.run()
    assert one(world).status == "off"
    assert world.store.service(1).ran_when_suspended
    world.order("unsuspend")
    world.run()
    done(world)
    assert one(world).status == "running"
    assert world.store.service(1).birth.offline is None
    assert one(world).kind == "cx33"


def test_staffs_converge_restarts_nothing(make: Callable[..., Shop]) -> None:
    world = make()
    world.change(server_type="cx33")
    world.order("cancel")
    world.run()
    assert one(world).kind == "cx23"
    world.cloud.calls.clear()
    world.order("converge")
    world.run()
    done(world)
    assert world.cloud.mutations() == []
    assert "has to be off" in str(world.store.steps(last(world).id))
    world.order("stop")
    world.run()
    world.order("converge")
    world.run()
    assert (one(world).kind, one(world).status) == ("cx33", "off")


def test_a_package_without_backups_leaves_them_on_and_the_rest_is_done(make: Callable[..., Shop]) -> None:
    world = make(backups=7)
    world.config.plans["kvm-s"].values.update({"backups": 0, "extra_ipv4": 1})
    told = upgrades.preview(
        world.store.service(1), {"configoption1": "kvm-s"}, world.drivers["pve1"], world.store, world.config
    )
    assert told.refused == ()
    assert any("Backups stay on" in n for n in told.notes)
    world.order("change_package")
    world.run()
    done(world)
    assert len(world.cloud.floating_ips) == 1
    assert one(world).window
    assert "disable_backup" not in sent(world)


@pytest.mark.parametrize(("value", "sold"), [("7", True), ("0", True), ("30", False), ("3", False)])
def test_backups_are_sold_as_the_provider_keeps_them(make: Callable[..., Shop], value: str, sold: bool) -> None:
    world = make(order=False)
    if not sold:
        with pytest.raises(BadRequest, match="is not one of: 0, 7"):
            world.order("create", configoptions={"Backups": value})
        return
    world.order("create", configoptions={"Backups": value})
    world.run()
    assert (one(world).window is not None) == (value == "7")


# -- suspension by firewall ----------------------------------------------------------------------------
def test_a_plan_may_suspend_by_firewall(make: Callable[..., Shop]) -> None:
    world = make(suspend="firewall", firewalls=["web"])
    one(world).firewalls.append(32)  # staff's own
    world.order("suspend")
    world.run()
    done(world)
    [wall] = [f for f in world.cloud.firewalls.values() if f.name == "vmbridge-suspended"]
    assert one(world).status == "running"
    assert one(world).firewalls == [wall.id]
    assert [r["direction"] for r in wall.rules] == ["out"]
    world.order("suspend")  # again: nothing to do
    world.run()
    world.order("converge")
    world.run()
    assert one(world).firewalls == [wall.id]
    world.order("unsuspend")
    world.run()
    done(world)
    assert sorted(one(world).firewalls) == [31, 32]
    assert one(world).status == "running"
    assert world.store.service(1).birth.closed is None
    world.order("suspend")
    world.run()
    world.order("terminate")
    world.run()
    assert world.paid() == []


# -- the end -------------------------------------------------------------------------------------------
def full(world: Cloud) -> None:
    """A server with everything that can cost money."""
    world.page("snapshots", "take")
    world.run()
    world.page("backups", "take")
    world.run()


RICH = {"extra_ipv4": 1, "extra_ipv6": 1, "snapshots": 2, "backups": 7, "allow": ["snapshots", "backups"]}


def test_nothing_paid_is_left_after_terminate(make: Callable[..., Shop]) -> None:
    world = make(**RICH)
    full(world)
    world.order("terminate")
    world.run()
    done(world)
    assert world.paid() == []
    assert world.store.backups_of(1) == []


def test_nothing_paid_is_left_of_a_server_that_was_removed_by_hand(make: Callable[..., Shop]) -> None:
    world = make(**RICH)
    full(world)
    world.cloud._delete_servers_one({}, one(world))
    assert len(world.paid()) == 3  # two addresses and a snapshot
    world.order("terminate")
    world.run()
    done(world)
    assert world.paid() == []


def test_kept_backups_are_the_newest_as_a_snapshot(make: Callable[..., Shop]) -> None:
    world = make(**RICH, keep_backups=True)
    full(world)
    world.clock.time += 100
    newest = world.cloud.automatic_backup(one(world))
    world.order("terminate")
    world.run()
    done(world)
    assert world.paid() == [newest]
    assert newest.type == "snapshot"
    assert newest.labels["vmbridge-kept"] == "yes"
    assert "costs" in str(world.store.steps(last(world).id))


@pytest.mark.parametrize("obstacle", ["locked", "protected", "failing action"])
def test_however_often_it_is_tried_one_backup_is_kept(make: Callable[..., Shop], obstacle: str) -> None:
    world = make(**RICH, keep_backups=True)
    for _ in range(4):
        world.clock.time += 86400
        newest = world.cloud.automatic_backup(one(world))
    one(world).protected = obstacle == "protected"
    world.cloud.faults = [Fault("DELETE /servers.*", obstacle)]
    world.order("terminate")
    world.run(4000)
    if obstacle == "protected":  # by hand: it waits until that is taken back
        one(world).protected = False
        world.run(4000)
    done(world)
    assert world.paid() == [newest]
    assert newest.type == "snapshot"


def test_redeploy_keeps_the_addresses(make: Callable[..., Shop]) -> None:
    world = make(**RICH)
    full(world)
    before, addresses = one(world).id, world.store.service(1).birth.addresses
    world.order("redeploy")
    world.run()
    done(world)
    assert one(world).id != before
    assert world.store.service(1).birth.addresses == addresses
    assert one(world).status == "running"
    assert len(world.cloud.floating_ips) == 2
    assert len(world.cloud.primary_ips) == 2
    assert all(p.auto_delete for p in world.cloud.primary_ips.values())
    assert [i.labels.get("vmbridge-kept") for i in kept(world, "snapshot")] == ["yes"]
    world.order("terminate")
    world.run()
    assert [p for p in world.paid() if p not in kept(world, "snapshot")] == []


def test_what_came_back_after_the_end_is_found_and_removed(make: Callable[..., Shop]) -> None:
    """A snapshot and an address that a terminated service's machine left: staff sees them, and a fix removes them."""
    world = make(**RICH)
    full(world)
    image, ip = copy.copy(kept(world, "snapshot")[0]), copy.copy(next(iter(world.cloud.floating_ips.values())))
    world.order("terminate")
    world.run()
    ip.owner = None
    world.cloud.images[image.id], world.cloud.floating_ips[ip.id] = image, ip
    world.clock.time += 60
    status.refresh("pve1", world.drivers["pve1"], world.store)
    contents.sweep_contents("pve1", world.drivers["pve1"], world.store, world.config, everything=True)
    rows = {r["kind"]: r for r in world.store.findings(1)}
    assert set(rows) == {"leftover_snapshot", "leftover_floating"}
    for row in rows.values():
        mending.fix(row["id"], "admin Ada", world.store, world.config, world.drivers)
        world.run()
        done(world)
    assert world.paid() == []
    assert world.store.findings(1) == []


# -- every call lost, every border killed ---------------------------------------------------------------
def bigger(world: Shop) -> None:
    world.change(server_type="cx33", extra_ipv4=2)


DEEDS: dict[str, tuple[dict[str, Any], Callable[[Shop], Any], Callable[[Shop], bool]]] = {
    "change_package": (
        RICH,
        bigger,
        lambda w: (
            (one(w).kind, one(w).status) == ("cx33", "running")
            and len(w.cloud.floating_ips) == 3
            and all(f.owner == one(w).id for f in w.cloud.floating_ips.values())
        ),
    ),
    "terminate": (RICH, lambda w: w.order("terminate"), lambda w: w.paid() == []),
    "terminate_keeping": (
        {**RICH, "keep_backups": True},
        lambda w: w.order("terminate"),
        lambda w: [i.type for i in w.paid()] == ["snapshot"],
    ),
    "redeploy": (
        RICH,
        lambda w: w.order("redeploy"),
        lambda w: (
            one(w).status == "running"
            and len(w.cloud.floating_ips) == 2
            and len(w.cloud.primary_ips) == 2
            and all(p.owner == one(w).id and p.auto_delete for p in w.cloud.primary_ips.values())
        ),
    ),
    "suspend": (
        {**RICH, "suspend": "firewall", "firewalls": ["web"]},
        lambda w: w.order("suspend"),
        lambda w: (
            one(w).status == "running"
            and [w.cloud.firewalls[f].name for f in one(w).firewalls] == ["vmbridge-suspended"]
        ),
    ),
}


SHORT: dict[str, tuple[dict[str, Any], Callable[[Shop], Any], Callable[[Shop], bool]]] = {
    "stop": (RICH, lambda w: w.order("stop"), lambda w: one(w).status == "off"),
    "hard_stop": (RICH, lambda w: w.order("hard_stop"), lambda w: one(w).status == "off"),
    "reboot": (RICH, lambda w: w.order("reboot"), lambda w: one(w).status == "running"),
    "converge": (RICH, lambda w: w.order("converge"), lambda w: one(w).status == "running"),
}


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Shop]]:
    made = {}
    for name, (plan, _, _) in {**DEEDS, **SHORT}.items():
        shop = made[name] = Shop(tmp_path_factory.mktemp(name), **plan)
        shop.order("create")
        shop.run()
        full(shop)
        shop.clock.time += 4000
    yield made
    for shop in made.values():
        shop.close()


def again(born: Shop, folder: Path) -> Callable[[int], Shop]:
    plan = {k: v for k, v in born.sold.items() if k not in SMALL or v != SMALL[k]}
    return lambda n: matrix.twin(born, folder / str(n), lambda path: Shop(path, **plan))


@pytest.mark.parametrize(
    ("kind", "deed", "every", "turn"), matrix.turns(("reset", "lost", "locked", "conflict", "unavailable"), list(DEEDS))
)
def test_a_fault_on_any_call(
    born: dict[str, Shop], tmp_path: Path, kind: str, deed: str, every: int, turn: int
) -> None:
    matrix.each_fault(again(born[deed], tmp_path), *DEEDS[deed][1:], ".*", kind, every, turn)


@pytest.mark.parametrize("deed", list(DEEDS))
def test_any_action_that_fails(born: dict[str, Shop], tmp_path: Path, deed: str) -> None:
    call = "(POST|DELETE /servers).*"
    matrix.each_fault(again(born[deed], tmp_path), *DEEDS[deed][1:], call, "failing action")


@pytest.mark.parametrize("deed", [*DEEDS, *SHORT])
@pytest.mark.parametrize(("kind", "every"), matrix.COLUMNS)
def test_rubbish_and_the_unknown_on_any_call(
    born: dict[str, Shop], tmp_path: Path, deed: str, kind: str, every: int
) -> None:
    matrix.each_fault(again(born[deed], tmp_path), *{**DEEDS, **SHORT}[deed][1:], ".*", kind, every)


@pytest.mark.parametrize("deed", list(DEEDS))
def test_killed_at_every_border(born: dict[str, Shop], tmp_path: Path, deed: str) -> None:
    assert matrix.each_border(again(born[deed], tmp_path), *DEEDS[deed][1:]) > 3
