"""GET /v1/services/<service_id>/pages/admin: the staff's tab inside WHMCS's own form, so without forms."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request

from bridge.errors import Forbidden
from bridge.metering import status
from bridge.model import LIMITS
from bridge.orders import upgrades
from bridge.orders.wanted import completed, networks_of
from bridge.staff import findings
from bridge.web import zones
from bridge.web.auth import context, service_for, signed
from bridge.web.replies import success

routes = Blueprint("service_tab", __name__)
LOGGED, LOGGED_STEPS = 50, 600  # operations of the service tab, and steps of them all: the shim takes 1 MiB


@routes.get("/v1/services/<service:service_id>/pages/admin")
@signed
def admin(service_id: int) -> Response:
    """The staff's service tab: facts and the operation log; no forms, they would sit in WHMCS's own."""
    if not request.args.get("admin"):  # customers' pages come through the same signature
        raise Forbidden("Access Denied", code="access_denied")
    at = context()
    service = service_for(service_id)
    recent = at.store.operations_of(service.id, LOGGED)
    steps, room = at.store.steps_of([op.id for op in recent]), LOGGED_STEPS
    operations = []
    for op in recent:
        shown = steps[op.id][-room:] if room > 0 else []
        room -= len(shown)
        operations.append(
            {
                "op": op,
                "steps": shown,
                "left_out": len(steps[op.id]) - len(shown),
                "warnings": op.memory.warnings,
            }
        )
    driver, package = at.drivers[service.server], completed(service.package, at.config)
    html = render_template(
        "service_tab.html",
        service=service,
        live=status.view(service, at.store),
        operations=operations,
        now=at.clock.now(),
        rows=upgrades.rows_of(service, at.drivers[service.server], at.store, at.config),
        seen_at=at.store.seen(service.id)[1],
        label=upgrades.label,
        limits=LIMITS,
        amount=upgrades.amount,
        networks=networks_of(service.id, at.store, at.config),
        shows=driver.shows,
        open_networks=driver.open_networks(package),
        isolates=driver.isolates(package),
        given=list(service.birth.addresses),
        floating=list(service.birth.floating),
        pointers=zones.pointers(service),
        shared_hosts=driver.shared_hosts,
        names=at.store.about(service.server, service.vm_id).get("names", {}),
        findings=[f for f in at.store.findings(service.id) if f["server"] in at.config.servers],
        fixable=findings.fixable,
        health=at.store.health(service.server),
    )
    return success(html=html, redirect="", title="vmbridge")
