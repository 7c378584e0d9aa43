"""GET /v1/read/...: services, operations, findings and pools as JSON for the operator's own scripts, by a token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Blueprint, Response, current_app, g, request
from marshmallow import Schema, ValidationError

from bridge import logs
from bridge.context import Context
from bridge.errors import BadRequest, Forbidden, StoreUnavailable, Unauthorized
from bridge.orders import addresses
from bridge.origin import Origin, origin
from bridge.store.faults import hurry
from bridge.web import shapes
from bridge.web.auth import context
from bridge.web.replies import success

routes = Blueprint("reading", __name__)
PREFIX = "vmb_"  # of a token, so that scanners of leaked secrets can know it
SCOPES = ("services", "operations", "findings", "pools")
F = TypeVar("F")


def hashed(token: str) -> str:
    """A token has 256 bits of its own: a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def known_token() -> bool:
    """Let a request with a token in, as who it is. Raises Unauthorized; false when there is no token at all."""
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind != "Bearer" or not text.startswith(PREFIX):
        return False
    whole = cast(Context, current_app.extensions["vmbridge"])
    row = whole.store.token_of(hashed(text))
    if row is None or (row["whmcs"] and row["whmcs"] not in whole.config.whmcs):
        raise Unauthorized("The token is unknown or was revoked.", code="bad_token")
    g.token = row
    if row["whmcs"]:
        g.whmcs = row["whmcs"]
    origin.set(Origin("token", row["name"], request.remote_addr or ""))
    logs.bind(token=row["name"])
    return True


def with_token(scope: str) -> Callable[[F], F]:
    """Only for a token that has this scope. Each use stands in the audit log, where it can be written."""

    def outer(view: F) -> F:
        @wraps(cast(Any, view))
        def inner(*args: Any, **kwargs: Any) -> Any:
            if not known_token():
                raise Unauthorized("A token is needed: `vmbridge token add` makes one.", code="bad_token")
            if scope not in g.token["scopes"]:
                raise Forbidden(
                    f"This token has no scope {scope!r}; it has: {', '.join(g.token['scopes'])}.", code="no_scope"
                )
            with hurry():
                reply = cast(Any, view)(*args, **kwargs)
                with suppress(StoreUnavailable):
                    context().store.audit(
                        f"read {scope}", "done", g.token["whmcs"], subject=request.query_string.decode()
                    )
            return reply

        return cast(F, inner)

    return outer


def asked(schema: Schema) -> dict[str, Any]:
    """The query, checked. Raises BadRequest naming the first wrong field and what it may be."""
    given = request.args.to_dict()
    try:
        return dict(schema.load(given))
    except ValidationError as e:
        field, told = next(iter(cast(Mapping[str, Sequence[str]], e.messages).items()))
        known = f" It may be one of: {', '.join(schema.fields) or 'nothing'}." if field not in schema.fields else ""
        raise BadRequest(f"{field[:60]}: {told[0]}{known}", code="bad_query", field=field[:60]) from None


def page(name: str, schema: type[Schema], rows: Sequence[Any], limit: int, key: str = "id") -> Response:
    last = rows[-1][key] if len(rows) == limit else None
    return success(**{name: schema(many=True).dump(rows), "next": last})


@routes.get("/v1/read/services")
@with_token("services")
def services() -> Response:
    """Services, by the bridge's own numbers; those that have ended too."""
    q = asked(shapes.ServicesQuery())
    rows = context().store.service_lines(
        g.get("whmcs", ""), q["after"], q["limit"], q["server"], q["desired"], q["service"]
    )
    return page("services", shapes.ServiceShape, rows, q["limit"])


@routes.get("/v1/read/operations")
@with_token("operations")
def operations() -> Response:
    """Operations, in the order in which they were given."""
    q = asked(shapes.OperationsQuery())
    rows = context().store.operation_lines(
        g.get("whmcs", ""), q["after"], q["limit"], q["server"], q["state"], q["service"]
    )
    return page("operations", shapes.OperationShape, rows, q["limit"], "number")


@routes.get("/v1/read/findings")
@with_token("findings")
def findings() -> Response:
    """Open findings."""
    q, at = asked(shapes.FindingsQuery()), context()
    rows = at.store.finding_lines(g.get("whmcs", ""), q["after"], q["limit"], q["server"], q["service"])
    mine = [r for r in rows if r["server"] in at.config.servers]
    last = rows[-1]["id"] if len(rows) == q["limit"] else None
    return success(findings=shapes.FindingShape(many=True).dump(mine), next=last)


@routes.get("/v1/read/pools")
@with_token("pools")
def pools() -> Response:
    """Address pools and how full they are."""
    asked(shapes.NoQuery())
    rows = [
        {
            "name": u.pool.name,
            "family": u.pool.family,
            "total": u.total,
            "taken": u.taken,
            "cooling": u.cooling,
            "free": u.free,
            "percent": round(u.percent, 1),
        }
        for u in addresses.uses(context().store, context().config)
    ]
    return success(pools=shapes.PoolShape(many=True).dump(rows))
