"""A machine that was adopted, as a package: what it is stays until somebody orders one for it. What may be written of
it is in flags.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.model import Package
from drivers.proxmox import convert, goal


def as_it_is(package: Package, config: Mapping[str, Any]) -> Package:
    """The plan's package with the machine's own size, limits, storages and start. Whole GiB that are full: nothing
    grows by rounding."""
    have = dict(config)
    system, additional = convert.system_disk(have), convert.additional_disk(have)
    limits = {
        f"{name}_{word}": value
        for name, slot in (("disk", system), ("additional_disk", additional))
        if slot
        for word, value in goal.limits_of(str(have[slot])).items()
        if value
    }
    line = convert.parse_line(str(have.get("net0", "")))
    options = dict(package.options)
    options["onboot"] = bool(int(have.get("onboot") or 0))
    options["storage"] = storage(have, system) or options["storage"]
    options["additional_storage"] = storage(have, additional) or options["additional_storage"]
    return replace(
        package,
        cores=int(have.get("cores") or 1) * int(have.get("sockets") or 1),
        ram_mib=convert.memory(have),
        disk_gib=max(1, int(convert.disk_gib(have, system))),
        additional_disk_gib=int(convert.disk_gib(have, additional)),
        rate_mbit=round(float(line.get("rate") or 0) * convert.MIB * 8 / 1_000_000),
        limits=limits,
        options=options,
    )


def storage(config: Mapping[str, Any], slot: str) -> str:
    """Where a slot's disk lies; empty when there is none, or it is a device of the host."""
    volume = str(config.get(slot, "")).partition(",")[0]
    return volume.partition(":")[0] if ":" in volume else ""
