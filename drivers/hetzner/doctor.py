"""The doctor's look at a project: key, types, locations, images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bridge.errors import Permanent, VmbridgeError
from bridge.model import Finding, Package
from drivers.hetzner import birth, convert, images, isolation, key, named
from drivers.hetzner.api import Api
from drivers.hetzner.convert import LABEL

SLOTS = 7


def check(server: str, api: Api, plans: Mapping[str, Package]) -> list[Finding]:
    """The key, and of each plan its type, image, place and networks; of what cannot be read, why."""
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
    findings = [_writes(server, api)]
    for name, package in plans.items():
        try:
            place = package.location or package.options["location"]
            told = _plan(name, package, types, api)
            if all(f.level == "ok" for f in told):
                told.append(Finding("ok", f"plan {name}", f"{package.options['server_type']} in {place}"))
            findings += told
        except VmbridgeError as e:
            findings.append(Finding("fault", f"plan {name}", f"{e.sentence} {e.detail}".strip(), e.next_action))
    return findings


def _writes(server: str, api: Api) -> Finding:
    try:
        key.writes(api, ask=True)
    except VmbridgeError as e:
        return Finding("fault", f"server {server}", e.sentence, e.next_action if isinstance(e, Permanent) else "")
    return Finding("ok", f"server {server}", "API answers")


def _plan(name: str, package: Package, types: Mapping[str, Mapping[str, Any]], api: Api) -> list[Finding]:
    """Findings about one plan: its type, where it is sold, its image, and what it names around the server."""
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
    places = birth.wanted(package)
    findings = [f for place in places for f in _place(subject, kind, place, api.now())]
    cores, ram, disk = int(kind["cores"]), int(float(kind["memory"]) * 1024), int(kind["disk"])
    if (package.cores, package.ram_mib) != (cores, ram) or package.disk_gib > disk:
        sold = f"{package.cores} cores, {package.ram_mib} MiB, {package.disk_gib} GiB"
        findings.append(
            Finding(
                "fault",
                subject,
                f"sells {sold}, but {wanted} has {cores}, {ram}, {disk}",
                f"cores = {cores}, ram_mib = {ram}, disk_gib = {disk} at most",
            )
        )
    for template in package.templates or (package.template,):
        findings += _image(subject, template, package, str(kind["architecture"]), api)
    if package.backups not in (0, SLOTS):
        findings.append(
            Finding(
                "warning",
                f"{subject} backups",
                f"sells {package.backups} backups, but the provider keeps the newest {SLOTS}",
                f"backups = {SLOTS}",
            )
        )
    return findings + _surroundings(subject, package, api)


def _place(subject: str, kind: Mapping[str, Any], location: str, now: float) -> list[Finding]:
    """One place of a type by the judgement of an order, and what is to come."""
    name = kind["name"]
    try:
        place = named.sold_in(kind, location, now)
    except Permanent:
        places = sorted(p["name"] for p in kind["locations"] if not 0 < convert.retires(p)[0] <= now)
        place = next((p for p in kind["locations"] if p["name"] == location), {})
        date = convert.retires(place)[1]
        return [
            Finding(
                "fault",
                f"{subject} server_type" if date else f"{subject} location",
                f"{name} is retired in {location} after {date}: it is not sold there any more"
                if date
                else f"{name} is not sold in {location}",
                f"use one of: {', '.join(places)}" if places else "sell another type",
            )
        ]
    date = convert.retires(place)[1]
    if date:
        return [
            Finding(
                "warning",
                f"{subject} server_type",
                f"{name} is retired in {location} after {date}: until then it is sold, but no server can be changed"
                " to it",
                "sell another type",
            )
        ]
    if place["available"]:
        return []
    return [
        Finding(
            "warning",
            f"{subject} location",
            f"{name} is sold out in {location} just now: orders wait for room",
            "name another location, or wait",
        )
    ]


def _image(subject: str, template: str, package: Package, architecture: str, api: Api) -> list[Finding]:
    fix = "use names that the provider lists, or map them in `images`"
    try:
        image = images.system(api, template, package.options["images"], architecture)
    except Permanent as e:
        text = f"{e.detail}: it is not sold any more" if ", since " in e.detail else f"there is no {e.detail}"
        return [Finding("fault", f"{subject} templates", text, fix)]
    date = convert.retires(image)[1]
    if not date:
        return []
    text = f"image {template!r} is retired after {date}: until then it can be ordered"
    return [Finding("warning", f"{subject} templates", text, "offer its successor before that day")]


def _surroundings(subject: str, package: Package, api: Api) -> list[Finding]:
    """Networks, firewalls and the placement group have to be in the project."""
    options, findings = package.options, []
    for word, path, names in (
        ("networks", "/networks", options["networks"]),
        ("firewalls", "/firewalls", options["firewalls"]),
        ("placement_group", "/placement_groups", [options["placement_group"]] if options["placement_group"] else []),
    ):
        for name in names:
            if not api.get(path, name=name)[path.strip("/")]:
                findings.append(
                    Finding(
                        "fault",
                        f"{subject} {word}",
                        f"the project has none called {name!r}",
                        "make it there, or name one that is",
                    )
                )
    return findings + _closing(subject, package, api) + _joined(subject, package, api)


def _closing(subject: str, package: Package, api: Api) -> list[Finding]:
    """Whether servers of the plan can be closed by firewall, as it says, when they are suspended."""
    options, findings = package.options, []
    text = "the provider's firewalls do not cover private networks"
    if options["networks"] and not closes(package):
        findings.append(Finding("ok", f"{subject} networks", text))
    elif options["networks"]:
        text += ": a server that is suspended by firewall is still reached there"
        findings.append(Finding("warning", f"{subject} networks", text, 'suspend = "poweroff" where that matters'))
    if not closes(package):
        return findings
    if len(set(options["firewalls"])) + options["own_firewall"] >= isolation.MOST:
        why = (
            f"{isolation.MOST} firewalls are as many as a server can have, so there is no place for the one that"
            " closes it"
        )
        findings.append(_off_instead(f"{subject} firewalls", why, f"name {isolation.MOST - 1} at most"))
    labels = {**options["labels"], LABEL: "any"}
    for wall in api.pages("/firewalls", "firewalls"):
        for selector in (a["label_selector"]["selector"] for a in wall["applied_to"] if a["type"] == "label_selector"):
            if matches(selector, labels):
                why = (
                    f"firewall {wall['name']!r} is applied by the label {selector!r} and cannot be taken from a server"
                )
                findings.append(_off_instead(f"{subject} suspend", why, "apply it by name in `firewalls`"))
    return findings


def closes(package: Package) -> bool:
    return bool(package.options["suspend"] == "firewall")


def _off_instead(subject: str, why: str, fix: str) -> Finding:
    return Finding(
        "warning", subject, f"{why}: suspended servers are switched off instead", f'{fix}, or suspend = "poweroff"'
    )


def matches(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether a label selector may take in servers of these labels; ours has a value of its own for each server. What
    is not understood may. (Official description, "Label Selector": k, !k, k=v, k==v, k!=v, k in (a,b), k notin (a,b),
    joined by commas.)"""
    return all(_part(part.strip(), labels) for part in re.findall(r"[^,(]+(?:\([^)]*\))?", selector))


def _part(part: str, labels: Mapping[str, str]) -> bool:
    if part.startswith("!"):
        return part[1:].strip() not in labels
    match = re.fullmatch(r"(\S+?)\s*(?:(==|=|!=)\s*(\S*)|\s(in|notin)\s*\(([^)]*)\))?", part)
    if not match:
        return True
    key, sign, value, word, values = match.groups()
    wanted = {value} if sign else {v.strip() for v in (values or "").split(",")}
    if sign == "!=" or word == "notin":
        return labels.get(key) not in wanted
    return key in labels and ((not sign and not word) or key == LABEL or labels[key] in wanted)


def _joined(subject: str, package: Package, api: Api) -> list[Finding]:
    """A network without a subnet in the zone of a place: the provider would refuse the create."""
    findings = []
    try:
        networks = named.networks(api, package)
    except Permanent:  # one that is not there is told already
        return []
    zones = named.zones(api) if networks else {}
    for location in birth.wanted(package) if networks else ():
        try:
            named.joined(networks, location, zones.get(location, ""))
        except Permanent as e:
            findings.append(
                Finding(
                    "fault",
                    f"{subject} networks",
                    e.detail,
                    "give the network a subnet of type cloud in that zone, or name another network or location",
                )
            )
    return findings
