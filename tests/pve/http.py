"""Two ways to reach a simulated cluster: in process (a requests adapter) and over real HTTPS."""

from __future__ import annotations

import io
import socket
import ssl
import struct
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse

from tests.pve import vnc
from tests.pve.cluster import Cluster, Cut


def _params(query: str, body: bytes) -> dict[str, str]:
    return dict([*parse_qsl(query, keep_blank_values=True), *parse_qsl(body.decode(), keep_blank_values=True)])


class ClusterAdapter(BaseAdapter):
    """Mounted on a session it answers without sockets."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        try:
            reply = self.cluster.handle(
                request.method or "GET", url.path, _params(str(url.query), bytes(body)), dict(request.headers)
            )
        except Cut as cut:
            if cut.kind == "timeout_after":
                raise requests.exceptions.ReadTimeout("read timed out") from None
            raise requests.exceptions.ConnectionError("Connection aborted: reset by peer") from None
        raw = HTTPResponse(body=io.BytesIO(reply.body), status=reply.status, reason=reply.reason, preload_content=False)
        response = requests.Response()
        response.status_code, response.reason, response.raw, response.url = (
            reply.status,
            reply.reason,
            raw,
            request.url or "",
        )
        response.request = request
        return response

    def close(self) -> None:
        pass


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for this machine: (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulated PVE")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "pve-ca.pem", folder / "pve-key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # pveproxy closes idle connections after 5 s
    cluster: Cluster
    latency = 0.0

    def _any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        url = urlsplit(self.path)
        if self.latency:
            threading.Event().wait(self.latency)
        try:
            reply = self.cluster.handle(self.command, url.path, _params(url.query, body), dict(self.headers))
            if reply.status == 200 and url.path.endswith("/vncwebsocket"):
                self.close_connection = True
                vnc.serve(
                    self.connection,
                    self.rfile,
                    self.headers,
                    self.cluster,
                    url.path,
                    int(_params(url.query, b"")["port"]),
                )
                return
        except Cut:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(reply.status, reply.reason)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = do_DELETE = _any

    def log_message(self, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Any, context: ssl.SSLContext) -> None:
        super().__init__(address, handler)
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            with self._context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            pass  # a client that was killed

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class HttpsServer:
    """A cluster over HTTPS on 127.0.0.1. `latency` seconds are added to every call."""

    def __init__(
        self,
        cluster: Any,
        folder: Path,
        port: int = 0,
        latency: float = 0.0,
        handler: type[BaseHTTPRequestHandler] = _Handler,
    ) -> None:
        self.ca_file, key = certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key)
        served = type("Handler", (handler,), {"cluster": cluster, "latency": latency})
        self._server = _Server(("127.0.0.1", port), served, context)
        self.port = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    def __enter__(self) -> HttpsServer:
        self._thread.start()
        return self

    def __exit__(self, *args: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
