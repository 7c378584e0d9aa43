"""A Hetzner server's snapshots, backups, reinstall and password: each end to end, with every lost reply and a kill at
every border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge import customer
from bridge.causes import CAUSES, LIMIT, cause
from bridge.errors import BadRequest, NotBuilt, Refused
from bridge.model import State
from bridge.retries import QUICK_TRIES
from tests.hcloud import matrix
from tests.hcloud.project import Fault
from tests.test_hetzner import PLAN, Cloud, one

SOLD: dict[str, Any] = {
    **PLAN,
    "snapshots": 2,
    "snapshot_lifetime_h": 24,
    "backups": 7,
    "allow": ["reinstall", "snapshots", "backups", "reset_password"],
}
del SOLD["server"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path, **SOLD)
    made.order("create")
    made.run()
    yield made
    made.close()


def last(world: Cloud) -> Any:
    return world.store.operations_of(1)[0]


def done(world: Cloud) -> None:
    assert last(world).state is State.DONE, (last(world).kind, last(world).error_text)


def act(world: Cloud, capability: str, action: str, **form: Any) -> None:
    world.page(capability, action, **form)
    world.run()


def names(world: Cloud) -> list[str]:
    return [r["name"] for r in world.store.snapshots_of(1)]


def kept(world: Cloud, kind: str) -> list[Any]:
    return [i for i in world.cloud.images.values() if i.type == kind]


def test_a_snapshot_is_a_labelled_image_with_a_size(world: Cloud) -> None:
    act(world, "snapshots", "take", description="before upgrade")
    done(world)
    [image], [row] = kept(world, "snapshot"), world.store.snapshots_of(1)
    assert image.labels == {"vmbridge": world.store.service(1).uuids[0], "vmbridge-snapshot": row["name"]}
    assert image.description == "before upgrade"
    assert (row["state"], row["size"]) == ("ready", 1_250_000_000)
    assert row["expires_at"] == pytest.approx(image.created + 24 * 3600, abs=1)
    act(world, "snapshots", "take")
    with pytest.raises(Refused, match="2 of 2 in use"):
        world.page("snapshots", "take")
    act(world, "snapshots", "delete", name=names(world)[0])
    done(world)
    assert len(kept(world, "snapshot")) == 1 == len(names(world))


@pytest.mark.parametrize("before", ["running", "off"])
def test_a_rollback_brings_the_disk_and_the_power_state_back(world: Cloud, before: str) -> None:
    one(world).content = "first"
    act(world, "snapshots", "take")
    one(world).content, one(world).status = "second", before
    act(world, "snapshots", "rollback", name=names(world)[0])
    done(world)
    assert (one(world).content, one(world).status) == ("first", before)
    assert len(names(world)) == 1


def test_a_rollback_to_what_was_removed_by_hand_changes_nothing(world: Cloud) -> None:
    act(world, "snapshots", "take")
    world.cloud.images.clear()
    world.cloud.calls.clear()
    act(world, "snapshots", "rollback", name=names(world)[0])
    assert last(world).state is State.FAILED
    assert last(world).error_code == "snapshot_gone"
    assert world.cloud.mutations() == []


def test_backups_are_on_from_the_start_and_off_without_a_quota(world: Cloud, tmp_path: Path) -> None:
    assert one(world).window == "22-02"
    assert world.store.seen(1)[0]["backups"] == "22-02"
    plain = Cloud(tmp_path / "plain", **{**SOLD, "backups": 0})
    plain.order("create")
    plain.run()
    assert one(plain).window is None
    with pytest.raises(Refused, match="Not part of your plan"):
        plain.page("backups", "take")
    plain.close()


def test_a_backup_now_its_restore_and_its_removal(world: Cloud) -> None:
    one(world).content = "first"
    act(world, "snapshots", "take")
    act(world, "backups", "take", note="before the move")
    done(world)
    [row], [image] = world.store.backups_of(1), kept(world, "backup")
    assert (row["state"], row["archive"], row["note"], row["size"]) == (
        "ready",
        str(image.id),
        "before the move",
        1_250_000_000,
    )
    one(world).content = "second"
    act(world, "backups", "restore", backup=row["id"])
    done(world)
    assert (one(world).content, one(world).status) == ("first", "running")
    assert len(names(world)) == 1
    assert any("restored" in str(m) or "Restored" in str(m) for m in world.whmcs.mails())
    act(world, "backups", "delete", backup=row["id"])
    done(world)
    assert kept(world, "backup") == [] == world.store.backups_of(1)


def test_the_providers_own_backups_are_the_customers(world: Cloud) -> None:
    for _ in range(9):
        world.cloud.automatic_backup(one(world))
        world.clock.time += 86400
    other = world.cloud.ids + 1
    world.cloud.calls.clear()
    assert customer.renew_mirror("pve1", world.drivers["pve1"], world.store) == 1
    rows = world.store.backups_of(1)
    assert len(rows) == 7
    assert all(r["state"] == "ready" and not r["foreign_one"] for r in rows)
    assert other
    assert [p for _, p, _ in world.cloud.calls] == [
        "/images",
        "/images",
    ]  # one listing each, whatever the number of services
    act(world, "backups", "take")  # full is not a reason: the oldest goes by itself
    done(world)
    world.clock.time += 7200
    customer.renew_mirror("pve1", world.drivers["pve1"], world.store)
    assert len(world.store.backups_of(1)) == 7
    with pytest.raises(Refused, match="cannot be chosen"):
        world.page("backups", "schedule", time_zone="UTC")


def test_the_listing_does_not_forget_what_is_made_meanwhile(world: Cloud) -> None:
    world.clock.time += 7200
    act(world, "snapshots", "take")
    began = world.drivers["pve1"].kept

    def slow() -> Any:
        listing = began()
        listing.snapshots.clear()  # read before the snapshot was there
        act(world, "backups", "take")
        return listing

    world.drivers["pve1"].kept = slow
    customer.renew_mirror("pve1", world.drivers["pve1"], world.store)
    assert len(names(world)) == 1


def test_reinstall_keeps_server_addresses_snapshots_and_backups(world: Cloud) -> None:
    act(world, "snapshots", "take")
    act(world, "backups", "take")
    before, data = one(world), one(world).user_data
    with pytest.raises(BadRequest, match="is not one of"):
        world.page("reinstall", "reinstall", template="plan9", confirm="REINSTALL")
    act(world, "reinstall", "reinstall", template="ubuntu-24.04", confirm="REINSTALL")
    done(world)
    assert one(world).id == before.id
    assert (one(world).content, one(world).status) == ("fresh ubuntu-24.04", "running")
    assert one(world).user_data != data
    assert "$6$" in one(world).user_data
    assert len(names(world)) == 1
    assert len(world.store.backups_of(1)) == 1
    assert world.store.service(1).package.template == "ubuntu-24.04"
    [password] = world.whmcs.passwords
    assert world.store.password(1) == ""
    assert password not in one(world).user_data
    assert "install" in str(world.whmcs.mails()[-1])


def test_reinstall_takes_a_mounted_iso_out(world: Cloud) -> None:
    world.drivers["pve1"].mount(world.store.service(1).ref, str(world.cloud.isos[0]["id"]))
    world.clock.time += 60
    assert world.cloud.mounted[one(world).id]
    act(world, "reinstall", "reinstall", template="debian-12", confirm="REINSTALL")
    done(world)
    assert not world.cloud.mounted.get(one(world).id)
    assert one(world).content == "fresh debian-12"


def test_a_snapshot_that_failed_for_good_costs_nothing(world: Cloud) -> None:
    world.cloud.faults = [Fault("POST .*create_image", "failing action") for _ in range(QUICK_TRIES + 1)]
    act(world, "snapshots", "take")
    assert last(world).state is State.FAILED
    assert "failed there" in last(world).error_text
    assert kept(world, "snapshot") == [] == names(world)


@pytest.mark.parametrize("noun", ["snapshots", "backups"])
def test_a_limit_of_the_account_is_staffs_matter_and_no_full_storage(world: Cloud, noun: str) -> None:
    world.cloud.faults = [Fault("POST .*create_image", "resource_limit_exceeded", limits=("snapshot_limit",))]
    act(world, noun, "take")
    assert last(world).state is State.FAILED
    assert cause(last(world)) == LIMIT
    assert "limit raised" in last(world).next_action
    assert "snapshot_limit" in last(world).error_text
    assert len([args for name, args in world.whmcs.sent if name == "notify_admins"]) == 1


def test_a_system_that_the_provider_has_not_is_told_before_anything_stops(tmp_path: Path) -> None:
    world = Cloud(tmp_path, **{**SOLD, "templates": ["debian-12", "plan9"]})
    world.order("create")
    world.run()
    world.cloud.calls.clear()
    act(world, "reinstall", "reinstall", template="plan9", confirm="REINSTALL")
    assert last(world).state is State.FAILED
    assert world.cloud.mutations() == []
    assert one(world).status == "running"
    world.close()


def test_an_image_of_the_operators_own_stands_behind_a_template(tmp_path: Path) -> None:
    world = Cloud(tmp_path, **SOLD)
    golden = world.cloud.images[100].__class__(777, "snapshot", "x86", 20, None, "golden", content="golden")
    world.cloud.images[777] = golden
    world.close()
    other = Cloud(tmp_path / "b", **{**SOLD, "images": {"debian-12": "777"}})
    other.cloud.images[777] = golden
    other.order("create")
    other.run()
    assert one(other).content == "golden"
    assert last(other).state is State.DONE
    other.close()


def test_reset_password_is_the_providers(world: Cloud) -> None:
    act(world, "reset_password", "reset")
    done(world)
    assert one(world).password.startswith("Reset-")
    assert world.whmcs.passwords == [one(world).password]
    assert world.store.password(1) == ""
    with pytest.raises(NotBuilt, match="cannot be set from outside"):
        world.order("change_password", password="Another-pass-2")


def test_a_guest_agent_that_starts_late_or_never(world: Cloud) -> None:
    one(world).agent_after = world.clock.time + 40
    act(world, "reset_password", "reset")
    done(world)
    assert world.whmcs.passwords == [one(world).password]
    count = len(world.whmcs.mails())
    one(world).agent_after = world.clock.time + 10**9
    act(world, "reset_password", "reset")
    assert last(world).state is State.FAILED
    assert last(world).error_code == "no_agent"
    assert "qemu-guest-agent" in str(CAUSES["no_agent"])
    assert len(world.whmcs.mails()) == count
    assert world.store.password(1) == ""


def test_reset_password_needs_a_running_server(world: Cloud) -> None:
    one(world).status = "off"  # by somebody else: not known here yet
    act(world, "reset_password", "reset")
    assert last(world).state is State.FAILED
    assert last(world).error_code == "server_off"
    with pytest.raises(Refused, match="Start the server first"):  # now it is
        world.page("reset_password", "reset")


# -- every call lost, every border killed -------------------------------------------------------------
def _first(world: Cloud) -> str:
    return names(world)[0]


DEEDS: dict[str, tuple[matrix.Deed, matrix.Truth]] = {
    "take_snapshot": (lambda w: w.page("snapshots", "take"), lambda w: len(kept(w, "snapshot")) == 2 == len(names(w))),
    "rollback": (
        lambda w: w.page("snapshots", "rollback", name=_first(w)),
        lambda w: one(w).content == "first" and one(w).status == "running",
    ),
    "delete_snapshot": (
        lambda w: w.page("snapshots", "delete", name=_first(w)),
        lambda w: kept(w, "snapshot") == [] == names(w),
    ),
    "take_backup": (
        lambda w: w.page("backups", "take"),
        lambda w: len(kept(w, "backup")) == 2 == len(w.store.backups_of(1)),
    ),
    "restore": (
        lambda w: w.page("backups", "restore", backup=w.store.backups_of(1)[0]["id"]),
        lambda w: one(w).content == "first" and one(w).status == "running",
    ),
    "delete_backup": (
        lambda w: w.page("backups", "delete", backup=w.store.backups_of(1)[0]["id"]),
        lambda w: kept(w, "backup") == [] == w.store.backups_of(1),
    ),
    "reinstall": (
        lambda w: w.page("reinstall", "reinstall", template="debian-12", confirm="REINSTALL"),
        lambda w: (
            one(w).content == "fresh debian-12" and one(w).status == "running" and len(set(w.whmcs.passwords)) == 1
        ),
    ),
    "reset_password": (
        lambda w: w.page("reset_password", "reset"),
        lambda w: set(w.whmcs.passwords) == {one(w).password} and one(w).password != "",
    ),
}


@pytest.fixture(scope="module")
def born(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A server with a snapshot and a backup of its first content."""
    made = Cloud(tmp_path_factory.mktemp("born"), **SOLD)
    made.order("create")
    made.run()
    one(made).content = "first"
    act(made, "snapshots", "take")
    act(made, "backups", "take")
    one(made).content = "second"
    made.clock.time += 4000
    yield made
    made.close()


