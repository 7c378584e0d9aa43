"""What is inside an archive: which of the machine's disks. Its own configuration says so, with one line for each disk
that was written (qemu-server's VZDump/QemuServer.pm, `assemble`); reading it needs the privileges that a backup needs
anyway."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drivers.proxmox import convert, keys, lines
from drivers.proxmox.api import Api

INSIDE = re.compile(r"^#qmdump#map:([^:]+):", re.MULTILINE)
LINE = re.compile(r"^([a-z0-9_-]+): (.*)$", re.MULTILINE)


def lacking(api: Api, node: str, archive: str, additional: bool) -> tuple[str, ...]:
    """Disks of the machine as it was then that are not in its archive. `additional`: whether its second disk is
    sold."""
    text = str(api.get(f"nodes/{node}/vzdump/extractconfig", volume=archive))
    config = lines.written(dict(LINE.findall(text.split("\n[")[0])))
    inside = set(INSIDE.findall(text))
    return tuple(words for slot, words in _sold(config, additional) if slot not in inside)


def left_out(config: Mapping[str, Any], additional: bool) -> tuple[str, ...]:
    """Disks that an archive made now would be without (QemuConfig.pm, `get_backup_volumes`)."""
    return tuple(words for slot, words in _sold(config, additional) if _kept_out(str(config.get(slot, ""))))


def _kept_out(line: str) -> bool:
    return keys.takes(keys.DRIVE["backup"], convert.parse_line(line).get("backup", "1"))


def _sold(config: Mapping[str, Any], additional: bool) -> list[tuple[str, str]]:
    """(slot, what people call it) of every disk that a restore has to bring back."""
    system, second = convert.system_disk(config), convert.additional_disk(config)
    sold = [(system, f"system disk ({system or 'there is none'})")]
    if additional and second:
        sold.append((second, f"additional disk ({second})"))
    if "efidisk0" in config and config.get("bios") == "ovmf":
        sold.append(("efidisk0", "boot entries (efidisk0)"))
    if "tpmstate0" in config:
        sold.append(("tpmstate0", "keys of its TPM (tpmstate0)"))
    return sold
