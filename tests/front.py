"""What nginx does before the bridge: the public path's prefix is taken off, /console goes to the console, the rest to
web."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

PREFIX = "/vmbridge"
PUBLIC = re.compile(rb"^[A-Z]+ " + PREFIX.encode() + rb"(/(console|status|assets|health)\S*) HTTP/1\.1$")


async def let_go(seconds: float = 5.0) -> None:
    """Connections that are being closed are let go by the loop's next turns (TLS says goodbye first): without them
    their sockets would stay behind when the loop ends."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while open_ones := [t for t in loop._transports.values() if t._sock is not None]:
        if loop.time() > end:
            for one in open_ones:
                one.abort()
        await asyncio.sleep(0.01)


class Front:
    """`with Front(web, console) as front:` browsers come to front.url."""

    def __init__(self, web: int, console: int) -> None:
        self.web, self.console = web, console
        self.loop = asyncio.new_event_loop()
        self.lines: list[str] = []  # what an access log would hold
        self.instead: dict[str, bytes] = {}  # part of an address -> what a wrong proxy answers there
        self.held = ""  # requests with this in their address are taken, and get no answer until it is empty again
        self._server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}{PREFIX}"
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Front:
        self._thread.start()
        return self

    def __exit__(self, *args: Any) -> None:
        async def end() -> None:
            self._server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await let_go()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            first, _, rest = head.partition(b"\r\n")
            self.lines.append(first.decode())
            while self.held and self.held in first.decode():
                await asyncio.sleep(0.05)
            if wrong := next((answer for part, answer in self.instead.items() if part in first.decode()), b""):
                writer.write(wrong)
                await writer.drain()
                return
            match = PUBLIC.match(first)
            if not match:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                return
            if b"upgrade: websocket" not in rest.lower():  # one request for each connection: the next may go elsewhere
                rest = re.sub(rb"(?im)^connection:.*\r\n", b"", rest).replace(
                    b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1
                )
            port = self.console if match.group(2) == b"console" else self.web
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            inner_writer.write(first.replace(PREFIX.encode(), b"", 1) + b"\r\n" + rest)
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
