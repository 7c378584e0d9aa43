"""A good configuration for tests to break or to use."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet

KEY = Fernet.generate_key().decode()
REST = """
[whmcs.main]
system_url = "http://127.0.0.1:1/"
api_identifier = "id"
api_secret = "api-secret-0123456789"
keys = [{ id = "main-1", secret = "shim-secret-0123456789" }]
[servers.pve1]
driver = "proxmox"
endpoint = "https://127.0.0.1:1"
token_id = "vmbridge@pve!bridge"
token_secret = "sim-secret"
vm_ids = "20000-29999"
[plans.kvm-s]
server = "pve1"
cores = 2
ram_mib = 2048
disk_gib = 20
storage = "local-lvm"
templates = ["debian-12"]
"""  # of a file, behind its [store] and [web]


def raw_config(**changes: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "store": {"path": "vmbridge.db", "secret_key": KEY},
        "whmcs": {
            "main": {
                "system_url": "http://127.0.0.1:1/",
                "api_identifier": "id",
                "api_secret": "api-secret-0123456789",
                "keys": [{"id": "main-1", "secret": "shim-secret-0123456789"}],
            }
        },
        "servers": {
            "pve1": {
                "driver": "proxmox",
                "endpoint": "https://pve.test:8006",
                "token_id": "vmbridge@pve!bridge",
                "token_secret": "sim-secret",
                "vm_ids": "20000-29999",
                "backup_storage": "nfs-backup",
            }
        },
        "plans": {
            "kvm-s": {
                "server": "pve1",
                "cores": 2,
                "ram_mib": 2048,
                "disk_gib": 20,
                "storage": "local-lvm",
                "rate_mbit": 200,
                "pools": ["public-v4"],
                "templates": ["debian-12"],
                "snapshots": 3,
                "backups": 3,
                "snapshot_lifetime_h": 24,
                "allow": ["console", "charts", "reinstall", "snapshots", "backups", "reset_password"],
            }
        },
        "pools": {
            "public-v4": {
                "ranges": ["203.0.113.10-203.0.113.250"],
                "prefix": 24,
                "gateway": "203.0.113.1",
                "dns": ["9.9.9.9"],
                "bridge": "vmbr0",
                "vlan": 40,
            }
        },
    }
    return {**raw, **changes}
