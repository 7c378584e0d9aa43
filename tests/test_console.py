"""The console without a browser: codes, nonces, limits and the relay, on a held clock; then as processes behind the
shim."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bridge import assets
from bridge.console import codes
from bridge.console.relay import Relay
from bridge.errors import Refused
from drivers.proxmox.driver import Proxmox
from tests import stores
from tests.front import let_go
from tests.pve.cluster import Fault, default_cluster
from tests.pve.http import HttpsServer
from tests.system import free_port
from tests.world import World

PUBLIC = "https://billing.example.com/vmbridge"
ORIGIN = "https://billing.example.com"
UPDATE = bytes([3, 0]) + struct.pack("!HHHH", 0, 0, 64, 48)
KEY = bytes([4, 1, 0, 0]) + struct.pack("!I", ord("a"))


class Rig:
    """A world with a running machine, its screen over real HTTPS, and a relay in a thread."""

    def __init__(self, folder: Path, major: int = 9, **limits: Any) -> None:
        plan = {
            "server": "pve1",
            "cores": 2,
            "ram_mib": 2048,
            "disk_gib": 20,
            "storage": "local-lvm",
            "pools": ["public-v4"],
            "templates": ["debian-12"],
            "allow": ["console"],
        }
        self.world = World(folder, web={"public_url": PUBLIC}, console=limits, plans={"kvm-s": plan})
        self.world.cluster = self.world.adapter.cluster = default_cluster(self.world.clock, major=major)
        self.world.order("create")
        self.world.run()
        self.store, self.config, self.cluster, self.clock = (
            self.world.store,
            self.world.config,
            self.world.cluster,
            self.world.clock,
        )
        self.pve = HttpsServer(self.cluster, folder)
        settings = {**self.config.servers["pve1"], "endpoint": self.pve.url, "ca_file": str(self.pve.ca_file)}
        self.driver = self.world.context.drivers["pve1"] = Proxmox("pve1", settings, self.clock)
        self.loop, self.port = asyncio.new_event_loop(), free_port()
        self.relay = Relay(self.world.context)
        self.sockets = ExitStack()

    def __enter__(self) -> Rig:
        self.pve.__enter__()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.wait(self.relay.start(f"127.0.0.1:{self.port}"))
        return self

    def __exit__(self, *args: Any) -> None:
        self.sockets.close()
        if not self.relay.stopping:
            self.wait(self.relay.stop())
        self.wait(let_go())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
        self.pve.__exit__()
        self.driver._pool.shutdown(wait=False)
        self.world.close()

    def wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    @property
    def service(self) -> Any:
        return self.store.find_service("main", 1042)

    @property
    def screen(self) -> Any:
        return self.cluster.vms[20000].screen

    def code(self) -> str:
        return codes.issue(self.service, "client 7", self.store, self.config, self.driver.capabilities)

    def post(self, code: str) -> requests.Response:
        return requests.post(f"http://127.0.0.1:{self.port}/console", data={"code": code}, timeout=10)

    def nonce(self) -> str:
        attribute = re.search('data-nonce="([^"]+)"', self.post(self.code()).text)
        assert attribute
        return attribute.group(1)

    def socket(self, nonce: str, origin: str | None = ORIGIN, **more: Any) -> ClientConnection:
        more = {"subprotocols": ["binary", f"vmbridge.{nonce}"], **more}
        made = connect(
            f"ws://127.0.0.1:{self.port}/console/socket", origin=origin, compression=None, proxy=None, **more
        )
        return self.sockets.enter_context(made)

    def opened(self) -> Stream:
        return Stream(self.socket(self.nonce()))

    def calls(self, word: str) -> int:
        return len([p for _, _, p, _ in self.cluster.calls if word in p])


class Stream:
    """A browser's side, up to the screen's first words."""

    def __init__(self, ws: ClientConnection, greet: bool = True) -> None:
        self.ws, self.rest = ws, b""
        if greet:
            assert self.read(12) == b"RFB 003.008\n"
            ws.send(b"RFB 003.008\n")
            assert self.read(2) == b"\x01\x01"  # one security type: None
            ws.send(b"\x01")
            assert self.read(4) == bytes(4)
            ws.send(b"\x01")
            self.size = struct.unpack("!HH", self.read(24)[:4])
            self.read(4)

    def read(self, count: int) -> bytes:
        while len(self.rest) < count:
            self.rest += self.ws.recv(timeout=20)
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def picture(self) -> tuple[int, ...]:
        """Ask for the whole screen; the first pixel's blue, green, red."""
        self.ws.send(UPDATE)
        self.read(16)
        return tuple(self.read(64 * 48 * 4)[:3])

    def closed(self) -> tuple[int, str]:
        """Read to the end: (code, reason)."""
        with pytest.raises(ConnectionClosed) as e:
            while True:
                self.ws.recv(timeout=20)
        assert e.value.rcvd
        return e.value.rcvd.code, e.value.rcvd.reason


