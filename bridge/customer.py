"""What customers do on their pages: may it be done now, is the wish in order, then queue the work. No upstream calls."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from bridge import limits, schedules, services
from bridge.config import Config
from bridge.errors import BadRequest, Forbidden, NotFound, Refused, VmbridgeError
from bridge.kinds import KINDS, POWER, Kind
from bridge.model import Capability, Desired, Kept, Operation, Sentence, Service
from bridge.permissions import permitted, usable
from bridge.services import Caller
from bridge.store import Store
from drivers.base import Driver, in_background

log = structlog.get_logger()
CONFIRM = "REINSTALL"
WEEK = {  # as the form names the day, as people do; 0 is Monday
    "monday": Sentence("Monday"),
    "tuesday": Sentence("Tuesday"),
    "wednesday": Sentence("Wednesday"),
    "thursday": Sentence("Thursday"),
    "friday": Sentence("Friday"),
    "saturday": Sentence("Saturday"),
    "sunday": Sentence("Sunday"),
}
LONGEST_NOTE = 200
EVERY = 1_000_000  # services


@dataclass(frozen=True)
class Ask:
    """One form of a customer's page."""

    service: Service
    form: Mapping[str, Any]
    caller: Caller
    store: Store
    config: Config
    drivers: Mapping[str, Driver]

    def text(self, name: str, label: str = "", longest: int = LONGEST_NOTE) -> str:
        """A field as one printable line. Raises BadRequest naming it as the page does when it is too long."""
        value = " ".join("".join(c if c.isprintable() else " " for c in str(self.form.get(name) or "")).split())
        if len(value) > longest:
            raise BadRequest(
                Sentence("%(field)s: at most %(n)d characters.", field=label or name, n=longest), code="too_long"
            )
        return value


def may_see(service: Service, capability: Capability, drivers: Mapping[str, Driver], config: Config) -> bool:
    """Whether the page is part of product and plan; if not, it says Access Denied."""
    return permitted(
        service, capability, config.plans[service.package.plan].allow, drivers[service.server].capabilities
    )


def reason(
    service: Service, capability: Capability, drivers: Mapping[str, Driver], current: Operation | None, config: Config
) -> str:
    """Why a capability's actions are dimmed while `current` runs; empty when they are not."""
    allowed, has = config.plans[service.package.plan].allow, drivers[service.server].capabilities
    found = usable(service, capability, allowed, has, services.busy_words(current))
    if not found and not service.provisioned:
        found = Sentence("The server is not set up yet.")
    if (
        not found
        and service.build.get("restoring")
        and capability not in (Capability.BACKUPS, Capability.REINSTALL, Capability.RDNS)
    ):
        found = services.UNFINISHED_RESTORE
    return found


def edit_reason(
    service: Service, capability: Capability, drivers: Mapping[str, Driver], store: Store, config: Config
) -> str:
    """As `reason`, for what is changed directly: reverse records are not the machine's, so what runs there is not in their way."""
    current = None if capability is Capability.RDNS else store.current_operation(service.id)
    return reason(service, capability, drivers, current, config)


def still_theirs(ask: Ask) -> Service:
    """The service as it is now. Raises NotFound when it became another client's since the form was taken in."""
    service = ask.store.service(ask.service.id)
    if service.client_id != ask.service.client_id:
        raise NotFound(f"Service {service.service_id} is unknown to the bridge.", code="unknown_service")
    return service


def allow_edit(capability: Capability, ask: Ask) -> Service:
    """The service as it is now, for a direct edit. Raises Forbidden (not part of the product) or Refused (not now)."""
    service = still_theirs(ask)
    if not may_see(service, capability, ask.drivers, ask.config):
        raise Forbidden(Sentence("Access Denied"), code="access_denied")
    why = edit_reason(service, capability, ask.drivers, ask.store, ask.config)
    if why:
        raise Refused(why, code="not_now")
    limits.count(capability.value, service.id, ask.caller.client, ask.store, ask.config)
    return service


def full(have: int, quota: int) -> str:
    """Why nothing more can be made; empty when there is room."""
    if quota <= 0:
        return Sentence("Not part of your plan.")
    return Sentence("%(n)d of %(m)d in use: remove one first.", n=have, m=quota) if have >= quota else ""


def no_room(service: Service, driver: Driver, store: Store) -> str:
    """Why no backup can be made; empty when one can. A provider that keeps the newest of its own makes room by itself."""
    quota = service.package.backups
    return full(0 if driver.own_backups else len(store.backups_of(service.id)), quota)


