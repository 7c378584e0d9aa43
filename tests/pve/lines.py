"""What the lines of a machine's configuration say, as PVE reads them. Pure functions."""

from __future__ import annotations

import re
import secrets

from tests.pve import volumes
from tests.pve.cluster import GIB, MIB

DISK = re.compile(r"^(scsi|virtio|sata|ide)\d+$")
SIZES = {"": 1, "K": 1024, "M": MIB, "G": GIB, "T": GIB * 1024}
MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def size_of(line: str) -> int:
    match = re.search(r"size=(\d+)([KMGT]?)", line)
    return int(match.group(1)) * SIZES[match.group(2)] if match else 0


def boot_order(boot: str) -> list[str]:
    """The devices of a boot order that names them; the old words name none."""
    match = re.search(r"(?:^|,)order=([^,]*)", boot)
    return [d for d in match.group(1).split(";") if d] if match else []


def booted(config: dict[str, str]) -> str:
    """The disk that the machine boots (QemuServer.pm, device_bootorder): of an order its first, else what bootdisk
    names."""
    disks = [k for k in config if DISK.match(k) and "media=cdrom" not in config[k]]
    boot = config.get("boot", "cdn")
    named = boot_order(boot) if "order=" in boot else [config.get("bootdisk", "")] if "c" in boot else []
    return next((d for d in named if d in disks), sorted(disks)[0] if disks else "")


def starts_from(config: dict[str, str]) -> str:
    """What is started when it is switched on: the ISO in a CD drive that comes before every disk of the order, else the
    disk's slot. `d` among the old words is every CD drive."""
    cds = sorted(k for k, v in config.items() if DISK.match(k) and volumes.is_cd(v) and volumes.is_iso(v))
    boot, disk = config.get("boot", "cdn"), booted(config)
    if "order=" in boot:
        devices = boot_order(boot)
        first = next((d for d in devices if d in cds or d == disk), disk)
        return config[first].split(",")[0] if first in cds else first
    letters = boot.removeprefix("legacy=")
    before = "d" in letters and (not config.get("bootdisk") or letters.index("d") < (letters + "c").index("c"))
    return config[cds[0]].split(",")[0] if cds and before else disk


def cores_of(config: dict[str, str]) -> int:
    return int(config.get("sockets") or config.get("smp") or 1) * int(config.get("cores", "1"))


def new_mac() -> str:
    return "BC:24:11:" + ":".join(f"{b:02X}" for b in secrets.token_bytes(3))
