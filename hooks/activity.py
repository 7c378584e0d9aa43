"""Lines in WHMCS's activity log."""

from __future__ import annotations

from typing import Any

from bridge.whmcs import Whmcs

EVENTS = ("activity",)


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    whmcs.log(f"vmbridge: {payload['text']}", payload.get("client_id") or None)
