"""What is refused before it has begun leaves nothing behind. For every recipe with a point of no return: refused at
each call up to that point -> same power, same data, same records, and the customer can go on; or it ends right by
itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge import customer, retries
from bridge.model import Capability, State
from tests.configs import raw_config
from tests.hcloud.project import Fault as CloudFault
from tests.pve.cluster import Fault
from tests.slices import covering
from tests.test_crashes import ask
from tests.test_hetzner import PLAN, Cloud, one
from tests.world import World

Order = tuple[str, dict[str, Any]]
Call = tuple[str, str, int]  # method, path, number
TAKE: Order = ("snapshots/take", {"description": "d"})
BACKUP: Order = ("backups/take", {"note": "n"})
AFRESH = {"template": "ubuntu-24.04", "confirm": "REINSTALL"}


@dataclass(frozen=True)
class Deed:
    """`until`: METHOD and path of the call from which on there is no way back; it too can be refused."""

    verb: str
    until: str
    before: tuple[Order, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)
    powers: tuple[str, ...] = ("on", "off")


# -- Proxmox ------------------------------------------------------------------------------------------
PVE = (
    Deed("backups/restore", r"POST /nodes/\w+/qemu", (TAKE, BACKUP)),
    Deed("reinstall/reinstall", r"POST .*/config", (TAKE,), AFRESH),
    Deed("snapshots/rollback", r"POST .*/rollback", (TAKE,)),
    Deed("snapshots/take", r"POST .*/snapshot"),
    Deed("snapshots/delete", r"DELETE .*/snapshot/.*", (TAKE,)),
    Deed("backups/take", r"POST .*/vzdump"),
    Deed("backups/delete", r"DELETE .*/content/.*", (BACKUP,)),
    Deed("change_package", r"PUT .*/config", values={"configoption1": "kvm-l"}),
    Deed("redeploy", r"DELETE /nodes/\w+/qemu/\d+", (TAKE,)),
    Deed("reset_password/reset", r"PUT .*/config"),
    Deed("change_password", r"PUT .*/config", values={"password": "Another-pass-2"}),
    Deed("start", r"POST .*/status/start", powers=("off",)),
    Deed("stop", r"POST .*/status/shutdown", powers=("on",)),
    Deed("reboot", r"POST .*/status/reboot", powers=("on",)),
    Deed("hard_stop", r"POST .*/status/stop", powers=("on",)),
)
REFUSALS: dict[str, dict[str, Any]] = {
    "403": {"kind": "status", "status": 403, "reason": "Permission check failed (/vms/20000, VM.Backup)"},
    "500": {"kind": "status", "status": 500, "reason": "storage 'nfs-backup' is not online"},
    "400": {"kind": "status", "status": 400, "reason": "Parameter verification failed."},
    "task": {"kind": "fail_task", "reason": "unable to open archive: Input/output error", "early": True},
}


def prepared(path: Path, deed: Deed, power: str) -> World:
    raw = raw_config()
    raw["plans"]["kvm-s"]["templates"] = ["debian-12", "ubuntu-24.04"]
    raw["plans"]["kvm-l"] = {**raw["plans"]["kvm-s"], "cores": 4, "ram_mib": 8192, "disk_gib": 40}
    world = World(path, plans=raw["plans"], web={"costly_per_hour": 100})
    first = [("create", {}), *([("stop", {})] if power == "off" else [])]
    for verb, values in (*first, *deed.before):
        ask(world, verb, values)
        world.run()
        world.clock.time += 61
    world.cluster.vms[20000].content["scsi0"] = "precious"
    world.cluster.calls.clear()
    return world


def state(world: World) -> dict[str, Any]:
    """Power, data and records, as the cluster and the store have them."""
    vm, s = world.cluster.vms[20000], world.store.service(1)
    return {
        "power": vm.status,
        "content": dict(vm.content),
        "config": {k: v for k, v in vm.config.items() if k not in ("lock", "parent")},
        "snapshots": {n: x["snapstate"] for n, x in vm.snapshots.items()},
        "volumes": sorted(world.cluster.volumes),
        **records(world),
        "machine": (s.vm_id, s.uuids),
    }


def records(world: World) -> dict[str, Any]:
    s = world.store.service(1)
    return {
        "template": s.package.template,
        "build": {
            k: v
            for k, v in s.birth.stored().items()
            if k in ("restoring", "anew", "offline", "closed", "ran_before", "disks")
        },
        "rows": [(r["name"], r["state"]) for r in world.store.snapshots_of(1)],
        "backups": [(r["archive"], r["state"]) for r in world.store.backups_of(1)],
        "mails": [m for m in world.whmcs.mails() if "failed" not in str(m) and "could not" not in str(m)],
    }


def refusable(world: World, deed: Deed, calls: Callable[[World], list[tuple[str, str]]]) -> list[Call]:
    """Each call up to the point of no return."""
    ask(world, deed.verb, deed.values)
    world.run()
    assert world.store.operations_of(1)[0].state is State.DONE
    answerable = []
    for number, (method, path) in enumerate(calls(world), 1):
        answerable.append((method, path, number))
        if re.fullmatch(deed.until, f"{method} {path}"):
            return answerable
    raise AssertionError(f"{deed.verb}: no call {deed.until}")


def chosen(calls: list[Call], kinds: Sequence[str], turn: int, whole: bool) -> list[tuple[Call, str]]:
    """Each change with each refusal; of the reads, which are many and much the same, each with the next of them."""
    reads = covering(kinds, [call for call in calls if call[0] == "GET"], 1, turn)
    return [(call, kind) for call in calls for kind in (reads[call] if call in reads and not whole else kinds)]


def of(deeds: Sequence[Deed]) -> list[Any]:
    """(deed, power, turn, whole)."""
    places = [(deed, power, d + p) for d, deed in enumerate(deeds) for p, power in enumerate(deed.powers)]
    return [
        *(pytest.param(d, p, turn, False, id=f"{d.verb}-{p}") for d, p, turn in places),
        *(pytest.param(d, p, 0, True, id=f"{d.verb}-{p}-whole", marks=pytest.mark.matrix) for d, p, _ in places),
    ]


def pve_calls(world: World) -> list[tuple[str, str]]:
    return [(m, p) for _, m, p, _ in world.cluster.calls]


@pytest.mark.parametrize(("deed", "power", "turn", "whole"), of(PVE))
def test_refused_before_it_began(
    deed: Deed, power: str, turn: int, whole: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = prepared(tmp_path_factory.mktemp("calls"), deed, power)
    todo = chosen(refusable(world, deed, pve_calls), [n for n in REFUSALS if n != "task"], turn, whole)
    todo += [(call, "task") for call in dict(todo) if call[0] not in ("GET", "PUT")]
    for (method, path, number), name in todo:
        fault = REFUSALS[name]
        if world.store.operations_of(1)[0].state is State.DONE:  # else all is as it was, which is what is shown here
            world.close()
            world = prepared(tmp_path_factory.mktemp("refused"), deed, power)
        before, where = state(world), (name, method, path)
        if method == "GET":  # as long as it is tried
            world.cluster.faults = [Fault(nth=number, times=retries.QUICK_TRIES + 1 if name == "500" else 1, **fault)]
        else:
            world.cluster.faults = [Fault(method=method, path=f"{re.escape(path)}$", times=10**6, **fault)]
        ask(world, deed.verb, deed.values)
        world.run(8000)
        world.cluster.faults = []
        if world.store.operations_of(1)[0].state is not State.DONE:
            left_nothing(world, where)
            assert state(world) == before, where
    goes_on(world, lambda w: str(w.cluster.vms[20000].status), "running")
    world.close()


def left_nothing(world: World, where: object) -> None:
    """It is told, and neither a new password nor anything that is in the way of the next order has stayed."""
    last, s = world.store.operations_of(1)[0], world.store.service(1)
    assert last.state is State.FAILED, (where, last)
    assert last.error_code, (where, last)
    assert last.next_action, (where, last)
    assert world.store.password(1) == "" or last.kind == "change_password", where
    why = customer.reason(
        s, Capability.POWER, world.drivers, world.store.current_operation(1), world.store, world.config
    )
    assert why == "", where
    assert [e for e in world.store.events() if e["event"] in ("staff_notice", "backup_failed")], where


def goes_on(world: World, power: Callable[[Any], str], on: str) -> None:
    """Ordinary orders are taken and do what they say, whatever was refused before."""
    for verb in ("start", "reboot", "suspend", "unsuspend"):
        world.order(verb)
        world.run()
        last = world.store.operations_of(1)[0]
        assert last.kind == verb, (verb, last.error_text)
        assert last.state is State.DONE, (verb, last.error_text)
    assert power(world) == on


def test_an_unsuspend_that_is_refused_can_be_repeated(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It has no way back, the customer has paid: it goes as far as it can."""
    for path, name in [(p, n) for p in (r"PUT .*/config", r"POST .*/status/start") for n in REFUSALS if n != "task"]:
        world = prepared(tmp_path_factory.mktemp("refused"), Deed("unsuspend", "", (("suspend", {}),)), "on")
        method, _, where = path.partition(" ")
        world.cluster.faults = [Fault(method=method, path=where, times=10**6, **REFUSALS[name])]
        world.order("unsuspend")
        world.run(8000)
        assert world.store.operations_of(1)[0].state is State.FAILED, (path, name)
        assert (world.cluster.vms[20000].status == "running") == (method == "PUT")
        world.cluster.faults = []
        world.order("unsuspend")
        world.run()
        goes_on(world, lambda w: str(w.cluster.vms[20000].status), "running")
        assert world.cluster.vms[20000].content == {"scsi0": "precious"}
        world.close()


