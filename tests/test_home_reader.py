"""How WHMCS's tables become the dashboard's call, in real PHP: how often they are asked, whose balance of an invoice
counts, and how large a call may be."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import pytest

from tests import home_site
from tests.home_site import BRANCH, COMPANY, USER, log_in
from tests.system import System
from tests.test_home import asked, furnished, get, other_bridge, strip, system

__all__ = ["furnished", "system"]
LIMIT = 256 * 1024  # bytes that the bridge takes


MOST = {"home": 11, "dashboard": 13, "list": 10, "addfunds": 12, "ledger": 14, "whatif": 13, "hub": 10}


def test_the_number_of_queries_is_that_of_one_service(system: System) -> None:
    """With prices of what is billed by use it is one more."""
    system.post("/test/addon", {"what": "activate"})

    def counted() -> dict[str, list[str]]:
        found = {}
        for page in MOST:
            log_in(system, USER, client)
            asked(system)
            get(system, page)
            [(_, found[page])] = asked(system)
        return found

    client = COMPANY
    few = counted()
    client = BRANCH
    rows, _, _ = home_site.many(2000, 0, date.today())
    system.post("/test/tables", {"tblhosting": rows})
    many = counted()
    assert {page: len(statements) for page, statements in few.items()} == MOST
    assert {page: len(statements) for page, statements in many.items()} == MOST
    assert ">2001</span>" in get(system)
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
