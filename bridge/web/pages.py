"""GET|POST /v1/services/<service_id>/pages/<capability>: HTML for WHMCS's pages. What is around them stands in frame.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import available_timezones

from flask import Blueprint, Response, jsonify, request

from bridge import customer, orders
from bridge.errors import BadRequest, Forbidden, NotFound, RequestError, VmbridgeError
from bridge.model import Capability, Service
from bridge.web import console, frame, language
from bridge.web.actions import caller, params
from bridge.web.auth import body, context, service_for, signed

routes = Blueprint("pages", __name__, template_folder="../templates")
Page = Callable[[Service], dict[str, Any]]
PAGES: dict[str, Page] = {}
QUESTIONS = {
    ("snapshots", "rollback"): ("Goes back to this snapshot: the server stops, and everything since then is lost. This cannot be undone.", "Rollback"),
    ("snapshots", "delete"): ("Removes this snapshot. This cannot be undone.", "Remove"),
    ("backups", "restore"): ("Restores this backup: the server stops, everything since then and all snapshots are lost. This cannot be undone.", "Restore"),
    ("backups", "delete"): ("Removes this backup. This cannot be undone.", "Remove"),
}


def page(name: str) -> Callable[[Page], Page]:
    """Register what a page's template shows beside the frame."""

    def keep(function: Page) -> Page:
        PAGES[name] = function
        frame.BUILT.add(name)
        return function

    return keep


def why(service: Service, capability: Capability) -> str:
    at = context()
    found = customer.reason(service, capability, at.drivers, at.store.current_operation(service.id), at.config)
    return language.translate(found) if found else ""


def full(have: int, quota: int) -> str:
    return language.translate("%(n)d of %(m)d in use: remove one first") % {"n": have, "m": quota} if have >= quota else ""


@page("overview")
def overview(service: Service) -> dict[str, Any]:
    at = context()
    package = service.package

    def limit(disk: str, way: str) -> str:
        rate, iops = package.limits.get(f"{disk}_{way}_mib_s", 0), package.limits.get(f"{disk}_{way}_iops", 0)
        parts = [f"{rate} MiB/s" if rate else "", f"{iops} IOPS" if iops else ""]
        return ", ".join(p for p in parts if p) or language.translate("no limit")

    disks = [{"title": language.translate("System disk"), "gib": package.disk_gib, "read": limit("disk", "read"), "write": limit("disk", "write")}]
    if package.additional_disk_gib:
        disks.append({"title": language.translate("Additional disk"), "gib": package.additional_disk_gib,
                      "read": limit("additional_disk", "read"), "write": limit("additional_disk", "write")})
    return {"networks": orders.networks_of(service.id, at.store, at.config), "disks": disks, "addresses": service.build.get("addresses", [])}


def zone_of(service: Service) -> str:
    at = context()
    schedule = at.store.schedule(service.id)
    return str(schedule["time_zone"] if schedule else at.config.plans[service.package.plan].values["time_zone"])


@page("snapshots")
def snapshots(service: Service) -> dict[str, Any]:
    at = context()
    rows, quota = at.store.snapshots_of(service.id), service.package.snapshots
    return {"rows": list(reversed(rows)), "quota": quota, "full": full(len(rows), quota), "why": why(service, Capability.SNAPSHOTS), "zone": zone_of(service),
            "lifetime": service.package.snapshot_lifetime_h * 3600, "with_memory": at.config.plans[service.package.plan].values["snapshot_memory"]}


@page("backups")
def backups(service: Service) -> dict[str, Any]:
    at = context()
    rows, quota, schedule = at.store.backups_of(service.id), service.package.backups, at.store.schedule(service.id)
    days = schedule["days"] if schedule else {}
    order = [6, 0, 1, 2, 3, 4, 5]  # the week begins on Sunday, as the grid is known
    week = [{"name": customer.WEEK[n], "title": language.translate(customer.WEEK[n].capitalize()), "on": str(n) in days,
             "time": days.get(str(n), "02:00")} for n in order]
    last = next(iter(at.store.operations_of(service.id, 1)), None)
    return {"rows": rows, "quota": quota, "full": full(len(rows), quota), "why": why(service, Capability.BACKUPS), "zone": zone_of(service), "week": week,
            "zones": sorted(available_timezones()), "schedule_why": "" if quota else language.translate("Not part of your plan."),
            "next_due": schedule["next_due_at"] if schedule else None,
            "restore_failed": last is not None and last.kind == "restore" and last.state.value == "failed"}


