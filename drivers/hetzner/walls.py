"""A server's own firewall, which its customer changes: one for each server, found by its label, applied to it alone,
and removed with it. The provider lets through what a rule names and nothing else; rules have no order, and all of
them are written at once. It has no digest: what is written is compared with what was read just before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from bridge.errors import NotFound, Permanent, Transient
from bridge.model import Firewall, Rule, VmRef
from drivers.hetzner import isolation, proof
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL

Row = dict[str, Any]
ROLE = f"{LABEL}-firewall"  # the label that tells ours from others with the server's
MARK = re.compile(r"(?:^| )\[vmb-([0-9a-f]{8})\]\Z")
ANY = ["0.0.0.0/0", "::/0"]
PORTS = "1-65535"
# until the customer says otherwise everything is let in, as without a firewall
OPEN = [
    {"direction": "in", "protocol": p, "source_ips": ANY, **({"port": PORTS} if p in ("tcp", "udp") else {})}
    for p in ("tcp", "udp", "icmp", "gre", "esp")
]
BY_HAND = {
    "machine": f"Firewalls: one with the server's label {LABEL} and {ROLE}=own, applied to the server alone",
}
IN_USE = "resource_in_use"
SERVICES = {
    "SSH": (("tcp", "22"),),
    "HTTP": (("tcp", "80"),),
    "HTTPS": (("tcp", "443"),),
    "SMTP": (("tcp", "25"),),
    "Submission": (("tcp", "587"),),
    "IMAPS": (("tcp", "993"),),
    "Ping": (("icmp", ""),),
    "RDP": (("tcp", "3389"),),
    "DNS": (("udp", "53"),),
    "OpenVPN": (("udp", "1194"),),
}


def ours(api: Api, uuids: Collection[str]) -> Row | None:
    """Ours, by any of the uuids that the service's servers ever had."""
    rows = list(api.pages("/firewalls", "firewalls", label_selector=f"{ROLE},{LABEL} in ({','.join(uuids)})"))
    return rows[0] if rows else None


def missing(api: Api, uuid: str, uuids: Collection[str], server: Mapping[str, Any]) -> list[Row]:
    """The actions that put it on the server, made open where there is none; none when it holds."""
    wall = ours(api, uuids)
    if wall is None:
        name = f"vmbridge-{uuid}"
        made = api.post("/firewalls", name=name, rules=OPEN, labels={LABEL: uuid, ROLE: "own"})
        wall = made["firewall"]
    if int(wall["id"]) in isolation.applied(server):
        return []
    return isolation.change(api, int(wall["id"]), server, "apply_to")


def remove(api: Api, uuids: Collection[str]) -> None:
    """Once its server is gone. Raises Transient while the provider still counts it as applied."""
    while (wall := ours(api, uuids)) is not None:
        try:
            api.delete(f"/firewalls/{wall['id']}")
        except NotFound:
            return
        except Permanent as e:
            if IN_USE not in e.detail:
                raise
            raise Transient(detail=e.detail) from None


# -- as the page has it -----------------------------------------------------------------------------
def read(api: Api, ref: VmRef) -> Firewall:
    server = proof.present(api, ref)
    wall = ours(api, ref.uuids)
    if wall is None or int(wall["id"]) not in isolation.applied(server):
        return Firewall(policy_in="accept", off="machine", version="none")
    rules = tuple(rule_of(r) for r in wall["rules"] or ())
    version = hashlib.sha256(json.dumps(wall["rules"], sort_keys=True).encode()).hexdigest()[:40]
    out = "drop" if any(r.way == "out" for r in rules) else "accept"
    return Firewall(rules, "drop", out, version=version)


def off(api: Api, ref: VmRef, config: Mapping[str, Any]) -> str:
    """One listing: of a server whose configuration (goal.seen) is known."""
    wall = ours(api, ref.uuids)
    return "" if wall is not None and int(wall["id"]) in config["firewalls"] else "machine"


def change(api: Api, ref: VmRef, now: Firewall, wanted: Firewall) -> bool:
    if read(api, ref).version != now.version:
        raise Transient(code="firewall_changed", detail="the rules are not as they were read")
    wall = ours(api, ref.uuids)
    if wall is None:
        raise Transient(code="firewall_changed", detail="the firewall is gone")
    api.post(f"/firewalls/{wall['id']}/actions/set_rules", rules=[row_of(r) for r in wanted.rules])
    return True


def rule_of(row: Mapping[str, Any]) -> Rule:
    comment = str(row.get("description") or "")
    mark = MARK.search(comment)
    ips = row.get("source_ips" if row["direction"] == "in" else "destination_ips") or []
    where = "" if sorted(ips) == sorted(ANY) else ",".join(_short(str(i)) for i in ips)
    port = str(row.get("port") or "")
    return Rule(
        str(row["direction"]),
        "accept",
        proto=str(row["protocol"]),
        source=where if row["direction"] == "in" else "",
        dest=where if row["direction"] == "out" else "",
        dport="" if port == PORTS else port.replace("-", ":"),
        comment=comment[: mark.start()] if mark else comment,
        mark=mark.group(1) if mark else "",
    )


def row_of(rule: Rule) -> Row:
    where = rule.source if rule.way == "in" else rule.dest
    ips = [str(ip_network(i)) for i in where.split(",")] if where else ANY
    comment = f"{rule.comment} [vmb-{rule.mark}]".strip() if rule.mark else rule.comment
    row: Row = {
        "direction": rule.way,
        "protocol": rule.proto,
        "source_ips" if rule.way == "in" else "destination_ips": ips,
        **({"port": rule.dport.replace(":", "-") or PORTS} if rule.proto in ("tcp", "udp") else {}),
        **({"description": comment} if comment else {}),
    }
    return row


def _short(cidr: str) -> str:
    network = ip_network(cidr, strict=False)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def plain(rule: Rule) -> Rule:
    """A rule that names a service, by its port: the provider has no names."""
    if rule.service not in SERVICES:
        return rule
    proto, port = SERVICES[rule.service][0]
    return replace(rule, service="", proto=proto, dport=port)
