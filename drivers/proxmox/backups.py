"""Archives by vzdump, and restore over the same machine. Rules: pve-manager's API2/VZDump.pm, qemu-server's
create_vm."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from bridge.errors import Permanent, StorageAway, Transient, UpstreamError
from bridge.model import Backup, VmRef
from drivers.proxmox import tasks
from drivers.proxmox.api import Api
from drivers.proxmox.convert import archive_owner

CREATED = re.compile(r"INFO: creating .+ archive '([^']+)'")  # a path under a storage's `dump`, or a snapshot of PBS


def storage_of(settings: Mapping[str, Any]) -> str:
    if not settings.get("backup_storage"):
        raise Permanent(
            "This server has no storage for backups.",
            code="no_backup_storage",
            detail="[servers.*] backup_storage is empty",
        )
    return str(settings["backup_storage"])


def ids_of(ref: VmRef) -> tuple[str, ...]:
    """The machine's id and those it had before a redeploy: older archives carry them."""
    return (ref.vm_id, *map(str, ref.birth.old_vm_ids))


def node_of(api: Api, storage: str, hint: str) -> str:
    """A node that has the storage, the machine's own first. Raises StorageAway when none has it just now."""
    rows = [
        r
        for r in api.get("cluster/resources", type="storage")
        if r.get("storage") == storage and r.get("status") == "available"
    ]
    nodes = sorted(str(r["node"]) for r in rows)
    if not nodes:
        raise StorageAway(
            "The storage for backups does not answer.",
            code="backup_storage_away",
            detail=f"storage {storage!r} is available on no node",
        )
    return hint if hint in nodes else nodes[0]


def listed(api: Api, node: str, storage: str, vm_id: str) -> list[Backup]:
    rows = api.get(f"nodes/{node}/storage/{storage}/content", content="backup", vmid=int(vm_id))
    return [
        Backup(
            str(r["volid"]),
            float(r.get("ctime") or 0),
            int(r.get("size") or 0),
            str(r.get("notes") or "").strip(),
            bool(int(r.get("protected") or 0)),
        )
        for r in rows
        if archive_owner(str(r["volid"])) == vm_id
    ]


def take(api: Api, node: str, storage: str, vm_id: str, mark: str) -> str:
    """`remove=0`: the storage's own pruning would take a customer's oldest without asking. The answer `OK` without a
    task means that the machine is on another node and nothing was done."""
    answer = str(
        api.post(
            f"nodes/{node}/vzdump",
            vmid=vm_id,
            storage=storage,
            mode="snapshot",
            compress="zstd",
            remove=False,
            notes__template=f"vmbridge {mark}",
        )
        or ""
    )
    if not answer.startswith("UPID:"):
        moved = "The machine has just moved to another node; it is looked for again."
        raise Transient(moved, detail=f"vzdump on {node} answered {answer!r}: the machine is not there")
    return answer


def archive_of(api: Api, storage: str, task: str) -> str:
    """As vzdump's own log names it. Notes come when the file has its name already, and that they could not be written,
    by a storage that is full by then, is a warning alone (VZDump.pm, exec_backup_task)."""
    if not (match := tasks.UPID.match(task)):
        return ""
    lines = api.get(f"nodes/{match.group(1)}/tasks/{task}/log", limit=0)
    made = [m.group(1) for line in lines if (m := CREATED.search(str(line.get("t") or "")))]
    return f"{storage}:backup/{made[0].rpartition('/dump/')[2]}" if len(made) == 1 else ""


def restore(api: Api, node: str, vm_id: str, archive: str, storage: str) -> str:
    return str(
        api.post(
            f"nodes/{node}/qemu", vmid=int(vm_id), archive=archive, force=True, unique=False, storage=storage or None
        )
    )


def delete(api: Api, node: str, storage: str, archive: str, vm_ids: Collection[str]) -> str:
    """Only an archive of this very machine's ids; one that is gone is done."""
    if archive_owner(archive) not in vm_ids:
        raise Permanent("This archive is not of this server.", code="foreign_archive", detail=archive)
    try:
        return str(api.delete(f"nodes/{node}/storage/{storage}/content/{archive}") or "")
    except UpstreamError as e:
        if "does not exist" in e.detail or "no such" in e.detail.lower():
            return ""
        raise
