"""What can outlive a server and costs: snapshots and floating addresses that carry our label. Kept backups are meant to
stay."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from bridge.errors import NotFound, NotOurs
from bridge.model import Leftover
from drivers.hetzner import addresses, images
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL, SERVER

LISTINGS = {
    "snapshots": ("/images", {"type": "snapshot", "label_selector": f"{LABEL},{images.SNAPSHOT}"}),
    "floating_ips": ("/floating_ips", {"label_selector": f"{LABEL},{SERVER}"}),
}


def listed(api: Api, vm_ids: Collection[str], listing: str) -> list[Leftover]:
    path, query = LISTINGS[listing]
    rows = api.pages(path, path.strip("/"), **query)
    return [_leftover(r, listing) for r in rows if _machine(r, listing) in vm_ids]


def _machine(row: dict[str, Any], listing: str) -> str:
    if listing == "floating_ips":
        return str(row["labels"][SERVER])
    return str((row.get("created_from") or {}).get("id", ""))


def _leftover(row: dict[str, Any], listing: str) -> Leftover:
    made = datetime.fromisoformat(row["created"]).timestamp()
    kind, size = ("floating", 0) if listing == "floating_ips" else ("snapshot", images.size(row))
    return Leftover(
        kind, _machine(row, listing), str(row["id"]), listing, size, made, bool(row["protection"]["delete"])
    )


def remove(api: Api, leftover: Leftover, uuids: Collection[str]) -> list[dict[str, Any]]:
    """The actions to await before the next try; none when it is gone. Raises NotOurs."""
    path = LISTINGS[leftover.listing][0]
    try:
        row = api.get(f"{path}/{int(leftover.name)}")[path.strip("/").removesuffix("s")]
    except NotFound:
        return []
    if row["labels"].get(LABEL) not in uuids:
        raise NotOurs(detail=f"{leftover.kind} {leftover.name} carries another label")
    if leftover.kind == "floating":
        return addresses.remove(api, row)
    images.remove(api, row)
    return []
