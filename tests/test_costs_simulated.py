"""Made-up accounts lived through day by day, from the rows as they are sent and without the functions that are tested:
WHMCS makes invoices, takes credit, waits for the day they are due, suspends. What the bridge computes has to agree."""

from __future__ import annotations

import calendar
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from bridge.accounts import wire
from bridge.accounts.columns import ROWS
from bridge.costs import credit, events
from tests.accounts import made_up

MONTHS = {"Monthly": 1, "Quarterly": 3, "Semi-Annually": 6, "Annually": 12, "Biennially": 24, "Triennially": 36}
WORDS = {1: "Monthly", 3: "Quarterly", 6: "SemiAnnually", 12: "Annually", 24: "Biennially", 36: "Triennially"}
DAYS = 3 * 366


def cents(text: str) -> int:
    return int(text.replace(".", ""))


def half_up(top: int, bottom: int) -> int:
    return (2 * top + bottom) // (2 * bottom)


@dataclass
class Contract:
    """A row that is billed, with the day it is billed for next."""

    kind: str
    id: int
    months: int
    amount: int
    first: int
    registered: date
    due: date
    notice: int
    taxed: bool
    suspended: bool
    day: int = 0

    def move_on(self) -> None:
        self.day = self.day or self.due.day
        year, month = self.due.year, self.due.month
        for _ in range(self.months):
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        self.due = date(year, month, min(self.day, calendar.monthrange(year, month)[1]))


@dataclass
class Life:
    """From today on: invoices as (made, due, total), what was not covered on which day, when what could be
    suspended."""

    invoices: list[tuple[date, date, int]] = field(default_factory=list)
    first_short: tuple[date, int] | None = None
    suspended: dict[tuple[str, int], date] = field(default_factory=dict)


class Whmcs:
    def __init__(self, body: dict[str, Any]) -> None:
        self.own, self.rows = body["settings"], body["rows"]
        self.today = date.fromisoformat(body["today"])
        levels = {level: cents(percent) for level, _, percent in body["rates"]}  # thousandths of a percent
        self.first, self.second = levels.get(1, 0), levels.get(2, 0)
        self.client = body["client"]
        self.contracts = list(self._contracts())
        held = {i[0] for i in self.rows["open_items"] if i[1] in ("AddFunds", "Invoice")}
        self.open = sum(cents(i[5]) - cents(i[6]) for i in self.rows["open"] if i[0] not in held)
        self.credit = cents(self.client["credit"]) - self.open  # what is open is paid by hand, first

    def _contracts(self) -> Any:
        taxed = {p[0]: p[3] for p in self.rows["products"]}
        ending = {c[0] for c in self.rows["cancels"]}
        done = {(i[1], i[2], i[4]) for i in self.rows["open_items"]}
        done |= {(i[1], i[2], i[4]) for i in self.rows["past_items"] if i[6] == "Paid"}
        self.done = done
        for row in self.rows["services"]:
            r = dict(zip(ROWS["services"], row, strict=True))
            if r["status"] in ("Active", "Suspended") and r["id"] not in ending and r["cycle"] in MONTHS:
                yield self._contract("Hosting", r, MONTHS[r["cycle"]], taxed[r["product"]])
        known = {row[0] for row in self.rows["services"] if row[3] != "Terminated"}
        for row in self.rows["addons"]:
            r = dict(zip(ROWS["addons"], row, strict=True))
            parent = next(s for s in self.rows["services"] if s[0] == r["service"])
            ends = r["service"] in ending and parent[3] in ("Active", "Suspended")
            if r["service"] in known and not ends:
                yield self._contract("Addon", r, MONTHS[r["cycle"]], r["taxed"])
        for row in self.rows["domains"]:
            r = dict(zip(ROWS["domains"], row, strict=True))
            if r["status"] == "Active" and not r["not_renewed"]:
                yield self._contract("Domain", r, 12 * r["years"], True)

    def _contract(self, kind: str, r: dict[str, Any], months: int, taxed: bool) -> Contract:
        own = self.own.get("CreateInvoiceDaysBefore" + WORDS.get(months, "?"), "")
        general = self.own["CreateInvoiceDaysBefore"]
        days = self.own["CreateDomainInvoiceDaysBefore"] if kind == "Domain" else own or general
        at, due = date.fromisoformat(r["registered"]), date.fromisoformat(r["due"])
        first = cents(r["first"])
        state = r.get("status") == "Suspended"
        return Contract(kind, r["id"], months, cents(r["amount"]), first, at, due, int(days), taxed, state)

    def price(self, amount: int, taxed: bool) -> int:
        top, bottom = amount * (10000 - cents(self.client["discount"])), 10000
        inclusive, on = self.own["TaxType"] == "Inclusive", self.own["TaxEnabled"] == "on"
        if on and taxed and inclusive and self.client["exempt"] and self.own["TaxInclusiveDeduct"] == "on":
            if self.own["TaxL2Compound"] == "on":
                top, bottom = top * 10**10, bottom * (100000 + self.first) * (100000 + self.second)
            else:
                top, bottom = top * 100000, bottom * (100000 + self.first + self.second)
        return half_up(top, bottom)

    def tax(self, net: int) -> int:
        if self.own["TaxEnabled"] != "on" or self.client["exempt"] or self.own["TaxType"] == "Inclusive":
            return 0
        first = half_up(net * self.first, 100000)
        second = half_up((net + first if self.own["TaxL2Compound"] == "on" else net) * self.second, 100000)
        return first + second

    def total(self, items: list[tuple[int, bool]]) -> int:
        prices = [(self.price(amount, taxed), taxed) for amount, taxed in items]
        if self.own["TaxPerLineItem"] == "on":
            tax = sum(self.tax(p) for p, taxed in prices if taxed)
        else:
            tax = self.tax(sum(p for p, taxed in prices if taxed))
        return sum(p for p, _ in prices) + tax

    def live(self, days: int = DAYS) -> Life:
        life, unpaid = Life(), dict[tuple[str, int], date]()
        for n in range(days + 1):
            day = self.today + timedelta(n)
            drafts = defaultdict[date, list[Contract]](list)
            sums = defaultdict[date, list[tuple[int, bool]]](list)
            for c in self.contracts:
                while c.due <= day + timedelta(c.notice):
                    amount = c.first if c.registered == c.due and not c.day else c.amount
                    if (c.kind, c.id, c.due.isoformat()) not in self.done and amount:
                        drafts[c.due].append(replace(c))
                        sums[c.due].append((amount, c.taxed))
                    c.move_on()
            for due in sorted(drafts):
                total = self.total(sums[due])
                life.invoices.append((day, due, total))
                self.credit -= total
                if self.credit < 0:
                    for c in drafts[due]:
                        if c.kind != "Domain" and not c.suspended:
                            unpaid.setdefault((c.kind, c.id), due)
            if self.credit < 0 and life.first_short is None:
                life.first_short = day, -self.credit
            late = int(self.own["AutoSuspensionDays"])
            for key, due in unpaid.items():
                if day >= due + timedelta(late):
                    life.suspended.setdefault(key, day)
            if life.first_short and n > 400 and all(key in life.suspended for key in unpaid):
                break
        return life


