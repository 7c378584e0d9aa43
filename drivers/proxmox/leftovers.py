"""What destroyed machines leave on Proxmox VE: volumes and archives on storages, and firewall files. No proof in here:
the driver proves that the machine is gone."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from bridge.errors import NeedsOperator, Transient, UpstreamError
from bridge.model import Leftover
from drivers.proxmox.api import Api
from drivers.proxmox.convert import archive_owner

DISK = re.compile(
    r"[:/]vm-(\d+)-[^/:]+\Z"
)  # also below a template's directory: `st:9000/base-9000-disk-0.qcow2/100/vm-100-disk-0.qcow2`


def listings(api: Api) -> list[str]:
    """`node/storage` of each storage for disks or archives; a shared one once, on the first node that has it."""
    places: dict[tuple[str, str], str] = {}
    for row in sorted(api.get("cluster/resources", type="storage"), key=lambda r: (r["storage"], r["node"])):
        wanted = {"images", "backup"} & set(str(row.get("content") or "images").split(","))
        if row.get("status") == "available" and wanted:
            place = "" if int(row.get("shared") or 0) else row["node"]
            places.setdefault((row["storage"], place), f"{row['node']}/{row['storage']}")
    return list(places.values())


def kept(api: Api, vm_ids: Collection[str], listing: str) -> list[Leftover]:
    """Volumes and archives of one listing; only a single id is left to the server to filter."""
    node, storage = listing.split("/", 1)
    wanted, only = set(vm_ids), {"vmid": int(next(iter(vm_ids)))} if len(vm_ids) == 1 else {}
    archives = []
    for row in api.get(f"nodes/{node}/storage/{storage}/content", **only):
        name = str(row["volid"])
        disk, backup = DISK.search(name), archive_owner(name)
        vm_id = backup or (disk.group(1) if disk else "")
        if vm_id in wanted and str(row.get("vmid", vm_id)) == vm_id:
            archives.append(
                Leftover(
                    "backup" if backup else "disk",
                    vm_id,
                    name,
                    listing,
                    int(row.get("size") or 0),
                    float(row.get("ctime") or 0),
                    bool(int(row.get("protected") or 0)),
                )
            )
    return archives


def firewalls(api: Api, vm_ids: Collection[str]) -> list[Leftover]:
    """Firewall files of machines that are gone; the API answers for any id, with nothing in it when there is no
    file."""
    if not vm_ids:
        return []
    node = _node(api)
    return [
        Leftover("firewall", v, f"{v}.fw") for v in vm_ids if any(_contents(api, f"nodes/{node}/qemu/{v}/firewall"))
    ]


def _node(api: Api) -> str:
    online = [r["name"] for r in api.get("cluster/status") if r.get("type") == "node" and int(r.get("online") or 0)]
    if not online:
        raise Transient("No node is online; this goes on when one is.", detail="as cluster/status says")
    return str(min(online))


def _contents(api: Api, base: str) -> tuple[dict[str, Any], list[Any], list[Any], list[Any]]:
    """(options, rules, sets, aliases)"""
    options = {k: v for k, v in api.get(f"{base}/options").items() if k != "digest"}
    return options, api.get(f"{base}/rules"), api.get(f"{base}/ipset"), api.get(f"{base}/aliases")


def remove(api: Api, leftover: Leftover) -> str:
    if leftover.kind == "firewall":
        _remove_firewall(api, f"nodes/{_node(api)}/qemu/{leftover.vm_id}/firewall")
        return ""
    node, storage = leftover.listing.split("/", 1)
    try:
        return str(api.delete(f"nodes/{node}/storage/{storage}/content/{leftover.name}") or "")
    except UpstreamError as e:
        if (
            e.code == "upstream_privilege"
        ):  # a disk without a machine needs Datastore.Allocate, which many will not give
            raise NeedsOperator(f"pvesm free {leftover.name}", node, e.detail) from None
        raise


def _remove_firewall(api: Api, base: str) -> None:
    """PVE removes the file with the last thing in it. Rules first: they name sets and aliases."""
    options, rules, sets, aliases = _contents(api, base)
    for position in range(len(rules) - 1, -1, -1):
        api.delete(f"{base}/rules/{position}")
    for row in sets:
        api.delete(f"{base}/ipset/{row['name']}", force=True)
    for row in aliases:
        api.delete(f"{base}/aliases/{row['name']}")
    if options:
        api.put(f"{base}/options", delete=",".join(sorted(options)))
