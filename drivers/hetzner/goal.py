"""What a server has to be beside what it is. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.model import Difference, Order


def seen(server: Mapping[str, Any]) -> dict[str, Any]:
    """What is recorded of a server. `backups` is the provider's window such as 22-02, in UTC, or empty."""
    kind = server["server_type"]
    return {
        "server_type": kind["name"], "cores": kind["cores"], "memory_gb": kind["memory"], "disk_gb": server["primary_disk_size"],
        "architecture": kind["architecture"], "name": server["name"], "backups": server["backup_window"] or "",
        "image": (server["image"] or {}).get("name") or (server["image"] or {}).get("description") or "",
    }


def compare(order: Order, config: Mapping[str, Any]) -> list[Difference]:
    package = order.package
    sold, real = package.options["server_type"], str(config["server_type"])
    backups, made = bool(package.backups), bool(config.get("backups"))
    return [
        Difference("server_type", sold, real, sold == real, refused="" if sold == real else f"it stays {real}: a change of type is not built yet"),
        Difference("backups", backups, made, backups == made, refused="" if backups or not made else KEEPS),
    ]


KEEPS = "they stay on: the provider removes every backup at once when they are turned off, so this is done by hand"
