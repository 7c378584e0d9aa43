"""What an account costs: the worked examples, one by one."""

from __future__ import annotations

from decimal import Decimal as D
from fractions import Fraction
from typing import Any

import pytest

from bridge.accounts.nouns import Account, Currency
from bridge.costs import credit, events, metered, money, rates
from bridge.costs.metered import Used
from tests.accounts import VAT, account, addon, domain, invoice, item, service


def five(rate: rates.Rate) -> list[str]:
    each = [money.rounded(v) for v in (rate.day, rate.week, rate.month, rate.year)]
    return [str(money.rounded(rate.hour, 4)), *map(str, each)]


def months_and_years(account: Account, of: str = "running") -> list[str]:
    rate = getattr(rates.costs(account), of)
    return [str(money.rounded(rate.month)), str(money.rounded(rate.year))]


def dates(account: Account, days: int = 30) -> list[tuple[str, str, str]]:
    """(taken, due, gross)"""
    return [(str(e.taken), str(e.due), str(e.gross)) for e in events.events(account, days)]


def charge(net: str, rates: list[list[Any]], taxed: bool = True, **more: Any) -> list[str]:
    """net, taxes, gross of a service."""
    made = account(services=[service(amount=net)], rates=rates, products=[[1, "VPS", 3, taxed, True]], **more)
    charged = events.events(made, 30)[0].charge
    return [str(charged.net), *(str(t) for t in charged.taxes), str(charged.gross)]


ANNUAL = service(2, "120.00", "Annually", "2027-01-08")
THIRTEEN = {
    "services": [service(1), ANNUAL],
    "open": [invoice(100, "6.00")],
    "open_items": [item(100, "6.00")],
    "rates": VAT,
}


def test_a_monthly_service() -> None:  # 1
    assert five(rates.costs(account(services=[service()])).running) == ["0.0137", "0.33", "2.30", "10.00", "120.00"]


def test_what_does_not_recur_stands_apart() -> None:  # 2
    more = [service(3, "50.00", "One Time", "0000-00-00"), service(4, "0.00", "Free Account", "")]
    costs = rates.costs(account(services=[service(), ANNUAL, *more]))
    assert five(costs.running) == ["0.0274", "0.66", "4.60", "20.00", "240.00"]
    assert [line.id for line in costs.apart] == [3, 4]


def test_three_years() -> None:  # 3
    assert months_and_years(account(services=[service(1, "100.00", "Triennially")])) == ["2.78", "33.33"]


def test_an_addon_of_another_cycle() -> None:  # 4
    assert months_and_years(account(services=[service(1, "12.00")], addons=[addon()])) == ["15.00", "180.00"]


def test_a_domain() -> None:  # 5
    assert months_and_years(account(domains=[domain()])) == ["1.25", "15.00"]
    assert dates(account(domains=[domain()]), 365) == [("2027-02-15", "2027-03-01", "30.00")]
    kept = account(domains=[domain(not_renewed=True)])
    assert dates(kept, 365) == []
    assert months_and_years(kept, "ending") == ["1.25", "15.00"]


def test_suspended_is_no_running_cost_and_is_charged_all_the_same() -> None:  # 6
    made = account(services=[service(), service(2, "8.00", status="Suspended")])
    assert months_and_years(made)[0] == "10.00"
    assert months_and_years(made, "suspended")[0] == "8.00"
    assert [g for _, _, g in dates(made)] == ["10.00", "8.00", "10.00", "8.00"]


def test_what_ends_is_not_charged() -> None:  # 7
    made = account(services=[service(amount="20.00")], cancels=[[1, "End of Billing Period", "2026-11-20"]])
    assert months_and_years(made) == ["0.00", "0.00"]
    assert dates(made, 365) == []
    assert str(made.lines[0].ends) == "2026-12-05"
    assert months_and_years(made, "ending")[0] == "20.00"
    now = account(services=[service(amount="20.00")], cancels=[[1, "Immediate", "2026-11-20"]])
    assert now.lines[0].ends is None
    assert dates(now, 365) == []


