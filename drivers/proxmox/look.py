"""What the doctor's look at a server has read, each thing once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.clock import Clock
from bridge.model import Package
from drivers.proxmox import choice, privileges
from drivers.proxmox.api import Api
from drivers.proxmox.templates import Template


@dataclass
class Look:
    """One look at a server: what the cluster said, and what was read since."""

    server: str
    api: Api
    clock: Clock
    settings: Mapping[str, Any]
    rows: list[dict[str, Any]]
    plans: Mapping[str, Package]
    pools: Iterable[tuple[str, int]]
    granted: privileges.Granted
    major: int
    read: dict[str, Template] = field(default_factory=dict)

    @property
    def nodes(self) -> dict[str, str]:
        """Name -> state."""
        return {r["node"]: str(r.get("status")) for r in self.rows if r.get("type") == "node"}

    @property
    def networks(self) -> set[tuple[str, int]]:
        """(bridge, VLAN) of every pool, and of plans whose address comes by DHCP."""
        return {
            *self.pools,
            *((p.options["bridge"], p.options["vlan"]) for p in self.plans.values() if p.dhcp4 or p.dhcp6),
        }

    def storage(self, name: str) -> list[dict[str, Any]]:
        """The rows of a storage in `cluster/resources`, one for each node."""
        return [r for r in self.rows if r.get("type") == "storage" and r.get("storage") == name]

    def hidden(self, name: str) -> bool:
        """Whether a storage would not be shown to us if it were there; the missing privilege is told by itself."""
        return "Datastore.Audit" not in self.granted.on(f"/storage/{name}")

    def system(self, package: Package) -> choice.Choice:
        return choice.Choice(self.api, self.rows, package, self.read)

    def systems(self) -> list[choice.Choice]:
        """Every system that a plan sells."""
        return [self.system(replace(p, template=t)) for p in self.plans.values() for t in p.templates or (p.template,)]
