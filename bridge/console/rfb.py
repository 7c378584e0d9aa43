"""How an RFB 3.8 connection opens (RFC 6143), towards a server and towards a browser. No sockets, no knowledge of
machines."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

VERSION = b"RFB 003.008\n"
NONE, VNC = 1, 2
INPUT = frozenset({4, 5, 6, 255})  # key, pointer, clipboard, QEMU's extended key


class Stream(Protocol):
    async def read(self, count: int) -> bytes: ...
    async def write(self, data: bytes) -> None: ...


class RfbError(Exception):
    """The other side does not speak what we need, or refused us. The text never holds a secret."""


def response(password: str, challenge: bytes) -> bytes:
    """VNC authentication: DES under the password, whose bytes are taken with their bits in reverse order."""
    key = bytes(int(f"{b:08b}"[::-1], 2) for b in password.encode("latin-1", "replace")[:8].ljust(8, b"\0"))
    made = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()  # three times the same key is single DES
    return made.update(challenge) + made.finalize()


async def authenticate(server: Stream, password: str) -> None:
    """Up to and with a good SecurityResult. Raises RfbError."""
    spoken = await server.read(12)
    if not spoken.startswith(b"RFB 003.") or not spoken[8:11].isdigit() or int(spoken[8:11]) < 8:
        raise RfbError("the server does not speak RFB 3.8")
    await server.write(VERSION)
    count = (await server.read(1))[0]
    if count == 0:
        raise RfbError(f"the server refused: {await _reason(server)}")
    offered = await server.read(count)
    if VNC in offered and password:
        await server.write(bytes([VNC]))
        await server.write(response(password, await server.read(16)))
    elif NONE in offered:
        await server.write(bytes([NONE]))
    else:
        raise RfbError(f"the server wants a security type of {list(offered)}")
    if await server.read(4) != bytes(4):
        raise RfbError(f"the server refused the password: {await _reason(server)}")


async def welcome(client: Stream) -> None:
    """The same for a browser, which has proven itself elsewhere: security type None. Raises RfbError."""
    await client.write(VERSION)
    if await client.read(12) != VERSION:
        raise RfbError("the browser does not speak RFB 3.8")
    await client.write(bytes([1, NONE]))
    if await client.read(1) != bytes([NONE]):
        raise RfbError("the browser wants another security type")
    await client.write(bytes(4))


async def _reason(server: Stream) -> str:
    length = int.from_bytes(await server.read(4), "big")
    return (await server.read(min(length, 200))).decode("utf-8", "replace")
