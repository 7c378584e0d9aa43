"""Each class of fault on the way to a back end or to WHMCS has one honest sentence that says what to do; a reply of
another shape than the API's is such a fault, for every call of both drivers. Nothing that was sent or received is in a
sentence."""

from __future__ import annotations

import errno
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse

from bridge.clock import Clock
from bridge.console.relay import why
from bridge.errors import Permanent, Transient, Unknown, Unreachable, UpstreamError, VmbridgeError
from bridge.whmcs import Whmcs
from drivers import http
from drivers.hetzner import replies as hetzner_replies
from drivers.hetzner.api import Api as HetznerApi
from drivers.proxmox import replies as proxmox_replies
from drivers.proxmox.api import Api as ProxmoxApi
from tests.configs import raw_config
from tests.pve.http import certificate

SECRET = "hush-hush-hush"
SETTINGS = {
    "proxmox": {**raw_config()["servers"]["pve1"], "token_secret": SECRET},
    "hetzner": {"token": SECRET, "endpoint": "https://api.test/v1", "ca_file": ""},
}


class Answer(BaseAdapter):
    """Raises, or answers every call the same."""

    def __init__(self, status: int = 200, body: bytes = b"", error: Exception | None = None, **headers: str) -> None:
        super().__init__()
        self.status, self.body, self.error, self.headers, self.calls = status, body, error, headers, 0

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self.calls += 1
        if self.error:
            raise self.error
        response = requests.Response()
        response.status_code, response.reason, response.request, response.url = (
            self.status,
            "OK",
            request,
            str(request.url),
        )
        response.headers.update(self.headers)
        response.raw = HTTPResponse(preload_content=False)
        response._content = self.body
        return response

    def close(self) -> None:
        pass


def calls(driver: str, answer: Answer, **settings: Any) -> Callable[[str, str], Any]:
    """(method, path) -> the driver's own call, answered by `answer`."""

    def prepare(session: requests.Session) -> None:
        session.mount("https://", answer)

    made = {**SETTINGS[driver], **settings}
    api: Any = (
        ProxmoxApi(made, prepare, "pve1") if driver == "proxmox" else HetznerApi(made, Clock(), prepare, server="hz1")
    )
    return lambda method, path: getattr(api, method.lower())(path)


READ = {"proxmox": "nodes/n/qemu/100/config", "hetzner": "/servers/1"}
CHANGE = {"proxmox": "nodes/n/qemu/100/status/start", "hetzner": "/servers/1/actions/poweron"}


def pooled(reason: Exception) -> requests.exceptions.ConnectionError:
    pool = urllib3.HTTPSConnectionPool("pve.test", 8006)
    return requests.exceptions.ConnectionError(
        urllib3.exceptions.MaxRetryError(pool, "/api2/json?hush-hush-hush", reason)
    )


def connecting(number: int, text: str) -> Exception:
    conn = urllib3.connection.HTTPSConnection("pve.test", 8006)
    error = urllib3.exceptions.NewConnectionError(
        conn, f"Failed to establish a new connection: [Errno {number}] {text}"
    )
    error.__cause__ = {errno.ECONNREFUSED: ConnectionRefusedError}.get(number, OSError)(number, text)
    return pooled(error)


def unresolved() -> Exception:
    conn = urllib3.connection.HTTPSConnection("pve.test", 8006)
    return pooled(
        urllib3.exceptions.NameResolutionError("pve.test", conn, socket.gaierror(-2, "Name or service not known"))
    )


def certified(code: int, message: str) -> Exception:
    bad = ssl.SSLCertVerificationError(1, f"certificate verify failed: {message}")
    bad.verify_code, bad.verify_message = code, message
    return requests.exceptions.SSLError(urllib3.exceptions.MaxRetryError(None, "", urllib3.exceptions.SSLError(bad)))


def tls(reason: str) -> Exception:
    bad = ssl.SSLError(1, f"[SSL: {reason}] hush")
    bad.reason = reason
    return requests.exceptions.SSLError(urllib3.exceptions.MaxRetryError(None, "", urllib3.exceptions.SSLError(bad)))


