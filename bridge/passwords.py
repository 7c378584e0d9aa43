"""Passwords of machines: made, checked, hashed. They are kept sealed by the store and nowhere else."""

from __future__ import annotations

import secrets

from passlib.hash import sha512_crypt

from bridge.errors import BadRequest

ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.+="  # nothing that Smarty or a shell would read


def generate(length: int = 16) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def checked(text: str) -> str:
    """Raises BadRequest outside 5 to 72 printable ASCII characters."""
    if not 5 <= len(text) <= 72 or not all(32 < ord(c) < 127 for c in text):
        raise BadRequest("password: must be 5 to 72 printable ASCII characters without blanks.", code="bad_password")
    return text


def hashed(text: str) -> str:
    """sha512-crypt, made once per password: a new salt would make cloud-init run again. Slow: outside transactions."""
    return str(sha512_crypt.using(rounds=5000).hash(text))


hashed(generate())  # the library sets itself up at its first hash, which threads must not do at the same time
