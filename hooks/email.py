"""Mails to customers, through WHMCS: its own welcome template, else a short text of ours."""

from __future__ import annotations

from html import escape
from typing import Any

from bridge.whmcs import Whmcs

EVENTS = ("ready",)

# {$service_password} is WHMCS's own merge field: the password never passes through our text
READY = """<!-- vmbridge:secret --><p>Hello {$client_first_name},</p>
<p>your server <strong>%s</strong> is ready.</p>
<p>Address: %s<br>User: root<br>Password: {$service_password}</p>
<p>You manage it in the client area under Services.</p>"""


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    if payload["template"] and not payload["hold"]:
        return  # WHMCS has sent the welcome mail itself
    if payload["template"]:
        whmcs.send_email(payload["service_id"], payload["template"])
        return
    addresses = ", ".join(escape(a) for a in payload["addresses"])
    safe = escape(payload["hostname"]).replace("{", "").replace("}", "")
    whmcs.send_own_email(payload["service_id"], "Your server is ready", READY % (safe, addresses))
