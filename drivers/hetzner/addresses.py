"""Floating and primary IPs. They cost money with or without a server, so each has a name that a repeated create
collides with, and our label, which decides whose it is."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from bridge.errors import NotFound, Permanent, Protected, Refused
from bridge.model import Order
from drivers.hetzner import convert
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL, SERVER
from drivers.hetzner.errors import protected
from drivers.hetzner.images import of

Row = dict[str, Any]


def floating(api: Api, uuids: Collection[str]) -> list[Row]:
    """All of one machine, oldest first, assigned or not."""
    return sorted(api.pages("/floating_ips", "floating_ips", label_selector=of(uuids)), key=lambda f: int(f["id"]))


def shown(ips: Collection[Mapping[str, Any]]) -> list[str]:
    """An IPv6 one is a network of /64."""
    return [str(ipaddress.ip_network(f["ip"]) if "/" in f["ip"] else ipaddress.ip_address(f["ip"])) for f in ips]


def next_change(api: Api, order: Order, server: int, held: list[Row]) -> tuple[list[Row], str] | None:
    """The next step towards as many floating IPs as sold: (actions to await, what was done); None when it is so."""
    for family, count in ((4, order.package.extra_ipv4), (6, order.package.extra_ipv6)):
        mine = [f for f in held if f["type"] == f"ipv{family}"]
        for ip in mine[count:][::-1]:
            return remove(api, ip), f"extra_ipv{family}"
        for ip in mine:
            if ip["server"] != server:
                return [
                    api.post(f"/floating_ips/{ip['id']}/actions/assign", server=server)["action"]
                ], f"extra_ipv{family}"
        if len(mine) < count:
            return _add(api, order, server, family, mine), f"extra_ipv{family}"
    return None


def _add(api: Api, order: Order, server: int, family: int, mine: list[Row]) -> list[Row]:
    used = {f["name"] for f in mine}
    name = next(n for i in range(1, len(mine) + 2) if (n := f"{convert.name(order)}-f{family}-{i}") not in used)
    try:
        made = api.post(
            "/floating_ips",
            type=f"ipv{family}",
            server=server,
            name=name,
            description=order.label,
            labels={LABEL: order.uuid, SERVER: str(server)},
        )
    except Refused:  # the name is in use, though none of ours has it
        raise Permanent("Another address of the project has the name.", code="name_taken", detail=name) from None
    return [made["action"]] if made.get("action") else []


def take_off(api: Api, ip: Mapping[str, Any]) -> list[Row]:
    """A protected one is unassigned, so that its server can go, and stays for `remove`."""
    return remove(api, ip) if ip["server"] is not None or not ip["protection"]["delete"] else []


def remove(api: Api, ip: Mapping[str, Any], held: list[str] | None = None) -> list[Row]:
    """An assigned one cannot be removed: first it is unassigned; the actions to await before the next try, none when it
    is gone. One that is protected is added to `held`; without it Protected is raised."""
    with suppress(NotFound):
        if ip["server"] is not None:
            return [api.post(f"/floating_ips/{ip['id']}/actions/unassign")["action"]]
        what = f"floating IP {ip['ip']} ({ip['name']})"
        if ip["protection"]["delete"]:
            keep(what, held)
        else:
            api.delete(f"/floating_ips/{ip['id']}")
    return []


def keep(what: str, held: list[str] | None) -> None:
    if held is None:
        raise protected(what)
    held.append(what)


# -- a server's own addresses -----------------------------------------------------------------------
def primary(api: Api, uuids: Collection[str]) -> list[Row]:
    return list(api.pages("/primary_ips", "primary_ips", label_selector=of(uuids)))


def mark(api: Api, server: Mapping[str, Any], uuid: str, stay: bool = False) -> None:
    """Name and label by which they are ours. They go with their server, unless they are to `stay` for the service's
    next one."""
    for family in (4, 6):
        ip, name = server["public_net"][f"ipv{family}"], f"{server['name']}-p{family}"
        if not ip:
            continue
        values = {"name": name, "labels": {LABEL: uuid, SERVER: str(server["id"])}}
        try:
            try:
                api.put(f"/primary_ips/{ip['id']}", auto_delete=not stay, **values)
            except Protected:  # then it stays when its server goes, and is named at the end
                api.put(f"/primary_ips/{ip['id']}", **values)
        except Refused:
            raise Permanent("Another address of the project has the name.", code="name_taken", detail=name) from None


def drop(api: Api, uuids: Collection[str], held: list[str]) -> None:
    for ip in primary(api, uuids):
        if ip["assignee_id"]:
            continue
        if (ip.get("protection") or {}).get("delete"):
            keep(f"primary IP {ip['ip']} ({ip['name']})", held)
        else:
            with suppress(NotFound):
                api.delete(f"/primary_ips/{ip['id']}")
