"""Writing a change of a server's firewall call by call, by whoever holds its record: the page while somebody waits, the
worker afterwards, an operation that has to end it first."""

from __future__ import annotations

import json
from dataclasses import replace

import structlog

from bridge.errors import LeaseLost, StoreUnavailable, Transient, Unknown, UpstreamError, VmbridgeError
from bridge.firewall import edits
from bridge.firewall.edits import Conflict, Edit
from bridge.model import Capability, Firewall, Service
from bridge.store import Store
from bridge.store.firewalls import FirewallRow
from drivers.base import Driver

log = structlog.get_logger()
LEASE = 90.0  # longer than a web request's edit and than a worker's calls
LOST_REPLY = 35.0  # longer than any time-out on the way: an unanswered call has ended by then
FIRST, LONGEST = 5.0, 300.0  # seconds between two tries
CALLS = 60  # of one change at most: a whole list after a restore has some for each rule
OFTEN = 8  # tries to take a trial back, some ten minutes, until staff hears of it
GONE = "vm_absent"
SWITCHES = 300.0  # seconds between two looks at what switches firewalls off


def carry_out(
    service: Service, edit: Edit, number: int, store: Store, driver: Driver, now: Firewall | None = None
) -> None:
    """Call by call until it is as the edit wants it; each looks first, and what others do meanwhile is kept. Raises
    VmbridgeError; after Unknown nothing is sent again before a look has shown that the call did something."""
    lost: Unknown | None = None
    for _ in range(CALLS):
        now = now or driver.firewall(service.ref)
        wanted = edits.applied(edit, now)
        if same(now, wanted):
            return
        if lost and lost.extra.get("before") == _bare(now):
            raise lost
        store.firewall_begun(service.id, number)
        try:
            driver.change_firewall(service.ref, now, wanted)
            lost = None
        except Unknown as e:
            lost = Unknown(detail=e.detail, before=_bare(now))
        except Transient as e:
            if e.code != "firewall_changed":
                raise
        now = None
    raise Transient(detail=f"not there after {CALLS} calls")


def same(one: Firewall, other: Firewall) -> bool:
    return _bare(one) == _bare(other)


def _bare(firewall: Firewall) -> Firewall:
    return replace(firewall, version="", off="")


def write_due(server: str, driver: Driver, store: Store, limit: int = 20) -> int:
    """The changes that are due, each once; how many were looked at."""
    done = 0
    while done < limit:
        row = store.claim_firewall(server, LEASE)
        if row is None:
            break
        done += 1
        for service in store.services_by([row["service"]]):
            go_on(row, service, store, driver)
    return done


def go_on(row: FirewallRow, service: Service, store: Store, driver: Driver) -> None:
    """Finish a change, or take it back."""
    back, number = row["phase"] == "undoing", int(row["number"])
    try:
        carry_out(service, json.loads(row["undo"] if back else row["edit"]), number, store, driver)
        if back:
            store.firewall_ended(service.id, number, "undone", "")
        else:
            store.firewall_written(service.id, number, 0.0)
    except LeaseLost:
        return
    except Conflict:
        _somebody_elses(service, number, back, store)
    except StoreUnavailable:  # how it ended is looked up when the lease is over
        raise
    except VmbridgeError as e:
        log.warning("firewall_not_written", service=service.service_id, back=back, code=e.code, detail=e.detail)
        again = isinstance(e, UpstreamError) and e.retryable
        if e.code == GONE and _gone(service, driver):
            _told(row, service, store, "was not finished: the machine is gone", "Look why it is gone; nothing is left.")
            store.firewall_ended(service.id, number, "undone" if back else "failed", GONE)
            return
        if back and (not again or row["attempt"] == OFTEN):
            said = f"could not be taken back yet: {e.sentence} {e.detail}".strip()
            _told(row, service, store, said, f"{e.next_action} It is tried again by itself.")
        if not back and not again:
            store.firewall_ended(service.id, number, "failed", e.code)
            return
        pause = max(
            min(LONGEST, FIRST * 2 ** min(row["attempt"], 10)) if again else LONGEST,
            getattr(e, "retry_after", 0.0) or 0.0,
        )
        store.firewall_later(service.id, number, LOST_REPLY if isinstance(e, Unknown) else pause, e.code)
    finally:
        store.edited(service.id)


def _gone(service: Service, driver: Driver) -> bool:
    """Whether the machine is proven gone, not only moved between two calls."""
    try:
        return driver.look(service.ref) is None
    except VmbridgeError:
        return False


def _told(row: FirewallRow, service: Service, store: Store, said: str, action: str) -> None:
    """Staff hears of it, once for each change."""
    what = "A trial" if row["undo"] else "A change"
    store.emit(
        "staff_notice",
        service.whmcs,
        service.id,
        f"firewall:{service.id}:{row['made_at']}",
        subject=f"vmbridge: the firewall of service {service.service_id} needs attention",
        text=f"{what} of its customer's firewall {said}\nNext: {action}",
        reference=str(service.id),
        service_id=service.service_id,
    )


def _somebody_elses(service: Service, number: int, back: bool, store: Store) -> None:
    """Nothing of theirs is overwritten, and what was asked is told to be undone by them."""
    store.firewall_ended(service.id, number, "undone" if back else "failed", "kept" if back else "firewall_changed")


# -- beside operations -------------------------------------------------------------------------------
def settle(service: Service, store: Store, driver: Driver) -> bool:
    """End what is open before the firewall is kept: a trial is taken back, which its page is told, a change finished.
    What somebody else has changed meanwhile stays. False while its writer may still be at it."""
    row = store.firewall_change(service.id)
    if row is None or row["phase"] in ("undone", "failed"):
        return True
    if row["lease_until"] > store.clock.now():
        return False
    back, number = bool(row["undo"]), store.take_over_firewall(service.id, LEASE)
    if not number:  # kept or taken on in this moment, or never begun
        return store.firewall_change(service.id) is None
    try:
        carry_out(service, json.loads(row["undo"] if back else row["edit"]), number, store, driver)
    except Conflict:
        _somebody_elses(service, number, back, store)
        return True
    if back:
        store.firewall_ended(service.id, number, "undone")
    else:
        store.forget_firewall(service.id, number)
    return True


def read_switches(server: str, driver: Driver, store: Store) -> None:
    """What keeps firewalls from filtering, each five minutes."""
    if (
        Capability.FIREWALL not in driver.capabilities
        or store.clock.now() - store.firewall_switches(server)[1] < SWITCHES
    ):
        return
    try:
        store.save_firewall_switches(server, driver.firewall_switches())
    except VmbridgeError as e:
        log.warning("firewall_switches_not_read", server=server, code=e.code, detail=e.detail)
