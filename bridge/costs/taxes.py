"""Group discount and tax of what is charged. Taxes are rounded to the cent, each level by itself; where WHMCS adds an
invoice's taxed items up first, so does `Taxes.invoice`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, cast

from bridge.accounts.nouns import DOMAIN, Account, Line
from bridge.costs.money import ZERO, share


class Charge(NamedTuple):
    """net + tax = gross; `taxes` are those of each level."""

    net: Decimal
    taxes: tuple[Decimal, Decimal]

    @property
    def tax(self) -> Decimal:
        return self.taxes[0] + self.taxes[1]

    @property
    def gross(self) -> Decimal:
        return self.net + self.tax


def taxes_of(account: Account) -> Taxes:
    taxes = account.memo.get("taxes")
    if taxes is None:
        taxes = account.memo["taxes"] = Taxes(account)
    return cast(Taxes, taxes)


class Taxes:
    """The client's taxes and discount."""

    def __init__(self, account: Account) -> None:
        own, levels = account.settings, {r.level: Fraction(r.percent) / 100 for r in account.rates}
        self.first, self.second = levels.get(1, Fraction(0)), levels.get(2, Fraction(0))
        self.compound, self.inclusive, self.each_line = own.compound, own.inclusive, own.tax_each_line
        self.on, self.exempt, self.deduct = own.taxed, account.client.exempt, own.deduct
        self.domains = own.tax_domains
        self.left = (100 - Fraction(account.client.discount)) / 100
        self._known: dict[tuple[Decimal, bool], Charge] = {}
        self.total = (
            (1 + self.first) * (1 + self.second) if self.compound else 1 + self.first + self.second
        )  # of a net price
        self.untaxed = self.exempt or self.total == 1
        self.full = self.left == 1
        self.as_listed = self.full and not (self.inclusive and self.exempt and self.deduct)

    def applies(self, line: Line) -> bool:
        return self.on and (self.domains if line.kind == DOMAIN else line.taxed)

    def price(self, amount: Decimal, taxed: bool) -> Decimal:
        """What the invoice's item says: the group's discount is taken off, and of inclusive prices the tax that an
        exempt client does not pay."""
        if self.as_listed or (self.full and not taxed):
            return amount
        left = self.left
        if taxed and self.inclusive and self.exempt and self.deduct:
            left /= self.total
        return share(amount, left)

    def of(self, price: Decimal, taxed: bool) -> Charge:
        """One item on an invoice of its own."""
        if not taxed or self.untaxed:
            return Charge(price, (ZERO, ZERO))
        if not self.inclusive:
            first = share(price, self.first)
            second = share(price + first if self.compound else price, self.second) if self.second else ZERO
            return Charge(price, (first, second))
        base = (1 + self.first) if self.compound else Fraction(1)
        first = share(price, self.first / self.total)
        second = share(price, base * self.second / self.total) if self.second else ZERO
        return Charge(price - first - second, (first, second))

    def charge(self, line: Line, amount: Decimal) -> Charge:
        """What it is charged on an invoice of its own."""
        key = amount, self.applies(line)
        charge = self._known.get(key)
        if charge is None:
            charge = self._known[key] = self.of(self.price(*key), key[1])
        return charge

    def invoice(self, items: Sequence[tuple[Line, Decimal]]) -> list[Charge]:
        """The items of one invoice, whose taxes add up to the invoice's: where it is rounded once, each item has the
        share by which it raises the sum."""
        if self.each_line or len(items) == 1:
            return [self.charge(line, amount) for line, amount in items]
        charges, so_far, before = [], ZERO, Charge(ZERO, (ZERO, ZERO))
        for line, amount in items:
            taxed = self.applies(line)
            price = self.price(amount, taxed)
            if not taxed:
                charges.append(Charge(price, (ZERO, ZERO)))
                continue
            so_far += price
            now = self.of(so_far, True)
            first, second = now.taxes[0] - before.taxes[0], now.taxes[1] - before.taxes[1]
            charges.append(Charge(now.net - before.net, (first, second)))
            before = now
        return charges
