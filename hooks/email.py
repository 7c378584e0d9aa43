"""Mails to customers, through WHMCS: its own welcome template, else a short text of ours."""

from __future__ import annotations

from html import escape
from typing import Any

from bridge.whmcs import Whmcs

EVENTS = ("ready", "password", "restored", "backup_failed")

# {$service_password} is WHMCS's own merge field: the password never passes through our text
READY = """<!-- vmbridge:secret --><p>Hello {$client_first_name},</p>
<p>your server <strong>%s</strong> is ready.</p>
<p>Address: %s<br>User: %s<br>Password: {$service_password}</p>
<p>You manage it in the client area under Services.</p>"""

# what is said where the event, of an older release, does not say it
NEW_PASSWORD = (
    "Your new password",
    "your server <strong>%s</strong> has a new password.",
)
PLAIN = {
    "restored": (
        "Your backup is restored",
        "a backup of your server <strong>%s</strong> is restored, and the server is as it was when the backup was"
        " made.",
    ),
    "backup_failed": (
        "A backup could not be made",
        "a backup of your server <strong>%s</strong> could not be made. Your earlier backups are still there.",
    ),
}
PASSWORD = """<!-- vmbridge:secret --><p>Hello {$client_first_name},</p>
<p>%s</p>
<p>User: %s<br>New password: {$vmbridge_password}</p>
<p>Please change it after your first login.</p>"""


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    """Sends one mail through WHMCS: the admin's own template where there is one, else our text in English."""
    own = whmcs.templates.get(payload.get("reason", event))
    if own:  # the admin's own template; the values are merge fields of it
        whmcs.send_email(
            payload["service_id"],
            own,
            **{f"vmbridge_{k}": str(payload[k]) for k in ("hostname", "user", "password") if k in payload},
        )
        return
    if event == "password":
        subject, sentence = (payload.get("subject") or NEW_PASSWORD[0], payload.get("text") or NEW_PASSWORD[1])
        text = PASSWORD % (sentence % _plain(payload["hostname"]), escape(payload["user"]))
        whmcs.send_own_email(payload["service_id"], subject, text, vmbridge_password=payload["password"])
        return
    if event in PLAIN:
        subject, sentence = PLAIN[event]
        whmcs.send_own_email(
            payload["service_id"],
            subject,
            f"<p>Hello {{$client_first_name}},</p>\n<p>{sentence % _plain(payload['hostname'])}</p>",
        )
        return
    if payload["template"] and not payload["hold"]:
        return  # WHMCS has sent the welcome mail itself
    if payload["template"]:
        whmcs.send_email(payload["service_id"], payload["template"])
        return
    addresses = ", ".join(escape(a) for a in payload["addresses"])
    whmcs.send_own_email(
        payload["service_id"],
        "Your server is ready",
        READY % (_plain(payload["hostname"]), addresses, escape(payload.get("user", "root"))),
    )


def _plain(text: str) -> str:
    """For HTML that Smarty reads too."""
    return escape(text).replace("{", "").replace("}", "")
