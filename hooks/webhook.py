"""Addresses of the operator's own: each event is posted as JSON, signed, until it is taken."""

from __future__ import annotations

import hmac
import json
from typing import Any

import requests

from bridge.clock import Clock
from bridge.errors import Transient
from bridge.whmcs import Whmcs
from drivers.answers import bound
from drivers.calls import calling
from drivers.http import Peer, fault

EVENTS = ("webhook",)
TIMEOUT = (3.0, 5.0)  # to connect, and for the whole answer: mails wait behind it
CLOCK = Clock()


def signature(secret: str, stamp: str, body: bytes) -> str:
    """HMAC-SHA256 in hex of `STAMP.BODY`."""
    return hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()


def deliver(event: str, payload: dict[str, Any], whmcs: Whmcs) -> None:
    """Raises UpstreamError until something answers 2xx. What the configuration does not have any more is told to
    nobody."""
    name, told = payload["hook"], payload["told"]
    if name not in whmcs.webhooks:
        return
    url, secret = whmcs.webhooks[name]
    body, stamp = json.dumps(told, sort_keys=True).encode(), str(int(CLOCK.now()))
    headers = {
        "Content-Type": "application/json",
        "Vmbridge-Event": told["event"],
        "Vmbridge-Event-Id": told["id"],
        "Vmbridge-Timestamp": stamp,
        "Vmbridge-Signature": f"v1={signature(secret, stamp, body)}",
        "Connection": "close",
    }
    peer = Peer(f"the webhook {name}", url, f"[webhooks.{name}] url")
    with calling(f"webhook:{name}", "POST", told["event"], True):
        try:
            with requests.Session() as session:
                session.trust_env = False
                bound(session)
                with session.post(
                    url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False, stream=True
                ) as reply:
                    status = reply.status_code
        except (requests.exceptions.RequestException, OSError, ValueError) as e:
            raise fault(e, peer, False) from None
        if not 200 <= status < 300:
            raise Transient(
                f"The webhook {name} did not take the event.", code="webhook_refused", detail=f"HTTP {status}"
            )
