"""The addon for WHMCS's admins, run by real PHP in the WHMCS-like host against the real bridge over real HTTP."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import requests

from bridge.clock import Clock
from tests.looks import whole
from tests.system import ROOT, SHIM_SECRET, System, ours
from tests.test_shim import Rubbish, settled

ADDON = ROOT / "whmcs-shim/modules/addons/vmbridge"
SERVER = ROOT / "whmcs-shim/modules/servers/vmbridge"
PAGES = ("overview", "operations", "servers", "pools", "findings")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        s.order(1)
        settled(s, 1)
        yield s


def url(s: System, page: str = "overview", query: str = "") -> str:
    return f"http://127.0.0.1:{s.host}/admin/addonmodules.php?module=vmbridge&vmb[page]={page}{query}"


def get(s: System, page: str = "overview", query: str = "") -> str:
    return " ".join(requests.get(url(s, page, query), timeout=20).text.split())


def post(s: System, page: str, query: str = "", token: str = "", action: str = "", **form: str) -> requests.Response:
    """Send a form as the page printed it, with its token."""
    token = token or re.findall(r'name="token" value="([^"]+)"', get(s, "servers"))[0]
    return requests.post(url(s, page, query), data=ours(action, token=token, **form), timeout=20, allow_redirects=False)


@contextmanager
def host(s: System, servers: list[dict[str, Any]] | None = None, **server: Any) -> Iterator[None]:
    """Another server record for a while."""
    file = s.folder / "host/host.json"
    good = file.read_text()
    value = json.loads(good)
    value["server"] |= server
    file.write_text(json.dumps({**value, "servers": servers or []}))
    try:
        yield
    finally:
        file.write_text(good)


def test_the_two_modules_share_no_function() -> None:
    shared = [
        {n.lower() for p in folder.glob("*.php") for n in re.findall(r"^\s*function (\w+)", p.read_text(), re.M)}
        for folder in (ADDON, SERVER)
    ]
    assert shared[0] == {"vmbridge_config", "vmbridge_activate", "vmbridge_deactivate", "vmbridge_output"}
    assert not shared[0] & shared[1]


def test_every_file_is_clean_php() -> None:
    for path in ADDON.rglob("*.php"):
        assert "No syntax errors" in subprocess.run(["php", "-l", str(path)], capture_output=True, text=True).stdout
        assert not path.read_text().rstrip().endswith("?>")
        assert "WHMCS" in path.read_text()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("both", ["", "&both=1"])
def test_every_page(system: System, page: str, both: str) -> None:
    text = get(system, page, both)
    assert 'class="vmbridge vmb-staff"' in text
    assert f'vmb[page]={page}" aria-current' in text
    assert "%%VMBRIDGE" not in text
    assert SHIM_SECRET not in text


def test_rows_lead_to_the_service_and_back(system: System) -> None:
    text = get(system, "operations")
    link = re.findall(r'href="(clientsservices\.php\?userid=7&amp;id=1)"', text)[0].replace("&amp;", "&")
    tab = requests.get(f"http://127.0.0.1:{system.host}/admin/{link}", timeout=10).text
    back = re.findall(r'href="(addonmodules\.php\?module=vmbridge&amp;vmb\[page]=service[^"]*)"', tab)[0].replace(
        "&amp;", "&"
    )
    page = requests.get(f"http://127.0.0.1:{system.host}/admin/{back}", timeout=10).text
    assert "vm-1.example.com" in whole(page)


def test_an_unknown_page_is_the_first(system: System) -> None:
    assert "Failing or stuck" in get(system, "../../status", "&vmb[id]=x&vmb[state]=%3Cscript%3E")
    assert "unknown to the bridge" in get(system, "service", "&vmb[id]=4711")


def test_nobody_and_no_token_change_nothing(system: System) -> None:
    assert "admins see this page" in get(system, "overview", "&as=nobody")
    assert post(system, "servers", token="wrong", action="maintenance", server="pve1", switch="on").status_code == 403
    assert (
        "admins see this page"
        in post(system, "servers", "&as=nobody", action="maintenance", server="pve1", switch="on").text
    )
    assert "Maintenance is on" not in get(system, "servers")


def test_redeploy_by_the_typed_number(system: System) -> None:
    s = system
    s.order(2)
    settled(s, 2)
    wrong = post(s, "service", "&vmb[id]=2", action="redeploy", service="2", typed="3")
    assert wrong.status_code == 200
    assert "Nothing was done" in wrong.text
    assert s.operation(2)["kind"] == "create"
    right = post(s, "service", "&vmb[id]=2", action="redeploy", service="2", typed="2")
    assert right.status_code == 303
    assert right.headers["Location"].startswith("addonmodules.php?module=vmbridge&vmb[page]=operation&vmb[id]=")
    settled(s, 2)
    assert (s.operation(2)["kind"], s.operation(2)["actor"]) == ("redeploy", "admin grace")
    assert (
        "set up anew" in requests.get(f"http://127.0.0.1:{s.host}/admin/{right.headers['Location']}", timeout=10).text
    )


def test_maintenance_and_retry(system: System) -> None:
    s = system
    on = post(s, "servers", action="maintenance", server="pve1", switch="on", text='We\'re "moving" <disks>')
    assert on.status_code == 303
    text = get(s, "servers", "&vmb[said]=maintenance_on")
    assert "Maintenance is on: new operations wait." in text
    assert "We&#39;re &#34;moving&#34; &lt;disks&gt;" in text
    assert s.order(3) == "success"
    assert "<disks>" not in requests.get(s.page(3), timeout=10).text
    assert "&lt;disks&gt;" in requests.get(s.page(3), timeout=10).text
    waiting = s.operation(3)
    assert waiting["state"] == "running"
    assert waiting["started_at"] is None
    assert "to start" in get(s, "operation", f"&vmb[id]={waiting['id']}")
    assert (
        post(s, "operation", f"&vmb[id]={waiting['id']}", action="cancel", operation=waiting["id"]).status_code == 303
    )
    settled(s, 3, "cancelled")
    assert post(s, "servers", action="maintenance", server="pve1", switch="off").status_code == 303
    assert post(s, "operation", f"&vmb[id]={waiting['id']}", action="retry", operation=waiting["id"]).status_code == 303
    settled(s, 3)
    again = post(s, "operation", f"&vmb[id]={waiting['id']}", action="retry", operation=waiting["id"])
    assert again.status_code == 200
    assert "cannot be retried: it is done." in again.text


def test_dismiss(system: System) -> None:
    from bridge.store import Store

    store = Store(system.folder / "vmbridge.db", system.key, system.clock)
    key = store.find("pve1", None, "orphan", "vm 5", "A machine that nobody knows", "Look at it", {})
    store.close()
    assert "nobody knows" in get(system, "findings")
    assert post(system, "findings", action="dismiss", finding=str(key)).status_code == 303
    assert "nobody knows" not in get(system, "findings")


def test_several_records(system: System) -> None:
    s = system
    same = {
        "hostname": "127.0.0.1",
        "port": str(s.web),
        "secure": False,
        "username": "main-1",
        "password": SHIM_SECRET,
        "accesshash": "pve2",
    }
    with host(s, [same]):
        assert "Bridge: " not in get(s)
    gone = {**same, "port": "1"}
    with host(s, [gone, {**gone, "port": "2", "disabled": 1}, {**gone, "port": "3", "type": "cpanel"}]):
        text = get(s)
        assert "vmb[server]=2" in text
        assert "vmb[server]=3" not in text
        assert "vmb[server]=4" not in text
        assert "module=vmbridge&amp;vmb[server]=1&amp;vmb[page]=pools" in text
        down = get(s, "overview", "&vmb[server]=2")
        assert "cannot be reached" in down
        assert "vmb[server]=1" in down
    with host(s, type="cpanel"):
        assert "no active server of type vmbridge" in get(s)


@pytest.mark.parametrize("how", ["down", "slow", "rubbish", "html", "list", "no html", "insecure"])
def test_a_bad_bridge_never_holds_or_breaks_the_page(system: System, how: str) -> None:
    s, clock = system, Clock()
    json_reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    answers = {
        "rubbish": b"\x00\x01\x02",
        "html": b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        "list": json_reply % (2, b"[]"),
        "no html": json_reply % (10, b'{"html":3}'),
        "down": b"",
        "insecure": b"",
    }
    token = re.findall(r'name="token" value="([^"]+)"', get(s, "servers"))[0]
    bad = Rubbish(answers.get(how))
    if how == "down":
        bad.close()
    try:
        with host(s, port=str(bad.port), hostname="192.0.2.1" if how == "insecure" else "127.0.0.1"):
            for page in ("overview", "service"):
                began = clock.monotonic()
                text = get(s, page, "&vmb[id]=1")
                assert clock.monotonic() - began < 4.5
                assert "alert-warning" in text
                assert SHIM_SECRET not in text
                assert "Fatal" not in text
            began = clock.monotonic()
            reply = post(s, "servers", token=token, action="maintenance", server="pve1", switch="on")
            assert clock.monotonic() - began < 9.5
            assert reply.status_code == 200
            assert "alert-warning" in reply.text
    finally:
        bad.close()


def test_a_refusal_with_markup_stays_text(system: System) -> None:
    reply = post(system, "servers", action="maintenance", server="<script>alert(1)</script>", switch="on")
    assert "<script>alert" not in reply.text
    assert "There is no server" in reply.text


def test_a_store_that_cannot_be_written_is_told_by_every_form_and_order(system: System) -> None:
    """The sentence of the 503 is what WHMCS, the customer and staff read."""
    said = "the bridge cannot save anything just now"
    with closing(sqlite3.connect(system.folder / "vmbridge.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        assert said in system.module(1, "SuspendAccount")
        assert said in system.submit(1, "power", "stop").text
        assert said in post(system, "servers", action="maintenance", server="pve1", switch="on").text
        assert requests.get(system.page(1), timeout=20).status_code == 200
    assert system.operation(1)["kind"] == "create"
