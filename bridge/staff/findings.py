"""What is not as it should be: looked for in sweeps, told to staff, mended by a command that proves identity first.

Two sweeps for each server. The state sweep, hourly, is set arithmetic over the last bulk read. The contents sweep, each
minute, visits a few services, foreign machines and storage lists, so that each has its turn once a day. Both take their
due time from the store: a restart neither repeats nor drops one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import structlog

from bridge import services
from bridge.config import Config
from bridge.dns import records
from bridge.errors import NeedsOperator, NotFound, NotOurs, Refused, VmbridgeError
from bridge.kinds import deed
from bridge.metering import status
from bridge.model import Desired, Difference, Leftover, Machine, Memory, Seen, Service
from bridge.orders import upgrades
from bridge.store import Store
from bridge.store.findings import LAST, About, AboutEnded, FindingRow, Found, Whose
from drivers.base import Driver, in_background

log = structlog.get_logger()
HOUR, DAY = 3600.0, 86400.0
TURN = 23 * HOUR  # due again after this, so that a day is kept with some delay
READS = 2  # upstream reads at a time
FRESH = 300.0  # an older bulk read proves nothing
SETTLED = 300.0  # the bulk read's state of a machine may be this old
LEASE = 600.0
ENDED_FOR = 30 * DAY  # services that ended longer ago are not visited any more
SKEW = 300.0
T = TypeVar("T")
R = TypeVar("R")

BY_HAND = {
    "vm_missing": "Look for it in the server's own list. Restore it from a backup, or terminate the service in WHMCS.",
    "duplicate_address": "Ask whoever runs the other machine to give the address up, or move the customer to"
    " another one.",
    "disk_bigger_than_sold": "Sell the bigger package again, or move the customer's data to a smaller server by hand.",
    "machine_locked": "Look what the task has left undone, then free the machine by hand.",
    "not_ours": "Look at the machine; `vmbridge adopt` records it if it is the customer's.",
    "unreadable_record": "Put the value right in the store, or put a copy of the store back. Others are not touched.",
    "unknown_vm": "Look whose it is. A WHMCS service's: `vmbridge adopt SERVICE VM --plan PLAN --client CLIENT`."
    " Nobody's: remove it by hand in the server's own list. The bridge never removes it.",
}
KEPT = (
    "It is not changed from here: it was adopted with it, or only the host's administrator can. "
    "Change it by hand, or dismiss this."
)
HELPS = {
    "suspended_but_running": "Switches it off again.",
    "leftover_vm": "Removes it once it is proven to be the service's own.",
    "leftover_disk": "Removes it once the machine is proven gone.",
    "leftover_backup": "Removes it once the machine is proven gone.",
    "leftover_firewall": "Removes it once the machine is proven gone.",
    "leftover_snapshot": "Removes it once the machine is proven gone.",
    "leftover_floating": "Gives it back to the provider once the machine is proven gone.",
    "leftover_address": "Gives it back once the machine is proven gone.",
    "differs_from_package": "Writes what differs; nothing is restarted.",
    "unfinished_snapshot": "Removes what there is of it; the machine and its other snapshots stay as they are.",
}
LIVE_ONLY = (
    "suspended_but_running",
    "vm_missing",
    "disk_bigger_than_sold",
    "differs_from_package",
    "not_ours",
    "machine_locked",
    "unreadable_record",
    "unfinished_snapshot",
    "duplicate_address",
)


def fixable(finding: FindingRow) -> bool:
    return finding["kind"] in HELPS and not finding["data"].get("by_hand") and finding["ended_at"] is None


def who(row: Whose) -> str:
    return f"service {row['service_id']} ({row['whmcs']})"


def entry(row: Whose, kind: str, subject: str, text: str, **data: Any) -> Found:
    by_hand = data.get("by_hand") or BY_HAND.get(kind) or HELPS[kind]
    return row["id"], subject, text, by_hand, data


# -- machines, hourly -----------------------------------------------------------------------------
def sweep_state(server: str, driver: Driver, store: Store, now: bool = False) -> bool:
    """When it is due, or `now`: one bulk read at most, then sets. False when it was not due or there is no fresh
    reading."""
    if not store.claim_sweep(server, "state", LEASE) and not now:
        return False
    status.refresh(server, driver, store, now)
    if not readable(server, store):
        store.end_sweep(server, "state", store.clock.now() + 60)
        return False
    read_at = float(store.health(server)["refreshed_at"])
    claiming = _claiming(server, driver, store, read_at)
    with store.write():
        _compare_state(server, store, read_at)
        if claiming is not None:
            _compare_unknown(server, claiming, store)
        store.end_sweep(server, "state", store.clock.now() + HOUR)
    return True


def readable(server: str, store: Store) -> bool:
    """Whether the last bulk read is good and new: a server that is down or being worked on says nothing about
    machines."""
    health = store.health(server)
    return (
        bool(health["ok"])
        and not health["error"]
        and not health["maintenance"]
        and health["refreshed_at"] >= store.clock.now() - FRESH
    )


def _compare_state(server: str, store: Store, read_at: float) -> None:
    """The findings that follow from the last bulk read and the store alone, each kind replaced as a whole."""
    settled, (missing, foreign) = read_at - SETTLED, store.apart(server, read_at)
    store.set_findings(
        server,
        "suspended_but_running",
        [
            entry(
                r,
                "suspended_but_running",
                str(r["id"]),
                f"VM {r['vm_id']} of {who(r)} is {r['status']} on {r['node']} although the service is suspended.",
            )
            for r in store.suspended_running(server, read_at, settled)
        ],
    )
    store.set_findings(
        server,
        "leftover_vm",
        [
            entry(
                r,
                "leftover_vm",
                str(r["id"]),
                f"VM {r['vm_id']} is still on {r['node']} ({r['status']}) although {who(r)} is terminated.",
            )
            for r in store.leftover_vms(server, read_at, settled)
        ],
    )
    store.set_findings(
        server,
        "vm_missing",
        [
            entry(
                r,
                "vm_missing",
                str(r["id"]),
                f"VM {r['vm_id']} of {who(r)}, last on {r['node'] or 'no place'}, is not in the server's list:"
                " removed by hand, or our key may no longer see it.",
            )
            for r in store.missing_vms(server, missing, settled)
        ],
    )
    store.set_findings(
        server,
        "leftover_address",
        [
            entry(
                r,
                "leftover_address",
                r["address"],
                f"Address {r['address']} is still held by {who(r)}, which is terminated.",
            )
            for r in store.leftover_addresses(server, settled)
        ],
    )
    store.set_findings(
        server,
        "unfinished_snapshot",
        [
            entry(
                r,
                "unfinished_snapshot",
                f"{r['id']} {r['name']}",
                f"Snapshot {r['name']} of VM {r['vm_id']} of {who(r)} was never finished, and nothing works on it"
                " any more.",
                name=r["name"],
            )
            for r in store.unfinished_snapshots(server)
        ],
    )
    store.set_findings(
        server,
        "unreadable_record",
        [
            entry(
                r,
                "unreadable_record",
                str(r["id"]),
                f"The record of {who(r)}, VM {r['vm_id']}, cannot be read: {why}. Nothing is done to it: no backups, no"
                " orders, no sweep.",
            )
            for r, why in store.unreadable_services(server)
        ],
    )
    store.end_findings_of_ended(server, LIVE_ONLY)
    store.note_foreign_vms(server, foreign, settled)
    _compare_addresses(server, store)


def _claiming(server: str, driver: Driver, store: Store, read_at: float) -> list[Machine] | None:
    """Machines of no service that say they are ours; asked for only when there are machines of no service. None when it
    cannot be read."""
    _, outside = store.apart(server, read_at)
    strangers = outside - store.known_machines(server, outside)[0]
    if not strangers:
        return []
    try:
        with in_background():
            return driver.claiming(strangers)
    except VmbridgeError as e:  # what was found before stands until the next sweep
        log.warning("claiming_not_read", server=server, code=e.code, detail=e.detail)
        return None


def _compare_unknown(server: str, claiming: list[Machine], store: Store) -> None:
    """After a restore of the store the machines that were made since its copy are nobody's: they run, and are paid for
    by nobody."""
    had, told = store.known_machines(server, [m.vm_id for m in claiming], [m.uuid for m in claiming if m.uuid])
    store.set_findings(
        server,
        "unknown_vm",
        [
            (
                None,
                m.vm_id,
                f"VM {m.vm_id}"
                + (f" ({m.name})" if m.name else "")
                + f" on {m.node} is marked as ours or has an id of ours, but no service is known"
                " that has or had it: made after the copy that was put back, or by somebody else.",
                BY_HAND["unknown_vm"],
                {},
            )
            for m in claiming
            if m.vm_id not in had and m.uuid not in told
        ],
    )


def _compare_addresses(server: str, store: Store) -> None:
    store.set_findings(
        server,
        "duplicate_address",
        [
            entry(
                r,
                "duplicate_address",
                f"{r['foreign_id']} {r['address']}",
                f"Address {r['address']} of pool {r['pool']!r} belongs to VM {r['vm_id']} of {who(r)}, but VM"
                f" {r['foreign_id']}"
                + (f" ({r['foreign_name']})" if r["foreign_name"] else "")
                + f" on server {server!r} is set up with it too.",
            )
            for r in store.duplicate_addresses(server)
        ],
    )


# -- configurations and lists, spread over the day --------------------------------------------------
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
    now = store.clock.now()
    due, live, outside = now - TURN, *store.count_in_turn(server)
    with ThreadPoolExecutor(READS, thread_name_prefix=f"findings-{server}") as pool:
        keys = store.live_due(server, due, max(per_minute(live), least))
        own = store.services_by(keys)
        store.swept({*keys} - {s.id for s in own}, now)
        for service, seen in _each(pool, lambda s: driver.read(s.ref), own):
            _live(service, seen, driver, store, config)
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


def _live(before: Service, seen: Seen | VmbridgeError, driver: Driver, store: Store, config: Config) -> None:
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


# -- mending --------------------------------------------------------------------------------------
def fix(key: int, actor: str, store: Store, config: Config, drivers: Mapping[str, Driver]) -> str:
    """Mend one finding after the back end has proven what it is about; a sentence on what happens now. Raises NotFound
    or Refused, or the back end's own error (NotOurs when a machine under the id is somebody else's)."""
    finding = store.finding(key)
    if finding is None:
        raise NotFound(f"There is no finding {key}.", code="unknown_finding")
    if finding["ended_at"] is not None:
        raise over()
    if not fixable(finding) or finding["service"] is None:
        raise Refused(f"This cannot be mended by itself. {finding['fix']}", code="no_fix")
    if finding["server"] not in drivers:
        raise Refused(f"Server {finding['server']!r} is not in the configuration any more.", code="unknown_server")
    service = store.service(finding["service"])
    free(service, store)
    return FIXES[finding["kind"]](finding, service, drivers[finding["server"]], actor, store, config)


def over() -> Refused:
    return Refused("This is over: there is nothing left to do.", code="finding_over")


def free(service: Service, store: Store) -> None:
    if store.newest_open(service.id):
        raise Refused(services.busy_reason(service, store) or "The service is busy.", code="service_busy")


def submit(
    finding: FindingRow,
    service: Service,
    kind: str,
    actor: str,
    store: Store,
    asked: Memory | None = None,
) -> str:
    """Queue it if the service is still as it was when the back end was asked."""
    with store.write():
        free(service, store)
        if store.service(service.id).desired is not service.desired:
            raise over()
        operation = store.submit(service.id, kind, actor, asked)
        store.swept([service.id], 0.0)
    return f"Operation {operation} ({deed(kind)}) has begun."


def end(finding: FindingRow, store: Store) -> Refused:
    store.end_finding(finding["id"])
    return over()


def _suspend(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    vm = driver.look(service.ref)
    if service.desired is not Desired.SUSPENDED or vm is None or vm.status == "stopped":
        raise end(finding, store)
    return submit(finding, service, "suspend", actor, store)


def _terminate(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    if driver.look(service.ref) is None:
        raise end(finding, store)
    return submit(finding, service, "terminate", actor, store, Memory(look=True))


def _absent(service: Service, driver: Driver) -> None:
    if driver.look(service.ref) is not None:
        raise Refused(f"VM {service.vm_id} is still there: remove it first.", code="vm_present")


def _clean_up(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    item = Leftover(**finding["data"]["leftover"])
    _absent(service, driver)
    user = store.volume_user(service.server, item.name) if item.kind == "disk" else ""
    if user == "?":
        raise Refused(
            "Not every other machine of this server has been read yet, and one may use this disk. Try again later.",
            code="unread",
        )
    if user:
        raise Refused(f"VM {user} uses this disk.", code="in_use")
    return submit(finding, service, "clean_up", actor, store, Memory(leftover=item, finding=finding["id"]))


def _release(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    _absent(service, driver)
    with store.write():
        free(service, store)
        count = store.release_addresses(service.id, config.worker["address_cool_down_h"] * 3600.0)
        records.adjust(store.service(service.id), store, config)
        for row in store.findings(service.id, dismissed=True):
            if row["kind"] == "leftover_address" and row["service"] == service.id:
                store.end_finding(row["id"])
    return f"{count} address(es) given back."


def _converge(finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config) -> str:
    driver.look(service.ref)
    return submit(finding, service, "converge", actor, store)


def _remove_snapshot(
    finding: FindingRow, service: Service, driver: Driver, actor: str, store: Store, config: Config
) -> str:
    name = finding["data"]["name"]
    if all(s.name != name or not s.broken for s in driver.snapshots(service.ref)):
        raise end(finding, store)
    return submit(finding, service, "delete_snapshot", actor, store, Memory(name=name))


FIXES: dict[str, Callable[[FindingRow, Service, Driver, str, Store, Config], str]] = {
    "suspended_but_running": _suspend,
    "leftover_vm": _terminate,
    "leftover_disk": _clean_up,
    "leftover_backup": _clean_up,
    "leftover_firewall": _clean_up,
    "leftover_snapshot": _clean_up,
    "leftover_floating": _clean_up,
    "leftover_address": _release,
    "differs_from_package": _converge,
    "unfinished_snapshot": _remove_snapshot,
}
