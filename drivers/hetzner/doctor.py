"""The doctor's look at a project: key, types, locations, images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.errors import NotFound, Permanent, VmbridgeError
from bridge.model import Finding, Package
from drivers.hetzner import convert, images
from drivers.hetzner.api import Api

SLOTS = 7


def check(server: str, api: Api, plans: Mapping[str, Package]) -> list[Finding]:
    try:
        types = {t["name"]: t for t in api.pages("/server_types", "server_types")}
    except VmbridgeError as e:
        return [
            Finding(
                "fault",
                f"server {server}",
                f"{e.sentence} {e.detail}".strip(),
                e.next_action,
            )
        ]
    found = [_writes(server, api)]
    for name, package in plans.items():
        try:
            place = package.location or package.options["location"]
            found += _plan(name, package, types, api) or [
                Finding("ok", f"plan {name}", f"{package.options['server_type']} in {place}")
            ]
        except VmbridgeError as e:
            found.append(Finding("fault", f"plan {name}", f"{e.sentence} {e.detail}".strip(), e.next_action))
    return found


def _writes(server: str, api: Api) -> Finding:
    """A key that may only read answers so to any change, here one of a server that cannot exist."""
    try:
        api.post("/servers/0/actions/poweron")
    except NotFound:
        pass
    except VmbridgeError as e:
        if e.code == "upstream_credentials":
            return Finding(
                "fault",
                f"server {server}",
                "the API token may only read",
                "make one with read and write in the project's settings",
            )
    return Finding("ok", f"server {server}", "API answers")


def _plan(name: str, package: Package, types: Mapping[str, Mapping[str, Any]], api: Api) -> list[Finding]:
    subject, wanted = f"plan {name}", package.options["server_type"]
    kind = types.get(wanted)
    if kind is None:
        return [
            Finding(
                "fault",
                f"{subject} server_type",
                f"there is no type {wanted!r}",
                f"use one of: {', '.join(sorted(types))}",
            )
        ]
    found = _place(subject, wanted, package.location or package.options["location"], kind)
    cores, ram, disk = int(kind["cores"]), int(float(kind["memory"]) * 1024), int(kind["disk"])
    if (package.cores, package.ram_mib) != (cores, ram) or package.disk_gib > disk:
        sold = f"{package.cores} cores, {package.ram_mib} MiB, {package.disk_gib} GiB"
        found.append(
            Finding(
                "fault",
                subject,
                f"sells {sold}, but {wanted} has {cores}, {ram}, {disk}",
                f"cores = {cores}, ram_mib = {ram}, disk_gib = {disk} at most",
            )
        )
    for template in package.templates or (package.template,):
        try:
            images.system(api, template, package.options["images"], str(kind["architecture"]))
        except Permanent as e:
            found.append(
                Finding(
                    "fault",
                    f"{subject} templates",
                    f"there is no {e.detail}",
                    "use names that the provider lists, or map them in `images`",
                )
            )
    if package.backups not in (0, SLOTS):
        found.append(
            Finding(
                "warning",
                f"{subject} backups",
                f"sells {package.backups} backups, but the provider keeps the newest {SLOTS}",
                f"backups = {SLOTS}",
            )
        )
    if missing := convert.not_sold(package):
        found.append(
            Finding("fault", subject, f"sells what this provider does not have: {', '.join(missing)}", "set them to 0")
        )
    return found + _surroundings(subject, package, api)


def _place(subject: str, wanted: str, location: str, kind: Mapping[str, Any]) -> list[Finding]:
    locations = {p["name"]: p for p in kind["locations"]}
    place = locations.get(location)
    if place is None:
        return [
            Finding(
                "fault",
                f"{subject} location",
                f"{wanted} is not sold in {location}",
                f"use one of: {', '.join(sorted(locations))}",
            )
        ]
    if place.get("deprecation"):
        return [
            Finding(
                "warning",
                f"{subject} server_type",
                f"{wanted} is retired in {location} after {place['deprecation']['unavailable_after'][:10]}",
                "sell another type",
            )
        ]
    return (
        []
        if place["available"]
        else [
            Finding(
                "warning",
                f"{subject} location",
                f"{wanted} is sold out in {location} just now",
                "name another location, or wait",
            )
        ]
    )


def _surroundings(subject: str, package: Package, api: Api) -> list[Finding]:
    """Networks, firewalls and the placement group have to be in the project."""
    options, found = package.options, []
    for key, path, names in (
        ("networks", "/networks", options["networks"]),
        ("firewalls", "/firewalls", options["firewalls"]),
        ("placement_group", "/placement_groups", [options["placement_group"]] if options["placement_group"] else []),
    ):
        for name in names:
            if not api.get(path, name=name)[path.strip("/")]:
                found.append(
                    Finding(
                        "fault",
                        f"{subject} {key}",
                        f"the project has none called {name!r}",
                        "make it there, or name one that is",
                    )
                )
    return found
