"""Two ways to reach a simulated project: in process (a requests adapter) and over real HTTPS."""

from __future__ import annotations

import io
import socket
import struct
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3.response import HTTPResponse

from tests.hcloud.failures import Lost
from tests.hcloud.project import Project
from tests.pve import vnc
from tests.pve.http import HttpsServer


class ProjectAdapter(BaseAdapter):
    """Mounted on a session it answers without sockets."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        url = urlsplit(str(request.url))
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        try:
            status, text, headers = self.project.handle(
                str(request.method), str(url.path), parse_qsl(str(url.query)), bytes(body), dict(request.headers)
            )
        except Lost:
            raise requests.exceptions.ConnectionError("Connection aborted: reset by peer") from None
        except (LookupError, TypeError, AttributeError) as e:  # the client takes these for a strange answer
            raise SystemError(f"the simulator is broken at {request.method} {url.path}: {e!r}") from e
        response = requests.Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response.raw = HTTPResponse(body=io.BytesIO(text), status=status, preload_content=False)
        response.headers.update({**headers, "Date": formatdate(self.project.clock.now(), usegmt=True)})
        return response

    def close(self) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    cluster: Project
    latency = 0.0
    guard = threading.Lock()  # the project is not made for threads

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        if url.path == "/console/":
            self._console(dict(parse_qsl(url.query)).get("token", ""))
            return
        try:
            with self.guard:
                status, text, headers = self.cluster.handle(
                    self.command, url.path, parse_qsl(url.query), body, dict(self.headers)
                )
        except Lost:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _console(self, token: str) -> None:
        """A screen's websocket: whoever has the address is let in, once."""
        self.close_connection = True
        with self.guard:
            screen = self.cluster.take_console(token)
            self.cluster.offered.append(self.headers.get("Sec-WebSocket-Protocol", ""))
        if screen is None:
            self.connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        elif vnc.accept(self.connection, self.headers):
            vnc.carry(self.connection, self.rfile, *screen)

    do_GET = do_POST = do_PUT = do_DELETE = _any

    def log_message(self, *args: Any) -> None:
        pass


def project_server(project: Project, folder: Path) -> HttpsServer:
    """The project over HTTPS on 127.0.0.1, with a certificate of its own in `folder`."""
    made = HttpsServer(project, folder, handler=_Handler)
    project.host = f"127.0.0.1:{made.port}"
    return made
