"""Writing what differs from the order, one call after the other. What differs is decided in goal.py."""

from __future__ import annotations

import re

from bridge.errors import Permanent
from bridge.model import Converged, Order, Seen, VmRef
from drivers.proxmox import convert, firewall, flags, goal, proof, storages
from drivers.proxmox.api import Api


def step(api: Api, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
    """Scalars in one PUT, each disk's limits in its own (a hot-plug error of one must not hold back the others), the
    firewall. What was written is looked at by another call before it counts: an answer alone is no proof. Then a
    missing disk, and growth last, so that nothing is left to do when the last task ends well."""
    seen = proof.read(api, ref)
    base, todo = f"nodes/{seen.node}/qemu/{ref.vm_id}", goal.changes(order, seen.config)
    changed = [*todo.values, *(f"-{k}" for k in todo.drop)]
    if (
        todo.boot
    ):  # before what names the disk in the old way goes: an interruption must not change which disk is the system's
        api.put(f"{base}/config", boot=todo.boot)
    if changed:
        api.put(f"{base}/config", **{k: str(v) for k, v in todo.values.items()}, delete=",".join(todo.drop) or None)
    changed += ["boot"] if todo.boot else []
    late = [] if order.birth else flags.behind_growth(todo.disks, todo.grow, seen.config)
    for slot, line in ((s, v) for s, v in todo.disks.items() if s not in late):
        api.put(f"{base}/config", **{slot: line})
        changed.append(slot)
    changed += firewall.converge(api, base, order) if not order.frozen else []
    if not convert.system_disk(seen.config):
        raise Permanent(code="no_system_disk", detail=f"VM {ref.vm_id} has no system disk")
    if any(k != "cipassword" for k in changed):  # of that nothing can be seen
        return Converged("", tuple(changed), tuple(todo.refused), more=True, unproven=True, seen=seen)
    if todo.allocate:
        return _allocate(api, base, todo, order.package.snapshots if allocate else None, tuple(changed), seen)
    if todo.grow:
        slot, gib = todo.grow[0]
        task = str(api.put(f"{base}/resize", disk=slot, size=f"{gib}G") or "")
        more = bool(late) or len(todo.grow) > 1
        return Converged(task, (*changed, slot), tuple(todo.refused), more=more, seen=_grown(seen, slot, gib))
    return Converged("", tuple(changed), tuple(todo.refused), seen=seen)


def _grown(seen: Seen, slot: str, gib: int) -> Seen:
    """A growth that is about to begin counts as done: when it fails, the next try looks again."""
    line = re.sub(r"size=[^,]+", f"size={gib}G", str(seen.config[slot]))
    return Seen({**seen.config, slot: line}, seen.pending, seen.node)


def _allocate(
    api: Api, base: str, todo: goal.Changes, snapshots: int | None, changed: tuple[str, ...], seen: Seen
) -> Converged:
    """`snapshots` that are sold, which the disk has to be able to take; None while it may not be made."""
    slot, line = todo.allocate or ("", "")
    running = api.active_task(seen.node, base.rsplit("/", 1)[1], "qmconfig")
    if running:  # an earlier call whose reply was lost
        return Converged(running, changed, more=True, seen=seen)
    if snapshots is None:
        return Converged("", changed, missing_disk=True, seen=seen)
    task = api.post(f"{base}/config", **{slot: storages.formatted(api, line, snapshots)})
    return Converged(str(task or ""), (*changed, slot), more=True, seen=seen)
