"""The charts' page and GET /v1/services/<service_id>/charts?period=: the page asks nobody, its script asks here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from flask import Blueprint, Response, current_app, request

from bridge import assets
from bridge.customer import charts
from bridge.customer.direct import NOT_READ, Reads
from bridge.errors import Forbidden
from bridge.model import PERIODS, Capability, Sentence, Service
from bridge.permissions import usable
from bridge.web import language
from bridge.web.assets import DRAWING
from bridge.web.auth import context, service_for, signed
from bridge.web.page import Page, register
from bridge.web.replies import success

routes = Blueprint("charts", __name__)
TITLES = {
    "hour": Sentence("Hour"),
    "day": Sentence("Day"),
    "week": Sentence("Week"),
    "month": Sentence("Month"),
    "year": Sentence("Year"),
}
SPANS = {
    "hour": Sentence("Last 60 minutes"),
    "day": Sentence("Last 24 hours"),
    "week": Sentence("Last 7 days"),
    "month": Sentence("Last 30 days"),
    "year": Sentence("Last 12 months"),
}

LEGEND = (Sentence("no value"), Sentence("Lowest"), Sentence("Average"), Sentence("Highest"))


def refusal(service: Service) -> str:
    """Why there is nothing to see. A running operation is no reason: looking is always allowed then."""
    at = context()
    return usable(
        service, Capability.CHARTS, at.config.plans[service.package.plan].allow, at.drivers[service.server].capabilities
    )


def history(service: Service, period: str) -> dict[str, Any]:
    """`charts.view` with its message in the reader's language."""
    at = context()
    reads = cast(Reads, current_app.extensions["vmbridge_reads"])
    view = charts.view(service, period, reads, at.store, at.drivers[service.server])
    return {**view, "message": language.translate(view["message"])}


def show(service: Service) -> dict[str, Any]:
    """Without `period` the page is a frame that its script fills; with one (a link that was followed without
    JavaScript) the tables are filled here."""
    asked = request.args.get("period", "")
    period = asked if asked in PERIODS else "hour"
    why = refusal(service)
    view = history(service, period) if asked in PERIODS and not why else None
    words = {**{str(k): language.translate(k) for k in LEGEND}, "failed": language.translate(NOT_READ)}
    driver = context().drivers[service.server]
    there, missing = charts.measured(driver)
    cards = [
        replace(
            c, title=language.translate(c.title), lines=tuple((w, language.translate(label)) for w, label in c.lines)
        )
        for c in there
        if not (view and view["series"]) or any(w in view["series"] for w, _ in c.lines)
    ]
    return {
        "period": period,
        "periods": TITLES,
        "spans": SPANS,
        "charts": cards,
        "not_kept": {p: language.translate(charts.not_kept(p, driver)) for p in TITLES},
        "missing": [language.translate(Sentence(charts.NOT_MEASURED.template, title=c.title)) for c in missing],
        "why": language.translate(why),
        "view": view,
        "tables": {c.name: charts.rows(c, view) for c in charts.CHARTS} if view else {},
        "chart_words": words,
        "drawn": all(assets.built(f) for f in DRAWING.values()),
        "version": assets.version(),
        "names": DRAWING,
    }


@routes.get("/v1/services/<service:service_id>/charts")
@signed
def data(service_id: int) -> Response:
    """charts.view as JSON; `message` in the client's language."""
    language.choose(request.args.get("language", ""))
    period, service = charts.period_of(request.args.get("period", "")), service_for(service_id)
    why = refusal(service)
    if why:
        raise Forbidden(language.translate(why), code="access_denied")
    reply = success(**history(service, period))
    reply.headers["Cache-Control"] = "no-store"
    return reply


register(Page(Capability.CHARTS, Sentence("Charts"), "fas fa-chart-area", 20, show))
