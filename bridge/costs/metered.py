"""What is billed by use: how much it will be by the month's end, and what that costs."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from statistics import median

from bridge.accounts.nouns import Metered
from bridge.costs.money import rounded


@dataclass(frozen=True)
class Used:
    """What the bridge has counted: of the month so far, and of each of the last full days, at most 7, in the metric's
    unit."""

    month: Decimal
    days: Sequence[Decimal] = ()


@dataclass(frozen=True)
class Forecast:
    """Of the whole month: units, and what they cost without tax; None where no price is known."""

    metric: Metered
    units: Decimal
    low_units: Decimal
    high_units: Decimal
    cost: Decimal | None
    low: Decimal | None
    high: Decimal | None


def priced(metric: Metered, units: Decimal) -> Decimal | None:
    """What so many units cost, to the cent; None without a price."""
    if not metric.brackets:
        return None
    above = max(Fraction(units) - Fraction(metric.included), Fraction(0))
    steps = [(Fraction(start), Fraction(price)) for start, price in metric.brackets]
    if metric.flat:
        fitting = [price for start, price in steps if start <= above]
        return rounded(above * (fitting[-1] if fitting else steps[0][1]))
    total = Fraction(0)
    for n, (start, price) in enumerate(steps):
        floor = start if n else Fraction(0)
        ceiling = steps[n + 1][0] if n + 1 < len(steps) else above
        total += max(min(above, ceiling) - floor, Fraction(0)) * price
    return rounded(total)


def forecast(metric: Metered, used: Used, today: date) -> Forecast:
    """The month so far, and for each day that is left the median of the last full days; the band takes the second
    lowest and the second highest of them instead. With fewer than three days, the lowest and the highest."""
    left = calendar.monthrange(today.year, today.month)[1] - today.day
    days = sorted(used.days[-7:])
    if not days:
        low = middle = high = Decimal(0)
    elif len(days) < 3:
        low, middle, high = days[0], median(days), days[-1]
    else:
        low, middle, high = days[1], median(days), days[-2]
    units = [used.month + each * left for each in (middle, low, high)]
    cost = [priced(metric, u) for u in units]
    return Forecast(metric, units[0], units[1], units[2], cost[0], cost[1], cost[2])


def forecasts(
    metrics: Sequence[Metered], used: Mapping[tuple[int, str], Used], today: date
) -> dict[int, list[Forecast]]:
    """By service. What the bridge has not counted is not there."""
    by_service: dict[int, list[Forecast]] = {}
    for metric in metrics:
        if known := used.get((metric.service, metric.metric)):
            by_service.setdefault(metric.service, []).append(forecast(metric, known, today))
    return by_service
