"""Suspension by firewall: the server runs on, and nothing goes in or out by its public addresses. Firewalls add up, so
the server's own are taken away meanwhile. One that is applied by a label cannot be taken away, and a server with as
many as it can have takes no further one: then it cannot be closed. Firewalls do not cover private networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.errors import Permanent, VmbridgeError
from drivers.hetzner.api import Api

NAME = "vmbridge-suspended"
# nothing in by the empty list; one rule out that leads nowhere (RFC 5737), since without any everything may leave
RULES = [{"direction": "out", "protocol": "icmp", "destination_ips": ["192.0.2.1/32"], "description": "nothing else"}]
MOST = 5  # firewalls of a server, those by label too
ALREADY = ("firewall_already_applied", "firewall_resource_not_found", "firewall_already_removed")
Row = dict[str, Any]


def applied(server: Mapping[str, Any]) -> list[int]:
    return [int(f["id"]) for f in server["public_net"].get("firewalls") or ()]


def by_label(walls: Iterable[Mapping[str, Any]], server: Mapping[str, Any]) -> list[str]:
    """Names of those that are applied to the server by a label alone or too: they stay whatever is removed."""
    return [
        str(w["name"])
        for w in walls
        for a in w.get("applied_to") or ()
        if a["type"] == "label_selector"
        and any((r.get("server") or {}).get("id") == server["id"] for r in a.get("applied_to_resources") or ())
    ]


def close(api: Api, server: Mapping[str, Any]) -> list[Row]:
    """Ours first, then the others go: there is no moment without one."""
    walls, now = list(api.pages("/firewalls", "firewalls")), applied(server)
    wall = next((w for w in walls if w["name"] == NAME), None)
    if staying := by_label([w for w in walls if w["id"] in now], server):
        raise cannot(f"firewall {', '.join(staying)} is applied by a label and cannot be taken away")
    ours = int((wall or api.post("/firewalls", name=NAME, rules=RULES)["firewall"])["id"])
    if ours not in now and len(now) >= MOST:
        raise cannot(f"it has {len(now)} firewalls, which is as many as a server can have")
    if ours not in now:
        return change(api, ours, server, "apply_to")  # the next call takes the others away, once this one holds
    return [a for i in now if i != ours for a in change(api, i, server, "remove_from")]


def cannot(why: str) -> Permanent:
    return Permanent(
        "The server's network cannot be closed.",
        code="cannot_close",
        detail=why,
        next_action="Nothing has to be done: the server is switched off instead. `vmbridge check` names the plan.",
    )


def reaching(api: Api, server: Mapping[str, Any]) -> str:
    """Why somebody may still reach it; empty when nobody can by its public addresses."""
    walls = api.get("/firewalls", name=NAME)["firewalls"]
    shown = server["public_net"].get("firewalls") or ()
    if not walls or walls[0]["id"] not in [f["id"] for f in shown]:
        return f"firewall {NAME} is not applied"
    if any(f.get("status", "applied") != "applied" for f in shown):
        return f"firewall {NAME} does not hold yet"
    if any(r["direction"] == "in" for r in walls[0].get("rules") or ()):
        return f"firewall {NAME} lets something in: somebody has changed its rules"
    others = [str(f["id"]) for f in shown if f["id"] != walls[0]["id"]]
    return f"firewall {', '.join(others)} is still applied" if others else ""


def open_again(api: Api, server: Mapping[str, Any], before: Iterable[int]) -> list[Row]:
    """What was applied before and is there still, then ours goes."""
    walls, now = {int(w["id"]): w for w in api.pages("/firewalls", "firewalls")}, applied(server)
    ours = next((i for i, w in walls.items() if w["name"] == NAME), 0)
    if missing := [i for i in before if i in walls and i not in (*now, ours)]:
        if ours in now and len(now) + len(missing) > MOST:  # no place beside ours
            return [*change(api, ours, server, "remove_from"), *change(api, missing[0], server, "apply_to")]
        return [a for i in missing for a in change(api, i, server, "apply_to")]
    return change(api, ours, server, "remove_from") if ours in now else []


def change(api: Api, firewall: int, server: Mapping[str, Any], way: str) -> list[Row]:
    """The actions to await; none where it is so already."""
    verb = {"apply_to": "apply_to_resources", "remove_from": "remove_from_resources"}[way]
    try:
        made: list[Row] = api.post(
            f"/firewalls/{firewall}/actions/{verb}", **{way: [{"type": "server", "server": {"id": server["id"]}}]}
        )["actions"]
    except VmbridgeError as e:
        if any(word in e.detail for word in ALREADY):
            return []
        raise
    return made
