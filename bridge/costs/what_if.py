"""What it would cost if a service were cancelled, paid in another cycle or changed to another product. Computed;
nothing is ordered, and what WHMCS credits or asks for at the change itself is not in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from bridge.accounts.nouns import ACTIVE, HOSTING, MONTHS, SUSPENDED, Account, Line
from bridge.costs import credit
from bridge.costs.events import events
from bridge.costs.money import ZERO
from bridge.costs.rates import Rate, rate, with_tax

DAYS = 365
CANCEL = "cancel"


@dataclass(frozen=True)
class WhatIf:
    """Before and after: what the line and its add-ons cost, and what is owed and falls due in a year, less credit.
    `saves` in a year, in `year` exact; below 0 it costs more. `lasts`: until when credit would."""

    line: Line
    now: Rate
    then: Rate
    amount: Decimal  # of a cycle then, without tax where prices are
    need_now: Decimal
    need_then: Decimal
    lasts: credit.Lasts

    @property
    def saves(self) -> Fraction:
        return self.now.year - self.then.year


def line_of(account: Account, service: int) -> Line | None:
    return next((line for line in account.lines if line.key == (HOSTING, service)), None)


def choices(account: Account, line: Line) -> list[tuple[str, int, str]]:
    """(cancel, cycle or product; the product; the cycle) that can be computed, in this order."""
    if line.kind != HOSTING or line.status not in (ACTIVE, SUSPENDED) or line.ending or not line.months:
        return []
    offered = [(CANCEL, line.product, "")]
    own = account.products.get(line.product)
    if own is None or not _listed(account, line):
        return offered
    offered += [("cycle", own.id, c) for c in MONTHS if c in own.cycles and c != line.cycle]
    for to in own.upgrades:
        other = account.products.get(to)
        if other is not None and to != own.id:
            offered += [("product", to, c) for c in MONTHS if c in other.cycles and c == line.cycle]
    return offered


def _listed(account: Account, line: Line) -> bool:
    """Whether it costs what its product does: a price of its own, or options, are not known for another cycle."""
    price = account.products[line.product].cycles.get(line.cycle)
    return price is not None and price * line.qty == line.amount


def what_if(
    account: Account, service: int, cycle: str = "", product: int = 0, used: credit.Usage | None = None
) -> WhatIf | str:
    """Neither cycle nor product: cancelled at the end of its period. Or why it cannot be said: no_service, not_running,
    own_price (it has a price of its own, or options), not_offered."""
    line = line_of(account, service)
    if line is None:
        return "no_service"
    offered = choices(account, line)
    if not offered:
        return "not_running"
    if not cycle and not product:
        return _compare(account, line, replace(line, ending=True, ends=line.due), used)
    cycle, product = cycle or line.cycle, product or line.product
    if not _known(account, line):
        return "own_price"
    if (cycle, product) == (line.cycle, line.product) or not _sold(account, line, product, cycle):
        return "not_offered"
    sold = account.products[product]
    amount = sold.cycles[cycle] * line.qty
    changed = replace(
        line,
        cycle=cycle,
        months=MONTHS[cycle],
        amount=amount,
        first=amount,
        product=product,
        product_name=sold.name,
        family=sold.family,
        taxed=sold.taxed,
    )
    return _compare(account, line, changed, used)


def _known(account: Account, line: Line) -> bool:
    return line.product in account.products and _listed(account, line)


def _sold(account: Account, line: Line, product: int, cycle: str) -> bool:
    own, other = account.products[line.product], account.products.get(product)
    return other is not None and cycle in other.cycles and (product == own.id or product in own.upgrades)


def _due(account: Account, used: credit.Usage | None) -> Decimal:
    """By the day it is due, so that a year has twelve months of each: by the day it is taken the second invoice of a
    yearly service is in it too."""
    end = account.today + timedelta(DAYS)
    return credit.owed(account) + sum(
        (e.gross for e in events(account, DAYS, used) if e.due < end), ZERO - account.client.credit
    )


def _compare(account: Account, line: Line, changed: Line, used: credit.Usage | None) -> WhatIf:
    """The account as it is beside the one where `line` is `changed`; add-ons of a line that ends, end with it."""

    def swapped(other: Line) -> Line:
        if other.key == line.key:
            return changed
        if other.parent == line.id and changed.ending:
            return replace(other, ending=True, ends=changed.ends)
        return other

    after, taxed = replace(account, lines=tuple(map(swapped, account.lines))), with_tax(account)

    def own(of: Account) -> list[Line]:
        return [x for x in of.lines if (x.key == line.key or x.parent == line.id) and not x.ending]

    return WhatIf(
        line,
        rate(account, own(account), taxed),
        rate(after, own(after), taxed),
        ZERO if changed.ending else changed.amount,
        _due(account, used),
        _due(after, used),
        credit.lasts(after, used),
    )
