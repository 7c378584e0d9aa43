"""A new machine: where there is room for it, the clone of its template, and the first write of its identity. What it should be: goal.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bridge.errors import Capacity, NotFound, NotOurs, Permanent, Transient
from bridge.model import Order, Package, Placement, Planned, Vm, VmRef
from drivers.proxmox import choice, convert, proof, storages, tasks
from drivers.proxmox.api import Api
from drivers.proxmox.errors import ROOM
from drivers.proxmox.templates import Template


def place(api: Api, package: Package, planned: Sequence[Planned]) -> Placement:
    rows = api.get("cluster/resources")
    wanted_node = package.location or package.options["node"]
    nodes = [r for r in rows if r.get("type") == "node" and wanted_node in ("", r["node"])]
    if nodes and all(r.get("status") == "unknown" for r in nodes):
        raise Transient(detail=f"{unseen(nodes)}: how much room there is cannot be told")
    sources = choice.Choice(api, rows, package)
    faults = choice.of_plan(package, sources.stores)
    faults += [f for r in nodes if r.get("status") == "online" and (f := sources.ambiguous(r["node"]))]
    if faults:
        raise Permanent(
            "The plan cannot be delivered as it stands. Nothing was made.",
            code="plan_impossible",
            detail=choice.words(faults),
        )
    promised = {p.vm_id for p in planned}  # counted with what they will have, whatever the bulk read says of them now
    fits, why, faulty, lasting = [], [], [], 0
    for node in nodes:
        name = node["node"]
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
        online = node.get("status") == "online"
        source = next(iter(sources.on(name)), None) if online else None
        bad = choice.fatal(sources.faults(source)) if source else []
        faulty += bad
        reason = "; ".join(f.text for f in bad) or _unfit(package, name, node, source, rows, free, planned)
        if reason:
            why.append(f"{name}: {reason}")
            lasting += bool(bad) or (online and source is None)
        elif source:
            fits.append((free, name, source))
    if not fits:
        detail = "; ".join(why) or f"there is no node {wanted_node!r}"
        if faulty and lasting == len(nodes):
            raise Permanent(
                "The template of this system cannot make what was ordered. Nothing was made.",
                code="template_unfit",
                detail=choice.words(faulty),
            )
        storages_there = {r.get("storage") for r in rows if r.get("type") == "storage"}
        down = any(
            r.get("type") == "node" and r.get("status") != "online" for r in rows
        )  # its templates have no names meanwhile
        if not why or not (sources.rows or down) or not storages_there >= set(_storages(package)):
            raise Permanent(
                "The plan names a node, template or storage that is not there.", code="plan_impossible", detail=detail
            )
        raise Capacity(detail=detail, next_action=ROOM)
    _, best, source = max(fits, key=lambda f: f[:2])
    return Placement(best, source.vm_id, package.options["storage"], source.node)


def unseen(nodes: Iterable[Mapping[str, Any]]) -> str:
    """Nodes whose state the cluster does not know, though it does not say that they are down."""
    return f"the state of {', '.join(sorted(str(n['node']) for n in nodes))} is unknown (does pvestatd run there?)"


def create(api: Api, order: Order, placement: Placement) -> str:
    """`target` only for another node: on its own a template may be on local storage."""
    full = order.package.options["clone"] == "full"
    home = placement.source_node or placement.node
    kind = storages.of(api, placement.storage) if full and order.package.snapshots else None
    task = api.post(
        f"nodes/{home}/qemu/{placement.source}/clone",
        newid=int(order.vm_id),
        name=order.hostname,
        description=convert.description(order),
        full=full,
        storage=placement.storage if full else None,
        format=storages.disk_format(kind, order.package.snapshots) or None,
        target=placement.node if placement.node != home else None,
    )
    return str(task)


def find_create(api: Api, order: Order, placement: Placement, since: float) -> str:
    home = placement.source_node or placement.node
    found = api.get(
        f"nodes/{home}/tasks",
        source="all",
        vmid=int(placement.source),
        typefilter="qmclone",
        since=int(since - tasks.CLOCK_SKEW),
        limit=500,
    )
    named = re.compile(rf"\bID {order.vm_id}\b")
    for task in found:
        lines = api.get(f"nodes/{home}/tasks/{task['upid']}/log", limit=20)
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
    source: Template | None,
    rows: list[dict[str, Any]],
    free_mib: int,
    planned: Sequence[Planned],
) -> str:
    """Why a node cannot take the machine; empty when it can."""
    if node.get("status") != "online":
        return f"node is {node.get('status', 'unknown')}"
    if source is None:
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
