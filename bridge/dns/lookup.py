"""Does a name lead back to its address? A hint for the customer's page, by the system's resolver; never in a request,
never in the way."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import dns.exception
import dns.resolver
import structlog

from bridge.store import Store

log = structlog.get_logger()
SECONDS = 2.0  # for one answer
ASKED = 7 * 86400.0  # a page that was not seen for so long wants to know nothing
FRESH = 86400.0  # how long one look at the page counts as asking
MANY = 20  # names in one turn
# seconds until the next look: at a name that leads there, that does not yet, that could not be looked up
YES, NO, LATER = 86400.0, 600.0, 120.0
Resolve = Callable[[str, str], list[str]]


def resolve(name: str, kind: str) -> list[str]:
    """The addresses that a name has. Raises LookupError when nobody answers in time."""
    try:
        answer = dns.resolver.resolve(f"{name}.", kind, lifetime=SECONDS, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError, ValueError) as e:
        raise LookupError(type(e).__name__) from None
    return [str(r.address) for r in answer.rrset or ()]


def servers_of(zone: str) -> list[str]:
    """The name servers that the world asks for a zone; none where nobody delegates it. Raises LookupError."""
    try:
        answer = dns.resolver.resolve(f"{zone}.", "NS", lifetime=2 * SECONDS, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN:
        return []
    except (dns.exception.DNSException, OSError, ValueError) as e:
        raise LookupError(type(e).__name__) from None
    return [r.target.to_text(omit_final_dot=True) for r in answer.rrset or ()]


def hint(name: str, address: str, store: Store) -> str:
    """yes, no, or empty while it is not known."""
    return store.ask_look(name.lower(), address, FRESH) if name else ""


def look_due(store: Store, find: Resolve = resolve, many: int = MANY) -> int:
    """The looks that are due; how many were made. Where the resolver itself does not answer, the rest waits."""
    rows = store.looks_due(store.clock.now() - ASKED, many)
    for n, row in enumerate(rows, 1):
        at = ip_address(row["address"])
        try:
            seen = {ip_address(a) for a in find(row["name"], "AAAA" if at.version == 6 else "A")}
        except LookupError as e:
            log.info("name_not_looked_up", name=row["name"], error=str(e))
            store.looked(row["name"], row["address"], row["answer"], LATER)
            if n >= 3 and all(r["answer"] == "" for r in rows[:n]):
                return n
            continue
        answer = "yes" if at in seen else "no"
        store.looked(row["name"], row["address"], answer, YES if answer == "yes" else NO)
    return len(rows)
