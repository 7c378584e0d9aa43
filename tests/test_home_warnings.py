"""A client's wish for a mail before credit runs out, from the form to the mail: real PHP, the add-on's own table,
WHMCS's daily cron, the real bridge and its worker."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import pytest
import requests

from tests import home_site
from tests.home_site import ADDON, BRANCH, COMPANY, GUEST, USER, log_in
from tests.looks import read
from tests.system import System
from tests.test_home import get, other_bridge

TABLE = "mod_vmbridgehome_warnings"
SUBJECT = "Your credit will not cover everything"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with home_site.furnished(tmp_path_factory.mktemp("system")) as s:
        yield s


@pytest.fixture
def system(furnished: System) -> System:
    log_in(furnished)
    sql(furnished, f"DROP TABLE IF EXISTS {TABLE}")
    return furnished


def sql(s: System, text: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(s.folder / "host/whmcs.sqlite", timeout=20)) as db, db:
        return db.execute(text, values).fetchall()


def kept(s: System) -> dict[int, int]:
    there = sql(s, "SELECT 1 FROM sqlite_master WHERE name = ?", TABLE)
    return dict(sql(s, f"SELECT client_id, days FROM {TABLE}")) if there else {}


def choose(s: System, days: str, **more: str) -> requests.Response:
    form = read(get(s, "addfunds")).find("form", id="vmb-warn")
    token = form[0].hidden()["token"] if form else "token-x"
    sent = {"token": token, "vmb[page]": "addfunds", "vmb[warn]": days}
    return requests.post(f"http://127.0.0.1:{s.host}/{ADDON}", data={**sent, **more}, timeout=20)


def chosen(text: str) -> str:
    assert "vmb-warn" in text, text[-3000:]
    [form] = read(text).find("form", id="vmb-warn")
    return next(o.at["value"] for o in form.find("option") if "selected" in o.at)


def cron(s: System) -> list[str]:
    """What the activity log has of it."""
    before = len(s.state()["activity"])
    assert s.post("/test/cron", {}) == {"result": "success"}
    return [line for line in s.state()["activity"][before:] if "vmbridge" in line]


def mails(s: System) -> list[Any]:
    return [m for m in s.state()["mails"] if m["name"] == SUBJECT]


def another_day(s: System) -> None:
    sql(s, f"UPDATE {TABLE} SET seen = '2026-01-01'")


def test_from_the_form_to_the_mail_and_off_again(system: System) -> None:
    assert cron(system) == []
    assert chosen(get(system, "addfunds")) == "0"
    reply = choose(system, "3")
    assert reply.history[0].status_code == 303
    assert chosen(reply.text) == "3"
    assert "Your choice is kept." in reply.text
    assert kept(system) == {COMPANY: 3}
    assert "Your choice is kept." not in get(system, "addfunds")
    [line] = cron(system)
    assert line.endswith(" 1 were looked at, 1 are written to now.")
    [mail] = system.wait_for(lambda: mails(system), 30, "the mail")
    assert mail["service"] == COMPANY
    assert f"{ADDON.replace('&', '&amp;')}&amp;vmb[page]=addfunds" in mail["text"]
    assert "are missing in your credit" in mail["text"]
    assert "switch it off on the same page" in mail["text"]
    assert cron(system) == []  # one call a day, however often the cron runs
    another_day(system)
    [line] = cron(system)
    assert line.endswith(" 1 were looked at, 0 are written to now.")
    assert chosen(choose(system, "0").text) == "0"
    assert kept(system) == {}
    another_day(system)
    assert cron(system) == []
    assert len(mails(system)) == 1


def test_who_may_not_see_invoices_chooses_nothing(system: System) -> None:
    token = read(get(system, "addfunds")).find("form", id="vmb-warn")[0].hidden()["token"]
    log_in(system, GUEST)
    assert "vmb[warn]" not in get(system, "addfunds")
    assert "Your choice is kept." not in choose(system, "3", token=token).text
    assert kept(system) == {}


@pytest.mark.parametrize("days", ["", "2", "-1", "03", "x", "14.0", "3 "])
def test_other_days_are_not_kept(system: System, days: str) -> None:
    choose(system, "7")
    assert "Your choice is kept." not in choose(system, days).text
    assert kept(system) == {COMPANY: 7}


def test_a_choice_needs_whmcs_token_and_is_of_the_account_that_is_open(system: System) -> None:
    assert choose(system, "3", token="token-other").status_code == 403
    assert kept(system) == {}
    address = f"http://127.0.0.1:{system.host}/{ADDON}&vmb[page]=addfunds&vmb[warn]=3"
    assert requests.get(address, timeout=20).status_code == 200
    assert kept(system) == {}
    log_in(system, USER, BRANCH)
    choose(system, "14", **{"vmb[client]": str(COMPANY), "vmb[id]": str(COMPANY)})
    assert kept(system) == {BRANCH: 14}


def test_a_bridge_that_is_down_is_said_and_asked_again(system: System) -> None:
    choose(system, "3")
    with other_bridge(system, port="1"):
        [line] = cron(system)
    assert "were not looked at today" in line
    assert "cannot be reached" in line
    [line] = cron(system)  # the day has had no call yet
    assert " 1 were looked at" in line


def test_tables_that_cannot_be_read_do_not_stop_the_cron(system: System) -> None:
    choose(system, "3")
    host = system.folder / "host/host.json"
    good = host.read_text()
    host.write_text(json.dumps({**json.loads(good), "database_down": True}))
    try:
        [line] = cron(system)
    finally:
        host.write_text(good)
    assert "were not looked at today" in line
    assert "PDOException" in line


def test_who_is_gone_closed_or_without_credit_is_not_sent(system: System) -> None:
    choose(system, "3")
    sql(system, f"INSERT INTO {TABLE} (client_id, days) VALUES (4711, 3), ({BRANCH}, 3)")
    row = next(r for r in home_site.rows_of(date.today())["tblclients"] if r["id"] == BRANCH)
    for change in ({"status": "Closed"}, {"credit": "0.00"}, {"credit": "-5.00"}):
        system.post("/test/tables", {"tblclients": [{**row, **change}]})
        another_day(system)
        [line] = cron(system)
        assert " 1 were looked at" in line
        assert kept(system) == {COMPANY: 3, BRANCH: 3}
    home_site.furnish(system)


def test_what_is_sent_is_what_numbers_need(system: System) -> None:
    choose(system, "3")
    file = system.folder / "host/queries.jsonl"
    file.unlink(missing_ok=True)
    cron(system)
    [(_, statements)] = [json.loads(line) for line in file.read_text().splitlines()]
    tables = {t for text in statements for t in re.findall(r"(?:FROM|JOIN) (\w+)", text)}
    assert not tables & {"tblusers", "tblusers_clients", "tblpaymethods", "tblcredit", "tblpaymentgateways"}
    assert not [text for text in statements if "password" in text or "description" in text or "notes" in text]


def test_more_than_one_call_holds_is_taken_in_turn(system: System) -> None:
    home_site.furnish(system)
    many = [
        {
            **home_site.rows_of(date.today())["tblhosting"][-1],
            "id": 20000 + n,
            "userid": (COMPANY, BRANCH)[n % 2],  # each alone fits
            "domain": f"vm-{n}.{'x' * 60}.example.com",
        }
        for n in range(1900)
    ]
    system.post("/test/tables", {"tblhosting": many})
    try:
        choose(system, "3")
        sql(system, f"INSERT INTO {TABLE} (client_id, days, seen) VALUES ({BRANCH}, 3, ' ')")
        [line] = cron(system)
        assert " 1 were looked at" in line
        assert line.endswith(" First in the next daily run: 1 who did not fit into the call.")
        assert sql(system, f"SELECT client_id FROM {TABLE} WHERE seen = ?", date.today().isoformat()) == [(COMPANY,)]
        sql(system, f"UPDATE {TABLE} SET seen = '2026-01-01' WHERE client_id = {COMPANY}")
        [line] = cron(system)
        assert " 1 were looked at" in line
        assert "Client" not in line
        assert sql(system, f"SELECT client_id FROM {TABLE} WHERE seen = ?", date.today().isoformat()) == [(BRANCH,)]
    finally:
        sql(system, "DELETE FROM tblhosting WHERE id >= 20000")


def test_the_table_is_made_at_activation_and_with_a_newer_add_on(system: System) -> None:
    assert system.post("/test/addon", {"what": "activate"})["answer"]["status"] == "success"
    assert kept(system) == {}
    choose(system, "3")
    assert system.post("/test/addon", {"what": "upgrade"})["answer"] is None
    assert TABLE in system.post("/test/addon", {"what": "deactivate"})["answer"]["description"]
    assert kept(system) == {COMPANY: 3}
    sql(system, f"DROP TABLE {TABLE}")
    system.post("/test/addon", {"what": "upgrade"})
    assert sql(system, "SELECT 1 FROM sqlite_master WHERE name = ?", TABLE) == [(1,)]


def test_prices_of_what_is_billed_by_use_reach_the_forecast(system: System) -> None:
    assert "vmb-by-use" not in get(system)
    assert system.order(1042) == "success"
    text = get(system)
    [table] = [t for t in read(text).find("table") if "vmb-by-use" in t.at.get("class", "")]
    rows = {tr.find("td")[1].text: [c.text for c in tr.find("td")] for tr in table.find("tr") if tr.find("td")}
    assert set(rows) == {"Traffic in and out", "IPv4 addresses", "Backup storage (GB-months)"}
    assert rows["IPv4 addresses"][2] == "2"
    assert rows["IPv4 addresses"][4] == "2,50 EUR"
    assert rows["Traffic in and out"][2].endswith(" GB")
    log_in(system, GUEST)
    assert "vmb-by-use" not in get(system)
