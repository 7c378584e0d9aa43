"""The overview: what was sold and what is live, addresses, and what to do next."""

from __future__ import annotations

from typing import Any

from bridge.model import Capability, Sentence, Service
from bridge.orders.wanted import completed, networks_of
from bridge.web import language
from bridge.web.auth import context
from bridge.web.page import Page, register


def content(service: Service) -> dict[str, Any]:
    """Values of the overview: what was sold and what is live, addresses, and what to do next."""
    at = context()
    package = service.package

    def limit(disk: str, way: str) -> str:
        rate, iops = package.limits.get(f"{disk}_{way}_mib_s", 0), package.limits.get(f"{disk}_{way}_iops", 0)
        parts = [
            language.translate("%(n)s MiB/s", n=rate) if rate else "",
            language.translate("%(n)s IOPS", n=iops) if iops else "",
        ]
        return ", ".join(p for p in parts if p) or language.translate("no limit")

    row = at.store.status_row(service.server, service.vm_id) or {"cores": 0, "maxmem": 0, "maxdisk": 0}
    real = int(row["maxdisk"]) // 1024**3
    disks = [
        {
            "title": language.translate("System disk"),
            "gib": real or package.disk_gib,
            "read": limit("disk", "read"),
            "write": limit("disk", "write"),
        }
    ]
    if package.additional_disk_gib:
        disks.append(
            {
                "title": language.translate("Additional disk"),
                "gib": package.additional_disk_gib,
                "read": limit("additional_disk", "read"),
                "write": limit("additional_disk", "write"),
            }
        )
    return {
        "networks": networks_of(service.id, at.store, at.config),
        "disks": disks,
        "addresses": list(service.birth.addresses),
        "floating": list(service.birth.floating),
        "shows": at.drivers[service.server].shows,
        "adapter": at.drivers[service.server].adapter(completed(package, at.config)),
        "cores": int(row["cores"]) or package.cores,
        "memory": row["maxmem"] or package.ram_mib * 1024**2,
    }


register(Page(Capability.OVERVIEW, Sentence("Overview"), "fas fa-server", 10, content))
