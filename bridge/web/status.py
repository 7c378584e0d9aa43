"""GET /status/v1/services/<service_id>: by status token (browser) or signed (through the shim)."""

from __future__ import annotations

import hashlib
import json

from flask import Blueprint, Response, request

from bridge.console import codes
from bridge.errors import Forbidden, NotFound
from bridge.metering import status
from bridge.model import Desired
from bridge.store.faults import hurry
from bridge.web.auth import context, guard, service_for, signed

routes = Blueprint("status", __name__)


def _reply(view: dict[str, object]) -> Response:
    text = json.dumps({"result": "success", **view}, separators=(",", ":"))
    reply = Response(text, mimetype="application/json")
    reply.set_etag(hashlib.sha256(text.encode()).hexdigest()[:20])
    reply.headers["Cache-Control"] = "no-store"
    reply.make_conditional(request)
    return reply


def _open_to(origin: str) -> bool:
    """Whether a browser's page is of one of our WHMCS, which may stand in a folder of its host."""
    return any(origin == codes.origin(w["system_url"]) for w in context().config.whmcs.values())


@routes.after_request
def cors(reply: Response) -> Response:
    origin = request.headers.get("Origin", "")
    reply.headers["Vary"] = "Origin"
    if origin and _open_to(origin):
        reply.headers["Access-Control-Allow-Origin"] = origin
        reply.headers["Access-Control-Allow-Headers"] = "Authorization, If-None-Match"
        reply.headers["Access-Control-Expose-Headers"] = "ETag"
    return reply


@routes.get("/status/v1/services/<service:service_id>")
def show(service_id: int) -> Response:
    if request.headers.get("Authorization"):
        token = guard().token()
        try:
            service = context().store.service(token.service)
        except KeyError:  # a store from before this service was put back
            raise NotFound("This token is for another service.", code="unknown_service") from None
        if service.service_id != service_id or service.client_id != token.client or service.whmcs != token.whmcs:
            raise NotFound("This token is for another service.", code="unknown_service")
        if service.desired is not Desired.ACTIVE:
            raise Forbidden("The service is not active.", code=service.desired.value)
        with hurry():
            return _reply(status.view(service, context().store))
    return _signed(service_id)


@signed
def _signed(service_id: int) -> Response:
    service, at = service_for(service_id), context()
    view = status.view(service, at.store)
    if at.config.web["public_url"] and not request.headers.get("If-None-Match"):
        view["token"] = guard().issue(service)
    return _reply(view)
