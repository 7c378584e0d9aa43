"""The doctor's look at zones: are they there, may we write, does the world ask these servers, and are all our addresses
in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

from bridge import zones
from bridge.config import Config, Pool
from bridge.config.dns import kept_at
from bridge.dns import lookup, tickets
from bridge.errors import VmbridgeError
from bridge.model import Finding
from bridge.store import Store
from bridge.whmcs import Whmcs
from bridge.zones import Zone
from drivers.dns.contract import Provider

Servers = Callable[[str], list[str]]  # of a zone, as the world sees it; raises LookupError


def check(
    config: Config,
    store: Store,
    providers: Mapping[str, Provider],
    whmcs: Mapping[str, Whmcs],
    write_test: bool = False,
    servers_of: Servers = lookup.servers_of,
) -> list[Finding]:
    """Of each zone, then of each pool. Asks every provider, WHMCS about departments, and whom the world asks."""
    findings: list[Finding] = []
    for zone in config.dns.values():
        findings += _moved(zone, store)
        if zone.provider == zones.TICKET:
            findings += [_department(zone, name, client) for name, client in whmcs.items()]
            continue
        provider = providers[zone.name]
        seen = provider.check(write_test)
        findings += seen
        if seen[0].level != "fault":
            findings += _delegation(zone, provider, servers_of)
        findings += _failing(zone, store)
    return findings + [f for pool in config.pools.values() for f in _pool(pool, config)]


def _department(zone: Zone, name: str, whmcs: Whmcs) -> Finding:
    subject = f"dns {zone.name}"
    try:
        tickets.number_of(str(zone.settings["department"]), whmcs)
    except VmbridgeError as e:
        return Finding("fault", subject, f"{e.sentence} {e.detail}".strip(), e.next_action)
    return Finding("ok", subject, f"by ticket to {zone.settings['department']} of {name}")


def _delegation(zone: Zone, provider: Provider, servers_of: Servers) -> list[Finding]:
    """Whether the servers that the world asks are those that have the zone; a zone for use inside only is not to be
    found there."""
    subject = f"dns {zone.name}"
    try:
        own = {n.lower() for n in provider.nameservers()}
        asked = {n.lower() for n in servers_of(zone.name)}
    except (LookupError, VmbridgeError) as e:
        return [
            Finding("warning", subject, f"whether it is delegated could not be looked up ({e})", "run the check again")
        ]
    if not own or own & asked:
        return []
    named = ", ".join(sorted(own))
    if not asked:
        text = f"the zone above does not delegate it: nobody asks {named}"
        return [Finding("warning", subject, text, f"have whoever keeps the zone above enter NS records for {named}")]
    text = f"the world asks {', '.join(sorted(asked))}, and the zone that is written says {named}"
    return [Finding("warning", subject, text, "write to the server that the world asks, or change the delegation")]


def _moved(zone: Zone, store: Store) -> list[Finding]:
    """What was written elsewhere: vmbridge does not remove it there."""
    before, at = store.zone_state(zone.name)["kept_at"], kept_at(zone)
    count = store.zone_records(zone.name) if before not in ("", at) else 0
    if not count:
        return []
    text = f"{count} records were written at {before}, and now it is kept at {at}"
    fix = (
        "restart vmbridge: it looks at each and writes those that are not there yet. What stands at the old place stays"
    )
    if zone.provider == zones.TICKET:
        fix = "have whoever keeps the zone take them over; only what is saved from now on is asked for by ticket"
    return [Finding("warning", f"dns {zone.name}", text, fix)]


def _failing(zone: Zone, store: Store) -> list[Finding]:
    state = store.zone_state(zone.name)
    if not state["failures"]:
        return []
    text = f"{state['failures']} tries in a row have failed: {state['error']}"
    return [Finding("warning", f"dns {zone.name}", text, state["next_action"])]


def _pool(pool: Pool, config: Config) -> list[Finding]:
    """Addresses whose reverse records nobody keeps, where customers of its plans may name them."""
    subject, kind = f"pool {pool.name} reverse DNS", IPv4Address if pool.family == 4 else IPv6Address
    named = any(pool.name in p.pools and (p.values["ptr_name"] or "rdns" in p.allow) for p in config.plans.values())
    if not named or not config.dns:
        return []
    for first, last in pool.ranges:
        if hole := zones.uncovered(first, last, pool.family, config.dns.values()):
            span = str(kind(hole[0])) if hole[0] == hole[1] else f"{kind(hole[0])} - {kind(hole[1])}"
            fix = f'add the zone of {kind(hole[0])} as [dns."..."], or leave it when its names are not yours to give'
            return [Finding("warning", subject, f"no zone holds {span}", fix)]
    if pool.reverse_zone and pool.reverse_zone not in config.dns:
        text = f'its reverse_zone is {pool.reverse_zone!r}, and there is no [dns."{pool.reverse_zone}"]'
        return [Finding("warning", subject, text, f"correct reverse_zone of [pools.{pool.name}]")]
    return [Finding("ok", subject, "every address is in a zone")]
