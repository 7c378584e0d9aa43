"""Whose machine it is: its configuration, found on whichever node and proven ours by its uuid. What it should be:
goal.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.errors import Busy, NeedsOperator, NotOurs, Permanent, Transient, VmbridgeError
from bridge.model import Seen, VmRef
from drivers import reads
from drivers.proxmox import convert, goal, tasks
from drivers.proxmox.api import Api
from drivers.proxmox.errors import absent


def config_of(api: Api, ref: VmRef) -> tuple[str, dict[str, Any] | None]:
    """(node, config); the config is None when the machine is proven absent."""
    if ref.node:
        known = reads.find(_gone(api, ref))
        if known:
            return ref.node, None
        rows = reads.find((api.server, f"nodes/{ref.node}/qemu/{ref.vm_id}/pending"))
        if rows:
            return ref.node, _pending_view(rows)[0]
        try:
            return ref.node, api.once(f"nodes/{ref.node}/qemu/{ref.vm_id}/config")
        except VmbridgeError as e:
            if not absent(e):
                raise
    for row in api.get("cluster/resources", type="vm"):
        if str(row["vmid"]) == ref.vm_id:
            if row.get("type") != "qemu":
                raise NotOurs(detail=f"{ref.vm_id} is a {row.get('type')}")
            return row["node"], api.get(f"nodes/{row['node']}/qemu/{ref.vm_id}/config")
    cluster = next((r for r in api.get("cluster/status") if r.get("type") == "cluster"), None)
    if cluster and not int(cluster.get("quorate") or 0):
        raise Transient("The cluster has no quorum; this goes on when it has.", detail="absence is not proven")
    reads.keep(_gone(api, ref), True)
    return ref.node, None


def _gone(api: Api, ref: VmRef) -> reads.Key:
    return api.server, "gone", ref.node, ref.vm_id


def proven(api: Api, ref: VmRef) -> tuple[str, dict[str, Any] | None]:
    """As `config_of`, of a machine that is ours. Raises NotOurs."""
    node, config = config_of(api, ref)
    if config is None:
        return node, None
    uuid = convert.uuid_of(config)
    if uuid and uuid in ref.uuids:
        return node, config
    if not uuid and ref.birth.restoring:
        return node, config  # a restore of ours wrote over it and has not ended well
    if not ref.identified and ref.birth.task:
        if config.get("lock") == "clone":
            refuse_locked(api, ref, node, config)
        if any(u in str(config.get("description", "")) for u in ref.uuids):
            return node, config
    raise NotOurs(detail=f"VM {ref.vm_id} on {node} has uuid {uuid or 'none'}")


def present(api: Api, ref: VmRef) -> tuple[str, dict[str, Any]]:
    """As `proven`, of a machine that has to be there. Raises Permanent when it is gone."""
    node, config = proven(api, ref)
    if config is None:
        raise Permanent("The machine is gone.", code="vm_absent", detail=f"VM {ref.vm_id} is nowhere in the cluster")
    return node, config


def unlocked(api: Api, ref: VmRef) -> str:
    """The node of the proven machine. Raises Busy while PVE does something to it."""
    node, config = present(api, ref)
    refuse_locked(api, ref, node, config)
    return node


def write(api: Api, ref: VmRef, node: str, config: Mapping[str, Any], **values: Any) -> None:
    """Write to the machine whose configuration was just proven, and to no other: PVE refuses it when that is not the
    present one any more (`digest`). So the proof holds for what follows at once."""
    path = f"nodes/{node}/qemu/{ref.vm_id}/config"
    api.put(path, digest=config.get("digest"), **values)
    reads.keep((api.server, path), {k: v for k, v in {**config, **values}.items() if k != "digest"})


@dataclass(frozen=True)
class Both:
    """The configuration of a proven machine as it will be and as it is until the next restart; keys that wait for
    that."""

    node: str
    config: dict[str, Any]
    now: dict[str, Any]
    waiting: list[str]


def read(api: Api, ref: VmRef) -> Seen:
    both = seen(api, ref)
    refuse_locked(api, ref, both.node, both.config)
    waiting = [k for k in both.waiting if k != "boot" or not only_discs(both)]  # nobody restarts it for that
    return Seen(both.config, tuple(dict.fromkeys(goal.word(k) for k in waiting)), both.node)


def seen(api: Api, ref: VmRef) -> Both:
    """Also while it is locked."""
    node, rows = _pending(api, ref)
    config, waiting = _pending_view(rows)
    uuid = convert.uuid_of(config)
    if uuid not in ref.uuids and (uuid or not ref.birth.restoring):
        raise NotOurs(detail=f"VM {ref.vm_id} on {node} has uuid {uuid or 'none'}")
    return Both(node, config, {r["key"]: r["value"] for r in rows if "value" in r}, waiting)


def only_discs(both: Both) -> bool:
    """Whether the boot order that waits has the disk first and differs in the place of CD drives alone: PVE itself puts
    a drive into it that gets a disc (API2/Qemu.pm, "append new CD drives to bootorder")."""
    before = [d for d in convert.boot_devices(both.now) if d not in convert.cd_drives(both.now)]
    after = [d for d in convert.boot_devices(both.config) if d not in convert.cd_drives(both.config)]
    return bool(before == after and not convert.disk_first(both.config))


def started_from_disc(both: Both) -> bool:
    """Whether it was started once from a CD, and the order that waits has the disk first again."""
    return bool(only_discs(both) and convert.disk_first(both.now))


def _pending(api: Api, ref: VmRef) -> tuple[str, list[dict[str, Any]]]:
    """(node, the pending view); the node is found anew when the hint is wrong."""
    if ref.node:
        try:
            return ref.node, api.once(f"nodes/{ref.node}/qemu/{ref.vm_id}/pending")
        except VmbridgeError as e:
            if not absent(e):
                raise
    node, _ = present(api, ref)
    return node, api.once(f"nodes/{node}/qemu/{ref.vm_id}/pending")


def refuse_locked(api: Api, ref: VmRef, node: str, config: Mapping[str, Any]) -> None:
    """Raises Busy while a task holds the machine's lock, and NeedsOperator when that has ended without freeing it: a
    token never can (PVE::API2::Qemu: `skiplock` and `lock` are root's). The lock is looked at again after the tasks,
    since it goes with its task."""
    lock = str(config.get("lock") or "")
    if not lock:
        return
    by = tasks.holder(api, node, ref.vm_id, lock)
    if by == tasks.UNSEEN:
        raise Busy(detail=f"lock {lock}", lock=lock, node=node)
    if by:  # however long that takes
        raise Busy(detail=f"lock {lock}, held by a running {by}", node=node)
    reads.forget()
    if str((config_of(api, ref)[1] or {}).get("lock") or "") != lock:
        raise Busy(detail=f"lock {lock} has just gone", node=node)
    command = f"qm start {ref.vm_id}" if lock == "suspended" else f"qm unlock {ref.vm_id}"
    raise NeedsOperator(command, node, f"lock {lock} is left by a task that has ended; run `{command}` on {node}")


def _pending_view(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """/pending -> (the config as it will be, names of what waits for a restart)."""
    config: dict[str, Any] = {}
    waiting = []
    for row in rows:
        key = row["key"]
        if row.get("delete"):
            waiting.append(key)
        elif "pending" in row:
            config[key] = (
                _grown(str(row["pending"]), str(row.get("value", ""))) if convert.DISKS.match(key) else row["pending"]
            )
            waiting.append(key)
        else:
            config[key] = row.get("value")
    return config, waiting


def _grown(pending: str, now: str) -> str:
    """A disk's line that waits, with the size that the disk has now: growing is not part of what waits."""
    size = convert.parse_line(now).get("size")
    if not size or pending.split(",")[0] != now.split(",")[0]:
        return pending
    return ",".join([*(p for p in pending.split(",") if not p.startswith("size=")), f"size={size}"])
