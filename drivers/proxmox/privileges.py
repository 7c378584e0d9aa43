"""The privileges that each of our calls needs, and whether our token has them. One table: the doctor reads it, the
README's paragraph is compared with it, and a test compares it with what the calls of every recipe are asked for.

Sources: the `permissions` of each call in the API's description; qemu-server's API2/Qemu.pm
(`check_vm_modify_config_perm`, `check_storage_access`, `check_storage_access_clone`, `resize_vm`, `create_vm`),
pve-guest-common's `check_vnet_access`, pve-storage's `check_volume_access`, pve-manager's API2/VZDump.pm."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.model import Finding
from drivers.proxmox.api import Api

VM = "/nodes/{node}/qemu/{vmid}"


@dataclass(frozen=True)
class Need:
    """`path` is what the privilege has to hold on: a machine of ours, a template, a storage for disks or for backups, a
    bridge of ours or of a template, a node. `when`: only where a plan sells that; `major`: only on this one."""

    call: str
    path: str
    privilege: str
    when: str = ""
    major: int = 0


MACHINE, TEMPLATE = "/vms/{machine}", "/vms/{template}"
DISKS, BACKUPS, ISOS = "/storage/{disks}", "/storage/{backups}", "/storage/{isos}"
BRIDGE, ITS_BRIDGE = "/sdn/zones/localnetwork/{bridge}", "/sdn/zones/localnetwork/{template's bridge}"
# PVE takes VM.Config.Network for cloud-init's keys too, VM.Snapshot for a rollback, and VM.Allocate for a restore: the
# role names the privilege that is made for it.
KEYS = (
    "VM.Config.CPU VM.Config.Memory VM.Config.Network VM.Config.Disk VM.Config.Options VM.Config.HWType"
    " VM.Config.Cloudinit VM.Config.CDROM"
)
NEEDS: tuple[Need, ...] = (
    # looking
    Need("GET /cluster/status", "/", "Sys.Audit"),
    Need("GET /cluster/firewall/options", "/", "Sys.Audit"),
    Need("GET /nodes/{node}/time", "/nodes/{node}", "Sys.Audit"),
    Need("GET /cluster/resources", "/nodes/{node}", "Sys.Audit"),
    Need("GET /cluster/resources", MACHINE, "VM.Audit"),
    Need("GET /cluster/resources", TEMPLATE, "VM.Audit"),
    Need("GET /cluster/resources", DISKS, "Datastore.Audit"),
    Need("GET /cluster/resources", BACKUPS, "Datastore.Audit", "backups"),
    Need("GET /cluster/resources", "/pool/{pool}", "Pool.Audit", "template_pool"),
    Need(f"GET {VM}/config", MACHINE, "VM.Audit"),
    Need(f"GET {VM}/config", TEMPLATE, "VM.Audit"),
    Need(f"GET {VM}/pending", MACHINE, "VM.Audit"),
    Need(f"GET {VM}/status/current", MACHINE, "VM.Audit"),
    Need(f"GET {VM}/snapshot", MACHINE, "VM.Audit"),
    Need(f"GET {VM}/rrddata", MACHINE, "VM.Audit"),
    Need("GET /nodes/{node}/storage/{storage}/content", DISKS, "Datastore.Audit"),
    Need("GET /nodes/{node}/storage/{storage}/content", BACKUPS, "Datastore.Audit", "backups"),
    Need("GET /nodes/{node}/storage/{storage}/content", ISOS, "Datastore.Audit", "isos"),
    # birth, converge, reinstall
    Need(f"POST {VM}/clone", TEMPLATE, "VM.Clone"),
    Need(f"POST {VM}/clone", MACHINE, "VM.Allocate"),
    Need(f"POST {VM}/clone", DISKS, "Datastore.AllocateSpace"),
    Need(f"POST {VM}/clone", ITS_BRIDGE, "SDN.Use"),
    *[Need(f"PUT {VM}/config", MACHINE, privilege) for privilege in KEYS.split()],
    Need(f"PUT {VM}/config", "/", "Sys.Modify", "startup_order"),
    Need(f"PUT {VM}/config", BRIDGE, "SDN.Use"),
    Need(f"PUT {VM}/config", DISKS, "Datastore.AllocateSpace"),
    Need(f"PUT {VM}/config", ISOS, "Datastore.Audit", "isos"),  # to mount one
    Need(f"POST {VM}/config", MACHINE, "VM.Config.Disk"),
    Need(f"POST {VM}/config", DISKS, "Datastore.AllocateSpace"),
    Need(f"POST {VM}/config", TEMPLATE, "VM.Clone"),
    Need(f"PUT {VM}/resize", MACHINE, "VM.Config.Disk"),
    Need(f"PUT {VM}/resize", DISKS, "Datastore.AllocateSpace"),
    Need(f"POST {VM}/migrate", MACHINE, "VM.Migrate", "shared_template"),
    Need(f"DELETE {VM}", MACHINE, "VM.Allocate"),
    # power, console, guest agent
    *[Need(f"POST {VM}/status/{verb}", MACHINE, "VM.PowerMgmt") for verb in ("start", "stop", "shutdown", "reboot")],
    Need(f"POST {VM}/vncproxy", MACHINE, "VM.Console"),
    Need(f"GET {VM}/vncwebsocket", MACHINE, "VM.Console"),
    *[
        need
        for verb, call in (("POST", "ping"), ("GET", "network-get-interfaces"), ("POST", "set-user-password"))
        for need in (
            Need(f"{verb} {VM}/agent/{call}", MACHINE, "VM.Monitor", major=8),
            Need(
                f"{verb} {VM}/agent/{call}",
                MACHINE,
                "VM.GuestAgent.Unrestricted" if call == "set-user-password" else "VM.GuestAgent.Audit",
                major=9,
            ),
        )
    ],
    # firewall
    *[
        Need(f"GET {VM}/firewall/{w}", MACHINE, "VM.Audit")
        for w in ("options", "rules", "ipset", "ipset/{name}", "aliases")
    ],
    Need("GET /nodes/{node}/firewall/options", "/nodes/{node}", "Sys.Audit"),
    Need(f"GET {VM}/firewall/log", MACHINE, "VM.Console"),
    *[
        Need(f"{verb} {VM}/firewall/{what}", MACHINE, "VM.Config.Network")
        for verb, what in (
            ("PUT", "options"),
            ("POST", "rules"),
            ("PUT", "rules/{pos}"),
            ("DELETE", "rules/{pos}"),
            ("POST", "ipset"),
            ("DELETE", "ipset/{name}"),
            ("POST", "ipset/{name}"),
            ("DELETE", "ipset/{name}/{cidr}"),
            ("DELETE", "aliases/{name}"),
        )
    ],
    # snapshots, backups
    Need(f"POST {VM}/snapshot", MACHINE, "VM.Snapshot", "snapshots"),
    Need(f"DELETE {VM}/snapshot/{{snapname}}", MACHINE, "VM.Snapshot", "snapshots"),
    Need(f"POST {VM}/snapshot/{{snapname}}/rollback", MACHINE, "VM.Snapshot.Rollback", "snapshots"),
    Need("POST /nodes/{node}/vzdump", MACHINE, "VM.Backup", "backups"),
    Need("POST /nodes/{node}/vzdump", BACKUPS, "Datastore.AllocateSpace", "backups"),
    Need("GET /nodes/{node}/vzdump/extractconfig", MACHINE, "VM.Backup", "backups"),
    Need("GET /nodes/{node}/vzdump/extractconfig", BACKUPS, "Datastore.AllocateSpace", "backups"),
    Need("POST /nodes/{node}/qemu", MACHINE, "VM.Backup", "backups"),
    Need("POST /nodes/{node}/qemu", BACKUPS, "Datastore.AllocateSpace", "backups"),
    Need("POST /nodes/{node}/qemu", DISKS, "Datastore.AllocateSpace", "backups"),
    Need("POST /nodes/{node}/qemu", BRIDGE, "SDN.Use", "backups"),
    Need("DELETE /nodes/{node}/storage/{storage}/content/{volume}", MACHINE, "VM.Backup", "backups"),
    Need("DELETE /nodes/{node}/storage/{storage}/content/{volume}", BACKUPS, "Datastore.AllocateSpace", "backups"),
)
WORD = re.compile(r"\{([^}]+)\}\Z")


class Granted:
    """What our token has on each path, as PVE itself counts it (roles, groups, pools, propagation, the token's
    separation)."""

    def __init__(self, api: Api) -> None:
        self._api, self._read = api, {}  # type: Api, dict[str, dict[str, int]]

    def nothing(self) -> bool:
        """Whether there is no permission at all for it."""
        return not self._api.get("access/permissions")

    def on(self, path: str) -> dict[str, int]:
        """Privilege -> whether it reaches further down too."""
        if path not in self._read:
            granted: Mapping[str, Any] = self._api.get("access/permissions", path=path).get(path) or {}
            self._read[path] = {k: int(v or 0) for k, v in granted.items()}
        return self._read[path]


def paths(need: Need, things: Mapping[str, Collection[str]]) -> list[str]:
    """The paths that a need means; `things` are by the word in the table's path."""
    word = WORD.search(need.path)
    if not word:
        return [need.path]
    return [need.path[: word.start()] + one for one in sorted(things.get(word.group(1), ()))]


