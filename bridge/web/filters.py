"""Numbers and times as people say them, for templates."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from bridge.model import Network
from bridge.web import language


def inert(value: Any) -> Any:
    """A value that contains the shim's placeholders must not be filled by it: they work in templates only."""
    if isinstance(value, str) and not isinstance(value, Markup) and "%%VMBRIDGE_" in value:
        return value.replace("%%VMBRIDGE_", "%\u200b%VMBRIDGE_")
    return value


def size(value: float) -> str:
    """Bytes -> `2.0 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit in ("B", "KiB") else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def span(seconds: float) -> str:
    """Seconds -> `12 d 4 h`, the two largest units."""
    rest, parts = int(seconds), []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def ago(seconds: float) -> str:
    """Seconds -> `2 min ago`, one unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago" if seconds >= 5 else "just now"


def took(seconds: float) -> str:
    """Seconds -> `0.4 s` for what is short, else as `span`."""
    return f"{seconds:.1f} s" if seconds < 60 else span(seconds)


def moment(epoch: float | None) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if epoch else ""


def when(epoch: float | None, zone: str) -> str:
    """A moment in the customer's time zone, `2026-11-25 02:30`."""
    return datetime.fromtimestamp(epoch, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") if epoch else ""


def countdown(seconds: float) -> str:
    """`0 days 23:59:54`"""
    rest = max(0, int(seconds))
    days = language.translate("%(n)d days") % {"n": rest // 86400}
    return f"{days} {rest % 86400 // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"


def rate(value: float) -> str:
    """Bytes per second -> `1.3 MB/s`."""
    return f"{value / 1e6:.1f} MB/s"


def mask(network: Network) -> str:
    """The netmask of an IPv4 prefix."""
    return str(IPv4Network(f"0.0.0.0/{network.prefix}").netmask)


def translated(text: str) -> str:
    return language.translate(text)


FILTERS = (size, span, ago, took, moment, when, countdown, rate, mask, translated)
