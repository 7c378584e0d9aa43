"""Keys and parts of lines that take away or give what was sold (CLEARED in keys.py): taken off, and told beside the
package.

A machine that was adopted keeps them: it is compared, and never cleaned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridge.model import DISK_LIMITS, Difference, Order, Restart, Sentence
from drivers.proxmox import convert, keys
from drivers.proxmox.convert import parse_line
from drivers.proxmox.keys import DRIVE, NIC, Key, Use

COLD = ("cache", "ro")  # of what we take off, that which QEMU cannot change live
DISK, ADDITIONAL = Sentence("System disk"), Sentence("Additional disk")
CLOUD_INIT = Sentence("Drive that tells the system its password and addresses (cloud-init)")
BOOT, OF_DISK = Sentence("Boot order"), Sentence("%(disk)s: %(what)s")


def dropped(order: Order, config: Mapping[str, Any]) -> list[str]:
    """Keys to take off; at birth also those that only a template may not bring along. A fresh system has to get its
    password, also in a machine that was adopted."""
    worn = [k for k, v in config.items() if keys.takes(keys.of(k), v)]
    gone = [k for k in worn if not order.adopted or (order.birth and k == "cicustom")]
    if order.birth:
        gone += [k for k in ("bootdisk", "shares") if k in config]
    return gone


def cleaned(line: str, table: Mapping[str, Key], order: Order) -> str:
    """A disk's or an adapter's line without such parts; at birth without the template's bursts too."""
    if order.adopted:
        return line
    kept = []
    for part in line.split(","):
        name, _, value = part.partition("=")
        key = table.get(name)
        if key and (keys.takes(key, value) or (order.birth and key.use is Use.BIRTH)):
            continue
        kept.append(part)
    return ",".join(kept)


def boot(order: Order, config: Mapping[str, Any]) -> str:
    """The boot order to write; empty when the system disk is what PVE boots: a drive with a disc in it comes first once
    at most. Of an adopted machine that alone is put right, and only where it was we who put the disc first."""
    if order.adopted and not order.birth:
        return convert.disk_first(config) if order.disc_was_first else ""
    system, devices = convert.system_disk(config), convert.boot_devices(config)
    first = next((d for d in devices if d not in config or not convert.is_cloud_init(config[d])), "")
    legacy = "order=" not in str(config.get("boot", ""))  # at birth written in the new way: `bootdisk` goes
    if not system or (first == system and not (order.birth and legacy)):
        return ""
    rest = [] if order.birth else [d for d in devices if d != system and d in config]
    return "order=" + ";".join([system, *rest])


def behind_growth(disks: Mapping[str, str], grow: Iterable[tuple[str, int]], config: Mapping[str, Any]) -> list[str]:
    """Slots whose line waits until the disk has grown: what QEMU cannot change live stays pending with the size it was
    written with, and PVE would take that old size for the disk's at the next start (QemuServer.pm,
    vmconfig_update_disk)."""
    growing = [slot for slot, _ in grow]
    return [s for s in disks if s in growing and any(p in COLD for p, _, _ in worn_parts(config, s, DRIVE))]


def differences(order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
    """One row for each that is there: what people call it, how it is sold, how it is."""
    differing = []
    for word, label, key, value in _worn(config):
        restart = Restart.LATER if running and key.cold and not order.adopted else Restart.NONE
        if word == "vcpus" and "cpu" in convert.hotplug(config):
            restart = Restart.NONE
        differing.append(
            Difference(word, key.normal, key.real(value), False, restart, label=label, kept=order.adopted or key.root)
        )
    if not convert.cloud_init_slot(config) and not order.adopted and not order.birth:
        differing.append(Difference("cloud_init", True, False, False, label=CLOUD_INIT, kept=True))
    wanted = boot(order, config)
    if wanted:
        restart = Restart.LATER if running else Restart.NONE
        differing.append(Difference("boot", wanted, str(config.get("boot", "")), False, restart, label=BOOT))
    return differing


def _worn(config: Mapping[str, Any]) -> Iterator[tuple[str, Sentence, Key, str]]:
    """(word, label, key, value) of everything that takes away or gives what was sold."""
    for name, value in config.items():
        key = keys.of(name)
        if key.label and keys.told(key, value):
            yield name, key.label, key, str(value)
    for word, disk, slot in (
        ("disk", DISK, convert.system_disk(config)),
        ("additional_disk", ADDITIONAL, convert.additional_disk(config)),
    ):
        for part, key, value in worn_parts(config, slot, DRIVE):
            yield f"{word}_{part}", Sentence(OF_DISK.template, disk=disk, what=key.label), key, value
    for part, key, value in worn_parts(config, "net0", NIC):
        assert key.label
        yield part, key.label, key, value


def worn_parts(config: Mapping[str, Any], slot: str, table: Mapping[str, Key]) -> Iterator[tuple[str, Key, str]]:
    """(part, what is known of it, its value) of a slot's line, of those that give or take away what was sold."""
    for part, value in parse_line(str(config.get(slot, ""))).items():
        if part in table and keys.takes(table[part], value):
            yield part, table[part], value


# -- an adopted machine, until a package is ordered for it -----------------------------------------
SIZE = frozenset({"cores", "sockets", "memory", "onboot", "cipassword"})
FRESH = frozenset(
    {"ciuser", "ciupgrade", "sshkeys", "ipconfig0", "nameserver"}
)  # what a fresh system inside is set up by
FROZEN_WORDS = frozenset(
    {"cores", "ram_mib", "disk_gib", "additional_disk_gib", "rate_mbit"}
    | {f"{disk}_{limit}" for disk in ("disk", "additional_disk") for limit in DISK_LIMITS}
)


def kept(order: Order, want: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What may be written of a machine that stays as it is: its size, its start, the password; and for a fresh system
    what it is set up by, the drive that tells it that among it, as far as the machine has none of its own."""
    mine = SIZE | ({k for k in FRESH if k not in config} if order.birth else frozenset())
    return {k: v for k, v in want.items() if k in mine or str(v).endswith(":cloudinit")}