BEFORE: dict[str, tuple[Exception, str]] = {  # nothing was sent: tried again by itself, whatever the call
    "name_unresolved": (unresolved(), "cannot be resolved"),
    "connection_refused": (connecting(errno.ECONNREFUSED, "Connection refused"), "refuses connections"),
    "no_route": (connecting(errno.EHOSTUNREACH, "No route to host"), "no way to"),
    "connect_timeout": (requests.exceptions.ConnectTimeout("hush-hush-hush"), "does not take connections"),
    "certificate_expired": (certified(10, "certificate has expired"), "has expired"),
    "certificate_not_yet_valid": (certified(9, "certificate is not yet valid"), "not valid yet"),
    "certificate_other_host": (certified(62, "Hostname mismatch"), "is not for"),
    "certificate_unknown": (certified(20, "unable to get local issuer certificate"), "self-signed, or it was changed"),
    "tls_failed": (tls("WRONG_VERSION_NUMBER"), "does not speak TLS"),
    "proxy_failed": (requests.exceptions.ProxyError("hush-hush-hush"), "The proxy"),
}
UNDER_WAY: dict[str, tuple[Exception, str]] = {
    "read_timeout": (requests.exceptions.ReadTimeout("hush-hush-hush"), "did not answer in time"),
    "reply_lost": (requests.exceptions.ConnectionError("Connection aborted: reset by peer"), "broke before"),
    "reply_lost too": (tls("BAD_RECORD_MAC"), "broke before"),
    "bad_answer": (requests.exceptions.TooManyRedirects("hush-hush-hush"), "not its API's answer"),
}


def told(error: VmbridgeError, code: str, words: str) -> None:
    said = f"{error.sentence} {error.detail} {error.next_action} {error}"
    assert error.code == code, said
    assert words in error.sentence, said
    assert error.next_action
    assert "by itself" not in error.next_action
    assert SECRET not in said
    assert "privilege" not in said
    assert "busy" not in said
    assert "API role" not in said


@pytest.mark.parametrize("driver", ["proxmox", "hetzner"])
@pytest.mark.parametrize("code", BEFORE)
def test_what_keeps_a_call_from_being_sent(driver: str, code: str) -> None:
    error, words = BEFORE[code]
    call = calls(driver, Answer(error=error))
    for method, path in (("get", READ[driver]), ("post", CHANGE[driver])):
        with pytest.raises(Unreachable) as caught:
            call(method, path)
        told(caught.value, code, words)
        assert caught.value.executed == "no"


@pytest.mark.parametrize("driver", ["proxmox", "hetzner"])
@pytest.mark.parametrize("code", UNDER_WAY)
def test_what_happens_to_a_call_under_way(driver: str, code: str) -> None:
    error, words = UNDER_WAY[code]
    call = calls(driver, Answer(error=error))
    for method, path, kind in (("get", READ[driver], Transient), ("post", CHANGE[driver], Unknown)):
        with pytest.raises(kind) as caught:
            call(method, path)
        told(caught.value, code.split()[0], words)
        assert ("looked up" in caught.value.sentence) == (kind is Unknown)


@pytest.mark.parametrize("driver", ["proxmox", "hetzner"])
def test_a_certificate_file_that_is_not_there_and_a_key_that_cannot_be_sent(driver: str, tmp_path: Path) -> None:
    class Real(Answer):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            return requests.adapters.HTTPAdapter().send(request, *args, **kwargs)

    missing = calls(driver, Real(), ca_file=str(tmp_path / "no.pem"))
    with pytest.raises(Permanent) as caught:
        missing("get", READ[driver])
    told(caught.value, "ca_file", "cannot be read")
    for error in (ValueError(f"Invalid header value b'{SECRET}'"), requests.exceptions.InvalidHeader(SECRET)):
        with pytest.raises(Permanent) as caught:
            calls(driver, Answer(error=error))("get", READ[driver])
    told(caught.value, "bad_key", "cannot be sent")


