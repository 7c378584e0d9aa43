"""Families with their counters, the list of what a client has, and what needs attention."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from bridge.accounts.nouns import ACTIVE, DOMAIN, HOSTING, SUSPENDED, Account, Family, Line, NotCounted, Owned
from bridge.costs.events import KINDS, open_invoices, recurs
from bridge.costs.rates import rate, with_tax

SOON = 30  # days
LATE = ("grace", "redemption")


@dataclass(frozen=True)
class Attention:
    """What somebody should look at. `code`: suspended (values reason, invoice), overdue (invoice, number, due,
    balance), domain_late (status), domain_ends (on), card_expired (expires, on); of services of ours, given by the
    caller: failed, quota (what, used, sold), no_backup and whatever it names. `kind`, `id`: of the line, "" and 0 where
    it is about the account."""

    code: str
    kind: str = ""
    id: int = 0
    name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, int]:
        """(kind, id) of the line it is about."""
        return self.kind, self.id


@dataclass(frozen=True)
class Counters:
    """What an end is requested of is `ending` and neither active nor suspended; `attention` counts across them."""

    total: int = 0
    active: int = 0
    suspended: int = 0
    ending: int = 0
    attention: int = 0


@dataclass(frozen=True)
class Listed:
    """A row of the list. `line` is None, and `missed` says why, where its price is not counted. `month` is exact and
    with tax as it was asked for; None where nothing recurs or is known. `next`: the day of the next charge or of the
    end."""

    owned: Owned
    line: Line | None
    missed: NotCounted | None
    month: Fraction | None
    next: date | None
    attention: tuple[Attention, ...] = ()


def attention(account: Account, ours: Iterable[Attention] = ()) -> list[Attention]:
    """Suspended first, then what is late, domains, cards, and what the bridge knows of services of ours."""
    noticed = [*_suspended(account), *_overdue(account), *_domains(account), *_cards(account)]
    known = {o.key for o in map(_named, account.owned)}
    return noticed + [a for a in ours if a.key in known]


def _named(owned: Owned) -> Attention:
    return Attention("", owned.kind, owned.id)


def _invoice_of(account: Account) -> dict[tuple[str, int], int]:
    """The oldest open invoice of each line."""
    oldest: dict[tuple[str, int], int] = {}
    for invoice in sorted(open_invoices(account), key=lambda i: (i.due or date.max, i.id)):
        for item in invoice.items:
            if item.kind in KINDS and invoice.balance > 0:
                oldest.setdefault((KINDS[item.kind], item.of), invoice.id)
    return oldest


def _suspended(account: Account) -> Iterable[Attention]:
    invoices, reasons = _invoice_of(account), {line.key: line.reason for line in account.lines}
    for o in account.owned:
        if o.status == SUSPENDED:
            values = {"reason": reasons.get((o.kind, o.id), ""), "invoice": invoices.get((o.kind, o.id), 0)}
            yield Attention("suspended", o.kind, o.id, o.name, values)


def _overdue(account: Account) -> Iterable[Attention]:
    for invoice in sorted(open_invoices(account), key=lambda i: (i.due or date.max, i.id)):
        if invoice.due is not None and invoice.due < account.today and invoice.balance > 0:
            own = next(((KINDS[i.kind], i.of) for i in invoice.items if i.kind in KINDS), ("", 0))
            name = next((o.name for o in account.owned if (o.kind, o.id) == own), "")
            values = {"invoice": invoice.id, "number": invoice.number, "due": invoice.due, "balance": invoice.balance}
            yield Attention("overdue", *(own if name else ("", 0)), name, values)


def _domains(account: Account) -> Iterable[Attention]:
    for o in account.owned:
        if o.kind == DOMAIN and o.status in LATE:
            yield Attention("domain_late", DOMAIN, o.id, o.name, {"status": o.status})
    for line in account.lines:
        if line.kind == DOMAIN and line.ending and line.ends and line.ends <= account.today + timedelta(SOON):
            yield Attention("domain_ends", DOMAIN, line.id, line.name, {"on": line.ends})


def _cards(account: Account) -> Iterable[Attention]:
    """Where no way to pay that is kept is good for the next charge."""
    days = [line.due for line in account.lines if recurs(line) and line.due and line.amount]
    ends = [_end_of(method.expires) for method in account.paymethods]
    lasting = [end for end in ends if end is not None]
    if days and lasting and len(lasting) == len(ends) and max(lasting) < (on := max(min(days), account.today)):
        last = max(m.expires for m in account.paymethods)
        yield Attention("card_expired", values={"expires": last, "on": on})


def _end_of(month: str) -> date | None:
    """The last day of "2027-03"; None where it does not expire or cannot be read."""
    year, _, number = month.partition("-")
    if not (year.isdecimal() and number.isdecimal() and len(year) == 4 and 1 <= int(number) <= 12 and int(year)):
        return None
    return date(int(year), int(number), calendar.monthrange(int(year), int(number))[1])


def counters(account: Account, ours: Iterable[Attention] = (), family: str = "") -> Counters:
    """Of everything owned, or of one family."""
    noticed = {a.key for a in attention(account, ours)}
    own = [o for o in account.owned if not family or o.family == family]
    return Counters(
        len(own),
        sum(_fits("active", o, ()) for o in own),
        sum(_fits("suspended", o, ()) for o in own),
        sum(_fits("ending", o, ()) for o in own),
        sum((o.kind, o.id) in noticed for o in own),
    )


def families(account: Account, ours: Iterable[Attention] = ()) -> list[tuple[Family, Counters]]:
    """In the host's order. Their counters add up to those of the whole account."""
    noticed = {a.key for a in attention(account, ours)}
    sums = {f.key: [0, 0, 0, 0, 0] for f in account.families}
    for o in account.owned:
        own = sums[o.family]
        states = (_fits(show, o, ()) for show in ("active", "suspended", "ending"))
        for n, fits in enumerate((True, *states, (o.kind, o.id) in noticed)):
            own[n] += fits
    return [(f, Counters(*sums[f.key])) for f in account.families]


