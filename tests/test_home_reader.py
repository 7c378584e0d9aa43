"""How WHMCS's tables become the dashboard's call, in real PHP: how often they are asked, whose balance of an invoice
counts, and how large a call may be."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from tests import home_site
from tests.home_site import BRANCH, COMPANY, GUEST, USER, log_in
from tests.looks import read
from tests.system import ROOT, System
from tests.test_home import PAGES, asked, furnished, get, other_bridge, strip, system

__all__ = ["furnished", "system"]
LIMIT = 256 * 1024  # bytes that the bridge takes


MOST = {"home": 11, "dashboard": 13, "list": 10, "addfunds": 12, "ledger": 14, "whatif": 13, "hub": 10}


def checked() -> set[tuple[str, str]]:
    """What docs/dashboard-check.sql looks for: (table, column)."""
    text = (ROOT / "docs/dashboard-check.sql").read_text("utf-8")
    return {(t, c) for t, listed in re.findall(r"'(tbl\w+)'(?: AS name)?, '([\w,]+)'", text) for c in listed.split(",")}


def columns(sql: str) -> set[tuple[str, str]]:
    """(table, column) of WHMCS's that a statement names."""
    text = re.sub(r"'[^']*'", "", sql.replace('"', ""))
    word = r"(?!WHERE|ORDER|LIMIT|LEFT|INNER|GROUP|ON)(\w+)"
    names = {alias or table: table for table, alias in re.findall(rf"(?:FROM|JOIN) (tbl\w+)(?: (?:AS )?{word})?", text)}
    pairs = {(names[a], c) for a, c in re.findall(r"\b(\w+)\.(\w+)", text) if a in names}
    if len(names) == 1 and not pairs:
        [table] = names.values()
        chosen = re.findall(r"\w+", text[6 : text.index(" FROM")]) if "*" not in text else []
        used = re.findall(r"(\w+) (?:=|>=|<|IN|NOT IN|IS) ", text) + re.findall(r"ORDER BY (\w+)", text)
        pairs = {(table, c) for c in {*chosen, *used} - {"NOT"}}
    return pairs


def test_what_the_check_looks_for_is_what_whmcs_has(system: System) -> None:
    with sqlite3.connect(system.folder / "host/whmcs.sqlite", timeout=20) as db:
        has = {(t, row[1]) for t in {t for t, _ in checked()} for row in db.execute(f"PRAGMA table_info({t})")}
    assert checked() - has == set()


def test_the_number_of_queries_is_that_of_one_service(system: System) -> None:
    """With prices of what is billed by use it is one more."""
    system.post("/test/addon", {"what": "activate"})

    def counted() -> dict[str, list[str]]:
        numbers = {}
        for page in MOST:
            log_in(system, USER, client)
            asked(system)
            get(system, page)
            [(_, numbers[page])] = asked(system)
        return numbers

    client = COMPANY
    few = counted()
    client = BRANCH
    rows, _, _ = home_site.many(2000, 0, date.today())
    system.post("/test/tables", {"tblhosting": rows})
    many = counted()
    assert {page: len(statements) for page, statements in few.items()} == MOST
    assert {page: len(statements) for page, statements in many.items()} == MOST
    assert ">2001</span>" in get(system)
    assert "201 to 400 of 2001" in get(system, "list", "&vmb[skip]=200")
    assert get(system, "calendar").count("BEGIN:VEVENT") > 1000
    known = checked()
    asked_for = {pair for page in few.values() for sql in page for pair in columns(sql)}
    assert len(asked_for) > 120
    assert asked_for - known == set()
    secret = re.compile("password|notes|username|description")
    assert not [sql for statements in many.values() for sql in statements if secret.search(sql)]
    system.post("/test/tables", {"clear": ["tblhosting"]})
    home_site.furnish(system)


def opened(s: System) -> str:
    """What is said to be open, and how often WHMCS itself was asked."""
    before = len(s.state().get("local_api", ()))
    said = strip(get(s)).get("Open invoices", "none")
    return f"{said}, asked {len(s.state().get('local_api', ())) - before}"


def of_version(s: System, version: str, **notes: float) -> None:
    """An installation of that version with credit or debit notes on invoices."""
    file = s.folder / "host/host.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"notes": {k.strip("_"): v for k, v in notes.items()}}))
    rows = [{"setting": k, "value": v} for k, v in {**home_site.SETTINGS, "Version": version}.items()]
    s.post("/test/tables", {"clear": ["tblconfiguration"], "tblconfiguration": rows})


