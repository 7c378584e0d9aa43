"""A fresh system inside the same machine: disks are replaced in place, so that id, MAC, firewall and backups stay.

Each call looks and does the next thing. What the old disks were is remembered by the caller before the first change: a disk is
old when its volume is one of those, and only those are freed.
"""

from __future__ import annotations

import re
from typing import Any

from bridge.errors import Permanent
from bridge.model import Converged, Order, Seen
from drivers.proxmox import convert, snapshots, templates
from drivers.proxmox.api import Api

HARDWARE = ("bios", "machine", "scsihw", "ostype", "cpu")  # what an image expects of its machine
IMPORT = "import-from"


def step(api: Api, order: Order, seen: Seen, memory: dict[str, Any], allocate: bool) -> Converged:
    """`memory`: {"old": {"system": volume, "additional": volume}, "template": id on the node}; empty before the first look."""
    base = f"nodes/{seen.node}/qemu/{order.vm_id}"
    if not memory:
        return Converged(more=True, memory=_remember(api, order, seen))
    found = snapshots.listed(api, base)
    if found:
        return Converged(
            snapshots.act(api, base, "delete", found[-1].name, "", False),
            ("snapshot " + found[-1].name,),
            more=True,
            memory=memory,
        )
    template = api.get(f"nodes/{seen.node}/qemu/{memory['template']}/config")
    source = convert.system_disk(template)
    slot = convert.system_disk(seen.config) or source
    values, drop = _hardware(order, seen.config, template, slot)
    if values or drop:
        api.put(f"{base}/config", **values, delete=",".join(drop) or None)
    if _volume(seen.config.get(slot, "")) in ("", memory["old"]["system"]):
        return _copy(api, base, order, template, source, slot, memory, allocate)
    return _free(api, base, seen.config, memory)


def _remember(api: Api, order: Order, seen: Seen) -> dict[str, Any]:
    rows = api.get("cluster/resources", type="vm")
    template = next(
        (
            str(r["vmid"])
            for r in rows
            if int(r.get("template") or 0) and r.get("name") == order.package.template and r["node"] == seen.node
        ),
        "",
    )
    if not template:
        raise Permanent(
            "This system is not available where your server is.",
            code="no_template",
            detail=f"no template named {order.package.template!r} on {seen.node}",
        )
    if fault := templates.fatal(templates.read(api, seen.node, template), order.package):
        raise Permanent(
            "The template of this system cannot make what was ordered. Nothing was changed.",
            code="template_unfit",
            detail=fault,
        )
    system, additional = convert.system_disk(seen.config), convert.additional_disk(seen.config)
    return {
        "old": {"system": _volume(seen.config.get(system, "")), "additional": _volume(seen.config.get(additional, ""))},
        "template": template,
    }


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


def _copy(
    api: Api,
    base: str,
    order: Order,
    template: dict[str, Any],
    source: str,
    slot: str,
    memory: dict[str, Any],
    allocate: bool,
) -> Converged:
    running = api.active_task(base.split("/")[1], order.vm_id, "qmconfig")
    if running:  # an earlier call whose reply was lost
        return Converged(running, more=True, memory=memory)
    if not allocate:
        return Converged(missing_disk=True, more=True, memory=memory)
    line = f"{order.package.options['storage']}:0,{IMPORT}={_volume(template[source])}"
    return Converged(str(api.post(f"{base}/config", **{slot: line}) or ""), (slot,), more=True, memory=memory)


def _free(api: Api, base: str, config: dict[str, Any], memory: dict[str, Any]) -> Converged:
    """Let go of the additional disk, then of what is unused; both only when their volume is one of the old ones."""
    old = {v for v in memory["old"].values() if v}
    additional = convert.additional_disk(config)
    if additional and _volume(config[additional]) == memory["old"]["additional"]:
        api.put(f"{base}/config", delete=additional)
        return Converged(changed=(f"-{additional}",), more=True, memory=memory)
    unused = next((k for k, v in config.items() if re.fullmatch(r"unused\d+", k) and _volume(v) in old), "")
    if unused:
        api.put(f"{base}/config", delete=unused)
        return Converged(changed=(f"-{unused}",), more=True, memory=memory)
    return Converged(memory=memory)


def _volume(line: Any) -> str:
    return str(line).split(",")[0]
