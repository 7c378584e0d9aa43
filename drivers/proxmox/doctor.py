"""The driver's part of `vmbridge check`: what this Proxmox server lacks, each with its fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bridge.clock import Clock
from bridge.errors import VmbridgeError
from bridge.model import Finding, Package
from drivers.proxmox import choice, convert, media, privileges, rules, tasks, templates
from drivers.proxmox.api import Api
from drivers.proxmox.look import Look
from drivers.proxmox.templates import Fault, Template

SKEW = 30


def check(
    server: str,
    api: Api,
    clock: Clock,
    settings: Mapping[str, Any],
    plans: Mapping[str, Package],
    networks: Iterable[tuple[str, int]],
) -> list[Finding]:
    """All that can be said of the server and of what `plans` sell on it; `networks` are the pools' (bridge, VLAN)."""
    subject = f"server {server}"
    try:
        version = api.get("version")
    except VmbridgeError as e:
        return [Finding("fault", subject, f"{e.sentence} {e.detail}".strip(), e.next_action)]
    findings = [Finding("ok", subject, f"Proxmox VE {version.get('version')}")]
    major = int(str(version.get("version", "0")).split(".")[0] or 0)
    if major not in (8, 9):
        findings.append(Finding("fault", subject, f"Proxmox VE {major} is not supported", "use Proxmox VE 8 or 9"))
    granted = privileges.Granted(api)
    if granted.nothing():
        return [
            *findings,
            Finding(
                "fault",
                f"{subject} privileges",
                "our token has no privileges at all, so nothing can be seen",
                "give the role to both the user and the token: a token with privilege separation has none of its"
                " user's",
            ),
        ]
    look = Look(server, api, clock, settings, api.get("cluster/resources"), plans, networks, granted, major)
    parts: list[Callable[[], list[Finding]]] = [
        lambda: _unseen(look),
        lambda: _privileges(look),
        lambda: _nodes(look),
        *[partial(_plan, look, name, package) for name, package in plans.items()],
        lambda: _bridges(look),
        lambda: _firewall(look),
        lambda: _backups(look),
        lambda: _isos(look),
    ]
    for part in parts:  # one that cannot be read must not hide the others
        try:
            findings += part()
        except VmbridgeError as e:
            told = any(f.subject == f"{subject} privileges" and f.level == "fault" for f in findings)
            if e.code == "upstream_privilege" and told:
                continue
            fix = e.next_action
            findings.append(Finding("fault", subject, f"{e.sentence} {e.detail}".strip(), fix))
    return findings


def _unseen(look: Look) -> list[Finding]:
    """Said first: what a node does not report is unknown, not missing."""
    return [
        Finding(
            "fault",
            f"node {name}",
            "does not report: its memory, its storages and the names of its machines and templates are unknown",
            f"systemctl restart pvestatd on {name}",
        )
        for name, state in look.nodes.items()
        if state == "unknown"
    ]


def _privileges(look: Look) -> list[Finding]:
    """Findings about what the token may not do of all that the plans, templates and pools need."""
    subject, settings = f"server {look.server} privileges", look.settings
    options = [p.options for p in look.plans.values()]
    templates, wires, shared = [r for c in look.systems() for r in c.rows], set(), False
    try:
        for system in look.systems():
            for node, state in look.nodes.items():
                copies = system.on(node) if state == "online" else []
                wires |= {w for t in copies for w in _wires(t.config)}
                shared |= any(t.node != node for t in copies)
    except VmbridgeError:
        pass  # a template that cannot be read is told with its plan, and the privilege for it here
    things: dict[str, set[str]] = {
        "machine": {str(first) for first, _ in settings["vm_ids"]},
        "template": {str(r["vmid"]) for r in templates},
        "disks": {o[k] for o in options for k in ("storage", "additional_storage")} - {""},
        "backups": {str(settings.get("backup_storage") or "")} - {""},
        "isos": {str(settings.get("iso_storage") or "")} - {""},
        "bridge": {_wire(b, v) for b, v in look.networks},
        "template's bridge": wires,
        "node": set(look.nodes),
        "pool": {o.get("template_pool", "") for o in options} - {""},
    }
    sold = {word for word in ("snapshots", "backups") if any(getattr(p, word) for p in look.plans.values())}
    sold |= {word for word in ("startup_order", "template_pool") if any(o.get(word) for o in options)}
    sold |= {"shared_template"} if shared else set()
    sold |= {"isos"} if settings.get("iso_storage") else set()
    found_ = privileges.missing(look.granted, things, sold, look.major, subject)
    return found_ or [Finding("ok", subject, "all needed privileges are there")]


