"""What a plan names and the provider or the project has to have: server type, networks, firewalls, placement group. Images are in images.py."""

from __future__ import annotations

from typing import Any

from bridge.errors import Permanent
from bridge.model import Order
from drivers.hetzner import addresses
from drivers.hetzner.api import Api


def kind_of(api: Api, name: str) -> dict[str, Any]:
    found = api.get("/server_types", name=name)["server_types"]
    if not found:
        raise Permanent(
            "The plan names a type that the provider does not have.",
            code="plan_impossible",
            detail=f"server type {name!r}",
        )
    kind: dict[str, Any] = found[0]
    return kind


def id_of(api: Api, path: str, name: str) -> int:
    found = api.get(path, name=name)[path.strip("/")]
    if not found:
        kind = path.strip("/").rstrip("s").replace("_", " ")
        raise Permanent(
            f"The plan names a {kind} that the project does not have.",
            code="plan_impossible",
            detail=f"{kind} {name!r}",
        )
    return int(found[0]["id"])


def surroundings(api: Api, order: Order) -> dict[str, Any]:
    """What the plan puts the server into, and addresses that an earlier server of the service left for it."""
    options = order.package.options
    more: dict[str, Any] = {}
    if options["networks"]:
        more["networks"] = [id_of(api, "/networks", n) for n in options["networks"]]
    if options["firewalls"]:
        more["firewalls"] = [{"firewall": id_of(api, "/firewalls", n)} for n in options["firewalls"]]
    if options["placement_group"]:
        more["placement_group"] = id_of(api, "/placement_groups", options["placement_group"])
    if len(order.uuids) > 1:
        mine = {ip["type"]: ip["id"] for ip in addresses.primary(api, order.uuids) if not ip["assignee_id"]}
        if mine:
            more["public_net"] = {"enable_ipv4": True, "enable_ipv6": True, **mine}
    return more
