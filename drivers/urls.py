"""Addresses of servers as a configuration has them."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
NO_PATH = re.compile(r"[^A-Za-z0-9._~/-]|//|/\.{1,2}(/|$)")


def url_fault(text: str, schemes: Collection[str] = ("https",)) -> str:
    """What is wrong with the address of a server in a configuration, as a sentence; empty when we use all of it:
    scheme, host, port and path. Nothing of an address is dropped silently."""
    example = f"{next(iter(schemes))}://HOST[:PORT][/PATH]"
    try:
        parts = urlsplit(text)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        return f"Must be {example}."
    if parts.scheme not in schemes:
        return f"Must begin with {' or '.join(f'{s}://' for s in schemes)}."
    if parts.username is not None or parts.password is not None:
        return "Must hold no user name and no password: they have keys of their own, and addresses are shown in logs."
    if "?" in text or "#" in text:
        return "Must end before the ? or #: what follows has no use here."
    host = HOST.fullmatch(parts.hostname or "")
    if not host or not port_is_good or NO_PATH.search(parts.path):
        return f"Must be {example}."
    return ""
