"""How much room each node has, and whether a machine may grow where it stands. Pure functions of the bulk read; no
calls.

What is counted: a machine of ours with what it has or what was sold, whichever is more, also while it is off, since its
customer may start it at any time; a foreign machine while it runs; a create that still runs once, with what was
ordered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bridge.model import Lack, Order, Package, Planned, Sold
from drivers.proxmox import convert
from drivers.proxmox.convert import MIB
from drivers.proxmox.errors import ROOM

OURS = "vmbridge"  # the tag of every machine of ours, also of one that this store does not know
KEPT = {
    "node": ("node", "status", "maxmem", "maxcpu"),
    "storage": ("node", "storage", "status", "maxdisk", "disk", "shared"),
    "qemu": ("node", "vmid", "status", "maxmem", "maxcpu", "tags", "template"),
    "lxc": ("node", "vmid", "status", "maxmem", "maxcpu", "template"),
}


def kept(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of /cluster/resources with what is used here."""
    return [{"type": r["type"], **{k: r[k] for k in _kept(r) if k in r}} for r in rows if r.get("type") in KEPT]


def _kept(row: Mapping[str, Any]) -> tuple[str, ...]:
    more = ("name", "pool") if int(row.get("template") or 0) else ()  # what a plan's names mean
    return (*KEPT[row["type"]], *more)


@dataclass
class Node:
    """One node: MiB and processors that may be sold, and those that are. `cores` None: as many as anybody wants."""

    name: str
    status: str
    processors: int
    ram_mib: int
    cores: int | None
    ram_used: int = 0
    cores_used: int = 0
    ram_factor: float = 1.0
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)  # vm_id -> (MiB, cores) as counted

    def count(self, vm_id: str, ram_mib: int, cores: int) -> None:
        before = self.rows.get(vm_id, (0, 0))
        self.rows[vm_id] = (ram_mib, cores)
        self.ram_used += ram_mib - before[0]
        self.cores_used += cores - before[1]

    @property
    def ram_free(self) -> int:
        return self.ram_mib - self.ram_used

    def short(self, ram_mib: int, cores: int, more_ram: int, more_cores: int) -> tuple[str, str] | None:
        """(word, why) a machine of this size, which takes so much more than now, cannot be here; None when it can."""
        if more_cores > 0 and 0 < self.processors < cores:
            return "cores", f"it has {self.processors} processors, {cores} needed by one machine"
        if more_cores > 0 and self.cores is not None and self.cores - self.cores_used < more_cores:
            free = max(self.cores - self.cores_used, 0)
            return "cores", f"{free} of {self.cores} cores free, {more_cores} needed"
        if more_ram > 0 and self.ram_free < more_ram:
            factor = "" if self.ram_factor == 1 else f" at overcommit {self.ram_factor:g}"
            return "ram_mib", (
                f"{max(self.ram_free, 0)} MiB of memory free, {more_ram} needed"
                f" ({self.ram_used} of {self.ram_mib} MiB{factor} are sold or in use)"
            )
        return None


