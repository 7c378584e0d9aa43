"""The driver's part of `vmbridge check`: what this Proxmox server lacks, each with its fix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.errors import VmbridgeError
from bridge.model import Finding, Package
from drivers.proxmox import choice, convert
from drivers.proxmox.templates import Fault

if TYPE_CHECKING:
    from drivers.proxmox.driver import Proxmox

VMS = (
    "VM.Audit",
    "VM.Clone",
    "VM.Allocate",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Disk",
    "VM.Config.Options",
    "VM.Config.HWType",
    "VM.Config.Cloudinit",
    "VM.Config.CDROM",
    "VM.PowerMgmt",
    "VM.Console",
)
BY_WORD = {"snapshots": ("VM.Snapshot", "VM.Snapshot.Rollback"), "backups": ("VM.Backup",)}
AGENT = {8: ("VM.Monitor",), 9: ("VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted")}
STORAGE = ("Datastore.AllocateSpace", "Datastore.Audit")
SKEW = 30


def check(driver: Proxmox, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]]) -> list[Finding]:
    subject = f"server {driver.server}"
    try:
        version = driver.api.get("version")
    except VmbridgeError as e:
        return [Finding("fault", subject, f"{e.sentence} {e.detail}".strip(), _connection_fix(driver, e))]
    found = [Finding("ok", subject, f"Proxmox VE {version.get('version')}")]
    major = int(str(version.get("version", "0")).split(".")[0] or 0)
    if major not in (8, 9):
        found.append(Finding("fault", subject, f"Proxmox VE {major} is not supported", "use Proxmox VE 8 or 9"))
    rows = driver.api.get("cluster/resources")
    parts: list[Callable[[], list[Finding]]] = [
        lambda: _privileges(driver, plans, networks, major),
        lambda: _nodes(driver, rows),
        *[partial(_plan, driver, name, package, rows) for name, package in plans.items()],
        lambda: _bridges(driver, rows, networks),
        lambda: _firewall(driver, plans),
        lambda: _backups(driver, plans, rows),
    ]
    for part in parts:  # one that cannot be read must not hide the others
        try:
            found += part()
        except VmbridgeError as e:
            found.append(
                Finding(
                    "fault", subject, f"{e.sentence} {e.detail}".strip(), "see the missing privileges, or try again"
                )
            )
    return found


def _connection_fix(driver: Proxmox, e: VmbridgeError) -> str:
    where = f"[servers.{driver.server}]"
    if e.code == "upstream_credentials":
        return f"check {where} token_id and token_secret; the token may be expired or its user disabled"
    if "certificate" in str(e.detail).lower() or "SSL" in e.detail:
        return (
            f"check {where} endpoint's host name against the certificate, and ca_file (the cluster's pve-root-ca.pem)"
        )
    return f"check {where} endpoint and that this machine may reach port 8006"


def _privileges(
    driver: Proxmox, plans: Mapping[str, Package], networks: Iterable[tuple[str, int]], major: int
) -> list[Finding]:
    granted = driver.api.get("access/permissions")
    ordered = any(p.options["startup_order"] for p in plans.values())
    words = [w for w in BY_WORD if any(getattr(p, w) for p in plans.values())]
    need = {
        "/vms": VMS + AGENT.get(major, ()) + tuple(x for w in words for x in BY_WORD[w]),
        "/": ("Sys.Audit", "Sys.Modify") if ordered else ("Sys.Audit",),
    }
    for package in plans.values():
        for storage in {package.options["storage"], package.options["additional_storage"]} - {""}:
            need[f"/storage/{storage}"] = STORAGE
    for bridge, vlan in networks:
        need[f"/sdn/zones/localnetwork/{bridge}" + (f"/{vlan}" if vlan else "")] = ("SDN.Use",)
    found = []
    for path, privileges in need.items():
        held = _held(granted, path)
        missing = [p for p in privileges if p not in held]
        if missing:
            found.append(
                Finding(
                    "fault",
                    f"server {driver.server} privileges",
                    f"missing on {path}: {', '.join(missing)}",
                    f"give the role with {', '.join(missing)} on {path} to both the user and the token",
                )
            )
    return found or [Finding("ok", f"server {driver.server} privileges", "all needed privileges are there")]


def _held(granted: dict[str, Any], path: str) -> set[str]:
    """Privileges on a path, with those that come from above."""
    held: set[str] = set()
    parts = path.strip("/").split("/") if path != "/" else []
    for i in range(len(parts) + 1):
        here = "/" + "/".join(parts[:i])
        held |= {p for p, on in (granted.get(here) or {}).items() if i == len(parts) or int(on or 0)}
    return held


def _nodes(driver: Proxmox, rows: list[dict[str, Any]]) -> list[Finding]:
    found = []
    cluster = next((r for r in driver.api.get("cluster/status") if r.get("type") == "cluster"), None)
    if cluster and not int(cluster.get("quorate") or 0):
        found.append(Finding("fault", f"server {driver.server}", "the cluster has no quorum", "bring its nodes back"))
    for row in (r for r in rows if r.get("type") == "node"):
        subject = f"node {row['node']}"
        if row.get("status") != "online":
            found.append(Finding("warning", subject, f"is {row.get('status')}", "new servers go to other nodes"))
            continue
        try:
            skew = abs(float(driver.api.get(f"nodes/{row['node']}/time")["time"]) - driver.clock.now())
        except VmbridgeError as e:
            found.append(Finding("warning", subject, f"time not read: {e.detail}", "give Sys.Audit on /"))
            continue
        if skew > SKEW:
            found.append(
                Finding("fault", subject, f"its clock differs by {skew:.0f} s", "set up chrony on the node and here")
            )
    return found


def _plan(driver: Proxmox, name: str, package: Package, rows: list[dict[str, Any]]) -> list[Finding]:
    """The plan's storages, then each system it sells, by the functions that birth asks."""
    subject, found = f"plan {name}", []
    wanted, storage = package.options["node"], package.options["storage"]
    names = [r["node"] for r in rows if r.get("type") == "node"]
    if wanted and wanted not in names:
        found.append(Finding("fault", subject, f"there is no node {wanted!r}", f"use one of: {', '.join(names)}"))
    stores = [
        r for r in rows if r.get("type") == "storage" and r.get("storage") == storage and wanted in ("", r["node"])
    ]
    found += [_finding(subject, f) for f in choice.of_plan(package, choice.Choice(driver.api, rows, package).stores)]
    if not stores:
        found.append(Finding("fault", subject, f"there is no storage {storage!r}", f"correct [plans.{name}] storage"))
    elif not any(int(r.get("maxdisk") or 0) - int(r.get("disk") or 0) >= package.disk_gib * 1024**3 for r in stores):
        found.append(
            Finding(
                "fault",
                subject,
                f"storage {storage!r} has no room for {package.disk_gib} GiB",
                "free room or add storage",
            )
        )
    nodes = [
        r["node"] for r in rows if r.get("type") == "node" and r["status"] == "online" and wanted in ("", r["node"])
    ]
    told = []
    for template in package.templates or (package.template,):
        more, where = _system(driver, subject, replace(package, template=template), rows, nodes)
        found += more
        told += [where] if where else []
    return found or [Finding("ok", subject, "; ".join(told))]


