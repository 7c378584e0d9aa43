"""What every customer page shows around its content: state, power, menu, what runs, what there is to say."""

from __future__ import annotations

import statistics
from functools import lru_cache
from typing import Any

from flask import render_template, request

from bridge import customer, recipes, services, status
from bridge.model import POWER, Capability, Desired, Operation, Service
from bridge.upgrades import LABELS
from bridge.web import language
from bridge.web.auth import context, guard

SENTENCES = {"failed": "This did not work. Our staff has been told.", "waiting_for_staff": "A member of our staff has to act first.",
             "cancelled": "This was cancelled.", "superseded": "A newer order took its place."}
MENU = {  # name -> (title, icon, how the button on top says it)
    "overview": ("Overview", "fas fa-server", "Overview"), "charts": ("Charts", "fas fa-chart-area", "Charts"),
    "console": ("noVNC", "fas fa-desktop", "noVNC"), "reinstall": ("Reinstall", "fas fa-sync", "Reinstall"),
    "snapshots": ("Snapshots", "fas fa-camera", "Snapshots"), "backups": ("Backups", "fas fa-archive", "Backups"),
    "reset_password": ("Reset password", "fas fa-key", "Reset password"), "rdns": ("Reverse DNS", "fas fa-globe", "revDNS"),
    "iso": ("ISO", "fas fa-compact-disc", "ISO"), "firewall": ("Firewall", "fas fa-shield-alt", "Firewall"),
}
QUIET_FOR = 24 * 3600.0  # an old failure is history
FAILED = {
    "create": "Setting up the server", "start": "Starting the server", "stop": "Stopping the server", "reboot": "Restarting the server",
    "hard_stop": "Switching the server off", "change_package": "The change of package", "change_password": "The change of password",
    "take_snapshot": "The snapshot", "rollback": "Going back to the snapshot", "delete_snapshot": "Removing the snapshot",
    "take_backup": "The backup", "scheduled_backup": "The scheduled backup", "delete_backup": "Removing the backup", "restore": "The restore",
    "reinstall": "The reinstallation", "reset_password": "The new password", "redeploy": "Setting the server up anew",
    "suspend": "The suspension", "unsuspend": "Switching the server on again", "terminate": "Removing the server", "converge": "The check",
}


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
    customers = op.error_code in services.CUSTOMERS_OWN
    sentence = op.error_text if customers and op.state.value == "failed" else SENTENCES.get(op.state.value, "")
    return {"op": op, "steps": steps, "left": left, "running": running, "position": min(op.step + 1, len(steps)), "customer": customers,
            "words": services.WORDS.get(op.kind, op.kind) if running else FAILED.get(op.kind, op.kind), "sentence": sentence,
            "failing": bool(op.error_code), "open": op.kind in ("create", "reinstall", "restore", "redeploy")}


def shown_operation(service: Service, current: Operation | None) -> Operation | None:
    """What runs; else the last one, when it failed lately."""
    store = context().store
    newest = next(iter(store.operations_of(service.id, 1)), None)
    if current or newest is None or newest.ended_at is None:
        return newest if newest and newest.ended_at is None else current
    lately = store.clock.now() - newest.ended_at < QUIET_FOR
    return newest if newest.state.value in ("failed", "cancelled") and lately else None


def power_reasons(service: Service, now: dict[str, Any], current: Operation | None) -> dict[str, str]:
    at = context()
    common = customer.reason(service, Capability.POWER, at.drivers, current, at.config)
    found = {}
    for verb in POWER:
        why = common
        if verb == "hard_stop" and current and current.kind in ("stop", "reboot") and service.desired is Desired.ACTIVE:
            why = ""
        found[verb] = why or _power_reason(verb, now["status"], bool(service.pending))
    return found


def _power_reason(verb: str, state: str, pending: bool) -> str:
    if verb == "start" and state == "running":
        return "It is running already."
    if verb != "start" and state == "stopped" and not (verb == "reboot" and pending):
        return "Start the server first."
    return ""


def menu(service: Service) -> list[dict[str, Any]]:
    """Every page the server can have; dimmed with the reason where it is not part of the product. `open`: the link works all
    the same, since looking is always allowed there."""
    at = context()
    has = at.drivers[service.server].capabilities
    found = []
    named = titles(language.current())
    for name, (_, icon, _) in MENU.items():
        capability = Capability(name)
        if capability not in has or name not in BUILT:
            continue
        seen = customer.may_see(service, capability, at.drivers, at.config)
        why = "" if seen else "Not part of your plan."
        found.append({"name": name, "title": named[name][0], "button": named[name][1], "icon": icon,
                      "why": language.translate(why) if why else "", "open": name == "console"})
    return found


BUILT: set[str] = set()  # pages register themselves


@lru_cache(maxsize=64)
def words(code: str) -> dict[str, str]:
    """What the script says, in a language."""
    plain = {"running": "Running", "stopped": "Stopped", "paused": "Paused", "suspended": "Suspended", "terminated": "Ended",
             "building": "Being set up", "unknown": "Not known", "prelaunch": "Starting", "io-error": "Disk error", "copied": "Copied",
             "cancel": "Cancel", "up": "up %(time)s", "ago": "as of %(time)s ago", "days": "%(n)d days"}
    return {k: language.in_language(code, v) for k, v in plain.items()}


@lru_cache(maxsize=64)
def titles(code: str) -> dict[str, tuple[str, str]]:
    """Page -> (title, how the button on top says it), in a language."""
    return {name: (language.in_language(code, title), language.in_language(code, button)) for name, (title, _, button) in MENU.items()}


def render(template: str, service: Service, capability: str, message: str = "", tone: str = "bad", **more: Any) -> str:
    """One page inside the frame."""
    at = context()
    current = at.store.current_operation(service.id)
    now = status.view_during(service, current, at.store)
    public = at.config.web["public_url"]
    now["restart"] = [LABELS.get(w, w) for w in service.pending]
    return render_template(
        template, service=service, now=now, capability=capability, message=language.translate(message) if message else "", tone=tone,
        timeline=timeline(shown_operation(service, current), service), power_reasons=power_reasons(service, now, current), menu=menu(service),
        theme=request.args.get("theme", "bs4"), public_url=public.rstrip("/"), words=words(language.current()), language=language.current().replace("_", "-"),
        direction=language.direction(), token=guard().issue(service) if public and service.desired is Desired.ACTIVE else "",
        age=max(0, int(at.clock.now() - now["as_of"])) if "as_of" in now else None, clock=at.clock.now(), counter=[],
        **{"form": {}, **more},
    )

