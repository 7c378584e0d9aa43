"""One notice to staff for what WHMCS cannot learn any more: activity log and admin mail."""

from __future__ import annotations

from html import escape
from typing import Any

from bridge.whmcs import Whmcs

EVENTS = ("staff_notice",)


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    text = f"{payload['subject']}: {payload['text']} (reference {payload['reference']})"
    whmcs.log(text.replace("\n", " "))
    body = escape(payload["text"]).replace("\n", "<br>").replace("{", "(").replace("}", ")")
    whmcs.notify_admins(payload["subject"], f"<p>{body}</p><p>Reference: {escape(payload['reference'])}</p>")
