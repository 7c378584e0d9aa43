"""What staff sees of each server: health, load, VM ids, what its provider sells, and the maintenance switch. Pages read
the store; only the worker's job asks the back end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from bridge.config import Config
from bridge.errors import BadRequest, NotFound, VmbridgeError
from bridge.store import Store
from drivers.base import Driver
from drivers.calls import in_background

log = structlog.get_logger()
OFFERS_EVERY = 3600.0
RESOURCES_EVERY = 60.0

SENTENCE = "Maintenance is under way. What you order now starts when it is over; your server keeps running."
LONGEST = 300
SILENT_AFTER = 180.0  # an idle server is looked at every minute: older than this, nobody looks
FULL_AT = 80.0


@dataclass(frozen=True)
class View:
    """One server. `state` is ok, trouble, down, silent (no look for long) or new; `age` in seconds, None before the
    first look."""

    name: str
    driver: str
    state: str
    error: str
    age: float | None
    maintenance: str
    services: int
    running: int
    waiting: int
    staff: int
    ids_used: int
    ids_total: int

    @property
    def ids_percent(self) -> float:
        """0 to 100 of the configured ids; 0 where the back end chooses them."""
        return 100.0 * self.ids_used / self.ids_total if self.ids_total else 0.0

    @property
    def at_risk(self) -> bool:
        return self.state != "ok" or self.ids_percent >= FULL_AT


def views(store: Store, config: Config, whmcs: str = "") -> list[View]:
    """Every server of the configuration, by name; counted are one installation's services and operations, or all."""
    loads, services, down, listed = store.loads(whmcs), store.service_counts(whmcs), store.hosts_down(whmcs), []
    for name in sorted(config.servers):
        row, load = store.health(name), loads.get(name) or {"running": 0, "waiting": 0, "staff": 0}
        looked = max(row["refreshed_at"], row["watched_read_at"]) if row["refreshed_at"] else 0.0
        age = store.clock.now() - looked if looked else None
        used, total = ids(name, store, config)
        lost = " ".join(f"{h} is down, with {n} server{'s' * (n != 1)}." for h, n in down.get(name, {}).items())
        error = row["error"] or row["key_fault"] or lost
        listed.append(
            View(
                name,
                config.servers[name]["driver"],
                _state(row["ok"], error, age),
                error,
                age,
                row["maintenance"],
                services.get(name, 0),
                load["running"],
                load["waiting"],
                load["staff"],
                used,
                total,
            )
        )
    return listed


def read_offers(server: str, driver: Driver, store: Store) -> bool:
    """What the provider sells, once an hour; false when it was not due or there is none."""
    row = store.offers(server)
    if row and row["read_at"] > store.clock.now() - OFFERS_EVERY:
        return False
    try:
        with in_background():
            offers = driver.offers()
    except VmbridgeError as e:
        log.warning("offers_failed", server=server, code=e.code, detail=e.detail)
        return False
    if offers is not None:
        store.save_offers(server, json.dumps(asdict(offers)))
    return offers is not None


def read_resources(server: str, driver: Driver, store: Store) -> bool:
    """What its hosts have, once a minute, so that no page asks upstream; false when it was not due or there is nothing
    to know."""
    row = store.resources(server)
    if row and row["read_at"] > store.clock.now() - RESOURCES_EVERY:
        return False
    try:
        with in_background():
            resources = driver.resources()
    except VmbridgeError as e:
        log.warning("resources_failed", server=server, code=e.code, detail=e.detail)
        return False
    if resources:
        store.save_resources(server, resources)
    return bool(resources)


@dataclass(frozen=True)
class Stock:
    """What a server's provider sells, as last read: rows of {plans, **Offer}, those that plans sell first; `age` in
    seconds."""

    currency: str
    rows: list[dict[str, Any]]
    extras: list[tuple[str, str]]
    age: float


def stock(server: str, sold: Mapping[tuple[str, str], list[str]], store: Store) -> Stock | None:
    """`sold`: (name, location) -> plans. None where machines are the operator's own, or nothing was read yet."""
    row = store.offers(server)
    if row is None:
        return None
    data = json.loads(row["data"])
    rows = [{**o, "plans": sold.get((o["name"], o["location"]), [])} for o in data["offers"]]
    return Stock(
        data["currency"], sorted(rows, key=lambda r: not r["plans"]), data["extras"], store.clock.now() - row["read_at"]
    )


def _state(ok: int, error: str, age: float | None) -> str:
    if not ok:
        return "down"
    if error:
        return "trouble"
    if age is None:
        return "new"
    return "silent" if age > SILENT_AFTER else "ok"


def ids(server: str, store: Store, config: Config) -> tuple[int, int]:
    """(used, all) VM ids of a server; (0, 0) where the back end gives them."""
    ranges = config.id_ranges(server)
    used_to = store.vm_ids_used(server)
    return (
        sum(max(0, min(used_to - 1, b) - a + 1) for a, b in ranges),
        sum(b - a + 1 for a, b in ranges),
    )


def set_maintenance(server: str, on: bool, text: str, store: Store, config: Config) -> str:
    """New operations wait while it is on; running ones go on. Returns the sentence that customers see. Raises for an
    unknown server and a sentence that is too long."""
    if server not in config.servers:
        raise NotFound(
            f"There is no server {server[:60]!r}; known: {', '.join(sorted(config.servers))}.", code="unknown_server"
        )
    text = " ".join(text.split())
    if len(text) > LONGEST:
        raise BadRequest(f"text: must be at most {LONGEST} characters.", code="text_too_long", field="text")
    shown = (text or SENTENCE) if on else ""
    store.set_maintenance(server, shown)
    return shown
