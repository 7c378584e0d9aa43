"""Files that browsers load from the public path, under an address that changes with their content. Our long ones are
kept as parts, by noun, and are one file to a browser."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
PARTS = {  # in their order; what a part of a script declares, the later ones know
    "vmbridge.css": ("head", "cards", "fields", "widths"),
    "admin.css": ("pages", "servers", "widths"),
    "dashboard.css": ("head", "sheets", "widths"),
    "vmbridge.js": ("page", "values", "renewal", "live", "forms", "lists", "begin"),
    "charts.js": ("page", "moment", "plots", "tables", "reading", "drawing"),
}


@cache
def version() -> str:
    """16 hex digits over names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(p for p in FOLDER.rglob("*") if p.is_file()):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(FOLDER).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:16]


def paths(name: str) -> list[Path]:
    """The files that one is made of: its parts, or itself."""
    whole = FOLDER / name
    return [FOLDER / whole.stem / f"{part}{whole.suffix}" for part in PARTS[name]] if name in PARTS else [whole]


def built(name: str) -> bool:
    """Whether a file is there; those from npm are not without `make assets`."""
    try:
        return all(path.is_file() for path in paths(name))
    except (OSError, ValueError):  # a name that no file can have: too long, or with a NUL
        return False


def text(name: str) -> str:
    """What a browser gets of it. The parts of a script share one function, of which the page knows nothing."""
    whole = "\n".join(path.read_text("utf-8") for path in paths(name))
    return f"(function () {{\n{whole}}})();\n" if name in PARTS and name.endswith(".js") else whole
