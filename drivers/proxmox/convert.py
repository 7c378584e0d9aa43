"""Proxmox's texts <-> our types. Pure functions; formats as in qemu-server's schema. What a machine should have:
goal.py."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from bridge.model import Order, Vm, VmStatus

MIB = 1024 * 1024
UNITS = {"": 1, "K": 1024, "M": MIB, "G": 1024**3, "T": 1024**4}
DISKS = re.compile(r"^(scsi|virtio|sata|ide)\d+\Z")
HOTPLUG = "network,disk,usb"  # PVE's default
BUSES = ("ide", "scsi", "virtio", "sata")
CLOUD_INIT = re.compile(r"[:/](vm-\d+-)?cloudinit(\.\w+)?\Z")
CD_SLOTS = ("ide0", "ide3", "sata5")
AGENT_ON = re.compile(r"^(1|(.*,)?enabled=1(,.*)?)")
MAC = re.compile(r"([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5})")
ARCHIVE = re.compile(r":backup/(?:vzdump-qemu-(\d+)-|vm/(\d+)/)")  # a file, or a group of the backup server


def parse_line(text: str) -> dict[str, str]:
    """`a,b=c` -> {"": "a", "b": "c"}: the first bare word is the value itself."""
    parts: dict[str, str] = {}
    for part in str(text).split(","):
        key, eq, value = part.partition("=")
        parts[key if eq else ""] = value if eq else key
    return parts


def size_bytes(text: str) -> int:
    """`2252M`, `20G` -> bytes (1024-based); 0 when there is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text or "")
    return int(float(match.group(1)) * UNITS[match.group(2)]) if match else 0


def memory(config: Mapping[str, Any]) -> int:
    """MiB that a machine is given."""
    line = parse_line(str(config.get("memory", 512)))
    return int(line.get("", line.get("current", "512")))


def uuid_of(config: Mapping[str, Any]) -> str:
    return parse_line(config.get("smbios1", "")).get("uuid", "").lower()


def with_uuid(smbios: str, uuid: str) -> str:
    """The smbios1 line with our uuid and every other field kept."""
    rest = [p for p in smbios.split(",") if p and not p.startswith("uuid=")]
    return ",".join([f"uuid={uuid}", *rest])


def is_cd(line: Any) -> bool:
    """A CD drive, the cloud-init drive among them."""
    return parse_line(str(line)).get("media") == "cdrom" or str(line).split(",")[0] in ("none", "cdrom")


def is_cloud_init(line: Any) -> bool:
    """By the volume's name, as PVE itself tells it (QemuServer/Drive.pm, drive_is_cloudinit)."""
    return bool(CLOUD_INIT.search(str(line).split(",")[0]))


def disks(config: Mapping[str, Any]) -> list[str]:
    """Slots of all disks, in the order in which PVE looks for one to boot from (valid_drive_names)."""
    slots = [k for k in config if DISKS.match(k) and not is_cd(config[k]) and not is_cloud_init(config[k])]
    return sorted(slots, key=lambda k: (BUSES.index(_by_bus(k)[0]), _by_bus(k)[1]))


def boot_devices(config: Mapping[str, Any]) -> list[str]:
    """What PVE boots from, in its order; by its own rule (QemuServer.pm, device_bootorder). Of the old words for disk
    (c), CD (d) and network (n), `c` is the disk that `bootdisk` names, and none without it."""
    line = parse_line(str(config.get("boot", "")))
    if "order" in line:
        return [d for d in re.split(r"[;, ]+", line["order"]) if d]
    devices = []
    for word in line.get("legacy") or line.get("") or "cdn":
        if word == "c":
            devices += [str(config["bootdisk"])] if config.get("bootdisk") else []
        elif word == "d":
            devices += sorted(k for k in config if DISKS.match(k) and (is_cd(config[k]) or is_cloud_init(config[k])))
        elif word == "n":
            devices += sorted(k for k in config if re.fullmatch(r"net\d+", k))
    return devices