def act(capability: str, action: str, ask: Ask) -> str:
    """Carry out one form. Returns the operation, empty when the change is done at once. Raises Forbidden (not part of the
    product), Refused (not now) or BadRequest (naming the field)."""
    service = ask.service
    if capability == Capability.POWER and action in POWER:
        still_theirs(ask)
        return services.run(
            action, service.service_id, service.server, {}, ask.caller, ask.store, ask.config, ask.drivers
        ).operation
    run = ACTIONS.get((capability, action))
    if run is None or not may_see(service, Capability(capability), ask.drivers, ask.config):
        raise Forbidden(Sentence("Access Denied"), code="access_denied")
    kind, prepare = run
    if kind == "":  # changes nothing on the machine: allowed while it is busy
        service = still_theirs(ask)
        if service.desired is not Desired.ACTIVE:
            raise Refused(Sentence("The service is suspended."), code="suspended")
        limits.count(action, service.id, ask.caller.client, ask.store, ask.config)
        prepare(ask)
        return ""
    with ask.store.write():
        fresh = still_theirs(ask)
        current = ask.store.current_operation(service.id)
        why = reason(fresh, Capability(capability), ask.drivers, current, ask.config)
        if why:
            raise Refused(why, code="service_busy" if current else "not_now")
        limits.count(kind, service.id, ask.caller.client, ask.store, ask.config)
        data, after = prepare(ask)
        operation = ask.store.submit(service.id, kind, ask.caller.actor, data)
        if after:
            after(operation)
    return operation


Prepared = tuple[dict[str, Any], Callable[[str], Any] | None]


# -- snapshots ------------------------------------------------------------------------------------
def take_snapshot(ask: Ask) -> Prepared:
    why = full(len(ask.store.snapshots_of(ask.service.id)), ask.service.package.snapshots)
    if why:
        raise Refused(why, code="quota_full")
    stamp = datetime.fromtimestamp(ask.store.clock.now(), UTC).strftime("%Y%m%d-%H%M%S")
    name = f"snap-{stamp}-{secrets.token_hex(2)}"
    description = ask.text("description", Sentence("Snapshot description"))
    ask.store.add_snapshot(ask.service.id, name, description, False)
    return {"name": name, "description": description}, None


def _unfinished_too(ask: Ask) -> Prepared:
    return _snapshot(ask, ("ready", "unfinished"))


def _snapshot(ask: Ask, states: tuple[str, ...] = ("ready",)) -> Prepared:
    row = ask.store.snapshot_row(ask.service.id, ask.text("name"))
    if row is None or row["foreign_one"] or row["state"] not in states:
        raise NotFound(Sentence("This snapshot is not there any more."), code="unknown_snapshot")
    return {"name": row["name"]}, None


# -- backups --------------------------------------------------------------------------------------
def take_backup(ask: Ask) -> Prepared:
    if ask.service.build.get("restoring"):  # a copy of a blank machine would push out the good ones
        raise Refused(services.UNFINISHED_RESTORE, code="restore_unfinished")
    why = no_room(ask.service, ask.drivers[ask.service.server], ask.store)
    if why:
        raise Refused(why, code="quota_full")
    note = ask.text("note", Sentence("Backup notes"))
    return {"note": note}, lambda operation: ask.store.add_backup(ask.service.id, operation, note)


def chosen_backup(service: Service, form: Mapping[str, Any], store: Store) -> dict[str, Any] | None:
    """The row that a form names, whoever made it; None when there is none."""
    key = str(form.get("backup") or "")
    return store.backup_row(service.id, int(key)) if key.isascii() and key.isdigit() and len(key) < 15 else None


def _backup(ask: Ask) -> Prepared:
    row = chosen_backup(ask.service, ask.form, ask.store)
    if row is None or row["foreign_one"] or row["state"] != "ready":
        raise NotFound(Sentence("This backup is not there any more."), code="unknown_backup")
    return {"backup": row["id"]}, None


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
            Sentence("Time zone: “%(zone)s” is not one, such as Europe/Berlin or UTC.", zone=zone[:60]),
            code="bad_time_zone",
        )
    days: dict[str, str] = {}
    for number, (day, title) in enumerate(WEEK.items()):
        if ask.form.get(f"on_{day}"):
            time = str(ask.form.get(f"time_{day}") or "")
            if not schedules.is_time(time):
                raise BadRequest(
                    Sentence("%(day)s: “%(time)s” is not a time from 00:00 to 23:59.", day=title, time=time[:20]),
                    code="bad_time",
                )
            days[str(number)] = time
    old = ask.store.schedule(ask.service.id)
    due = schedules.next_due(days, zone, ask.store.clock.now(), old["last_date"] if old else "")
    ask.store.save_schedule(ask.service.id, zone, days, due)


# -- reinstall, password --------------------------------------------------------------------------
def reinstall(ask: Ask) -> Prepared:
    template = str(ask.form.get("template") or "")
    choice = ask.service.package.templates or ask.config.plans[ask.service.package.plan].templates
    if template not in choice:
        raise BadRequest(
            Sentence(
                "Operating system: “%(name)s” is not one of: %(choice)s.", name=template[:60], choice=", ".join(choice)
            ),
            code="bad_template",
        )
    if ask.form.get("confirm") != CONFIRM:
        raise BadRequest(
            Sentence("Confirmation: type %(word)s in capital letters, exactly.", word=CONFIRM), code="not_confirmed"
        )
    return {"template": template}, None


