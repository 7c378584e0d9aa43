"""GET /assets/<version>/<path>: static files, for ever cacheable under an address that names their content."""

from __future__ import annotations

from flask import Blueprint, Response, send_from_directory

from bridge import assets
from bridge.errors import NotFound

routes = Blueprint("assets", __name__)


@routes.get("/assets/<version>/<path:name>")
def show(version: str, name: str) -> Response:
    if version != assets.version() or not assets.built(name):
        raise NotFound("There is no such file.", code="unknown_file")
    reply = send_from_directory(assets.FOLDER, name)
    if name.endswith(".js"):
        reply.headers["Content-Type"] = "text/javascript; charset=utf-8"  # modules run under no other type
    reply.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    reply.headers["X-Content-Type-Options"] = "nosniff"
    return reply
