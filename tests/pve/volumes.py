"""What the simulated storages can do by their plugin, and how their volumes are called. Rules as read from pve-storage:
each plugin's `volume_has_feature`, `get_formats` and `parse_volname`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.pve.cluster import Cluster, Storage

FILES = ("dir", "nfs", "cifs", "glusterfs")
LINKED = (*FILES, "lvmthin", "rbd", "zfspool", "zfs", "btrfs")
DISK = re.compile(r"^(scsi|virtio|sata|ide|efidisk|tpmstate)\d+$")


def formats(store: Storage) -> tuple[str, ...]:
    """Those it can make, its own first."""
    if store.kind in FILES:
        return "raw", "qcow2", "vmdk"
    return ("qcow2", "raw") if store.kind == "lvm" and store.chain else ("raw",)


def format_of(volume: str) -> str:
    match = re.search(r"\.(qcow2|raw|vmdk)$", volume)
    return match.group(1) if match else "raw"


def plain(key: str, text: str) -> str:
    """A property string as print_drive and print_net write it: the word of its format's `default_key` first and without
    its name."""
    kind = key.rstrip("0123456789")
    words = {"net": ("model",), "agent": ("enabled",), "boot": ("legacy",), "memory": ("current",), "vga": ("type",)}
    names = ("file", "volume") if DISK.match(key) or kind == "unused" else words.get(kind, ())
    first, rest = "", []
    for part in text.split(","):
        name, eq, value = part.partition("=")
        if not eq or name in names:
            first = value if eq else name
        else:
            rest.append(part)
    mac = next((p for p in rest if p.startswith("macaddr=")), "") if kind == "net" else ""
    if mac:
        rest.remove(mac)
        first = f"{first}={mac.partition('=')[2]}"
    return ",".join([*([first] if first else []), *rest])


def storage_of(volume: str) -> str:
    return volume.partition(":")[0]


def new_name(cluster: Cluster, store: Storage, vmid: int, wanted: str = "") -> str:
    """The next free volume of a machine; a format that the storage has not becomes its own."""
    word = wanted if wanted in formats(store) else formats(store)[0]
    used = [int(n) for v in cluster.volumes for n in re.findall(rf"^{store.name}:.*vm-{vmid}-disk-(\d+)", v)]
    name = f"vm-{vmid}-disk-{max(used, default=-1) + 1}"
    if store.kind in FILES:
        return f"{store.name}:{vmid}/{name}.{word}"
    return f"{store.name}:{name}" + (".qcow2" if word == "qcow2" else "")


def takes_snapshots(cluster: Cluster, config: dict[str, str]) -> bool:
    """Whether every volume of a configuration can take one."""
    for key, line in config.items():
        if not DISK.match(key) or "media=cdrom" in line or ":" not in line:
            continue
        volume = line.split(",")[0]
        store = cluster.storages.get(storage_of(volume))
        if store is None:
            continue
        if store.kind in (*FILES, "lvm") and format_of(volume) != "qcow2":
            return False
        if store.kind in ("iscsi", "iscsidirect"):
            return False
    return True


def is_iso(line: str) -> bool:
    return bool(re.match(r"[\w.-]+:iso/", line))


def is_cd(line: str) -> bool:
    return "media=cdrom" in line or line.split(",")[0] in ("none", "cdrom")


def unavailable(cluster: Cluster, name: str, node: str) -> str:
    """Why a node cannot use a storage (Storage.pm: storage_config, storage_check_node, activate_storage); empty when it
    can."""
    store = cluster.storages.get(name)
    if store is None:
        return f"storage '{name}' does not exist"
    if node not in store.nodes:
        return f"storage '{name}' is not available on node '{node}'"
    return "" if store.online else f"storage '{name}' is not online"


def missing(cluster: Cluster, line: str, node: str) -> str:
    """Why a node cannot use the ISO of a drive's line, as activate_volumes says it; empty when it can, or there is
    none."""
    if not is_iso(line):
        return ""
    volume = line.split(",")[0]
    why = unavailable(cluster, storage_of(volume), node)
    if why or node in cluster.isos.get(volume, ()):
        return why
    return f"volume '{volume}' does not exist"
