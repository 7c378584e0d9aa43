"""What a server has to be beside what it is. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.errors import Capacity, Permanent
from bridge.model import Difference, Order, Package, Restart, Sentence
from drivers.hetzner import convert, isolation
from drivers.hetzner.errors import ROOM


def seen(server: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of a server. `backups` is the provider's window such as 22-02, in UTC, or empty; `firewalls` are
    ids."""
    kind = server["server_type"]
    return {
        "server_type": kind["name"],
        "cores": kind["cores"],
        "memory_gb": kind["memory"],
        "disk_gb": server["primary_disk_size"],
        "architecture": kind["architecture"],
        "name": server["name"],
        "backups": server["backup_window"] or "",
        "image": (server["image"] or {}).get("name") or (server["image"] or {}).get("description") or "",
        "firewalls": isolation.applied(server),
    }


def renamed(order: Order, server: Mapping[str, Any]) -> str:
    """The name that a server shall have instead of its own; empty when it has it, or bears one that we did not give:
    somebody chose that at the provider's."""
    now, wanted = str(server["name"]), convert.name(order)
    return wanted if now != wanted and now.endswith(tuple(f"-{u[:8]}" for u in order.uuids)) else ""


def compare(order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
    return [
        _type(order.package, config, running),
        _disk(order.package, config, running),
        _backups(order.package, config),
    ]


def as_it_is(package: Package, config: Mapping[str, Any], backups: int) -> Package:
    """The plan's package with the server's own type, disk and backups."""
    return replace(
        package,
        cores=int(config["cores"]),
        ram_mib=int(float(config["memory_gb"]) * 1024),
        disk_gib=int(config["disk_gb"]),
        backups=backups if config["backups"] else 0,
        options={**package.options, "server_type": str(config["server_type"])},
    )


def _type(package: Package, config: Mapping[str, Any], running: bool) -> Difference:
    sold, real = package.options["server_type"], str(config["server_type"])
    return Difference(
        "server_type",
        sold,
        real,
        sold == real,
        Restart.NOW if running and sold != real else Restart.NONE,
        label=TYPE,
    )


def _disk(package: Package, config: Mapping[str, Any], running: bool) -> Difference:
    """It comes with a type and only ever grows. A type may be sold with less disk than it has: then the disk stays as
    it is, and the way back stays open."""
    sold, real, other = (
        package.disk_gib,
        int(config["disk_gb"]),
        package.options["server_type"] != config["server_type"],
    )
    refused = warning = ""
    if sold < real and other:
        refused = Sentence(
            "The system disk has %(size)s GB and cannot shrink to %(wanted)s GB.", size=real, wanted=sold
        )
    elif sold > real and not other:
        refused = Sentence(
            "The system disk has %(size)s GB; %(wanted)s GB come only with another server type.", size=real, wanted=sold
        )
    elif sold > real:
        warning = Sentence(
            "The system disk grows to %(size)s GB for good: no smaller server is possible after that.", size=sold
        )
    restart = Restart.NOW if running and sold > real else Restart.NONE
    return Difference("disk_gib", sold, real, sold == real or (sold < real and not other), restart, refused, warning)


def _backups(package: Package, config: Mapping[str, Any]) -> Difference:
    sold, real = bool(package.backups), bool(config.get("backups"))
    return Difference("backups", sold, real, sold == real, warning="" if sold or not real else KEEPS)


def retyping(order: Order, server: Mapping[str, Any], kind: Mapping[str, Any]) -> bool:
    """Whether the disk has to grow with the change to a type. Raises Permanent or Capacity where the change cannot
    be."""
    sold, real, name = order.package.disk_gib, int(server["primary_disk_size"]), str(kind["name"])
    place = next((p for p in kind["locations"] if p["name"] == server["location"]["name"]), None)
    if place is None or kind["architecture"] != server["server_type"]["architecture"]:
        raise Permanent(
            "The server cannot become one of this type.",
            code="plan_impossible",
            detail=f"{name} is for {kind['architecture']}"
            if place
            else f"{name} is not sold in {server['location']['name']}",
        )
    if date := convert.retires(place)[1]:  # still sold for new servers, no more for a change
        raise Permanent(
            "The server cannot become one of this type.",
            code="plan_impossible",
            detail=f"{name} is retired in {place['name']} after {date}: no server can be changed to it any more",
        )
    grows = sold > real
    if int(kind["disk"]) < (sold if grows else real):
        raise Permanent(
            "The server cannot become one of this type.",
            code="plan_impossible",
            detail=f"{name} has a disk of {kind['disk']} GB only",
        )
    if not place["available"]:
        raise Capacity(
            "There is no room for the new type of server just now; nothing was changed.",
            detail=f"{name} is sold out in {place['name']}",
            next_action=ROOM,
        )
    return grows


TYPE = Sentence("Server type")
KEEPS = Sentence("Backups stay on: the provider would remove every backup at once, so staff turns them off by hand.")
