"""The VM's firewall at birth and in converge: the template's rules out, our addresses in, then on."""

from __future__ import annotations

import ipaddress
from typing import Any

from bridge.errors import VmbridgeError
from bridge.model import Order
from drivers.proxmox.api import Api

SET = "ipfilter-net0"  # PVE filters net0's sources by the set of this name


def converge(api: Api, base: str, order: Order) -> list[str]:
    """Write what differs; returns the names of changed things. The set is filled before filtering is on."""
    changed: list[str] = []
    settings = order.package.options
    options = api.once(f"{base}/firewall/options")
    if not settings["firewall"]:
        if int(options.get("enable") or 0):
            api.put(f"{base}/firewall/options", enable=False)
            changed.append("firewall.enable")
        return changed
    off = not int(options.get("enable") or 0)
    birth = order.birth and off
    if birth:  # before the first start the rules are the template's, later the customer's
        for rule in sorted(api.get(f"{base}/firewall/rules"), key=lambda r: -int(r["pos"])):
            api.delete(f"{base}/firewall/rules/{rule['pos']}", digest=rule.get("digest"))
            changed.append(f"firewall.rules.{rule['pos']}")
    changed += _addresses(api, base, order, birth)
    want: dict[str, Any] = {"enable": 1, "macfilter": int(settings["mac_filter"])}
    if birth or (off and "policy_in" not in options):  # PVE's default would drop everything that comes in
        want |= {"policy_in": "ACCEPT", "policy_out": "ACCEPT"}
    defaults = {"enable": 0, "macfilter": 1, "policy_in": "DROP", "policy_out": "ACCEPT"}
    differing = {k: v for k, v in want.items() if str(options.get(k, defaults[k])) != str(v)}
    if differing:
        api.put(f"{base}/firewall/options", **differing)
        changed += [f"firewall.{k}" for k in differing]
    return changed


def _addresses(api: Api, base: str, order: Order, birth: bool) -> list[str]:
    """Bring the set of the machine's own addresses to the order's; the words of what was changed."""
    wanted = {n.address for n in order.networks if n.role != "leaving"}
    if not wanted or order.package.dhcp4 or order.package.dhcp6:
        return []  # a set without what DHCP gives would cut the machine off
    changed = []
    have: set[str] = set()
    try:
        if birth:  # made without a look: "already exists" says the same in one call
            api.post(f"{base}/firewall/ipset", name=SET)
            changed.append(f"firewall.{SET}")
    except VmbridgeError as e:
        if "already exists" not in e.detail:
            raise
        birth = False
    try:
        if not birth:
            have = _single(api.once(f"{base}/firewall/ipset/{SET}"))
    except VmbridgeError as e:
        if "no such IPSet" not in e.detail:
            raise
        api.post(f"{base}/firewall/ipset", name=SET)
        changed.append(f"firewall.{SET}")
    for address in sorted(wanted - have):
        api.post(f"{base}/firewall/ipset/{SET}", cidr=address)
        changed.append(f"firewall.{SET}+{address}")
    for address in sorted(have - wanted):
        api.delete(f"{base}/firewall/ipset/{SET}/{address}")
        changed.append(f"firewall.{SET}-{address}")
    return changed


def _single(rows: list[dict[str, Any]]) -> set[str]:
    """Single addresses of a set; whole networks are staff's own (a routed subnet) and are left alone."""
    networks = [ipaddress.ip_network(str(r["cidr"]), strict=False) for r in rows if not r.get("nomatch")]
    return {str(n.network_address) for n in networks if n.num_addresses == 1}


def claimed_addresses(api: Api, base: str) -> list[str]:
    """Single addresses of the sets that let a network card use them."""
    addresses: list[str] = []
    for row in api.get(f"{base}/firewall/ipset"):
        if str(row["name"]).startswith("ipfilter-net"):
            addresses += sorted(_single(api.get(f"{base}/firewall/ipset/{row['name']}")))
    return addresses