# -- rubbish ----------------------------------------------------------------------------------------
RUBBISH: dict[str, bytes] = {
    "login page": b"<html><title>hush-hush-hush</title></html>",
    "empty": b"",
    "truncated": b'{"data": {"digest": "ab',
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "text": b'"hush-hush-hush"',
    "empty object": b"{}",
    "data null": b'{"data": null, "server": null, "servers": null, "images": null, "actions": null}',
    "data list": b'{"data": [], "server": [], "images": {}, "action": []}',
    "data text": b'{"data": "hush-hush-hush", "server": "hush-hush-hush"}',
    "data errors": b'{"data": {"errors": "hush-hush-hush"}, "server": {"errors": "hush-hush-hush"}}',
    "rows null": b'{"data": [null], "servers": [null], "images": [null]}',
    "bytes": b"\xff\xfe\x00",
}
BOTH = [("proxmox", m, p) for m, p in [("GET", "nodes/n/qemu/100/config"), ("POST", "nodes/n/qemu/100/status/start")]]
BOTH += [("proxmox", "GET", p) for p in ("cluster/resources", "nodes/n/qemu/100/snapshot", "nodes/n/qemu/100/pending")]
BOTH += [
    ("proxmox", "POST", "nodes/n/qemu"),
    ("proxmox", "POST", "nodes/n/vzdump"),
    ("proxmox", "DELETE", "nodes/n/qemu/100"),
]
BOTH += [("hetzner", "GET", p) for p in ("/servers/1", "/servers", "/images", "/actions", "/pricing", "/isos")]
BOTH += [
    ("hetzner", "POST", "/servers"),
    ("hetzner", "POST", "/servers/1/actions/rebuild"),
    ("hetzner", "DELETE", "/servers/1"),
]
BOTH += [("proxmox", "GET", "nodes/n/qemu/100/rrddata"), ("hetzner", "GET", "/servers/1/metrics")]
RIGHT = {  # a token without rights sees nothing, a new machine has no history: these are answers
    ("cluster/resources", "data list"),
    ("nodes/n/qemu/100/rrddata", "data list"),
    ("nodes/n/qemu/100/rrddata", "data null"),
}


@pytest.mark.parametrize("what", RUBBISH)
@pytest.mark.parametrize(("driver", "method", "path"), BOTH)
def test_rubbish_is_a_fault_of_the_way(driver: str, method: str, path: str, what: str) -> None:
    if (path, what) in RIGHT:
        return
    for status in (200, 203):
        with pytest.raises(UpstreamError) as caught:
            calls(driver, Answer(status, RUBBISH[what]))(method, path)
        assert isinstance(caught.value, Transient if method == "GET" else Unknown)
        told(caught.value, "bad_answer", "not its API's answer")


@pytest.mark.parametrize("driver", ["proxmox", "hetzner"])
def test_a_redirect_is_not_followed(driver: str) -> None:
    answer = Answer(302, b"", Location="https://login.test/?hush-hush-hush")
    for method, path in (("get", READ[driver]), ("post", CHANGE[driver])):
        with pytest.raises(UpstreamError) as caught:
            calls(driver, answer)(method, path)
        told(caught.value, "bad_answer", "not its API's answer")
        assert "login.test" in caught.value.detail
    assert answer.calls == 2


@pytest.mark.parametrize(
    "body", [b'{"error": "hush"}', b'{"error": {}}', b'{"error": {"code": {}}}', b"[]", b'{"error": null}']
)
def test_an_error_of_another_form(body: bytes) -> None:
    for method, kind in (("get", Transient), ("post", Unknown)):
        with pytest.raises(kind):
            calls("hetzner", Answer(500, body))(method, CHANGE["hetzner"])
    with pytest.raises(VmbridgeError):
        calls("proxmox", Answer(500, body))("post", CHANGE["proxmox"])


def test_headers_of_something_else_do_no_harm() -> None:
    answer = Answer(200, b"<html>", Date="yesterday", **{"RateLimit-Remaining": "many"})
    with pytest.raises(Transient):
        calls("hetzner", answer)("get", "/servers/1")


@pytest.mark.parametrize("value", [None, "many", [], {}, True, float("nan"), float("inf"), "1e999999"])
def test_a_number_is_a_number(value: Any) -> None:
    row = {"type": "qemu", "vmid": 100, "node": "n"}
    assert proxmox_replies.fault("GET", "cluster/resources", [row]) == ""
    assert proxmox_replies.fault("GET", "cluster/resources", [{**row, "vmid": "100", "cpu": 0.5}]) == ""
    assert "vmid" in proxmox_replies.fault("GET", "cluster/resources", [row, {**row, "vmid": value}])
    assert "id" in hetzner_replies.fault("DELETE", "/servers/1", {"action": {"id": value, "status": "x"}})


@pytest.mark.parametrize(
    "row", [{"time": "now"}, {"time": 10**4500}, {"time": 1e300}, {"time": 1, "cpu": "much"}, {"time": 1, "mem": {}}]
)
def test_a_history_of_rubbish_is_none(row: dict[str, Any]) -> None:
    assert proxmox_replies.fault("GET", "nodes/n/qemu/100/rrddata", [{"time": 1, "cpu": 0.5}, row])


