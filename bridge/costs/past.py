"""What was charged: the cost of twelve months by family, and what will be charged otherwise than it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import median

from bridge.accounts.nouns import HOSTING, Account, Item, Line
from bridge.costs.events import KINDS, SETTLED, later
from bridge.costs.metered import Used, forecasts
from bridge.costs.money import ZERO, rounded
from bridge.costs.rates import is_running
from bridge.costs.taxes import taxes_of

GONE = "gone"  # the family of what is not owned any more
FEWEST, MOST = 3, 6  # charges that are compared with
SHARE, LEAST = 10, Decimal(1)  # more than a tenth, and more than 1.00
NEW = 30  # days
SHOWN = 3
SLACK = 3  # days between two due days more or less than the cycle


def months(account: Account, count: int = 12) -> list[tuple[str, dict[str, Decimal]]]:
    """("2026-11", family -> what was invoiced), oldest first, this month last, without tax where prices are. What was
    refunded is not in it."""
    first = account.today.replace(day=1)
    by_month: dict[tuple[int, int], dict[str, Decimal]] = {}
    for n in reversed(range(count)):
        by_month[(day := later(first, -n)).year, day.month] = {}
    families = {line.key: line.family for line in account.lines}
    families |= {(o.kind, o.id): o.family for o in account.owned}
    for item in _items(account):
        of_month = by_month.get((item.at.year, item.at.month)) if item.at else None
        if of_month is not None:
            family = families.get((KINDS[item.kind], item.of), GONE)
            of_month[family] = of_month.get(family, ZERO) + item.amount
    return [(f"{year}-{month:02}", sums) for (year, month), sums in by_month.items()]


def _items(account: Account) -> list[Item]:
    """Each once, though an open invoice may have been read as past too."""
    seen, items = set[tuple[int, str, int, date | None, Decimal]](), list[Item]()
    for item in (*account.past, *(i for invoice in account.open for i in invoice.items)):
        key = (item.invoice, item.kind, item.of, item.due, item.amount)
        if item.kind in KINDS and item.status in SETTLED and key not in seen:
            seen.add(key)
            items.append(item)
    return items


@dataclass(frozen=True)
class Anomaly:
    """`new`: it has no past, and is there since `since`; `old` is 0 then. Amounts are of a cycle, before tax; `year`:
    what the difference makes in a year."""

    line: Line
    old: Decimal
    new_amount: Decimal
    year: Fraction
    new: bool = False
    since: date | None = None


def anomalies(account: Account, used: Mapping[tuple[int, str], Used] | None = None) -> list[Anomaly]:
    """Of running lines, at most three, the largest effect in a year first."""
    taxes, by_line = taxes_of(account), dict[tuple[str, int], list[Item]]()
    for item in _items(account):
        by_line.setdefault((KINDS[item.kind], item.of), []).append(item)
    usage = forecasts(account.metered, used or {}, account.today)
    unusual = []
    for line in filter(is_running, account.lines):
        extra = [f.cost for f in usage.get(line.id, ()) if f.cost is not None] if line.kind == HOSTING else []
        price = taxes.price(line.amount, taxes.applies(line)) + sum(extra, ZERO)
        amounts = {price, line.amount + sum(extra, ZERO)} if account.client.discount else {price}
        if odd := _odd(account, line, by_line.get(line.key, []), price, amounts):
            unusual.append(odd)
    return sorted(unusual, key=lambda a: (-abs(a.year), a.line.key))[:SHOWN]


def _odd(account: Account, line: Line, items: list[Item], price: Decimal, alike: set[Decimal]) -> Anomaly | None:
    """`alike`: what the next charge can read as; where one of them is as ever, nothing is odd."""
    recent = line.registered is not None and line.registered >= account.today - timedelta(NEW)
    if not recent and _as_ever(items, alike):
        return None
    charged = _of_cycle(line, items)
    if len(charged) >= FEWEST:
        old = rounded(median(charged[-MOST:]))
        if all(_differs(old, amount) for amount in alike):
            return Anomaly(line, old, price, Fraction(price - old) * 12 / line.months)
        return None
    since = line.registered
    if recent and since is not None and since <= account.today and price >= LEAST:
        return Anomaly(line, ZERO, price, Fraction(price) * 12 / line.months, True, since)
    return None


def _as_ever(items: list[Item], alike: set[Decimal]) -> bool:
    """Each period has one charge, and it is the next one's: most lines are so, and need no closer look."""
    return {i.amount for i in items} <= alike and len({i.due for i in items}) == len(items)


def _differs(old: Decimal, new: Decimal) -> bool:
    return abs(new - old) > max(LEAST, old / SHARE)


def _of_cycle(line: Line, items: list[Item]) -> list[Decimal]:
    """What was charged for periods as long as today's, oldest first: a year's charge is not compared with a month's.
    Items of one period are one charge."""
    periods: dict[date, Decimal] = {}
    for item in items:
        if item.due is not None and (line.due is None or item.due < line.due):
            periods[item.due] = periods.get(item.due, ZERO) + item.amount
    days = sorted(periods)[-MOST:]
    ends = [*days[1:], line.due] if days else []
    return [
        periods[day]
        for day, end in zip(days, ends, strict=True)
        if end is not None and abs((end - later(day, line.months)).days) <= SLACK
    ]
