"""What the shim takes for success: 200 or 202 with an object that says "result": "success", and nothing else, for every
function."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.system import SHIM_SECRET, System, ours
from tests.test_shim import OF_A_SERVER, Rubbish

SERVICE = 90


def answer(status: str, body: bytes = b"", kind: str = "application/json", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + body


GOOD = {
    "result": "success",
    "operation": "x",
    "properties": {},
    "html": "<p>hello</p>",
    "text": "x",
    "plans": {},
    "accounts": [],
}
ALL = json.dumps(GOOD).encode()
WITHOUT = json.dumps({k: v for k, v in GOOD.items() if k != "result"}).encode()
WRONG = {
    "302 {}": answer("302 Found", b"{}"),
    "302 success": answer("302 Found", ALL),
    "301 elsewhere": answer("301 Moved Permanently\r\nLocation: http://127.0.0.1:1/", ALL),
    "304 unasked": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "201 success": answer("201 Created", ALL),
    "206 success": answer("206 Partial Content", ALL),
    "200 empty": answer("200 OK"),
    "200 {}": answer("200 OK", b"{}"),
    "200 without": answer("200 OK", WITHOUT),
    "202 without": answer("202 Accepted", WITHOUT),
    "200 ok": answer("200 OK", ALL.replace(b"success", b"ok")),
    "200 true": answer("200 OK", ALL.replace(b'"success"', b"true")),
    "200 list": answer("200 OK", b"[" + ALL + b"]"),
    "200 empty list": answer("200 OK", b"[]"),
    "200 text": answer("200 OK", b'"success"'),
    "200 null": answer("200 OK", b"null"),
    "200 html": answer("200 OK", b"<html>success</html>", "text/html"),
    "200 truncated": answer("200 OK", ALL[:-2]),
    "200 cut off": answer("200 OK", ALL[:-2], length=len(ALL)),
    "200 two": answer("200 OK", ALL + ALL),
    "200 error": answer("200 OK", b'{"error": {"code": "x", "message": "no"}}'),
    "500 success": answer("500 Oops", ALL),
    "400 nested": answer("400 Bad", b'{"error": {"code": ["x"], "message": {"a": 1}, "reference": [], "time": {}}}'),
    "503 html": answer("503 Down", b"<html>", "text/html"),
}
VERBS = (
    *("CreateAccount", "SuspendAccount", "UnsuspendAccount", "TerminateAccount", "ChangePackage", "ChangePassword"),
    *("start", "stop", "reboot", "hard_stop", "retry", "cancel", "converge"),
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        s.post("/test/order", {"serviceid": SERVICE, "status": "Active"})
        yield s


@contextmanager
def bridge(s: System, said: bytes) -> Iterator[None]:
    """WHMCS's server record leads to a bridge that always says this."""
    file, fake = s.folder / "host/host.json", Rubbish(said)
    good = file.read_text()
    try:
        value = json.loads(good)
        file.write_text(json.dumps({**value, "server": {**value["server"], "port": str(fake.port)}}))
        yield
    finally:
        file.write_text(good)
        fake.close()


def call(s: System, function: str) -> Any:
    service = {} if function in (*OF_A_SERVER, "PlanLoader") else {"serviceid": SERVICE}
    return s.post("/test/call", {"function": function, **service})["result"]


def failed(text: str) -> bool:
    """A sentence for people, and what staff finds it by in the module's log."""
    return bool(re.search(r"^[A-Z][^<>]{10,300}\. ?\(reference [0-9a-f]{12}\)$", text)) and SHIM_SECRET not in text


@pytest.mark.parametrize("how", WRONG)
def test_nothing_else_is_success(system: System, how: str) -> None:
    s = system
    with bridge(s, WRONG[how]):
        for verb in VERBS:
            assert failed(call(s, verb)), (verb, call(s, verb))
        tested, listed = call(s, "TestConnection"), call(s, "ListAccounts")
        assert tested["success"] is False
        assert failed(tested["error"])
        assert listed["success"] is False
        assert failed(listed["error"])
        assert "accounts" not in listed
        assert failed(call(s, "PlanLoader"))
        assert call(s, "UsageUpdate") is None
        assert s.post("/test/metrics", {})["kept"] == 0
        assert "could not be read" in s.state()["activity"][-1]
        page = requests.get(s.page(SERVICE), timeout=20).text
        assert "cannot be shown just now" in page
        assert "hello" not in page
        assert "reference " in page
        tab = call(s, "AdminServicesTabFields")["vmbridge"]
        assert "hello" not in tab
        assert failed(tab)
        asked = requests.get(s.page(SERVICE) + "&modop=custom&a=stop", timeout=20).text
        assert "hello" not in asked
        assert "Do you want to do this" in asked
        for more, kind in (("status", "error"), ("charts&vmb[data]=hour", "error")):
            polled = requests.get(f"{s.page(SERVICE)}&vmb[page]={more}", timeout=20)
            assert polled.status_code in (400, 502)
            assert failed(polled.json()[kind])
        asset = f"{s.page(SERVICE)}&vmb[page]=asset&vmb[file]=uplot.js&vmb[v]=0123456789abcdef"
        assert requests.get(asset, timeout=20).status_code == 404
        submitted = s.submit(SERVICE, "snapshots", "take")
        assert submitted.status_code == 200
        assert "alert-danger" in submitted.text
        assert "hello" not in submitted.text
        addon = f"http://127.0.0.1:{s.host}/admin/addonmodules.php?module=vmbridge"
        token = requests.get(f"http://127.0.0.1:{s.host}/test/token", timeout=10).text
        form = ours("maintenance", token=token, server="pve1", switch="on")
        for reply in (requests.get(addon, timeout=20), requests.post(addon, data=form, timeout=20)):
            assert reply.status_code == 200
            assert "alert-warning" in reply.text
            assert "hello" not in reply.text
    assert s.state()["services"][str(SERVICE)]["properties"] == []


def test_the_reference_is_in_the_modules_log(system: System) -> None:
    with bridge(system, WRONG["302 {}"]):
        said = call(system, "SuspendAccount")
    reference = said.rsplit(" ", 1)[1].strip(")")
    assert "HTTP 302" in said
    assert any(reference in line for line in system.state()["module_log"])


@pytest.mark.parametrize(
    "function,more",
    [
        ("ListAccounts", {"accounts": None}),
        ("ListAccounts", {"accounts": "none"}),
        ("ListAccounts", {"accounts": [1]}),
        ("PlanLoader", {"plans": [["x"]]}),
        ("PlanLoader", {"plans": 3}),
        ("AdminServicesTabFields", {"html": {"a": 1}}),
        ("AdminServicesTabFields", {"html": ""}),
        ("ClientArea", {"html": ["x"]}),
    ],
)
def test_success_without_what_was_asked_for(system: System, function: str, more: dict[str, Any]) -> None:
    with bridge(system, answer("200 OK", json.dumps({"result": "success", **more}).encode())):
        result = call(system, function)
    if function == "ClientArea":
        assert result["tabOverviewModuleOutputTemplate"] == "templates/fallback.tpl"
    else:
        text = result if isinstance(result, str) else result.get("error") or result.get("vmbridge")
        assert failed(text), result


def test_properties_that_are_none_do_no_harm(system: System) -> None:
    for properties in ([], "x", {"Dedicated IP": ["x"]}, None):
        said = {"result": "success", "properties": properties}
        with bridge(system, answer("202 Accepted", json.dumps(said).encode())):
            assert call(system, "SuspendAccount") == "success"
    assert set(system.state()["services"][str(SERVICE)]["properties"]) == {"vmbridge_id"}
