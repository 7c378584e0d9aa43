"""Families, counters, the list, what needs attention, what changed, the ledger and its files, what-if, warnings."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.accounts.nouns import Account
from bridge.costs import calendars, credit, events, ledger, lists, past, warnings, what_if
from bridge.costs.lists import Attention, Counters
from bridge.costs.metered import Used
from tests import accounts
from tests.accounts import VAT, account, addon, domain, invoice, item, row, service

GROUPS = [[3, "VPS", 2], [4, "Storage", 1]]
PRODUCTS = [[1, "VPS S", 3, True, True], [2, "Space", 4, True, False], [5, "VPS M", 3, True, True]]
MANY = {
    "groups": GROUPS,
    "products": PRODUCTS,
    "services": [
        service(1),
        service(2, "8.00", status="Suspended", product=2),
        service(3, "20.00"),
        service(4, "4.00", status="Pending"),
        service(5, "x", product=2),
    ],
    "addons": [addon(1, "9.00", service=1)],
    "domains": [domain(1), domain(2, status="Grace"), domain(3, not_renewed=True, due="2026-12-20")],
    "cancels": [[3, "End of Billing Period", "2026-11-20"]],
    "open": [invoice(7, "8.00", number="2026-7", due="2026-11-20")],
    "open_items": [item(7, "8.00", of=2, due="2026-11-05")],
}


def asked(account: Account, **more: Any) -> Account:
    return replace(account, ask=replace(account.ask, **more))


def test_families_in_the_hosts_order_with_counters_that_add_up() -> None:
    made = account(**MANY)
    families = [(f.key, f.name, c) for f, c in lists.families(made)]
    assert families == [
        ("g4", "Storage", Counters(2, 1, 1, 0, 1)),
        ("g3", "VPS", Counters(3, 1, 0, 1, 0)),
        ("domains", "", Counters(3, 1, 0, 1, 2)),
    ]
    whole = lists.counters(made)
    assert (
        whole
        == Counters(8, 3, 1, 2, 3)
        == Counters(*map(sum, zip(*(vars(c).values() for _, _, c in families), strict=True)))
    )
    assert lists.counters(made, family="g4") == Counters(2, 1, 1, 0, 1)


@pytest.mark.parametrize(
    ("show", "family", "ids"),
    [
        ("all", "g3", [1, 3, 4]),
        ("active", "", [1, 5, 1]),
        ("suspended", "", [2]),
        ("ending", "", [3, 3]),
        ("attention", "", [2, 2, 3]),
        ("attention", "domains", [2, 3]),
        ("all", "g99", []),
    ],
)
def test_the_list_shows_what_its_counter_counts(show: str, family: str, ids: list[int]) -> None:
    rows = lists.listed(asked(account(**MANY), show=show, family=family))
    assert sorted(r.owned.id for r in rows) == sorted(ids)
    every = lists.counters(account(**MANY), family=family)
    assert len(rows) == getattr(every, "total" if show == "all" else show)


def test_a_row_has_price_next_day_and_reason() -> None:
    rows = {(r.owned.kind, r.owned.id): r for r in lists.listed(account(**MANY))}
    first, broken, ending = rows["Hosting", 1], rows["Hosting", 5], rows["Hosting", 3]
    assert (first.month, str(first.next)) == (13, "2026-12-05")  # with its add-on
    assert (broken.month, broken.missed.reason if broken.missed else "") == (None, "bad_amount")
    assert str(ending.next) == "2026-12-05"
    assert rows["Hosting", 2].attention[0].code == "suspended"
    costs = [r.owned.id for r in lists.listed(asked(account(**MANY), by="cost", family="g3"))]
    assert costs == [3, 1, 4]


def test_what_needs_attention() -> None:
    noticed = [(a.code, a.kind, a.id) for a in lists.attention(account(**MANY))]
    assert noticed == [
        ("suspended", "Hosting", 2),
        ("overdue", "Hosting", 2),
        ("domain_late", "Domain", 2),
        ("domain_ends", "Domain", 3),
    ]
    assert lists.attention(account(**MANY))[0].values["invoice"] == 7
    ours = [Attention("no_backup", "Hosting", 1), Attention("failed", "Hosting", 99)]  # 99: not this client's
    assert [a.code for a in lists.attention(account(**MANY), ours)][4:] == ["no_backup"]
    assert lists.counters(account(**MANY), ours).attention == 4


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ([["stripe", "card", "2026-11"]], True),
        ([["stripe", "card", "2026-12"]], False),
        ([["stripe", "card", "2026-11"], ["paypal", "remote", ""]], False),
        ([["stripe", "card", "2026-11"], ["stripe", "card", "2027-01"]], False),
        ([["stripe", "card", "2026-13"]], False),
        ([], False),
    ],
)
def test_a_card_that_ends_before_the_next_charge(methods: list[list[str]], said: bool) -> None:
    noticed = lists.attention(account(services=[service()], paymethods=methods))
    assert [a.code for a in noticed] == (["card_expired"] if said else [])


def charges(*amounts: str, of: int = 1, cycle: int = 1, due: str = "2026-12-05") -> list[list[Any]]:
    """Of the last periods, the newest last."""
    day = date.fromisoformat(due)
    return [
        accounts.past(of, amount, events.later(day, -n * cycle).isoformat(), invoice=100 + n)
        for n, amount in zip(range(len(amounts), 0, -1), amounts, strict=True)
    ]


def test_what_costs_more_than_it_did() -> None:
    made = account(services=[service(amount="15.00")], past_items=charges("10.00", "10.00", "10.00", "12.00"))
    odd = past.anomalies(made)
    assert [(a.line.id, a.old, a.new_amount, a.year) for a in odd] == [(1, D("10.00"), D("15.00"), 60)]


@pytest.mark.parametrize(
    ("amount", "before", "more"),
    [
        ("11.00", ["10.00"] * 4, {}),  # 10 %
        ("2.00", ["1.00"] * 4, {}),  # 1.00
        ("15.00", ["10.00"] * 2, {}),  # too few
        ("45.00", ["50.00"] * 4, {"client": {"discount": "10.00"}}),  # 40.50 after the discount, which items may lack
    ],
)
def test_what_is_no_anomaly(amount: str, before: list[str], more: dict[str, Any]) -> None:
    assert past.anomalies(account(services=[service(amount=amount)], past_items=charges(*before), **more)) == []


def test_a_year_is_not_compared_with_months_nor_a_long_month_with_a_short_one() -> None:
    yearly = account(services=[service(1, "100.00", "Annually")], past_items=charges(*["10.00"] * 6))
    assert past.anomalies(yearly) == []
    at_the_end = account(
        services=[service(due="2027-01-31")], past_items=charges("10.00", "10.00", "10.00", due="2027-01-31")
    )
    assert past.anomalies(at_the_end) == []


def test_what_is_new_is_said_for_thirty_days_and_three_at_most_the_largest_first() -> None:
    rows = [service(n, f"{n}.00", registered="2026-11-20") for n in range(1, 6)]
    odd = past.anomalies(account(services=rows))
    assert [(a.line.id, a.new, str(a.since)) for a in odd] == [(n, True, "2026-11-20") for n in (5, 4, 3)]
    assert past.anomalies(account(services=[service(registered="2026-10-20")])) == []


def test_use_that_grows_is_an_anomaly() -> None:
    meter = [1, "traffic", "Traffic", "GB", "0", "simple", [["0", "0.10"]]]
    made = account(services=[service()], past_items=charges(*["10.00"] * 4), metered=[meter])
    used = {(1, "traffic"): Used(D(900), [D(0)] * 7)}
    assert [(a.old, a.new_amount) for a in past.anomalies(made, used)] == [(D("10.00"), D("100.00"))]


def test_twelve_months_by_family() -> None:
    rows = [
        accounts.past(1, "10.00", "2026-11-05"),
        accounts.past(2, "8.00", "2026-11-05", status="Unpaid"),
        accounts.past(99, "5.00", "2025-12-05"),
        accounts.past(1, "10.00", "2025-11-05"),
        accounts.past(1, "7.00", "2026-10-05", status="Refunded"),
        accounts.past(1, "30.00", "2026-10-05", kind="Domain"),
    ]
    months = past.months(account(**{**MANY, "past_items": rows, "open": [], "open_items": []}))
    assert (months[0][0], months[-1][0]) == ("2025-12", "2026-11")
    assert len(months) == 12
    sums = {m: {k: str(v) for k, v in f.items()} for m, f in months if f}
    assert sums == {
        "2025-12": {"gone": "5.00"},
        "2026-10": {"domains": "30.00"},
        "2026-11": {"g3": "10.00", "g4": "8.00"},
    }


LEDGER = {
    "invoices": [row("invoices", id=7, number="A-7", at="2026-11-03", due="2026-11-10", paid_at="2026-11-05",
      total="2.00", credit="10.00", status="Paid")],
    "transactions": [
        [1, "2026-11-01", "paypal", "20.00", "0.00", 5, 0],
        [2, "2026-11-05", "=cmd()", "2.00", "0.00", 7, 0],
        [3, "2026-11-09", "paypal", "0.00", "1.50", 7, 2],
    ],
    "credits": [[1, "2026-11-01", "20.00", 5], [2, "2026-11-03", "-10.00", 7]],
    "credit_after": [["3.00"]],
}  # fmt: skip


def test_the_ledger_is_one_dated_list_with_running_credit() -> None:
    book = ledger.ledger(account("18.00", **LEDGER))
    assert (book.opening, book.closing) == (D("5.00"), D("15.00"))
    assert [(str(e.at)[8:], e.kind, str(e.amount), str(e.credit), e.number) for e in book.entries] == [
        ("01", "payment", "20.00", "5.00", "5"),
        ("01", "credit_added", "20.00", "25.00", "5"),
        ("03", "invoice", "12.00", "25.00", "A-7"),
        ("03", "credit_taken", "10.00", "15.00", "A-7"),
        ("05", "payment", "2.00", "15.00", "A-7"),
        ("09", "refund", "1.50", "15.00", "A-7"),
    ]


def test_the_ledger_as_csv_is_read_by_a_csv_reader_and_computes_nothing() -> None:
    text = ledger.as_csv(account("18.00", **LEDGER), lambda word: {"payment": 'Pay, "in"'}.get(word, word))
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read[0] == list(ledger.COLUMNS)
    assert len(read) == 7
    assert text.count("\r\n") == 7
    assert read[1][1] == 'Pay, "in"'
    assert read[5][3] == "'=cmd()"
    assert read[6][4] == "-1.50"
    assert read[4][4] == "-10.00"


@given(st.text(max_size=20))
def test_no_cell_is_a_formula(text: str) -> None:
    shown = ledger.cell(text)
    assert shown in (text, f"'{text}")
    assert not shown.lstrip(" ").startswith(("=", "+", "@", "\t", "\r"))
    assert not shown.startswith("-") or float(shown) <= 0


def test_charges_to_come_as_a_calendar() -> None:
    made = account("15.00", services=[service(1, name="föö; a,b\\c\r\nEND:VCALENDAR" + "ü" * 80)], rates=VAT)
    charges = events.events(made, 30)
    text = calendars.calendar(
        made, charges, "bridge.example.com", "Charges, to come", lambda e: f"{e.line.name}: {e.gross}"
    )
    lines = text.split("\r\n")
    assert max(len(line.encode()) for line in lines) <= 75
    assert lines[-1] == ""
    assert "\n" not in text.replace("\r\n", "")
    whole = text.replace("\r\n ", "").split("\r\n")
    assert whole.count("END:VCALENDAR") == 1
    assert whole.count("BEGIN:VEVENT") == whole.count("END:VEVENT") == 2
    assert "X-WR-CALNAME:Charges\\, to come" in whole
    assert next(line for line in whole if line.startswith("SUMMARY")).startswith(
        "SUMMARY:föö\\; a\\,b\\\\c\\nEND:VCALENDAR"
    )
    uids = [line for line in whole if line.startswith("UID:")]
    assert uids == ["UID:7-hosting-1-20261205@bridge.example.com", "UID:7-hosting-1-20270105@bridge.example.com"]
    tomorrow = replace(made, today=date(2026, 11, 27))  # the same charges have the same names
    again = calendars.calendar(tomorrow, events.events(tomorrow, 30), "bridge.example.com", "x", str)
    assert set(uids) <= set(again.replace("\r\n ", "").split("\r\n"))


@given(st.text(max_size=200))
def test_lines_are_folded_at_characters_and_unfold_to_what_they_were(text: str) -> None:
    line = f"SUMMARY:{calendars.escaped(text)}"
    try:
        line.encode()
    except UnicodeEncodeError:
        return
    parts = calendars.folded(line).split("\r\n")
    assert all(len(p.encode()) <= 75 for p in parts)
    assert "".join([parts[0], *(p[1:] for p in parts[1:])]) == line


SOLD = {
    "products": PRODUCTS,
    "cycles": [[1, "monthly", "10.00"], [1, "annually", "100.00"], [5, "monthly", "25.00"], [5, "annually", "250.00"]],
    "upgrades": [[1, 5]],
}


def computed(account: Account, **more: Any) -> what_if.WhatIf:
    answer = what_if.what_if(account, 1, **more)
    assert isinstance(answer, what_if.WhatIf), answer
    return answer


def test_what_if_it_is_cancelled() -> None:
    made = account("15.00", services=[service(), service(2, "5.00")], addons=[addon()], **SOLD)
    answer = computed(made)
    assert (answer.now.year, answer.then.year, answer.saves) == (156, 0, 156)
    year = [e for e in events.events(made, 365) if e.line.id != 2 and (e.due - made.today).days < 365]
    assert answer.need_now - answer.need_then == sum(e.gross for e in year)


def test_what_if_it_is_paid_yearly_or_upgraded() -> None:
    made = account("15.00", services=[service(qty=2, amount="20.00")], **SOLD)
    yearly = computed(made, cycle="annually")
    assert (yearly.amount, yearly.saves) == (D("200.00"), 40)
    assert yearly.need_now - yearly.need_then == 40  # twelve months against one year, also where two years are taken
    upgraded = computed(made, product=5)
    assert (upgraded.amount, upgraded.saves) == (D("50.00"), -360)
    assert what_if.choices(made, made.lines[0]) == [
        ("cancel", 1, ""),
        ("cycle", 1, "annually"),
        ("product", 5, "monthly"),
    ]
    assert made.lines[0].months == 1  # nothing was changed


@pytest.mark.parametrize(
    ("rows", "wish", "why"),
    [
        ({"services": []}, {}, "no_service"),
        ({"services": [service(status="Pending")]}, {}, "not_running"),
        ({"services": [service()], "cancels": [[1, "Immediate", ""]]}, {}, "not_running"),
        ({"services": [service(amount="12.00")]}, {"cycle": "annually"}, "own_price"),
        ({"services": [service()]}, {"cycle": "quarterly"}, "not_offered"),
        ({"services": [service()]}, {"cycle": "monthly"}, "not_offered"),
        ({"services": [service()]}, {"product": 2}, "not_offered"),
        ({"services": [service()]}, {"product": 77}, "not_offered"),
    ],
)
def test_what_cannot_be_computed_says_why(rows: dict[str, Any], wish: dict[str, Any], why: str) -> None:
    assert what_if.what_if(account(**rows, **SOLD), 1, **wish) == why


def told(credit_: str, days: int = 14, **more: Any) -> warnings.Notice | None:
    own = {"services": [service(due="2026-12-15")], **more}  # its invoice is made on 1 December
    return warnings.warning(account(credit_, **own), days)


def test_a_warning_comes_so_many_days_before_and_names_what_is_missing() -> None:
    notice = told("7.00")
    assert notice
    assert (str(notice.through), str(notice.on), notice.money) == ("2026-11-30", "2026-12-01", "3.00 EUR")
    assert told("7.00", 5)
    assert not told("7.00", 4)


def test_a_warning_is_of_one_event_whatever_is_missing() -> None:
    one, two = told("7.00"), told("2.00")
    assert one
    assert two
    assert one.key == two.key
    assert one.missing != two.missing
    after = told("17.00", 60)
    assert after
    assert after.key != one.key


@pytest.mark.parametrize(
    ("credit_", "more"),
    [
        ("0.00", {}),
        ("-1.00", {}),
        ("7.00", {"settings": {"NoAutoApplyCredit": "on"}}),
        ("7.00", {"services": []}),
        ("9999.00", {}),
        ("5.00", {"open": [invoice(1, "6.00")]}),
    ],
)
def test_nobody_is_warned_without_need(credit_: str, more: dict[str, Any]) -> None:
    assert told(credit_, **more) is None


def test_a_warned_client_who_adds_what_is_missing_is_covered() -> None:
    notice = told("7.00")
    assert notice
    assert told(str(D("7.00") + notice.missing), 14) is None
    assert credit.lasts(account("10.00", services=[service(due="2026-12-15")])).on == date(2027, 1, 1)