EXCLUSIVE, INCLUSIVE = {"TaxType": "Exclusive"}, {"TaxType": "Inclusive"}
QUEBEC = [[1, "GST", "5.000"], [2, "QST", "9.975"]]


@pytest.mark.parametrize(
    ("net", "rates", "more", "said"),
    [
        ("10.00", [[1, "VAT", "19.000"]], {}, ["10.00", "1.90", "0", "11.90"]),  # 8
        ("100.00", QUEBEC, {}, ["100.00", "5.00", "9.98", "114.98"]),  # 9
        ("100.00", QUEBEC, {"settings": {"TaxL2Compound": "on"}}, ["100.00", "5.00", "10.47", "115.47"]),
        ("12.00", VAT, {"settings": INCLUSIVE}, ["10.00", "2.00", "0", "12.00"]),  # 10
        ("12.00", VAT, {"settings": {**INCLUSIVE, "TaxInclusiveDeduct": "on"}, "client": {"exempt": True}}, ["10.00",
          "0", "0", "10.00"]),
        ("12.00", VAT, {"settings": INCLUSIVE, "client": {"exempt": True}}, ["12.00", "0", "0", "12.00"]),
        ("14.00", [[1, "IVA", "22.000"]], {"settings": INCLUSIVE}, ["11.48", "2.52", "0", "14.00"]),
        ("50.00", [[1, "VAT", "19.000"]], {"client": {"discount": "10.00"}}, ["45.00", "8.55", "0", "53.55"]),  # 11
        ("10.00", VAT, {"client": {"exempt": True}}, ["10.00", "0", "0", "10.00"]),
        ("10.00", VAT, {"taxed": False}, ["10.00", "0", "0", "10.00"]),
        ("10.00", VAT, {"settings": {"TaxEnabled": ""}}, ["10.00", "0", "0", "10.00"]),
        ("114.98", QUEBEC, {"settings": INCLUSIVE}, ["100.00", "5.00", "9.98", "114.98"]),
    ],
)  # fmt: skip
def test_taxes(net: str, rates: list[list[Any]], more: dict[str, Any], said: list[str]) -> None:
    texts = [str(D(v).normalize()) for v in charge(net, rates, **more)]
    assert texts == [str(D(v).normalize()) for v in said]


def test_domains_and_addons_have_taxes_of_their_own() -> None:
    rows = {"services": [service(product=2)], "addons": [addon(taxed=True)], "domains": [domain(due="2026-12-05")]}
    plain = {"rates": VAT, "products": [[2, "VPS", 3, False, True]], **rows}
    by_kind = {e.kind: str(e.charge.tax) for e in events.events(account(**plain), 5)}
    assert by_kind == {"Hosting": "0", "Addon": "1.80", "Domain": "6.00"}
    untaxed = {e.kind: str(e.charge.tax) for e in events.events(account(settings={"TaxDomains": ""}, **plain), 5)}
    assert untaxed["Domain"] == "0"


def test_tax_is_rounded_once_an_invoice_or_once_a_line_as_the_host_has_it() -> None:
    lines = {"services": [service(n, "0.12") for n in (1, 2, 3)], "rates": VAT}  # 0.024 each, 0.072 together
    assert sum(e.charge.tax for e in events.events(account(**lines), 5)) == D("0.07")
    each = account(settings={"TaxPerLineItem": "on"}, **lines)
    assert sum(e.charge.tax for e in events.events(each, 5)) == D("0.06")


def test_currencies_never_meet() -> None:  # 12
    first = account(services=[service()])
    second = account(services=[service(amount="5.00")], currency={"code": "USD", "prefix": "$", "suffix": " USD"})
    shown = [money.shown(rates.costs(a).running.year, a.currency) for a in (first, second)]
    assert shown == ["120.00 EUR", "$60.00 USD"]


