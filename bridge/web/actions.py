"""POST /v1/services/<service_id>/<verb>: WHMCS's actions."""

from __future__ import annotations

import ipaddress
from typing import Any

import structlog
from flask import Blueprint, Response, g

from bridge import services
from bridge.errors import BadRequest, RequestError
from bridge.model import Sentence
from bridge.orders import upgrades
from bridge.origin import origin
from bridge.services import Caller
from bridge.store.faults import hurry
from bridge.web import language
from bridge.web.auth import acts, body, context, deed, known_server, signed_look
from bridge.web.replies import success

log = structlog.get_logger()
routes = Blueprint("actions", __name__)
INSIDE = [
    ipaddress.ip_network(n) for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]


def caller(sent: dict[str, Any]) -> Caller:
    """The actor as the shim names it, shortened for the log."""
    actor = sent.get("actor")
    actor = actor if isinstance(actor, dict) else {}
    kind = str(actor.get("kind") or "system")
    if kind not in ("client", "admin", "system"):
        raise BadRequest("actor.kind: must be client, admin or system.", code="bad_actor")
    address = _address(actor.get("ip"))
    if asks := origin.get():
        asks.kind, asks.name = kind, str(actor.get("name") or actor.get("id") or "")[:60]
        asks.address = address or asks.address
    who = f"{kind} {str(actor.get('name') or actor.get('id') or '')[:60]}".strip()
    return Caller(g.whmcs, who, kind == "client", _outside(address) if kind == "client" else "")


def _outside(address: str) -> str:
    """One that the customer's server may see too: not that of a proxy beside WHMCS."""
    if not address:
        return ""
    at = ipaddress.ip_address(address)
    return "" if at.is_loopback or at.is_link_local or any(at in n for n in INSIDE) else address


def _address(given: Any) -> str:
    """Of the person's browser, where WHMCS knows it; empty for what is no address. A web server that listens for both
    families at once has IPv4 within IPv6 (::ffff:192.0.2.1)."""
    try:
        at = ipaddress.ip_address(str(given).partition("%")[0])
    except ValueError:
        return ""
    return str(at.ipv4_mapped or at) if isinstance(at, ipaddress.IPv6Address) else str(at)


TABLES = ("configoptions", "customfields", "clientsdetails")


def params(sent: dict[str, Any]) -> dict[str, Any]:
    """WHMCS's values: plain ones, and tables of plain ones. Raises BadRequest naming the first that is neither."""
    given = sent.get("params", {})
    if not isinstance(given, dict):
        raise BadRequest("params: must be an object.", code="bad_params")
    for name, value in given.items():
        inner = (
            list(value.values())
            if name in TABLES and isinstance(value, dict)
            else []
            if name in TABLES and value == []
            else [value]
        )
        if not all(v is None or isinstance(v, (str, int, float)) for v in inner):
            raise BadRequest(f"{name}: must be text or a number.", code="bad_params")
    return given


@routes.post("/v1/services/<service:service_id>/<verb>")
@signed_look
def act(service_id: int, verb: str) -> tuple[Response, int]:
    """Orders `verb` of WHMCS for a service: 202 with the operation, 200 where nothing has to be done. `preview` orders
    nothing."""
    sent, at = body(), context()
    values = params(sent)
    who, details = caller(sent), values.get("clientsdetails")
    if who.client and isinstance(details, dict):
        language.choose(str(details.get("language", "")))
    if str(values.get("serviceid", service_id)) != str(service_id):
        raise BadRequest("serviceid: is not the service of the address.", code="wrong_service")
    server = str(sent.get("server") or values.get("serveraccesshash") or "")
    if verb == "create":
        plan = at.config.plans.get(str(values.get("configoption1") or "").partition("|")[0].strip())
        server = server or (plan.server if plan else "")
        if server and not (plan and plan.server != server):  # else the two of them do not agree, which names both
            known_server(server)
    if verb == "preview":
        with hurry():
            return _preview(service_id, values)
    deed(verb, service_id)
    acts()
    answer = services.run(verb, service_id, server, values, who, at.store, at.config, at.drivers)
    reply = success(
        operation=answer.operation or None, properties=answer.properties, hold_welcome_mail=answer.hold_welcome_mail
    )
    return reply, 202 if answer.operation else 200


def _preview(service_id: int, values: dict[str, Any]) -> tuple[Response, int]:
    """What a change of package would do, for WHMCS's upgrade pages; changes nothing. `refused` and `notices` are what
    the customer reads before it is ordered, under `headline`; `warnings` are for staff."""
    at = context()
    service = services.live(service_id, g.whmcs, at.store)
    try:
        preview = upgrades.preview(service, values, at.drivers[service.server], at.store, at.config)
    except RequestError as e:  # the wish itself is wrong: an answer, not a fault of the question
        log.warning("preview_refused", service=service_id, code=e.code, message=e.sentence)
        preview = upgrades.Preview(service.package, (), (e.sentence,))
    changes = [
        {
            "word": c.word,
            "label": upgrades.label(c),
            "from": upgrades.amount(c.word, c.real),
            "to": upgrades.amount(c.word, c.sold),
            "restart": c.restart,
        }
        for c in preview.changes
        if not c.refused
    ]
    headline = Sentence("This change is not possible") if preview.refused else Sentence("Before you order")
    said = {"refused": preview.refused, "notices": preview.notices}
    reply = success(
        changes=changes,
        restart=preview.restart,
        headline=language.translate(headline),
        direction=language.direction(),
        warnings=preview.warnings,
        **{name: [language.translate(s) for s in sentences] for name, sentences in said.items()},
    )
    return reply, 200