def compare(number: int) -> None:
    body = made_up(Random(number))
    account, life = wire.read(body), Whmcs(body).live()
    open_ = Whmcs(body).open
    assert credit.owed(account) * 100 == open_
    for days in (0, 30, 90, 365):
        last = account.today + timedelta(days)
        ours = defaultdict[tuple[date, date], Decimal](Decimal)
        for e in events.events(account, days):
            ours[e.taken, e.due] += e.gross * 100
        made = [i for i in life.invoices if i[0] <= last and i[2]]
        assert sorted((*k, int(v)) for k, v in ours.items()) == sorted(made)
        needed = open_ + sum(i[2] for i in made) - cents(body["client"]["credit"])
        assert credit.need(account, days) * 100 == needed
    until = credit.lasts(account)
    if credit.balance(account) < 0:
        assert until.how == "owed"
        assert until.missing == -credit.balance(account)
    elif life.first_short is None:
        assert until.how == (
            "long" if any(c.amount or c.first * (c.registered == c.due) for c in Whmcs(body).contracts) else "nothing"
        )
    else:
        assert (until.how, until.on, until.missing * 100) == ("until", *life.first_short)
        if until.line and until.suspends and until.suspends <= account.today + timedelta(DAYS):
            assert life.suspended[until.line.key] == until.suspends
    topped_up(body, 90)


def topped_up(body: dict[str, Any], days: int) -> None:
    """With what was recommended nothing is short."""
    enough = credit.top_up(wire.read(body), days).recommended
    more = {**body, "client": {**body["client"], "credit": str(Decimal(body["client"]["credit"]) + enough)}}
    assert Whmcs(more).live(days).first_short is None


@pytest.mark.parametrize("thousandth", range(10))
def test_a_thousand_accounts_lived_through_day_by_day(thousandth: int) -> None:
    for number in range(thousandth * 100, thousandth * 100 + 100):
        try:
            compare(number)
        except AssertionError as e:
            raise AssertionError(f"account {number}") from e


@pytest.mark.matrix
@pytest.mark.parametrize("part", range(20))
def test_many_more_accounts(part: int) -> None:
    for number in range(1000 + part * 1000, 2000 + part * 1000):
        try:
            compare(number)
        except AssertionError as e:
            raise AssertionError(f"account {number}") from e
