"""What a machine's configuration should be, and how it differs. Pure functions of an order and a configuration; no
calls.

`changes` is what `converge` writes and `compare` what people are told of it: both read the same functions, so that a
preview and the operation after it agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from bridge.model import DISK_LIMITS, Network, Order, Sentence
from drivers.proxmox import convert, flags, keys
from drivers.proxmox.convert import MIB, parse_line

THROTTLES = dict(zip(DISK_LIMITS, ("mbps_rd", "mbps_wr", "iops_rd", "iops_wr"), strict=True))
TAG = "vmbridge"  # what every machine of ours carries
BOTH_WAYS = ("mbps", "iops")  # PVE refuses them beside the one-way limits
LABEL = 63  # characters of a label, at which names were cut before they were cut between labels
DEFAULTS = {"sockets": "1", "cores": "1", "onboot": "0"}  # what an absent key means
# package word <- keys of the configuration that wait for a restart
WORDS = {
    "cores": "cores",
    "sockets": "cores",
    "vcpus": "cores",
    "smp": "cores",
    "memory": "ram_mib",
    "balloon": "ram_mib",
    "name": "name",
    "boot": "boot order",
    "agent": "guest agent",
    "vga": "display",
    "serial0": "serial port",
}


def word(key: str) -> str:
    """What people call a key that waits for a restart."""
    label = keys.of(key).label
    return WORDS.get(key) or (str(label) if label else "disk settings" if convert.DISKS.match(key) else key)


@dataclass
class Changes:
    """Writes in the order they are made. `grow` is (slot, GiB); `allocate` is (slot, line) of a disk that is
    missing."""

    values: dict[str, Any] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    disks: dict[str, str] = field(default_factory=dict)
    grow: list[tuple[str, int]] = field(default_factory=list)
    allocate: tuple[str, str] | None = None
    refused: list[str] = field(default_factory=list)
    boot: str = ""  # a call of its own, the first: PVE adds a CD drive that is written beside it to the order of before


def changes(order: Order, config: Mapping[str, Any]) -> Changes:
    """Everything that has to be written so that `config` (the pending view) is what was ordered."""
    have = dict(config)
    todo = Changes()
    want = _scalars(order, have)
    if order.frozen:
        want = flags.kept(order, want, have)
    todo.values = {k: v for k, v in want.items() if k == "cipassword" or differs(k, v, have.get(k))}
    todo.drop = flags.dropped(order, have)
    if order.birth and not order.frozen:
        todo.drop += _leftovers(order, have)
    todo.boot = flags.boot(order, have)
    _disk(todo, order, have, "disk", convert.system_disk(have), order.package.disk_gib)
    _disk(todo, order, have, "additional_disk", convert.additional_disk(have), order.package.additional_disk_gib)
    return todo


# -- the configuration's own words ----------------------------------------------------------------
def _scalars(order: Order, config: dict[str, Any]) -> dict[str, Any]:
    """The goal of every setting that is one value, in PVE's words."""
    settings, package = order.package.options, order.package
    want: dict[str, Any] = {
        "name": name(order, config),
        **_labels(order, config),
        **_cores(package.cores, config),
        "memory": package.ram_mib,
        "balloon": package.ram_mib,
        "onboot": int(order.autostart and settings["onboot"]),
        "net0": nic(order, str(config.get("net0", ""))),
    }
    if settings.get("startup_order"):
        want["startup"] = start_order(settings)
    if name_servers(order):
        want["nameserver"] = name_servers(order)
    if ip_config(order):
        want["ipconfig0"] = ip_config(order)
    if order.birth:
        want |= {"ciupgrade": 0, "agent": "enabled=1", "vga": "std", "serial0": "socket", "ciuser": package.os_user}
        slot = convert.cd_slot(config)
        cds = [
            k for k, v in config.items() if convert.DISKS.match(k) and convert.is_cd(v) and not convert.is_cloud_init(v)
        ]
        want |= dict.fromkeys({slot, *cds} - {""}, "none,media=cdrom")  # no image of the template's stays in a drive
        if not convert.cloud_init_slot(
            config
        ):  # a template has one; an adopted machine that gets a fresh system may not
            free = next(f"ide{i}" for i in (2, 1, 3, 0) if f"ide{i}" not in {**config, **want})
            want[free] = f"{settings['storage']}:cloudinit"
        if package.ssh_keys:
            want["sshkeys"] = quote(package.ssh_keys, safe="")
    if order.set_password:
        want["cipassword"] = password(order, config)
    return want