@page("reinstall")
def reinstall(service: Service) -> dict[str, Any]:
    at = context()
    foreign = len([r for r in at.store.snapshots_of(service.id, foreign=True) if r["foreign_one"]])
    return {"templates": service.package.templates or at.config.plans[service.package.plan].templates, "why": why(service, Capability.REINSTALL),
            "foreign": foreign}


@page("reset_password")
def reset_password(service: Service) -> dict[str, Any]:
    at = context()
    last = next(iter(at.store.operations_of(service.id, 1)), None)
    waits = last is not None and last.kind == "reset_password" and last.state.value == "done" and not last.data.get("at_once")
    return {"why": why(service, Capability.RESET_PASSWORD), "after_restart": waits}


page("console")(console.card)


# -- routes ---------------------------------------------------------------------------------------
def answer(service: Service, name: str, message: str = "", tone: str = "bad", **more: Any) -> Response:
    """One page as the shim prints it; Access Denied where it is not part of the product."""
    at = context()
    title = language.translate(frame.MENU[name][0])
    if not customer.may_see(service, Capability(name), at.drivers, at.config):
        html = frame.render("denied.html", service, name, why=language.translate("This page is not part of your product."))
        return jsonify({"html": html, "redirect": "", "title": language.translate("Access Denied")})
    html = frame.render(f"{name}.html", service, name, message, tone, **{**PAGES[name](service), **more})
    return jsonify({"html": html, "redirect": "", "title": title})


@routes.get("/v1/services/<int:service_id>/pages/<capability>")
@signed
def show(service_id: int, capability: str) -> Response:
    language.choose(request.args.get("language", ""))
    if capability not in PAGES:
        raise NotFound("There is no such page.", code="unknown_page")
    return answer(service_for(service_id), capability)


@routes.post("/v1/services/<int:service_id>/pages/<capability>")
@signed
def submit(service_id: int, capability: str) -> Response:
    """One form of a page: done, and back to it; or the page again with what was wrong, and nothing lost of what was written."""
    sent, at = body(), context()
    if capability not in {c.value for c in Capability}:
        raise NotFound("There is no such page.", code="unknown_page")
    form = sent.get("form") or {}
    if not isinstance(form, dict):
        raise BadRequest("form: must be an object.", code="bad_form")
    values = params(sent)
    service = service_for(service_id)
    who = caller(sent)
    if str(values.get("userid", service.client_id)) != str(service.client_id):
        raise NotFound(f"Service {service_id} is unknown to the bridge.", code="unknown_service")
    details = values.get("clientsdetails")
    language.choose(str(details.get("language", "")) if isinstance(details, dict) else "")
    action, name = str(form.get("action", "")), capability if capability in PAGES else "overview"
    question = QUESTIONS.get((capability, action))
    if question and not form.get("confirmed"):
        rest = {k: v for k, v in form.items() if k not in ("action", "capability", "confirmed")}
        html = frame.render("confirm.html", service, name, question=language.translate(question[0]), verb=language.translate(question[1]),
                            action=action, form=rest)
        return jsonify({"html": html, "redirect": "", "title": language.translate(question[1])})
    try:
        if (capability, action) == ("console", "connect"):
            return jsonify(console.connect(service, who))
        customer.act(capability, action, customer.Ask(service, form, who, at.store, at.config, at.drivers))
    except Forbidden:
        raise
    except RequestError as e:
        return answer(at.store.service(service.id), name, e.sentence, form=form)
    except VmbridgeError as e:
        return answer(service, name, e.sentence)
    return jsonify({"html": "", "redirect": name, "title": ""})
