"""WHMCS's remote API: form posts to includes/api.php. Knows actions and replies, not what they are for."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
import structlog

from bridge.errors import Permanent, Transient, UpstreamError
from drivers.answers import bound
from drivers.calls import calling
from drivers.http import CONNECT_TIMEOUT, READ_TIMEOUT, Peer, fault

log = structlog.get_logger()
TIMEOUT = (CONNECT_TIMEOUT, READ_TIMEOUT)
MOVED = (
    "WHMCS's address answers with a redirect, which an API's call cannot follow.",
    "Put the address to which it leads into {where}: with https, and with or without www as WHMCS itself has it.",
)
FENCED = (
    "Something in front of WHMCS's API refuses the call: a firewall, a password, or a limit.",
    "Let this machine's address through to includes/api.php.",
)
NOT_THERE = (
    "There is no WHMCS API at the address.",
    "Correct {where}: includes/api.php has to be below it.",
)
BROKEN = (
    "WHMCS has a fault just now, or its web server.",
    "Look at the web server's and PHP's error logs there.",
)
NO_API = (
    "WHMCS's address answered with something that is not its API's answer.",
    "See whether something else answers there (a maintenance or login page), and that {where} is right.",
)
REFUSALS = (  # as WHMCS words them
    (
        re.compile(r"invalid ip", re.I),
        "whmcs_address_refused",
        "WHMCS does not take calls from this machine's address.",
        "Add the address to General Settings > Security > API IP Access Restriction.",
    ),
    (
        re.compile(r"authentication failed|credentials|identifier|access key", re.I),
        "whmcs_credentials",
        "WHMCS does not know our API credential.",
        "Correct api_identifier and api_secret of {table}, or make a new credential under Manage API Credentials.",
    ),
    (
        re.compile(r"permission|not allowed|not permitted", re.I),
        "whmcs_role",
        "Our API credential's role in WHMCS lacks an action.",
        "Give the API role {action}; all that are needed: GetClientsProducts, SendEmail, SendAdminEmail,"
        " UpdateClientProduct and LogActivity; for reverse DNS by ticket also OpenTicket, AddTicketReply, GetTickets,"
        " GetTicket and GetSupportDepartments.",
    ),
)


def _said(text: tuple[str, str], where: str) -> tuple[str, str]:
    return text[0], text[1].format(where=where)


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
        self,
        system_url: str,
        identifier: str,
        secret: str,
        templates: Mapping[str, str] | None = None,
        name: str = "main",
    ) -> None:
        self.templates = dict(templates or {})  # our mail -> the admin's own product template
        self._url = f"{system_url.rstrip('/')}/includes/api.php"
        self._identifier, self._secret, self._table = identifier, secret, f"[whmcs.{name}]"
        self.webhooks: dict[str, tuple[str, str]] = {}  # the operator's own: name -> (address, secret)
        self._name = name
        self._peer = Peer("WHMCS", system_url, f"{self._table} system_url")

    def call(self, action: str, **values: Any) -> dict[str, Any]:
        """Raises UpstreamError; `executed` is unknown when the reply was lost."""
        with calling(f"whmcs:{self._name}", action, "includes/api.php", not action.startswith("Get")):
            return self._ask(action, values)

    def _ask(self, action: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """WHMCS's answer to one action of its API. Raises UpstreamError; after a lost answer to one that changes
        something nobody knows whether it did."""
        form = {k: v for k, v in values.items() if v is not None}
        form |= {"identifier": self._identifier, "secret": self._secret, "action": action, "responsetype": "json"}
        try:
            with requests.Session() as session:
                bound(session)
                reply = session.post(
                    self._url, data=form, timeout=TIMEOUT, headers={"Connection": "close"}, allow_redirects=False
                )
        except (requests.exceptions.RequestException, OSError, ValueError) as e:
            raise fault(
                e, self._peer, not action.startswith("Get"), "It is sent again, so WHMCS may have it twice."
            ) from None
        try:
            body = reply.json()
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise self._no_api(reply)
        if reply.status_code != 200 or body.get("result", body.get("status")) != "success":
            raise self._refused(action, str(body.get("message") or f"HTTP {reply.status_code}")[:200])
        return body

    def _no_api(self, reply: requests.Response) -> UpstreamError:
        """Something answered, and it was not WHMCS's API."""
        status, where = reply.status_code, f"{self._table} system_url"
        target = urlsplit(reply.headers.get("Location", "")).hostname or ""
        kind, code, sentence, action = next(
            known
            for fits, known in (
                (300 <= status < 400, (Permanent, "whmcs_moved", *_said(MOVED, where))),
                (status in (401, 403, 407, 429), (Permanent, "whmcs_fenced", *_said(FENCED, where))),
                (status in (404, 405, 410), (Permanent, "whmcs_not_there", *_said(NOT_THERE, where))),
                (status >= 500, (Transient, "whmcs_fault", *_said(BROKEN, where))),
                (True, (Transient, "bad_answer", *_said(NO_API, where))),
            )
            if fits
        )
        return kind(
            sentence, code=code, detail=f"HTTP {status}" + (f" to {target}" if target else ""), next_action=action
        )

    def _refused(self, action: str, message: str) -> UpstreamError:
        """WHMCS's own words -> what has to be mended."""
        for words, code, sentence, mend in REFUSALS:
            if words.search(message):
                said = mend.format(action=action, table=self._table)
                return Permanent(sentence, code=code, detail=f"{action}: {message}", next_action=said)
        return Permanent(
            "WHMCS refused the call.",
            code="whmcs_refused",
            detail=f"{action}: {message}",
            next_action="Look at WHMCS's activity log and at the call's values.",
        )

    def send_email(self, service_id: int, template: str, **customvars: str) -> None:
        """A product template for a service (id = the service)."""
        self.call(
            "SendEmail", messagename=template, id=service_id, customvars=packed(customvars) if customvars else None
        )
        log.info("mail_sent", service=service_id, template=template)

    def send_own_email(self, service_id: int, subject: str, html: str, **customvars: str) -> None:
        self.call(
            "SendEmail",
            id=service_id,
            customtype="product",
            customsubject=subject,
            custommessage=html,
            customvars=packed(customvars) if customvars else None,
        )
        log.info("mail_sent", service=service_id, subject=subject)

    def send_client_email(self, client_id: int, subject: str, html: str) -> None:
        """A mail that is about no service (a general one: its id is the client's)."""
        self.call("SendEmail", id=client_id, customtype="general", customsubject=subject, custommessage=html)

    def notify_admins(self, subject: str, html: str) -> None:
        self.call("SendAdminEmail", customsubject=subject, custommessage=html, type="system")
        log.info("mail_sent", to="admins", subject=subject)

    def log(self, text: str, client_id: int | None = None) -> None:
        self.call("LogActivity", description=text, clientid=client_id)

    def update_service(self, service_id: int, **values: Any) -> None:
        """dedicatedip, assignedips, serviceusername ...; customfields by name -> packed. An empty text blanks its
        column: the API leaves alone what comes empty, so it is named in `unset` too."""
        if "customfields" in values:
            values["customfields"] = packed(values["customfields"])
        blank = [name for name, value in values.items() if value == ""]
        self.call("UpdateClientProduct", serviceid=service_id, **values, **({"unset[]": blank} if blank else {}))
