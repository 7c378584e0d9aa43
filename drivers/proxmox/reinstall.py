"""A fresh system inside the same machine: disks are replaced in place, so that id, MAC, firewall and backups stay.

Each call looks and does the next thing. What the old disks were is remembered by the caller before the first change: a
disk is old when its volume is one of those, and only those are freed. The copy comes first: PVE keeps the old disk as
unused beside it, also one with snapshots (create_disks and vmconfig_register_unused_drive in qemu-server), so a copy
that is refused has changed nothing."""

from __future__ import annotations

import math
import re
from typing import Any

from bridge.errors import Capacity, Permanent
from bridge.model import Converged, Order, Seen, VmRef
from drivers.proxmox import choice, convert, keys, media, room, snapshots, storages, templates
from drivers.proxmox.api import Api
from drivers.proxmox.errors import ROOM
from drivers.proxmox.templates import Template

FIRMWARE = ("efidisk0", "tpmstate0")  # what an image keeps beside its disk: boot entries, keys
OF_IMAGE = [k for k, v in keys.KEYS.items() if v.use is keys.Use.IMAGE and k not in FIRMWARE]
HARDWARE = [k for k in OF_IMAGE if not keys.KEYS[k].root]  # what an image expects of its machine
ONLY_ROOT = [k for k in OF_IMAGE if keys.KEYS[k].root]
IMPORT = "import-from"


def step(api: Api, order: Order, ref: VmRef, seen: Seen, memory: dict[str, Any], allocate: bool) -> Converged:
    """`memory`: {"old": {"system": volume, "additional": volume}, "template": its id, "at": its node, "home": the
    machine's own}; empty before the first look."""
    base = f"nodes/{seen.node}/qemu/{order.vm_id}"
    if not memory:
        return _remember(api, order, ref, seen)
    at, home = memory.get("at", seen.node), memory.get("home", seen.node)
    slot = convert.system_disk(seen.config)
    old = _volume(seen.config.get(slot, "")) in ("", memory["old"]["system"])
    if old and seen.node != at:  # PVE imports only from a template on the machine's own node
        return Converged(_move(api, base, seen.config, at), ("node",), more=True, memory=memory)
    template = api.get(f"nodes/{at}/qemu/{memory['template']}/config")
    firmware = _firmware(seen.config, template, memory)
    source = convert.system_disk(template)
    slot = slot or source
    if old:
        return _copy(api, base, order, template, source, slot, memory, allocate, seen.config)
    memory["written"] = True
    values, drop = _hardware(order, seen.config, template, slot)
    if values or drop:
        api.put(f"{base}/config", **values, delete=",".join(drop) or None)
    if firmware in template and not _unlike(firmware, seen.config, template):
        return _copy(api, base, order, template, firmware, firmware, memory, allocate, seen.config)
    if firmware:
        api.put(f"{base}/config", delete=firmware)
        return Converged(changed=(f"-{firmware}",), more=True, memory=memory)
    held = snapshots.listed(api, base)
    if held:  # they hold the old disk
        task = snapshots.act(api, base, "delete", held[-1].name, "", False)
        return Converged(task, (f"snapshot {held[-1].name}",), more=True, memory=memory)
    if seen.node == at != home and not _left(seen.config, memory) and _online(api, home):
        return Converged(_move(api, base, seen.config, home), ("node",), more=True, memory=memory)
    return _free(api, base, seen.config, memory)


def _remember(api: Api, order: Order, ref: VmRef, seen: Seen) -> Converged:
    rows = api.get("cluster/resources")
    template = _template(api, rows, order, ref, seen)
    _room_beside(rows, order, template)
    system, additional = convert.system_disk(seen.config), convert.additional_disk(seen.config)
    memory = {
        "old": {
            "system": _volume(seen.config.get(system, "")),
            "additional": _volume(seen.config.get(additional, "")),
            **{k: _volume(seen.config.get(k, "")) for k in FIRMWARE},
        },
        "template": template.vm_id,
        "at": template.node,
        "home": seen.node,
    }
    return Converged(more=True, memory=memory, source=template.vm_id)


def _room_beside(rows: list[dict[str, Any]], order: Order, template: Template) -> None:
    """The new disk is there beside the old one, as big as the template's, until that is freed; it grows afterwards.
    Raises Capacity. What is not told (a node whose pvestatd is down) refuses nothing."""
    gib, storage = (
        math.ceil(convert.disk_gib(template.config, convert.system_disk(template.config))),
        order.package.options["storage"],
    )
    told = [r for r in rows if r.get("type") == "storage" and r.get("status") == "available" and r.get("maxdisk")]
    known = any((r.get("storage"), r.get("node")) == (storage, template.node) for r in told)
    if known and (why := room.full(rows, template.node, {storage: gib}, ())):
        raise Capacity(
            "There is no room for the new system beside the old one where your server is. Nothing was changed.",
            detail=f"{template.node}: {why} beside the old disk",
            next_action=ROOM,
        )


