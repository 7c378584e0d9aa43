"""HTTP answers that are whole in time. The libraries' own time-outs begin anew with every byte, so a peer that drips
its answer could hold a page, a lease or a worker's turn for ever. Here the seconds to answer are for all of it: status,
headers and body."""

from __future__ import annotations

import http.client
import io
import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from bridge.clock import Clock

CLOCK = Clock()  # of this machine, whatever clock the caller holds: it is sockets that wait
MOST = 64 * 1024 * 1024  # bytes of one answer, before anything is unpacked


class Timed(io.RawIOBase):
    """What comes from a socket until `seconds` are over, all together. Raises TimeoutError then, and OSError for more
    than MOST."""

    def __init__(self, line: socket.socket, seconds: float | None) -> None:
        self._line, self._raw = line, line.makefile("rb", buffering=0)
        self._end = None if seconds is None else CLOCK.monotonic() + seconds
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._end is not None:
            left = self._end - CLOCK.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not come whole in time")
            self._line.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        self._read += count or 0
        if self._read > MOST:
            raise OSError("the answer has no end")
        return count

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """Its time begins when the request is sent; the connection's time-out by then says how long it is."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = io.BufferedReader(Timed(sock, sock.gettimeout()))


class _Line(HTTPConnection):
    response_class = Answer


class _SafeLine(HTTPSConnection):
    response_class = Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Line


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _SafeLine


class Whole(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SafePool}


def bound(session: requests.Session) -> None:
    """From here on the session's time-out to read is for the whole answer."""
    for scheme in ("http://", "https://"):
        session.mount(scheme, Whole())
