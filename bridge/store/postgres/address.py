"""The address of a database, taken apart once: what goes to libpq is no text that an error could repeat with its
password."""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bridge.errors import Refused

SILENT = 15  # seconds until a peer that says nothing, or a change in which nothing is said, is given up
KEEPING = {  # a machine that is gone without a word is noticed in this time (postgresql.org/docs/15/libpq-connect.html)
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": SILENT * 1000,
}


def place(url: str) -> str:
    """What people know it by, without user, password and settings."""
    parts = urlsplit(url)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def connecting(url: str, password: str, patience: float) -> dict[str, Any]:
    """libpq's parameters. `password` counts before the one in the address. Raises Refused, without the address's
    text."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        raise Refused(f"[store] url cannot be read: {place(url)}.", code="bad_url") from None
    if password:
        given["password"] = password
    # who has died or hangs in the middle of a change must not hold all others up
    sessions = f"-c idle_in_transaction_session_timeout={SILENT * 1000}"
    return {
        "connect_timeout": max(2, int(patience)),
        **KEEPING,
        **given,
        "client_encoding": "UTF8",
        "application_name": f"vmbridge@{socket.gethostname()}:{os.getpid()}",
        "options": f"{given.get('options') or ''} {sessions}".strip(),
    }


def passwords(connected: dict[str, Any]) -> list[str]:
    """Those that a text of PostgreSQL's programs must not show."""
    return [p for p in (connected.get("password"), os.environ.get("PGPASSWORD")) if p]
