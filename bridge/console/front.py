"""A browser's connection as the relay sees it: its request, whatever method it has, and one console that runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection

from bridge.console import codes
from bridge.model import Sentence

BODY, FRAME, UPSTREAM_FRAME = (
    4096,
    128 * 1024,
    2 * 1024 * 1024,
)  # bytes at most: form, browser's message, screen's message
TLS_PIECE = 96 * 1024  # asyncio reads 256 KiB at once from each TLS connection, which is 1 MiB with what is made of it
NORMAL, GOING_AWAY, REFUSED, FAULT = 1000, 1001, 1008, 1011


class Front(ServerConnection):
    """The library reads GET requests only: a POSTed form is read here and handed on as a GET with its body beside
    it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.form: bytes | None = None
        self._head: bytearray | None = bytearray()

    def data_received(self, data: bytes) -> None:
        """Bytes as asyncio hands them on. A form that is too long, or of no length, becomes a request for no page."""
        if self._head is None:
            super().data_received(data)
            return
        self._head += data
        if not self._head.startswith(b"POST "[: len(self._head)]):
            self._pass(bytes(self._head))
            return
        head, blank, body = bytes(self._head).partition(b"\r\n\r\n")
        if not blank:
            if len(head) > 2 * BODY:
                self._pass(b"GET /too-long HTTP/1.1\r\n\r\n")
            return
        lengths = [
            line.split(b":", 1)[1].strip()
            for line in head.split(b"\r\n")[1:]
            if line.lower().startswith(b"content-length:")
        ]
        if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 9 or int(lengths[0]) > BODY:
            self._pass(b"GET /too-long HTTP/1.1\r\n\r\n")
        elif len(body) >= int(lengths[0]):
            self.form = body[: int(lengths[0])]
            kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
            self._pass(b"\r\n".join([b"GET" + kept[0][4:], *kept[1:]]) + b"\r\n\r\n")

    def _pass(self, data: bytes) -> None:
        self._head = None
        super().data_received(data)


@dataclass
class Live:
    """One open console of this process."""

    session: codes.Session
    since: float
    input_at: float
    task: asyncio.Task[None] = field(init=False)
    end: tuple[int, str] = field(default=(NORMAL, Sentence("The connection was closed.")))
    host: str = ""  # where the screen is


class Piece:
    """A byte stream over a websocket's messages, while the handshake lasts."""

    def __init__(self, socket: Connection) -> None:
        self.socket, self.rest = socket, b""

    async def read(self, count: int) -> bytes:
        while len(self.rest) < count:
            self.rest += await self.socket.recv(decode=False)
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    async def write(self, data: bytes) -> None:
        await self.socket.send(data)