def name(order: Order, config: Mapping[str, Any]) -> str:
    """The machine's name. One that was made of the same text by another rule stays: its customer knows it, and nobody
    ordered another."""
    now, typed = str(config.get("name", "")), order.typed.lower()
    of_before = now and (now.lower() == typed or (len(typed) > LABEL and now.lower() == typed[:LABEL].rstrip("-.")))
    return now if of_before else order.hostname


def _labels(order: Order, config: dict[str, Any]) -> dict[str, str]:
    """Ours at birth; later beside what staff has written."""
    ours, text, tags = (
        convert.description(order),
        str(config.get("description", "")),
        {TAG, *order.package.options["tags"]},
    )
    if not order.birth:
        tags |= {t for t in re.split(r"[;, ]+", str(config.get("tags", "")).lower()) if t}
        if ours in text:
            ours = text
        elif text and not text.startswith("vmbridge "):
            ours = f"{ours}\n{text}"
    return {"description": ours, "tags": ";".join(sorted(tags))}


def _cores(cores: int, config: dict[str, Any]) -> dict[str, int]:
    """One socket, unless another split gives the same number already."""
    sockets, each = int(config.get("sockets", 1) or 1), int(config.get("cores", 1) or 1)
    return {"cores": each, "sockets": sockets} if sockets * each == cores else {"cores": cores, "sockets": 1}


def password(order: Order, config: Mapping[str, Any]) -> str:
    """cloudbase-init cannot use a hash: Windows alone gets the password in clear."""
    return order.password_plain if convert.is_windows(config) else order.password


def _leftovers(order: Order, config: dict[str, Any]) -> list[str]:
    """What the template brought along and a customer must not keep."""
    drop = ["protection"] if int(config.get("protection", 0) or 0) else []
    if "sshkeys" in config and not order.package.ssh_keys:
        drop.append("sshkeys")
    if "ipconfig0" in config and not ip_config(order):
        drop.append("ipconfig0")
    return drop + [k for k in config if re.fullmatch(r"net[1-9]\d*|ipconfig[1-9]\d*", k)]


def rate(mbit: int) -> str:
    """Mbit/s -> the NIC's rate in MiB/s (com/PVE/Network.pm multiplies by 1024*1024)."""
    return f"{mbit * 1_000_000 / 8 / MIB:.2f}".rstrip("0").rstrip(".")


def nic(order: Order, now: str) -> str:
    """The whole net0 line: ours written, the rest of what stands there kept; a line without MAC would make a new
    one."""
    line, settings = parse_line(now) if now else {}, order.package.options
    old_model = next((k for k in line if convert.MAC.fullmatch(line[k])), "")
    old_mac = line.pop(old_model, "")
    for key in ("", "rate", "firewall"):
        line.pop(key, None)
    if not order.adopted:
        line = {k: v for k, v in line.items() if k not in keys.NIC or not keys.takes(keys.NIC[k], v)}
    wire = _wire(order)
    if wire:
        line["bridge"] = wire[0]
        line.pop("tag", None)
        if wire[1]:
            line["tag"] = str(wire[1])
    parts = [f"{settings['nic_model']}={order.mac or old_mac}", f"bridge={line.pop('bridge', 'vmbr0')}"]
    parts.append(f"firewall={int(settings['firewall'])}")
    if order.package.rate_mbit:
        parts.append(f"rate={rate(order.package.rate_mbit)}")
    return ",".join(parts + [f"{k}={v}" for k, v in line.items()])


def _wire(order: Order) -> tuple[str, int] | None:
    """(bridge, VLAN) of the main address's pool, or the plan's with DHCP; None leaves an adopted machine's alone."""
    first = main(order)
    if first:
        return first.bridge, first.vlan
    settings = order.package.options
    return (settings["bridge"], settings["vlan"]) if order.package.dhcp4 or order.package.dhcp6 else None


def main(order: Order) -> Network | None:
    return next((n for n in order.networks if n.role == "main"), None)


def ip_config(order: Order) -> str:
    """ipconfig0 for the main address of each family."""
    parts = []
    for n in order.networks:
        if n.role == "main":
            six = "6" if n.family == 6 else ""
            parts += [f"ip{six}={n.cidr}", f"gw{six}={n.gateway}"]
    parts += ["ip=dhcp"] if order.package.dhcp4 else []
    parts += ["ip6=dhcp"] if order.package.dhcp6 else []
    return ",".join(parts)


def name_servers(order: Order) -> str:
    return " ".join(dict.fromkeys(d for n in order.networks for d in n.dns))


