"""What is not as it should be: looked for in sweeps, told to staff.

Two sweeps for each server. The state sweep here, hourly, is set arithmetic over the last bulk read. The contents sweep
(contents.py) reads a few machines and lists each minute. Both take their due time from the store: a restart neither
repeats nor drops one. Mending stands in mending.py."""

from __future__ import annotations

from typing import Any

import structlog

from bridge.errors import VmbridgeError
from bridge.metering import status
from bridge.model import Machine
from bridge.store import Store
from bridge.store.findings import FindingRow, Found, Whose
from drivers.base import Driver
from drivers.calls import in_background

log = structlog.get_logger()
HOUR, DAY = 3600.0, 86400.0
FRESH = 300.0  # an older bulk read proves nothing
SETTLED = 300.0  # the bulk read's state of a machine may be this old
LEASE = 600.0

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
    "firewall_off": "Switches it on; nothing is restarted. Rules and policies stay as they are.",
    "unfinished_snapshot": "Removes what there is of it; the machine and its other snapshots stay as they are.",
}
LIVE_ONLY = (
    "suspended_but_running",
    "vm_missing",
    "disk_bigger_than_sold",
    "differs_from_package",
    "firewall_off",
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
    strangers = store.strangers(server, read_at)
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
