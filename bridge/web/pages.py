"""GET|POST /v1/services/<service_id>/pages/<capability>: HTML for WHMCS's pages. What is around them stands in
frame.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request

from bridge import customer
from bridge.errors import BadRequest, Forbidden, NotFound, Refused, StoreUnavailable, VmbridgeError
from bridge.kinds import KINDS, POWER
from bridge.model import Capability, Sentence, Service
from bridge.orders.wanted import completed, networks_of
from bridge.permissions import usable
from bridge.store.faults import hurry
from bridge.web import activity, console, filters, firewall, frame, language, media
from bridge.web.actions import caller, params
from bridge.web.auth import acts, body, context, service_for, signed, signed_look
from bridge.web.replies import success

routes = Blueprint("pages", __name__, template_folder="../templates")
Page = Callable[[Service], dict[str, Any]]
PAGES: dict[str, Page] = {}
TOLD_FOR = 24 * 3600.0  # what became of the last new password
ASKED = frozenset(form for form, kind in customer.asking().items() if not kind.by_link)
AGAIN = "again"  # instead of what a form does: what failed, once more


def page(name: str) -> Callable[[Page], Page]:
    """Register what a page's template shows beside the frame."""

    def keep(function: Page) -> Page:
        PAGES[name] = function
        frame.BUILT.add(name)
        return function

    return keep


def why(service: Service, capability: Capability) -> str:
    at = context()
    return language.translate(
        customer.reason(
            service, capability, at.drivers, at.store.current_operation(service.id), at.store, at.config, told=True
        )
    )


@page("overview")
def overview(service: Service) -> dict[str, Any]:
    """Values of the overview: what was sold and what is live, addresses, and what to do next."""
    at = context()
    package = service.package

    def limit(disk: str, way: str) -> str:
        rate, iops = package.limits.get(f"{disk}_{way}_mib_s", 0), package.limits.get(f"{disk}_{way}_iops", 0)
        parts = [
            language.translate("%(n)s MiB/s", n=rate) if rate else "",
            language.translate("%(n)s IOPS", n=iops) if iops else "",
        ]
        return ", ".join(p for p in parts if p) or language.translate("no limit")

    row = at.store.status_row(service.server, service.vm_id) or {"cores": 0, "maxmem": 0, "maxdisk": 0}
    real = int(row["maxdisk"]) // 1024**3
    disks = [
        {
            "title": language.translate("System disk"),
            "gib": real or package.disk_gib,
            "read": limit("disk", "read"),
            "write": limit("disk", "write"),
        }
    ]
    if package.additional_disk_gib:
        disks.append(
            {
                "title": language.translate("Additional disk"),
                "gib": package.additional_disk_gib,
                "read": limit("additional_disk", "read"),
                "write": limit("additional_disk", "write"),
            }
        )
    return {
        "networks": networks_of(service.id, at.store, at.config),
        "disks": disks,
        "addresses": list(service.birth.addresses),
        "floating": list(service.birth.floating),
        "shows": at.drivers[service.server].shows,
        "adapter": at.drivers[service.server].adapter(completed(package, at.config)),
        "cores": int(row["cores"]) or package.cores,
        "memory": row["maxmem"] or package.ram_mib * 1024**2,
    }


@page("snapshots")
def snapshots(service: Service) -> dict[str, Any]:
    at = context()
    rows, quota = at.store.snapshots_of(service.id), service.package.snapshots
    return {
        "rows": list(reversed(rows)),
        "quota": quota,
        "full": language.translate(customer.full(len(rows), quota)),
        "why": why(service, Capability.SNAPSHOTS),
        "lifetime": service.package.snapshot_lifetime_h * 3600,
        "with_memory": at.config.plans[service.package.plan].values["snapshot_memory"]
        and not at.drivers[service.server].snapshots_survive,
        "survive": at.drivers[service.server].snapshots_survive,
    }


@page("backups")
def backups(service: Service) -> dict[str, Any]:
    at = context()
    rows, quota, schedule = at.store.backups_of(service.id), service.package.backups, at.store.schedule(service.id)
    days = schedule["days"] if schedule else {}
    grid = list(enumerate(customer.WEEK.items()))
    week = [
        {"name": name, "title": language.translate(title), "on": str(n) in days, "time": days.get(str(n), "02:00")}
        for n, (name, title) in (grid[-1], *grid[:-1])
    ]  # it begins on Sunday, as the grid is known
    last, driver = at.store.newest(service.id), at.drivers[service.server]
    return {
        "rows": rows,
        "quota": driver.own_backups or quota,
        "full": language.translate(customer.no_room(service, driver, at.store)),
        "quota_sold": quota,
        "window": window(driver.backup_window(at.store.seen(service.id)[0])),
        "survive": driver.snapshots_survive,
        "own_kind": bool(driver.own_backups),
        "why": why(service, Capability.BACKUPS),
        "week": week,
        "schedule_why": language.translate(schedule_reason(service)),
        "next_due": schedule["next_due_at"] if schedule else None,
        "restore_failed": last is not None and last.kind == "restore" and last.state.value == "failed",
    }


