"""A machine's configuration beside the goal: what differs, in words for staff."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.model import DISK_LIMITS, Difference, Order, Restart, Sentence
from drivers.proxmox import convert, flags
from drivers.proxmox.convert import MIB, parse_line
from drivers.proxmox.goal import (
    GROWS,
    LABELS,
    _wire,
    changes,
    ip_config,
    limits_of,
    name,
    name_servers,
    rate,
    start_order,
)


def compare(order: Order, config: Mapping[str, Any], running: bool) -> list[Difference]:
    """Nothing here restarts a machine: PVE keeps what it cannot change live, the number of cores always, for the next
    start."""
    have, package = dict(config), order.package
    hotplug = convert.hotplug(have)
    cold = {
        "cores": running,
        "ram_mib": running and not ("memory" in hotplug and str(have.get("numa", "0")) == "1"),
        "additional_disk_gib": running and "disk" not in hotplug and not convert.additional_disk(have),
    }
    refused = {("disk", "additional_disk")["additional" in text]: text for text in changes(order, config).refused}
    system, additional = convert.system_disk(have), convert.additional_disk(have)
    rows: list[tuple[str, Any, Any]] = [
        ("cores", package.cores, int(have.get("cores", 1) or 1) * int(have.get("sockets", 1) or 1)),
        ("ram_mib", package.ram_mib, convert.memory(have)),
        ("disk_gib", package.disk_gib, _plain(convert.disk_gib(have, system))),
        ("additional_disk_gib", package.additional_disk_gib, _plain(convert.disk_gib(have, additional))),
    ]
    for disk, slot in (("disk", system), ("additional_disk", additional)):
        now = limits_of(str(have[slot])) if slot else {}
        if slot or disk == "disk" or package.additional_disk_gib:  # limits of a disk that is not sold mean nothing
            rows += [(f"{disk}_{w}", package.limits.get(f"{disk}_{w}", 0), now.get(w, 0)) for w in DISK_LIMITS]
    rows += _network(order, have)
    floor = int(have.get("balloon", 0) or 0)
    if 0 < floor < convert.memory(have):  # the host may take back what is above it
        rows.append(("own_ram_mib", package.ram_mib, floor))
    grows = {
        word: Sentence(GROWS[word].template, size=sold)
        for word, sold, real in rows
        if word in GROWS and real and sold > real
    }
    plain = [
        Difference(
            word,
            sold,
            real,
            _same(sold, real),
            Restart.LATER if cold.get(word) else Restart.NONE,
            refused.get(word.removesuffix("_gib"), ""),
            grows.get(word, ""),
            LABELS.get(word, ""),
        )
        for word, sold, real in rows
    ]
    if order.frozen:  # a part of a GiB is not sold
        return [
            replace(d, same=d.same or d.real == d.sold or 0 < d.real - d.sold < 1)
            for d in plain
            if d.word in flags.FROZEN_WORDS
        ]
    return plain + flags.differences(order, have, running)


def _network(order: Order, config: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """Lines of the comparison of the network card: (word, sold, real)."""
    line = parse_line(str(config.get("net0", "")))
    wire = _wire(order)
    settings, now = order.package.options, float(line.get("rate", 0) or 0)
    sold = order.package.rate_mbit
    rows: list[tuple[str, Any, Any]] = [
        ("rate_mbit", sold, sold if rate(sold) == f"{now:g}" else round(now * MIB * 8 / 1_000_000))
    ]
    rows.append(("mac", order.mac.upper(), convert.mac_of(config)))
    if wire:
        rows += [("bridge", wire[0], line.get("bridge", "")), ("vlan", wire[1], int(line.get("tag", 0) or 0))]
    if ip_config(order):
        rows.append(("address", ip_config(order), str(config.get("ipconfig0", ""))))
    model = next((k for k, v in line.items() if convert.MAC.fullmatch(v)), "")
    rows += [
        ("nic_model", settings["nic_model"], model),
        ("nic_filter", settings["firewall"], line.get("firewall") == "1"),
    ]
    servers = name_servers(order)
    if servers:
        rows.append(("name_servers", servers, str(config.get("nameserver", ""))))
    if settings.get("startup_order"):
        rows.append(("start_order", start_order(settings), str(config.get("startup", ""))))
    rows.append(("name", name(order, config), str(config.get("name", ""))))
    rows.append(("onboot", bool(order.autostart and settings["onboot"]), bool(int(config.get("onboot", 0) or 0))))
    return rows


def _plain(value: float) -> float | int:
    return int(value) if value == int(value) else round(value, 2)


def _same(sold: Any, real: Any) -> bool:
    if isinstance(sold, str) and "=" in sold:
        return parse_line(sold.lower()) == parse_line(str(real).lower())
    return str(sold).lower() == str(real).lower()
