"""The dashboard through real PHP, WHMCS's tables in real SQL and the real bridge: who sees what, how often WHMCS is
asked, and what stands there when the bridge does not answer."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any
from zipfile import ZipFile

import pytest
import requests

from bridge.clock import Clock
from bridge.errors import UpstreamError
from bridge.whmcs import Whmcs
from hooks import low_credit
from tests import home_site
from tests.home_site import ADDON, BRANCH, COMPANY, GUEST, USER, log_in
from tests.looks import read
from tests.system import ROOT, System
from tests.test_shim import Rubbish

FOLDER = ROOT / "whmcs-shim/modules/addons/vmbridgehome"
PAGES = ("dashboard", "list", "addfunds", "ledger", "whatif", "hub", "verification")


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with home_site.furnished(tmp_path_factory.mktemp("system")) as s:
        yield s


@pytest.fixture
def system(furnished: System) -> System:
    log_in(furnished)
    return furnished


def get(s: System, page: str = "dashboard", query: str = "") -> str:
    shown = "" if page == "dashboard" else f"&vmb[page]={page}"
    address = f"clientarea.php?{query}" if page == "home" else f"{ADDON}{shown}{query}"
    reply = requests.get(f"http://127.0.0.1:{s.host}/{address}", timeout=20)
    assert reply.status_code == 200, reply.text[:500]
    return reply.text


def asked(s: System) -> list[tuple[str, list[str]]]:
    """Every request that asked WHMCS's tables something since the last look, with its statements."""
    file = s.folder / "host/queries.jsonl"
    calls = [tuple(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
    file.unlink(missing_ok=True)
    return calls


@contextmanager
def other_bridge(s: System, **server: Any) -> Iterator[None]:
    file = s.folder / "host/host.json"
    good = file.read_text()
    value = json.loads(good)
    value["server"] |= server
    file.write_text(json.dumps(value))
    try:
        yield
    finally:
        file.write_text(good)


def strip(text: str) -> dict[str, str]:
    """Balance, Credit ... -> what stands there."""
    [dl] = read(text[text.index('<div class="vmbridge') :]).find("section", class_="vmb-strip")[0].find("dl")
    return {pair.find("dt")[0].text: pair.find("dd")[0].text for pair in dl.find("div")}


def test_the_home_block_and_the_page_say_balance_credit_and_the_way_to_more(system: System) -> None:
    home, page = get(system, "home"), get(system)
    for text in (home, page):
        assert strip(text)["Balance"] == "35,40 EUR"
        assert strip(text)["Credit"] == "45,00 EUR"
        assert "index.php?m=vmbridgehome&amp;vmb[page]=addfunds" in text
        assert "%%VMBRIDGE" not in text
    assert strip(home)["Cost per month"] == "50,75 EUR"
    assert "Recommended top-up" in home


def test_every_page_is_there_with_its_own_title(system: System) -> None:
    titles = {re.search("<title>([^<]*)", get(system, p)).group(1) for p in PAGES}
    assert len(titles) == len(PAGES)


def test_every_address_leads_somewhere(system: System) -> None:
    """Also WHMCS's own: what a block links to is there, and is the client's."""
    addresses = {"clientarea.php", ADDON}
    for page in (*PAGES, "home"):
        [frame] = [n for n in read(get(system, page)).find("div") if "vmb-dash" in n.at.get("class", "")]
        addresses |= {a.at["href"].split("#")[0].lstrip("/") for a in frame.find("a")}
    kinds = {re.sub(r"\d+", "N", a) for a in addresses}
    assert {"viewinvoice.php?id=N", "clientarea.php?action=domaindetails&id=N", "submitticket.php"} <= kinds
    for address in sorted(addresses - {"logout.php"}):
        reply = requests.get(f"http://127.0.0.1:{system.host}/{address}", timeout=20)
        assert reply.status_code == 200, address
        assert "Fatal" not in reply.text, address
        assert "cannot be shown just now" not in reply.text, address


def test_what_if_and_the_two_files_come_through_whmcs(system: System) -> None:
    assert "cancel it" in get(system, "whatif", "&vmb[service]=501")
    assert "You save" in get(system, "whatif", "&vmb[service]=501")
    for page, kind, begin in (("csv", "text/csv", "Date,What,"), ("calendar", "text/calendar", "BEGIN:VCALENDAR\r\n")):
        reply = requests.get(f"http://127.0.0.1:{system.host}/{ADDON}&vmb[page]={page}", timeout=20)
        assert reply.headers["Content-Type"].startswith(kind), reply.text[:300]
        assert reply.text.startswith(begin), reply.text[:300]
        assert reply.headers["Content-Disposition"].startswith("attachment")
    log_in(system, GUEST)  # who may not see invoices
    assert "SUMMARY" not in get(system, "calendar")
    assert "EUR" not in get(system, "csv")


def test_a_mail_about_credit_goes_to_the_client(system: System) -> None:
    host = json.loads((system.folder / "host/host.json").read_text())
    whmcs = Whmcs(f"http://127.0.0.1:{system.host}", host["api_identifier"], host["api_secret"])
    payload = {
        "subject": "Your credit",
        "text": ["3.00 EUR"],
        "link": "https://x.example/",
        "why": "Why.",
        "direction": "ltr",
    }
    low_credit.deliver("low_credit", {**payload, "client_id": COMPANY}, whmcs)
    mail = json.loads((system.folder / "host/state.json").read_text())["mails"][-1]
    assert (mail["name"], mail["service"]) == ("Your credit", COMPANY)
    assert "3.00 EUR" in mail["text"]
    with pytest.raises(UpstreamError):
        low_credit.deliver("low_credit", {**payload, "client_id": 4711}, whmcs)


def test_a_user_sees_what_the_owner_allows_and_the_rest_is_not_even_sent(system: System) -> None:
    log_in(system, GUEST)
    home = get(system, "home")
    assert "Ask the account's owner" in home
    assert "EUR" not in home
    assert "Total services" in home
    asked(system)
    for page in PAGES:
        text = get(system, page)
        assert "EUR</dd>" not in text
        assert "2026-130" not in text
        assert "staff's words" not in text
    tables = {t for _, statements in asked(system) for sql in statements for t in re.findall(r"FROM (tbl\w+)", sql)}
    assert not tables & {"tblinvoices", "tblinvoiceitems", "tblaccounts", "tblcredit", "tbldomains", "tblpaymethods"}
    assert "ada@example.com" not in get(system, "verification")  # another user's security is the owner's


def test_a_user_who_was_removed_in_between_sees_nothing(system: System) -> None:
    assert "35,40" in get(system, "home")
    system.post("/test/tables", {"tblusers_clients": [{"id": 1, "auth_user_id": 99, "client_id": COMPANY, "owner": 1}]})
    try:
        assert "35,40" not in get(system, "home")
        assert "You have no access" in get(system)
    finally:
        home_site.furnish(system)


def test_two_accounts_of_one_user_are_two_currencies_and_no_sum(system: System) -> None:
    hub = read(get(system, "hub"))
    forms = [f for f in hub.find("form", method="post") if f.at["action"] == "/user/accounts"]
    [other] = forms
    assert other.hidden()["id"] == str(BRANCH)
    assert other.hidden()["token"].startswith("token-")
    assert "12.50" not in get(system, "hub")
    log_in(system, USER, BRANCH)
    assert strip(get(system))["Credit"] == "$12.50 USD"
    assert "EUR" not in get(system, "list").split("</style>")[-1]


def test_what_stands_in_the_address_never_chooses_the_account(system: System) -> None:
    for forged in ("&id=8", "&client=8", "&userid=8", "&vmb[client]=8", "&vmb[service]=601", "&vmb[family]=g9"):
        reply = requests.get(f"http://127.0.0.1:{system.host}/{ADDON}&vmb[page]=list{forged}", timeout=20)
        assert "us.example.com" not in reply.text
        assert "USD" not in reply.text
    assert "shop.example.com" in get(system, "list", "&vmb[show]=nonsense&vmb[horizon]=7")


def test_staff_who_look_as_the_client_see_what_the_owner_sees(system: System) -> None:
    log_in(system, 0, COMPANY, admin=1)
    assert strip(get(system))["Balance"] == "35,40 EUR"
    log_in(system, 0, COMPANY, admin=0)
    assert "You have no access" in get(system)
    log_in(system, GUEST, COMPANY, admin=1)
    assert "Ask the account's owner" in get(system)


def test_every_form_that_posts_has_the_token(system: System) -> None:
    for page in (*PAGES, "home"):
        for form in read(get(system, page)).find("form", method="post"):
            assert form.hidden().get("token", "").startswith("token-"), page


def test_top_up_now_posts_whmcs_own_form(system: System) -> None:
    text = get(system, "addfunds", "&vmb[amount]=20,50")
    [form] = [f for f in read(text).find("form", method="post") if "addfunds" in f.at["action"]]
    assert [o.at["value"] for o in form.find("option")] == ["stripe", "banktransfer"]
    assert "Credit after65,50 EUR" in form.text.replace("after ", "after")
    assert "Tax on top-ups" in form.text
    sent = {"token": form.hidden()["token"], "amount": form.find("input", name="amount")[0].at["value"]}
    assert sent["amount"] == "20.50"
    address = f"http://127.0.0.1:{system.host}/{form.at['action']}"
    reply = requests.post(address, data={**sent, "paymentmethod": "stripe"}, timeout=20)
    assert "(Unpaid): 20.50 by stripe" in reply.text
    assert strip(get(system))["Balance"] == "35,40 EUR"  # an offer, no debt
    assert requests.post(address, data={**sent, "token": "x", "paymentmethod": "stripe"}, timeout=20).status_code == 403
    assert "less than the smallest top-up" in get(system, "addfunds", "&vmb[amount]=1")


def test_the_recommended_amount_is_clamped_and_said(system: System) -> None:
    texts = {**home_site.SETTINGS, "AddFundsMaximum": "100.00"}
    rows = [{"setting": k, "value": v} for k, v in texts.items()]
    system.post("/test/tables", {"clear": ["tblconfiguration"], "tblconfiguration": rows})
    try:
        text = get(system, "addfunds")
        assert "The largest top-up is smaller: in 3 payments." in text
        assert 'value="100.00"' in text
    finally:
        home_site.furnish(system)


@pytest.mark.parametrize("how", ["down", "slow", "rubbish", "oversized", "old"])
def test_a_bad_bridge_leaves_whmcs_own_links_and_the_credit(system: System, how: str) -> None:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    gone = b'{"error": {"code": "not_found", "message": "Not Found", "reference": "0123456789ab"}}'
    answers = {
        "rubbish": b"\x00\x01\x02",
        "oversized": head % (b"200 OK", 3_000_000, b'{"result": "success", "html": "' + b"x" * 3_000_000),
        "old": head % (b"404 Not Found", len(gone), gone),
        "down": b"",
    }
    bad, clock = Rubbish(answers.get(how)), Clock()
    if how == "down":
        bad.close()
    try:
        with other_bridge(system, port=str(bad.port)):
            for page in ("home", *PAGES):
                log_in(system)  # nothing is kept in the session
                began = clock.monotonic()
                text = get(system, page)
                assert clock.monotonic() - began < (4 if page == "home" else 6)
                assert "cannot be shown just now" in text
                assert "45,00 EUR" in text
                assert "action=invoices" in text
                assert "Fatal" not in text
                assert "Warning:" not in text
    finally:
        bad.close()


@pytest.mark.parametrize(
    ("number", "credit", "said"),
    [
        (1, "1234.50", ">$1234.50 USD<"),
        (2, "1234567.50", ">$1,234,567.50 USD<"),
        (3, "1234.50", ">$1.234,50 USD<"),
        (4, "1234.50", ">$1,235 USD<"),
        (2, "-1234.50", ">-$1,234.50 USD<"),
        (2, "-0.00", ">$0.00 USD<"),
    ],
)
def test_the_credit_without_the_bridge_is_written_as_whmcs_writes_it(
    system: System, number: int, credit: str, said: str
) -> None:
    dollar = {"id": 2, "code": "USD", "prefix": "$", "suffix": " USD", "format": number, "rate": "1.2", "default": 0}
    client = next(r for r in home_site.rows_of(date.today())["tblclients"] if r["id"] == BRANCH)
    system.post("/test/tables", {"tblcurrencies": [dollar], "tblclients": [{**client, "credit": credit}]})
    log_in(system, USER, BRANCH)
    try:
        with other_bridge(system, port="1"):
            assert said in get(system, "home")
    finally:
        home_site.furnish(system, tblcurrencies=[{**dollar, "format": 2}])


def test_the_home_block_is_asked_for_once_in_a_minute(system: System) -> None:
    get(system, "home")
    asked(system)
    get(system, "home")
    [(_, again)] = asked(system)
    assert len(again) == 3  # settings, who looks, and what a client can have changed: the block came from the session


def test_the_home_page_is_whole_again_as_soon_as_a_page_was(system: System) -> None:
    with other_bridge(system, port="1"):
        assert "cannot be shown just now" in get(system, "home")
    assert "cannot be shown just now" in get(system, "home")  # it is not waited for twice in 30 seconds
    assert "vmb-dash" in get(system)
    assert "vmb-dash" in get(system, "home")


ACTS: dict[
    str, tuple[str, dict[str, Any], str]
] = {  # what a client does -> the table, the row, what the block says then
    "adds funds": ("tblclients", {"id": COMPANY, "credit": "50.00"}, "Balance40,40 EUR"),
    "pays the invoice": ("tblinvoices", {"id": 130, "status": "Paid"}, "Balance45,00 EUR"),
    "pays a part of it": (
        "tblaccounts",
        {"id": 90, "userid": 0, "invoiceid": 130, "amountin": "4.60", "amountout": "0.00"},
        "Open invoices5,00 EUR",
    ),
    "orders": (
        "tblhosting",
        {"id": 590, "userid": COMPANY, "packageid": 55, "domainstatus": "Pending", "billingcycle": "Monthly"},
        "9 Total services",
    ),
    "upgrades": ("tblhosting", {"id": 501, "amount": "24.00"}, "Cost per month62,75 EUR"),
    "asks for an end": (
        "tblcancelrequests",
        {"id": 90, "relid": 505, "type": "End of Billing Period"},
        "3 Termination requested",
    ),
    "ends an add-on": ("tblhostingaddons", {"id": 1, "status": "Cancelled"}, "Cost per month47,75 EUR"),
    "switches a renewal off": ("tbldomains", {"id": 1, "donotrenew": 1}, "3 Termination requested"),
}


@pytest.mark.parametrize("act", ACTS)
def test_what_the_client_does_is_in_the_home_block_at_once(system: System, act: str) -> None:
    table, row, then = ACTS[act]

    def said() -> str:
        return re.sub(r"\s+", " ", read(get(system, "home")).find("div", class_="vmb-home")[0].text)

    assert then not in said()
    old = next((r for r in home_site.rows_of(date.today()).get(table, []) if r["id"] == row["id"]), {})
    system.post("/test/tables", {table: [old | row]})
    try:
        assert then in said()
    finally:
        system.post("/test/tables", {"clear": [table]})
        home_site.furnish(system)


def test_two_clients_wait_for_a_silent_bridge_and_nobody_else_for_a_while(system: System) -> None:
    """Also where only files were copied over an active add-on: the first call that fails makes the table."""
    silent = Rubbish(None)
    calls = sqlite3.connect(system.folder / "host/whmcs.sqlite", timeout=20, isolation_level=None)
    calls.execute("DROP TABLE IF EXISTS mod_vmbridgehome_calls")

    def waits(page: str = "home", query: str = "", fresh: bool = True) -> bool:
        if fresh:
            log_in(system, USER, client)
        before = len(silent.kept)
        assert "cannot be shown just now" in get(system, page, query)
        return len(silent.kept) > before

    with other_bridge(system, port=str(silent.port)):
        client = COMPANY
        assert waits()
        assert not waits(fresh=False)  # the same visitor's next views of the home page
        assert waits("list", fresh=False)  # a page has more time, and the account may be a large one
        assert waits()
        client = BRANCH
        assert waits()  # others are not kept from theirs by one client's calls
        client = COMPANY
        assert not any(waits(page) for page in ("home", "dashboard", "csv"))
        assert "vmb[again]=1" in get(system, "list")
        assert waits("list", "&vmb[again]=1")  # who asks expressly
        assert [c[1] for c in calls.execute("PRAGMA table_info(mod_vmbridgehome_calls)")] == [
            "server_id",
            "client_id",
            "paused_until",
        ]
        calls.execute("UPDATE mod_vmbridgehome_calls SET paused_until = 1")
        assert [waits(), waits()] == [True, False]  # one visitor tries when the time is over
        calls.execute("UPDATE mod_vmbridgehome_calls SET paused_until = 1")
    silent.close()
    log_in(system)
    assert strip(get(system, "home"))["Credit"] == "45,00 EUR"
    assert calls.execute("SELECT * FROM mod_vmbridgehome_calls").fetchall() == []
    calls.close()


def test_what_the_bridge_refuses_keeps_nobody_from_it(system: System) -> None:
    text = b'{"error": {"code": "bad_dashboard", "message": "client.credit: no.", "reference": "0123456789ab"}}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    refusing = Rubbish(head % (len(text), text))
    with other_bridge(system, port=str(refusing.port)):
        for client in (COMPANY, BRANCH, COMPANY):
            log_in(system, USER, client)
            assert "0123456789ab" in get(system)
    refusing.close()
    assert "vmb-strip" in get(system)


def settings(s: System, **values: str) -> None:
    rows = [{"id": n, "module": "vmbridgehome", "setting": k, "value": v} for n, (k, v) in enumerate(values.items(), 1)]
    s.post("/test/tables", {"clear": ["tbladdonmodules"], "tbladdonmodules": rows})


def test_where_it_appears_is_a_setting(system: System) -> None:
    home = f"http://127.0.0.1:{system.host}/clientarea.php"
    try:
        settings(system, where="own page")
        assert "vmb-strip" not in get(system, "home")
        settings(system, where="both", landing="on")
        reply = requests.get(home, timeout=20, allow_redirects=False)
        assert reply.status_code == 303
        assert reply.headers["Location"] == ADDON
        assert "vmb-strip" in requests.get(home + "?vmb[home]=1", timeout=20, allow_redirects=False).text
        log_in(system, 0, 0)
        assert requests.get(home, timeout=20, allow_redirects=False).status_code == 200
    finally:
        home_site.furnish(system)


def test_the_modules_live_in_one_process(system: System) -> None:
    """PHP's function names ignore case."""
    assert strip(get(system, "dashboard", "&both=1"))["Credit"] == "45,00 EUR"
    names = [
        {n.lower() for p in folder.glob("*.php") for n in re.findall(r"^\s*function (\w+)", p.read_text(), re.M)}
        for folder in (FOLDER, FOLDER.parent / "vmbridge", FOLDER.parent.parent / "servers/vmbridge")
    ]
    assert sum(map(len, names)) == len(set.union(*names))
    assert all(names)


@pytest.mark.parametrize("how", ["copied", "unpacked"])
def test_it_works_where_only_it_is_installed(tmp_path: Any, how: str) -> None:
    """Alone it has the signing client with it, as files; beside the server module there is one, whoever is first."""
    alone = tmp_path / "modules/addons/vmbridgehome"
    alone.parent.mkdir(parents=True)
    if how == "copied":
        subprocess.run(["cp", "-rL", str(FOLDER), str(alone.parent)], check=True)
    else:  # as `make dist` packs it, by whatever unpacks
        [recipe] = re.findall(r"^\tcd whmcs-shim && \$\(PY\) (-m zipfile .*)$", (ROOT / "Makefile").read_text(), re.M)
        archive = tmp_path / "shim.zip"
        words = [str(archive) if word.startswith("../dist/") else word for word in recipe.split()]
        subprocess.run([sys.executable, *words], cwd=ROOT / "whmcs-shim", check=True)
        with ZipFile(archive) as packed:
            own = [i for i in packed.infolist() if i.filename.startswith("modules/addons/vmbridgehome/")]
            assert not [i.filename for i in own if stat.S_ISLNK(i.external_attr >> 16)]
            packed.extractall(tmp_path, own)
    there = {p.relative_to(alone): p.read_bytes() for p in alone.rglob("*") if p.is_file()}
    assert there == {p.relative_to(FOLDER): p.read_bytes() for p in FOLDER.rglob("*") if p.is_file()}
    code = """define('WHMCS', true); function add_hook() {}
        require $argv[1] . '/hooks.php'; require $argv[1] . '/vmbridgehome.php';
        $there = class_exists('WHMCS\\\\Module\\\\Server\\\\Vmbridge\\\\Bridge', false);
        echo $there ? count(vmbridgehome_config()['fields']) : 'none';"""
    done = subprocess.run(["php", "-r", code, str(alone)], capture_output=True, text=True)
    assert done.stdout == "4", done.stderr


def test_beside_a_server_module_that_lacks_a_file_whmcs_goes_on(tmp_path: Any) -> None:
    """Of another release: a file that is missing is fatal."""
    addon, module = tmp_path / "modules/addons/vmbridgehome", tmp_path / "modules/servers/vmbridge/lib"
    addon.parent.mkdir(parents=True)
    module.mkdir(parents=True)
    subprocess.run(["cp", "-rL", str(FOLDER), str(addon.parent)], check=True)
    for name in ("Bridge.php", "BridgeException.php"):
        (module / name).write_bytes((FOLDER / "lib/shared" / name).read_bytes())
    code = """define('WHMCS', true); require $argv[2] . '/Bridge.php'; require_once $argv[2] . '/BridgeException.php';
        require $argv[1] . '/vmbridgehome.php'; echo count(vmbridgehome_config()['fields']);
        echo ' ', (new ReflectionClass('WHMCS\\Module\\Server\\Vmbridge\\Bridge'))->getFileName();"""
    done = subprocess.run(["php", "-r", code, str(addon), str(module)], capture_output=True, text=True)
    assert done.stdout == f"4 {module}/Bridge.php", done.stderr


def test_the_ledger_ends_at_todays_credit_and_tells_nothing_of_staffs_words(system: System) -> None:
    text = get(system, "ledger")
    assert "At the end: 45,00 EUR." in text
    assert "Credit added" in text
    assert "<bdi>Card</bdi>" in text  # as WHMCS shows the payment method, not its module's name
    assert "staff&#39;s words" not in text
    assert "staff's words" not in text


def test_what_is_unusual_is_named(system: System) -> None:
    text = get(system)
    assert "8,00 EUR before, 20,00 EUR now" in text
    assert "backup.example.com" in text


def test_the_menu_of_the_account_leads_to_whmcs_own_pages(system: System) -> None:
    links = {a.text: a.at["href"] for a in read(get(system)).find("div", class_="vmb-you")[0].find("a")}
    assert links["Change password"] == "/user/password"
    assert links["Log out"] == "logout.php"
    assert links["Two-factor authentication"] == "/user/security"
    assert "verification" in links["Verification centre"]


def test_the_daily_list_ticks_itself(system: System) -> None:
    def ticked() -> set[str]:
        rows = read(get(system)).find("li", class_="vmb-done-check")
        return {r.text.removeprefix("✓").removesuffix("(done)").strip() for r in rows}

    assert ticked() == {"No invoice was paid twice this month"}
    assert "Costs look too high?" in get(system)
    twice = [
        {"id": 50 + n, "userid": COMPANY, "gateway": "stripe", "date": f"{date.today()} 09:00:00", "amountin": "9.60",
         "amountout": "0.00", "invoiceid": 130, "refundid": 0} for n in range(2)
    ]  # fmt: skip
    ada = {"id": USER, "first_name": "Ada", "last_name": "Byron", "email": "a@example.com", "second_factor": "totp"}
    gus = {"id": GUEST, "first_name": "Gus", "second_factor": "totp"}
    system.post("/test/tables", {"tblaccounts": twice, "tblusers": [ada, gus]})
    try:
        assert "Two-factor authentication is on" in ticked()
        assert "No invoice was paid twice this month" not in ticked()
    finally:
        system.post("/test/tables", {"clear": ["tblaccounts"]})
        home_site.furnish(system)