# -- Hetzner Cloud ------------------------------------------------------------------------------------
SOLD = {
    **{k: v for k, v in PLAN.items() if k != "server"},
    "snapshots": 2,
    "backups": 7,
    "allow": ["reinstall", "snapshots", "backups", "reset_password"],
}
CLOUD = (
    Deed("backups/restore", r"POST .*/rebuild", (TAKE, BACKUP)),
    Deed("reinstall/reinstall", r"POST .*/rebuild", (TAKE,), AFRESH),
    Deed("snapshots/rollback", r"POST .*/rebuild", (TAKE,)),
    Deed("snapshots/take", r"POST .*/create_image"),
    Deed("snapshots/delete", r"DELETE /images/\d+", (TAKE,)),
    Deed("backups/take", r"POST .*/create_image"),
    Deed("backups/delete", r"DELETE /images/\d+", (BACKUP,)),
    Deed("redeploy", r"DELETE /servers/\d+", (TAKE,)),
    Deed("reset_password/reset", r"POST .*/reset_password", powers=("on",)),
    Deed("start", r"POST .*/poweron", powers=("off",)),
    Deed("stop", r"POST .*/shutdown", powers=("on",)),
    Deed("reboot", r"POST .*/reboot", powers=("on",)),
    Deed("hard_stop", r"POST .*/poweroff", powers=("on",)),
)
CODES = ("forbidden", "protected", "conflict", "invalid_input")


