"""Machines as they stand in the cluster, whoever's they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from bridge.errors import NotFound, Refused
from bridge.model import Machine, VmRef
from drivers.proxmox import convert, firewall, goal, proof
from drivers.proxmox.api import Api


def inspect(api: Api, vm_id: str, node: str = "") -> Machine:
    node, config = proof.config_of(api, VmRef(vm_id, (), node))
    if config is None:
        raise NotFound(f"There is no VM {vm_id} on this server.", code="vm_absent")
    if int(config.get("template") or 0):
        raise Refused(f"VM {vm_id} is a template.", code="is_template")
    claimed = convert.claimed_addresses(config) + firewall.claimed_addresses(api, f"nodes/{node}/qemu/{vm_id}")
    return Machine(
        vm_id,
        node,
        convert.uuid_of(config),
        str(config.get("name", "")),
        convert.mac_of(config),
        tuple(dict.fromkeys(claimed)),
        convert.volumes(config),
        config,
    )


def claiming(api: Api, own: Sequence[tuple[int, int]], vm_ids: Collection[str]) -> list[Machine]:
    machines = []
    for row in api.get("cluster/resources", type="vm"):
        vm_id, tags = str(row["vmid"]), re.split(r"[;, ]+", str(row.get("tags") or "").lower())
        if vm_id not in vm_ids or row.get("type") != "qemu" or int(row.get("template") or 0):
            continue
        if goal.TAG in tags or any(a <= int(vm_id) <= b for a, b in own):
            machines.append(Machine(vm_id, str(row["node"]), "", str(row.get("name") or ""), ""))
    return machines
