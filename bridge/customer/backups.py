"""Backups as customers order them, their weekly schedule, and those that are due. How one is made stands in recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge import schedules, services
from bridge.config import Config
from bridge.customer.gate import Ask, Forms, Prepared, full
from bridge.errors import BadRequest, NotFound, Refused
from bridge.model import Memory, Sentence, Service
from bridge.store import Store
from bridge.store.backups import BackupRow
from drivers.base import Driver

WEEK = {  # as the form names the day, as people do; 0 is Monday
    "monday": Sentence("Monday"),
    "tuesday": Sentence("Tuesday"),
    "wednesday": Sentence("Wednesday"),
    "thursday": Sentence("Thursday"),
    "friday": Sentence("Friday"),
    "saturday": Sentence("Saturday"),
    "sunday": Sentence("Sunday"),
}


def no_room(service: Service, driver: Driver, store: Store) -> str:
    """Why no backup can be made; empty when one can. A provider that keeps the newest of its own makes room by
    itself."""
    quota = service.package.backups
    return full(0 if driver.own_backups else len(store.backups_of(service.id)), quota)


def take_backup(ask: Ask) -> Prepared:
    if ask.service.birth.restoring:  # a copy of a blank machine would push out the good ones
        raise Refused(services.UNFINISHED_RESTORE, code="restore_unfinished")
    why = no_room(ask.service, ask.drivers[ask.service.server], ask.store)
    if why:
        raise Refused(why, code="quota_full")
    note = ask.text("note", Sentence("Backup notes"))
    return Memory(note=note), lambda operation: ask.store.add_backup(ask.service.id, operation, note)


def chosen_backup(service: Service, form: Mapping[str, Any], store: Store) -> BackupRow | None:
    """The row that a form names, whoever made it; None when there is none."""
    key = str(form.get("backup") or "")
    return store.backup_row(service.id, int(key)) if key.isascii() and key.isdigit() and len(key) < 15 else None


def chosen(ask: Ask) -> Prepared:
    row = chosen_backup(ask.service, ask.form, ask.store)
    if row is None or row["foreign_one"] or row["state"] != "ready":
        raise NotFound(Sentence("This backup is not there any more."), code="unknown_backup")
    return Memory(backup=row["id"]), None


def save_schedule(ask: Ask) -> None:
    """The grid of weekdays; a checked day needs a time."""
    if not ask.service.package.backups:
        raise Refused(Sentence("Not part of your plan."), code="quota_full")
    if ask.drivers[ask.service.server].own_backups:
        raise Refused(
            Sentence("Here the provider makes a backup every day by itself; its time cannot be chosen."),
            code="no_schedule",
        )
    zone = str(ask.form.get("time_zone") or "")
    if not schedules.is_zone(zone):
        raise BadRequest(
            Sentence(
                "Time zone: there is none named “%(zone)s”. Please write one like Europe/Berlin, or UTC.",
                zone=zone[:60],
            ),
            code="bad_time_zone",
            field="time_zone",
        )
    days: dict[str, str] = {}
    for number, (day, title) in enumerate(WEEK.items()):
        if ask.form.get(f"on_{day}"):
            time = str(ask.form.get(f"time_{day}") or "")
            if not schedules.is_time(time):
                raise BadRequest(
                    Sentence("%(day)s: “%(time)s” is not a time from 00:00 to 23:59.", day=title, time=time[:20]),
                    code="bad_time",
                    field=f"time_{day}",
                )
            days[str(number)] = time
    old = ask.store.schedule(ask.service.id)
    due = schedules.next_due(days, zone, ask.store.clock.now(), old["last_date"] if old else "")
    ask.store.save_schedule(ask.service.id, zone, days, due)


def start_backups(store: Store, config: Config) -> int:
    """Due schedules: each local date once; after downtime the newest missed slot of the last 24 h; a busy server is
    asked again by the next sweep. Returns how many were begun."""
    begun = 0
    for row in store.due_schedules():
        now = store.clock.now()
        date = schedules.newest_missed(row["days"], row["time_zone"], now, row["last_date"])
        with store.write():
            service = next(iter(store.services_by([row["service"]])), None)
            if service is None or store.current_operation(service.id) is not None:
                continue  # begun since the list was made: it stays due
            after = schedules.next_due(row["days"], row["time_zone"], now, date or row["last_date"])
            store.schedule_done(service.id, date or row["last_date"], after)
            if date and service.package.backups:
                operation = store.submit(service.id, "scheduled_backup", "system: schedule", Memory(date=date))
                store.add_backup(service.id, operation, "", date)
                begun += 1
    return begun


FORMS: Forms = {
    ("backups", "take"): ("take_backup", take_backup),
    ("backups", "restore"): ("restore", chosen),
    ("backups", "delete"): ("delete_backup", chosen),
    ("backups", "schedule"): ("", save_schedule),
}
