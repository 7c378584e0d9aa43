"""A machine's screen as pveproxy offers it: a websocket with pveproxy's own limits, and behind it either a small RFB
server of ours or a real QEMU's VNC socket."""

from __future__ import annotations

import base64
import hashlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

LISTEN, TICKET, FRAME = 10.0, 40.0, 128 * 1024  # seconds, seconds, bytes
NO_SOCKET = b"HTTP/1.1 400 no websocket\r\nContent-Length: 0\r\n\r\n"
LENGTHS = {0: 20, 2: 4, 3: 10, 4: 8, 5: 6, 6: 8, 255: 12}


@dataclass
class Listener:
    """What vncproxy opened: one client, within 10 s; the ticket is bound to token, machine and port."""

    port: int
    vmid: int
    node: str
    token: str
    ticket: str
    password: str
    at: float
    upid: str
    taken: bool = False
    socket: socket.socket | None = None  # of the client, while it is connected

    def open(self, now: float) -> bool:
        return self.socket is not None or (not self.taken and now - self.at <= LISTEN)


class Count:
    """A number that grows, and whoever waits for it."""

    def __init__(self) -> None:
        self.number, self._changed = 0, threading.Condition()

    def add(self) -> None:
        with self._changed:
            self.number += 1
            self._changed.notify_all()

    def wait_for(self, number: int, seconds: float) -> bool:
        """True once it has come so far; false when it has not in that time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.number >= number, seconds)


@dataclass
class Screen:
    """`vnc`: the socket file of a real QEMU's VNC, else our own picture of one colour, which changes with each key that
    is pressed. `set_password` tells QEMU the password, as Proxmox does."""

    size: tuple[int, int] = (64, 48)
    colour: tuple[int, int, int] = (26, 127, 55)
    keys: list[tuple[int, bool]] = field(default_factory=list)
    clipboard: list[str] = field(default_factory=list)
    sent: Count = field(default_factory=Count)  # pictures that have left
    vnc: str = ""
    set_password: Callable[[str], None] = lambda password: None


def serve(client: ssl.SSLSocket, reader: BinaryIO, headers: Any, cluster: Any, path: str, port: int) -> None:
    """pveproxy's socket for a port that vncproxy opened. pveproxy takes only masked, whole, plain frames up to 128
    KiB."""
    if "binary" not in headers.get("Sec-WebSocket-Protocol", ""):
        client.sendall(NO_SOCKET)
        return
    if not accept(client, headers, "binary"):
        return
    listener = cluster.listeners[port]
    vm = cluster.vms[listener.vmid]
    if vm.status not in ("running", "paused"):
        return  # as `qm vncproxy` of a stopped machine: the port just closes
    carry(client, reader, vm.screen, listener.password, listener)


def accept(client: ssl.SSLSocket, headers: Any, subprotocol: str = "") -> bool:
    """The upgrade; false when the request was none."""
    if not headers.get("Sec-WebSocket-Key"):
        client.sendall(NO_SOCKET)
        return False
    answer = base64.b64encode(
        hashlib.sha1((headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    ).decode()
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    client.sendall(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept:"
        f" {answer}\r\n{chosen}\r\n".encode()
    )
    return True


def carry(client: ssl.SSLSocket, reader: BinaryIO, screen: Screen, password: str, listener: Any = None) -> None:
    """Bytes both ways between a socket and a screen, until one side ends."""
    client.settimeout(None)
    if screen.vnc:
        screen.set_password(password)
        inner = socket.socket(socket.AF_UNIX)
        inner.connect(screen.vnc)
    else:
        inner, ours = socket.socketpair()
        threading.Thread(target=_speak, args=(ours, screen, password), daemon=True).start()
    if listener:
        listener.socket = inner
    down = threading.Thread(target=_down, args=(inner, client), daemon=True)
    down.start()
    try:
        while data := _frame(reader):
            inner.sendall(data)
    except OSError:
        pass
    finally:
        for end in (inner, client):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        down.join(5)
        inner.close()
        if listener:
            listener.socket = None


def _frame(reader: BinaryIO) -> bytes:
    """The next message's bytes; empty at the end and on what pveproxy would not take."""
    while True:
        head = reader.read(2)
        if len(head) < 2 or head[0] & 0xF0 != 0x80 or not head[1] & 0x80:
            return b""
        length = head[1] & 0x7F
        if length > 125:
            length = int.from_bytes(reader.read(2 if length == 126 else 8), "big")
        if length > FRAME:
            return b""
        mask, data = reader.read(4), reader.read(length)
        key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
        data = (int.from_bytes(data, "big") ^ key).to_bytes(length, "big")
        if head[0] & 0x0F == 2 and data:
            return data
        if head[0] & 0x0F == 8:
            return b""


