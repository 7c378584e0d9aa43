"""The console as processes, behind the shim."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bridge import assets
from bridge.store import Store
from tests.system import System, free_port, ours
from tests.test_console import Stream


# -- as processes, behind the shim ----------------------------------------------------------------
@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05, public=True) as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        yield s


def click(s: System, action: str = "connect") -> requests.Response:
    token = re.search('name="token" value="([^"]+)"', requests.get(s.page(1), timeout=10).text)
    assert token
    form = ours(action, token=token.group(1), id="1", modop="custom", a="submit", capability="console")
    return requests.post(f"http://127.0.0.1:{s.host}/clientarea.php?action=productdetails&id=1", data=form, timeout=20)


def test_opened_very_often(system: System) -> None:
    """Each connection costs calls of the provider's, whose allowance is everybody's."""
    store = Store(system.folder / "vmbridge.db", system.key, system.clock)
    try:
        while not store.spend("consoles 1", 60, 0.0):
            pass
        assert "Try again in 1 min" in click(system).text
        store.change("DELETE FROM budgets WHERE account = 'consoles 1'")
        assert 'name="code"' in click(system).text
    finally:
        store.close()


def test_connect_through_the_shim(system: System) -> None:
    reply = click(system)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Referrer-Policy"] == "no-referrer"
    assert reply.headers["X-Frame-Options"] == "DENY"
    assert reply.text.startswith("<!doctype html>")
    assert system.front
    assert f'<form method="post" action="{system.front.url}/console"' in reply.text
    code = re.search('name="code" value="([^"]+)"', reply.text)
    assert code
    assert "within 10 seconds" in reply.text
    assert "<button" in reply.text
    assert code.group(1) not in json.dumps(system.state())  # WHMCS's logs
    policy = re.search(r"script-src '(sha256-[^']+)'", reply.text)
    script = re.search("<script>(.*)</script>", reply.text)
    assert policy
    assert script
    assert policy.group(1) == sha256(script.group(1))
    assert "Access Denied" in click(system, action="disconnect").text


def sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_a_second_process_shares_the_store_and_ends_cleanly(system: System) -> None:
    s, port = system, free_port()
    s.start(
        "second",
        [sys.executable, "-m", "bridge.cli", "console", "--config", str(s.config), "--listen", f"127.0.0.1:{port}"],
    )
    s.wait_for(lambda: requests.get(f"http://127.0.0.1:{port}/console", timeout=5).status_code == 405, 20)
    code = re.search('name="code" value="([^"]+)"', click(s).text)
    assert code
    assert s.front
    page = requests.post(f"{s.front.url}/console", data={"code": code.group(1)}, timeout=10)
    nonce = re.search('data-nonce="([^"]+)"', page.text)
    if not nonce:
        pytest.skip("the console's files are not built (make assets)")
    with connect(
        f"ws://127.0.0.1:{port}/console/socket",
        origin=s.front.url.removesuffix("/vmbridge"),
        compression=None,
        proxy=None,
        subprotocols=["binary", f"vmbridge.{nonce.group(1)}"],
    ) as ws:
        screen = Stream(ws)
        assert screen.picture()
        process = s.processes.pop("second")
        process.send_signal(signal.SIGTERM)
        assert screen.closed()[0] == 1001
        assert process.wait(20) == 0
    assert "console_stopped" in s.log("second")
    assert "Traceback" not in s.log("second")


def test_files_have_an_address_that_names_their_content(system: System) -> None:
    base = f"http://127.0.0.1:{system.web}/assets"
    good = requests.get(f"{base}/{assets.version()}/console.js", timeout=10)
    assert good.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert good.headers["Content-Type"].startswith("text/javascript")
    assert requests.get(f"{base}/0123456789abcdef/console.js", timeout=10).status_code == 404
    assert requests.get(f"{base}/{assets.version()}/..%2fcli.py", timeout=10).status_code == 404


def test_without_a_public_address_it_is_refused_with_the_reason(tmp_path: Path) -> None:
    with System(tmp_path, speed=0.05) as s:
        s.order(1)
        s.wait_for(lambda: s.operation(1).get("state") == "done", 60)
        assert "The console has no public address here" in click(s).text
        assert requests.post(f"http://127.0.0.1:{s.console}/console", data={"code": "x"}, timeout=10).status_code == 403
        with (
            pytest.raises(InvalidStatus),
            connect(f"ws://127.0.0.1:{s.console}/console/socket", subprotocols=["binary"], proxy=None),
        ):
            pass
        s.module(1, "SuspendAccount")
        assert "not active" in click(s).text
