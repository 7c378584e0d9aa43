"""The contents sweep, each minute: a few services' configurations, foreign machines and storage lists, so that each
has its turn once a day."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeVar

import structlog

from bridge.config import Config
from bridge.errors import NeedsOperator, NotOurs, VmbridgeError
from bridge.metering import status
from bridge.model import Capability, Desired, Difference, Leftover, Machine, Seen, Service
from bridge.orders import upgrades
from bridge.orders.wanted import completed
from bridge.staff.findings import DAY, HOUR, KEPT, LEASE, _compare_addresses, entry, readable, who
from bridge.store import Store
from bridge.store.findings import LAST, About, Found, Whose
from bridge.store.sweeps import AboutEnded
from drivers.base import Driver
from drivers.calls import in_background

log = structlog.get_logger()


TURN = 23 * HOUR  # due again after this, so that a day is kept with some delay
READS = 2  # upstream reads at a time
ENDED_FOR = 30 * DAY  # services that ended longer ago are not visited any more
SKEW = 300.0
NOT_FILTERED = {"machine": "it is switched off", "adapter": "its network adapter is not filtered"}
T = TypeVar("T")
R = TypeVar("R")


def sweep_contents(server: str, driver: Driver, store: Store, config: Config, everything: bool = False) -> int:
    """One minute's share when it is due; with `everything` until nothing is due. Returns how many were visited."""
    if not store.claim_sweep(server, "contents", LEASE) and not everything:
        return 0
    visited = 0
    if everything:
        store.all_due(server)
    while readable(server, store):
        share = _share(server, driver, store, config, 50 if everything else 0)
        visited += share
        if not everything or not share:
            break
        status.refresh(server, driver, store)
    store.end_sweep(server, "contents", store.clock.now() + 60)
    return visited


def per_minute(count: int) -> int:
    """A quarter more than a day's even share: what was missed is caught up."""
    return math.ceil(count * 1.25 / (DAY / 60))


def _share(server: str, driver: Driver, store: Store, config: Config, least: int) -> int:
    """What is due of a server now: its own machines, others, what ended ones left. How many were looked at."""
    now = store.clock.now()
    due, live, outside = now - TURN, *store.count_in_turn(server)
    with ThreadPoolExecutor(READS, thread_name_prefix=f"findings-{server}") as pool:
        keys = store.live_due(server, due, max(per_minute(live), least))
        own = store.services_by(keys)
        store.swept({*keys} - {s.id for s in own}, now)
        for service, found in _each(pool, lambda s: _look(s, driver, config), own):
            seen, off = found if isinstance(found, tuple) else (found, None)
            _live(service, seen, off, driver, store, config)
            store.swept([service.id], _when(seen, now))
        foreign = store.foreign_vms_due(server, due, max(per_minute(outside), least))
        for row, machine in _each(pool, lambda r: driver.inspect(r["vm_id"], r["node"]), foreign):
            _foreign(server, row["vm_id"], machine, store, now)
        if foreign:
            _compare_addresses(server, store)
        ended = store.ended_due(server, due, now - ENDED_FOR, max(5, least))
        for gone, answer in _each(pool, lambda r: driver.leftovers((r["vm_id"],)), ended):
            if not isinstance(answer, VmbridgeError):
                left = [_left(gone, f) for f in answer]
                store.set_findings(server, "leftover_firewall", left, gone["vm_id"], gone["vm_id"])
            store.swept([gone["id"]], _when(answer, now))
    return len(own) + len(foreign) + len(ended) + _lists(server, driver, store, config, now, 0.0 if least else DAY)


def _each(pool: ThreadPoolExecutor, read: Callable[[T], R], todo: list[T]) -> Iterator[tuple[T, R | VmbridgeError]]:
    """Read many at a time; one that cannot be read does not hold up the others. The store stays in this thread."""

    def one(item: T) -> R | VmbridgeError:
        try:
            with in_background():
                return read(item)
        except VmbridgeError as e:
            return e

    yield from zip(todo, list(pool.map(one, todo)), strict=True)


def _when(answer: object, now: float) -> float:
    """When it counts as visited: what could not be read has its next turn in an hour."""
    return now - TURN + HOUR if isinstance(answer, VmbridgeError) else now


def _look(service: Service, driver: Driver, config: Config) -> tuple[Seen, str | None]:
    """The machine, and what keeps the firewall that was sold with it from filtering: None where that cannot be read."""
    seen, plan = driver.read(service.ref), config.plans.get(service.package.plan)
    sold = Capability.FIREWALL in driver.capabilities and driver.has_firewall(completed(service.package, config))
    if service.birth.ordered:  # an adopted machine that stays as it is: told where its customer has the page
        sold = sold and plan is not None and Capability.FIREWALL in plan.allow
    if not sold or service.desired is not Desired.ACTIVE:  # of a suspended one it may be away on purpose
        return seen, ""
    try:
        return seen, driver.firewall_off(service.ref, seen)
    except VmbridgeError as e:
        log.warning("firewall_not_read", service=service.service_id, code=e.code, detail=e.detail)
        return seen, None