def _template(api: Api, rows: list[dict[str, Any]], order: Order, ref: VmRef, seen: Seen) -> Template:
    """The very template that the machine came from while it has the name still, else the one that the name means
    here."""
    sources = choice.Choice(api, rows, order.package)
    candidates = [t for t in sources.on(seen.node) if t.node == seen.node or sources.takes(seen.config, t.node)]
    same = ref.birth.template == order.package.template
    bound = [t for t in candidates if same and t.vm_id == ref.birth.source]
    unclear = sources.ambiguous(seen.node) if len(candidates) > 1 and not bound else None
    if unclear or not candidates:
        raise Permanent(
            "This system is not available where your server is.",
            code="no_template",
            detail=choice.words([unclear])
            if unclear
            else f"no template named {order.package.template!r} on {seen.node}",
        )
    template = (bound or candidates)[0]
    other = [k for k in ONLY_ROOT if seen.config.get(k) != template.config.get(k)]
    if other:
        raise Permanent(
            "This system needs another kind of machine than your server is. Nothing was changed.",
            code="template_unfit",
            detail=f"template {template.vm_id} differs in {', '.join(other)}, which only root can change",
        )
    if faults := choice.fatal(choice.of_template(order.package, template)):
        raise Permanent(
            "The template of this system cannot make what was ordered. Nothing was changed.",
            code="template_unfit",
            detail=choice.words(faults),
        )
    if template.config.get("lock") != "backup":  # PVE imports beside that
        templates.refuse_locked(api, template)
    return template


def _move(api: Api, base: str, config: dict[str, Any], node: str) -> str:
    """Without the disc in its drive, which a fresh system does not get either."""
    if discs := media.emptied(config):
        api.put(f"{base}/config", **discs)
    return str(api.post(f"{base}/migrate", target=node))


def _online(api: Api, node: str) -> bool:
    rows = api.get("cluster/resources", type="node")
    return any(r["node"] == node and r.get("status") == "online" for r in rows)


def _hardware(
    order: Order, config: dict[str, Any], template: dict[str, Any], slot: str
) -> tuple[dict[str, Any], list[str]]:
    """The new image's kind of machine; and the identity, which an interrupted restore may have blanked."""
    want: dict[str, Any] = {
        k: template[k] for k in HARDWARE if k in template and str(config.get(k)) != str(template[k])
    }
    if str(config.get("boot", "")) != f"order={slot}" and slot in config:
        want["boot"] = f"order={slot}"
    if convert.uuid_of(config) != order.uuid and not convert.uuid_of(config):
        want["smbios1"] = convert.with_uuid(str(config.get("smbios1", "")), order.uuid)
    return want, [k for k in HARDWARE if k in config and k not in template]


def _firmware(config: dict[str, Any], template: dict[str, Any], memory: dict[str, Any]) -> str:
    """The next firmware disk that is still the old system's, or that only the new one has; empty when none is."""
    for slot in FIRMWARE:
        volume = _volume(config.get(slot, ""))
        old = volume == memory["old"].get(slot, "")
        if (old or not volume) if slot in template else (old and volume):
            return slot
    return ""


def _unlike(slot: str, config: dict[str, Any], template: dict[str, Any]) -> bool:
    """A TPM of another version cannot be written over the old one (API2/Qemu.pm, prohibit_tpm_version_change)."""
    have, want = (convert.parse_line(str(c.get(slot, ""))).get("version", "v1.2") for c in (config, template))
    return slot == "tpmstate0" and slot in config and have != want


def _copy(
    api: Api,
    base: str,
    order: Order,
    template: dict[str, Any],
    source: str,
    slot: str,
    memory: dict[str, Any],
    allocate: bool,
    config: dict[str, Any],
) -> Converged:
    """One disk of the template into the machine's slot: only with leave (`allocate`), since two calls make two
    disks."""
    running = api.active_task(base.split("/")[1], order.vm_id, "qmconfig")
    if running:  # an earlier call whose reply was lost
        return Converged(running, more=True, memory=memory)
    if not allocate:
        return Converged(missing_disk=True, more=True, memory=memory)
    own = order.adopted and slot in config and slot not in FIRMWARE
    parts = _own(str(config[slot])) if own else _as_template(str(template[source]), source, slot)
    line = f"{order.package.options['storage']}:0,{IMPORT}={_volume(template[source])}"
    line = ",".join([line, *(f"{k}={v}" for k, v in parts.items())])
    if source != "tpmstate0":  # always raw
        line = storages.formatted(api, line, order.package.snapshots)
    return Converged(str(api.post(f"{base}/config", **{slot: line}) or ""), (slot,), more=True, memory=memory)


def _own(line: str) -> dict[str, str]:
    """How an adopted machine's own disk is driven, which stays as it is."""
    return {k: v for k, v in convert.parse_line(line).items() if k not in ("", "size", "format")}


def _as_template(line: str, source: str, slot: str) -> dict[str, str]:
    """What stands in the template's line and not in its volume: the kind of firmware; of a disk how it is driven
    (discard, iothread), where it stays on the same bus: each bus has its own."""
    parts = {k: v for k, v in convert.parse_line(line).items() if k not in ("", "file", "size", "format")}
    if source in FIRMWARE:
        return parts
    alike = keys.base_name(source) == keys.base_name(slot)
    return {k: v for k, v in parts.items() if alike and k in keys.DRIVE and keys.DRIVE[k].use is keys.Use.KEPT}


def _free(api: Api, base: str, config: dict[str, Any], memory: dict[str, Any]) -> Converged:
    """Let go of the additional disk, then of what is unused; both only when their volume is one of the old ones."""
    left = _left(config, memory)
    if left:
        api.put(f"{base}/config", delete=left)
        return Converged(changed=(f"-{left}",), more=True, memory=memory)
    return Converged(memory=memory)


def _left(config: dict[str, Any], memory: dict[str, Any]) -> str:
    """The next key that still holds an old volume."""
    old = {v for v in memory["old"].values() if v}
    additional = convert.additional_disk(config)
    if additional and _volume(config[additional]) == memory["old"]["additional"]:
        return additional
    return next((k for k, v in config.items() if re.fullmatch(r"unused\d+", k) and _volume(v) in old), "")


def _volume(line: Any) -> str:
    return str(line).split(",")[0]
