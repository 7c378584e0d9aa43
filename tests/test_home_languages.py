"""The dashboard in other languages: no sentence is left in English, plurals have the language's forms, days are the
language's, amounts stay the client's own."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo

from bridge import languages
from bridge.accounts.columns import PERMISSIONS
from tests import accounts, messages
from tests.accounts import VAT, addon, domain, invoice, item, past, service
from tests.looks import Node, read
from tests.test_charts import shim_of
from tests.world import World

NAME = "日本"  # of everything that somebody named: whatever Latin letter is left is ours
URLS = dict.fromkeys(
    ("home", "details", "invoices", "service", "domain", "invoice", "masspay", "addfunds", "order", "logout", "profile",
     "password", "security", "accounts", "contacts", "users", "paymethods", "verify"), "/x?id=",
)  # fmt: skip
MONTHS = re.compile(r"(January|February|March|April|May|June|July|August|September|October|November|December)")
SHORT = re.compile(r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b")
PAGES = ("home", "dashboard", "list", "addfunds", "hub", "ledger", "whatif", "verification")


def named(rows: list[list[Any]], at: int) -> list[list[Any]]:
    return [[*row[:at], NAME, *row[at + 1 :]] for row in rows]


def everything(**more: Any) -> dict[str, Any]:
    """An account of which every block has something to say."""
    services = [
        service(1, "20.00", due="2026-12-05"),
        service(2, "8.00", status="Suspended"),
        service(3, "5.00", "One Time"),
        service(4, "9.00", due="2026-12-20"),
        service(5, "x"),
        service(6, "12.00", "Annually", status="Pending"),
        service(7, "30.00", registered="2026-11-20", due="2026-12-20"),
    ]
    domains = [domain(1, due="2026-12-10", not_renewed=True), domain(2, status="Grace")]
    rows: dict[str, Any] = {
        "groups": [[3, NAME, 1]],
        "products": [[1, NAME, 3, True, True], [2, NAME, 3, True, True]],
        "services": named(services, 2),
        "addons": named([addon()], 2),
        "domains": named(domains, 1),
        "cancels": [[4, "End of Billing Period", "2026-11-20"]],
        "suspended": [[2, NAME, ""]],
        "open": [invoice(100, number=NAME, due="2026-11-20"), invoice(101, "3.00")],
        "open_items": [item(100, of=2, due="2026-12-05"), item(101, "3.00", of=99)],
        "past_items": [past(1, "8.00", f"2026-{month:02}-05") for month in range(6, 12)],
        "paymethods": [[NAME, "CreditCard", "2026-10"]],
        "gateways": [[NAME, NAME]],
        "users": [[1, NAME, NAME, True, True, False, False], [2, NAME, NAME, False, False, False, False]],
        "accounts": [[7, NAME, "€", "Active", True, True], [8, NAME, "€", "Active", False, False],
                     [9, NAME, "€", "Closed", False, False]],
        "cycles": [[1, "Monthly", "20.00"], [1, "Annually", "200.00"], [2, "Monthly", "40.00"]],
        "upgrades": [[1, 2]],
        "invoices": [[100, NAME, "2026-11-06", "2026-11-20", "", "6.00", "1.00", "Unpaid"]],
        "transactions": [[1, "2026-11-07", NAME, "5.00", "0.00", 100, 0],
                         [2, "2026-11-08", NAME, "0.00", "1.00", 100, 1]],
        "credits": [[1, "2026-11-08", "30.00", 0], [2, "2026-11-09", "-1.00", 100]],
        "credit_after": [["0.00"]],
    }  # fmt: skip
    currency = {"code": "€", "prefix": "€", "suffix": ""}
    client = {"name": NAME, "has_tax_id": False, "has_address": False, "warn": 3}
    limits = {"AddFundsMinimum": "10.00", "AddFundsMaximum": "50.00", "AddFundsMaximumBalance": "900.00"}
    given = {"currency": currency, "client": client, "settings": limits, "rates": VAT, "urls": URLS, **rows, **more}
    return accounts.body("1.00", **given)


def left(node: Node) -> str:
    """What a reader, or one who listens, gets that did not come out of a catalogue."""
    said = [node.text, *(n.at.get(a, "") for n in node.all() for a in ("aria-label", "title", "data-label", "alt"))]
    text, before = " ".join(said), ""
    while text != before:  # values within a sentence are sentences too
        text, before = re.sub(r"\[[^][]*\]", " ", text), text
    return " ".join(re.findall(r"[^\W\d_]*[A-Za-zÀ-ÿ][^\W\d_]*", SHORT.sub("", MONTHS.sub("", text))))


@pytest.mark.parametrize("page", PAGES)
def test_no_word_of_ours_is_left_in_english(world: World, page: str) -> None:
    shim, asks = shim_of(world), list[dict[str, Any]]([{}])
    asks += {
        "addfunds": [{"amount": "1"}, {"amount": "20"}, {"amount": "x"}, {"kept": 1, "horizon": 90}],
        "list": [{"show": show} for show in ("active", "suspended", "ending", "attention")],
        "whatif": [{"service": 1}, {"service": 1, "cycle": "annually"}, {"service": 1, "product": 2}, {"service": 77}],
        "ledger": [{"month": "2020-01"}],
    }.get(page, [])
    tries = [everything(ask=ask) for ask in asks]
    tries += [everything(may=may) for may in ([], ["products"], [p for p in PERMISSIONS if p != "owner"])]
    tries += [everything(services=[], domains=[], addons=[], open=[], open_items=[], past_items=[], gateways=[])]
    tries += [everything(settings=s) for s in ({"AddFundsEnabled": ""}, {"NoAutoApplyCredit": "on"})]
    tries += [everything(client={"credit": "9999.00", "has_order": False}, cut={"past_items": 3})]
    for sent in tries:
        reply = shim.send("POST", f"/v1/dashboard/{page}?theme=bs4&language=pseudo", sent).get_json()
        assert reply["title"].startswith("[")
        assert left(read(reply["html"])) == "", sent["ask"] if "ask" in sent else sent["may"]


def test_what_is_billed_by_use_is_translated_too(world: World) -> None:
    world.order("create")
    world.run()
    metered = [
        [1042, m, m, unit, "0", "simple", [["0", "0.50"]]] for m, unit in (("bandwidth_total", "GB"), ("ipv4", ""))
    ]
    sent = everything(services=named([service(1042)], 2), metered=metered)
    reply = shim_of(world).send("POST", "/v1/dashboard/dashboard?language=pseudo", sent).get_json()
    [table] = read(reply["html"]).find("table", class_="vmb-sheet vmb-by-use")
    assert "[0.00 GB ~]" in table.text
    assert left(read(reply["html"])) == ""


def test_the_files_are_translated_too(world: World) -> None:
    shim = shim_of(world)
    text = shim.send("POST", "/v1/dashboard/csv?language=pseudo", everything()).get_json()["text"]
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert all(cell.startswith("[") for cell in rows[0])
    assert all(row[1].startswith("[") for row in rows[1:])
    text = shim.send("POST", "/v1/dashboard/calendar?language=pseudo", everything()).get_json()["text"]
    assert "X-WR-CALNAME:[" in text


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a language with these sentences in its place."""
    template = {m.id if isinstance(m.id, str) else m.id[0]: m.id for m in messages.collect()}

    def put(code: str, sentences: dict[str, str | tuple[str, ...]]) -> None:
        made = Catalog(locale=code)
        for one, other in sentences.items():
            made.add(template[one], other)  # one that is not extracted is none that a translator gets
        folder = tmp_path / code / "LC_MESSAGES"
        folder.mkdir(parents=True)
        with (folder / "vmbridge.mo").open("wb") as file:
            write_mo(file, made)
        monkeypatch.setenv("VMBRIDGE_LOCALE", str(tmp_path))
        languages._catalogue.cache_clear()

    yield put
    languages._catalogue.cache_clear()


