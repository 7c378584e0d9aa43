"""One way to write each line of a configuration. Proxmox VE reads its property strings in several: the word that a line
may begin with may stand anywhere by its name (`discard=on,file=store:disk`), some words have a second name, and a file
that somebody edited is told as he wrote it. Everything else in this driver knows only the way in which PVE itself
writes them.

Source: `default_key`, `alias` and `keyAlias` in the API's description of `PUT .../config`; a test walks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drivers.proxmox import keys

FILE = ("file", "volume")
FIRST = {  # key: names of the word that stands first, without its name
    **dict.fromkeys(
        ("scsi[n]", "virtio[n]", "sata[n]", "ide[n]", "efidisk0", "tpmstate0", "unused[n]"),
        FILE,
    ),
    "net[n]": ("model",),
    "agent": ("enabled",),
    "amd-sev": ("type",),
    "boot": ("legacy",),
    "cpu": ("cputype",),
    "hostpci[n]": ("host",),
    "intel-tdx": ("type",),
    "machine": ("type",),
    "memory": ("current",),
    "rng0": ("source",),
    "usb[n]": ("host",),
    "vga": ("type",),
    "virtiofs[n]": ("dirid",),
    "watchdog": ("model",),
}
SECOND = {f"{way}_length": f"{way}_max_length" for way in ("bps_rd", "bps_wr", "iops_rd", "iops_wr")}
MODEL = re.compile(r"e1000(e|-\w+)?|i825\w+|ne2k_\w+|pcnet|rtl8139|virtio|vmxnet3")
YES, NO = re.compile(r"(?i)(1|on|yes|true)\Z"), re.compile(r"(?i)(0|off|no|false)\Z")


def written(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with every line as PVE writes it; nothing is added or lost."""
    return {key: line(key, value) for key, value in config.items()}


def line(key: str, value: Any) -> Any:
    """One line as PVE writes it; what is no property string stays as it is."""
    first = FIRST.get(keys.base_name(key))
    if first is None or not isinstance(value, str) or "=" not in value:
        return _flag(value) if key == "agent" and isinstance(value, str) else value
    parts = [p.partition("=") for p in value.split(",") if p]
    head = [after if eq else name for name, eq, after in parts if not eq or name in first]
    rest = [(SECOND.get(name, name), after) for name, eq, after in parts if eq and name not in first]
    if key.startswith("net"):
        head, rest = _adapter(head, rest)
    elif key == "agent":
        head = [_flag(h) for h in head]
    return ",".join([*head[:1], *(f"{name}={after}" for name, after in rest)])


def _adapter(head: list[str], rest: list[tuple[str, str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """`model=virtio,macaddr=X` and `virtio=X` are one."""
    model = next((name for name, _ in rest if MODEL.fullmatch(name)), head[0] if head else "")
    mac = next((after for name, after in rest if name in (model, "macaddr")), "")
    return [f"{model}={mac}" if mac else model] if model else [], [r for r in rest if r[0] not in (model, "macaddr")]


def _flag(value: str) -> str:
    return "1" if YES.match(value) else "0" if NO.match(value) else value
