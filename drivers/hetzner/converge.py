"""Changing what differs from the order. What differs is decided in goal.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.errors import Capacity
from bridge.model import Converged, Order, Seen, VmRef
from drivers.hetzner import addresses, goal, isolation, named, proof, tasks, walls
from drivers.hetzner.api import Api

OFF_AGAIN_AFTER = (
    4 * 3600.0
)  # seconds: the provider says only of a server that is off whether there is room for its new type


def step(api: Api, order: Order, ref: VmRef) -> Converged:
    """One change at a time, each with an action to wait for."""
    server = proof.present(api, ref)
    floating, sid = addresses.floating(api, ref.uuids), int(server["id"])
    differs = {d.word: d for d in goal.compare(order, goal.seen(server), server["status"] != "off") if not d.same}
    refused = tuple(f"{d.word}: {d.refused}" for d in differs.values() if d.refused)
    retype = "server_type" in differs and not refused
    grows = retype and goal.retyping(
        order, server, named.kind_of(api, order.package.options["server_type"])
    )  # known before anything is changed
    if not order.frozen and (change := addresses.next_change(api, order, sid, floating)):
        return Converged(tasks.of(sid, change[0]), (change[1],), refused, more=True)
    if not order.frozen and (name := goal.renamed(order, server)):
        api.put(f"/servers/{sid}", name=name)
        return Converged(changed=("name",), refused=refused, more=True)
    if order.autostart and not order.frozen and (missing := _firewalls_missing(api, order, server)):
        return Converged(tasks.of(sid, missing), ("firewalls",), refused, more=True)
    if order.birth and not order.frozen and (network := _network_missing(api, order, server)):
        return Converged(tasks.act(api, sid, "attach_to_network", network=network), ("networks",), refused, more=True)
    if "backups" in differs and order.package.backups:
        return Converged(tasks.act(api, sid, "enable_backup"), ("backups",), refused, more=True)
    seen = Seen(goal.seen(server), node=server["location"]["name"], floating=tuple(addresses.shown(floating)))
    if "backups" in differs:
        refused = (*refused, differs["backups"].warning)
    if not retype:
        return Converged(refused=refused, seen=seen)
    if server["status"] != "off":
        return Converged(
            refused=refused,
            offline="server_type: the server has to be off for it; a change of package switches it off and on",
            seen=seen,
        )
    changed = ("server_type", "disk_gib") if grows else ("server_type",)
    try:
        task = tasks.act(api, sid, "change_type", server_type=order.package.options["server_type"], upgrade_disk=grows)
    except Capacity as e:
        e.retry_after = OFF_AGAIN_AFTER
        raise
    return Converged(task, changed, more=True, starts=True)


def _firewalls_missing(api: Api, order: Order, server: Mapping[str, Any]) -> list[dict[str, Any]]:
    now = isolation.applied(server)
    wanted = [named.id_of(api, "/firewalls", n) for n in order.package.options["firewalls"]]
    own = walls.missing(api, order.uuid, order.uuids, server) if order.package.options["own_firewall"] else []
    return own + [a for i in wanted if i not in now for a in isolation.change(api, i, server, "apply_to")]


def _network_missing(api: Api, order: Order, server: Mapping[str, Any]) -> int:
    """The id of one that came with the create and is not there; 0 when there is none. Later ones are staff's to
    change."""
    wanted = order.package.options["networks"]
    now = [int(n["network"]) for n in server.get("private_net") or ()] if wanted else []
    return next((i for n in wanted if (i := named.id_of(api, "/networks", n)) not in now), 0)