def _wire(bridge: str, vlan: int | str) -> str:
    return f"{bridge}/{vlan}" if int(vlan or 0) else bridge


def _wires(config: Mapping[str, Any]) -> set[str]:
    lines = [convert.parse_line(str(v)) for k, v in config.items() if re.fullmatch(r"net\d+", k)]
    return {_wire(line["bridge"], line.get("tag", 0)) for line in lines if line.get("bridge")}


def _nodes(look: Look) -> list[Finding]:
    """Quorum, nodes that are off, clocks that differ by more than SKEW seconds."""
    findings = []
    cluster = next((r for r in look.api.get("cluster/status") if r.get("type") == "cluster"), None)
    if cluster and not int(cluster.get("quorate") or 0):
        findings.append(Finding("fault", f"server {look.server}", "the cluster has no quorum", "bring its nodes back"))
    for name, state in look.nodes.items():
        subject = f"node {name}"
        if state == "unknown":
            continue
        if state != "online":
            findings.append(Finding("warning", subject, f"is {state}", "new servers go to other nodes"))
            continue
        try:
            skew = abs(float(look.api.get(f"nodes/{name}/time")["time"]) - look.clock.now())
        except VmbridgeError as e:
            findings.append(Finding("warning", subject, f"time not read: {e.detail}", "give Sys.Audit on /"))
            continue
        if skew > SKEW:
            findings.append(
                Finding("fault", subject, f"its clock differs by {skew:.0f} s", "set up chrony on the node and here")
            )
    return findings


def _plan(look: Look, name: str, package: Package) -> list[Finding]:
    """The plan's storages, then each system it sells, by the functions that birth asks."""
    subject, findings = f"plan {name}", []
    wanted, storage = package.options["node"], package.options["storage"]
    nodes = {n: state for n, state in look.nodes.items() if wanted in ("", n)}
    if not nodes:
        fix = f"use one of: {', '.join(look.nodes)}"
        return [Finding("fault", subject, f"there is no node {wanted!r}", fix)]
    online = [n for n, state in nodes.items() if state == "online"]
    if not online:
        which = ", ".join(f"{n} is {state}" for n, state in nodes.items())
        return [Finding("warning", subject, f"was not looked at: {which}", "see the nodes")]
    findings += [_finding(subject, f) for f in choice.of_plan(package, look.system(package).stores)]
    findings += _rooms(look, subject, f"[plans.{name}]", package, online)
    told = []
    for template in package.templates or (package.template,):
        more, where = _system(look, subject, replace(package, template=template), online, len(online) < len(nodes))
        findings += more
        told += [where] if where else []
    return findings or [Finding("ok", subject, "; ".join(told) or f"storage {storage!r}")]


def _rooms(look: Look, subject: str, where: str, package: Package, online: list[str]) -> list[Finding]:
    """Each storage of a plan: there, reporting, with room for one machine."""
    findings, need = [], {package.options["storage"]: package.disk_gib}
    other = package.options["additional_storage"] or package.options["storage"]
    if package.additional_disk_gib:
        need[other] = need.get(other, 0) + package.additional_disk_gib
    for storage, gib in need.items():
        stores = look.storage(storage)
        here = [r for r in stores if r["node"] in online]
        known = [r for r in here if r.get("status") == "available"]
        if not stores and not look.hidden(storage):
            key = "storage" if storage == package.options["storage"] else "additional_storage"
            findings.append(Finding("fault", subject, f"there is no storage {storage!r}", f"correct {where} {key}"))
        elif stores and not here:
            findings.append(
                Finding(
                    "fault",
                    subject,
                    f"storage {storage!r} is not on {', '.join(online)}",
                    f"allow it there, or correct {where}",
                )
            )
        elif here and not known:
            text = f"storage {storage!r} does not answer on {', '.join(r['node'] for r in here)}: its room is unknown"
            findings.append(Finding("fault", subject, text, "see Datacenter > Storage and the nodes' mounts"))
        elif known and not any(int(r.get("maxdisk") or 0) - int(r.get("disk") or 0) >= gib * 1024**3 for r in known):
            text = f"storage {storage!r} has no room for {gib} GiB"
            findings.append(Finding("fault", subject, text, "free room or add storage"))
    return findings


