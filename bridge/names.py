"""Names and keys that people give: the rule for a server's name, and public SSH keys. Pure; no store, no network."""

from __future__ import annotations

import base64
import binascii
import random
import re
import string
import unicodedata
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
RANDOM = re.compile(r"^random_(digit|letter)_([1-9]|[12]\d|3[0-2])\Z")
KINDS = re.compile(
    r"^(ssh-(rsa|ed25519)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)\Z"
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
        drawn = RANDOM.match(match.group(1))
        if drawn:
            letters = string.digits if drawn.group(1) == "digit" else string.ascii_lowercase
            return "".join(chance.choice(letters) for _ in range(int(drawn.group(2))))
        return known[match.group(1)]

    return MACRO.sub(value, rule)


LONGEST_LABEL, LONGEST_NAME = (
    63,
    63,
)  # RFC 1123's label; the whole as one, so that it is a label's length wherever it is written
DOTS = re.compile("[.\u3002\uff0e\uff61]")  # what IDNA takes for a dot
# A first label that YAML would not read as a text: cloud-init's data names it without quotes (qemu-server,
# Cloudinit.pm)
NO_TEXT = re.compile(r"[\d-]+|0[xob][0-9a-f]+|\d+e\d+|y|n|yes|no|on|off|true|false|null")


def host_name(text: str, otherwise: str = "vm") -> str:
    """The one way from any text to a host name that every back end takes: at most 63 characters of lower-case labels of
    letters, digits and inner hyphens. Other alphabets as IDNA writes them; what does not fit is cut between labels,
    never inside one unless it is the first. `otherwise` where nothing is left. A good name comes back as it is."""
    labels = [label for part in DOTS.split(text.lower()) if (label := _label(part))] or [otherwise]
    if NO_TEXT.fullmatch(labels[0]):
        labels[0] = _cut(f"vm-{labels[0]}")
    whole = labels[0]
    for label in labels[1:]:
        if len(whole) + 1 + len(label) > LONGEST_NAME:
            break
        whole += f".{label}"
    return whole


def _label(part: str) -> str:
    words = re.sub(r"[^\w-]+|_+", "-", unicodedata.normalize("NFKC", part)).strip("-")
    if not words.isascii():
        try:
            words = words.encode("idna").decode()
        except UnicodeError:  # too long, or letters that IDNA does not know
            words = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return _cut(re.sub(r"[^a-z0-9-]+", "-", words.lower()))


def _cut(label: str) -> str:
    return label.strip("-")[:LONGEST_LABEL].rstrip("-")


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


MADE_AS = {  # how a system's makers write its name, where that is not the word with a capital letter
    "almalinux": "AlmaLinux",
    "archlinux": "Arch Linux",
    "centos": "CentOS",
    "cloudlinux": "CloudLinux",
    "freebsd": "FreeBSD",
    "netbsd": "NetBSD",
    "openbsd": "OpenBSD",
    "opensuse": "openSUSE",
    "nixos": "NixOS",
    "oracle": "Oracle Linux",
    "oraclelinux": "Oracle Linux",
    "rhel": "RHEL",
    "rocky": "Rocky Linux",
    "rockylinux": "Rocky Linux",
    "win": "Windows",
    "lts": "LTS",
}


def system_label(word: str) -> str:
    """What people read for a plan's word of a system: `debian-12` -> `Debian 12`, `win2022` -> `Windows 2022`."""
    parts = re.findall(r"[A-Za-z]+(?=\d{4}\Z)|[^\s_-]+", word)
    return " ".join(MADE_AS.get(p.lower(), p if not p.islower() else p.capitalize()) for p in parts)
