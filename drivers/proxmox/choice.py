"""Which template a plan's name means on a node, and what its storages keep from being sold. Birth, reinstall and the
doctor ask the same functions; what a template's own keys say stands in templates.py.

A name is not proof: whoever may make a VM in the cluster may give it any name. So a name that could mean two templates
on one node means none, until the plan says `name@id` or names the pool they are in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bridge.model import Package
from drivers.proxmox import convert, storages, templates
from drivers.proxmox.api import Api
from drivers.proxmox.storages import Storage
from drivers.proxmox.templates import Fault, Template

VOLUMES = re.compile(r"^((scsi|virtio|sata|ide)\d+|(efidisk|tpmstate)0)\Z")


class Choice:
    """What the package's template means on each node, from the rows of `cluster/resources`. Configurations are read
    once."""

    def __init__(
        self, api: Api, rows: list[dict[str, Any]], package: Package, read: dict[str, Template] | None = None
    ) -> None:
        """`read`: templates that were read already, and where more are put."""
        self.package, self.stores = package, storages.seen(api, rows)
        self.api, self._online = api, {r["node"] for r in rows if r.get("type") == "node" and r["status"] == "online"}
        self.rows = [r for r in rows if _means(r, package)]
        self._read: dict[str, Template] = {} if read is None else read

    def template(self, row: Mapping[str, Any]) -> Template:
        vm_id, node = str(row["vmid"]), str(row["node"])
        if vm_id not in self._read:
            self._read[vm_id] = templates.read(self.api, node, vm_id)
        return self._read[vm_id]

    def meant(self, node: str) -> list[dict[str, Any]]:
        """The rows of every template that a machine on this node could come from: those that stand there, and those on
        shared storage elsewhere, which are copied straight to it."""
        own = [r for r in self.rows if r["node"] == node]
        shares = any(s.shared and s.takes_disks and node in s.nodes for s in self.stores.values())
        if not shares or (own and pins(self.package)):
            return own  # nothing to read of the others
        away = [r for r in self.rows if r["node"] != node and r["node"] in self._online]
        return own + [r for r in away if self.reaches(self.template(r), node)]

    def on(self, node: str) -> list[Template]:
        return [self.template(r) for r in self.meant(node)]

    def reaches(self, template: Template, node: str) -> bool:
        """Whether PVE copies it to another node: all that it has is on shared storage, and so is where the copy goes.
        Source: qemu-server's `check_storage_access_clone` and `clone_vm`."""
        stores = [self.stores.get(volume.partition(":")[0]) for volume in _volumes(template.config)]
        if not all(s and s.shared and node in s.nodes for s in stores):
            return False
        if self.package.options["clone"] == "linked":
            return True
        target = self.stores.get(self.package.options["storage"])
        return bool(target and target.shared and {node, template.node} <= target.nodes)

    def takes(self, config: Mapping[str, Any], node: str) -> bool:
        """Whether a machine that is off can be moved to a node: it has every storage that the machine uses."""
        stores = [self.stores.get(volume.partition(":")[0]) for volume in _volumes(config)]
        return all(s and node in s.nodes for s in stores)

    def ambiguous(self, node: str) -> Fault | None:
        templates = self.meant(node)
        if len(templates) < 2:
            return None
        name, which = self.package.template, " and ".join(f"template {r['vmid']} on {r['node']}" for r in templates)
        return Fault(
            f"{name!r} could mean {which}: it is not known which is the right one",
            f'name the right one by its id in the plan\'s templates, e.g. "{name}@{templates[0]["vmid"]}", or set'
            " template_pool",
        )

    def faults(self, template: Template) -> list[Fault]:
        """What speaks against selling the package from this template."""
        return [*of_template(self.package, template), *_linked(self.package, template, self.stores)]


def of_template(package: Package, template: Template) -> list[Fault]:
    """What its configuration says, which is newer than the bulk read: that it is the template meant still, then all
    that keeps it from being sold."""
    config = template.config
    if config.get("name") == package.template and int(config.get("template") or 0):
        return templates.judge(template, package)
    text = f"VM {template.vm_id} on {template.node} is no template named {package.template!r} any more"
    return [Fault(text, "give it its name back, or correct the plan's templates")]


