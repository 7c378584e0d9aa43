"""One JSON shape for every error, made here: {"error": {"code", "message", "reference"}}."""

from __future__ import annotations

import secrets
from typing import Any

import structlog
from flask import Flask, Response, g, jsonify
from werkzeug.exceptions import HTTPException

from bridge.errors import RequestError, StoreUnavailable, VmbridgeError
from bridge.web import language

log = structlog.get_logger()


def _reply(code: str, message: str, status: int, **extra: Any) -> Response:
    reference = g.get("reference") or secrets.token_hex(6)
    g.refused = code
    log.warning("refused", code=code, status=status, reference=reference, message=message)
    reply = jsonify({"error": {"code": code, "message": message, "reference": reference, **extra}})
    reply.status_code = status
    return reply


def install(app: Flask) -> None:
    @app.errorhandler(VmbridgeError)
    def ours(e: VmbridgeError) -> Response:
        time = {"time": e.extra["time"]} if "time" in e.extra else {}
        if not isinstance(e, RequestError):
            log.error("fault", code=e.code, detail=e.detail)
        reply = _reply(e.code, language.translate(e.sentence), e.http_status, **time)
        if isinstance(e, StoreUnavailable):
            reply.headers["Retry-After"] = str(e.RETRY_AFTER)
        return reply

    @app.errorhandler(HTTPException)
    def http(e: HTTPException) -> Response:
        return _reply((e.name or "error").lower().replace(" ", "_"), e.description or e.name, e.code or 500)

    @app.errorhandler(Exception)
    def unknown(e: Exception) -> Response:
        log.exception("fault")
        return _reply("internal_error", "Something went wrong.", 500)
