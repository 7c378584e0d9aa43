"""The address of a database on PostgreSQL, as `[store] url` has it. What is wrong is said without the text, which may
hold a password."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from marshmallow import ValidationError

EXAMPLE = "postgresql://USER@HOST[:PORT]/DATABASE"
ADDRESS = re.compile(
    r"postgresql://(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^/?#@]*)/(?P<name>[^/?#]+)(?:\?(?P<settings>[^#]*))?"
)
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]|(?:%2F[A-Za-z0-9._%-]*))(?::(?P<port>\d{1,5}))?", re.I)
BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# postgresql.org/docs/15/libpq-connect.html; what we set ourselves, or what would weaken us, is not among them
SETTINGS = (
    "host",
    "port",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "ssl_min_protocol_version",
    "channel_binding",
    "gssencmode",
    "krbsrvname",
    "passfile",
    "target_session_attrs",
    "load_balance_hosts",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "connect_timeout",
    "options",
)
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def fitting(url: str) -> None:
    """Raises ValidationError naming what is wrong."""
    if not url:
        raise ValidationError(f"Must be {EXAMPLE}, without it the store is the file of path.")
    if url.startswith("postgres://"):
        raise ValidationError("Must begin with postgresql://.")
    parts = ADDRESS.fullmatch(url)
    if parts is None or BAD_PERCENT.search(url) or re.search(r"\s", url):
        raise ValidationError(
            f"Must be {EXAMPLE}, with what is special in a name or password as %XX; a password may stand in password"
            " instead."
        )
    for host in parts["hosts"].split(",") if parts["hosts"] else ():
        match = HOST.fullmatch(host)
        if match is None or not 0 < int(match["port"] or 1) < 65536:
            raise ValidationError(f"Must be {EXAMPLE}: a host is a name or an address, a port 1 to 65535.")
    for name, value in parse_qsl(parts["settings"] or "", keep_blank_values=True):
        if name == "password":
            raise ValidationError("Must not have its password behind the ?: put it into [store] password.")
        if name not in SETTINGS:
            raise ValidationError(f"Has an unknown setting {name[:40]!r}; known are {', '.join(SETTINGS)}.")
        if name == "sslmode" and value not in MODES:
            raise ValidationError(f"Has sslmode {value[:20]!r}; it must be one of {', '.join(MODES)}.")


def secrets_of(store: dict[str, Any], environment: Mapping[str, str] = os.environ) -> list[str]:
    """What must not be shown: as it is written, and as it is sent."""
    parts = ADDRESS.fullmatch(store["url"])
    written = (parts["user"] or "").partition(":")[2] if parts else ""
    return [s for s in (store["password"], written, unquote(written), environment.get("PGPASSWORD", "")) if s]
