"""Ledger, what-if, what changed and the two files as the bridge answers for them."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest

from tests import accounts
from tests.accounts import VAT, service
from tests.looks import read
from tests.test_charts import shim_of
from tests.test_costs_lists import LEDGER, SOLD, charges
from tests.test_signature import Shim
from tests.world import World

URLS = {"invoice": "viewinvoice.php?id=", "service": "clientarea.php?action=productdetails&id=", "domain": "d?id="}


@pytest.fixture
def shim(world: World) -> Shim:
    return shim_of(world)


def ask(shim: Shim, page: str, credit: str = "15.00", status: int = 200, **more: Any) -> dict[str, Any]:
    reply = shim.send("POST", f"/v1/dashboard/{page}?theme=bs4", accounts.body(credit, urls=URLS, **more))
    assert reply.status_code == status, reply.text
    return dict(reply.get_json())


def cells(html: str) -> list[list[str]]:
    return [[c.text.strip() for c in tr.find("td")] for tr in read(html).find("tr") if tr.find("td")]


def test_the_ledger_of_a_month(shim: Shim) -> None:
    html = ask(shim, "ledger", "18.00", ask={"month": "2026-11"}, **LEDGER)["html"]
    assert cells(html)[3] == ["3 Nov", "Credit used", "A-7", "-10.00 EUR", "15.00 EUR"]
    assert len(cells(html)) == 6
    assert "Credit at the beginning: 5.00 EUR. At the end: 15.00 EUR." in html
    assert 'href="viewinvoice.php?id=7"' in html
    assert "vmb[page]=csv&amp;vmb[month]=2026-11" in html


def test_the_ledger_as_a_file(shim: Shim) -> None:
    reply = ask(shim, "csv", "18.00", ask={"month": "2026-11"}, **LEDGER)
    assert (reply["name"], reply["type"]) == ("ledger-2026-11.csv", "text/csv")
    rows = list(csv.reader(io.StringIO(reply["text"], newline="")))
    assert rows[0] == ["Date", "What", "Invoice", "Payment method", "Amount", "Currency", "Credit after"]
    assert rows[6] == ["2026-11-09", "Refund", "A-7", "paypal", "-1.50", "EUR", "15.00"]
    assert rows[5][3] == "'=cmd()"


def test_charges_to_come_as_a_file(shim: Shim) -> None:
    reply = ask(shim, "calendar", services=[service(cycle="Annually")], rates=VAT)
    assert (reply["name"], reply["type"]) == ("charges.ics", "text/calendar")
    assert "SUMMARY:vm-1.example.com: 12.00 EUR\r\n" in reply["text"]
    assert reply["text"].count("BEGIN:VEVENT") == 2
    for due in ("20261205", "20271205"):  # of the second the invoice is made within the year
        assert f"UID:7-hosting-1-{due}@" in reply["text"]


@pytest.mark.parametrize("page", ["csv", "calendar"])
def test_files_are_for_who_may_see_invoices(shim: Shim, page: str) -> None:
    assert ask(shim, page, may=["products"], status=403)["error"]["code"] == "no_permission"


@pytest.mark.parametrize("page", ["ledger", "whatif"])
def test_who_may_not_see_invoices_is_told_whom_to_ask(shim: Shim, page: str) -> None:
    html = ask(shim, page, may=["products"], services=[service()], **SOLD, **LEDGER)["html"]
    assert "Ask the account's owner" in html
    assert "EUR" not in html


@pytest.mark.parametrize("page", ["home", "dashboard", "addfunds", "list", "whatif"])
def test_who_may_not_see_what_is_charged_is_not_told_that_nothing_is(shim: Shim, page: str) -> None:
    """Sums of what is not seen are no 0: whoever sees invoices alone would believe that nothing comes."""
    html = ask(shim, page, may=["invoices"], services=[service()], domains=[accounts.domain()])["html"]
    assert "owner for access to services" in html
    for lie in ("Nothing is", "No service", "no service", "nothing to add", "Cost per month", "Coming up"):
        assert lie not in html.replace("Nothing is ordered", "").replace("No invoice", "")


@pytest.mark.parametrize(("may", "said"), [("products", "Domains are not"), ("domains", "Services are not")])
def test_sums_of_a_part_say_what_is_not_in_them(shim: Shim, may: str, said: str) -> None:
    rows = {"services": [service()], "domains": [accounts.domain()]}
    for page in ("home", "dashboard", "addfunds"):
        html = ask(shim, page, may=["invoices", may], client={"credit": "9000.00"}, **rows)["html"]
        assert f"{said} counted here" in html
        assert "nothing to add" not in html
        assert "The credit covers what is coming" not in html
    for page in ("home", "dashboard", "addfunds"):
        assert "counted here" not in ask(shim, page, **rows)["html"]


def test_who_may_not_see_invoices_has_no_columns_of_money(shim: Shim) -> None:
    html = ask(shim, "list", may=["products"], services=[service()])["html"]
    assert "Per month" not in html
    assert "Most expensive first" not in html
    assert "Per month" in ask(shim, "list", services=[service()])["html"]


@pytest.mark.parametrize("page", ["home", "dashboard", "addfunds"])
def test_what_cannot_be_read_is_no_0_in_silence(shim: Shim, page: str) -> None:
    broken = {"services": [service(due="0000-00-00"), service(2, due="2026-12-05")], "domains": []}
    html = ask(shim, page, "9000.00", **broken)["html"]
    assert "1 entry is in no sum" in html
    assert "#vmb-missed" in html
    for lie in ("nothing to add", "The credit covers what is coming"):
        assert lie not in html
    assert "in no sum" not in ask(shim, page, services=[service()])["html"]
    cut = ask(shim, page, "9000.00", services=[service(2, due="2026-12-05")], cut={"services": 3})["html"]
    assert "leave some rows out" in cut
    assert "nothing to add" not in cut


def test_settings_that_cannot_be_read_make_sums_about_right(shim: Shim) -> None:
    assert "about right" not in ask(shim, "home", services=[service()])["html"]
    assert "about right" in ask(shim, "home", services=[service()], settings={"TaxType": "?"})["html"]


def test_the_list_is_in_the_menu_of_who_has_domains_alone(shim: Shim) -> None:
    html = ask(shim, "hub", may=["domains"], domains=[accounts.domain()])["html"]
    assert "vmb[page]=list" in html
    assert "vmb[page]=whatif" not in html
    assert "example-1.com" in ask(shim, "list", may=["domains"], domains=[accounts.domain()])["html"]
    assert "vmb[page]=list" not in ask(shim, "hub", may=["profile"])["html"]


def test_what_if(shim: Shim) -> None:
    rows = {"services": [service()], **SOLD}
    html = ask(shim, "whatif", ask={"service": 1, "cycle": "annually"}, **rows)["html"]
    assert "You save, a year" in html
    assert "20.00 EUR" in html
    assert "Nothing is ordered" in html
    assert "&amp;vmb[service]=1&amp;vmb[cycle]=annually" in html
    assert "change to VPS M" in html
    html = ask(shim, "whatif", ask={"service": 1, "product": 5}, **rows)["html"]
    assert "It costs more, a year" in html
    assert "180.00 EUR" in html
    html = ask(shim, "whatif", ask={"service": 1}, **rows)["html"]
    assert "120.00 EUR" in html
    assert "You save" in html


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"service": 99}, "This service is not there any more"),
        ({"service": 1, "cycle": "quarterly"}, "This is not offered for this service."),
        ({"service": 2, "cycle": "annually"}, "Its price is its own"),
    ],
)
def test_what_cannot_be_computed_is_said(shim: Shim, asked: dict[str, Any], said: str) -> None:
    html = ask(shim, "whatif", ask=asked, services=[service(), service(2, "12.00")], **SOLD)["html"]
    assert said in html
    assert "You save" not in html


def test_what_is_asked_about_is_what_is_chosen(shim: Shim) -> None:
    rows = {"services": [service(), service(2)], "cancels": [[2, "End of Billing Period", "2026-11-20"]], **SOLD}
    html = ask(shim, "whatif", ask={"service": 2}, **rows)["html"]
    assert "This service is not charged again" in html
    [chosen] = [o for o in read(html).find("option") if "selected" in o.at]
    assert chosen.at["value"] == "2"
    [chosen] = [o for o in read(ask(shim, "whatif", **rows)["html"]).find("option") if "selected" in o.at]
    assert chosen.at["value"] == "1"  # nothing is asked: the first, so that the page has something to say


def test_what_costs_otherwise_than_it_did_is_on_the_dashboard_with_its_service(shim: Shim) -> None:
    rows = {"services": [service(amount="15.00")], "past_items": charges("10.00", "10.00", "10.00")}
    html = ask(shim, "dashboard", **rows)["html"]
    assert "10.00 EUR before, 15.00 EUR now" in html
    assert "clientarea.php?action=productdetails&amp;id=1" in html
    assert "before," not in ask(shim, "dashboard", services=[service()], past_items=charges(*["10.00"] * 3))["html"]


def test_an_amount_keeps_its_sides_in_a_language_from_right_to_left(shim: Shim) -> None:
    for language, amount in (("pseudo-rtl", "\u2066-3.00 EUR\u2069"), ("english", "-3.00 EUR")):
        reply = shim.send(
            "POST",
            f"/v1/dashboard/dashboard?theme=bs4&language={language}",
            accounts.body("9.00", urls=URLS, services=[service(cycle="Annually")], rates=VAT),
        )
        assert amount in [cell for row in cells(reply.get_json()["html"]) for cell in row]


def test_what_is_suspended_leads_to_its_invoice_or_to_staff(shim: Shim) -> None:
    late = {
        "services": [service(1, status="Suspended")],
        "open": [accounts.invoice(100), accounts.invoice(101, "0.00")],
    }
    items = [accounts.item(100, of=1), accounts.item(101, of=1, amount="0.00")]
    rest = {"ask": {"show": "suspended"}, "urls": {**URLS, "ticket": "submitticket.php"}}

    def links(page: str, **more: Any) -> list[str]:
        reply = shim.send("POST", f"/v1/dashboard/{page}", accounts.body("0.00", **{**rest, **more}))
        return [
            a.at["href"]
            for a in read(reply.get_json()["html"]).find("a")
            if a.text in ("Open its invoice", "Write to us")
        ]

    assert links("list", **late, open_items=items) == ["viewinvoice.php?id=100"]
    assert links("list", services=late["services"]) == ["submitticket.php"]
    assert links("list", **late, open_items=items, may=["products", "tickets"]) == ["submitticket.php"]
    assert links("list", **late, open_items=items, may=["products"]) == []  # WHMCS would refuse it
    assert links("dashboard", **late, open_items=items) == ["submitticket.php"]


def test_a_long_list_has_pages_and_no_row_is_lost(shim: Shim) -> None:
    many = [service(n, name=f"{n:04}.example.com") for n in range(1, 451)]

    def page(name: str, skip: int, **more: Any) -> tuple[list[str], dict[str, str]]:
        html = ask(shim, name, services=many, ask={"skip": skip, **more})["html"]
        links = {a.at["rel"]: a.at["href"] for a in read(html).find("a") if "rel" in a.at}
        return [row[0][:4] for row in cells(html)], links

    rows, skip = list[str](), 0
    for n, before, after in ((200, None, 200), (200, 0, 400), (50, 200, None)):
        listed, links = page("list", skip, show="active", by="next")
        assert len(listed) == n
        rows += listed
        for rel, to in (("prev", before), ("next", after)):
            assert (rel in links) == (to is not None)
            assert links.get(rel, "").endswith(
                f"vmb[show]=active&vmb[family]=&vmb[by]=next&vmb[skip]={to}" * (to is not None)
            )
        skip = after or 0
    assert rows == [f"{n:04}" for n in range(1, 451)]
    assert page("list", 9999)[0] == rows[:200]  # what skips more than there is


def test_a_long_month_of_the_ledger_has_pages(shim: Shim) -> None:
    paid = [[n, "2026-11-05", "stripe", "1.00", "0.00", 0, 0] for n in range(1, 302)]
    counts = [len(cells(ask(shim, "ledger", transactions=paid, ask={"skip": skip})["html"])) for skip in (0, 200)]
    assert counts == [200, 101]


def test_what_stands_above_all_says_how_much_more_there_is(shim: Shim) -> None:
    late = [accounts.invoice(n, due="2026-11-01") for n in range(1, 26)]
    many = [service(n) for n in range(1, 204)] + [service(n, "x") for n in range(300, 361)]
    html = ask(shim, "dashboard", services=many, open=late)["html"]
    numbers = re.findall(r"(\d+) more are not shown\.", read(html).text)
    assert (numbers[0], numbers[-1], len(numbers)) == ("5", "11", 3)  # of invoices, charges, and what is not counted


def test_a_calendar_that_is_too_long_ends_with_a_whole_day_and_says_so(shim: Shim) -> None:
    many = [service(n, due=f"2026-12-{1 + n % 28:02}") for n in range(1, 301)]
    text = ask(shim, "calendar", services=many)["text"]
    days = re.findall(r"DTSTART;VALUE=DATE:(\d+)", text)
    assert 1900 < len(days) <= 2000
    [name] = re.findall("X-WR-CALNAME:(.*)\r", text)
    assert name.startswith("Charges to come\\, before ")
    whole = ask(shim, "calendar", services=many[:100])["text"]
    assert "X-WR-CALNAME:Charges to come\r" in whole
    of_last = sum(day == days[-1] for day in days)
    assert of_last in (10, 11)  # of 300 on 28 days


def test_the_verification_centre_ticks_what_is_proven_and_leads_to_the_rest(shim: Shim) -> None:
    urls = {"verify": "/verify", "security": "/security", "details": "/details", "paymethods": "/methods"}

    def steps(*user: bool, client: dict[str, Any], card: str, **more: Any) -> dict[str, tuple[bool, str]]:
        rows = {"users": [[1, "Ada", "a@x.example", True, True, *user]], "paymethods": [["stripe", "Card", card]]}
        sent = accounts.body("1.00", urls=urls, client=client, **rows, **more)
        by_name = {}
        for li in read(shim.send("POST", "/v1/dashboard/verification", sent).get_json()["html"]).find("li"):
            if "check" in li.at.get("class", "") or "todo" in li.at.get("class", ""):
                to = [f.at["action"] for f in li.find("form")] + [a.at["href"] for a in li.find("a")]
                by_name[li.find("strong")[0].text] = li.at["class"] == "vmb-done-check", "".join(to)
        return by_name

    proven = {"has_tax_id": True, "has_address": True}
    assert steps(True, True, client=proven, card="2027-01") == {
        "E-mail address": (True, ""),
        "Two-factor authentication": (True, "/security"),
        "Address": (True, "/details"),
        "Tax ID": (True, "/details"),
        "Payment method": (True, "/methods"),
    }
    bare = {"has_tax_id": False, "has_address": False}
    todo = steps(False, False, client=bare, card="2026-10")
    assert {done for done, _ in todo.values()} == {False}
    assert todo["E-mail address"] == (False, "/verify")  # the mail is sent again by POST
    assert set(steps(False, False, client=bare, card="", may=["products"])) == {
        "E-mail address",
        "Two-factor authentication",
    }