def test_what_is_to_be_added() -> None:  # 13
    made = account("15.00", **THIRTEEN)
    assert dates(made) == [
        ("2026-11-26", "2026-12-05", "12.00"),
        ("2026-12-09", "2027-01-08", "144.00"),
        ("2026-12-22", "2027-01-05", "12.00"),
    ]
    advice = credit.top_up(made)
    assert (advice.need, advice.recommended, advice.pay_now, advice.amount) == (
        D("159.00"),
        D("159.00"),
        0,
        D("159.00"),
    )
    assert credit.balance(made) == D("9.00")
    until = credit.lasts(made)
    assert (until.how, str(until.on), until.missing) == ("until", "2026-11-26", D("3.00"))


def test_until_when_credit_lasts() -> None:  # 13b
    until = credit.lasts(account("15.00", services=[service(1), ANNUAL], rates=VAT))
    assert (str(until.through), str(until.on), until.missing) == ("2026-12-08", "2026-12-09", D("141.00"))
    assert until.line is not None
    assert until.line.id == 2
    assert str(until.suspends) == "2027-01-13"


def test_the_largest_payment_is_said() -> None:  # 14
    advice = credit.top_up(account("15.00", settings={"AddFundsMaximum": "100.00"}, **THIRTEEN))
    assert (advice.amount, advice.notes, advice.recommended) == (D("100.00"), (("payments", D(2)),), D("159.00"))


def test_the_smallest_payment_is_said() -> None:  # 15
    small = {"services": [service(amount="3.20", due="2027-01-01")]}
    advice = credit.top_up(account(settings={"AddFundsMinimum": "10.00"}, **small))
    assert (advice.need, advice.amount, advice.notes) == (D("3.20"), D("10.00"), (("minimum", D("10.00")),))


def test_invoices_that_hold_others_or_top_ups_are_not_owed() -> None:  # 16
    rows = [invoice(1, "10.00"), invoice(2, "20.00"), invoice(3, "30.00"), invoice(4, "50.00")]
    items = [
        item(1),
        item(2),
        item(3, "10.00", "Invoice", 1),
        item(3, "20.00", "Invoice", 2),
        item(4, "50.00", "AddFunds", 7),
    ]
    assert credit.owed(account(open=rows, open_items=items)) == D("30.00")


def test_the_total_of_an_invoice_is_after_credit() -> None:  # 17
    assert credit.owed(account(open=[invoice(1, "0.10")], open_items=[item(1, "15.00")])) == D("0.10")
    paid = account(open=[invoice(1, "10.00", paid="4.00"), invoice(2, "10.00", paid="4.00", balance="1.00")])
    assert credit.owed(paid) == D("7.00")


def test_the_end_of_the_month() -> None:  # 18
    made = account(today="2027-01-01", services=[service(due="2027-01-31")])
    assert [due for _, due, _ in dates(made, 115)] == ["2027-01-31", "2027-02-28", "2027-03-31", "2027-04-30"]


def test_an_order_that_is_not_paid() -> None:  # 19
    made = account(
        services=[service(first="25.00", status="Pending", registered="2026-11-26", due="2026-11-26")],
        open=[invoice(1, "25.00")],
        open_items=[item(1, "25.00", of=1, due="2026-11-26")],
    )
    assert credit.owed(made) == D("25.00")
    assert dates(made, 365) == []
    assert months_and_years(made)[1] == "0.00"


METER = [1, "traffic", "Traffic", "GB", "1000", "simple", [["0", "0.02"]]]
DAYS = [D(n) for n in (50, 55, 60, 70, 72, 75, 90)]


def test_what_is_billed_by_use() -> None:  # 20
    made = account(today="2026-11-10", services=[service()], metered=[METER])
    used = {(1, "traffic"): Used(D(600), DAYS)}
    said = metered.forecasts(made.metered, used, made.today)[1][0]
    assert (said.units, said.cost, said.low, said.high) == (2000, D("20.00"), D("14.00"), D("22.00"))
    assert [(e.kind, e.gross) for e in events.events(made, 15, used)] == [
        ("Hosting", D("10.00")),
        ("Usage", D("22.00")),
    ]