def missing(
    granted: Granted, things: Mapping[str, Collection[str]], sold: Collection[str], major: int, subject: str
) -> list[Finding]:
    """Each privilege that a call of ours would be refused for. `sold`: words of `when` that hold."""
    lacking: dict[str, set[str]] = {}
    unreached: dict[tuple[str, str], set[str]] = {}
    for need in NEEDS:
        if (need.when and need.when not in sold) or need.major not in (0, major):
            continue
        for path in paths(need, things):
            if need.privilege in granted.on(path):
                continue
            above = next((a for a in _above(path) if need.privilege in granted.on(a)), "")
            if above and not granted.on(above)[need.privilege]:
                unreached.setdefault((above, path), set()).add(need.privilege)
            else:
                lacking.setdefault(path if above else _label(path), set()).add(need.privilege)
    findings = []
    for label, privileges in lacking.items():
        names = ", ".join(sorted(privileges))
        fix = f"give the role with {names} on {label} to both the user and the token"
        findings.append(Finding("fault", subject, f"missing on {label}: {names}", fix))
    for (above, path), privileges in unreached.items():
        names = ", ".join(sorted(privileges))
        text = f"missing on {path}: {names}; they are given on {above} without propagation, so they do not reach it"
        fix = f"give the role on {above} with Propagate to both the user and the token"
        findings.append(Finding("fault", subject, text, fix))
    return findings


def _above(path: str) -> list[str]:
    """The paths above, the nearest first."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[:i]) for i in range(len(parts) - 1, -1, -1)] if path != "/" else []


def _label(path: str) -> str:
    """Where the role is given as a rule."""
    return {"vms": "/vms", "nodes": "/"}.get(path.split("/")[1], path)