def start_order(settings: Mapping[str, Any]) -> str:
    return f"order={settings['startup_order']}"


# -- disks ----------------------------------------------------------------------------------------
def _disk(todo: Changes, order: Order, config: dict[str, Any], name: str, slot: str, gib: int) -> None:
    limits = {word: order.package.limits.get(f"{name}_{word}", 0) for word in DISK_LIMITS}
    if not slot:
        if gib and name == "additional_disk":
            storage = order.package.options["additional_storage"] or order.package.options["storage"]
            todo.allocate = (convert.free_disk_slot(config), throttled(f"{storage}:{gib}", limits))
        return
    line = flags.cleaned(throttled(str(config[slot]), limits), keys.DRIVE, order)
    if differs(slot, line, config[slot]) and (not order.frozen or limits_of(str(config[slot])) != limits):
        todo.disks[slot] = line
    size = convert.disk_gib(config, slot)
    if size < gib:
        todo.grow.append((slot, gib))
    elif size > gib and not order.frozen:
        todo.refused.append(shrink(name, size, gib))


def shrink(name: str, size: float, gib: int) -> str:
    has = {"size": f"{size:g}", "wanted": gib}
    if name == "disk":
        return Sentence("The system disk has %(size)s GiB and cannot shrink to %(wanted)s GiB.", **has)
    return Sentence("The additional disk has %(size)s GiB and cannot shrink to %(wanted)s GiB.", **has)


def throttled(line: str, limits: Mapping[str, int]) -> str:
    """A disk's line with these limits; everything else of it is kept, bursts only where their base limit stays."""
    volume, *parts = line.split(",")
    values = dict(p.partition("=")[::2] for p in parts)
    for word, key in THROTTLES.items():
        values.pop(key, None)
        if limits[word]:
            values[key] = str(limits[word])
        else:
            values = {k: v for k, v in values.items() if not k.startswith(f"{key}_max")}
    for key in BOTH_WAYS:
        if f"{key}_rd" in values or f"{key}_wr" in values:
            values = {k: v for k, v in values.items() if k != key and not k.startswith(f"{key}_max")}
    return ",".join([volume, *(f"{k}={v}" for k, v in values.items())])


def limits_of(line: str) -> dict[str, int]:
    """A drive's limits, MiB/s and operations a second, 0 where it has none."""
    values = parse_line(line)
    return {word: int(float(values.get(key, 0) or 0)) for word, key in THROTTLES.items()}


LABELS = {  # of words that are only this back end's
    "own_ram_mib": Sentence("RAM that is never taken back"),
    "nic_model": Sentence("Network adapter"),
    "onboot": Sentence("Start with the host"),
    "nic_filter": Sentence("Network filter"),
    "name_servers": Sentence("Name servers"),
    "start_order": Sentence("Place in the host's start order"),
}
GROWS = {
    "disk_gib": Sentence("The system disk grows to %(size)s GiB for good: it cannot be made smaller after that."),
    "additional_disk_gib": Sentence(
        "The additional disk grows to %(size)s GiB for good: it cannot be made smaller after that."
    ),
}


# -- beside the package ---------------------------------------------------------------------------


def differs(key: str, want: Any, have: Any) -> bool:
    """Whether a value has to be written; texts that PVE reorders or fills in are compared by meaning."""
    if have is None:
        return key not in DEFAULTS or str(want) != DEFAULTS[key]
    if key == "tags":
        return set(re.split(r"[;, ]+", str(want))) != set(re.split(r"[;, ]+", str(have).lower()))
    if key in ("net0", "ipconfig0") or convert.DISKS.match(key):
        a, b = _meaning(str(want)), _meaning(str(have))
        return a != b
    if key == "agent":
        line = parse_line(str(have))
        return (line.get("enabled") or line.get("") or "0") != "1"
    if key == "vga":
        line = parse_line(str(have))
        return line.get("", line.get("type", "")).startswith(("serial", "none"))  # a console without a picture
    if key == "memory":
        return parse_line(str(have)).get("", parse_line(str(have)).get("current", "")) != str(want)
    if key == "description":
        return str(have).strip() != str(want).strip()
    if key == "sshkeys":
        return bool(quote(str(have), safe="%") != want and str(have) != want)
    return str(have) != str(want)


def _meaning(line: str) -> dict[str, str]:
    """A line's parts, with numbers as numbers: `rate=23.840` is `rate=23.84`."""
    return {
        k: f"{float(v):g}" if re.fullmatch(r"\d+(\.\d+)?", v) else v.lower()
        for k, v in parse_line(line).items()
        if k != "size"
    }
