"""When the TLS certificates end of those that are called: looked at once an hour, for metrics."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import structlog

from bridge.config import Config
from bridge.store import Store

log = structlog.get_logger()
CERTIFICATE = "certificate:"  # in the store's facts, with the peer's name behind
PATIENCE = 5.0


def peers(config: Config) -> dict[str, tuple[str, str, int]]:
    """Who is called by TLS, and ourselves as browsers reach us: name -> (address, file of its authority, port where
    the address names none)."""
    addresses = {
        name: (s.get("endpoint", ""), s.get("ca_file", ""), config.driver(name).default_port)
        for name, s in config.servers.items()
    }
    addresses |= {f"whmcs:{name}": (w["system_url"], "", 443) for name, w in config.whmcs.items()}
    addresses["public_url"] = (config.web["public_url"], "", 443)
    return {name: at for name, at in addresses.items() if urlsplit(at[0]).scheme == "https"}


def ends(url: str, ca_file: str = "", port: int = 443) -> float:
    """When the certificate at an address ends, in seconds since 1970. Raises OSError where none is to be trusted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    trust = ssl.create_default_context(cafile=ca_file or None)
    with (
        socket.create_connection((host, parts.port or port), PATIENCE) as line,
        trust.wrap_socket(line, server_hostname=host) as tls,
    ):
        told = tls.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(told["notAfter"])))


def look(config: Config, store: Store) -> None:
    """Note the end of each peer's certificate. One that cannot be asked keeps what was known."""
    for name, (url, ca_file, port) in peers(config).items():
        try:
            store.note_fact(f"{CERTIFICATE}{name}", ends(url, ca_file, port))
        except (OSError, ValueError, KeyError) as e:
            log.warning("certificate_unread", peer=name, detail=f"{type(e).__name__}: {e}"[:200])
