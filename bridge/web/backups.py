"""The page of backups and their weekly schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge import customer
from bridge.model import Capability, Sentence, Service
from bridge.permissions import usable
from bridge.web import filters, frame, language
from bridge.web.auth import context
from bridge.web.page import Page, ordered, register, why


def content(service: Service) -> dict[str, Any]:
    """`rows`, `week` (name, title, on, time of each day, Sunday first), `next_due` in seconds since 1970 or None, the
    plan's `quota` and why anything is not offered just now."""
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


def about(service: Service, form: Mapping[str, Any]) -> str | None:
    backup = customer.chosen_backup(service, form, context().store)
    return filters.when(backup["made_at"], frame.zone_of(service)) if backup else None


register(
    Page(
        Capability.BACKUPS,
        Sentence("Backups"),
        "fas fa-archive",
        60,
        content,
        hindrance=ordered,
        listed=True,
        about=about,
    )
)
