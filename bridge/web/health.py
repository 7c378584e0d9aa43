"""GET /health: the process lives. GET /ready: it can serve, and what it lacks otherwise. Neither is signed, and neither
tells details."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from bridge import readiness
from bridge.web.auth import context

routes = Blueprint("health", __name__)


@routes.get("/health")
def health() -> Response:
    """Asks nothing: whoever restarts what is not alive must not do so because a disk is full."""
    return jsonify({"status": "ok"})


@routes.get("/ready")
def ready() -> Response:
    state = readiness.look(context().store, context().config)
    reply = jsonify({"status": "not_ready" if state["lacks"] else "ready", **state})
    reply.status_code = 503 if state["lacks"] else 200
    return reply
