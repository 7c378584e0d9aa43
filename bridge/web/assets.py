"""GET /assets/<version>/<path>: static files, for ever cacheable under an address that names their content; a few of
them through the shim too, for installations without a public path."""

from __future__ import annotations

from flask import Blueprint, Response, request, send_from_directory

from bridge import assets
from bridge.errors import NotFound
from bridge.web.auth import signed
from bridge.web.replies import success

routes = Blueprint("assets", __name__)
DRAWING = {"uplot.js": "uplot/uPlot.iife.min.js", "uplot.css": "uplot/uPlot.min.css"}  # what charts are drawn with
OF_PAGES = {
    "vmbridge.css": "vmbridge.css",
    "vmbridge.js": "vmbridge.js",
    "idiomorph.js": "idiomorph/idiomorph.min.js",
    "charts.css": "charts.css",
    "charts.js": "charts.js",
    "admin.css": "admin.css",
    "firewall.css": "firewall.css",
    "dashboard.css": "dashboard.css",
    "dashboard.js": "dashboard.js",
    "firewall.js": "firewall.js",
}
DRAGGING = {"sortable.js": "sortable/Sortable.min.js"}
THROUGH_SHIM = DRAWING | DRAGGING | OF_PAGES  # the shim's names have no folders


@routes.get("/assets/<version>/<path:name>")
def show(version: str, name: str) -> Response:
    if version != assets.version() or not assets.built(name):
        raise NotFound("There is no such file.", code="unknown_file")
    if name in assets.PARTS:
        reply = Response(assets.text(name), mimetype="text/css")
        reply.add_etag()
        reply.make_conditional(request)
    else:
        reply = send_from_directory(assets.FOLDER, name)
    if name.endswith(".js"):
        reply.headers["Content-Type"] = "text/javascript; charset=utf-8"  # modules run under no other type
    reply.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    reply.headers["X-Content-Type-Options"] = "nosniff"
    reply.headers["Access-Control-Allow-Origin"] = "*"  # WHMCS's pages look whether they reach them
    return reply


@routes.get("/v1/assets/<version>/<name>")
@signed
def copy(version: str, name: str) -> Response:
    """`text`: one file of THROUGH_SHIM."""
    if version != assets.version() or not assets.built(THROUGH_SHIM.get(name, "-")):
        raise NotFound("There is no such file.", code="unknown_file")
    return success(text=assets.text(THROUGH_SHIM[name]))
