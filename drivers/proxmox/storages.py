"""Storages by their plugin: on which ones a disk can be a linked clone, which can take snapshots, and in which format a
disk has to be made for that. Facts: `volume_has_feature` and `get_formats` of each plugin in pve-storage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from drivers.proxmox.api import Api

FILES = frozenset(
    {"dir", "nfs", "cifs", "cephfs", "glusterfs"}
)  # raw unless a format is named; only qcow2 takes snapshots
CHAIN = "lvm with snapshot-as-volume-chain"  # from 9 on: qcow2 on thick LVM
NO_DISKS = frozenset({"iscsi", "iscsidirect", "pbs", "esxi"})  # nothing can be made there
NO_LINKED = NO_DISKS | {"lvm", CHAIN}
NO_SNAPSHOTS = NO_DISKS | {"lvm"}


@dataclass(frozen=True)
class Storage:
    """One storage of the cluster. `kind` is its plugin, empty where it is not told; `nodes` are those that have it
    now."""

    name: str
    kind: str
    shared: bool
    content: str
    nodes: frozenset[str]

    @property
    def takes_disks(self) -> bool:
        return "images" in self.content.split(",")


def seen(api: Api, rows: Iterable[Mapping[str, Any]]) -> dict[str, Storage]:
    """By name, from the rows of `cluster/resources`."""
    mine = [r for r in rows if r.get("type") == "storage"]
    chained = _chained(api) if any(r.get("plugintype") == "lvm" for r in mine) else set()
    stores = {}
    for name in {str(r["storage"]) for r in mine}:
        own = [r for r in mine if r["storage"] == name]
        kind = str(own[0].get("plugintype") or "")
        stores[name] = Storage(
            name,
            CHAIN if name in chained else kind,
            bool(int(own[0].get("shared") or 0)),
            str(own[0].get("content", "images")),
            frozenset(str(r["node"]) for r in own if r.get("status") == "available"),
        )
    return stores


def _chained(api: Api) -> set[str]:
    rows = api.get("storage")
    return {str(r["storage"]) for r in rows if r.get("type") == "lvm" and int(r.get("snapshot-as-volume-chain") or 0)}


def disk_format(storage: Storage | None, snapshots: int) -> str:
    """The format that a new disk has to name, so that it can take the snapshots that are sold; empty: the storage's own
    is right."""
    return "qcow2" if snapshots and storage and (storage.kind in FILES or storage.kind == CHAIN) else ""


def of(api: Api, name: str) -> Storage | None:
    return seen(api, api.get("cluster/resources", type="storage")).get(name)


def formatted(api: Api, line: str, snapshots: int) -> str:
    """The line of a disk that is about to be made (`storage:GiB,...`), with the format it needs."""
    word = disk_format(of(api, line.partition(":")[0]), snapshots) if snapshots else ""
    return f"{line},format={word}" if word else line
