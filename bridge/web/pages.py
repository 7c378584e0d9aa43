"""GET|POST /v1/services/<service_id>/pages/<capability>: HTML for WHMCS's pages."""

from __future__ import annotations

import statistics
from typing import Any

from flask import Blueprint, Response, jsonify, render_template, request

from bridge import findings, orders, recipes, services, status, upgrades
from bridge.errors import BadRequest, NotFound, Refused, VmbridgeError
from bridge.model import LIMITS, POWER, Capability, Desired, Operation, Service
from bridge.permissions import usable
from bridge.web.actions import caller, params
from bridge.web.auth import body, context, guard, service_for, signed

routes = Blueprint("pages", __name__, template_folder="../templates")
LOGGED, LOGGED_STEPS = 50, 600  # operations of the service tab, and steps of them all: the shim takes 1 MiB
SENTENCES = {"failed": "This did not work. Our staff has been told.", "waiting_for_staff": "A member of our staff has to act first.",
             "cancelled": "This was cancelled.", "superseded": "A newer order took its place."}


def timeline(op: Operation | None, service: Service) -> dict[str, Any] | None:
    """The newest operation in plain words; steps not yet begun are listed too."""
    if op is None:
        return None
    store = context().store
    begun = {r["name"]: r for r in store.steps(op.id)}
    steps = []
    for position, step in enumerate(recipes.steps(op.kind, service)):
        row = begun.get(step.name)
        state = row["state"] if row else "todo"
        if op.state.value == "done" or position < op.step:
            state = "done"
        took = row["ended_at"] - row["started_at"] if row and row["ended_at"] else None
        steps.append({"title": step.title, "state": state, "took": took, "started": row["started_at"] if row else None})
    past = store.past_durations(op.kind)
    running = op.state.value in ("running", "waiting")
    left = None
    if past and op.started_at and running:
        left = max(0, statistics.median(past) - (store.clock.now() - op.started_at))
    words = services.WORDS.get(op.kind, op.kind)
    return {"op": op, "steps": steps, "left": left, "words": words, "running": running, "position": min(op.step + 1, len(steps)),
            "sentence": SENTENCES.get(op.state.value, ""), "failing": bool(op.error_code)}


@routes.get("/v1/services/<int:service_id>/pages/overview")
@signed
def overview(service_id: int) -> Response:
    service = service_for(service_id)
    return jsonify({"html": _overview(service, ""), "redirect": "", "title": "Overview"})


def _overview(service: Service, message: str) -> str:
    at = context()
    busy = services.busy_reason(service, at.store)
    has = at.drivers[service.server].capabilities
    networks = orders.networks_of(service.id, at.store, at.config)
    newest = next(iter(at.store.operations_of(service.id, 1)), None)
    show = newest if newest and (newest.ended_at is None or newest.state.value in ("failed", "cancelled")) else None
    now = status.view(service, at.store)
    reason = usable(service, Capability.POWER, (), has, busy)
    power = {verb: reason or _power_reason(verb, now["status"]) for verb in POWER}
    public = at.config.web["public_url"]
    return render_template(
        "overview.html", service=service, now=now, networks=networks, timeline=timeline(show, service), power=power,
        message=message, theme=request.args.get("theme", "bs4"), public_url=public.rstrip("/"),
        token=guard().issue(service) if public and service.desired is Desired.ACTIVE else "",
        age=max(0, int(at.clock.now() - now["as_of"])) if "as_of" in now else None,
    )


def _power_reason(verb: str, state: str) -> str:
    if state == "building":
        return "The server is being set up."
    if verb == "start" and state == "running":
        return "It is running already."
    if verb != "start" and state == "stopped":
        return "Start the server first."
    return ""


@routes.post("/v1/services/<int:service_id>/pages/<capability>")
@signed
def submit(service_id: int, capability: str) -> Response:
    """One form of ours. Power is the only capability with forms in this release."""
    sent, at = body(), context()
    if capability not in {c.value for c in Capability}:
        raise NotFound("There is no such page.", code="unknown_page")
    form = sent.get("form") or {}
    if not isinstance(form, dict):
        raise BadRequest("form: must be an object.", code="bad_form")
    action = str(form.get("action", ""))
    service = service_for(service_id)
    who = caller(sent)
    if str(params(sent).get("userid", service.client_id)) != str(service.client_id):
        raise NotFound(f"Service {service_id} is unknown to the bridge.", code="unknown_service")
    if capability != Capability.POWER or action not in POWER:
        raise Refused("Access Denied", code="access_denied")
    try:
        services.run(action, service_id, service.server, {}, who, at.store, at.config, at.drivers)
    except VmbridgeError as e:
        return jsonify({"html": _overview(service, e.sentence), "redirect": "", "title": "Overview"})
    return jsonify({"html": "", "redirect": "overview", "title": ""})


@routes.get("/v1/services/<int:service_id>/pages/admin")
@signed
def admin(service_id: int) -> Response:
    """The staff's service tab: facts and the operation log; no forms, they would sit in WHMCS's own."""
    at = context()
    service = service_for(service_id)
    found = at.store.operations_of(service.id, LOGGED)
    steps, room = at.store.steps_of([op.id for op in found]), LOGGED_STEPS
    operations = []
    for op in found:
        shown = steps[op.id][-room:] if room > 0 else []
        room -= len(shown)
        operations.append({"op": op, "steps": shown, "left_out": len(steps[op.id]) - len(shown), "warnings": op.data.get("warnings", [])})
    html = render_template(
        "admin.html", service=service, live=status.view(service, at.store), operations=operations, now=at.clock.now(),
        rows=upgrades.rows_of(service, at.drivers[service.server], at.store, at.config), seen_at=at.store.seen(service.id)[1],
        labels=upgrades.LABELS, limits=LIMITS, amount=upgrades.amount, networks=orders.networks_of(service.id, at.store, at.config),
        findings=at.store.findings(service.id), fixable=findings.fixable, health=at.store.health(service.server),
    )
    return jsonify({"html": html, "redirect": "", "title": "vmbridge"})