def again(born: Cloud, folder: Path) -> Callable[[int], Cloud]:
    return lambda n: matrix.twin(born, folder / str(n), lambda path: Cloud(path, **SOLD))


@pytest.mark.parametrize(
    ("kind", "deed", "every", "turn"),
    matrix.turns(("reset", "lost", "locked", "rate_limit_exceeded", "unavailable"), list(DEEDS)),
)
def test_a_fault_on_any_call(born: Cloud, tmp_path: Path, kind: str, deed: str, every: int, turn: int) -> None:
    matrix.each_fault(again(born, tmp_path), *DEEDS[deed], ".*", kind, every, turn)


# those that are left out have no action: they are gone at once
@pytest.mark.parametrize("deed", [deed for deed in DEEDS if not deed.startswith("delete_")])
def test_any_action_that_fails(born: Cloud, tmp_path: Path, deed: str) -> None:
    matrix.each_fault(again(born, tmp_path), *DEEDS[deed], "POST .*", "failing action")


@pytest.mark.parametrize("deed", list(DEEDS))
@pytest.mark.parametrize(("kind", "every"), matrix.COLUMNS)
def test_rubbish_and_the_unknown_on_any_call(born: Cloud, tmp_path: Path, deed: str, kind: str, every: int) -> None:
    matrix.each_fault(again(born, tmp_path), *DEEDS[deed], ".*", kind, every)


@pytest.mark.parametrize("deed", list(DEEDS))
def test_killed_at_every_border(born: Cloud, tmp_path: Path, deed: str) -> None:
    assert matrix.each_border(again(born, tmp_path), *DEEDS[deed]) >= 2


def test_a_redeploy_leaves_nothing_listed_that_went_with_the_machine(world: Cloud) -> None:
    act(world, "backups", "take", note="a")
    act(world, "snapshots", "take", description="x")
    assert len(world.store.backups_of(1)) == 1
    assert len(names(world)) == 1
    world.order("redeploy")
    world.run(4000)
    assert world.store.operations_of(1)[0].state is State.DONE
    assert world.store.backups_of(1) == []
    assert names(world) == []
    assert [i.labels.get("vmbridge-kept") is not None for i in world.cloud.images.values() if i.type != "system"] == [
        True
    ]
