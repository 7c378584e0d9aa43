"""Tells a client, who wants to know, that credit will not last."""

from __future__ import annotations

from html import escape
from typing import Any

from bridge.whmcs import Whmcs

EVENTS = ("low_credit",)


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    paragraphs = "\n".join(f"<p>{_plain(text)}</p>" for text in payload["text"])
    link = escape(payload["link"])
    whmcs.send_client_email(
        payload["client_id"],
        _line(payload["subject"]),
        f'<div dir="{escape(payload["direction"])}">{paragraphs}\n<p><a href="{link}">{link}</a></p>\n'
        f"<p><small>{_plain(payload['why'])}</small></p></div>",
    )


def _line(text: str) -> str:
    return text.replace("{", "").replace("}", "")


def _plain(text: str) -> str:
    """For HTML that Smarty reads too."""
    return _line(escape(text))
