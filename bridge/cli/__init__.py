"""The `vmbridge` command: every part takes --config; faults are printed with their path and exit with 2. One module per
noun; each registers its commands with the group in base.py."""

from bridge.cli import adopt, audit, check, findings, moving, operations, processes, rename, store, tokens
from bridge.cli.base import main

__all__ = [
    "adopt",
    "audit",
    "check",
    "findings",
    "main",
    "moving",
    "operations",
    "processes",
    "rename",
    "store",
    "tokens",
]
