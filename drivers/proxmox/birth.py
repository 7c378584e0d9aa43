"""A new machine: where there is room for it, the clone of its template, and the first write of its identity. What it
should be: goal.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bridge.errors import Busy, Capacity, NotFound, NotOurs, Permanent, Transient, Unlisted
from bridge.model import Order, Package, Placement, Planned, Sold, Vm, VmRef
from drivers.proxmox import choice, convert, proof, room, storages, tasks, templates
from drivers.proxmox.api import Api
from drivers.proxmox.errors import PRIVILEGE, ROOM
from drivers.proxmox.templates import Template


def place(
    api: Api,
    package: Package,
    planned: Sequence[Planned],
    sold: Sequence[Sold],
    overcommit: Mapping[str, float],
    full: Mapping[str, str],
) -> Placement:
    """The node with most room of those that have the template, the storage and the bridges. Raises Capacity where none
    has room, Unlisted or Transient where that cannot be told, Permanent where the plan or template is wrong."""
    rows = api.get("cluster/resources")
    wanted_node = package.location or package.options["node"]
    nodes = [r for r in rows if r.get("type") == "node" and wanted_node in ("", r["node"])]
    if not any(r.get("type") == "node" for r in rows):  # says nothing of the plan
        raise Unlisted(
            detail="the cluster lists no node: it is starting, or our token lacks Sys.Audit on /", next_action=PRIVILEGE
        )
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
    rooms = room.nodes(rows, planned, sold, overcommit)
    fits, why, lacking = [], [], True
    for node in nodes:
        name = node["node"]
        source = next(iter(sources.meant(name)), None) if node.get("status") == "online" else None
        reason = _unfit(package, rooms[name], source is not None, rows, planned) or full.get(name, "")
        lacking = lacking and source is None
        if reason:
            why.append(f"{name}: {reason}")
        elif source:
            fits.append((rooms[name].ram_free, name, source))
    if not fits:
        detail = "; ".join(why) or f"there is no node {wanted_node!r}"
        storages_there = {r.get("storage") for r in rows if r.get("type") == "storage"}
        down = any(
            r.get("type") == "node" and r.get("status") != "online" for r in rows
        )  # its templates have no names meanwhile
        if not why or (lacking and not down) or not storages_there >= set(room.storages(package)):
            raise Permanent(
                "The plan names a node, template or storage that is not there.", code="plan_impossible", detail=detail
            )
        raise Capacity(detail=detail, next_action=ROOM)
    best = sorted(fits, key=lambda f: f[:2], reverse=True)
    return _first_good(package, sources, ((name, sources.template(row)) for _, name, row in best))


def _first_good(package: Package, sources: choice.Choice, places: Iterable[tuple[str, Template]]) -> Placement:
    """The first place whose template can make what is sold and is free. Raises Permanent naming what is wrong with
    each, before anything is made; Busy where a good one is only being worked on."""
    why, held = [], []
    for node, source in places:
        faults = choice.fatal(sources.faults(source))
        if not faults and source.config.get("lock"):
            held.append(source)
        elif not faults:
            storage = package.options["storage"]
            word = storages.disk_format(sources.stores.get(storage), package.snapshots)
            return Placement(node, source.vm_id, storage, source.node, word)
        why += faults
    if held:
        templates.refuse_locked(sources.api, held[0])
    raise Permanent(
        "The template of this system cannot make what was ordered. Nothing was made.",
        code="template_unfit",
        detail=choice.words(why),
    )


def unseen(nodes: Iterable[Mapping[str, Any]]) -> str:
    """Nodes whose state the cluster does not know, though it does not say that they are down."""
    return f"the state of {', '.join(sorted(str(n['node']) for n in nodes))} is unknown (does pvestatd run there?)"


def create(api: Api, order: Order, placement: Placement) -> str:
    """`target` only for another node: on its own a template may be on local storage."""
    full = order.package.options["clone"] == "full"
    home = placement.source_node or placement.node
    try:
        task = api.post(
            f"nodes/{home}/qemu/{placement.source}/clone",
            newid=int(order.vm_id),
            name=order.hostname,
            description=convert.description(order),
            full=full,
            storage=placement.storage if full else None,
            format=placement.disk_format or None if full else None,
            target=placement.node if placement.node != home else None,
        )
    except Busy as e:  # the template's lock, not one of the machine that is to be made
        templates.refuse_locked(api, templates.read(api, home, placement.source))
        raise Busy(detail=e.detail) from None
    return str(task)


def find_create(api: Api, order: Order, placement: Placement, since: float) -> str:
    home = placement.source_node or placement.node
    begun = api.get(
        f"nodes/{home}/tasks",
        source="all",
        vmid=int(placement.source),
        typefilter="qmclone",
        since=int(since - tasks.CLOCK_SKEW),
        limit=500,
    )
    named = re.compile(rf"\bID {order.vm_id}\b")
    for task in begun:
        lines = api.get(f"nodes/{home}/tasks/{task['upid']}/log", limit=20)
        if any(named.search(str(line.get("t", ""))) for line in lines):
            return str(task["upid"])
    return ""


def identify(api: Api, order: Order, ref: VmRef) -> Vm:
    node, config = proof.config_of(api, ref)
    if config is None:
        raise NotFound("The machine is not there.", code="vm_absent")
    proof.refuse_locked(api, ref, node, config)
    if convert.uuid_of(config) != order.uuid:
        if order.uuid not in str(config.get("description", "")):
            raise NotOurs(detail=f"VM {ref.vm_id} does not carry the mark our clone wrote")
        api.put(
            f"nodes/{node}/qemu/{ref.vm_id}/config",
            smbios1=convert.with_uuid(str(config.get("smbios1", "")), order.uuid),
        )
    return Vm(ref.vm_id, node, "stopped", agent=bool(convert.AGENT_ON.match(str(config.get("agent", "")))))


def _unfit(
    package: Package,
    node: room.Node,
    has_template: bool,
    rows: list[dict[str, Any]],
    planned: Sequence[Planned],
) -> str:
    """Why a node cannot take the machine; empty when it can."""
    if node.status != "online":
        return f"node is {node.status}"
    if not has_template:
        return f"no template named {package.template!r}"
    if full := room.full(rows, node.name, room.storages(package), planned):
        return full
    if not node.ram_mib:
        return f"its memory is not told: our token lacks Sys.Audit on /nodes/{node.name}"
    short = node.short(package.ram_mib, package.cores, package.ram_mib, package.cores)
    return short[1] if short else ""