def _down(inner: socket.socket, client: ssl.SSLSocket) -> None:
    try:
        while data := inner.recv(65536):
            head = b"\x82" + (
                bytes([len(data)])
                if len(data) < 126
                else (
                    b"\x7e" + struct.pack("!H", len(data))
                    if len(data) < 65536
                    else b"\x7f" + struct.pack("!Q", len(data))
                )
            )
            client.sendall(head + data)
        client.sendall(b"\x88\x02\x03\xe8")
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


# -- a small RFB server ---------------------------------------------------------------------------
def _speak(peer: socket.socket, screen: Screen, password: str) -> None:
    try:
        with peer:
            _rfb(peer, screen, password)
    except (OSError, EOFError):
        pass


def _read(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = peer.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _key(screen: Screen, sym: int, down: bool) -> None:
    screen.keys.append((sym, down))
    if down:
        screen.colour = (sym * 37 % 256, sym * 59 % 256, sym * 83 % 256)


def _rfb(peer: socket.socket, screen: Screen, password: str) -> None:
    peer.sendall(b"RFB 003.008\n")
    _read(peer, 12)
    peer.sendall(b"\x01\x02")
    challenge = hashlib.sha256(password.encode() + screen.colour.__repr__().encode()).digest()[:16]
    if _read(peer, 1) != b"\x02":
        return
    peer.sendall(challenge)
    key = bytes(sum(((b >> i) & 1) << (7 - i) for i in range(8)) for b in password.encode()[:8].ljust(8, b"\0"))
    if _read(peer, 16) != Cipher(TripleDES(key * 3), modes.ECB()).encryptor().update(challenge):
        peer.sendall(b"\0\0\0\x01" + struct.pack("!I", 22) + b"Authentication failed\n")
        return
    peer.sendall(bytes(4))
    _read(peer, 1)
    width, height = screen.size
    layout = struct.pack("!BBBBHHHBBBxxx", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
    peer.sendall(struct.pack("!HH", width, height) + layout + struct.pack("!I", 4) + b"QEMU")
    owed, shown = False, None  # a picture, when something has changed; the colour of the last one

    def picture() -> None:
        nonlocal shown
        shown = screen.colour
        shifts = struct.unpack("!BBBBHHHBBBxxx", layout)[7:10]
        pixel = sum(c << s for c, s in zip(screen.colour, shifts, strict=True)).to_bytes(
            4, "big" if layout[2] else "little"
        )
        peer.sendall(struct.pack("!BxHHHHHi", 0, 1, 0, 0, width, height, 0) + pixel * (width * height))
        screen.sent.add()

    while True:
        kind = _read(peer, 1)[0]
        if kind not in LENGTHS:
            return
        rest = _read(peer, LENGTHS[kind] - 1)
        if kind == 2:
            _read(peer, 4 * struct.unpack("!H", rest[1:3])[0])
        elif kind == 0:
            layout = rest[3:19]
        elif kind == 4:
            _key(screen, struct.unpack("!I", rest[3:7])[0], bool(rest[0]))
        elif kind == 6:
            screen.clipboard.append(_read(peer, struct.unpack("!I", rest[3:7])[0]).decode("latin-1"))
        elif kind == 255:
            _key(screen, struct.unpack("!I", rest[3:7])[0], bool(struct.unpack("!H", rest[1:3])[0]))
        elif kind == 3:
            owed = bool(rest[0]) and shown == screen.colour and not select.select([peer], [], [], 0.2)[0]
            if not owed:
                picture()
        if owed and shown != screen.colour:
            owed = False
            picture()
