"""Does a name lead back to its address? A hint for the customer's page, by the system's resolver; never in a request,
never in the way."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver
import structlog

from bridge.store import Store

log = structlog.get_logger()
SECONDS = 2.0  # for one answer
ASKED = 7 * 86400.0  # a page that was not seen for so long wants to know nothing
FRESH = 86400.0  # how long one look at the page counts as asking
MANY = 20  # names in one turn
PORT, TRIES, CUTS = 53, 3, 8  # of the servers of a zone above ours: those asked, and cuts followed
# seconds until the next look: at a name that leads there, that does not yet, that could not be looked up
YES, NO, LATER = 86400.0, 600.0, 120.0
Resolve = Callable[[str, str], list[str]]


def in_ascii(name: str) -> str:
    """A name in letters of any language as DNS has it (RFC 5891); empty where it cannot have it."""
    try:
        return dns.name.from_text(name, idna_codec=dns.name.IDNA_2008_Practical).to_text(omit_final_dot=True)
    except (dns.exception.DNSException, UnicodeError):
        return ""


def resolve(name: str, kind: str) -> list[str]:
    """The addresses that a name has. Raises LookupError when nobody answers in time."""
    return _found(f"{name}.", kind, SECONDS)


def _found(name: str, kind: str, seconds: float) -> list[str]:
    """By the system's resolver; none where there is no such name."""
    try:
        answer = dns.resolver.resolve(name, kind, lifetime=seconds, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError, ValueError) as e:
        raise LookupError(type(e).__name__) from None
    return [r.to_text().rstrip(".") for r in answer.rrset or ()]


def servers_of(zone: str) -> list[str]:
    """The name servers to which the zone above gives a zone; none where it gives it to nobody. The servers of that zone
    are asked: the system's resolver may keep the zone itself, and the zone says only what it thinks. Where they cannot
    be asked, what the resolver says. Raises LookupError."""
    try:
        return _delegated(dns.name.from_text(zone))
    except (LookupError, dns.exception.DNSException, OSError, ValueError) as e:
        log.info("parent_not_asked", zone=zone, error=type(e).__name__)
        return _found(f"{zone}.", "NS", 2 * SECONDS)


def _delegated(zone: dns.name.Name) -> list[str]:
    """By the servers of the zone above, and of each on the way from there."""
    names = _found(dns.resolver.zone_for_name(zone.parent()).to_text(), "NS", SECONDS)
    for _ in range(CUTS):
        reply = _asked(zone, names)
        by_zone = {s.name: s for s in (*reply.answer, *reply.authority) if s.rdtype == dns.rdatatype.NS}
        if not by_zone:
            return []
        names = [r.target.to_text().rstrip(".") for r in next(iter(by_zone.values()))]
        if zone in by_zone:
            return names
    raise LookupError("TooManyCuts")


def _asked(zone: dns.name.Name, servers: list[str]) -> dns.message.Message:
    """What one of some servers says of a zone's NS by itself."""
    query = dns.message.make_query(zone, "NS", flags=0)
    for name in servers[:TRIES]:
        for address in resolve(name, "A")[:1] or resolve(name, "AAAA")[:1]:
            try:
                reply = dns.query.udp(query, address, timeout=SECONDS, port=PORT)
            except (dns.exception.DNSException, OSError):
                continue
            if reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return reply
    raise LookupError("NoAnswer")


def hint(name: str, address: str, store: Store) -> str:
    """yes, no, or empty while it is not known."""
    return store.ask_lookup(name.lower(), address, FRESH) if name else ""


def look_due(store: Store, find: Resolve = resolve, many: int = MANY) -> int:
    """The looks that are due; how many were made. Where the resolver itself does not answer, the rest waits."""
    rows = store.lookups_due(store.clock.now() - ASKED, many)
    for n, row in enumerate(rows, 1):
        at = ip_address(row["address"])
        try:
            seen = {ip_address(a) for a in find(row["name"], "AAAA" if at.version == 6 else "A")}
        except LookupError as e:
            log.info("name_not_looked_up", name=row["name"], error=str(e))
            store.looked_up(row["name"], row["address"], row["answer"], LATER)
            if n >= 3 and all(r["answer"] == "" for r in rows[:n]):
                return n
            continue
        answer = "yes" if at in seen else "no"
        store.looked_up(row["name"], row["address"], answer, YES if answer == "yes" else NO)
    return len(rows)
