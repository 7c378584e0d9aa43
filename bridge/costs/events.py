"""What will be charged, and when credit is taken for it: on the day on which WHMCS makes the invoice."""

from __future__ import annotations

import calendar
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from bridge.accounts.nouns import ACTIVE, ADDON, DOMAIN, HOSTING, SUSPENDED, Account, Invoice, Line
from bridge.costs.metered import Forecast, Used, forecasts
from bridge.costs.money import ZERO
from bridge.costs.taxes import Charge, Taxes, taxes_of

USAGE = "Usage"  # of an event: what a renewal has beside its price
SETTLED = (
    "paid",
    "unpaid",
    "paymentpending",
    "collections",
)  # a period that stands in one of these is not charged anew
OFFERS = ("AddFunds", "Invoice")  # items of invoices that are no debt: a top-up, others' invoices paid together
KINDS = {**dict.fromkeys(("Domain", "DomainRegister", "DomainTransfer"), DOMAIN), "Hosting": HOSTING, "Addon": ADDON}
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
FARTHEST = 3 * 366  # days that are looked ahead


class Event(NamedTuple):
    """A charge to come. `kind`: the line's, or USAGE; `taken`: when its invoice is made and credit is taken; `after`:
    an open invoice that has to be paid before WHMCS makes the next (0 = none); `about`: it is a forecast."""

    kind: str
    line: Line
    due: date
    taken: date
    charge: Charge
    after: int = 0
    about: bool = False

    @property
    def gross(self) -> Decimal:
        return self.charge.gross

    @property
    def key(self) -> tuple[str, int, date]:
        """(kind, line, day due): what stays the same when it is computed again."""
        return self.kind, self.line.id, self.due


def later(day: date, months: int) -> date:
    """So many months later, on the month's last day where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, LENGTHS[month] + (month == 1 and calendar.isleap(year))))


def notice(account: Account, line: Line) -> int:
    """Days before the due day on which the invoice is made."""
    own = account.settings
    return own.domain_days if line.kind == DOMAIN else own.days_before.get(line.months, own.days_before.get(0, 14))


def recurs(line: Line) -> bool:
    """WHMCS will charge it again."""
    alive = (ACTIVE,) if line.kind == DOMAIN else (ACTIVE, SUSPENDED)
    return line.status in alive and line.months > 0 and line.due is not None and not line.ending


def open_invoices(account: Account) -> tuple[Invoice, ...]:
    """What is owed: neither top-ups nor invoices that hold other invoices."""
    return tuple(i for i in account.open if not any(item.kind in OFFERS for item in i.items))


def settled(account: Account) -> set[tuple[str, int, date]]:
    """Periods that have an invoice."""
    items = [*account.past, *(item for invoice in account.open for item in invoice.items)]
    return {
        (KINDS[i.kind], i.of, i.due) for i in items if i.due is not None and i.kind in KINDS and i.status in SETTLED
    }


Bare = tuple[date, date, str, int, Line, Decimal, int]  # taken, due, kind, id, line, amount, after


def events(account: Account, days: int, used: Mapping[tuple[int, str], Used] | None = None) -> list[Event]:
    """Everything taken from today until so many days from now, by day taken, day due and line."""
    known = account.memo.get("events")
    if known is None or known[0] < days or known[1] is not used:
        last = account.today + timedelta(days)
        bare = sorted(_bare(account, last, used or {}), key=lambda b: b[:4])
        known = account.memo["events"] = days, used, list(_charged(bare, taxes_of(account)))
    all_events, last = known[2], account.today + timedelta(days)
    return list(all_events[: bisect_right(all_events, last, key=lambda e: e.taken)])


def _charged(bare: list[Bare], taxes: Taxes) -> Iterator[Event]:
    """What is due on one day and invoiced on one day stands on one invoice."""
    for (taken, due), group in groupby(bare, key=lambda b: b[:2]):
        own = list(group)
        charges = taxes.invoice([(line, amount) for _, _, _, _, line, amount, _ in own])
        for (_, _, kind, _, line, _, after), charge in zip(own, charges, strict=True):
            if charge.gross > 0:
                yield Event(kind, line, due, taken, charge, after, kind == USAGE)


def _bare(account: Account, last: date, used: Mapping[tuple[int, str], Used]) -> Iterator[Bare]:
    """What is charged, before discount and tax."""
    today, done = account.today, settled(account)
    waits = {} if account.settings.continuous else _unpaid(account)
    usage = forecasts(account.metered, used, today)
    for line in account.lines:
        if not recurs(line) or line.due is None:
            continue
        before, of_usage = timedelta(notice(account, line)), _usage(usage, line)
        step, due, after = 0, line.due, waits.get(line.key, 0)
        while (taken := max(due - before, today)) <= last:
            if (line.kind, line.id, due) not in done:
                amount = line.first if not step and line.registered == line.due else line.amount
                if amount > 0:
                    yield taken, due, line.kind, line.id, line, amount, after
                if of_usage > 0:
                    yield taken, due, USAGE, line.id, line, of_usage, after
                of_usage = ZERO
            step += 1
            due = later(line.due, step * line.months)


def _usage(forecast_of: Mapping[int, list[Forecast]], line: Line) -> Decimal:
    """What a service's use may cost at most, by the forecast."""
    own = forecast_of.get(line.id, []) if line.kind == HOSTING else []
    return sum((f.high for f in own if f.high is not None), ZERO)


def _unpaid(account: Account) -> dict[tuple[str, int], int]:
    return {
        (KINDS[item.kind], item.of): invoice.id
        for invoice in sorted(open_invoices(account), key=lambda i: -i.id)
        for item in invoice.items
        if item.kind in KINDS
    }
