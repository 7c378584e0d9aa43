"""Processes as /proc shows them."""

from __future__ import annotations

from pathlib import Path


def children(pid: int) -> list[int]:
    return [int(c) for task in Path(f"/proc/{pid}/task").glob("*/children") for c in task.read_text().split()]


def child(pid: int, name: str) -> int:
    """The one that the process has begun under this name, which `ps` shows."""
    [found] = [c for c in children(pid) if name.encode() in Path(f"/proc/{c}/cmdline").read_bytes()]
    return found
