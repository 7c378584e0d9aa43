"""A `Zoned` world with one simulated provider for all its zones, and a worker that dies at its calls."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from bridge import zones as zone_names
from bridge.dns import writer
from tests.dns import sims
from tests.dns.nameserver import Nameserver
from tests.dns.world import REVERSE, REVERSE6, STATIC, Zoned

FORWARD = "vps.example.com"
RULE = f"{{ip_dashed}}.{STATIC}"
NAME = "mail.customer.example"
ALL = (REVERSE, REVERSE6, STATIC, FORWARD)
WAITING = "Waiting to be written. This goes on by itself."
REFUSED = "This was not written. Save it again, perhaps with another name, or write to us."


class Site(Zoned):
    """One provider for all zones, in process."""

    def __init__(self, path: Path, provider: str = "powerdns", zones: tuple[str, ...] = ALL, **plan: Any) -> None:
        kinds: dict[str, Any] = {
            "powerdns": sims.PowerDns,
            "cloudflare": sims.Cloudflare,
            "hestiacp": sims.Hestia,
            "rfc2136": lambda *z: Nameserver(zones=z),
        }
        self.sim = kinds[provider](*zones)
        tables = {z: self.sim.settings() for z in zones}
        super().__init__(path, tables, self.sim.mount, **{"ptr_name": RULE, "forward_zone": FORWARD, **plan})

    def ptr(self, address: str) -> list[str]:
        zone = zone_names.zone_of(address, self.config.dns.values())
        assert zone
        return list(self.sim.values(zone.record(address), "PTR"))

    def born(self, service: int = 1042, **params: Any) -> list[str]:
        self.order("create", service, **params)
        self.run()
        self.write()
        return self.addresses(service)

    def ended(self, service: int = 1042) -> None:
        self.order("terminate", service)
        self.run()
        self.write()

    def default(self, address: str) -> str:
        return zone_names.default_name(RULE, address, "", 1, 1)


def die() -> None:
    raise Killed


def dying_at_faults(site: Site) -> None:
    """One turn of a worker that dies when a call ends with an error, before anything of it is recorded."""
    store, before = site.store, site.store.record_later
    store.record_later = lambda *a, **k: die()
    try:
        for zone in store.zones_due():
            writer.write_due(zone, site.config, store, site.providers, {})
    finally:
        store.record_later = before


class Killed(BaseException):
    pass


def killed(site: Site, nth: int) -> None:
    """A worker that dies at one of its calls, before it or after it was carried out; its leases run out."""
    site.sim.faults = [sims.Fault("lost" if nth % 2 else die, 1 + nth // 2, changes=True)]
    with suppress(Killed):
        dying_at_faults(site)
    site.sim.faults = []
    site.clock.time += writer.LEASE + 1