@pytest.fixture(autouse=True)
def files(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests need no npm."""
    monkeypatch.setattr(assets, "built", lambda name: True)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path) as r:
        yield r


@pytest.mark.parametrize("major", [8, 9])
def test_pixels_come_and_keys_go(tmp_path: Path, major: int) -> None:
    with Rig(tmp_path, major) as rig:
        page = rig.post(rig.code())
        assert page.status_code == 200
        assert rig.calls("vncproxy") == 0
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "connect-src wss://billing.example.com;" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)
        nonce = re.search('data-nonce="([^"]+)"', page.text)
        assert nonce
        assert rig.calls("vncproxy") == 0
        screen = Stream(rig.socket(nonce.group(1)))
        assert screen.ws.subprotocol == "binary"
        assert not screen.ws.protocol.extensions
        assert screen.size == (64, 48)
        assert screen.picture() == (55, 127, 26)
        screen.ws.send(KEY)
        assert screen.picture() != (55, 127, 26)
        assert rig.screen.keys == [(ord("a"), True)]
        assert rig.calls("vncproxy") == rig.calls("vncwebsocket") == 1
        screen.ws.close()
        row = stores.consoles(rig.store, rig.service.id)[0]
        assert (row["actor"], row["opened_at"]) == ("client 7", rig.clock.time)


def test_what_goes_to_the_hypervisor(rig: Rig) -> None:
    rig.opened()
    (_, _, path, sent), (_, _, _, query) = [c for c in rig.cluster.calls if "vnc" in c[2]]
    assert path == f"/nodes/{rig.service.node}/qemu/20000/vncproxy"
    assert sent == {
        "websocket": "1",
        "generate-password": "1",
    }
    listener = rig.cluster.listeners[int(query["port"])]
    assert query["vncticket"] == listener.ticket
    assert set("+/=:") & set(listener.ticket)


def test_a_code_and_a_nonce_work_once(rig: Rig) -> None:
    code = rig.code()
    page = rig.post(code)
    again = rig.post(code)
    assert (page.status_code, again.status_code) == (200, 403)
    assert "used already" in again.text
    assert "data-nonce" not in again.text
    nonce = re.search('data-nonce="([^"]+)"', page.text)
    assert nonce
    Stream(rig.socket(nonce.group(1)))
    assert Stream(rig.socket(nonce.group(1)), greet=False).closed()[0] == 1008
    assert rig.calls("vncproxy") == 1
    kept = json.dumps(rig.store.rows("SELECT * FROM console_keys"))
    assert code not in kept
    assert nonce.group(1) not in kept
    assert Stream(rig.socket(rig.code()), greet=False).closed()[0] == 1008  # a code is no nonce
    assert rig.post(rig.nonce()).status_code == 403  # nor the reverse


def test_it_speaks_the_clients_language(rig: Rig) -> None:
    code = codes.issue(rig.service, "client 7", rig.store, rig.config, rig.driver.capabilities, "ar_XB")
    page = rig.post(code).text
    assert '<html lang="ar-XB" dir="rtl">' in page
    assert "[Çlîpböárd ~]" in page
    words = re.search("data-words='([^']+)'", page)
    assert words
    assert json.loads(words.group(1))["again"].startswith("[Öpéñ á ñéw")
    nonce = re.search('data-nonce="([^"]+)"', page)
    assert nonce
    screen = Stream(rig.socket(nonce.group(1)))
    rig.clock.time += 3600 * 13
    rig.wait(rig.relay.sweep())
    assert screen.closed()[1].startswith("[Á çöñsölé stáýs öpéñ")
    refused = requests.post(
        f"http://127.0.0.1:{rig.port}/console",
        data={"code": code},
        headers={"Accept-Language": "xx;q=1, en-XA"},
        timeout=10,
    )
    assert "[Thîs çöñsölé lîñk" in refused.text
    assert "used already" in rig.post(code).text


@pytest.mark.parametrize(("seconds", "status"), [(9, 200), (11, 403)])
def test_a_code_is_good_for_ten_seconds(rig: Rig, seconds: float, status: int) -> None:
    code = rig.code()
    rig.clock.time += seconds
    assert rig.post(code).status_code == status


@pytest.mark.parametrize(("seconds", "good"), [(29, True), (31, False)])
def test_a_nonce_is_good_for_thirty_seconds(rig: Rig, seconds: float, good: bool) -> None:
    nonce = rig.nonce()
    rig.clock.time += seconds
    if good:
        Stream(rig.socket(nonce))
    else:
        assert Stream(rig.socket(nonce), greet=False).closed()[0] == 1008
    assert rig.calls("vncproxy") == int(good)


def test_two_who_show_the_same_code_at_once(rig: Rig) -> None:
    code, answers = rig.code(), []
    threads = [threading.Thread(target=lambda: answers.append(rig.post(code).status_code)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [403] * 7


@pytest.mark.parametrize(
    "origin",
    [None, "null", "https://evil.example", "http://billing.example.com", f"{ORIGIN}.evil.example", f"{ORIGIN}:8443"],
)
def test_another_origin_is_refused(rig: Rig, origin: str | None) -> None:
    nonce = rig.nonce()
    with pytest.raises(InvalidStatus) as e:
        rig.socket(nonce, origin)
    assert e.value.response.status_code == 403
    assert rig.calls("vncproxy") == 0
    Stream(rig.socket(nonce))  # it is not used up by that


def test_requests_that_are_none_of_ours(rig: Rig) -> None:
    base = f"http://127.0.0.1:{rig.port}"
    assert requests.get(f"{base}/console", timeout=10).status_code == 405
    assert requests.get(f"{base}/", timeout=10).status_code == 404
    assert requests.post(f"{base}/console/socket", data={"code": rig.code()}, timeout=10).status_code == 404
    assert requests.post(f"{base}/console", data={"code": "x" * 5000}, timeout=10).status_code == 404
    assert (
        requests.post(
            f"{base}/console", data={"code": ["", "\udfff".encode("utf-8", "surrogatepass")]}, timeout=10
        ).status_code
        == 403
    )
    assert requests.post(f"{base}/console", timeout=10).status_code == 403
    with pytest.raises(ConnectionClosed):
        Stream(rig.socket(rig.nonce(), subprotocols=["binary"]), greet=False).ws.recv(timeout=10)
    assert rig.calls("vncproxy") == 0


def test_a_form_that_comes_in_pieces(rig: Rig) -> None:
    body = f"code={rig.code()}".encode()
    text = b"POST /console HTTP/1.1\r\nHost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", rig.port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(text)):
            s.sendall(text[i : i + 1])
        assert s.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("verb", ["suspend", "terminate"])
def test_a_barred_service_at_each_stage(rig: Rig, verb: str) -> None:
    code, nonce, open_one = rig.code(), rig.nonce(), rig.opened()
    rig.world.order(verb)  # nothing of it has run yet
    with pytest.raises(Refused):
        rig.code()
    assert rig.post(code).status_code == 403
    assert Stream(rig.socket(nonce), greet=False).closed()[0] == 1008
    rig.wait(rig.relay.sweep())  # happens each second
    word = {"suspend": "The service is suspended.", "terminate": "The service has ended."}[verb]
    assert open_one.closed() == (1008, word)
    row = stores.consoles(rig.store, rig.service.id)[0]
    assert row["closed_at"]
    assert row["reason"] == word


@pytest.mark.parametrize("verb", ["converge", "create", "change_package", "unsuspend"])
def test_another_client_ends_each_stage(rig: Rig, verb: str) -> None:
    """WHMCS's next order names the new client; what the former one holds is worth nothing from then on."""
    code, nonce, open_one, before = rig.code(), rig.nonce(), rig.opened(), rig.service
    rig.world.order(verb, userid=8, **({"status": "Pending"} if verb == "create" else {}))
    assert rig.service.client_id == 8
    with pytest.raises(Refused, match="another client"):  # a request that was let in before
        codes.issue(before, "client 7", rig.store, rig.config, rig.driver.capabilities)
    assert rig.post(code).status_code == 403
    assert Stream(rig.socket(nonce), greet=False).closed()[0] == 1008
    assert rig.store.rows("SELECT 1 FROM console_keys") == []
    rig.wait(rig.relay.sweep())
    assert open_one.closed() == (1008, "The service belongs to another client now.")
    row = stores.consoles(rig.store, rig.service.id)[0]
    assert row["closed_at"]
    assert row["reason"] == "The service belongs to another client now."
    Stream(rig.socket(rig.nonce()))  # the new client's own


def test_keys_that_were_made_while_the_service_changed_hands_are_the_former_clients(rig: Rig) -> None:
    code, nonce = rig.code(), rig.nonce()
    rig.store.update_service(rig.service.id, client_id=8)  # nothing else: the keys themselves name their client
    assert rig.post(code).status_code == 403
    assert Stream(rig.socket(nonce), greet=False).closed() == (1008, "The service belongs to another client now.")


def test_many_consoles_are_watched_by_one_question(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rig.config.console, "per_service", 5)
    for _ in range(5):
        rig.opened()
    asked: list[str] = []
    rows = rig.store.rows
    monkeypatch.setattr(rig.store, "rows", lambda sql, *args: asked.append(sql) or rows(sql, *args))
    rig.wait(rig.relay.sweep())
    assert len(rig.relay.live) == 5
    assert len(asked) == 1


def test_idle_and_absolute_limits(rig: Rig) -> None:
    typing, watching = rig.opened(), rig.opened()
    for _ in range(15):  # 7.5 hours
        rig.clock.time += 29 * 60
        typing.ws.send(KEY)
        typing.picture()  # the key has passed the relay
        rig.wait(rig.relay.sweep())
        rig.clock.time += 60
        if watching.ws:
            watching.picture()  # asks for pictures only
            rig.clock.time += 1
            rig.wait(rig.relay.sweep())
            assert "30 minutes" in watching.closed()[1]
            watching.ws = None
    rig.clock.time += 29 * 60
    typing.ws.send(KEY)
    typing.picture()
    rig.wait(rig.relay.sweep())
    rig.clock.time += 2 * 60
    rig.wait(rig.relay.sweep())
    assert "8 hours" in typing.closed()[1]


def test_so_many_for_a_service(rig: Rig) -> None:
    opened = [rig.opened() for _ in range(3)]
    fourth = Stream(rig.socket(rig.nonce()), greet=False)
    assert fourth.closed() == (1008, "Too many consoles of this server are open: close one first.")
    opened[0].ws.close()
    while len(rig.relay.live) == 3:
        rig.wait(rig.relay.sweep())
    rig.opened()


def test_a_killed_process_does_not_hold_places(rig: Rig) -> None:
    for _ in range(3):
        assert rig.store.open_console(rig.service.id, 7, "client 7", "a killed one", 3)
    assert Stream(rig.socket(rig.nonce()), greet=False).closed()[0] == 1008
    rig.clock.time += 91
    live = rig.opened()
    rig.store.prune_consoles(86400)
    assert [r["reason"] for r in stores.consoles(rig.store, rig.service.id)] == ["", *["its process ended"] * 3]
    rig.clock.time += 60
    rig.wait(rig.relay.sweep())  # gives a sign of life
    rig.clock.time += 60
    rig.store.prune_consoles(86400)
    assert stores.consoles(rig.store, rig.service.id)[0]["closed_at"] is None
    assert live.picture()


def test_as_many_as_the_process_may_hold(tmp_path: Path) -> None:
    with Rig(tmp_path, sessions=1) as rig:
        rig.opened()
        assert "try again later" in Stream(rig.socket(rig.nonce()), greet=False).closed()[1]


def test_a_machine_that_is_off(rig: Rig) -> None:
    rig.store.note_status("pve1", "20000", "pve1", "stopped", 0)
    with pytest.raises(Refused, match=r"Start the server first\."):
        rig.code()
    rig.store.note_status("pve1", "20000", "pve1", "running", 9)
    nonce = rig.nonce()
    rig.cluster.vms[20000].status = "stopped"  # meanwhile, and not seen yet
    assert Stream(rig.socket(nonce), greet=False).closed() == (1011, "Start the server first.")
    assert rig.calls("vncproxy") == 0


def test_a_machine_that_is_not_proven_ours(rig: Rig) -> None:
    nonce = rig.nonce()
    rig.cluster.vms[20000].config["smbios1"] = "uuid=00000000-0000-0000-0000-000000000000"
    assert Stream(rig.socket(nonce), greet=False).closed()[0] == 1011
    assert rig.calls("vncproxy") == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", "POST", "vncproxy", status=500, reason="got timeout"),
        Fault("status", "POST", "vncproxy", status=403, reason="no VM.Console"),
        Fault("status", "GET", "vncwebsocket", status=401, reason="permission denied - invalid PVEVNC ticket"),
        Fault("reset_before", "GET", "vncwebsocket"),
    ],
)
def test_a_hypervisor_that_refuses(rig: Rig, fault: Fault, capfd: pytest.CaptureFixture[str]) -> None:
    nonce = rig.nonce()
    rig.cluster.faults = [fault]
    code, reason = Stream(rig.socket(nonce), greet=False).closed()
    assert code == 1011
    assert reason
    assert "127.0.0.1" not in reason
    said = "".join(capfd.readouterr())
    tickets = [x for n in rig.cluster.listeners.values() for x in (n.ticket, n.password)]
    assert "console_fault" in said
    assert not [s for s in (*tickets, "sim-secret", nonce) if s in said]
    assert stores.consoles(rig.store, rig.service.id)[0]["closed_at"]
    rig.cluster.faults = []
    rig.opened()