def system_disk(config: Mapping[str, Any]) -> str:
    """The slot of the system disk: the disk that PVE boots first; where it boots from none, the first there is."""
    have = disks(config)
    return next((d for d in boot_devices(config) if d in have), have[0] if have else "")


def cloud_init_slot(config: Mapping[str, Any]) -> str:
    return next((k for k, v in config.items() if DISKS.match(k) and is_cloud_init(v)), "")


def additional_disk(config: Mapping[str, Any]) -> str:
    """The slot of the additional disk: the first that is not the system's."""
    return next((d for d in disks(config) if d != system_disk(config)), "")


def _by_bus(slot: str) -> tuple[str, int]:
    return slot.rstrip("0123456789"), int(re.sub(r"\D", "", slot))


def free_disk_slot(config: Mapping[str, Any]) -> str:
    """Where an additional disk goes: beside the system disk when its bus can take one while running, else SCSI."""
    bus = re.sub(r"\d", "", system_disk(config))
    bus = bus if bus in ("scsi", "virtio") else "scsi"
    return next(f"{bus}{i}" for i in range(1, 16) if f"{bus}{i}" not in config)


def disk_gib(config: Mapping[str, Any], slot: str) -> float:
    """Size of a slot's disk in GiB; 0 when the slot is empty."""
    return size_bytes(parse_line(config[slot]).get("size", "")) / 1024**3 if slot and slot in config else 0.0


def mac_of(config: Mapping[str, Any]) -> str:
    match = MAC.search(str(config.get("net0", "")))
    return match.group(1).upper() if match else ""


def claimed_addresses(config: Mapping[str, Any]) -> list[str]:
    """Addresses of every ipconfigN, in order."""
    keys = sorted(k for k in config if re.fullmatch(r"ipconfig\d+", k))
    lines = [parse_line(str(config[k])) for k in keys]
    return [
        str(ipaddress.ip_address(line[k].split("/")[0]))
        for line in lines
        for k in ("ip", "ip6")
        if "/" in line.get(k, "")
    ]


