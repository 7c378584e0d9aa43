"""What a plan names and the provider or the project has to have: server type, location, networks, firewalls, placement
group. Images are in images.py. The doctor judges a plan by the same functions as an order, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.errors import Permanent
from bridge.model import Order, Package
from drivers.hetzner import addresses
from drivers.hetzner.api import Api
from drivers.hetzner.convert import retires

Row = Mapping[str, Any]


def impossible(sentence: str, detail: str) -> Permanent:
    return Permanent(sentence, code="plan_impossible", detail=detail)


def kind_of(api: Api, name: str) -> dict[str, Any]:
    """The server type as the provider lists it. Raises Permanent where it has none of the name."""
    rows = api.get("/server_types", name=name)["server_types"]
    if not rows:
        raise impossible("The plan names a type that the provider does not have.", f"server type {name!r}")
    kind: dict[str, Any] = rows[0]
    return kind


def sold_in(kind: Row, location: str, now: float) -> Row:
    """A type's place. Raises Permanent where it is not sold, or not any more."""
    place = next((p for p in kind["locations"] if p["name"] == location), None)
    if place is None:
        raise impossible("The plan names a location where its type is not sold.", f"{kind['name']} in {location}")
    end, date = retires(place)
    if end and end <= now:
        raise impossible(
            "The plan names a type that the provider does not sell any more.",
            f"{kind['name']} in {location}, since {date}",
        )
    terms: Row = place
    return terms


def networks(api: Api, package: Package) -> list[Row]:
    return [named(api, "/networks", n) for n in package.options["networks"]]


def zones(api: Api) -> dict[str, str]:
    """Location -> its network zone."""
    return {row["name"]: row["network_zone"] for row in api.pages("/locations", "locations")}


def joined(networks: Iterable[Row], location: str, zone: str) -> None:
    """Raises Permanent for a network that has no subnet where a server of this location could be: the provider would
    refuse the create."""
    for network in networks:
        if all(s["network_zone"] != zone for s in network["subnets"] if s["type"] != "vswitch"):
            raise impossible(
                "The plan names a network that has no subnet for its location.",
                f"network {network['name']!r} has none in zone {zone}, where {location} is",
            )


def named(api: Api, path: str, name: str) -> dict[str, Any]:
    """What the project has of this name, as the provider lists it. Raises Permanent."""
    rows = api.get(path, name=name)[path.strip("/")]
    if not rows:
        kind = path.strip("/").rstrip("s").replace("_", " ")
        raise impossible(f"The plan names a {kind} that the project does not have.", f"{kind} {name!r}")
    row: dict[str, Any] = rows[0]
    return row


def id_of(api: Api, path: str, name: str) -> int:
    return int(named(api, path, name)["id"])


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