def test_the_amount_of_the_first_invoice_is_another_than_the_later_ones() -> None:
    new = service(first="25.00", registered="2026-12-05", due="2026-12-05")
    assert [g for _, _, g in dates(account(services=[new]))] == ["25.00", "10.00"]


@pytest.mark.parametrize("where", ["open", "past"])
def test_a_period_that_has_an_invoice_is_not_charged_again(where: str) -> None:
    rows: dict[str, Any] = {"past_items": [[5, "Hosting", 1, "10.00", "2026-12-05", "2026-11-21", "Paid"]]}
    if where == "open":
        rows = {"open": [invoice(5, "10.00")], "open_items": [item(5, "10.00", of=1, due="2026-12-05")]}
    assert [due for _, due, _ in dates(account(services=[service()], **rows))] == ["2027-01-05"]
    refunded = [[5, "Hosting", 1, "10.00", "2026-12-05", "2026-11-21", "Refunded"]]
    assert len(dates(account(services=[service()], past_items=refunded))) == 2


def test_where_invoices_wait_for_the_one_before_it_is_named() -> None:
    rows = {"open": [invoice(5, "10.00")], "open_items": [item(5, "10.00", of=1, due="2026-12-05")]}
    made = account(services=[service(), service(2)], settings={"ContinuousInvoiceGeneration": ""}, **rows)
    assert {(e.line.id, e.after) for e in events.events(made, 30)} == {(1, 5), (2, 0)}


def test_what_cannot_be_added_has_its_reason() -> None:
    def said(credit_: str = "0.00", has_order: bool = True, **settings: str) -> str:
        made = account(credit_, services=[service()], settings=settings, client={"has_order": has_order})
        return credit.top_up(made).reason

    assert said() == ""
    assert said(AddFundsEnabled="") == "off"
    assert said(has_order=False) == "no_order"
    assert said(has_order=False, AddFundsRequireOrder="") == ""
    assert said("50.00", AddFundsMaximumBalance="50.00") == "balance_full"
    assert said("45.00", AddFundsMaximumBalance="50.00", AddFundsMinimum="10.00") == "balance_full"
    assert said(AddFundsMinimum="50.00", AddFundsMaximum="10.00") == "limits"


def test_a_full_credit_leaves_room_for_a_part() -> None:
    top_up = credit.top_up(
        account("5.00", settings={"AddFundsMaximumBalance": "12.00"}, services=[service(amount="50.00")])
    )
    assert (top_up.amount, top_up.notes) == (D("7.00"), (("maximum_balance", D("7.00")),))


def test_what_is_owed_beyond_the_credit_is_paid_by_its_invoice() -> None:
    advice = credit.top_up(account("2.00", open=[invoice(1, "6.00")], services=[service()]))
    assert (advice.pay_now, advice.to_come, advice.amount) == (D("4.00"), D("20.00"), D("20.00"))
    assert credit.lasts(account("2.00", open=[invoice(1, "6.00")], services=[service()])).how == "owed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20.00", (D("20.00"), D("35.00"), D("29.00"))),
        ("20", (D("20"), D("35.00"), D("29.00"))),
        ("20,00", "not_a_number"), ("-5", "not_a_number"), ("0", "not_a_number"), ("1.005", "not_a_number"), ("",
          "not_a_number"),
        ("٢٠", "not_a_number"), ("1e3", "not_a_number"), ("4.99", "minimum"), ("100.01", "maximum"), ("90.00",
          "maximum_balance"),
    ],
)  # fmt: skip
def test_a_top_up_before_it_is_paid(text: str, said: Any) -> None:
    limits = {"AddFundsMinimum": "5", "AddFundsMaximum": "100", "AddFundsMaximumBalance": "100"}
    assert credit.added(account("15.00", settings=limits, **THIRTEEN), text) == said


