"""Crash matrix in process: the worker dies before and after every upstream call, at every step border, and around
every delivery. The end must equal the undisturbed end. Time is held; a new engine takes over the same file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bridge import customer
from tests import stores
from tests.branches import killed_anywhere
from tests.configs import raw_config
from tests.world import World

VERBS = ("create", "suspend", "unsuspend", "terminate")
BIGGER = {"configoption1": "kvm-l"}
DISK = {"configoption7": "30", "configoptions": {"System Disk Read MB/s": "100", "Additional Disk Write IOPS": "500"}}
BORN: list[tuple[str, dict[str, Any]]] = [("create", {})]
TAKE: tuple[str, dict[str, Any]] = ("snapshots/take", {"description": "d"})
BACKUP: tuple[str, dict[str, Any]] = ("backups/take", {})
SCENARIOS: dict[str, list[tuple[str, dict[str, Any]]]] = {  # the last order is the one that is disturbed
    "create": BORN,
    "suspend": [*BORN, ("suspend", {})],
    "unsuspend": [*BORN, ("suspend", {}), ("unsuspend", {})],
    "terminate": [*BORN, ("terminate", {})],
    "create with everything": [("create", {**BIGGER, **DISK, "configoption9": "2"})],
    "a bigger plan": [*BORN, ("change_package", BIGGER)],
    "a disk and limits": [*BORN, ("change_package", DISK)],
    "a bigger second disk": [
        *BORN,
        ("change_package", DISK),
        ("change_package", {**BIGGER, **DISK, "configoption7": "50"}),
    ],
    "more addresses": [*BORN, ("change_package", {"configoption9": "2"})],
    "fewer addresses": [*BORN, ("change_package", {"configoption9": "2"}), ("change_package", {"configoption9": "1"})],
    "a smaller plan while suspended": [
        *BORN,
        ("suspend", {}),
        ("change_package", {"configoption4": "1", "configoption8": "50"}),
    ],
    "change_password": [*BORN, ("change_password", {"password": "Another-pass-2"})],
    "redeploy": [*BORN, ("redeploy", {})],
    "snapshots/take": [*BORN, TAKE],
    "snapshots/delete": [*BORN, TAKE, ("snapshots/delete", {})],
    "snapshots/rollback": [
        *BORN,
        TAKE,
        ("change_package", {**BIGGER, "configoption9": "1"}),
        ("reboot", {}),
        ("snapshots/rollback", {}),
    ],
    "rollback of a stopped one": [*BORN, ("stop", {}), TAKE, ("snapshots/rollback", {})],
    "backups/take": [*BORN, ("backups/take", {"note": "n"})],
    "scheduled backup": [*BORN, *[BACKUP] * 3, ("schedule", {})],
    "backups/delete": [*BORN, BACKUP, ("backups/delete", {})],
    "backups/restore": [*BORN, BACKUP, ("change_package", {**BIGGER, "configoption9": "1"}), ("backups/restore", {})],
    "reinstall": [
        *BORN,
        ("change_package", DISK),
        TAKE,
        ("reinstall/reinstall", {"template": "debian-12", "confirm": "REINSTALL"}),
    ],
    "reset_password": [*BORN, ("reset_password/reset", {})],
    "terminate with backups": [*BORN, BACKUP, ("terminate", {})],
}
WITHIN = ("create", "terminate")  # each goes through a part of the calls of another one, so `make matrix` plays it
PLAYED = [pytest.param(s, marks=pytest.mark.matrix if s in WITHIN else ()) for s in SCENARIOS]
ON_POSTGRESQL = ("suspend",)  # those that are not left to `make matrix`: a database is copied for each death


def plans() -> dict[str, Any]:
    raw = raw_config()
    raw["plans"]["kvm-l"] = {**raw["plans"]["kvm-s"], "cores": 4, "ram_mib": 8192, "disk_gib": 40, "rate_mbit": 1000}
    return {"plans": raw["plans"], "web": {"costly_per_hour": 100}}


# between WHMCS's answer and its record: the only places where a mail may come twice
REPEATED_MAIL = ("event.ready.answered", "event.password.answered", "event.restored.answered")


def prepared(path: Path, scenario: str) -> World:
    """A world where the scenario's last verb has just been ordered."""
    world = World(path, **plans())
    *before, (verb, values) = SCENARIOS[scenario]
    for earlier, params in before:
        ask(world, earlier, params)
        world.run()
        world.clock.time += 61  # archives are named by the second
    world.cluster.calls.clear()
    world.whmcs.sent.clear()
    for vm in world.cluster.vms.values():
        vm.content |= {slot: f"{word}, changed" for slot, word in vm.content.items() if not vm.template}
    ask(world, verb, values)
    return world