def test_a_list_without_an_end_is_none() -> None:
    body = {"isos": [], "meta": {"pagination": {"next_page": 1}}}
    api = HetznerApi(
        SETTINGS["hetzner"], Clock(), lambda s: s.mount("https://", Answer(200, json.dumps(body).encode()))
    )
    with pytest.raises(Transient):
        list(api.pages("/isos", "isos"))


# -- WHMCS ------------------------------------------------------------------------------------------
class Page(BaseHTTPRequestHandler):
    reply: ClassVar[tuple[int, bytes]] = (200, b"")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.reply
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if 300 <= status < 400:
            self.send_header("Location", "https://www.billing.test/?hush-hush-hush")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def refused(message: str) -> bytes:
    return json.dumps({"result": "error", "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "body", "code", "action"),
    [
        (301, b"", "whmcs_moved", "www"),
        (401, b"<html>", "whmcs_fenced", "Let this machine"),
        (403, b"<html>", "whmcs_fenced", "Let this machine"),
        (404, b"<html>", "whmcs_not_there", "includes/api.php"),
        (500, b"", "whmcs_fault", "error logs"),
        (503, b"<html>", "whmcs_fault", "error logs"),
        (200, b"<html>hush-hush-hush", "bad_answer", "maintenance"),
        (200, b"[]", "bad_answer", "maintenance"),
        (200, b"", "bad_answer", "maintenance"),
        (403, refused("Invalid IP 203.0.113.7"), "whmcs_address_refused", "API IP Access Restriction"),
        (403, refused("Authentication Failed"), "whmcs_credentials", "api_identifier"),
        (200, refused("Invalid or missing credentials"), "whmcs_credentials", "api_secret"),
        (403, refused('Invalid Permissions: API action "sendemail" is not allowed'), "whmcs_role", "SendEmail"),
        (200, refused("Email Template not found"), "whmcs_refused", "activity log"),
        (200, b"{}", "whmcs_refused", "activity log"),
    ],
)
def test_what_whmcs_says(site: str, status: int, body: bytes, code: str, action: str) -> None:
    Page.reply = (status, body)
    with pytest.raises(UpstreamError) as caught:
        Whmcs(site, "id", SECRET, name="shop").call("SendEmail", id=1)
    assert (caught.value.code, SECRET in str(caught.value)) == (code, False)
    assert action in caught.value.next_action


def test_whmcs_cannot_be_reached(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable) as caught:
        Whmcs(address, "id", SECRET, name="shop").call("SendEmail", id=1)
    told(caught.value, "connection_refused", "WHMCS")
    assert "[whmcs.shop] system_url" in caught.value.next_action
    with pytest.raises(Unreachable) as caught:
        Whmcs("https://no-such-host.invalid", "id", SECRET).call("GetClientsProducts")
    told(caught.value, "name_unresolved", "no-such-host.invalid")


def test_a_real_certificate_of_an_unknown_authority(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                raw, _ = listener.accept()
                with raw:
                    with suppress(OSError):
                        context.wrap_socket(raw, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        api = ProxmoxApi({**SETTINGS["proxmox"], "endpoint": url}, server="pve1")
        with pytest.raises(Unreachable) as caught:
            api.get("version")
        told(caught.value, "certificate_unknown", "The certificate of the Proxmox server")
        assert "[servers.pve1] ca_file" in caught.value.next_action
        with pytest.raises(Unreachable) as caught:
            Whmcs(url, "id", SECRET).call("SendEmail", id=1)
        told(caught.value, "certificate_unknown", "The certificate of WHMCS")
        thread.join()


def test_the_console_relays_log_says_the_same(tmp_path: Path) -> None:
    refused = why(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "https://pve.test:8006")
    assert refused["code"] == "connection_refused"
    assert "pve.test:8006" in refused["said"]
    assert refused["next"]
    bad = ssl.SSLCertVerificationError(1, "hush-hush-hush")
    bad.verify_code, bad.verify_message = 10, "certificate has expired"
    assert why(bad, "https://pve.test:8006")["code"] == "certificate_expired"
    assert why(TimeoutError(), "https://pve.test:8006")["code"] == "read_timeout"
    assert why(socket.gaierror(-2, "x"), "https://pve.test:8006")["code"] == "name_unresolved"


def test_shared_parts_name_nobody() -> None:
    text = Path(http.__file__).read_text().lower()
    assert not any(word in text for word in ("proxmox", "hetzner", "whmcs"))
