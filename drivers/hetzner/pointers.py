"""Reverse records: of a server's IPv4 address, of any address in its /64, and of its floating addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from bridge.errors import Refused
from bridge.model import Pointer, Pointers, VmRef
from drivers.hetzner.addresses import floating
from drivers.hetzner.api import Api

TAKES = (60.0, 600.0)  # seconds until others see a change


@dataclass(frozen=True)
class Own:
    """An address or network of the server's: where its records are changed, and those it has."""

    path: str
    network: IPv4Network | IPv6Network
    records: Mapping[str, str]


def read(api: Api, ref: VmRef, server: Mapping[str, Any]) -> Pointers:
    owned = own(api, ref, server)
    records: list[Pointer] = []
    for o in owned:
        single = str(o.network.network_address)
        listed = o.records if _many(o) else {single: o.records.get(single, "")}
        records += [Pointer(a, n) for a, n in sorted(listed.items(), key=lambda r: ip_address(r[0]))]
    return Pointers(tuple(records), tuple(str(o.network) for o in owned if _many(o)), TAKES)


def write(api: Api, ref: VmRef, server: Mapping[str, Any], address: str, name: str) -> list[dict[str, Any]]:
    """The action; none when it is so. Nothing is sent for an address of somebody else."""
    wanted = text(address)
    place = next((o for o in own(api, ref, server) if wanted and ip_address(wanted) in o.network), None)
    if place is None:
        raise Refused("This is not an address of the machine.", code="not_own_address", detail=address[:60])
    now = place.records.get(wanted, "")
    if name.lower() == now.lower() and (
        name or _many(place)
    ):  # what an empty one means for a single address only the provider knows
        return []
    return [api.post(f"{place.path}/actions/change_dns_ptr", ip=wanted, dns_ptr=name or None)["action"]]


def own(api: Api, ref: VmRef, server: Mapping[str, Any]) -> list[Own]:
    """What the proven server has, the main addresses first. A floating one is the service's by our label, wherever it
    points."""
    net, path = server["public_net"], f"/servers/{server['id']}"
    owned = []
    if net["ipv4"]:
        owned.append(_own(path, net["ipv4"]["ip"], [net["ipv4"]]))
    if net["ipv6"]:
        owned.append(_own(path, net["ipv6"]["ip"], net["ipv6"]["dns_ptr"] or []))
    if net["floating_ips"] or ref.birth.floating:
        owned += [_own(f"/floating_ips/{f['id']}", f["ip"], f["dns_ptr"] or []) for f in floating(api, ref.uuids)]
    return owned


def text(address: str) -> str:
    """As the standard writes it; empty when it is none."""
    try:
        return "" if "%" in address else str(ip_address(address))
    except ValueError:
        return ""


def _own(path: str, ip: str, records: list[Mapping[str, Any]]) -> Own:
    return Own(path, ip_network(ip, strict=False), {text(r["ip"]): r["dns_ptr"] or "" for r in records})


def _many(place: Own) -> bool:
    return place.network.num_addresses > 1
