"""What holds for every account, over made-up ones."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.accounts import wire
from bridge.costs import credit, events, rates
from bridge.costs.taxes import Taxes
from tests.accounts import made_up, service

few = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 10**9)


@few
@given(SEEDS)
def test_a_year_is_twelve_months_and_8760_hours(seed: int) -> None:
    for rate in (c := rates.costs(wire.read(made_up(Random(seed))))).running, c.suspended, c.ending:
        assert rate.year == 12 * rate.month == 8760 * rate.hour == 365 * rate.day
        assert rate.week == 7 * rate.day
        assert rate.day == 24 * rate.hour


@few
@given(SEEDS)
def test_the_order_of_the_rows_is_of_no_account(seed: int) -> None:
    body, r = made_up(Random(seed)), Random(seed)
    other = copy.deepcopy(body)
    for rows in other["rows"].values():
        r.shuffle(rows)
    one, two = wire.read(body), wire.read(other)
    assert rates.costs(one).running == rates.costs(two).running
    assert credit.need(one, 90) == credit.need(two, 90)
    assert [(e.key, e.gross) for e in events.events(one, 365)] == [(e.key, e.gross) for e in events.events(two, 365)]
    a, b = credit.lasts(one), credit.lasts(two)
    assert (a.how, a.on, a.missing, a.line) == (b.how, b.on, b.missing, b.line)


@few
@given(SEEDS, st.integers(0, 99999), st.sampled_from(["Monthly", "Quarterly", "Annually"]), st.integers(0, 100))
def test_a_further_line_never_lowers_year_or_need(seed: int, amount: int, cycle: str, day: int) -> None:
    body = made_up(Random(seed))
    due = f"{int(body['today'][:4]) + 1}-0{1 + day % 9}-{1 + day % 28:02}"
    more = copy.deepcopy(body)
    more["rows"]["services"].append(service(77, f"{amount / 100:.2f}", cycle, due))
    one, two = wire.read(body), wire.read(more)
    assert rates.costs(two).running.year >= rates.costs(one).running.year
    for days in (0, 30, 365):
        assert credit.need(two, days) >= credit.need(one, days)


@few
@given(SEEDS)
def test_need_grows_with_the_horizon_and_is_rounded_up_by_less_than_a_unit(seed: int) -> None:
    account = wire.read(made_up(Random(seed)))
    needs = [credit.need(account, days) for days in (0, 1, 14, 30, 90, 365)]
    assert needs == sorted(needs)
    for days, needed in ((30, needs[3]), (365, needs[5])):
        advice = credit.top_up(account, days)
        unit = Decimal(1).scaleb(-account.currency.digits)
        assert advice.recommended % unit == 0
        assert advice.pay_now + advice.to_come == advice.recommended
        assert max(needed, Decimal(0)) <= advice.recommended < max(needed, Decimal(0)) + unit


@few
@given(SEEDS, st.sampled_from([30, 90, 365]))
def test_what_is_recommended_keeps_credit_over_all_that_is_owed_and_comes(seed: int, days: int) -> None:
    account = wire.read(made_up(Random(seed)))
    enough = account.client.credit + credit.top_up(account, days).recommended
    after = replace(account, client=replace(account.client, credit=enough))
    assert credit.balance(after) >= 0
    assert all(c.left >= 0 and not c.short for c in credit.coming(after, days))


@few
@given(SEEDS)
def test_net_and_tax_are_the_price_and_shares_of_an_invoice_add_up(seed: int) -> None:
    account = wire.read(made_up(Random(seed)))
    taxes = Taxes(account)
    items = [(line, line.amount) for line in account.lines]
    for (line, amount), share in zip(items, taxes.invoice(items), strict=True):
        alone = taxes.charge(line, amount)
        price = taxes.price(amount, taxes.applies(line))
        for charge in (alone, share):
            assert charge.net + charge.tax == charge.gross
            assert (charge.gross if account.settings.inclusive else charge.net) == price
            assert charge.tax >= 0
            assert abs(charge.tax - alone.tax) <= Decimal("0.02")
    if items and not account.settings.inclusive:
        together = sum(c.gross for c in taxes.invoice(items))
        taxed = [taxes.price(a, True) for line, a in items if taxes.applies(line)]
        bare = sum(taxes.price(a, False) for line, a in items if not taxes.applies(line))
        if not account.settings.tax_each_line:
            assert together == bare + taxes.of(sum(taxed, Decimal(0)), True).gross


@few
@given(SEEDS)
def test_no_charge_twice_and_none_after_an_end(seed: int) -> None:
    account = wire.read(made_up(Random(seed)))
    charges = events.events(account, 1000)
    assert max(Counter(e.key for e in charges).values(), default=1) == 1
    for e in charges:
        assert not e.line.ending
        assert e.gross > 0
        assert account.today <= e.taken
        assert e.line.status in ("active", "suspended")
        assert e.line.due is not None
        assert e.due >= e.line.due
