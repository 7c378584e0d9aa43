"""What staff sees of each server: health, load, VM ids, and the maintenance switch. Reads the store, never the back end."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.config import Config
from bridge.errors import BadRequest, NotFound
from bridge.store import Store

SENTENCE = "Maintenance is under way. What you order now starts when it is over; your server keeps running."
LONGEST = 300
SILENT_AFTER = 180.0  # an idle server is looked at every minute: older than this, nobody looks
FULL_AT = 80.0


@dataclass(frozen=True)
class View:
    """One server. `state` is ok, trouble, down, silent (no look for long) or new; `age` in seconds, None before the first look."""

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
        return 100.0 * self.ids_used / self.ids_total if self.ids_total else 0.0

    @property
    def at_risk(self) -> bool:
        return self.state != "ok" or self.ids_percent >= FULL_AT


def views(store: Store, config: Config) -> list[View]:
    """Every server of the configuration, by name."""
    loads, services, found = store.loads(), store.service_counts(), []
    for name in sorted(config.servers):
        row, load = store.health(name), loads.get(name) or {"running": 0, "waiting": 0, "staff": 0}
        looked = max(row["refreshed_at"], row["watched_read_at"]) if row["refreshed_at"] else 0.0
        age = store.clock.now() - looked if looked else None
        used, total = ids(name, store, config)
        found.append(View(
            name, config.servers[name]["driver"], _state(row["ok"], row["error"], age), row["error"], age, row["maintenance"],
            services.get(name, 0), load["running"], load["waiting"], load["staff"], used, total,
        ))
    return found


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
    ranges = config.servers[server].get("vm_ids") or []
    used_to = store.vm_ids_used(server)
    return (
        sum(max(0, min(used_to - 1, b) - a + 1) for a, b in ranges),
        sum(b - a + 1 for a, b in ranges),
    )


def set_maintenance(server: str, on: bool, text: str, store: Store, config: Config) -> str:
    """New operations wait while it is on; running ones go on. Returns the sentence that customers see. Raises for an unknown
    server and a sentence that is too long."""
    if server not in config.servers:
        raise NotFound(f"There is no server {server[:60]!r}; known: {', '.join(sorted(config.servers))}.", code="unknown_server")
    text = " ".join(text.split())
    if len(text) > LONGEST:
        raise BadRequest(f"text: must be at most {LONGEST} characters.", code="text_too_long")
    shown = (text or SENTENCE) if on else ""
    store.set_maintenance(server, shown)
    return shown
