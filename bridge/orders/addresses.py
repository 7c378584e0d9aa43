"""Addresses of services: taken from the plan's pools when ordered, given back when the machine no longer may use
them."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from bridge.config import Config, Plan, Pool
from bridge.errors import Refused, VmbridgeError
from bridge.model import Desired, Package, Service
from bridge.store import Store
from bridge.store.addresses import PoolCount
from drivers.base import Driver
from drivers.calls import in_background

log = structlog.get_logger()
LEASES_AT_ONCE = 20  # asked for in one run, so that agents which do not answer hold up nobody
# seconds until the next question: of a young server, of one that has been silent for long, of one whose lease is known
LEASE_UNKNOWN, LEASE_SILENT, LEASE_KNOWN = 60.0, 600.0, 3600.0


def reserve(service: int, package: Package, store: Store, config: Config) -> None:
    """The main address of each family of the plan, then the extra ones. Raises Refused when a pool is empty."""
    plan = config.plans[package.plan]
    for family in sorted({config.pools[p].family for p in plan.pools}):
        _take(service, _pools(plan, family, config), "main", store)
    adjust(service, package, store, config)


def adjust(service: int, package: Package, store: Store, config: Config) -> None:
    """As many extra addresses as sold: more are taken now; too many are marked as leaving, the newest first."""
    plan = config.plans[package.plan]
    if provided(package, config):
        return
    for family, count in ((4, package.extra_ipv4), (6, package.extra_ipv6)):
        rows = [r for r in store.addresses_of(service) if ipaddress.ip_address(r["address"]).version == family]
        extra = [r["address"] for r in rows if r["role"] == "extra"]
        leaving = [r["address"] for r in rows if r["role"] == "leaving"]
        for address in extra[count:]:
            store.change_role(address, "leaving")
        back = leaving[: max(0, count - len(extra))]
        for address in back:
            store.change_role(address, "extra")
        wire = next((_wire(config.pools[r["pool"]]) for r in rows if r["role"] == "main"), None)
        pools = [p for p in _pools(plan, family, config) if wire in (None, _wire(p))]
        for _ in range(count - len(extra) - len(back)):
            if not pools:
                raise Refused(f"Plan {plan.name!r} has no IPv{family} pool for extra addresses.", code="no_pool")
            _take(service, pools, "extra", store)


def lacking(service: int, package: Package, family: int, store: Store, config: Config) -> str:
    """Why the extra addresses of a package cannot be had just now; empty when they can. Takes nothing."""
    plan = config.plans[package.plan]
    if provided(package, config):
        return ""
    count = package.extra_ipv4 if family == 4 else package.extra_ipv6
    rows = [r for r in store.addresses_of(service) if ipaddress.ip_address(r["address"]).version == family]
    need = count - len([r for r in rows if r["role"] != "main"])
    wire = next((_wire(config.pools[r["pool"]]) for r in rows if r["role"] == "main"), None)
    pools = [p for p in _pools(plan, family, config) if wire in (None, _wire(p))]
    if need <= 0:
        return ""
    if not pools:
        return f"Plan {plan.name!r} has no IPv{family} pool for extra addresses."
    names = {p.name for p in pools}
    free = sum(u.free for u in uses(store, config) if u.pool.name in names)
    return f"No free IPv{family} address in pool {pools[0].name!r}." if free < need else ""


def provided(package: Package, config: Config) -> bool:
    """Whether addresses come from the provider instead of our pools."""
    return config.driver(package.server).late_addresses


def _pools(plan: Plan, family: int, config: Config) -> list[Pool]:
    return [config.pools[p] for p in plan.pools if config.pools[p].family == family]


def _wire(pool: Pool) -> tuple[str, int]:
    """One network card has one bridge and one VLAN: further addresses must be on the main one's."""
    return pool.bridge, pool.vlan


def _take(service: int, pools: Sequence[Pool], role: str, store: Store) -> str:
    for pool in pools:
        address = store.take_address(pool.name, pool.family, pool.ranges, pool.excluded, service, role)
        if address:
            return address
    raise Refused(f"No free IPv{pools[0].family} address in pool {pools[0].name!r}.", code="pool_empty")


def record(service: int, addresses: Sequence[str], store: Store, config: Config) -> list[str]:
    """Give an adopted machine's own addresses to its service; those that no pool has, or somebody else holds, are
    returned."""
    outside, families = [], set()
    for text in addresses:
        address = ipaddress.ip_address(text)
        pool = pool_of(text, config)
        role = "extra" if address.version in families else "main"
        if pool is None or not store.claim_address(str(address), pool.name, service, role):
            outside.append(text)
        else:
            families.add(address.version)
    return outside


def pool_of(address: str, config: Config) -> Pool | None:
    number = ipaddress.ip_address(address)
    return next(
        (
            p
            for p in config.pools.values()
            if p.family == number.version and any(a <= int(number) <= b for a, b in p.ranges)
        ),
        None,
    )


@dataclass(frozen=True)
class Use:
    """How full a pool is; `total` is without the excluded ones. `next_free`: when the first cooling address may be
    given again."""

    pool: Pool
    total: int
    excluded: int
    taken: int
    cooling: int
    next_free: float | None

    @property
    def free(self) -> int:
        return max(0, self.total - self.taken - self.cooling)

    @property
    def percent(self) -> float:
        """0 to 100 of those that can be given; 100 of none."""
        return min(100.0, 100.0 * (self.taken + self.cooling) / self.total) if self.total > 0 else 100.0

    @property
    def ranges(self) -> tuple[str, ...]:
        return tuple(_span(a, b, self.pool.family) for a, b in self.pool.ranges)

    @property
    def exclusions(self) -> tuple[str, ...]:
        return tuple(_span(a, b, self.pool.family) for a, b in self.pool.excluded)


