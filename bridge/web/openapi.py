"""The OpenAPI document of everything that may be called: its paths are those of the application, its shapes those of
shapes.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Flask, Response, current_app, jsonify
from marshmallow import Schema
from werkzeug.routing import Rule

from bridge.web import shapes
from bridge.web.auth import signed
from bridge.web.reading import known_token

routes = Blueprint("openapi", __name__)
BODIES: dict[str, type[Schema]] = {
    "actions.act": shapes.ActionBody,
    "pages.submit": shapes.FormBody,
    "admin.submit": shapes.AdminBody,
    "servers.used": shapes.UsageBody,
}
QUERIES: dict[str, type[Schema]] = {
    "reading.services": shapes.ServicesQuery,
    "reading.operations": shapes.OperationsQuery,
    "reading.findings": shapes.FindingsQuery,
}
ANSWERS: dict[str, type[Schema]] = {
    "reading.services": shapes.ServicesShape,
    "reading.operations": shapes.OperationsShape,
    "reading.findings": shapes.FindingsShape,
    "reading.pools": shapes.PoolsShape,
}
OPEN = ("health.", "assets.")  # neither signed nor by token
SIGNATURE = (
    "Headers Vmbridge-Key, Vmbridge-Timestamp (seconds), Vmbridge-Nonce (32 hex digits, new each time) and"
    " Vmbridge-Signature: HMAC-SHA256, in hex, with the key's secret, of `v1`, method, path with query, timestamp,"
    " nonce and the SHA-256 of the body in hex, one line each."
)


@routes.get("/v1/openapi.json")
def served() -> Response:
    """This document, for who has a key or a token."""
    if known_token():
        return _served()
    return _signed()


@signed
def _signed() -> Response:
    return _served()


def _served() -> Response:
    return jsonify(document(current_app))


def document(app: Flask) -> dict[str, Any]:
    """OpenAPI 3.1, as JSON would have it."""
    spec = APISpec("vmbridge", metadata.version("vmbridge"), "3.1.0", plugins=[MarshmallowPlugin()])
    spec.components.security_scheme(
        "signature", {"type": "apiKey", "in": "header", "name": "Vmbridge-Signature", "description": SIGNATURE}
    )
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    for rule, endpoint, method in calls(app):
        path, parameters = _path(rule)
        spec.path(path, operations={method: _operation(app, endpoint, method, parameters)})
    made: dict[str, Any] = spec.to_dict()
    return made


def calls(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """(rule, endpoint, method in small letters) of everything that may be called."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda r: r.rule):
        if rule.endpoint != "static":
            for method in sorted((rule.methods or set()) & {"GET", "POST", "PUT", "DELETE"}):
                yield rule, rule.endpoint, method.lower()


def _path(rule: Rule) -> tuple[str, list[dict[str, Any]]]:
    parameters = [
        {"in": "path", "name": name, "required": True, "schema": {"type": "integer" if kind == "service" else "string"}}
        for kind, name in re.findall(r"<(?:(\w+):)?(\w+)>", rule.rule)
    ]
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), parameters


def _operation(app: Flask, endpoint: str, method: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    """The description of one endpoint, from its docstring and the shapes that check it."""
    told = (app.view_functions[endpoint].__doc__ or "").strip()
    answer = {"application/json": {"schema": ANSWERS.get(endpoint, shapes.SuccessShape)}}
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.replace('.', '_')}_{method}",
        "tags": [endpoint.partition(".")[0]],
        "summary": " ".join(told.split(".")[0].split()) or endpoint,
        "parameters": list(parameters),
        "responses": {
            "200": {"description": "Done, or what was asked for.", "content": answer},
            "default": {
                "description": "Refused, or a fault: the sentence says what to do.",
                "content": {"application/json": {"schema": shapes.ErrorShape}},
            },
        },
        "security": _security(endpoint),
    }
    if endpoint in QUERIES:
        operation["parameters"].append({"in": "query", "schema": QUERIES[endpoint]})
    if method == "post":
        body = BODIES.get(endpoint, shapes.AnyBody)
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def _security(endpoint: str) -> list[dict[str, list[str]]]:
    if endpoint.startswith("reading."):
        return [{"token": []}]
    if endpoint.startswith("openapi."):
        return [{"signature": []}, {"token": []}]
    return [] if endpoint.startswith(OPEN) else [{"signature": []}]
