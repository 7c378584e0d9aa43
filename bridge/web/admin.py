"""GET|POST /v1/admin/<page>: the staff's pages in WHMCS's addon. GET changes nothing; only WHMCS's admins may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, g, render_template, request

from bridge import services
from bridge.errors import BadRequest, Forbidden, NotFound, Refused, RequestError
from bridge.model import Desired, Operation, Service, State
from bridge.orders import addresses, packages
from bridge.services import Caller
from bridge.staff import findings, mending, servers
from bridge.store.findings import ListedFinding
from bridge.store.worklists import OrderedBy
from bridge.web import zones
from bridge.web.actions import caller
from bridge.web.auth import body, context, deed, refused, signed
from bridge.web.replies import success

routes = Blueprint("admin", __name__, template_folder="../templates")
PER_PAGE, BRIEF, MANY_FINDINGS = 50, 8, 200
PAGES = {
    "overview": "Overview",
    "operations": "Operations",
    "servers": "Servers",
    "pools": "Pools",
    "dns": "DNS",
    "findings": "Findings",
}
FILTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "": ("All", ()),
    "attention": ("Need attention", ()),
    "open": ("Open", ("running", "waiting", "waiting_for_staff")),
    **{s.value: (s.value.replace("_", " ").capitalize(), (s.value,)) for s in State if s is not State.STAFF},
}
SAID = {
    "retry": "It goes on.",
    "cancel": "It stops at its next step.",
    "converge": "The configuration is being checked.",
    "redeploy": "The server is being set up anew.",
    "dismiss": "The finding is out of sight until it ends.",
    "fix": "It is being mended; the operation tells how far it is.",
    "dns_retry": "It is tried again.",
    "dns_replace": "It is being replaced.",
    "maintenance_on": "Maintenance is on: new operations wait.",
    "maintenance_off": "Maintenance is off: what waited goes on.",
}


def admin(actor: dict[str, Any]) -> Caller:
    """Who asks. Raises Forbidden for anybody but an admin."""
    who = caller({"actor": actor})
    if actor.get("kind") != "admin" or not str(actor.get("id") or ""):
        raise Forbidden("Only WHMCS's admins see this page.", code="not_admin")
    return who


def asked(name: str, allowed: tuple[str, ...] | None = None) -> str:
    """A word of the query; empty when it is not one of `allowed`."""
    value = request.args.get(name, "")[:80]
    return value if allowed is None or value in allowed else ""


def number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


@routes.get("/v1/admin/<page>")
@signed
def show(page: str) -> Response:
    admin({k: request.args.get(f"actor_{k}", "") for k in ("kind", "id", "name")})
    return success(html=html(page), redirect="", title=PAGES.get(page, page.capitalize()))


@routes.post("/v1/admin/<page>")
@signed
def submit(page: str) -> Response:
    """One form of ours: `redirect` is the query of the page to show next; a refusal is the same page with its
    sentence."""
    sent = body()
    actor, form = sent.get("actor"), sent.get("form")
    who = admin(actor if isinstance(actor, dict) else {})
    form = {str(k): str(v) for k, v in form.items()} if isinstance(form, dict) else {}
    action = ACTIONS.get(form.get("do", ""))
    if page not in RENDER or action is None:
        raise NotFound("There is no such page.", code="unknown_page")
    about = form.get("operation") or form.get("finding") or form.get("server") or ""
    deed(form["do"], number(form.get("service", "")) or None, about[:64])
    try:
        back = action(form, who)
    except NotFound:
        raise
    except RequestError as e:
        refused(e.code)
        told = html(page, e.sentence, str(e.extra.get("field") or ""), form)
        return success(html=told, redirect="", title=PAGES.get(page, page.capitalize()))
    return success(html="", redirect=back, title="")


# -- pages ----------------------------------------------------------------------------------------
def html(page: str, failure: str = "", field: str = "", form: Mapping[str, str] | None = None) -> str:
    """One page. A failure that is about a field of the form that was sent stands there, with what was typed."""
    if page not in RENDER:
        raise NotFound("There is no such page.", code="unknown_page")
    at = context()
    return render_template(
        f"admin_{page}.html",
        page=page,
        pages=PAGES,
        failure="" if field else failure,
        wrong=(field, failure if field else ""),
        form=form or {},
        said=SAID.get(asked("said"), ""),
        now=at.clock.now(),
        fixable=findings.fixable,
        attention_count=at.store.count_operations(g.whmcs, attention=True),
        **RENDER[page](),
    )


def _findings(service: Service | None = None) -> list[ListedFinding]:
    """Open ones of this installation's services, and of what belongs to no service on its servers."""
    at = context()
    rows = at.store.findings(service.id if service else None)
    return [f for f in rows if f["whmcs"] in (None, g.whmcs) and f["server"] in at.config.servers]


