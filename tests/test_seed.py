"""docs/seed-kvm.md, docs/seed-hetzner.md and docs/seed-dashboard.md name tests that exist, one in every row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def rows_of(file: str) -> list[tuple[str, str]]:
    """(chapter, row) of every table."""
    chapter, rows = "", []
    for line in (ROOT / "docs" / file).read_text("utf-8").splitlines():
        if line.startswith("## "):
            chapter = line[3:]
        if line.startswith("|") and not line.startswith(("| sentence", "| promised", "|--")):
            rows.append((chapter, line))
    return rows


def named(row: str) -> list[tuple[str, str]]:
    return re.findall(r"(test_\w+\.py)::(test_\w+)", row)


@pytest.mark.parametrize(("file", "least"), [("seed-kvm.md", 40), ("seed-hetzner.md", 30), ("seed-dashboard.md", 30)])
def test_every_named_test_exists(file: str, least: int) -> None:
    rows = [row for _, row in rows_of(file)]
    files = {f for row in rows for f, _ in named(row)}
    known = {
        f: {n.name for n in ast.parse((ROOT / "tests" / f).read_text("utf-8")).body if isinstance(n, ast.FunctionDef)}
        for f in files
    }
    assert len(rows) > least
    assert [(f, t) for row in rows for f, t in named(row) if t not in known[f]] == []


def test_every_row_names_a_test() -> None:
    for file in ("seed-kvm.md", "seed-hetzner.md", "seed-dashboard.md"):
        assert [row for _, row in rows_of(file) if not named(row)] == []