def _system(
    driver: Proxmox, subject: str, package: Package, rows: list[dict[str, Any]], nodes: list[str]
) -> tuple[list[Finding], str]:
    """(what speaks against one system of a plan, the templates that it means). What only some nodes lack leaves those out."""
    systems = choice.Choice(driver.api, rows, package)
    sources = {n: found for n in nodes if (found := systems.on(n))}
    if not sources:
        which = " ".join([f"named {package.template!r}", *(f"with id {i}" for i in choice.pins(package))])
        pool = f" in pool {p!r}" if (p := package.options.get("template_pool")) else ""
        return [
            Finding(
                "fault", subject, f"no node has a template {which}{pool}", "make it, or correct the plan's templates"
            )
        ], ""
    faults = [f for n in sources if (f := systems.ambiguous(n))]
    good = [n for n, found in sources.items() if not choice.fatal(systems.faults(found[0]))]
    for source in {s.vm_id: s for found in sources.values() for s in found}.values():
        for fault in systems.faults(source):
            out = f"; new servers go to {', '.join(good)}" if good and fault.fatal else ""
            faults.append(replace(fault, text=fault.text + out, fatal=fault.fatal and not out))
    ids = sorted({(s.vm_id, s.node) for found in sources.values() for s in found})
    where = ", ".join(f"{vm_id} on {node}" for vm_id, node in ids)
    return [_finding(subject, f) for f in dict.fromkeys(faults)], f"{package.template} is template {where}"


def _finding(subject: str, fault: Fault) -> Finding:
    return Finding("fault" if fault.fatal else "warning", subject, fault.text, fault.fix)


def _bridges(driver: Proxmox, rows: list[dict[str, Any]], networks: Iterable[tuple[str, int]]) -> list[Finding]:
    found = []
    for row in (r for r in rows if r.get("type") == "node" and r.get("status") == "online"):
        try:
            have = {n["iface"] for n in driver.api.get(f"nodes/{row['node']}/network")}
        except VmbridgeError as e:
            found.append(
                Finding("warning", f"node {row['node']}", f"networks not read: {e.detail}", "give Sys.Audit on /")
            )
            continue
        for bridge in sorted({b for b, _ in networks} - have):
            found.append(
                Finding(
                    "fault", f"node {row['node']}", f"has no bridge {bridge}", f"create {bridge} or correct the pool"
                )
            )
    return found


def _firewall(driver: Proxmox, plans: Mapping[str, Package]) -> list[Finding]:
    if not any(p.options["firewall"] for p in plans.values()):
        return []
    options = driver.api.get("cluster/firewall/options")
    if not int(options.get("enable") or 0):
        return [
            Finding(
                "warning",
                f"server {driver.server} firewall",
                "the datacenter firewall is off: address filters do nothing",
                "Datacenter > Firewall > Options > Firewall = Yes, after allowing your own access",
            )
        ]
    return []


def _backups(driver: Proxmox, plans: Mapping[str, Package], rows: list[dict[str, Any]]) -> list[Finding]:
    """The storage for backups: there, for backups, and not pruning below what is sold."""
    most = max((p.backups for p in plans.values()), default=0)
    name, subject = str(driver.settings.get("backup_storage", "")), f"server {driver.server} backups"
    if not most:
        return []
    if not name:
        return [
            Finding(
                "fault",
                subject,
                "plans sell backups, but no storage is named",
                f"set backup_storage of [servers.{driver.server}]",
            )
        ]
    stores = [r for r in rows if r.get("type") == "storage" and r.get("storage") == name]
    if not stores:
        return [
            Finding(
                "fault",
                subject,
                f"there is no storage {name!r}",
                f"correct backup_storage of [servers.{driver.server}]",
            )
        ]
    if not any("backup" in str(r.get("content", "")).split(",") for r in stores):
        return [
            Finding("fault", subject, f"storage {name!r} does not take backups", "add the content type `backup` to it")
        ]
    settings: dict[str, Any] = next((s for s in driver.api.get("storage") if s.get("storage") == name), {})
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