def cloud(path: Path, deed: Deed, power: str) -> Cloud:
    world = Cloud(path, **SOLD)
    first = [("create", {}), *([("stop", {})] if power == "off" else [])]
    for verb, values in (*first, *deed.before):
        ask(world, verb, values)
        world.run()
        world.clock.time += 61
    one(world).content = "precious"
    world.cloud.calls.clear()
    return world


def cloud_state(world: Cloud) -> dict[str, Any]:
    server = one(world)
    return {
        "power": server.status,
        "disk": (server.content, server.image, server.kind, server.window),
        "images": sorted((i.id, i.type, i.status) for i in world.cloud.images.values()),
        **records(world),
    }


@pytest.mark.parametrize(("deed", "power", "turn", "whole"), of(CLOUD))
def test_refused_in_the_cloud_before_it_began(
    deed: Deed, power: str, turn: int, whole: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    world = cloud(tmp_path_factory.mktemp("calls"), deed, power)
    todo = refusable(world, deed, lambda w: [(m, p) for m, p, _ in w.cloud.calls])
    for (method, path, number), code in chosen(todo, CODES, turn, whole):
        if world.store.operations_of(1)[0].state is State.DONE:
            world.close()
            world = cloud(tmp_path_factory.mktemp("refused"), deed, power)
        world.clock.time += 3600  # customers may ask for it so often in an hour
        before, where = cloud_state(world), (code, method, path)
        every, call = (".*", number) if method == "GET" else (f"{method} {re.escape(path)}", 1)
        world.cloud.faults = [CloudFault(every, code, call) for _ in range(1 if method == "GET" else 400)]
        ask(world, deed.verb, deed.values)
        world.run(8000)
        world.cloud.faults = []
        if world.store.operations_of(1)[0].state is not State.DONE:
            left_nothing(world, where)
            assert cloud_state(world) == before, where
    goes_on(world, lambda w: str(one(w).status), "running")
    world.close()
