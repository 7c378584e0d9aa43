"""Proxmox's texts <-> our types. Pure functions; formats as in qemu-server's schema."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from bridge.model import Order, VmStatus

MIB = 1024 * 1024
UNITS = {"": 1, "K": 1024, "M": MIB, "G": 1024**3, "T": 1024**4}
DISKS = re.compile(r"^(scsi|virtio|sata|ide)\d+$")
CD_SLOTS = ("ide0", "ide3", "sata5")
LABEL = re.compile(r"[^A-Za-z0-9-]+")


def parse_line(text: str) -> dict[str, str]:
    """`a,b=c` -> {"": "a", "b": "c"}: the first bare word is the value itself."""
    found: dict[str, str] = {}
    for part in str(text).split(","):
        key, eq, value = part.partition("=")
        found[key if eq else ""] = value if eq else key
    return found


def size_bytes(text: str) -> int:
    """`2252M`, `20G` -> bytes (1024-based); 0 when there is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text or "")
    return int(float(match.group(1)) * UNITS[match.group(2)]) if match else 0


def uuid_of(config: dict[str, Any]) -> str:
    return parse_line(config.get("smbios1", "")).get("uuid", "").lower()


def with_uuid(smbios: str, uuid: str) -> str:
    """The smbios1 line with our uuid and every other field kept."""
    rest = [p for p in smbios.split(",") if p and not p.startswith("uuid=")]
    return ",".join([f"uuid={uuid}", *rest])


def system_disk(config: dict[str, Any]) -> str:
    """The slot of the system disk: first of the boot order, else the first disk."""
    order = parse_line(config.get("boot", "")).get("order", "")
    for slot in [*order.split(";"), "scsi0", "virtio0", "sata0"]:
        if DISKS.match(slot) and slot in config and "media=cdrom" not in str(config[slot]):
            return slot
    return ""


def cloud_init_slot(config: dict[str, Any]) -> str:
    for slot, value in config.items():
        if DISKS.match(slot) and "cloudinit" in str(value):
            return slot
    return ""


def cd_slot(config: dict[str, Any]) -> str:
    """The fixed slot of the customer's CD drive: the first that no disk and no cloud-init drive uses."""
    for slot in CD_SLOTS:
        value = str(config.get(slot, ""))
        if not value or ("media=cdrom" in value and "cloudinit" not in value):
            return slot
    return ""


def rate(mbit: int) -> str:
    """Mbit/s -> the NIC's rate in MiB/s (com/PVE/Network.pm multiplies by 1024*1024)."""
    return f"{mbit * 1_000_000 / 8 / MIB:.2f}".rstrip("0").rstrip(".")


def nic(order: Order, settings: dict[str, Any]) -> str:
    """The whole net0 line; a line without MAC would make a new one."""
    main = next((n for n in order.networks if n.role == "main"), None)
    parts = [f"{settings['nic_model']}={order.mac}", f"bridge={main.bridge if main else 'vmbr0'}"]
    parts.append(f"firewall={int(settings['firewall'])}")
    if order.package.rate_mbit:
        parts.append(f"rate={rate(order.package.rate_mbit)}")
    if main and main.vlan:
        parts.append(f"tag={main.vlan}")
    return ",".join(parts)


def ip_config(order: Order) -> str:
    """ipconfig0 for the main address of each family."""
    parts = []
    for n in order.networks:
        if n.role == "main":
            six = "6" if n.family == 6 else ""
            parts += [f"ip{six}={n.cidr}", f"gw{six}={n.gateway}"]
    return ",".join(parts)


def host_name(text: str) -> str:
    """A name PVE takes: labels of letters, digits and inner hyphens."""
    labels = [LABEL.sub("-", part).strip("-")[:63] for part in text.lower().split(".")]
    return ".".join(p for p in labels if p)[:253] or "vm"


def description(order: Order) -> str:
    """For people only, never proof."""
    return f"vmbridge {order.uuid}\n{order.label}"


def wanted(order: Order, settings: dict[str, Any], config: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(values, deletions) the config should have, whatever it has now."""
    want: dict[str, Any] = {
        "name": host_name(order.hostname),
        "description": description(order),
        "tags": ";".join(sorted({"vmbridge", *settings["tags"]})),
        "cores": order.package.cores,
        "sockets": 1,
        "memory": order.package.ram_mib,
        "balloon": order.package.ram_mib,
        "onboot": int(order.autostart and settings["onboot"]),
        "net0": nic(order, settings),
        "ciuser": settings["os_user"],
        "ciupgrade": 0,
        "agent": "enabled=1",
        "vga": "std",
        "serial0": "socket",
    }
    servers = list(dict.fromkeys(d for n in order.networks for d in n.dns))
    if servers:
        want["nameserver"] = " ".join(servers)
    if ip_config(order):
        want["ipconfig0"] = ip_config(order)
    slot = cd_slot(config)
    if slot and slot not in config:
        want[slot] = "none,media=cdrom"
    if order.set_password:
        want["cipassword"] = order.password
    drop = ["protection"] if int(config.get("protection", 0) or 0) else []
    keys = order.package.options.get("ssh_keys", "")
    if keys:
        want["sshkeys"] = quote(keys, safe="")
    elif "sshkeys" in config:
        drop.append("sshkeys")
    drop += [k for k in config if re.fullmatch(r"net[1-9]\d*|ipconfig[1-9]\d*", k)]
    return want, drop


def differs(key: str, want: Any, have: Any) -> bool:
    """Whether a value has to be written; texts that PVE reorders or fills in are compared by meaning."""
    if have is None:
        return True
    if key == "tags":
        return set(re.split(r"[;, ]+", str(want))) != set(re.split(r"[;, ]+", str(have).lower()))
    if key in ("net0", "ipconfig0"):
        a, b = parse_line(str(want)), parse_line(str(have))
        return {k: v.lower() for k, v in a.items()} != {k: v.lower() for k, v in b.items()}
    if key == "agent":
        line = parse_line(str(have))
        return (line.get("enabled") or line.get("") or "0") != "1"
    if key == "vga":
        line = parse_line(str(have))
        return line.get("", line.get("type", "")).startswith("serial")
    if key == "memory":
        return parse_line(str(have)).get("", parse_line(str(have)).get("current", "")) != str(want)
    if key == "description":
        return str(have).strip() != str(want).strip()
    if key == "sshkeys":
        return bool(quote(str(have), safe="%") != want and str(have) != want)
    return str(have) != str(want)


def status(row: dict[str, Any]) -> VmStatus:
    """One line of /cluster/resources?type=vm."""
    return VmStatus(
        vm_id=str(row["vmid"]), status=str(row.get("status", "unknown")), node=str(row.get("node", "")),
        name=str(row.get("name", "")), uptime=int(row.get("uptime") or 0), cpu=float(row.get("cpu") or 0),
        cores=float(row.get("maxcpu") or 0), mem=int(row.get("mem") or 0), maxmem=int(row.get("maxmem") or 0),
        maxdisk=int(row.get("maxdisk") or 0), lock=str(row.get("lock") or ""),
    )