def test_a_screen_that_refuses_the_password(rig: Rig) -> None:
    nonce = rig.nonce()
    handler = rig.cluster.handlers.post_vm_vncproxy
    rig.cluster.handlers.post_vm_vncproxy = lambda w, p: {**handler(w, p), "password": "wrong"}
    code, reason = Stream(rig.socket(nonce), greet=False).closed()
    assert code == 1011
    assert re.fullmatch(r"The server's screen cannot be reached just now\. Reference c\d+\.", reason)


def test_a_machine_that_goes_off(rig: Rig) -> None:
    screen = rig.opened()
    inner = next(n.socket for n in rig.cluster.listeners.values() if n.socket)
    inner.shutdown(socket.SHUT_RDWR)
    assert screen.closed() == (1000, "The server ended the connection.")
    assert stores.consoles(rig.store, rig.service.id)[0]["reason"] == "The server ended the connection."


def test_a_browser_that_speaks_otherwise(rig: Rig) -> None:
    ws = rig.socket(rig.nonce())
    ws.send(b"RFB 003.003\n")
    assert Stream(ws, greet=False).closed()[0] == 1011
    ws = Stream(rig.socket(rig.nonce())).ws
    ws.send(b"\x04" + b"x" * 200_000)  # more than a message may have
    assert Stream(ws, greet=False).closed()[0] == 1009