def off_for_password(service: Service, driver: Driver, store: Store) -> str:
    """Why no password can be set in a machine that is off; empty where it can, or it runs."""
    row = store.status_row(service.server, service.vm_id) if driver.chooses_passwords else None
    return Sentence("Start the server first.") if row and row["status"] == "stopped" else ""


def reset(ask: Ask) -> Prepared:
    if why := off_for_password(ask.service, ask.drivers[ask.service.server], ask.store):
        raise Refused(why, code="not_running")
    ask.store.forget_password(ask.service.id)  # a new one is made by the operation
    return {}, None


ACTIONS: dict[tuple[str, str], tuple[str, Callable[[Ask], Any]]] = {
    ("snapshots", "take"): ("take_snapshot", take_snapshot),
    ("snapshots", "rollback"): ("rollback", _snapshot),
    ("snapshots", "delete"): ("delete_snapshot", _unfinished_too),
    ("backups", "take"): ("take_backup", take_backup),
    ("backups", "restore"): ("restore", _backup),
    ("backups", "delete"): ("delete_backup", _backup),
    ("backups", "schedule"): ("", save_schedule),
    ("reinstall", "reinstall"): ("reinstall", reinstall),
    ("reset_password", "reset"): ("reset_password", reset),
}


def asking() -> dict[tuple[str, str], Kind]:
    """The forms that ask before they are carried out, as (capability, action)."""
    found = {(str(Capability.POWER), verb): KINDS[verb] for verb in POWER}
    found |= {form: KINDS[kind] for form, (kind, _) in ACTIONS.items() if kind}
    return {form: kind for form, kind in found.items() if kind.ask}


# -- sweeps ---------------------------------------------------------------------------------------
def expire_snapshots(store: Store) -> int:
    """Past their lifetime: removed, one of a service at a time, when nothing else runs there."""
    rows = store.expired_snapshots()
    for row in rows:
        with store.write():
            if store.current_operation(row["service"]) is None and store.snapshot_row(row["service"], row["name"]):
                store.snapshot_state(row["service"], row["name"], "removing")
                store.submit(row["service"], "delete_snapshot", "system: lifetime", {"name": row["name"]})
    return len(rows)


def start_backups(store: Store, config: Config) -> int:
    """Due schedules: each local date once; after downtime the newest missed slot of the last 24 h; a busy server is asked
    again by the next sweep. Returns how many were begun."""
    begun = 0
    for row in store.due_schedules():
        now = store.clock.now()
        date = schedules.newest_missed(row["days"], row["time_zone"], now, row["last_date"])
        with store.write():
            service = store.service(row["service"])
            if store.current_operation(service.id) is not None:
                continue  # begun since the list was made: it stays due
            after = schedules.next_due(row["days"], row["time_zone"], now, date or row["last_date"])
            store.schedule_done(service.id, date or row["last_date"], after)
            if date and service.package.backups:
                operation = store.submit(service.id, "scheduled_backup", "system: schedule", {"date": date})
                store.add_backup(service.id, operation, "", date)
                begun += 1
    return begun


def mirror(server: str, driver: Driver, store: Store, limit: int = 20) -> int:
    """Snapshots and backups as the back end has them, each service once an hour; returns how many were looked at. One that
    cannot be read has its next turn later and holds up nobody. Where one listing has all of them, all have their turn at once."""
    due = store.clock.now() - 3600
    found = store.mirrors_due(server, due, limit)
    if not found:
        return 0
    began = store.clock.now()
    try:
        with in_background():
            everything = driver.kept()
    except VmbridgeError as e:
        log.warning("mirror_failed", server=server, code=e.code, detail=e.detail)
        return 0
    if everything is not None:
        found = store.mirrors_due(server, due, EVERY)
    for key in found:
        service, last = store.service(key), store.newest(key)
        store.mirrored(key)
        if last is not None and (last.ended_at is None or last.ended_at > began):
            continue  # what it makes or removes meanwhile is not in the listing
        try:
            _mirror(service, driver, everything, store)
        except VmbridgeError as e:
            log.warning("mirror_failed", service=service.service_id, code=e.code, detail=e.detail)
    return len(found)


def _mirror(service: Service, driver: Driver, everything: Kept | None, store: Store) -> None:
    if Capability.SNAPSHOTS in driver.capabilities:
        snapshots = (
            driver.snapshots(service.ref)
            if everything is None
            else [s for u in service.uuids for s in everything.snapshots.get(u, ())]
        )
        store.mirror_snapshots(service.id, snapshots)
    if Capability.BACKUPS in driver.capabilities and driver.settings.get("backup_storage", "yes"):
        backups = driver.backups(service.ref) if everything is None else everything.backups.get(service.vm_id, [])
        store.mirror_backups(service.id, backups, service.created_at)
