"""The body of the dashboard's call: a fault of the envelope names its field, a row that cannot be read is listed with
its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.accounts import columns, wire
from bridge.accounts.nouns import REASONS, Account
from bridge.errors import BadRequest
from tests.accounts import account, addon, body, domain, invoice, item, service

VECTOR = Path(__file__).parent / "vectors" / "dashboard.json"


def reasons(read: Account) -> list[tuple[str, int, str]]:
    return [(n.row, n.id, n.reason) for n in read.not_counted]


def test_the_columns_are_those_that_the_php_side_is_tested_with() -> None:
    assert json.loads(VECTOR.read_text("utf-8")) == {
        "rows": {name: list(cells) for name, cells in columns.ROWS.items()},
        "settings": list(columns.SETTINGS),
        "permissions": list(columns.PERMISSIONS),
    }


def test_the_docstring_has_the_columns_in_their_order() -> None:
    said = columns.__doc__ or ""
    for name, cells in columns.ROWS.items():
        line = next(line for line in said.splitlines() if line.split()[:1] == [name])
        assert line.split(None, 1)[1].startswith(", ".join(cells)), name


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"today": "26.11.2026"}, "today"),
        ({"today": "2026-02-30"}, "today"),
        ({"client": {"id": 0}}, "client.id"),
        ({"client": {"id": 7, "credit": 15.0}}, "client.credit"),
        ({"client": {"id": 7, "credit": "NaN"}}, "client.credit"),
        ({"client": {"id": 7, "discount": "101"}}, "client.discount"),
        ({"currency": {"code": "EUR", "format": 5}}, "currency.format"),
        ({"currency": {"code": "EUR", "rate": "-1"}}, "currency.rate"),
        ({"settings": {"License": "x"}}, "settings"),
        ({"rows": {"passwords": []}}, "rows"),
        ({"rows": {"services": {}}}, "rows.services"),
        ({"rates": [[1, "VAT", "x"]]}, "rates[0]"),
        ({"rates": [[1, "VAT", "20"], [1, "VAT", "19"]]}, "rates[1]"),
        ({"ask": {"horizon": 31}}, "ask.horizon"),
        ({"ask": {"month": "2026-13"}}, "ask.month"),
        ({"ask": {"show": "everything"}}, "ask.show"),
        ({"token": "x"}, "token"),
    ],
)
def test_a_fault_of_the_envelope_names_its_field(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequest) as e:
        wire.read({**body(), **changed})
    assert e.value.sentence.startswith(f"{named}"), e.value.sentence
    wire.read(body())


def test_empty_tables_of_php_are_lists() -> None:
    read = wire.read({**body(), "settings": [], "rows": [], "cut": [], "urls": [], "ask": []})
    assert read.lines == ()
    assert "TaxType" in read.settings.unknown


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"services": [service(amount="ten")]}, ("services", 1, "bad_amount")),
        ({"services": [service(amount=10.0)]}, ("services", 1, "bad_amount")),
        ({"services": [service(amount="-10.00", first="0.00")]}, ("services", 1, "negative_amount")),
        ({"services": [service(amount="NaN")]}, ("services", 1, "bad_amount")),
        ({"services": [service(amount="1e3")]}, ("services", 1, "bad_amount")),
        ({"services": [service(amount="١٠")]}, ("services", 1, "bad_amount")),
        ({"services": [service(amount="")]}, ("services", 1, "bad_amount")),
        ({"services": [service(due="0000-00-00")]}, ("services", 1, "no_due_date")),
        ({"services": [service(due="")]}, ("services", 1, "no_due_date")),
        ({"services": [service(due="2026-02-30")]}, ("services", 1, "bad_date")),
        ({"services": [service(due="2026-W48-4")]}, ("services", 1, "bad_date")),
        ({"services": [service(due="2025-10-22")]}, ("services", 1, "long_past_due")),
        ({"services": [service(cycle="Hourly")]}, ("services", 1, "unknown_cycle")),
        ({"services": [service(status="Frozen")]}, ("services", 1, "unknown_status")),
        ({"services": [service(product=9)]}, ("services", 1, "unknown_parent")),
        ({"services": [service(), service()]}, ("services", 1, "twice")),
        ({"services": [service()[:-1]]}, ("services", 1, "bad_row")),
        ({"services": ["Monthly"]}, ("services", 0, "bad_row")),
        ({"services": [None]}, ("services", 0, "bad_row")),
        ({"services": [service(qty="1")]}, ("services", 1, "bad_row")),
        ({"addons": [addon()]}, ("addons", 1, "unknown_parent")),
        ({"services": [service()], "addons": [addon(amount="x")]}, ("addons", 1, "bad_amount")),
        ({"domains": [domain(years=11)]}, ("domains", 1, "unknown_cycle")),
        ({"domains": [domain(years=0)]}, ("domains", 1, "unknown_cycle")),
        ({"domains": [domain(status="Lost")]}, ("domains", 1, "unknown_status")),
        ({"open": [invoice(total="x")]}, ("open", 100, "bad_amount")),
        ({"open_items": [item()]}, ("open_items", 100, "unknown_parent")),
        ({"cancels": [[1, "Perhaps", ""]]}, ("cancels", 1, "bad_row")),
        ({"metered": [[1, "m", "M", "GB", "0", "simple", "x"]]}, ("metered", 1, "bad_row")),
    ],
)
def test_a_row_that_cannot_be_read_is_listed_with_its_reason(rows: dict[str, Any], said: tuple[str, int, str]) -> None:
    read = account(**rows)
    assert reasons(read) == [said]
    assert said[2] in REASONS
    assert len(read.lines) == (1 if said[2] == "twice" or ("services" in rows and "addons" in rows) else 0)


def test_the_row_is_counted_as_owned_where_only_its_price_is_wrong() -> None:
    read = account(services=[service(amount="x"), service(2)])
    assert [o.id for o in read.owned] == [1, 2]
    assert [line.id for line in read.lines] == [2]


def test_what_costs_nothing_by_itself_needs_no_day() -> None:
    days = {"due": "0000-00-00"}
    read = account(
        services=[
            service(1, cycle="One Time", **days),
            service(2, cycle="One-Time", **days),
            service(3, "0.00", cycle="Free Account", **days),
            service(4, status="Pending", **days),
        ]
    )
    assert read.not_counted == ()
    assert [line.cycle for line in read.lines] == ["onetime", "onetime", "free", "monthly"]


def test_what_is_gone_is_not_there() -> None:
    rows = [service(n, status=s) for n, s in enumerate(("Terminated", "Cancelled", "Fraud"), 1)]
    assert account(services=rows).owned == ()
    gone = [domain(n, status=s) for n, s in enumerate(("Expired", "Transferred Away", "Cancelled", "Fraud"), 1)]
    assert account(domains=gone).owned == ()


def test_an_addon_ends_with_its_service() -> None:
    read = account(services=[service()], addons=[addon()], cancels=[[1, "End of Billing Period", "2026-11-20"]])
    assert [(line.ending, str(line.ends)) for line in read.lines] == [(True, "2026-12-05")] * 2


def test_what_the_user_may_not_see_is_not_there_even_if_it_was_sent() -> None:
    rows = {
        "services": [service()],
        "domains": [domain()],
        "open": [invoice()],
        "open_items": [item()],
        "users": [
            [1, "Ada", "ada@example.com", True, False, True, True],
            [2, "Bob", "b@example.com", False, True, True, True],
        ],
    }
    read = account(may=["products"], **rows)
    assert [(line.kind, line.amount, line.first) for line in read.lines] == [("Hosting", 0, 0)]  # nor what it costs
    assert read.open == ()
    assert [u.id for u in read.users] == [2]
    read = account(may=["invoices"], **rows)
    assert read.lines == ()
    assert len(read.open) == 1
    read = account(may=["owner"], **rows)
    assert len(read.lines) == 2
    assert len(read.open) == 1
    assert len(read.users) == 2


def test_days_before_an_invoice_are_of_the_cycle_or_the_general_ones() -> None:
    days = account(settings={"CreateInvoiceDaysBefore": "10", "CreateInvoiceDaysBeforeMonthly": "3"}).settings
    assert [days.days_before[m] for m in (1, 3, 12)] == [3, 10, 30]
    assert account(settings={"CreateDomainInvoiceDaysBefore": ""}).settings.domain_days == 14


def test_the_limits_of_top_ups_are_converted_from_the_default_currency() -> None:
    limits = account(settings={"AddFundsMinimum": "10.00"}, currency={"rate": "1.10000"}).settings
    assert str(limits.minimum) == "11.00"
    assert limits.maximum is None


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(), st.text(max_size=12), st.lists(st.integers(),
      max_size=3),
    st.sampled_from(["Active", "Monthly", "10.00", "2026-12-05", "0000-00-00", "Hosting", "Unpaid"]),
)  # fmt: skip
ROW = st.one_of(CELLS, st.lists(CELLS, max_size=12))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(list(columns.ROWS)), st.lists(ROW, max_size=4)))
def test_no_row_whatever_stands_in_it_is_an_exception(rows: dict[str, list[Any]]) -> None:
    read = wire.read({**body(), "rows": {"groups": [], "products": [], **rows}})
    assert {n.reason for n in read.not_counted} <= set(REASONS)
