"""The doctor's look at a project: key, types, locations, images."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.errors import Permanent, VmbridgeError
from bridge.model import Finding, Package
from drivers.hetzner import convert, images
from drivers.hetzner.api import Api

SLOTS = 7


def check(server: str, api: Api, plans: Mapping[str, Package]) -> list[Finding]:
    try:
        types = {t["name"]: t for t in api.pages("/server_types", "server_types")}
    except VmbridgeError as e:
        return [Finding("fault", f"server {server}", f"{e.sentence} {e.detail}".strip(), "make an API token with read and write in the project's settings")]
    found = [Finding("ok", f"server {server}", "API answers")]
    for name, package in plans.items():
        found += _plan(name, package, types, api)
    return found


def _plan(name: str, package: Package, types: Mapping[str, Mapping[str, object]], api: Api) -> list[Finding]:
    subject, wanted, location = f"plan {name}", package.options["server_type"], package.options["location"]
    kind = types.get(wanted)
    if kind is None:
        return [Finding("fault", f"{subject} server_type", f"there is no type {wanted!r}", f"use one of: {', '.join(sorted(types))}")]
    found = []
    locations = {p["name"]: p for p in kind["locations"]}  # type: ignore[attr-defined]
    place = locations.get(location)
    if place is None:
        found.append(Finding("fault", f"{subject} location", f"{wanted} is not sold in {location}", f"use one of: {', '.join(sorted(locations))}"))
    elif place.get("deprecation"):
        found.append(Finding("warning", f"{subject} server_type", f"{wanted} is retired in {location} after {place['deprecation']['unavailable_after']}",
                             "sell another type"))
    elif not place["available"]:
        found.append(Finding("warning", f"{subject} location", f"{wanted} is sold out in {location} just now", "name another location, or wait"))
    sold = (package.cores, package.ram_mib, package.disk_gib)
    real = (int(kind["cores"]), int(float(kind["memory"]) * 1024), int(kind["disk"]))  # type: ignore[call-overload,arg-type]
    if sold != real:
        found.append(Finding("fault", subject, f"sells {sold[0]} cores, {sold[1]} MiB, {sold[2]} GiB, but {wanted} has {real[0]}, {real[1]}, {real[2]}",
                             f"cores = {real[0]}, ram_mib = {real[1]}, disk_gib = {real[2]}"))
    for template in package.templates or (package.template,):
        try:
            images.system(api, template, package.options["images"], str(kind["architecture"]))
        except Permanent as e:
            found.append(Finding("fault", f"{subject} templates", f"there is no {e.detail}", "use names that the provider lists, or map them in `images`"))
    if package.backups not in (0, SLOTS):
        found.append(Finding("warning", f"{subject} backups", f"sells {package.backups} backups, but the provider keeps the newest {SLOTS}",
                             f"backups = {SLOTS}"))
    if missing := convert.not_sold(package):
        found.append(Finding("fault", subject, f"sells what this provider does not have, or what is not built yet: {', '.join(missing)}",
                             "set them to 0"))
    return found or [Finding("ok", subject, f"{wanted} in {location}")]