def test_a_slow_browser_holds_the_screen_back(rig: Rig) -> None:
    """32 pictures of 4 MB; nothing is lost, and nothing piles up in the relay while the browser does not read."""
    rig.screen.size = (1024, 1024)
    screen = Stream(rig.socket(rig.nonce(), max_size=None, max_queue=2))
    for _ in range(32):
        screen.ws.send(UPDATE)
    assert not rig.screen.sent.wait_for(32, 1.5)  # without a limit this is a matter of 0.3 s
    total = 32 * (16 + 1024 * 1024 * 4)
    while total:
        total -= len(screen.read(min(total, 1 << 20)))
    assert rig.screen.sent.wait_for(32, 20)


def test_stopping_says_why_and_leaves_no_open_record(rig: Rig) -> None:
    screen = rig.opened()
    rig.wait(rig.relay.stop())
    assert screen.closed() == (1001, "The console service restarts: click CONNECT again.")
    assert stores.consoles(rig.store, rig.service.id)[0]["closed_at"]


def test_who_may(rig: Rig) -> None:
    has = rig.driver.capabilities
    assert codes.reason(rig.service, rig.store, rig.config, has) == ""
    assert codes.reason(rig.service, rig.store, rig.config, frozenset()) == "This server does not offer it."
    denied = rig.service.package
    rig.store.update_service(
        rig.service.id, package=type(denied)(**{**vars(denied), "permissions": {"console": "deny"}})
    )
    assert codes.reason(rig.service, rig.store, rig.config, has) == "Not part of your plan."
    rig.store.update_service(rig.service.id, package=denied)
    rig.config.web["public_url"] = ""
    assert "no public address" in codes.reason(rig.service, rig.store, rig.config, has)
    rig.config.web["public_url"] = PUBLIC
    rig.store.update_service(rig.service.id, provisioned=0)
    assert codes.reason(rig.service, rig.store, rig.config, has) == "The server is being set up."


def test_a_ticket_does_not_show_its_secrets(rig: Rig) -> None:
    ticket = rig.driver.console(rig.service.ref)
    assert ticket.url.startswith("wss://")
    assert "sim-secret" in ticket.headers["Authorization"]
    assert not [s for s in (ticket.url, ticket.password, "sim-secret") if s in repr(ticket)]


def test_without_its_files_the_page_says_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "built", lambda name: False)
    page = rig.post(rig.code())
    assert "were not built" in page.text
    assert "data-nonce" not in page.text


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example/x", "https://a.example"),
        ("https://A.example:443", "https://a.example"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("", ""),
    ],
)
def test_the_origin_of_an_address(url: str, origin: str) -> None:
    assert codes.origin(url) == origin