def _listed(op: Operation, row: OrderedBy) -> dict[str, Any]:
    """A row of a table of operations; `retry` and `cancel` say which buttons it has."""
    store, retry = context().store, False
    if op.state in (State.FAILED, State.CANCELLED, State.STAFF) or op.error_code:
        retry = not services.no_retry(op, store)
    return {"op": op, "service": row, "retry": retry, "cancel": not services.no_cancel(op)}


def _overview() -> dict[str, Any]:
    """What needs a person, and what there is at all."""
    at = context()
    views, pools, findings = (
        servers.views(at.store, at.config, g.whmcs),
        addresses.uses(at.store, at.config),
        _findings(),
    )
    attention = at.store.operations_listed(g.whmcs, attention=True, limit=BRIEF)
    counts = {s: at.store.count_operations(g.whmcs, states=(s,)) for s in ("running", "waiting", "waiting_for_staff")}
    return {
        "operations": [_listed(*row) for row in attention],
        "servers": views,
        "counts": counts,
        "pools": pools,
        "full": [p for p in pools if p.percent >= servers.FULL_AT],
        "risky": [v for v in views if v.at_risk],
        "maintenance": [v for v in views if v.maintenance],
        "findings": findings[:BRIEF],
        "finding_count": len(findings),
        "undelivered": at.store.undelivered(g.whmcs),
    }


def _operations() -> dict[str, Any]:
    """One page of operations, by state and server."""
    at = context()
    state, server, first = (
        asked("state", tuple(FILTERS)),
        asked("name", tuple(at.config.servers)),
        number(asked("first")),
    )
    rows = at.store.operations_listed(
        g.whmcs,
        FILTERS[state][1],
        server,
        attention=state == "attention",
        limit=PER_PAGE + 1,
        offset=first,
    )
    return {
        "operations": [_listed(*row) for row in rows[:PER_PAGE]],
        "filters": FILTERS,
        "state": state,
        "server": server,
        "servers": sorted(at.config.servers),
        "first": first,
        "per_page": PER_PAGE,
        "more": len(rows) > PER_PAGE,
    }


def _operation() -> dict[str, Any]:
    at = context()
    op, service = services.operation_for(asked("id"), g.whmcs, at.store)
    return {
        "view": services.operation_view(op, service, at.store),
        "op": op,
        "service": service,
        "no_retry": services.no_retry(op, at.store),
        "no_cancel": services.no_cancel(op),
    }


def _service() -> dict[str, Any]:
    """One service with its operations, a page of them. Raises NotFound."""
    at, first = context(), number(asked("first"))
    service_id = number(asked("id"))
    service = at.store.find_service(g.whmcs, service_id)
    if service is None or service.server not in at.config.servers:
        raise NotFound(f"Service {service_id} is unknown to the bridge.", code="unknown_service")
    rows = at.store.operations_listed(g.whmcs, service_id=service_id, limit=PER_PAGE + 1, offset=first)
    busy = services.busy_reason(service, at.store)
    no_redeploy = busy or ("" if service.desired is Desired.ACTIVE else "Redeploy needs an active service.")
    return {
        "service": service,
        "operations": [_listed(*row) for row in rows[:PER_PAGE]],
        "first": first,
        "per_page": PER_PAGE,
        "more": len(rows) > PER_PAGE,
        "findings": _findings(service),
        "busy": busy,
        "no_redeploy": no_redeploy,
        "own_backups": bool(at.drivers[service.server].own_backups),
        "networks": at.store.addresses_of(service.id),
        "row": at.store.status_row(service.server, service.vm_id),
    }


def _sold(server: str) -> dict[tuple[str, str], list[str]]:
    """Kind and place -> the plans that make such machines."""
    at = context()
    plans: dict[tuple[str, str], list[str]] = {}
    for plan in at.config.plans.values():
        if plan.server == server:
            package = packages.of_plan(plan)
            for place in dict.fromkeys(("", *plan.values["locations"])):
                plans.setdefault(at.drivers[server].kinds(replace(package, location=place)), []).append(plan.name)
    return plans


