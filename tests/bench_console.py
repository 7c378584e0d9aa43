"""Parts of the console's benchmark as processes: a screen that pours, our relay before it, and a plain relay for
comparison.

python -m tests.bench_console screen PORT CERTIFICATE KEY | relay CONFIG PORT URL CA | plain PORT URL CA
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from bridge.clock import Clock
from bridge.console.relay import Relay
from bridge.context import load_context
from bridge.model import ConsoleTicket, VmRef

PIECE, PIECES = 64 * 1024, 64
CONFIG = '[store]\nsecret_key = "{key}"\n[web]\npublic_url = "http://127.0.0.1:1/vmbridge"\n{rest}'
GREETING = (b"RFB 003.008\n", b"\x01\x01", bytes(4))


async def pour(ws: Any) -> None:
    for words in GREETING:
        await ws.send(words)
        await ws.recv()
    piece = bytes(PIECE)
    for _ in range(PIECES):
        await ws.send(piece)
    await ws.wait_closed()


async def drink(url: str, origin: str, nonce: str, ready: asyncio.Barrier) -> int:
    """A browser: the handshake, then all that comes; bytes of pictures."""
    async with connect(
        url,
        subprotocols=["binary", f"vmbridge.{nonce}"],
        origin=origin,
        compression=None,
        proxy=None,
        open_timeout=60,
        close_timeout=2,
        ping_interval=None,
    ) as ws:
        await ws.recv()
        await ws.send(b"RFB 003.008\n")
        await ws.recv()
        await ws.send(b"\x01")
        await ws.recv()
        await ready.wait()
        await ws.send(b"\x01")
        got = 0
        while got < PIECE * PIECES:
            got += len(await ws.recv())
        return got


async def plain(port: int, url: str, tls: ssl.SSLContext) -> None:
    """What anybody would write: two loops for each browser, the library's own limits."""

    async def copy(source: Any, target: Any) -> None:
        async for message in source:
            await target.send(message)

    async def handler(browser: Any) -> None:
        async with connect(url, ssl=tls, subprotocols=["binary"], compression=None, proxy=None) as screen:
            tasks = [asyncio.create_task(copy(browser, screen)), asyncio.create_task(copy(screen, browser))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async with serve(handler, "127.0.0.1", port, subprotocols=["binary"], compression=None, backlog=512):
        await asyncio.Event().wait()


async def relay(config: str, port: int, url: str, ca: str) -> None:
    context = load_context(config)

    class Pouring:
        def console(self, ref: VmRef) -> ConsoleTicket:
            return ConsoleTicket(url, "", ca_file=ca)

    context.drivers = dict.fromkeys(context.drivers, Pouring())
    made = Relay(context)
    await made.start(f"127.0.0.1:{port}")
    clock = Clock()
    while clock:
        await asyncio.sleep(1)
        await made.sweep()


async def screen(port: int, certificate: str, key: str) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def handler(ws: Any) -> None:
        with suppress(ConnectionClosed):
            await pour(ws)

    async with serve(handler, "127.0.0.1", port, ssl=tls, subprotocols=["binary"], compression=None, backlog=512):
        await asyncio.Event().wait()


def main() -> None:
    role, *words = sys.argv[1:]
    if role == "screen":
        asyncio.run(screen(int(words[0]), words[1], words[2]))
    elif role == "plain":
        asyncio.run(plain(int(words[0]), words[1], ssl.create_default_context(cafile=words[2])))
    else:
        asyncio.run(relay(words[0], int(words[1]), words[2], words[3]))


if __name__ == "__main__":
    main()
