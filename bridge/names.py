"""Names and keys that people give: the rule for a server's name, and public SSH keys. Pure; no store, no network."""

from __future__ import annotations

import base64
import binascii
import random
import re
import string
from datetime import UTC, datetime

MACROS = (
    "client_id",
    "service_id",
    "domain",
    "random_digit_N",
    "random_letter_N",
    "unixtime",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
)
MACRO = re.compile(r"\{([^{}]*)\}")
RANDOM = re.compile(r"^random_(digit|letter)_([1-9]|[12]\d|3[0-2])$")
KINDS = re.compile(
    r"^(ssh-(rsa|ed25519)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)$"
)


def unknown_macros(rule: str) -> list[str]:
    """Macros of a rule that do not exist, as they stand there."""
    return [f"{{{m}}}" for m in MACRO.findall(rule) if (m not in MACROS and not RANDOM.match(m)) or m.endswith("_N")]


def from_rule(
    rule: str, client_id: int, service_id: int, domain: str, now: float, chance: random.Random | None = None
) -> str:
    """The name a rule gives, e.g. `vm{service_id}-{random_letter_4}`; times are UTC."""
    chance, at = chance or random.SystemRandom(), datetime.fromtimestamp(now, UTC)
    known = {
        "client_id": str(client_id),
        "service_id": str(service_id),
        "domain": domain,
        "unixtime": str(int(now)),
        "year": f"{at:%Y}",
        "month": f"{at:%m}",
        "day": f"{at:%d}",
        "hour": f"{at:%H}",
        "minute": f"{at:%M}",
        "second": f"{at:%S}",
    }

    def value(match: re.Match[str]) -> str:
        found = RANDOM.match(match.group(1))
        if found:
            letters = string.digits if found.group(1) == "digit" else string.ascii_lowercase
            return "".join(chance.choice(letters) for _ in range(int(found.group(2))))
        return known[match.group(1)]

    return MACRO.sub(value, rule)


def is_host_name(text: str) -> bool:
    """Labels of letters, digits and inner hyphens, 63 each and 253 in all (RFC 1123)."""
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    return len(text) <= 253 and bool(re.fullmatch(rf"{label}(\.{label})*\.?", text))


def bad_ssh_keys(text: str) -> list[int]:
    """Numbers of the lines that are no public key in OpenSSH's format."""
    return [i for i, line in enumerate(text.splitlines(), 1) if line.strip() and not _is_key(line.split())]


def _is_key(parts: list[str]) -> bool:
    if len(parts) < 2 or not KINDS.match(parts[0]) or len(parts[1]) > 4096:
        return False
    try:
        raw = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        return False
    return raw[4 : 4 + int.from_bytes(raw[:4], "big")] == parts[0].encode()


def ssh_keys(*texts: str) -> str:
    """Keys of several texts, one per line, each once."""
    lines = [" ".join(line.split()) for text in texts for line in text.splitlines() if line.strip()]
    return "\n".join(dict.fromkeys(lines))
