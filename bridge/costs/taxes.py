"""Group discount and tax of what is charged. Taxes are rounded to the cent, each level by itself; where WHMCS adds an
invoice's taxed items up first, so does `Taxes.invoice`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from bridge.accounts.nouns import DOMAIN, Account, Line
from bridge.costs.money import ZERO, rounded


@dataclass(frozen=True)
class Charge:
    """net + tax = gross; `taxes` are those of each level."""

    net: Decimal
    taxes: tuple[Decimal, Decimal]

    @property
    def tax(self) -> Decimal:
        return self.taxes[0] + self.taxes[1]

    @property
    def gross(self) -> Decimal:
        return self.net + self.tax


class Taxes:
    """The client's taxes and discount."""

    def __init__(self, account: Account) -> None:
        own, levels = account.settings, {r.level: Fraction(r.percent) / 100 for r in account.rates}
        self.first, self.second = levels.get(1, Fraction(0)), levels.get(2, Fraction(0))
        self.compound, self.inclusive, self.each_line = own.compound, own.inclusive, own.tax_each_line
        self.on, self.exempt, self.deduct = own.taxed, account.client.exempt, own.deduct
        self.domains = own.tax_domains
        self.left = (100 - Fraction(account.client.discount)) / 100
        self.total = (
            (1 + self.first) * (1 + self.second) if self.compound else 1 + self.first + self.second
        )  # of a net price

    def applies(self, line: Line) -> bool:
        return self.on and (self.domains if line.kind == DOMAIN else line.taxed)

    def price(self, amount: Decimal, taxed: bool) -> Decimal:
        """What the invoice's item says: the group's discount is taken off, and of inclusive prices the tax that an
        exempt client does not pay."""
        if self.left == 1 and not (taxed and self.exempt and self.deduct):
            return amount
        exact = Fraction(amount) * self.left
        if taxed and self.inclusive and self.exempt and self.deduct:
            exact /= self.total
        return rounded(exact)

    def of(self, price: Decimal, taxed: bool) -> Charge:
        """One item on an invoice of its own."""
        if not taxed or self.exempt or self.total == 1:
            return Charge(price, (ZERO, ZERO))
        if not self.inclusive:
            first = rounded(Fraction(price) * self.first)
            second = rounded(Fraction(price + first if self.compound else price) * self.second)
            return Charge(price, (first, second))
        net = Fraction(price) / self.total
        first = rounded(net * self.first)
        second = rounded((net * (1 + self.first) if self.compound else net) * self.second)
        return Charge(price - first - second, (first, second))

    def charge(self, line: Line, amount: Decimal) -> Charge:
        taxed = self.applies(line)
        return self.of(self.price(amount, taxed), taxed)

    def invoice(self, items: Sequence[tuple[Line, Decimal]]) -> list[Charge]:
        """The items of one invoice, whose taxes add up to the invoice's: where it is rounded once, each item has the
        share by which it raises the sum."""
        if self.each_line or len(items) == 1:
            return [self.charge(line, amount) for line, amount in items]
        found, so_far, before = [], ZERO, Charge(ZERO, (ZERO, ZERO))
        for line, amount in items:
            taxed = self.applies(line)
            price = self.price(amount, taxed)
            if not taxed:
                found.append(Charge(price, (ZERO, ZERO)))
                continue
            so_far += price
            now = self.of(so_far, True)
            first, second = now.taxes[0] - before.taxes[0], now.taxes[1] - before.taxes[1]
            found.append(Charge(now.net - before.net, (first, second)))
            before = now
        return found
