"""docs/seed-kvm.md names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_named_test_exists() -> None:
    rows = [line for line in (ROOT / "docs/seed-kvm.md").read_text("utf-8").splitlines() if line.startswith("|") and not line.startswith(("| sentence", "|--"))]
    named = [re.findall(r"(test_\w+\.py)::(test_\w+)", row) for row in rows]
    assert len(rows) > 40 and all(named), [r for r, n in zip(rows, named, strict=True) if not n]
    files = {file for found in named for file, _ in found}
    known = {f: {n.name for n in ast.parse((ROOT / "tests" / f).read_text("utf-8")).body if isinstance(n, ast.FunctionDef)} for f in files}
    assert [(f, t) for found in named for f, t in found if t not in known[f]] == []
