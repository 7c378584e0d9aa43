"""Telling systemd that a process is ready and alive (sd_notify(3)): datagrams to the socket that it names."""

from __future__ import annotations

import os
import socket

SOCKET, WATCHDOG = "NOTIFY_SOCKET", "WATCHDOG_USEC"


def notify(text: str) -> bool:
    """Send states such as READY=1, WATCHDOG=1 or STOPPING=1; false where nobody listens. Never raises: a supervisor
    that cannot be told decides by itself."""
    where = os.environ.get(SOCKET, "")
    if not where:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.settimeout(1.0)
            line.sendto(text.encode(), f"\0{where[1:]}" if where.startswith("@") else where)
    except OSError:
        return False
    return True


def watched() -> bool:
    return bool(os.environ.get(SOCKET))


def every(default: float = 10.0) -> float:
    """Seconds between two signs of life: a third of what systemd waits for (`WatchdogSec=`), `default` at most."""
    text = os.environ.get(WATCHDOG, "")
    return min(default, int(text) / 3e6) if text.isascii() and text.isdigit() and int(text) else default