def _system(look: Look, subject: str, package: Package, online: list[str], others: bool) -> tuple[list[Finding], str]:
    """(what speaks against one system of a plan, the templates that it means). What only some nodes lack leaves those
    out. `others`: there are nodes whose templates are not known now."""
    systems = look.system(package)
    sources = {n: templates for n in online if (templates := systems.on(n))}
    if not sources:
        if "VM.Audit" not in look.granted.on(f"/vms/{look.settings['vm_ids'][0][0]}"):
            return [], ""  # it would not be shown if it were there; the missing privilege is told by itself
        which = " ".join([f"named {package.template!r}", *(f"with id {i}" for i in choice.pins(package))])
        pool = f" in pool {p!r}" if (p := package.options.get("template_pool")) else ""
        if others:
            text = f"no template {which}{pool} is known on {', '.join(online)}; the other nodes' are not known now"
            return [Finding("warning", subject, text, "see the nodes")], ""
        fix = "make it, or correct the plan's templates"
        return [Finding("fault", subject, f"no node has a template {which}{pool}", fix)], ""
    faults = [f for n in sources if (f := systems.ambiguous(n))]
    lost = sorted(set(choice.pins(package)) - {str(r["vmid"]) for r in systems.rows})
    if lost and not others:
        text = f"no template named {package.template!r} has the id {', '.join(lost)}"
        faults.append(Fault(text, "make it, or take it off the plan's templates", fatal=False))
    good = [n for n, templates in sources.items() if not choice.fatal(systems.faults(templates[0]))]
    for source in {s.vm_id: s for templates in sources.values() for s in templates}.values():
        for fault in [*systems.faults(source), *_left_locked(look, source)]:
            out = f"; new servers go to {', '.join(good)}" if good and fault.fatal else ""
            faults.append(replace(fault, text=fault.text + out, fatal=fault.fatal and not out))
    ids = sorted({(s.vm_id, s.node) for templates in sources.values() for s in templates})
    where = ", ".join(f"{vm_id} on {node}" for vm_id, node in ids)
    return [_finding(subject, f) for f in dict.fromkeys(faults)], f"{package.template} is template {where}"


def _left_locked(look: Look, source: Template) -> list[Fault]:
    """The lock of a template that no task holds any more."""
    lock = str(source.config.get("lock") or "")
    left = lock and not tasks.holder(look.api, source.node, source.vm_id, lock)
    return templates.locked(source, held=False) if left else []


def _finding(subject: str, fault: Fault) -> Finding:
    return Finding("fault" if fault.fatal else "warning", subject, fault.text, fault.fix)


def _bridges(look: Look) -> list[Finding]:
    findings = []
    for node in (n for n, state in look.nodes.items() if state == "online"):
        try:
            have = {n["iface"] for n in look.api.get(f"nodes/{node}/network")}
        except VmbridgeError as e:
            findings.append(Finding("warning", f"node {node}", f"networks not read: {e.detail}", "see the node"))
            continue
        for bridge, vlan in sorted(look.networks):
            if bridge in have or "SDN.Use" not in look.granted.on(f"/sdn/zones/localnetwork/{_wire(bridge, vlan)}"):
                continue  # one that we may not use is not shown; the missing privilege is told by itself
            text = f"has no bridge {bridge}"
            if not any(f.text == text and f.subject == f"node {node}" for f in findings):
                findings.append(Finding("fault", f"node {node}", text, f"create {bridge} or correct the pool"))
    return findings


