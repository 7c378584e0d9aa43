"""docs/seed-kvm.md and docs/seed-hetzner.md name tests that exist; a dash only for what is not built."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bridge.model import Capability
from drivers.base import load

ROOT = Path(__file__).parent.parent
NEEDS = {  # chapter -> what the driver declares once it is built
    "Reverse DNS": Capability.RDNS, "Reinstall": Capability.REINSTALL, "Snapshots": Capability.SNAPSHOTS, "Backups": Capability.BACKUPS,
    "Reset password": Capability.RESET_PASSWORD, "ISO": Capability.ISO,
}


def rows_of(file: str) -> list[tuple[str, str]]:
    """(chapter, row) of every table."""
    chapter, found = "", []
    for line in (ROOT / "docs" / file).read_text("utf-8").splitlines():
        if line.startswith("## "):
            chapter = line[3:]
        if line.startswith("|") and not line.startswith(("| sentence", "| promised", "|--")):
            found.append((chapter, line))
    return found


def named(row: str) -> list[tuple[str, str]]:
    return re.findall(r"(test_\w+\.py)::(test_\w+)", row)


@pytest.mark.parametrize(("file", "least"), [("seed-kvm.md", 40), ("seed-hetzner.md", 30)])
def test_every_named_test_exists(file: str, least: int) -> None:
    rows = [row for _, row in rows_of(file)]
    files = {f for row in rows for f, _ in named(row)}
    known = {f: {n.name for n in ast.parse((ROOT / "tests" / f).read_text("utf-8")).body if isinstance(n, ast.FunctionDef)} for f in files}
    assert len(rows) > least and [(f, t) for row in rows for f, t in named(row) if t not in known[f]] == []


def test_every_row_names_a_test_when_it_is_built() -> None:
    assert [row for _, row in rows_of("seed-kvm.md") if not named(row)] == []
    has = load("hetzner").capabilities
    metrics = "MetricProvider" in (ROOT / "whmcs-shim/modules/servers/vmbridge/vmbridge.php").read_text("utf-8")
    ahead = {chapter for chapter, capability in NEEDS.items() if capability not in has} | (set() if metrics else {"Metrics and usage"})
    assert [row for chapter, row in rows_of("seed-hetzner.md") if not named(row) and not (row.endswith("| - |") and chapter in ahead)] == []
