"""The end of a server, and of what would outlast it."""

from __future__ import annotations

from typing import Any

from bridge.errors import NotFound
from bridge.model import VmRef
from drivers.hetzner import addresses, images, proof, tasks, walls
from drivers.hetzner.api import Api
from drivers.hetzner.errors import protected

REST_GONE = (
    "The server is removed, and what went with it; what is named is protected against removal and goes on costing."
)


def destroy(api: Api, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
    """Floating IPs first, which a deleted server would leave behind unassigned; the newest backup becomes a
    snapshot where backups are to stay, since all of them go with their server."""
    server = proof.proven(api, ref)
    if server is None:
        return ""
    sid = int(server["id"])
    proof.unprotected(server)
    if "addresses" in keep:
        addresses.mark(api, server, ref.uuids[0], stay=True)
    elif waiting := [a for ip in addresses.floating(api, ref.uuids) for a in addresses.take_off(api, ip)]:
        return tasks.of(sid, waiting)
    if "backups" in keep:
        images.keep_newest(api, str(sid), ref.uuids[0])
    try:
        return tasks.of(sid, [api.delete(f"/servers/{sid}")["action"]])
    except NotFound:
        return ""


def sweep(api: Api, ref: VmRef, keep: frozenset[str] = frozenset()) -> str:
    """What is protected is named last, when all else is gone."""
    waiting: list[dict[str, Any]] = []
    held: list[str] = []
    if "addresses" not in keep:
        floating = addresses.floating(api, ref.uuids)
        waiting = [a for ip in floating for a in addresses.remove(api, ip, held)]
        addresses.drop(api, ref.uuids, held)
    for image in images.listed(api, ref.uuids):
        images.remove(api, image, held)
    if "addresses" not in keep:  # a redeploy goes on with it
        walls.remove(api, ref.uuids)
    if not waiting and held:
        raise protected(", ".join(held), REST_GONE)
    return tasks.of(0, waiting) if waiting else ""