def ask(world: World, verb: str, values: dict[str, Any]) -> None:
    """An order of WHMCS, or a form of the customer's pages (`capability/action`)."""
    capability, _, action = verb.partition("/")
    if verb == "schedule":
        world.page(
            "backups",
            "schedule",
            time_zone="UTC",
            **{f"on_{d}": "1" for d in customer.WEEK},
            **{f"time_{d}": "00:00" for d in customer.WEEK},
        )
        world.clock.time += 86400
        customer.start_backups(world.store, world.config)
        world.cluster.calls.clear()
    elif not action:
        world.order(verb, **values)
    else:
        first = {
            "snapshots": ("name", [r["name"] for r in world.store.snapshots_of(1)]),
            "backups": ("backup", [r["id"] for r in world.store.backups_of(1)]),
        }
        field, have = first.get(capability, ("", []))
        world.page(capability, action, **({field: have[0]} if have and action != "take" else {}), **values)


def without_failures(end: dict[str, Any], failed: int) -> dict[str, Any]:
    """The outcome without the mails of backups that failed before they were tried again: one for each of them at
    most."""
    told = [m for m in end["mails"] if "A backup could not be made" in str(m)]
    assert len(told) <= failed
    return {**end, "mails": [m for m in end["mails"] if m not in told]}


def outcome(world: World) -> dict[str, Any]:
    """What has to be the same whatever happened on the way."""
    vms = {
        vm.vmid: {
            "status": vm.status,
            "ipsets": vm.ipsets,
            "firewall": vm.firewall,
            "rules": vm.rules,
            **{
                k: v
                for k, v in vm.config.items()
                if k not in ("smbios1", "net0", "description", "cipassword", "scsi0", "scsi1")
            },
            "disks": [re.sub(r"disk-\d+", "", vm.config.get(k, "")) for k in ("scsi0", "scsi1")],
            "password": vm.config.get("cipassword", "") != "",
            "uuid_is_ours": world.store.service(1).uuids[0] in vm.config.get("smbios1", ""),
            "mac_is_ours": world.store.service(1).mac in vm.config.get("net0", ""),
        }
        for vm in world.cluster.vms.values()
        if not vm.template
    }
    return {
        "vms": vms,
        "volumes": sorted(re.sub(r"disk-\d+|vzdump.*", "", v) for v in world.cluster.volumes),
        "mails": world.whmcs.mails(),
        "pending": [],
        "addresses": [(a["address"], a["service"], a["free_at"] is not None) for a in world.store.taken_addresses()],
        "states": [o.state.value for o in world.store.operations_of(None)],
        "content": {vm.vmid: vm.content for vm in world.cluster.vms.values()},
        "rolled back": sum(len(v.rolled_back) for v in world.cluster.vms.values()),
        "snapshots": [(r["description"], r["state"]) for r in world.store.snapshots_of(1)],
        "kept": sorted(len(v.snapshots) for v in world.cluster.vms.values()),
        "backups": [(r["note"], r["state"], r["local_date"]) for r in world.store.backups_of(1)],
        "archives": len([v for v in world.cluster.volumes if ":backup/" in v]),
        "birth": world.store.service(1).birth.restoring,
        "package": world.store.service(1).package,
        "waits": world.store.service(1).pending,
        "service": (world.store.service(1).desired, world.store.service(1).provisioned),
    }


@pytest.mark.parametrize(
    ("verb", "engine"),
    [pytest.param(verb, stores.SQLITE, marks=pytest.mark.matrix if verb in WITHIN else ()) for verb in SCENARIOS]
    + [
        pytest.param(verb, stores.POSTGRESQL, marks=() if verb in ON_POSTGRESQL else pytest.mark.matrix)
        for verb in SCENARIOS
    ],
    indirect=["engine"],
)
def test_killed_anywhere_ends_the_same(verb: str, engine: str, tmp_path: Path) -> None:
    world = prepared(tmp_path, verb)

    def end() -> tuple[dict[str, Any], int, list[str]]:
        clones = [p for m, p in world.cluster.mutations() if p.endswith("/clone")]
        unused = [k for vm in world.cluster.vms.values() for k in vm.config if k.startswith("unused")]
        return outcome(world), len(clones), unused

    (wanted, clones, unused), ends = killed_anywhere(world, tmp_path, world.run, end)
    assert wanted["states"][0] == "done"
    assert clones <= 1
    assert unused == []
    for (_, where), (ended, clones, unused) in ends.items():
        if where in REPEATED_MAIL:
            assert ended["mails"] == wanted["mails"] * 2
            ended["mails"] = wanted["mails"]
        assert ended == wanted, f"killed at {where}"
        assert clones <= (2 if "before" in where else 1), where
        assert unused == [], where
    world.close()