def schedule_reason(service: Service) -> str:
    """Why the schedule cannot be saved: it changes nothing on the machine, so neither what runs there nor its host is
    in the way."""
    if not service.package.backups:
        return Sentence("Not part of your plan.")
    at = context()
    plan = at.config.plans[service.package.plan]
    return usable(service, Capability.BACKUPS, plan.allow, at.drivers[service.server].capabilities)


def window(hours: str) -> tuple[str, str] | None:
    """`22-02` -> ("22:00", "02:00"); None while it is not known."""
    begin, _, end = hours.partition("-")
    return (f"{begin}:00", f"{end}:00") if begin.isdigit() and end.isdigit() else None


@page("reinstall")
def reinstall(service: Service) -> dict[str, Any]:
    at = context()
    foreign = len([r for r in at.store.snapshots_of(service.id, foreign=True) if r["foreign_one"]])
    return {
        "templates": service.package.templates or at.config.plans[service.package.plan].templates,
        "why": why(service, Capability.REINSTALL),
        "foreign": foreign,
        "survive": at.drivers[service.server].snapshots_survive,
    }


@page("reset_password")
def reset_password(service: Service) -> dict[str, Any]:
    at = context()
    last = at.store.newest(service.id)
    done = (
        last is not None
        and last.kind == "reset_password"
        and last.state.value == "done"
        and at.store.clock.now() - (last.ended_at or 0) < TOLD_FOR
    )
    at_once = last is not None and last.memory.at_once
    driver = at.drivers[service.server]
    off = language.translate(customer.off_for_password(service, driver, at.store))
    return {
        "why": why(service, Capability.RESET_PASSWORD) or off,
        "notes": [language.translate(note) for note in driver.password_notes],
        "after_restart": done and not at_once,
        "in_use": done and at_once,
    }


page("console")(console.card)
page("activity")(activity.activity)
page("iso")(media.iso)
page("rdns")(media.rdns)
page("firewall")(firewall.page)
EDITS = {**media.EDITS, **firewall.EDITS}
LOOKED_FOR = media.LOOKED_FOR | firewall.LOOKED_FOR


def subject(capability: str, service: Service, form: Mapping[str, Any]) -> str | None:
    """The thing that a form acts on, as its page calls it; None when it is not there any more."""
    store = context().store
    if capability == "snapshots":
        snapshot = store.snapshot_row(service.id, str(form.get("name") or ""))
        return snapshot["description"] or snapshot["name"] if snapshot else None
    if capability == "backups":
        backup = customer.chosen_backup(service, form, store)
        return filters.when(backup["made_at"], frame.zone_of(service)) if backup else None
    if capability == "reinstall":
        return frame.system_of(service)(str(form.get("template") or ""))
    return ""


# -- routes ---------------------------------------------------------------------------------------
def answer(service: Service, name: str, message: str = "", tone: str = "bad", field: str = "", **more: Any) -> Response:
    """One page as the shim prints it; Access Denied where it is not part of the product. The message stands at the
    field that it is about, where the page has that."""
    at = context()
    title = language.translate(frame.MENU[name][0])
    if not customer.may_see(service, Capability(name), at.drivers, at.config):
        html = frame.render("denied.html", service, name, why=language.translate("This page is not part of your plan."))
        return success(html=html, redirect="", title=language.translate("Access Denied"))
    html = frame.render(f"{name}.html", service, name, message, tone, lambda: PAGES[name](service), field, **more)
    if field and frame.AT_FIELD not in html:
        html = frame.render(f"{name}.html", service, name, message, tone, lambda: PAGES[name](service), **more)
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
    edit = EDITS.get((capability, action))
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
        about = subject(capability, service, form)
        if about is not None:
            again = {k: v for k, v in form.items() if k not in ("do", "capability", "confirmed")}
            with hurry():
                return ask(service, name, capability, action, again, about)
    if (capability, action) in LOOKED_FOR:
        with hurry():
            return answer(service, name, form=form)
    acts()
    with media.reads().one_wait():
        try:
            if (capability, action) == ("console", "connect"):
                return success(**console.connect(service, who))
            carry_out(capability, action, customer.Ask(service, form, who, at.store, at.config, at.drivers))
        except (Forbidden, StoreUnavailable):
            raise
        except VmbridgeError as e:
            closing = e.code == firewall.CLOSING
            said, field = "" if closing else e.sentence, str(e.extra.get("field") or "")
            sent = {"do": action, **form}
            return answer(at.store.service(service.id), name, said, field=field, form=sent, closing=closing)
    return success(html="", redirect=name, title="")