def test_credit_that_lasts_and_accounts_without_anything() -> None:
    assert credit.lasts(account("5.00")).how == "nothing"
    assert credit.lasts(account("9999.00", services=[service()])).how == "long"
    assert credit.lasts(account("395.00", services=[service()])).how == "long"  # found by looking through all of it
    assert credit.lasts(account("300.00", services=[service()], settings={"NoAutoApplyCredit": "on"})).manual


def test_what_is_missing_is_of_the_whole_day() -> None:
    until = credit.lasts(account("15.00", services=[service(n) for n in (1, 2, 3)]))
    assert (str(until.on), until.missing, until.line.id if until.line else 0) == ("2026-11-26", D("15.00"), 2)


def test_the_line_where_credit_runs_out() -> None:
    lines = credit.coming(account("15.00", services=[service(1), ANNUAL], rates=VAT))
    assert [(str(c.left), c.short, c.first_short) for c in lines] == [
        ("3.00", False, False),
        ("-141.00", True, True),
        ("-153.00", True, False),
    ]


def test_nobody_is_suspended_where_the_host_does_not_or_before_staff_let_it() -> None:
    def day(settings: dict[str, str], **rows: Any) -> Any:
        return credit.lasts(account(settings=settings, services=[service(**rows.pop("own", {}))], **rows)).suspends

    assert str(day({})) == "2026-12-10"
    assert day({"AutoSuspension": ""}) is None
    assert str(day({}, suspended=[[1, "", "2027-02-01"]])) == "2027-02-01"
    assert day({}, own={"status": "Suspended"}) is None


EUR = Currency("EUR", "", " EUR", 3)


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        ("1234567.5", Currency("GBP", "£", " GBP", 1), "£1234567.50 GBP"),
        ("1234567.5", Currency("USD", "$", "", 2), "$1,234,567.50"),
        ("1234567.5", EUR, "1.234.567,50 EUR"),
        ("1234567.5", Currency("JPY", "¥", "", 4), "¥1,234,568"),
        ("-3.005", EUR, "-3,01 EUR"),
        ("-0.001", EUR, "0,00 EUR"),
        ("0.005", EUR, "0,01 EUR"),
    ],
)
def test_money_is_written_as_whmcs_writes_it(amount: str, currency: Currency, said: str) -> None:
    assert money.shown(D(amount), currency) == said


def test_an_hour_never_reads_nothing() -> None:
    assert money.hourly(Fraction(120, 8760), EUR) == "0,0137 EUR"
    assert money.hourly(Fraction(1, 8760 * 10), EUR) == "0,00001 EUR"
    assert money.hourly(Fraction(0), EUR) == "0,0000 EUR"
    assert money.hourly(Fraction(120, 8760), Currency("JPY", "¥", "", 4)) == "¥0.0137"


def test_a_currency_without_cents_is_rounded_up_to_whole_ones() -> None:
    made = account(services=[service(amount="3.20", due="2027-01-01")], currency={"format": 4})
    assert credit.top_up(made).recommended == 4


def test_prices_of_brackets() -> None:
    def price(schema: str, units: str, included: str = "0") -> str:
        steps = [["0", "0.10"], ["100", "0.05"]]
        made = account(services=[service()], metered=[[1, "m", "M", "GB", included, schema, steps]])
        return str(metered.priced(made.metered[0], D(units)))

    assert [price("simple", u) for u in ("50", "100", "300")] == ["5.00", "10.00", "20.00"]
    assert [price("flat", u) for u in ("50", "99", "100", "300")] == ["5.00", "9.90", "5.00", "15.00"]
    assert price("simple", "50", "60") == "0.00"
    assert price("simple", "160", "60") == "10.00"
    bare = account(services=[service()], metered=[[1, "m", "M", "GB", "0", "simple", []]])
    assert metered.priced(bare.metered[0], D(5)) is None