def pins(package: Package) -> tuple[str, ...]:
    """The ids that the plan names for this template; empty: any of the name."""
    return tuple(str(v) for v in (package.options.get("template_ids") or {}).get(package.template, ()))


def listed(rows: Iterable[Mapping[str, Any]], package: Package) -> str:
    """The ids that a system's name means, for people; from the bulk read alone, so without what shared storage
    reaches."""
    named = sorted((int(r["vmid"]), str(r["node"])) for r in rows if _means(r, package))
    nodes = [node for _, node in named]
    double = sorted({n for n in nodes if nodes.count(n) > 1})
    told = ", ".join(f"{vm_id} on {node}" for vm_id, node in named)
    if double:
        return f"{package.template}: template {told}; two on {' and '.join(double)}, so none can be ordered there"
    return f"{package.template}: template {told}" if named else f"{package.template}: no template is known"


def _means(row: Mapping[str, Any], package: Package) -> bool:
    if row.get("type") != "qemu" or not int(row.get("template") or 0) or row.get("name") != package.template:
        return False
    ids, pool = pins(package), package.options.get("template_pool")
    return (not ids or str(row["vmid"]) in ids) and (not pool or row.get("pool") == pool)


def _volumes(config: Mapping[str, Any]) -> list[str]:
    """Everything that its drives hold, CDs too: `storage:volume`."""
    volumes = [str(v).partition(",")[0] for k, v in config.items() if VOLUMES.match(k)]
    return [v for v in volumes if ":" in v]


def _disks(config: Mapping[str, Any]) -> dict[str, str]:
    """Slot -> storage of what a linked clone shares with its template: all but CDs, cloud-init and the TPM's state."""
    return {
        k: str(v).partition(":")[0]
        for k, v in config.items()
        if VOLUMES.match(k) and k != "tpmstate0" and not re.search("media=cdrom|cloudinit", str(v)) and ":" in str(v)
    }


# -- what speaks against it -------------------------------------------------------------------------
def of_plan(package: Package, stores: Mapping[str, Storage]) -> list[Fault]:
    """What speaks against a plan by itself, whatever its template."""
    faults, settings = [], package.options
    wanted = {"storage": settings["storage"]}
    if package.additional_disk_gib and settings["additional_storage"]:
        wanted["additional_storage"] = settings["additional_storage"]
    for key, name in wanted.items():
        store = stores.get(name)
        if store is None:
            continue  # whether it is there is told apart
        if not store.takes_disks or store.kind in storages.NO_DISKS:
            why = f" ({store.kind})" if store.kind in storages.NO_DISKS else ""
            fix = f"set another {key}" if why else "add the content type `images` to it"
            faults.append(Fault(f"storage {name!r}{why} does not take disk images", fix))
        elif package.snapshots and store.kind in storages.NO_SNAPSHOTS:
            faults.append(
                Fault(
                    f"storage {name!r} ({store.kind}) cannot take snapshots, but {package.snapshots} are sold",
                    f"set snapshots = 0, or another {key}, e.g. LVM-thin, ZFS, Ceph or a directory",
                )
            )
    return faults


def _linked(package: Package, template: Template, stores: Mapping[str, Storage]) -> list[Fault]:
    """What keeps a linked clone from being made, or from standing on the plan's storage."""
    if package.options["clone"] != "linked":
        return []
    faults, wanted = [], package.options["storage"]
    disks = _disks(template.config)
    for name in sorted(set(disks.values())):
        store = stores.get(name)
        if store and store.kind in storages.NO_LINKED:
            faults.append(
                Fault(
                    f"{template} is on storage {name!r} ({store.kind}), which cannot make linked clones",
                    'set clone = "full", or put the template onto another storage',
                )
            )
    own = disks.get(convert.system_disk(template.config), wanted)
    if own != wanted:
        faults.append(
            Fault(
                f"{template} has its disk on storage {own!r}, where a linked clone stays, but the plan says {wanted!r}",
                f'set storage = "{own}", or clone = "full"',
            )
        )
    return faults


def fatal(faults: Iterable[Fault]) -> list[Fault]:
    """Those that an order is refused for."""
    return [f for f in faults if f.fatal]


def words(faults: Iterable[Fault]) -> str:
    """Faults with their fixes in one line, each once."""
    return "; ".join(dict.fromkeys(f"{f.text} ({f.fix})" for f in faults))
