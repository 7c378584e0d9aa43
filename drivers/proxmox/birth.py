"""A new machine: where there is room for it, the clone of its template, and the first write of its identity. What it should be: goal.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bridge.errors import Capacity, NotFound, NotOurs, Permanent
from bridge.model import Order, Package, Placement, Planned, Vm, VmRef
from drivers.proxmox import convert, proof, tasks, templates
from drivers.proxmox.api import Api
from drivers.proxmox.errors import ROOM


def place(api: Api, package: Package, planned: Sequence[Planned]) -> Placement:
    rows = api.get("cluster/resources")
    wanted_node = package.location or package.options["node"]
    known = {
        r["node"]: str(r["vmid"])
        for r in rows
        if r.get("type") == "qemu" and int(r.get("template") or 0) and r.get("name") == package.template
    }
    promised = {p.vm_id for p in planned}  # counted with what they will have, whatever the bulk read says of them now
    fits, why = [], []
    for node in (r for r in rows if r.get("type") == "node"):
        name = node["node"]
        if wanted_node and name != wanted_node:
            continue
        free = (
            int(node.get("maxmem") or 0) // convert.MIB
            - sum(p.package.ram_mib for p in planned if p.node == name)
            - sum(
                int(r.get("maxmem") or 0) // convert.MIB
                for r in rows
                if r.get("type") in ("qemu", "lxc")
                and r.get("node") == name
                and not int(r.get("template") or 0)
                and str(r["vmid"]) not in promised
            )
        )
        reason = _unfit(package, name, node, known, rows, free, planned)
        if reason:
            why.append(f"{name}: {reason}")
        else:
            fits.append((free, name))
    if not fits:
        detail = "; ".join(why) or f"there is no node {wanted_node!r}"
        storages = {r.get("storage") for r in rows if r.get("type") == "storage"}
        down = any(
            r.get("type") == "node" and r.get("status") != "online" for r in rows
        )  # its templates have no names meanwhile
        if not why or not (known or down) or not storages >= set(_storages(package)):
            raise Permanent(
                "The plan names a node, template or storage that is not there.", code="plan_impossible", detail=detail
            )
        raise Capacity(detail=detail, next_action=ROOM)
    return _first_good(api, package, [(name, known[name]) for _, name in sorted(fits, reverse=True)])


def _first_good(api: Api, package: Package, places: list[tuple[str, str]]) -> Placement:
    """The first place whose template can make what is sold. Raises Permanent naming what is wrong with each, before anything is made."""
    why = []
    for node, source in places:
        fault = templates.fatal(templates.read(api, node, source), package)
        if not fault:
            return Placement(node, source, package.options["storage"])
        why.append(fault)
    raise Permanent(
        "The template of this system cannot make what was ordered. Nothing was made.",
        code="template_unfit",
        detail="; ".join(dict.fromkeys(why)),
    )


def create(api: Api, order: Order, placement: Placement) -> str:
    full = order.package.options["clone"] == "full"
    task = api.post(
        f"nodes/{placement.node}/qemu/{placement.source}/clone",
        newid=int(order.vm_id),
        name=order.hostname,
        description=convert.description(order),
        full=full,
        storage=placement.storage if full else None,
    )
    return str(task)


def find_create(api: Api, order: Order, placement: Placement, since: float) -> str:
    found = api.get(
        f"nodes/{placement.node}/tasks",
        source="all",
        vmid=int(placement.source),
        typefilter="qmclone",
        since=int(since - tasks.CLOCK_SKEW),
        limit=500,
    )
    named = re.compile(rf"\bID {order.vm_id}\b")
    for task in found:
        lines = api.get(f"nodes/{placement.node}/tasks/{task['upid']}/log", limit=20)
        if any(named.search(str(line.get("t", ""))) for line in lines):
            return str(task["upid"])
    return ""


def identify(api: Api, order: Order, ref: VmRef) -> Vm:
    node, config = proof.config_of(api, ref)
    if config is None:
        raise NotFound("The machine is not there.", code="vm_absent")
    proof.refuse_locked(node, config)
    if convert.uuid_of(config) != order.uuid:
        if order.uuid not in str(config.get("description", "")):
            raise NotOurs(detail=f"VM {ref.vm_id} does not carry the mark our clone wrote")
        api.put(
            f"nodes/{node}/qemu/{ref.vm_id}/config",
            smbios1=convert.with_uuid(str(config.get("smbios1", "")), order.uuid),
        )
    return Vm(ref.vm_id, node, "stopped", agent=bool(convert.AGENT_ON.match(str(config.get("agent", "")))))


def _storages(package: Package) -> dict[str, int]:
    """Storage -> GiB that the package's disks take on it."""
    settings = package.options
    need = {settings["storage"]: package.disk_gib}
    if package.additional_disk_gib:
        other = settings["additional_storage"] or settings["storage"]
        need[other] = need.get(other, 0) + package.additional_disk_gib
    return need


def _unfit(
    package: Package,
    name: str,
    node: dict[str, Any],
    known: dict[str, str],
    rows: list[dict[str, Any]],
    free_mib: int,
    planned: Sequence[Planned],
) -> str:
    """Why a node cannot take the machine; empty when it can."""
    if node.get("status") != "online":
        return f"node is {node.get('status', 'unknown')}"
    if name not in known:
        return f"no template named {package.template!r}"
    for storage, gib in _storages(package).items():
        store = next(
            (r for r in rows if r.get("type") == "storage" and (r.get("storage"), r.get("node")) == (storage, name)),
            None,
        )
        if store is None or store.get("status") != "available":
            return f"storage {storage!r} is not available"
        shared = bool(int(store.get("shared") or 0))
        promised = sum(_storages(p.package).get(storage, 0) for p in planned if shared or p.node == name)
        room = (int(store.get("maxdisk") or 0) - int(store.get("disk") or 0)) // 1024**3 - promised
        if room < gib:
            return f"storage {storage!r} has {max(room, 0)} GiB free, {gib} needed"
    if free_mib < package.ram_mib:
        return f"{max(free_mib, 0)} MiB of memory free, {package.ram_mib} needed"
    return ""