def _span(first: int, last: int, family: int) -> str:
    kind = ipaddress.IPv4Address if family == 4 else ipaddress.IPv6Address
    return str(kind(first)) if first == last else f"{kind(first)} - {kind(last)}"


def uses(store: Store, config: Config) -> list[Use]:
    """Every pool that may be seen, the fullest first."""
    counts, listed = store.pool_counts(), []
    for pool in config.pools.values():
        if config.own_pools is not None and pool.name not in config.own_pools:
            continue
        row = counts.get(pool.name) or PoolCount(pool=pool.name, taken=0, cooling=0, next=None)
        excluded = sum(max(0, min(b, d) - max(a, c) + 1) for a, b in pool.ranges for c, d in pool.excluded)
        total = sum(b - a + 1 for a, b in pool.ranges) - excluded
        listed.append(Use(pool, total, excluded, row["taken"], row["cooling"], row["next"]))
    return sorted(listed, key=lambda u: (-u.percent, u.pool.name))


def taken_faults(store: Store, config: Config) -> list[tuple[str, str, str]]:
    """A pool must not shrink below what is taken: (path, code, text) for each address, and for each pool that is
    missing."""
    faults, missing = [], Counter[str]()
    for row in store.taken_addresses():
        pool = config.pools.get(row["pool"])
        if row["service"] is None:
            continue
        if pool is None:
            missing[row["pool"]] += 1
        elif not any(a <= int(ipaddress.ip_address(row["address"])) <= b for a, b in pool.ranges):
            faults.append(
                (f"pools.{row['pool']}.ranges", "pool_in_use", f"no longer holds {row['address']}, which is taken")
            )
    for name, count in missing.items():
        faults.append(
            (
                f"pools.{name}",
                "pool_in_use",
                f"is missing, but {count} of its addresses are taken: put it back, or, if it has another name now, run"
                f" `vmbridge rename pool {name} NEW`",
            )
        )
    return faults


# -- by DHCP ----------------------------------------------------------------------------------------
def family(address: str) -> int:
    return ipaddress.ip_interface(address).version  # also of a network


def given(service: Service, store: Store) -> tuple[int, ...]:
    """The families whose address is not ours to give, of a plan that leaves one to DHCP: only the guest knows it."""
    if not (service.package.dhcp4 or service.package.dhcp6):
        return ()
    ours = {family(r["address"]) for r in store.addresses_of(service.id) if r["role"] == "main"}
    return tuple(n for n in (4, 6) if n not in ours)


def merged(known: Sequence[str], seen: Sequence[str]) -> list[str]:
    """What the server has, from what was known and what its guest says now. A known address that is still there stays
    first; of IPv6 one is enough, since guests make themselves new ones all day."""
    kept = [a for a in known if a in seen]
    new = [a for a in seen if a not in kept and (family(a) == 4 or not any(family(k) == 6 for k in kept))]
    return sorted([*kept, *new], key=family)


def told(service: Service, store: Store) -> list[str]:
    """Every address as WHMCS is told it: those of our pools that the service keeps, then those that were given from
    elsewhere."""
    own = [r["address"] for r in store.addresses_of(service.id) if r["role"] != "leaving"]
    return sorted([*own, *(a for a in service.birth.addresses if a not in own)], key=family)


def learn(server: str, driver: Driver, store: Store) -> int:
    """Leases of running servers whose address comes by DHCP: each minute while none is known, less often of a guest
    that has been silent for an hour, each hour afterwards; some at a time. Returns how many were asked."""
    asked = 0
    for service in store.leased_services(server):
        families = given(service, store)
        known = [a for a in service.birth.addresses if family(a) in families]
        name = f"lease {service.id}"
        if asked >= LEASES_AT_ONCE:
            break
        if not store.claim_sweep(server, name, LEASE_UNKNOWN):
            continue
        asked += 1
        try:
            with in_background():
                seen = [a for a in driver.addresses(service.ref) if family(a) in families]
        except VmbridgeError as e:
            log.warning("lease_unread", service=service.id, code=e.code, detail=e.detail)
            continue
        if seen:
            _learned(service.id, merged(known, seen), store)
        young = store.clock.now() - service.created_at < LEASE_KNOWN
        pause = LEASE_KNOWN if seen or known else LEASE_UNKNOWN if young else LEASE_SILENT
        store.end_sweep(server, name, store.clock.now() + pause)
    return asked


def _learned(key: int, learned: list[str], store: Store) -> None:
    """Nothing is written beside an operation: it has the service's record in hand, and the next look is soon."""
    with store.write():
        service = store.service(key)
        if store.current_operation(key) or service.desired is not Desired.ACTIVE:
            return
        other = [a for a in service.birth.addresses if family(a) not in given(service, store)]
        whole = (*learned, *other)
        if whole == service.birth.addresses:
            return
        store.update_service(key, birth=replace(service.birth, addresses=whole))
        now = told(store.service(key), store)
        store.emit(
            "addresses",
            service.whmcs,
            key,
            f"addresses:{key}:{store.clock.now():.0f}:{','.join(now)}",
            service_id=service.service_id,
            addresses=now,
        )