FORMS = {
    "arabic": ("ar", ("zero", "one", "two", "few", "many", "other"), {30: "many", 90: "many", 365: "many"}),
    "hebrew": ("he", ("one", "two", "other"), {30: "other", 90: "other", 365: "other"}),
    "russian": ("ru", ("one", "few", "many"), {30: "many", 90: "many", 365: "many"}),
    "czech": ("cs", ("one", "few", "other"), {30: "other", 90: "other", 365: "other"}),
}


@pytest.mark.parametrize("language", FORMS)
def test_plurals_have_the_forms_of_the_language(world: World, catalogue: Any, language: str) -> None:
    code, names, expected = FORMS[language]
    count = Catalog(locale=code).num_plurals
    catalogue(code, {"%(num)d day": tuple(f"%(num)d {name}" for name in (*names, *names[-1:] * count)[:count])})
    html = shim_of(world).send("POST", f"/v1/dashboard/dashboard?language={language}", everything()).get_json()["html"]
    forms = dict(re.findall(r"(\d+) (zero|one|two|few|many|other)", read(html).text))
    assert {int(n): name for n, name in forms.items()} == expected


def test_days_are_the_languages_and_amounts_the_clients(world: World, catalogue: Any) -> None:
    """Right to left an amount keeps its sides and its digits: it is what WHMCS's own pages show."""
    catalogue("de", {"Balance": "Kontostand", "Coming up": "Was kommt"})
    money = {"code": "EUR", "prefix": "", "suffix": " EUR", "format": 3}
    shim, sent = shim_of(world), everything(currency=money, services=[service(1, "1234.50", due="2026-12-05")])

    def shown(language: str) -> Node:
        return read(shim.send("POST", f"/v1/dashboard/dashboard?language={language}", sent).get_json()["html"])

    german = shown("german")
    assert "Kontostand" in german.text
    assert "Was kommt" in german.text
    assert "5. Dez." in german.text
    assert "1.481,40 EUR" in german.text
    for language, day in (("arabic", "5 ديسمبر"), ("hebrew", "5 בדצמ׳"), ("farsi", "5 دسامبر")):
        page = shown(language)
        [frame] = page.find("div", dir="rtl")
        assert frame.at["lang"] == languages.CODES[language]
        assert day in page.text, language
        assert "\u20661.481,40 EUR\u2069" in page.text, language
        assert "Balance" in page.text  # without a catalogue English, within a frame of the language's direction