def _systems(server: str) -> dict[str, tuple[str, ...]]:
    """Plan -> what its systems mean at the back end, as the hosts were last read."""
    at = context()
    row = at.store.resources(server)
    plans = [p for p in at.config.plans.values() if p.server == server]
    told = {p.name: at.drivers[server].systems(packages.of_plan(p), row["data"] if row else "") for p in plans}
    return {plan: lines for plan, lines in told.items() if lines}


def _servers() -> dict[str, Any]:
    at = context()
    views = servers.views(at.store, at.config, g.whmcs)
    stocks = {v.name: servers.stock(v.name, _sold(v.name), at.store) for v in views}
    systems = {v.name: _systems(v.name) for v in views}
    return {
        "servers": views,
        "stocks": stocks,
        "systems": systems,
        "sentence": servers.SENTENCE,
        "longest": servers.LONGEST,
    }


def _pools() -> dict[str, Any]:
    at = context()
    pools = addresses.uses(at.store, at.config)
    return {"pools": pools, "cooling": {p.pool.name: at.store.cooling(p.pool.name) for p in pools if p.cooling}}


def _all_findings() -> dict[str, Any]:
    server = asked("name", tuple(context().config.servers))
    findings = [f for f in _findings() if server in ("", f["server"])]
    return {
        "findings": findings[:MANY_FINDINGS],
        "finding_count": len(findings),
        "server": server,
        "servers": sorted(context().config.servers),
    }


RENDER: dict[str, Callable[[], dict[str, Any]]] = {
    "overview": _overview,
    "operations": _operations,
    "operation": _operation,
    "service": _service,
    "servers": _servers,
    "pools": _pools,
    "dns": zones.page,
    "findings": _all_findings,
}


# -- forms: each returns the query of the page to show next ----------------------------------------
def _act(form: dict[str, str], who: Caller) -> str:
    op = services.act_on(form["do"], form.get("operation", "")[:64], who, context().store)
    return f"page=operation&id={op.id}&said={form['do']}"


def _redeploy(form: dict[str, str], who: Caller) -> str:
    service_id = number(form.get("service", ""))
    if form.get("typed", "").strip() != str(service_id):
        raise BadRequest(
            f"Nothing was done: to redeploy, type the service's number ({service_id}).",
            code="not_confirmed",
            field="typed",
        )
    return _repair("redeploy", service_id, who)


def _converge(form: dict[str, str], who: Caller) -> str:
    return _repair("converge", number(form.get("service", "")), who)


def _repair(verb: str, service_id: int, who: Caller) -> str:
    at = context()
    answer = services.run(verb, service_id, "", {}, who, at.store, at.config, at.drivers)
    return f"page=operation&id={answer.operation}&said={verb}"


def _dismiss(form: dict[str, str], who: Caller) -> str:
    store, key = context().store, number(form.get("finding", ""))
    if key not in {f["id"] for f in _findings()}:
        raise Refused("This finding has ended already.", code="finding_ended")
    store.dismiss_finding(key)
    return "page=findings&said=dismiss"


def _fix(form: dict[str, str], who: Caller) -> str:
    """Only after the server has proven what it is about; a finding of another installation's service is not there."""
    at, key = context(), number(form.get("finding", ""))
    if key not in {f["id"] for f in _findings()}:
        raise Refused("This finding has ended already.", code="finding_ended")
    mending.fix(key, who.actor, at.store, at.config, at.drivers)
    return "page=findings&said=fix"


def _maintenance(form: dict[str, str], who: Caller) -> str:
    at, on = context(), form.get("switch") == "on"
    servers.set_maintenance(form.get("server", ""), on, form.get("text", ""), at.store, at.config)
    return f"page=servers&said=maintenance_{'on' if on else 'off'}"


ACTIONS: dict[str, Callable[[dict[str, str], Caller], str]] = {
    "retry": _act,
    "cancel": _act,
    "redeploy": _redeploy,
    "converge": _converge,
    "dismiss": _dismiss,
    "fix": _fix,
    "maintenance": _maintenance,
    "dns_retry": zones.retry,
    "dns_replace": zones.retry,
}