def nodes(
    rows: Sequence[Mapping[str, Any]],
    planned: Sequence[Planned],
    sold: Iterable[Sold],
    overcommit: Mapping[str, float],
    without: str = "",
) -> dict[str, Node]:
    """Every node by its name. `without`: a machine that counts as what it has, whatever is sold of it."""
    factor, cores_factor = float(overcommit.get("ram", 1.0)), float(overcommit.get("cores", 0.0))
    rooms = {
        str(r["node"]): Node(
            str(r["node"]),
            str(r.get("status", "unknown")),
            int(r.get("maxcpu") or 0),
            int(int(r.get("maxmem") or 0) // MIB * factor),
            int(int(r.get("maxcpu") or 0) * cores_factor) if cores_factor else None,
            ram_factor=factor,
        )
        for r in rows
        if r.get("type") == "node"
    }
    promised = {p.vm_id for p in planned}  # counted with what they will have, whatever the bulk read says of them now
    for p in planned:
        if p.node in rooms:
            rooms[p.node].count(p.vm_id, p.package.ram_mib, p.package.cores)
    ordered = {s.vm_id: s for s in sold if s.vm_id != without}
    for row in rows:
        if row.get("type") in ("qemu", "lxc") and str(row.get("vmid")) not in promised and row.get("node") in rooms:
            _count(rooms[row["node"]], row, ordered, without)
    return rooms


def _count(node: Node, row: Mapping[str, Any], ordered: Mapping[str, Sold], without: str) -> None:
    vm_id, mine = str(row["vmid"]), ordered.get(str(row["vmid"]))
    has = int(row.get("maxmem") or 0) // MIB, int(row.get("maxcpu") or 0)
    if int(row.get("template") or 0):
        return
    if mine:
        node.count(vm_id, max(has[0], mine.ram_mib), max(has[1], mine.cores))
    elif row.get("status") != "stopped" or vm_id == without or OURS in re.split(r"[;, ]+", str(row.get("tags") or "")):
        node.count(vm_id, *has)


def storages(package: Package) -> dict[str, int]:
    """Storage -> GiB that the package's disks take on it."""
    settings = package.options
    need = {settings["storage"]: package.disk_gib}
    if package.additional_disk_gib:
        other = settings["additional_storage"] or settings["storage"]
        need[other] = need.get(other, 0) + package.additional_disk_gib
    return need


def full(rows: Sequence[Mapping[str, Any]], node: str, need: Mapping[str, int], planned: Sequence[Planned]) -> str:
    """Why the storages of a node cannot take so many GiB more; empty when they can."""
    for name, gib in need.items():
        store = next(
            (r for r in rows if r.get("type") == "storage" and (r.get("storage"), r.get("node")) == (name, node)), None
        )
        if store is None or store.get("status") != "available":
            return f"storage {name!r} is not available"
        shared = bool(int(store.get("shared") or 0))
        promised = sum(storages(p.package).get(name, 0) for p in planned if shared or p.node == node)
        free = (int(store.get("maxdisk") or 0) - int(store.get("disk") or 0)) // 1024**3 - promised
        if free < gib:
            return f"storage {name!r} has {max(free, 0)} GiB free, {gib} needed"
    return ""


# -- growing --------------------------------------------------------------------------------------
def lacks(
    order: Order,
    config: Mapping[str, Any],
    where: str,
    rows: Sequence[Mapping[str, Any]],
    planned: Sequence[Planned],
    sold: Iterable[Sold],
    overcommit: Mapping[str, float],
) -> Lack | None:
    """Why the machine, which has `config`, cannot grow to the order where it stands, with the nodes that it would fit
    on; None when it can. Only what it grows by is counted."""
    have, package = dict(config), order.package
    all_nodes = nodes(rows, planned, sold, overcommit, order.vm_id)
    node = next((n for n in all_nodes.values() if order.vm_id in n.rows), all_nodes.get(where))
    if node is None or not node.ram_mib:
        return None  # pvestatd does not tell, or it may not be known to us
    listed = node.rows.get(order.vm_id, (0, 0))
    now = (
        max(listed[0], convert.memory(have)),
        max(listed[1], int(have.get("cores") or 1) * int(have.get("sockets") or 1)),
    )
    node.count(order.vm_id, *now)
    more_ram, more_cores = package.ram_mib - now[0], package.cores - now[1]
    growth = _disks(package, have)
    short = node.short(package.ram_mib, package.cores, more_ram, more_cores)
    word, why = short or ("disk_gib", full(rows, node.name, growth, planned))
    if not why:
        return None
    others = [
        n.name
        for n in all_nodes.values()
        if n is not node
        and n.status == "online"
        and not n.short(package.ram_mib, package.cores, package.ram_mib, package.cores)
        and not full(rows, n.name, storages(package), planned)
    ]
    place = f" It would fit on {', '.join(sorted(others))}: migrate it there, then order again." if others else ""
    return Lack(word, f"{node.name}: {why}.{place}" + ("" if others else " It would fit on no other node."), ROOM)


def _disks(package: Package, config: dict[str, Any]) -> dict[str, int]:
    """Storage -> GiB by which the disks grow on it."""
    need: dict[str, int] = {}
    additional = package.options["additional_storage"] or package.options["storage"]
    for slot, gib, otherwise in (
        (convert.system_disk(config), package.disk_gib, package.options["storage"]),
        (convert.additional_disk(config), package.additional_disk_gib, additional),
    ):
        volume = str(config.get(slot, "")).partition(",")[0]
        storage = volume.partition(":")[0] if ":" in volume else otherwise
        more = gib - convert.disk_gib(config, slot)
        if more > 0:
            need[storage] = need.get(storage, 0) + int(-(-more // 1))
    return need
