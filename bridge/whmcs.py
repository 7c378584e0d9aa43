"""WHMCS's remote API: form posts to includes/api.php. Knows actions and replies, not what they are for."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import requests

from bridge.errors import Permanent, Transient, Unknown, Unreachable

TIMEOUT = (5.0, 20.0)


def php_serialize(value: Any) -> bytes:
    """PHP's serialize(); string lengths are bytes, so text is encoded first."""
    if value is None:
        return b"N;"
    if isinstance(value, bool):
        return b"b:%d;" % value
    if isinstance(value, int):
        return b"i:%d;" % value
    if isinstance(value, float):
        return f"d:{value!r};".encode()
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        inner = b"".join(
            php_serialize(k if isinstance(k, int) else str(k)) + php_serialize(v) for k, v in value.items()
        )
        return b"a:%d:{%s}" % (len(value), inner)
    raw = str(value).encode()
    return b's:%d:"%s";' % (len(raw), raw)


def packed(value: Any) -> str:
    """base64 of the serialised array, as customvars, customfields and configoptions want it."""
    return base64.b64encode(php_serialize(value)).decode()


class Whmcs:
    """One installation. Each call is one POST; a session per call, since an idle one may be half closed."""

    def __init__(
        self, system_url: str, identifier: str, secret: str, templates: Mapping[str, str] | None = None
    ) -> None:
        self.templates = dict(templates or {})  # our mail -> the admin's own product template
        self._url = f"{system_url.rstrip('/')}/includes/api.php"
        self._identifier, self._secret = identifier, secret

    def call(self, action: str, **values: Any) -> dict[str, Any]:
        """Raises UpstreamError; `executed` is unknown when the reply was lost."""
        form = {k: v for k, v in values.items() if v is not None}
        form |= {"identifier": self._identifier, "secret": self._secret, "action": action, "responsetype": "json"}
        try:
            reply = requests.post(self._url, data=form, timeout=TIMEOUT, headers={"Connection": "close"})
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError) as e:
            raise Unreachable("WHMCS does not answer.", detail=type(e).__name__) from None
        except requests.exceptions.RequestException as e:
            raise Unknown("WHMCS's reply was lost.", detail=type(e).__name__) from None
        try:
            body = reply.json()
        except ValueError:
            raise Transient("WHMCS answered something that is not JSON.", detail=f"HTTP {reply.status_code}") from None
        if reply.status_code != 200 or body.get("result", body.get("status")) != "success":
            raise Permanent(
                "WHMCS refused the call.",
                code="whmcs_refused",
                detail=f"{action}: {str(body.get('message', reply.status_code))[:200]}",
            )
        return dict(body)

    def send_email(self, service_id: int, template: str, **customvars: str) -> None:
        """A product template for a service (id = the service)."""
        self.call(
            "SendEmail", messagename=template, id=service_id, customvars=packed(customvars) if customvars else None
        )

    def send_own_email(self, service_id: int, subject: str, html: str, **customvars: str) -> None:
        self.call(
            "SendEmail",
            id=service_id,
            customtype="product",
            customsubject=subject,
            custommessage=html,
            customvars=packed(customvars) if customvars else None,
        )

    def notify_admins(self, subject: str, html: str) -> None:
        self.call("SendAdminEmail", customsubject=subject, custommessage=html, type="system")

    def log(self, text: str, client_id: int | None = None) -> None:
        self.call("LogActivity", description=text, clientid=client_id)

    def update_service(self, service_id: int, **values: Any) -> None:
        """dedicatedip, assignedips, serviceusername ...; customfields by name -> packed."""
        if "customfields" in values:
            values["customfields"] = packed(values["customfields"])
        self.call("UpdateClientProduct", serviceid=service_id, **values)
