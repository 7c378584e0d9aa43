"""POST /v1/servers/<name>/...: what WHMCS asks of a server record. Reads the store, never the back end."""

from __future__ import annotations

from flask import Blueprint, Response, g, json

from bridge import services
from bridge.errors import BadRequest, NotFound, Refused
from bridge.metering import usage
from bridge.orders import packages
from bridge.web.auth import acts, body, context, known_server, signed_look
from bridge.web.replies import success

routes = Blueprint("servers", __name__)


@routes.post("/v1/servers/<name>/test")
@signed_look
def test(name: str) -> Response:
    """Both signatures and clocks are proven by getting here; the server's state comes from the worker."""
    known_server(name)
    at = context()
    health = at.store.health(name)
    at.store.want_status(name)
    if fault := health["error"] or health["key_fault"]:
        raise Refused(f"The bridge works, but server {name!r} does not: {fault}", code="server_unhealthy")
    if not health["refreshed_at"]:
        raise Refused(
            "The bridge works; its worker has not reached the server yet. Try again in a minute.", code="server_unknown"
        )
    return success()


@routes.post("/v1/servers/<name>/plans")
@signed_look
def plans(name: str) -> Response:
    known_server(name)
    return success(plans=packages.plans_of(name, context().config))


@routes.post("/v1/servers/<name>/accounts")
@signed_look
def accounts(name: str) -> Response:
    """Server Sync: this installation's services on the server, as WHMCS names the fields."""
    known_server(name)
    return success(accounts=services.accounts(name, g.whmcs, context().store))


@routes.post("/v1/servers/<name>/usage")
@signed_look
def used(name: str) -> Response:
    """This month's usage of this installation's services on the server, all in one answer; with `service_id` of that
    one. `billed`: the answer goes into WHMCS's metric records."""
    known_server(name)
    one, billed = body().get("service_id"), body().get("billed", False)
    if not isinstance(billed, bool):
        raise BadRequest("billed: must be true or false.", code="bad_billed")
    if one is not None and (not isinstance(one, int) or isinstance(one, bool) or not 0 < one < 2**63):
        raise BadRequest("service_id: must be a whole number.", code="bad_service_id")
    if billed:
        acts()
    report = usage.report(name, g.whmcs, context().store, context().config.worker["usage_time_zone"], one, billed)
    if one is not None and not report["services"]:
        raise NotFound(f"Service {one} is unknown to the bridge on server {name!r}.", code="unknown_service")
    return Response(
        json.dumps({"result": "success", **report}, sort_keys=False), mimetype="application/json"
    )  # thousands of them, in order already
