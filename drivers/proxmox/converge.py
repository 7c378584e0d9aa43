"""Writing what differs from the order, one call after the other. What differs is decided in goal.py."""

from __future__ import annotations

import re

from bridge.errors import Permanent
from bridge.model import Converged, Order, Seen, VmRef
from drivers.proxmox import convert, firewall, flags, goal, proof, storages
from drivers.proxmox.api import Api


def step(api: Api, order: Order, ref: VmRef, allocate: bool = False) -> Converged:
    """Scalars in one PUT, each disk's limits in its own (a hot-plug error of one must not hold back the others), the
    firewall, a missing disk, and growth last, so that nothing is left to do when the last task ends well."""
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
    after = _after(api, order, ref, seen, todo, bool(changed))
    if todo.allocate:
        return _allocate(api, base, todo, order.package.snapshots if allocate else None, tuple(changed), after)
    if todo.grow:
        slot, gib = todo.grow[0]
        task = api.put(f"{base}/resize", disk=slot, size=f"{gib}G")
        return Converged(
            str(task or ""), (*changed, slot), tuple(todo.refused), more=bool(late) or len(todo.grow) > 1, seen=after
        )
    return Converged("", tuple(changed), tuple(todo.refused), seen=after)


def _after(api: Api, order: Order, ref: VmRef, seen: Seen, todo: goal.Changes, changed: bool) -> Seen:
    """The configuration after the writes. At birth it is off, so all of them hold; else only a look tells what waits.
    A growth that is about to begin counts as done: when it fails, the next try looks again."""
    if changed and not order.birth:
        seen = proof.read(api, ref)
    config = dict(seen.config)
    if order.birth:
        secret = {"cipassword": "**********"} if "cipassword" in todo.values else {}
        boot = {"boot": todo.boot} if todo.boot else {}
        written = {**config, **todo.values, **todo.disks, **boot, **secret}
        config = {k: v for k, v in written.items() if k not in todo.drop}
    for slot, gib in todo.grow[:1]:
        config[slot] = re.sub(r"size=[^,]+", f"size={gib}G", str(config[slot]))
    return Seen(config, seen.pending, seen.node)


def _allocate(
    api: Api, base: str, todo: goal.Changes, snapshots: int | None, changed: tuple[str, ...], after: Seen
) -> Converged:
    """`snapshots` that are sold, which the disk has to be able to take; None while it may not be made."""
    slot, line = todo.allocate or ("", "")
    running = api.active_task(after.node, base.rsplit("/", 1)[1], "qmconfig")
    if running:  # an earlier call whose reply was lost
        return Converged(running, changed, more=True, seen=after)
    if snapshots is None:
        return Converged("", changed, missing_disk=True, seen=after)
    task = api.post(f"{base}/config", **{slot: storages.formatted(api, line, snapshots)})
    return Converged(str(task or ""), (*changed, slot), more=True, seen=after)