def volumes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Disks that a configuration names, used or not."""
    keys = [k for k in config if DISKS.match(k) or re.fullmatch(r"(unused|efidisk|tpmstate)\d+|vmstate", k)]
    names = [str(config[k]).split(",")[0] for k in keys if not is_cd(config[k]) or is_cloud_init(config[k])]
    return tuple(v for v in names if ":" in v)


def contents(config: dict[str, Any]) -> dict[str, Any]:
    """Whose the data are and which volumes hold them. A restore blanks the configuration first, writes another vmgenid
    where there is one, and takes new volumes (qemu-server's restore_vma_archive); an import puts a new volume into the
    slot."""
    keys = [k for k in config if DISKS.match(k) or re.fullmatch(r"(efidisk|tpmstate)\d+", k)]
    disks = {k: str(config[k]).split(",")[0] for k in sorted(keys) if "media=cdrom" not in str(config[k])}
    uuid = uuid_of(config)
    return {"uuid": uuid, "vmgenid": str(config.get("vmgenid", "")), "disks": disks} if uuid and disks else {}


def archive_owner(volume: str) -> str:
    """The VM id that a backup archive's name carries; empty when it is none."""
    match = ARCHIVE.search(volume)
    return next((g for g in match.groups() if g), "") if match else ""


def hotplug(config: Mapping[str, Any]) -> list[str]:
    """What PVE may change while the machine runs; `1` means its default, `0` nothing."""
    text = str(config.get("hotplug", "1"))
    return (HOTPLUG if text == "1" else text).split(",")


def is_windows(config: Mapping[str, Any]) -> bool:
    return str(config.get("ostype", "")).startswith("w")  # wxp, w2k8, wvista, win7 ... win11


def cd_slot(config: Mapping[str, Any]) -> str:
    """The fixed slot of the customer's CD drive: the first that no disk and no cloud-init drive uses."""
    for slot in CD_SLOTS:
        value = str(config.get(slot, ""))
        if not value or (is_cd(value) and not is_cloud_init(value)):
            return slot
    return ""


def cd_drives(config: Mapping[str, Any]) -> list[str]:
    """CD drives but the cloud-init drive: those at our fixed slots first."""
    slots = [k for k, v in config.items() if DISKS.match(k) and is_cd(v) and not is_cloud_init(v)]
    return sorted(slots, key=lambda k: (k not in CD_SLOTS, CD_SLOTS.index(k) if k in CD_SLOTS else 0, _by_bus(k)))


def cd_drive(config: Mapping[str, Any]) -> str:
    """The customer's CD drive: the one in which an image lies, else the first there is, else the free slot where it
    will be; empty when there is none."""
    have = cd_drives(config)
    filled = [k for k in have if ":" in str(config[k]).split(",")[0]]
    return next(iter([*filled, *have]), "") or cd_slot(config)


def disc_first(config: Mapping[str, Any], slot: str) -> str:
    """The boot order to write so that the drive in this slot comes first; empty when it does."""
    devices, system = [d for d in boot_devices(config) if d in config], system_disk(config)
    if devices[:1] == [slot] and "order=" in str(config.get("boot", "")):
        return ""
    devices += [] if system in devices or not system else [system]
    return "order=" + ";".join([slot, *(d for d in devices if d != slot)])


def disk_first(config: Mapping[str, Any]) -> str:
    """The boot order to write so that no CD drive comes before the system disk; empty when none does."""
    devices, system = [d for d in boot_devices(config) if d in config], system_disk(config)
    if not system:
        return ""
    before = devices[: devices.index(system)] if system in devices else devices
    cds = [d for d in before if d in cd_drives(config)]
    if not cds:
        return ""
    rest = [d for d in devices if d not in cds]
    return "order=" + ";".join([*([] if system in rest else [system]), *rest, *cds])


def description(order: Order) -> str:
    """For people only, never proof."""
    return f"vmbridge {order.uuid}\n{order.label}"


# seconds: a sample that is older is not shown any more, so the machine was not started before its uptime and this
STALE = 300.0


def machine(vm_id: str, node: str, now: Mapping[str, Any]) -> Vm:
    """What status/current says. `status` is running also while the guest is paused; `qmpstatus` tells that apart."""
    status = str(now.get("status"))
    if status == "running":
        status = str(now.get("qmpstatus") or status)
    return Vm(vm_id, node, status, lock=str(now.get("lock") or ""), uptime=int(now.get("uptime") or 0))


def status(row: dict[str, Any], now: float) -> VmStatus:
    """A machine's line of /cluster/resources. Numbers go as they come, there are thousands: the table's columns make
    them numbers."""
    get = row.get
    uptime = get("uptime") or 0
    return VmStatus(
        str(row["vmid"]),
        get("status") or "unknown",
        get("node") or "",
        get("name") or "",
        uptime,
        get("cpu") or 0.0,
        get("maxcpu") or 0,
        get("mem") or 0,
        get("maxmem") or 0,
        get("maxdisk") or 0,
        get("lock") or "",
        (get("diskread") or 0) + (get("diskwrite") or 0),
        get("netin"),
        get("netout"),
        now - uptime - STALE if uptime else 0.0,
    )


def offline(line: VmStatus) -> VmStatus:
    """Of a machine whose node is not in the cluster: what was told of it is from before that."""
    return line._replace(status="offline", uptime=0, cpu=0.0, mem=0, net_in=None, net_out=None)


FRESH = 5.0  # seconds: our clock and the node's, and the call's own time


def traffic(row: dict[str, Any], now: float) -> tuple[int | None, int | None, float]:
    """The counters of a machine's own status, which is not sampled but live."""
    uptime, counts = float(row.get("uptime") or 0), (row.get("netin"), row.get("netout"))
    net_in, net_out = (None if n is None else int(n) for n in counts)
    return net_in, net_out, now - uptime - FRESH if uptime else 0.0