def _live(
    before: Service, seen: Seen | VmbridgeError, off: str | None, driver: Driver, store: Store, config: Config
) -> None:
    """One live service's machine beside its package. Nothing is said of one that something is being done to."""
    key = str(before.id)
    with store.write():
        service = store.service(before.id)
        if store.newest_open(service.id) or service.vm_id != before.vm_id or service.desired is Desired.TERMINATED:
            return
        about: Whose = {"id": service.id, "service_id": service.service_id, "whmcs": service.whmcs}
        if isinstance(seen, NotOurs):
            text = f"VM {service.vm_id} is not proven to be the one of {who(about)}: {seen.detail}."
            store.set_findings(service.server, "not_ours", [entry(about, "not_ours", key, text)], key, key)
        if isinstance(seen, NeedsOperator):
            text = f"VM {service.vm_id} of {who(about)} can be neither changed nor switched: {seen.detail}."
            locked = [entry(about, "machine_locked", key, text, by_hand=seen.next_action)]
            store.set_findings(service.server, "machine_locked", locked, key, key)
        if isinstance(seen, VmbridgeError):
            return
        store.save_seen(service.id, seen.config, seen.pending)
        if off is not None:
            text = f"The firewall of VM {service.vm_id} of {who(about)} filters nothing: {NOT_FILTERED.get(off)}."
            by_hand = (
                {"by_hand": f"{KEPT} There: {driver.firewall_by_hand[off]}."} if off and service.birth.ordered else {}
            )
            unfiltered = [entry(about, "firewall_off", key, text, **by_hand)] if off else []
            store.set_findings(service.server, "firewall_off", unfiltered, key, key)
        rows = [r for r in upgrades.rows_of(service, driver, store, config) if not r.same]
        refused = [r.refused for r in rows if r.refused]
        differing = [r for r in rows if not r.refused]
        by_hand = {"by_hand": KEPT} if all(r.kept for r in differing) else {}
        for kind, texts, begin, data in (
            (
                "disk_bigger_than_sold",
                refused,
                f"{who(about).capitalize()} is sold less disk than its machine has: ",
                {},
            ),
            (
                "differs_from_package",
                [_difference(r) for r in differing],
                f"VM {service.vm_id} of {who(about)} differs from its package: ",
                by_hand,
            ),
            ("not_ours", [], "", {}),
            ("machine_locked", [], "", {}),
        ):
            entries = [entry(about, kind, key, begin + " ".join(texts), **data)] if texts else []
            store.set_findings(service.server, kind, entries, key, key)


def _difference(row: Difference) -> str:
    return (
        f"{upgrades.label(row)} is {upgrades.amount(row.word, row.real)}, sold {upgrades.amount(row.word, row.sold)}."
    )


def _foreign(server: str, vm_id: str, machine: Machine | VmbridgeError, store: Store, now: float) -> None:
    """What a machine that is not ours claims. One that is gone goes from the table with the next state sweep."""
    if isinstance(machine, VmbridgeError):
        store.foreign_vm_unread(server, vm_id, _when(machine, now))
    else:
        store.save_foreign_vm(server, vm_id, machine.name, machine.volumes, machine.addresses, now)


def _lists(server: str, driver: Driver, store: Store, config: Config, now: float, period: float) -> int:
    """The longest due storage list; which lists there are is asked once a day, and new ones begin within the period."""
    try:
        if store.claim_sweep(server, "listings", LEASE):
            store.set_listings(server, driver.listings(), period)
            store.end_sweep(server, "listings", now + DAY)
        listing = store.claim_listing(server, LEASE)
        if listing:
            _list(server, listing, driver, store, config)
            store.end_sweep(server, f"list {listing}", now + TURN)
        return int(bool(listing))
    except VmbridgeError as e:  # the lease is the pause until the next try
        log.warning("findings_list", server=server, detail=f"{e.sentence} {e.detail}".strip())
        return 0


def _list(server: str, listing: str, driver: Driver, store: Store, config: Config) -> None:
    ended = {r["vm_id"]: r for r in store.ended_services(server)}
    kept = driver.leftovers(ended, listing) if ended else []
    mine = [f for f in kept if _own(f, ended[f.vm_id], config)]
    for kind in ("disk", "backup", "snapshot", "floating"):
        entries = [_left(ended[f.vm_id], f, bool(ended[f.vm_id]["elsewhere"])) for f in mine if f.kind == kind]
        store.set_findings(server, f"leftover_{kind}", entries, f"{listing} ", f"{listing} {LAST}")


def _own(item: Leftover, row: AboutEnded, config: Config) -> bool:
    """Whether its time is the service's, and for a backup, whether the plan lets backups go with their service. A
    backup of unknown age, or of a plan that is gone, is kept; the name of a disk is proof enough since our VM ids are
    used once."""
    in_time = row["created_at"] - SKEW <= item.made_at <= row["ended_at"] + DAY
    if item.kind != "backup":
        return in_time or not item.made_at
    plan = config.plans.get(json.loads(row["package"])["plan"])
    return in_time and plan is not None and not plan.values["keep_backups"]


def _left(row: About, item: Leftover, elsewhere: bool = False) -> Found:
    """The finding of one leftover, with what is needed to remove it, or why that is done by hand."""
    what = {
        "disk": "Disk",
        "backup": "Backup",
        "firewall": "Firewall file",
        "snapshot": "Snapshot",
        "floating": "Floating address",
    }[item.kind]
    size = f" ({item.size / 1024**3:.1f} GiB)" if item.size else ""
    place = f" on {item.listing}" if item.listing else ""
    by_hand = ""
    if item.protected:
        by_hand = "It is protected: somebody wants to keep it. Dismiss this, or take the protection off first."
    elif elsewhere:
        by_hand = (
            "Another server has a live machine with the same id; if both keep their disks in the same place this is"
            " its disk. Look before you remove it."
        )
    return entry(
        row,
        f"leftover_{item.kind}",
        f"{item.listing} {item.name}" if item.listing else item.vm_id,
        f"{what} {item.name}{size}{place} is left of VM {row['vm_id']} of {who(row)}, which is terminated.",
        leftover=asdict(item),
        **({"by_hand": by_hand} if by_hand else {}),
    )