def test_from_9_on_the_balance_of_an_open_invoice_is_whmcs_own(system: System) -> None:
    """Credit and debit notes stand in no table that we know."""
    try:
        of_version(system, "8.13.0-release.1", _130=-4.6)
        assert opened(system) == "9,60 EUR, asked 0"
        of_version(system, "9.0.3-release.1", _130=-4.6)
        assert opened(system) == "5,00 EUR, asked 1"
        assert "Pay 5,00 EUR" in get(system)
        of_version(system, "9.1.0-release.1", _130=2.4)
        assert opened(system) == "12,00 EUR, asked 1"
        of_version(system, "10.0.0-release.1", _130=-9.6)
        assert opened(system) == "none, asked 1"
        assert "has been due since" not in get(system)
        part = {"id": 90, "userid": 0, "invoiceid": 130, "amountin": "3.60", "amountout": "0.00"}
        system.post("/test/tables", {"tblaccounts": [part]})  # paid by a gateway that names no client
        of_version(system, "9.0.3-release.1")
        assert opened(system) == "6,00 EUR, asked 1"
        of_version(system, "8.13.0-release.1")
        assert opened(system) == "6,00 EUR, asked 0"
        old = {"userid": COMPANY, "date": "2026-01-01", "duedate": "2026-01-01", "total": "1.00", "status": "Unpaid"}
        system.post("/test/tables", {"tblinvoices": [{"id": 5000 + n, **old} for n in range(30)]})
        of_version(system, "9.0.3-release.1")
        assert opened(system) == "36,00 EUR, asked 20"  # the others by the tables
    finally:
        system.post("/test/tables", {"clear": ["tblaccounts", "tblinvoices"]})
        of_version(system, home_site.SETTINGS["Version"])
        home_site.furnish(system)


class Recorder(BaseHTTPRequestHandler):
    """A bridge that keeps what it was sent."""

    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        text = b'{"result": "success", "html": "<p>kept</p>", "title": "x"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def sent(system: System) -> Iterator[Any]:
    """What a page's call has: (its size, its rows by list, what was cut)."""
    server = HTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(page: str = "home") -> tuple[int, dict[str, int], dict[str, int]]:
        log_in(system, USER, BRANCH)
        assert "<p>kept</p>" in get(system, page)
        raw = Recorder.bodies[-1]
        body = json.loads(raw)
        return len(raw), {k: len(v) for k, v in body["rows"].items()}, dict(body["cut"])

    with other_bridge(system, port=str(server.server_port)):
        yield ask
    server.shutdown()
    server.server_close()
    home_site.furnish(system)


def large(s: System, services: int, charges: int, name: str = "vm.example.com") -> None:
    """An account of so many services with so many past charges."""
    tables = ("tblhosting", "tblinvoices", "tblinvoiceitems")
    rows = home_site.many(services, charges, date.today(), name)
    s.post("/test/tables", {"clear": tables, **dict(zip(tables, rows, strict=True))})


def test_three_thousand_rows_are_sent_whole(system: System, sent: Any) -> None:
    large(system, 500, 2500)
    size, rows, cut = sent()
    assert (rows["services"], rows["past_items"]) == (500, 2500)
    assert size <= LIMIT
    assert cut == {}


def test_of_more_the_past_goes_first_and_it_is_said(system: System, sent: Any) -> None:
    large(system, 500, 2600)
    size, rows, cut = sent()
    assert (rows["services"], rows["past_items"]) == (500, 2500)
    assert cut == {"past_items": 1}  # of how many more nobody has asked
    large(system, 1000, 2500, "a-rather-long-name.of-a-server.example.com")
    size, rows, cut = sent()
    assert rows["services"] == 1000
    assert LIMIT * 0.8 < size <= LIMIT
    assert cut == {"past_items": 2500 - rows["past_items"]}


def test_names_of_many_bytes_fit_too(system: System, sent: Any) -> None:
    """Counted is what is sent: with the escapes of JSON and all bytes of a letter."""
    large(system, 3000, 100, "日本語" * 30 + "&quot;\\/")
    size, rows, cut = sent()
    assert "past_items" not in rows
    assert LIMIT * 0.8 < size <= LIMIT
    assert cut == {"past_items": 100, "services": 3000 - rows["services"]}


