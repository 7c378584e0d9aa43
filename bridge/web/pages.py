"""GET|POST /v1/services/<service_id>/pages/<capability>: HTML for WHMCS's pages. What is around them stands in
frame.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, request

from bridge import customer
from bridge.customer.direct import FOR_STAFF
from bridge.errors import BadRequest, Forbidden, NotFound, Refused, StoreUnavailable, VmbridgeError
from bridge.kinds import KINDS, POWER
from bridge.model import Capability, Sentence, Service
from bridge.store.faults import hurry
from bridge.web import console, firewall, frame, language, media
from bridge.web.actions import caller, params
from bridge.web.auth import acts, body, context, deed, refused, service_for, signed, signed_look
from bridge.web.page import PAGES
from bridge.web.replies import success

routes = Blueprint("pages", __name__, template_folder="../templates")
ASKED = frozenset(form for form, kind in customer.asking().items() if not kind.by_link)
AGAIN = "again"  # instead of what a form does: what failed, once more


def answer(service: Service, name: str, message: str = "", tone: str = "bad", field: str = "", **more: Any) -> Response:
    """One page as the shim prints it; Access Denied where it is not part of the product. The message stands at the
    field that it is about, where the page has that."""
    with context().store.each_once():
        return _answer(service, name, message, tone, field, **more)


def _answer(service: Service, name: str, message: str, tone: str, field: str, **more: Any) -> Response:
    at = context()
    title = language.translate(PAGES[name].heading(service))
    if not customer.may_see(service, Capability(name), at.drivers, at.config):
        html = frame.render("denied.html", service, name, why=language.translate("This page is not part of your plan."))
        return success(html=html, redirect="", title=language.translate("Access Denied"))
    html = frame.render(
        f"{name}.html", service, name, message, tone, lambda: PAGES[name].content(service), field, **more
    )
    if field and frame.AT_FIELD not in html:
        html = frame.render(f"{name}.html", service, name, message, tone, lambda: PAGES[name].content(service), **more)
    return success(html=html, redirect="", title=title)


def ask(service: Service, name: str, capability: str, action: str, form: Mapping[str, Any], about: str) -> Response:
    """The question as a page of its own: for browsers without our script, and for links."""
    text, verb = frame.questions(service)[capability, action]
    html = frame.render(
        "confirm.html",
        service,
        name,
        question=language.translate(text, name=about),
        verb=language.translate(verb),
        asked=capability,
        action=action,
        form=form,
    )
    return success(html=html, redirect="", title=language.translate(verb))


@routes.get("/v1/services/<service:service_id>/pages/<capability>")
@signed
def show(service_id: int, capability: str) -> Response:
    language.choose(request.args.get("language", ""))
    if capability not in PAGES:  # also of features that are not here yet
        service = service_for(service_id)
        html = frame.render(
            "denied.html", service, "overview", why=language.translate("This page is not part of your plan.")
        )
        return success(html=html, redirect="", title=language.translate("Access Denied"))
    verb = request.args.get("ask", "")
    if verb in POWER:
        return ask(service_for(service_id), capability, "power", verb, {}, "")
    return answer(service_for(service_id), capability)


def repeated(ask: customer.Ask) -> tuple[str, str, dict[str, str], frozenset[tuple[str, str]]]:
    """(capability, action, form, which forms ask first) of a failed operation that is ordered once more. Raises
    NotFound or Refused."""
    op = customer.again.operation(str(ask.form.get("operation", "")), ask)
    if op.kind not in customer.ORDERED_BY:
        raise Refused(Sentence("Only our staff can try this again."), code="not_yours")
    capability, action = customer.ORDERED_BY[op.kind]
    sent = {"from": str(ask.form.get("from", ""))}
    sent |= {"confirmed": "1"} if ask.form.get("confirmed") else {}
    asks = {(capability, action)} if customer.again.asks(KINDS[op.kind]) else set()
    return capability, action, {**customer.again.form_of(op), **sent}, frozenset(asks)


def carry_out(capability: str, action: str, asked: customer.Ask) -> None:
    """A direct edit, or the work of an operation."""
    edit = PAGES[capability].edits.get(action) if capability in PAGES else None
    if edit:
        edit(asked)
    else:
        customer.act(capability, action, asked)


@routes.post("/v1/services/<service:service_id>/pages/<capability>")
@signed_look
def submit(service_id: int, capability: str) -> Response:
    """One form of a page: done, and back to it; or the page again with what was wrong, and nothing lost of what was
    written."""
    sent, at = body(), context()
    values = params(sent)
    details = values.get("clientsdetails")
    language.choose(str(details.get("language", "")) if isinstance(details, dict) else "")
    if capability not in {c.value for c in Capability}:
        raise NotFound(Sentence("There is no such page."), code="unknown_page")
    form = sent.get("form") or {}
    if not isinstance(form, dict):
        raise BadRequest("form: must be an object.", code="bad_form")
    if wrong := [k for k, v in form.items() if v is not None and not isinstance(v, (str, int, float))]:
        raise BadRequest(f"form.{wrong[0][:60]}: must be text.", code="bad_form")
    form = {k: "" if v is None else str(v) for k, v in form.items()}
    service = service_for(service_id)
    who = caller(sent)
    if str(values.get("userid", service.client_id)) != str(service.client_id):
        raise NotFound(f"Service {service_id} is unknown to the bridge.", code="unknown_service")
    action, came_from = str(form.get("do", "")), str(form.get("from", ""))
    name = capability if capability in PAGES else came_from if came_from in PAGES else "overview"
    asked = ASKED
    if action == AGAIN:
        try:
            capability, action, form, asked = repeated(
                customer.Ask(service, form, who, at.store, at.config, at.drivers)
            )
        except VmbridgeError as e:
            return answer(service, name, e.sentence)
    if (capability, action) in asked and not form.get("confirmed"):
        about = PAGES[capability].about(service, form) if capability in PAGES else ""
        if about is not None:
            again = {k: v for k, v in form.items() if k not in ("do", "capability", "confirmed")}
            with hurry():
                return ask(service, name, capability, action, again, about)
    if capability in PAGES and action in PAGES[capability].looks:
        with hurry():
            return answer(service, name, form=form)
    deed(f"{capability} {action}", service_id)
    acts()
    with media.reads().one_wait():
        try:
            if (capability, action) == ("console", "connect"):
                return success(**console.connect(service, who))
            carry_out(capability, action, customer.Ask(service, form, who, at.store, at.config, at.drivers))
        except (Forbidden, StoreUnavailable):
            raise
        except VmbridgeError as e:
            refused(e.code)
            closing = e.code == firewall.CLOSING
            shut = {"said": language.translate(e.sentence), **e.extra} if closing else None
            said, field = "" if closing else e.sentence, str(e.extra.get("field") or "")
            more: dict[str, Any] = {"form": {"do": action, **form}, "closing": shut}
            if said in FOR_STAFF:
                more["staffs"] = frame.refused_by_host(name, service)
            return answer(at.store.service(service.id), name, said, field=field, **more)
    return success(html="", redirect=name, title="")
