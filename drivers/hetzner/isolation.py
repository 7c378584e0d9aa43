"""Suspension by firewall: the server runs on, and nothing goes in or out. Firewalls add up, so the server's own are taken away meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from drivers.hetzner.api import Api

NAME = "vmbridge-suspended"
# nothing in by the empty list; one rule out that leads nowhere (RFC 5737), since without any everything may leave
RULES = [{"direction": "out", "protocol": "icmp", "destination_ips": ["192.0.2.1/32"], "description": "nothing else"}]
Row = dict[str, Any]


def applied(server: Mapping[str, Any]) -> list[int]:
    return [int(f["id"]) for f in server["public_net"].get("firewalls") or ()]


def close(api: Api, server: Mapping[str, Any]) -> list[Row]:
    """Ours first, then the others go: there is no moment without one."""
    found = api.get("/firewalls", name=NAME)["firewalls"]
    ours = int((found[0] if found else api.post("/firewalls", name=NAME, rules=RULES)["firewall"])["id"])
    now = applied(server)
    actions = [] if ours in now else change(api, ours, server, "apply_to")
    return [*actions, *(a for i in now if i != ours for a in change(api, i, server, "remove_from"))]


def open_again(api: Api, server: Mapping[str, Any], before: Iterable[int]) -> list[Row]:
    """What was applied before, then ours goes."""
    found = api.get("/firewalls", name=NAME)["firewalls"]
    ours, now = int(found[0]["id"]) if found else 0, applied(server)
    actions = [a for i in before if i not in (*now, ours) for a in change(api, i, server, "apply_to")]
    return [*actions, *(change(api, ours, server, "remove_from") if ours in now else [])]


def change(api: Api, firewall: int, server: Mapping[str, Any], way: str) -> list[Row]:
    verb = {"apply_to": "apply_to_resources", "remove_from": "remove_from_resources"}[way]
    made: list[Row] = api.post(
        f"/firewalls/{firewall}/actions/{verb}", **{way: [{"type": "server", "server": {"id": server["id"]}}]}
    )["actions"]
    return made