def test_no_price_is_sent_of_who_may_not_see_invoices(system: System, sent: Any) -> None:
    sent()
    log_in(system, GUEST)
    for page in (*PAGES, "home"):
        assert "<p>kept</p>" in get(system, page)
        body = json.loads(Recorder.bodies[-1])
        assert len(body["rows"]["services"]) == 6
        assert set(re.findall(r'"(-?\d+\.\d\d)"', json.dumps(body["rows"]))) == {"0.00"}
        assert not {"metered", "cycles", "open", "domains"} & body["rows"].keys()
        assert (body["client"]["credit"], body["client"]["discount"], body["rates"]) == ("0.00", "0.00", [])
        assert not body["client"]["has_tax_id"]


def test_the_bridge_takes_what_fits_and_says_what_is_missing(system: System) -> None:
    large(system, 3000, 2600)
    log_in(system, USER, BRANCH)
    try:
        text = get(system, "list")
        assert "leave some rows out" in text
        assert "vm.example.com" in text
    finally:
        system.post("/test/tables", {"clear": ["tblhosting", "tblinvoices", "tblinvoiceitems"]})
        home_site.furnish(system)


def montreal(today: date) -> dict[str, Any]:
    """An account with what there is to get wrong: two levels of tax of a province, a group's discount, credit that an
    invoice has taken, a part of it paid, a top-up and a mass payment that nobody owes, what does not recur, what ends,
    what has ended, what was never begun."""
    c, day = 9, lambda n: (today + timedelta(n)).isoformat()

    def service(i: int, amount: str, status: str = "Active", due: int = 20, **more: Any) -> dict[str, Any]:
        own = {"id": i, "userid": c, "packageid": 54, "domain": f"{i}.example.com", "domainstatus": status, "qty": 1}
        own |= {"billingcycle": "Monthly", "amount": amount, "firstpaymentamount": "77.00", "regdate": day(-400)}
        return own | {"nextduedate": day(due), **more}

    def invoice(i: int, total: str, status: str = "Unpaid", **more: Any) -> dict[str, Any]:
        plain = {"userid": c, "invoicenum": "", "date": day(-5), "duedate": day(9), "credit": "0.00"}
        return {**plain, "id": i, "total": total, "status": status, **more}

    def item(i: int, invoice: int, kind: str, of: int, amount: str) -> dict[str, Any]:
        period = {"userid": c, "taxed": 1, "duedate": day(-11)}
        return {"id": i, "invoiceid": invoice, "type": kind, "relid": of, "amount": amount, **period}

    client = {"id": c, "firstname": "Ann", "lastname": "Roy", "currency": 2, "credit": "12.34", "taxexempt": 0}
    client |= {"address1": "x", "city": "Montreal", "country": "CA", "state": "QC", "groupid": 4, "status": "Active"}
    taxes = ((1, "GST", "", "CA", "5.000"), (2, "PST", "BC", "CA", "7.000"), (2, "QST", "QC", "CA", "9.975"),
             (2, "any", "", "", "50.000"), (1, "VAT", "", "AT", "20.000"))  # fmt: skip
    return {
        "tblclients": [{"companyname": "", "tax_id": "", "language": "", **client}],
        "tblusers_clients": [{"id": 9, "auth_user_id": USER, "client_id": c, "owner": 1, "permissions": ""}],
        "tblclientgroups": [{"id": 4, "groupname": "Partners", "discountpercent": "10.00"}],
        "tbltax": [
            {"id": 20 + n, "level": level, "name": name, "state": state, "country": country, "taxrate": rate}
            for n, (level, name, state, country, rate) in enumerate(taxes)
        ],
        "tblproducts": [{"id": 57, "gid": 4, "name": "Untaxed", "tax": 0, "paytype": "recurring", "servertype": ""}],
        "tblhosting": [
            service(701, "100.00"),
            service(702, "50.00", billingcycle="One Time", nextduedate="0000-00-00"),
            service(703, "0.00", billingcycle="Free Account", nextduedate=None),
            service(704, "900.00", "Terminated"),
            service(705, "800.00", "Completed"),
            service(706, "40.00"),
            service(707, "10.00", "Pending", due=0, regdate=day(0), firstpaymentamount="25.00"),
            service(708, "30.00", due=10, packageid=57, billingcycle="Quarterly"),
        ],
        "tblcancelrequests": [
            {"id": 90, "relid": 706, "type": "Immediate", "date": day(-1)},
            {"id": 91, "relid": 706, "type": "End of Billing Period", "date": day(0)},
            {"id": 92, "relid": 704, "type": "Immediate", "date": day(-90)},
        ],
        "tblinvoices": [
            invoice(800, "27.30", credit="2.70"),
            invoice(801, "50.00"),
            invoice(802, "27.30"),
            invoice(803, "600.00", "Draft"),
            invoice(804, "500.00", "Cancelled"),
            invoice(805, "5.00", "Collections"),
        ],
        "tblinvoiceitems": [
            item(8000, 800, "Hosting", 701, "30.00"),
            item(8001, 801, "AddFunds", 0, "50.00"),
            item(8002, 802, "Invoice", 800, "27.30"),
            item(8005, 805, "LateFee", 800, "5.00"),
        ],
        "tblaccounts": [
            {"id": 95, "userid": 0, "invoiceid": 800, "amountin": "8.30", "amountout": "0.00", "date": day(-1)},
            {"id": 96, "userid": c, "invoiceid": 800, "amountin": "0.00", "amountout": "1.00", "date": day(-1)},
        ],
    }


