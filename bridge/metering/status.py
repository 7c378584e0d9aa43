"""Live status: refresh in bulk, read from the table. One upstream call per server, whatever the viewers."""

from __future__ import annotations

from typing import Any

import structlog

from bridge.errors import Permanent, StoreUnavailable, Unreachable, VmbridgeError, Waiting
from bridge.model import Desired, Operation, Service, VmRef
from bridge.store import Store
from bridge.store.status import PolledRow
from drivers.base import Driver
from drivers.calls import in_background

log = structlog.get_logger()
WATCHED_AGE, IDLE_AGE, LEASE = 7.0, 60.0, 45.0  # browsers ask every 7 s
KEY_EVERY, KEY_AGAIN = 3600.0, 60.0
STALE_AFTER, WANTED_EVERY = 60.0, 5.0
NOTED_EVERY, WATCHING = 20.0, 45.0  # a look is noted so often, and counts so long


def refresh(server: str, driver: Driver, store: Store, now: bool = False) -> bool:
    """One bulk read when the server is due, or `now`, and nobody else does it, or one of its watched machines alone
    where they can be read more often; true when it was done."""
    count = store.watched_count(server, WATCHING)
    all_age, watched_age = driver.live_ages(count)
    watched: list[VmRef] = []
    ages = (0.0, 0.0) if now else (max(WATCHED_AGE, all_age), max(IDLE_AGE, all_age))
    if not store.claim_refresh(server, *ages, LEASE):
        if not watched_age or not store.claim_watched(server, max(WATCHED_AGE, watched_age), LEASE):
            return False
        watched = store.watched(server, WATCHING)
        if not watched:
            store.refresh_later(server, 0.0)
            return False
    before = store.health(server)
    try:
        with in_background():
            lines = driver.statuses(watched)
        store.save_statuses(server, lines, whole=not watched)
        if before["error"]:
            log.info("server_recovered", server=server, failures=before["failures"], down=not before["ok"])
        store.read_apart(server, driver.live_ages(1)[1] > 0)
        if not watched:
            prove_key(server, driver, store)
    except Waiting as e:
        store.refresh_later(
            server, e.retry_after or 0.0
        )  # nothing is wrong: the page shows what it has, and how old it is
    except StoreUnavailable:  # ours: the server has answered, or was not asked
        raise
    except VmbridgeError as e:
        failures = store.refresh_failed(server, f"{e.sentence} {e.detail}".strip(), isinstance(e, Unreachable))
        log.warning("refresh_failed", server=server, code=e.code, detail=e.detail, failures=failures)
        if before["ok"] and not store.health(server)["ok"]:
            log.error("server_down", server=server, code=e.code, detail=e.detail)
    return True


def prove_key(server: str, driver: Driver, store: Store) -> None:
    """Whether our key can do what orders need, beside reading: at a start and once an hour, every minute while it
    cannot."""
    known, now = store.health(server)["key_fault"], store.clock.now()
    if driver.key_asked_at and now - driver.key_asked_at < (KEY_AGAIN if known else KEY_EVERY):
        return
    driver.key_asked_at, fault = now, ""
    try:
        with in_background():
            driver.prove_key()
    except Permanent as e:
        fault = f"{e.sentence} {e.next_action}"
    except VmbridgeError:
        return
    if fault != known:
        store.note_key_fault(server, fault)


def view(service: Service, store: Store) -> dict[str, Any]:
    """What the browser polls. CPU in percent of the assigned cores, sizes in bytes; traffic as its counter stands, None
    while it is not known."""
    row = store.polled(service.id, service.server, service.vm_id)
    doing = (
        (row["operation"], row["kind"], row["state"], row["step"], bool(row["error_code"]))
        if row["operation"]
        else None
    )
    return _view(service, row, doing, store)


def view_during(service: Service, current: Operation | None, store: Store) -> dict[str, Any]:
    """The same while `current` runs, which the caller has read already."""
    row = store.polled(service.id, service.server, service.vm_id)
    doing = (current.id, current.kind, current.state.value, current.step, bool(current.error_code)) if current else None
    return _view(service, row, doing, store)


def _view(
    service: Service, row: PolledRow, doing: tuple[str, str, str, str, bool] | None, store: Store
) -> dict[str, Any]:
    """The status as pages and scripts get it: state, live values and the operation. It asks for fresh ones, and reads
    only."""
    now = store.clock.now()
    if row["wanted_at"] < now - WANTED_EVERY:  # reads stay reads
        store.want_status(service.server)
    if (
        row["apart"]
        and row["watched_at"] is not None
        and row["watched_at"] < now - NOTED_EVERY
        and service.desired is Desired.ACTIVE
    ):
        store.watch(service.server, service.vm_id)
    view: dict[str, Any] = {
        "service": service.service_id,
        "desired": service.desired.value,
        "provisioned": service.provisioned,
        "status": "unknown",
        "trouble": bool(row["error"]),
        "maintenance": row["maintenance"],
    }
    if row["status"] == "offline" and service.provisioned:
        view["trouble"] = True
    if service.desired is Desired.SUSPENDED:
        view["status"] = "suspended"
    elif service.desired is Desired.TERMINATED:
        view["status"] = "terminated"
    elif row["status"] not in (None, "offline") and service.provisioned:
        view |= {
            "status": row["status"],
            "uptime": row["uptime"],
            "cpu": round(row["cpu"] * 100, 1),
            "mem": row["mem"],
            "maxmem": row["maxmem"],
            "as_of": int(row["seen_at"]),
            "lock": row["lock"],
            "missing": bool(row["missing"]),
            "disk_rate": round(row["disk_rate"]),
            "net_in": row["net_in"],
            "net_out": row["net_out"],
            "told": int(row["told_at"]),
            "stale": now - row["seen_at"] > STALE_AFTER,
        }
    elif doing and not service.provisioned:
        view["status"] = "building"
    if doing:
        view["operation"] = dict(zip(("id", "kind", "state", "step", "failing"), doing, strict=True))
    return view