def listed(account: Account, ours: Iterable[Attention] = ()) -> list[Listed]:
    """What was asked for by `ask.show` and `ask.family`, by `ask.by`: name, cost (most a month first) or next (day)."""
    noticed: dict[tuple[str, int], list[Attention]] = {}
    for a in attention(account, ours):
        noticed.setdefault(a.key, []).append(a)
    of_services: dict[int, list[Line]] = {}
    lines = {line.key: line for line in account.lines}
    missed = {(_KIND[m.row], m.id): m for m in account.not_counted if m.row in _KIND}
    for each in account.lines:
        if each.parent:
            of_services.setdefault(each.parent, []).append(each)
    rows = []
    for o in account.owned:
        own = tuple(noticed.get((o.kind, o.id), ()))
        if _fits(account.ask.show, o, own) and account.ask.family in ("", o.family):
            line = lines.get((o.kind, o.id))
            addons = of_services.get(o.id, []) if o.kind == HOSTING else []
            missing = missed.get((o.kind, o.id))
            rows.append(_listed(account, o, line, addons, missing, own))
    return sorted(rows, key=_ORDERS[account.ask.by])


_KIND = {"services": HOSTING, "domains": DOMAIN}


def _fits(show: str, o: Owned, noticed: tuple[Attention, ...]) -> bool:
    return {
        "all": True,
        "active": o.status == ACTIVE and not o.ending,
        "suspended": o.status == SUSPENDED and not o.ending,
        "ending": o.ending,
        "attention": bool(noticed),
    }[show]


def _listed(
    account: Account,
    o: Owned,
    line: Line | None,
    addons: list[Line],
    missed: NotCounted | None,
    noticed: tuple[Attention, ...],
) -> Listed:
    """A service with its add-ons."""
    own = [x for x in (line, *addons) if x is not None and x.months]
    month = rate(account, own, with_tax(account)).month if own else None
    following = (line.ends if line.ending else line.due if line.months else None) if line else None
    return Listed(o, line, missed, month, following, noticed)


def _name(row: Listed) -> tuple[Any, ...]:
    return row.owned.name.lower(), row.owned.kind, row.owned.id


_ORDERS: dict[str, Any] = {
    "name": _name,
    "cost": lambda row: (-(row.month or 0), _name(row)),
    "next": lambda row: (row.next or date.max, _name(row)),
}