def test_an_account_is_what_it_comes_to_by_hand(system: System) -> None:
    """Compound: 90.00 and 5 % = 94.50, and 9.975 % of that = 9.43, in all 103.93. Not compound: 90.00 + 4.50 + 8.98."""
    settings = {**home_site.SETTINGS, "CreateInvoiceDaysBeforeAnnually": ""}

    def figures(query: str = "", **changed: str) -> tuple[list[str], str]:
        rows = [{"setting": k, "value": v} for k, v in {**settings, **changed}.items()]
        system.post("/test/tables", {"clear": ["tblconfiguration"], "tblconfiguration": rows})
        log_in(system, USER, 9)
        page = read(get(system, "dashboard", query))
        text = re.sub(r"\s+", " ", page.text)
        return [dd.text for dd in page.find("dl", class_="vmb-periods")[0].find("dd")], text

    system.post("/test/tables", montreal(date.today()))
    try:
        costs, text = figures(TaxL2Compound="on")
        assert strip(get(system)) == {
            "Balance": "-$12.66 USD due",  # 12.34 - (27.30 - 8.30 + 1.00) - 5.00
            "Credit": "$12.34 USD",
            "Open invoices": "$25.00 USD",
        }
        assert costs == ["$0.1356 USD", "$3.25 USD", "$22.78 USD", "$99.00 USD", "$1,188.00 USD"]
        assert "Ending, not in it: $36.00 USD a month." in text
        assert "2 services do not recur." in text
        assert "$90.00 USD $13.93 USD $103.93 USD" in text.replace("USD$", "USD $")
        assert "$27.00 USD $0.00 USD $27.00 USD" in text.replace("USD$", "USD $")
        assert "Recommended top-up: $130.93 USD" in text  # 25.00 + 103.93 + 27.00 - 12.34, less 12.66 by the invoices
        costs, _ = figures("&vmb[tax]=with", TaxL2Compound="on")
        assert costs[3:] == ["$112.93 USD", "$1,355.16 USD"]
        assert "$103.48 USD" in figures()[1]
        _, text = figures(TaxType="Inclusive", TaxL2Compound="on")
        assert "$90.00 USD" in text
        assert "$103.93 USD" not in text
        exempt = [{**montreal(date.today())["tblclients"][0], "taxexempt": 1}]
        system.post("/test/tables", {"tblclients": exempt})
        _, text = figures(TaxType="Inclusive", TaxL2Compound="on", TaxInclusiveDeduct="on")
        assert "$77.94 USD $0.00 USD $77.94 USD" in text.replace("USD$", "USD $")  # 90 / (1.05 x 1.09975)
        counts = {c.text for c in read(get(system)).find("a", class_="vmb-card vmb-counter vmb-counter-all")}
        assert counts == {"7 Total services"}
    finally:
        tables = [t for t in montreal(date.today()) if t not in ("tblusers_clients", "tblproducts")]
        system.post("/test/tables", {"clear": [*tables, "tblusers_clients"]})
        home_site.furnish(system)
