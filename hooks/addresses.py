"""A service's addresses: written into WHMCS's columns, where the customer, staff and mails read them."""

from __future__ import annotations

from typing import Any

from bridge.whmcs import Whmcs

EVENTS = ("addresses",)


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    first, *rest = payload["addresses"] or [""]
    whmcs.update_service(payload["service_id"], dedicatedip=first, assignedips="\n".join(rest))
