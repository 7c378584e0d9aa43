"""Files that browsers load from the public path, under an address that changes with their content."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"


@cache
def version() -> str:
    """16 hex digits over names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in FOLDER.rglob("*") if p.is_file()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(FOLDER).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]


def built(name: str) -> bool:
    """Whether a file is there; those from npm are not without `make assets`."""
    try:
        return (FOLDER / name).is_file()
    except (OSError, ValueError):  # a name that no file can have: too long, or with a NUL
        return False
