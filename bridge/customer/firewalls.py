"""A server's firewall: what the page shows, each change as a record that outlives whoever writes it, and trials that
take themselves back.

A change is read, judged and written within one turn; its record says from the first call on that it may have been
written, so that whoever comes next finds out and goes on. What might close the way in is a trial: its undoing is kept
before it is made, and due when the trial ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from bridge.customer.direct import Reads, not_done, sentence, whose
from bridge.errors import LeaseLost, Refused, RequestError, StoreUnavailable, Unknown, UpstreamError, VmbridgeError
from bridge.firewall import edits, ways
from bridge.firewall.edits import Conflict, Edit
from bridge.firewall.writing import FIRST, LEASE, LOST_REPLY, carry_out, go_on, same
from bridge.model import Dropped, Firewall, Rule, Sentence, Service
from bridge.store import Store
from bridge.store.firewalls import CHANGED, FirewallRow
from drivers.base import Driver

log = structlog.get_logger()
SEEN = 5.0  # seconds that one read serves everybody
TRIES = 3  # to find the firewall as nobody changes it between the look and the record
TRIAL = 60.0  # seconds to say that it works
TOLD_FOR = 24 * 3600.0  # how the last change ended
RDP = 3389
BY_CUSTOMER = "by_customer"  # who took a trial back
NOT_BUILT = Sentence("The server is not set up yet.")
ANOTHER = Sentence("Another change of the firewall is not finished yet. Please try again in a minute.")
ON_TRIAL = Sentence("A change is on trial. Keep it or take it back first.")
TOO_LATE = Sentence("The time was over: the change has been taken back.")
ANOTHER_TRIAL = Sentence(
    "That page was of an earlier change. Another one is on trial now: try it, then keep it or take it back."
)
FROM_INSIDE = Sentence(
    "You look at this page through the server itself, so it says nothing about new connections from outside. Open the"
    " page from another connection and keep the change there."
)
TRIAL_OVER = Sentence("That trial is over. Below is the firewall as it is now.")
GOING_ON = Sentence(
    "The answer was lost. What you changed is looked up and finished by itself; look here again in a minute."
)
BACK_BY_ITSELF = Sentence(
    "The answer was lost. If anything was changed, it is taken back by itself; look here again in a minute."
)
UNSAVED = Sentence(
    "What you changed may have been made, but the bridge cannot save anything just now. It is looked up and finished by"
    " itself; look here again in some minutes."
)
BACK_UNSAVED = Sentence(
    "What you changed may have been made, but the bridge cannot save anything just now, so it is taken back by itself;"
    " look here again in some minutes."
)
RULE_NOT_TAKEN = Sentence("The host does not take this rule. Please write it in another way.")
FULL = Sentence("%(n)d of %(m)d rules in use: delete one first.")
LOCKED = Sentence("This rule is ours and cannot be changed here.")
ACROSS = Sentence("A rule cannot be moved past one of ours.")
GONE = Sentence("This rule is not there any more.")
OFF = {
    "machine": Sentence(
        "The firewall of this server is switched off, so these rules do nothing. Our staff can switch it on."
    ),
    "adapter": Sentence(
        "The network adapter of this server is not filtered, so these rules do nothing. Our staff can mend it."
    ),
    "cluster": Sentence(
        "The firewall is switched off on our side, so these rules do nothing. Our staff can switch it on."
    ),
    "node": Sentence(
        "The firewall of this server's host is switched off, so these rules do nothing. Our staff can switch it on."
    ),
    "engine": Sentence(
        "The firewall of this server's host is being changed over. Rules can be looked at and not changed meanwhile."
    ),
}
ENDINGS = {
    "undone": Sentence("The change on trial was not confirmed, so it has been taken back."),
    "failed": Sentence("Your last change was not made. Below it is as it is now."),
    "firewall_changed": edits.CHANGED,
    "vm_absent": Sentence(
        "Your server is not there any more, so its firewall was left as it was. Our staff has been told."
    ),
    "kept": Sentence("The change on trial could not be taken back: somebody else has changed the firewall meanwhile."),
}


# -- the page -------------------------------------------------------------------------------------
def view(service: Service, limit: int, port: int, reads: Reads, store: Store, driver: Driver) -> dict[str, Any]:
    """{firewall, count, limit, off, change, ending, problem, open}: a problem is a sentence for people, and
    nothing else is known then. `off` is why nothing is filtered, `change` the open record with `seconds` left of a
    trial."""
    row = store.firewall_change(service.id)
    shown: dict[str, Any] = {
        "limit": limit,
        "change": _shown(row, store),
        "ending": _ending(row, store.clock.now()),
        "failed": False,
    }
    if not service.provisioned:
        return {**shown, "firewall": None, "problem": NOT_BUILT}
    try:
        now = _read(service, reads, store, driver)
    except VmbridgeError as e:
        return {**shown, "firewall": None, "problem": sentence(e), "failed": True}
    return {
        **shown,
        "firewall": now,
        "count": own_rules(now.rules),
        "off": off(service, now, store),
        "open": ways.open_to_any(now, port, driver.firewall_services, addresses_of(service, store)),
        "problem": "",
    }


def _read(service: Service, reads: Reads, store: Store, driver: Driver) -> Firewall:
    def once() -> Firewall:
        with reads.turn_of(service, driver, store):
            return driver.firewall(service.ref)

    key = (service.id, service.client_id, "firewall", service.vm_id, store.edits(service.id))
    return reads.shared(key, SEEN, once, whose(service))


def dropped(service: Service, reads: Reads, store: Store, driver: Driver) -> list[Dropped]:
    """What was stopped lately. Raises VmbridgeError."""

    def once() -> list[Dropped]:
        with reads.turn_of(service, driver, store):
            return driver.firewall_log(service.ref)

    return reads.shared((service.id, service.client_id, "firewall log", service.vm_id), SEEN, once, whose(service))


def own_rules(rules: Collection[Rule]) -> int:
    return sum(not r.locked for r in rules)


def off(service: Service, now: Firewall, store: Store) -> str:
    """Why nothing is filtered, as people read it; empty when it is, or nobody has looked yet."""
    switches, _ = store.firewall_switches(service.server)
    word = switches.get(service.node, switches.get("", "")) or now.off
    return OFF[word] if word else ""


def addresses_of(service: Service, store: Store) -> tuple[str, ...]:
    own = [str(r["address"]) for r in store.addresses_of(service.id)]
    return tuple(dict.fromkeys([*own, *service.birth.addresses]))


def _shown(row: FirewallRow | None, store: Store) -> dict[str, Any] | None:
    """An open change: its phase, and how long a trial goes on."""
    if row is None or row["phase"] in ("undone", "failed") or (row["phase"] == "writing" and not row["begun"]):
        return None
    over = row["phase"] == "trial" and row["due_at"] <= store.clock.now()
    return {
        "phase": "undoing" if over else row["phase"],
        "until": row["due_at"],
        "seconds": max(0.0, row["due_at"] - store.clock.now()),
    }


def _ending(row: FirewallRow | None, now: float) -> str:
    """How the last change ended, for a day; what the customer took back needs no word."""
    if row is None or row["phase"] not in ("undone", "failed") or row["error"] == BY_CUSTOMER:
        return ""
    return (ENDINGS.get(row["error"]) or ENDINGS[row["phase"]]) if now - row["due_at"] <= TOLD_FOR else ""


# -- writing --------------------------------------------------------------------------------------
Make = Callable[[Firewall], Edit]
NOBODY = Sentence("Nobody would be let in by %(way)s")
NOBODY_BY = Sentence("Nobody would be let in by %(way)s over IPv%(n)d")
NOT_YOU = Sentence("Your own address %(address)s would not be let in by %(way)s")
WAYS = {22: Sentence("SSH"), 3389: Sentence("Remote Desktop")}
PORT = Sentence("port %(n)d")


@dataclass(frozen=True)
class Entries:
    """The ports by which the customer comes in, the chief one first, and the address that asks, where it is known."""

    ports: tuple[int, ...] = ways.PORTS
    viewer: str = ""


def entries_of(service: Service, ports: Sequence[int], viewer: str = "") -> Entries:
    """Of a server of this service, whose plan has `ports`: a Windows is entered by Remote Desktop."""
    windows = service.package.template.lower().startswith("win")
    return Entries(tuple(sorted(ports, key=lambda p: (p == RDP) != windows)), viewer)


def way_of(port: int) -> Sentence:
    return WAYS.get(port) or Sentence(PORT.template, n=port)


def said_of(shut: ways.Shut) -> Sentence:
    way = way_of(shut.port)
    if shut.address:
        return Sentence(NOT_YOU.template, address=shut.address, way=way)
    return Sentence(NOBODY_BY.template, way=way, n=shut.family) if shut.family else Sentence(NOBODY.template, way=way)


CLOSING = "closes_the_way_in"


@dataclass(frozen=True)
class Asked:
    """What a form says beside its edit: which firewall it showed, whether its customer is `sure`, who that is."""

    version: str
    sure: bool = False
    by: str = ""
    entries: Entries = Entries()


def change(service: Service, make: Make, asked: Asked, reads: Reads, store: Store, driver: Driver) -> bool:
    """Make an edit of the firewall as the customer saw it. Returns whether it is on trial. Raises Refused with what
    the page says, with code CLOSING where nobody, or not who asks, would be let in by the chief of the entries
    afterwards and the customer is not sure; nothing is written then."""
    try:
        with reads.edit_of(service, driver, store):
            for _ in range(TRIES):
                seen, now = store.edits(service.id), driver.firewall(service.ref)
                if why := off(service, now, store):
                    raise Refused(why, code="firewall_off")
                if asked.version != now.version:
                    raise Conflict()
                trial = _begun(service, make(now), now, seen, asked, store, driver)
                if trial is not None:
                    return trial
            raise Refused(ANOTHER, code="change_open")
    except (RequestError, StoreUnavailable):
        raise
    except VmbridgeError as e:
        raise Refused(not_done(e), code=e.code, detail=e.detail) from None
    finally:
        store.edited(service.id)


def _begun(
    service: Service, edit: Edit, now: Firewall, seen: int, asked: Asked, store: Store, driver: Driver
) -> bool | None:
    """Whether it is on trial; False also where nothing changes, None where another change began or ended since `now`
    was read, with nothing done. Raises Refused for a change that would shut somebody out and is not said to be meant,
    and while another one is open."""
    wanted = edits.applied(edit, now)
    if same(now, wanted):
        return False
    trial = _on_trial(service, now, wanted, asked, store, driver)
    number = store.begin_firewall(service.id, edit, edits.undoing(edit, now) if trial else None, LEASE, asked.by, seen)
    if number == CHANGED:
        return None
    if not number:
        row = store.firewall_change(service.id)
        raise Refused(ON_TRIAL if row and row["phase"] == "trial" else ANOTHER, code="change_open")
    try:
        _first_try(service, edit, now, number, trial, store, driver)
    except StoreUnavailable as e:
        row = store.firewall_change(service.id)
        if not row or row["number"] != number or not row["begun"]:
            raise
        raise Refused(BACK_UNSAVED if trial else UNSAVED, code="going_on", detail=e.detail) from None
    return trial


def _on_trial(service: Service, now: Firewall, wanted: Firewall, asked: Asked, store: Store, driver: Driver) -> bool:
    """Whether it might close a way in. Raises Refused where it shuts somebody out and that is not said to be meant."""
    own, entries, known = addresses_of(service, store), asked.entries, driver.firewall_services
    if not ways.closes(now, wanted, known, own, entries.ports):
        return False
    shut = None if asked.sure else ways.shuts(now, wanted, known, own, entries.ports, entries.viewer)
    if shut:
        raise Refused(said_of(shut), code=CLOSING, port=shut.port, mine=bool(shut.address))
    return True


def _first_try(
    service: Service, edit: Edit, now: Firewall, number: int, trial: bool, store: Store, driver: Driver
) -> None:
    """While somebody waits. What may have been written is left to the worker; what surely was not leaves nothing
    behind."""
    try:
        carry_out(service, edit, number, store, driver, now)
    except LeaseLost:
        raise Refused(ANOTHER, code="change_open") from None
    except VmbridgeError as e:
        log.warning("firewall_not_written", service=service.service_id, code=e.code, detail=e.detail)
        row = store.firewall_change(service.id)
        if not row or not row["begun"]:
            store.forget_firewall(service.id, number)
            raise
        if isinstance(e, Conflict):
            store.forget_firewall(service.id, number)
            raise
        lost = isinstance(e, Unknown)
        if not lost and not (isinstance(e, UpstreamError) and e.retryable) and _untouched(service, now, driver):
            store.forget_firewall(service.id, number)
            said = RULE_NOT_TAKEN if e.code == "upstream_parameter" else not_done(e)
            raise Refused(said, code=e.code, detail=e.detail, field=e.extra.get("field", "")) from None
        store.firewall_later(service.id, number, LOST_REPLY if lost else FIRST, e.code)
        raise Refused(BACK_BY_ITSELF if trial else GOING_ON, code="going_on", detail=e.detail) from None
    store.firewall_written(service.id, number, TRIAL if trial else 0.0)


def _untouched(service: Service, before: Firewall, driver: Driver) -> bool:
    """Whether a refused change has left all as it was; false when nobody can tell."""
    try:
        return same(driver.firewall(service.ref), before)
    except VmbridgeError:
        return False


def keep(service: Service, until: float, store: Store, viewer: str = "") -> None:
    """The change stays whose trial ends at `until`, also when that is said twice. Raises Refused when it was taken back
    already, where another is on trial, which that page did not show, and where it is said through the server itself:
    a connection that was open goes on, whatever is closed now."""
    if viewer and any(ways.of_one_host(viewer, own) for own in addresses_of(service, store)):
        raise Refused(FROM_INSIDE, code="from_inside")
    if not store.keep_firewall(service.id, until):
        _refuse_of_another(service, until, store)
        row = store.firewall_change(service.id)
        if row is not None and row["phase"] in ("undone", "undoing", "trial"):
            raise Refused(TOO_LATE, code="too_late")
        if until <= store.clock.now():  # kept or not: later changes have left no trace of it
            raise Refused(TRIAL_OVER, code="trial_over")


def _refuse_of_another(service: Service, until: float, store: Store) -> None:
    row = store.firewall_change(service.id)
    if row and row["phase"] == "trial" and row["due_at"] != until and row["due_at"] > store.clock.now():
        raise Refused(ANOTHER_TRIAL, code="another_trial")


def take_back(service: Service, until: float, reads: Reads, store: Store, driver: Driver) -> None:
    """Undo the trial that ends at `until` now; where the host cannot do so at once, the worker goes on."""
    row = store.take_back_firewall(service.id, until, LEASE)
    if row is None:
        _refuse_of_another(service, until, store)
        return
    try:
        with reads.edit_of(service, driver, store):
            go_on(row, service, store, driver)
    except StoreUnavailable as e:
        raise Refused(BACK_UNSAVED, code="going_on", detail=e.detail) from None
    except VmbridgeError as e:
        store.firewall_later(service.id, int(row["number"]), 0.0, e.code)
        raise Refused(not_done(e), code=e.code, detail=e.detail) from None
    done = store.firewall_change(service.id)
    if done and done["phase"] == "undone" and not done["error"]:
        store.firewall_ended(service.id, int(row["number"]), "undone", BY_CUSTOMER)


# -- the edits that a page can ask for --------------------------------------------------------------
def add(rule: Rule, limit: int) -> Make:
    def make(now: Firewall) -> Edit:
        have = own_rules(now.rules)
        if have >= limit:
            raise Refused(Sentence(FULL.template, n=have, m=limit), code="too_many_rules")
        return edits.add(now, rule)

    return make


def put(number: int, rule: Callable[[Rule], Rule]) -> Make:
    return lambda now: edits.put(now, own(now, number), rule(now.rules[number]))


def drop(number: int) -> Make:
    return lambda now: edits.drop(now, own(now, number))


def move(number: int, to: int) -> Make:
    def make(now: Firewall) -> Edit:
        own(now, number)
        target = max(0, min(to, len(now.rules) - 1))
        low, high = sorted((number, target))
        if any(r.locked for r in now.rules[low : high + 1]):
            raise Refused(ACROSS, code="across_locked")
        return edits.move(now, number, target)

    return make


def settings(**to: Any) -> Make:
    return lambda now: edits.settings(now, **to)


def own(now: Firewall, number: int) -> int:
    """The place of a rule that the customer may change. Raises Refused."""
    if not 0 <= number < len(now.rules):
        raise Refused(GONE, code="rule_gone")
    if now.rules[number].locked:
        raise Refused(LOCKED, code="rule_locked")
    return number
