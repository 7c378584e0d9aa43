"""The CD drive: which slot it is, what lies in it, and what a node can put into it.

Another medium in a drive that is there is seen at once; a new drive of a machine that runs waits for its next start,
and so does the boot order (vmconfig_update_disk and vmconfig_hotplug_pending in QemuServer.pm). A start needs every
medium that is named: one whose file or storage is not on the node lets it fail (activate_volumes in pve-storage)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bridge.errors import Refused, Transient, VmbridgeError
from bridge.model import Drive, Iso, Sentence, VmRef
from drivers.proxmox import convert, proof
from drivers.proxmox.api import Api

NOT_HERE = re.compile(r"storage '.*' (does not exist|is not available on node|is disabled)|no such storage")
SILENT = re.compile(r"storage '.*' is not online|mount error|unable to activate storage")
NO_FILE = re.compile(r"volume '?[^ ']*:iso/.*'? does not exist")
VIRTIO = re.compile(r"(?i)virtio-win[-_.].*")
FOR_WINDOWS = Sentence("Drivers for Windows: its setup finds disk and network with them")
NO_DRIVE = Sentence("Your server has no place for a CD drive. Our staff can help.")
NO_DISC = Sentence("No ISO is mounted. Mount one first.")


def volume(line: object) -> str:
    """The image that a drive's line names; empty when there is none. A host's own drive counts as none."""
    name = str(line).split(",")[0]
    return name if ":" in name and not convert.is_cloud_init(line) else ""


def iso(name: str) -> Iso:
    """By its volume, e.g. `local:iso/debian-12.iso`."""
    short = name.rpartition("/")[2] or name
    return Iso(name, short, FOR_WINDOWS if VIRTIO.match(short) else "")


def drive(api: Api, ref: VmRef) -> Drive:
    both = proof.seen(api, ref)
    slot = convert.cd_drive(both.config)
    disc = volume(both.config.get(slot, ""))
    if not disc:
        return Drive(fits=both.node)
    return Drive(
        iso(disc),
        both.node,
        missing=not there(api, both.node, disc),
        waits=slot in both.waiting,
        starts=bool(convert.disk_first(both.config)),
        started=proof.started_from_disc(both),
    )


def fitting(api: Api, storage: str, node: str) -> list[Iso]:
    """What a node has on the storage for ISOs; none where the storage is not for it."""
    try:
        rows = content(api, storage, node) if storage and node else []
    except VmbridgeError as e:
        if NOT_HERE.search(e.detail):
            return []
        if SILENT.search(e.detail):
            raise Transient(detail=e.detail) from None
        raise
    return [iso(name) for name in rows if takes(name)]


def everywhere(api: Api, storage: str) -> list[Iso]:
    """What some node has of it."""
    rows = api.get("cluster/resources", type="storage") if storage else []
    nodes = [r["node"] for r in rows if r["storage"] == storage and r.get("status") == "available"]
    names = dict.fromkeys(n for node in nodes for n in content(api, storage, str(node)))
    return [iso(name) for name in names if takes(name)]


def takes(name: str) -> bool:
    """Whether a drive's line can name it: a comma ends the name there."""
    return "," not in name


def content(api: Api, storage: str, node: str) -> list[str]:
    rows = api.get(f"nodes/{node}/storage/{storage}/content", content="iso")
    return [str(r["volid"]) for r in rows if r.get("content", "iso") == "iso"]


def there(api: Api, node: str, disc: str) -> bool:
    """Whether a node can read an image. What it does not tell us counts as readable: staff may have mounted what we may
    not see."""
    try:
        return disc in content(api, disc.partition(":")[0], node)
    except VmbridgeError as e:
        return not (NOT_HERE.search(e.detail) or SILENT.search(e.detail))


def mount(api: Api, storage: str, ref: VmRef, wanted: str) -> str:
    """A direct edit: there is no task."""
    both = proof.seen(api, ref)
    node, config = both.node, both.config
    slot = convert.cd_drive(config)
    if wanted == volume(config.get(slot, "")):
        return ""
    if not slot:
        raise Refused(NO_DRIVE, code="no_drive")
    if wanted and (not wanted.startswith(f"{storage}:iso/") or not takes(wanted)):
        raise Refused("There is no such ISO.", code="iso_gone", detail=wanted)
    proof.refuse_locked(api, ref, node, config)
    try:
        _write(api, ref, node, **{slot: f"{wanted or 'none'},media=cdrom"})
    except VmbridgeError as e:
        if wanted and (NO_FILE.search(e.detail) or NOT_HERE.search(e.detail)):
            raise Refused("There is no such ISO.", code="iso_gone", detail=e.detail) from None
        raise
    return ""


def boot_first(api: Api, ref: VmRef, disc: bool) -> bool:
    both = proof.seen(api, ref)
    node, config = both.node, both.config
    slot = convert.cd_drive(config)
    if disc and not volume(config.get(slot, "")):
        raise Refused(NO_DISC, code="no_iso")
    order = convert.disc_first(config, slot) if disc else convert.disk_first(config)
    if not order:
        return False
    proof.refuse_locked(api, ref, node, config)
    _write(api, ref, node, boot=order)
    return True


def take_out_missing(api: Api, ref: VmRef) -> str:
    """The names of what was taken out, of any drive: a start fails for each."""
    both = proof.seen(api, ref)
    node, config = both.node, both.config
    discs = {k: volume(config[k]) for k in convert.cd_drives(config) if volume(config[k])}
    gone = {k: disc for k, disc in discs.items() if not there(api, node, disc)}
    if gone:
        proof.refuse_locked(api, ref, node, config)
        _write(api, ref, node, **dict.fromkeys(gone, "none,media=cdrom"))
    return ", ".join(iso(disc).name for disc in gone.values())


def emptied(config: Mapping[str, Any]) -> dict[str, str]:
    """What to write so that no image lies in a drive: a local one keeps a machine on its node (QemuMigrate.pm, local
    cdrom image)."""
    return {k: "none,media=cdrom" for k in convert.cd_drives(config) if volume(config[k])}


def _write(api: Api, ref: VmRef, node: str, **values: str) -> None:
    api.put(f"nodes/{node}/qemu/{ref.vm_id}/config", **values)