def _firewall(look: Look) -> list[Finding]:
    """What keeps filters from filtering, and the page from changing rules: never switched by us, since a policy of the
    datacenter could shut everybody out."""
    if not any(p.options["firewall"] for p in look.plans.values()):
        return []
    switches, subject = rules.switches(look.api), f"server {look.server} firewall"
    if switches.pop("") == "cluster":
        text = "the datacenter firewall is off: address filters do nothing, and customers' rules cannot be changed"
        fix = "Datacenter > Firewall > Options > Firewall = Yes, after allowing your own access"
        return [Finding("warning", subject, text, fix)]
    words = {
        "node": (
            "its firewall is off: address filters do nothing there, and customers' rules cannot be changed",
            "NODE > Firewall > Options > Firewall = Yes, after allowing your own access",
        ),
        "engine": (
            "its firewall is the technology preview on nftables: customers see their rules and cannot change them",
            "NODE > Firewall > Options > nftables (tech preview) = No",
        ),
    }
    findings = []
    for node, word in sorted(switches.items()):
        if word in words:
            text, fix = words[word]
            findings.append(Finding("warning", f"node {node}", text, fix.replace("NODE", node)))
    return findings


def _backups(look: Look) -> list[Finding]:
    """The storage for backups: there, for backups, and not pruning below what is sold."""
    plans = look.plans
    most = max((p.backups for p in plans.values()), default=0)
    name, subject = str(look.settings.get("backup_storage", "")), f"server {look.server} backups"
    if not most:
        return []
    if not name:
        return [
            Finding(
                "fault",
                subject,
                "plans sell backups, but no storage is named",
                f"set backup_storage of [servers.{look.server}]",
            )
        ]
    stores = look.storage(name)
    if not stores and look.hidden(name):
        return []
    if not stores:
        return [
            Finding(
                "fault",
                subject,
                f"there is no storage {name!r}",
                f"correct backup_storage of [servers.{look.server}]",
            )
        ]
    if not any("backup" in str(r.get("content", "")).split(",") for r in stores):
        return [
            Finding("fault", subject, f"storage {name!r} does not take backups", "add the content type `backup` to it")
        ]
    settings: dict[str, Any] = next((s for s in look.api.get("storage") if s.get("storage") == name), {})
    kept = convert.parse_line(str(settings.get("prune-backups", "keep-all=1")))
    total = sum(int(v) for k, v in kept.items() if k.startswith("keep-") and k != "keep-all" and str(v).isdigit())
    if kept.get("keep-all") != "1" and 0 < total < most:
        return [
            Finding(
                "fault",
                subject,
                f"storage {name!r} prunes to {total} backups, but up to {most} are sold: backups would be refused",
                f"pvesm set {name} --prune-backups keep-all=1",
            )
        ]
    return [Finding("ok", subject, f"storage {name!r}")]


def _isos(look: Look) -> list[Finding]:
    """The storage for ISOs: there, for ISOs, and on every node, since a machine is offered what its own node has."""
    name, subject = str(look.settings.get("iso_storage") or ""), f"server {look.server} ISOs"
    if not name:
        return []
    rows = look.storage(name)
    if not rows and look.hidden(name):
        return []
    correct = f"correct iso_storage of [servers.{look.server}]"
    if not rows:
        return [Finding("fault", subject, f"there is no storage {name!r}", correct)]
    if not any("iso" in str(r.get("content", "")).split(",") for r in rows):
        fix = "add the content type `iso` to it"
        return [Finding("fault", subject, f"storage {name!r} does not take ISOs", fix)]
    here = {str(r["node"]) for r in rows if r.get("status") == "available"}
    online = {n for n, state in look.nodes.items() if state == "online"}
    if out := sorted(online - here):
        text = f"storage {name!r} is not available on {', '.join(out)}: no ISOs are offered there"
        return [Finding("warning", subject, text, f"allow it there, or {correct}")]
    counts = {n: len(media.content(look.api, name, n)) for n in sorted(here)}
    if empty := [n for n, count in counts.items() if not count]:
        text = f"storage {name!r} has no ISO on {', '.join(empty)}"
        return [Finding("warning", subject, text, "upload some there (Datacenter > Storage > ISO Images)")]
    told = ", ".join(f"{count} on {n}" for n, count in counts.items())
    return [Finding("ok", subject, f"storage {name!r}: {told}")]
