"""What it all costs in a year, month, week, day and hour. A year is 12 months and 8,760 hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from bridge.accounts.nouns import ACTIVE, SUSPENDED, Account, Line
from bridge.costs.taxes import taxes_of


@dataclass(frozen=True)
class Rate:
    """Exact; whoever shows it rounds it."""

    year: Fraction = Fraction(0)

    @property
    def month(self) -> Fraction:
        return self.year / 12

    @property
    def week(self) -> Fraction:
        return self.year * 7 / 365

    @property
    def day(self) -> Fraction:
        return self.year / 365

    @property
    def hour(self) -> Fraction:
        return self.year / 8760


@dataclass(frozen=True)
class Costs:
    """`running` is "your cost". `apart`: what does not recur. `taxed`: whether tax is in."""

    running: Rate
    suspended: Rate
    ending: Rate
    apart: tuple[Line, ...]
    taxed: bool


def is_running(line: Line) -> bool:
    return line.status == ACTIVE and not line.ending and line.months > 0


def is_suspended(line: Line) -> bool:
    return line.status == SUSPENDED and not line.ending and line.months > 0


def is_ending(line: Line) -> bool:
    return line.ending and line.months > 0


def with_tax(account: Account) -> bool:
    """As it was asked for; else as the host's prices are."""
    return account.ask.tax == "with" if account.ask.tax else account.settings.inclusive


def rate(account: Account, lines: Iterable[Line], taxed: bool) -> Rate:
    """Of all lines together, whatever their status."""
    taxes, sums = taxes_of(account), defaultdict[int, Decimal](Decimal)
    for line in lines:
        if line.months:
            charge = taxes.charge(line, line.amount)
            sums[line.months] += charge.gross if taxed else charge.net
    years = [_yearly(total, months) for months, total in sums.items()]
    return Rate(sum(years[1:], years[0]) if years else Fraction(0))


def _yearly(total: Decimal, months: int) -> Fraction:
    top, bottom = total.as_integer_ratio()
    return Fraction(top * 12, bottom * months)


def costs(account: Account) -> Costs:
    taxed, lines = with_tax(account), account.lines
    return Costs(
        running=rate(account, filter(is_running, lines), taxed),
        suspended=rate(account, filter(is_suspended, lines), taxed),
        ending=rate(account, filter(is_ending, lines), taxed),
        apart=tuple(line for line in lines if not line.months and line.status in (ACTIVE, SUSPENDED)),
        taxed=taxed,
    )
