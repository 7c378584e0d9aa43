"""Addresses that were learned after the order: written into WHMCS's service."""

from __future__ import annotations

from typing import Any

from bridge.whmcs import Whmcs

EVENTS = ("addresses",)


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    first, *rest = payload["addresses"]
    whmcs.update_service(payload["service_id"], dedicatedip=first, assignedips="\n".join(rest))
