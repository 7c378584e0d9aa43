"""POST /v1/servers/<name>/...: what WHMCS asks of a server record. Reads the store, never the back end."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify

from bridge import packages, services
from bridge.errors import NotFound, Refused
from bridge.web.auth import context, signed

routes = Blueprint("servers", __name__)


def _known(name: str) -> None:
    known = context().config.servers
    if name not in known:
        raise NotFound(
            f"The access hash {name!r} is not a server of the bridge; known: {', '.join(sorted(known))}.", code="unknown_server"
        )


@routes.post("/v1/servers/<name>/test")
@signed
def test(name: str) -> Response:
    """Both signatures and clocks are proven by getting here; the server's state comes from the worker."""
    _known(name)
    at = context()
    health = at.store.health(name)
    at.store.want_status(name)
    if health["error"]:
        raise Refused(f"The bridge works, but server {name!r} does not: {health['error']}", code="server_unhealthy")
    if not health["refreshed_at"]:
        raise Refused("The bridge works; its worker has not reached the server yet. Try again in a minute.", code="server_unknown")
    return jsonify({"result": "success"})


@routes.post("/v1/servers/<name>/plans")
@signed
def plans(name: str) -> Response:
    _known(name)
    return jsonify({"result": "success", "plans": packages.plans_of(name, context().config)})


@routes.post("/v1/servers/<name>/accounts")
@signed
def accounts(name: str) -> Response:
    """Server Sync: this installation's services on the server, as WHMCS names the fields."""
    _known(name)
    return jsonify({"result": "success", "accounts": services.accounts(name, g.whmcs, context().store)})
