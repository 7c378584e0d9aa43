"""The console process: the page for a code, and the relay between a browser's websocket and a machine's screen.

The driver is asked only once the browser's socket is open. The relay authenticates itself to the screen; the browser
sees security type None, and nothing of the hypervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import ssl
import threading
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import certifi
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from bridge import alive, metrics
from bridge.console import codes, rfb
from bridge.console.front import (
    FAULT,
    FRAME,
    GOING_AWAY,
    NORMAL,
    REFUSED,
    TLS_PIECE,
    UPSTREAM_FRAME,
    Front,
    Live,
    Piece,
)
from bridge.console.page import Pages, guessed_language
from bridge.context import Context
from bridge.errors import StoreUnavailable, UpstreamError, VmbridgeError
from bridge.languages import in_language
from bridge.model import ConsoleTicket, Sentence
from drivers.http import Peer, fault

log = structlog.get_logger()
logging.getLogger("websockets").setLevel(logging.CRITICAL)  # its lines carry addresses with tickets
T = TypeVar("T")
QUEUE, WRITES = 2, 32 * 1024  # messages and bytes that wait in each direction before the sender is held back
OPENING = 15.0  # seconds for each of the socket's, the screen's and the browser's handshakes
SWEEP, SIGN_OF_LIFE = 1.0, 20.0
RESTART = Sentence("The console service restarts: click CONNECT again.")


class Relay:
    """`await start()`, then consoles come and go; `await stop()` ends them with a sentence and leaves no open
    record."""

    def __init__(self, context: Context) -> None:
        self.context, self.owner = context, f"{os.getpid()}-{secrets.token_hex(4)}"
        self.live: dict[int, Live] = {}
        self.unnoted: dict[int, str] = {}  # sessions that have ended, and why, while the store has not heard of it
        self.opening, self.stopping = 0, False
        self._store = ThreadPoolExecutor(4, thread_name_prefix="store")
        self._drivers = ThreadPoolExecutor(16, thread_name_prefix="console")
        self._tls: dict[str, ssl.SSLContext] = {}
        self._pages = Pages(context, self._in_store)
        self._seen_at = context.clock.monotonic()
        sslproto.SSLProtocol.max_size = TLS_PIECE

    async def start(self, listen: str) -> Any:
        """`listen` is "host:port". The library's server, which tells on what it listens."""
        host, _, port = listen.rpartition(":")
        self._server = await serve(
            self._socket,
            host.strip("[]"),
            int(port),
            create_connection=Front,
            process_request=self._pages.answer,
            select_subprotocol=lambda _c, offered: Subprotocol("binary") if "binary" in offered else None,
            compression=None,
            max_size=FRAME,
            max_queue=QUEUE,
            write_limit=WRITES,
            open_timeout=OPENING,
            close_timeout=2,
            server_header=None,
        )
        return self._server

    async def stop(self) -> None:
        self.stopping = True
        self._server.close(close_connections=False)
        for live in list(self.live.values()):
            self._end(live, GOING_AWAY, RESTART)
        with suppress(TimeoutError):  # connections that never said anything are not waited for
            await asyncio.wait_for(self._server.wait_closed(), 5)
        self._store.shutdown()
        self._drivers.shutdown(wait=False)

    def _in_store(self, call: Callable[..., T], *args: Any) -> Awaitable[T]:
        return asyncio.get_running_loop().run_in_executor(self._store, call, *args)

    # -- the socket -------------------------------------------------------------------------------
    async def _socket(self, browser: ServerConnection) -> None:
        """One screen from its handshake to its end: a place, the session of its code, then the relay. Refusals are
        close frames."""
        at = self.context
        assert browser.request is not None
        guessed = guessed_language(browser.request)
        offered = ",".join(browser.request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
        nonce = next((p.strip()[9:] for p in offered if p.strip().startswith("vmbridge.")), "")
        if len(self.live) + self.opening >= at.config.console["sessions"]:
            await browser.close(
                REFUSED, _short(Sentence("Too many consoles are open just now: try again later."), guessed)
            )
            return
        self.opening += 1
        try:
            session = await self._in_store(codes.open_session, nonce, self.owner, at.store, at.config)
        except VmbridgeError as e:
            log.info("console_refused", code=e.code)
            await browser.close(REFUSED, _short(e.sentence, guessed))
            return
        finally:
            self.opening -= 1
        now = at.clock.monotonic()
        live = Live(session, now, now)
        live.task = asyncio.create_task(self._relay(browser, live))
        self.live[session.id] = live
        if self.stopping:
            self._end(live, GOING_AWAY, RESTART)
        log.info(
            "console_opened",
            session=session.id,
            service=session.service.service_id,
            vm=session.service.vm_id,
            actor=session.actor,
        )
        try:
            await asyncio.wait({live.task})
        finally:
            live.task.cancel()
            del self.live[session.id]
            self.unnoted[session.id] = live.end[1]
            with suppress(StoreUnavailable):  # the next look notes it
                await self._note_ends()
            log.info("console_closed", session=session.id, reason=live.end[1])
        await browser.close(live.end[0], _short(live.end[1], session.language))

    async def _relay(self, browser: ServerConnection, live: Live) -> None:
        """Until either side ends; says why in `live.end`. Errors are logged by kind: their texts may hold addresses."""
        try:
            await self._through(browser, live)
        except ConnectionClosed:
            pass
        except VmbridgeError as e:
            # an upstream error's own sentence is for operations, which go on by themselves
            live.end = (FAULT, self._unreachable(live) if isinstance(e, UpstreamError) else e.sentence)
            log.warning("console_fault", session=live.session.id, code=e.code, detail=e.detail, said=e.sentence)
        except (rfb.RfbError, OSError, TimeoutError, WebSocketException) as e:
            live.end = (FAULT, self._unreachable(live))
            log.warning("console_fault", session=live.session.id, kind=type(e).__name__, **why(e, live.host))
        except Exception as e:
            live.end = (FAULT, Sentence("Something went wrong. Reference %(reference)s.", reference=reference(live)))
            log.error("console_fault", session=live.session.id, kind=type(e).__name__)

    def _unreachable(self, live: Live) -> str:
        return Sentence(
            "The server's screen cannot be reached just now. Reference %(reference)s.", reference=reference(live)
        )

    async def _through(self, browser: ServerConnection, live: Live) -> None:
        """Opens the machine's screen by the driver's ticket and carries frames both ways until one side ends."""
        service = live.session.service
        driver = self.context.drivers[service.server]
        asked = asyncio.get_running_loop().run_in_executor(self._drivers, driver.console, service.ref)
        ticket: ConsoleTicket = await asked
        live.host = f"https://{urlsplit(ticket.url).netloc}"  # the rest of the address is the ticket
        async with connect(
            ticket.url,
            additional_headers=ticket.headers,
            compression=None,
            subprotocols=[Subprotocol(ticket.subprotocol)] if ticket.subprotocol else None,
            ssl=self._context(ticket) if ticket.url.startswith("wss:") else None,
            proxy=None,
            user_agent_header=None,
            open_timeout=OPENING,
            ping_interval=None,
            close_timeout=0.5,
            max_size=UPSTREAM_FRAME,
            max_queue=QUEUE,
            write_limit=WRITES,
            process_exception=lambda e: e,
        ) as screen:
            server, client = Piece(screen), Piece(browser)
            async with asyncio.timeout(OPENING):
                await rfb.authenticate(server, ticket.password)
            async with asyncio.timeout(OPENING):
                await rfb.welcome(client)
            for rest, target in ((server.rest, browser), (client.rest, screen)):
                if rest:
                    await target.send(rest)
            await self._both(browser, screen, live)

    async def _both(self, browser: ServerConnection, screen: ClientConnection, live: Live) -> None:
        down = asyncio.create_task(_pump(screen, browser))
        up = asyncio.create_task(self._keys(browser, screen, live))
        try:
            await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
            if down.done() and not up.done():
                live.end = (NORMAL, Sentence("The server ended the connection."))
        finally:
            for task in (down, up):
                task.cancel()
            await asyncio.gather(down, up, return_exceptions=True)

    async def _keys(self, browser: ServerConnection, screen: ClientConnection, live: Live) -> None:
        """What the browser sends; keys, pointer and clipboard count as use, its requests for pictures do not."""
        monotonic = self.context.clock.monotonic
        with suppress(ConnectionClosed):
            while True:
                data = await browser.recv(decode=False)
                if data[:1] and data[0] in rfb.INPUT:
                    live.input_at = monotonic()
                await screen.send(data)

    def _context(self, ticket: ConsoleTicket) -> ssl.SSLContext:
        if ticket.ca_file not in self._tls:
            self._tls[ticket.ca_file] = ssl.create_default_context(cafile=ticket.ca_file or certifi.where())
        return self._tls[ticket.ca_file]

    # -- what ends a console ----------------------------------------------------------------------
    def _end(self, live: Live, code: int, sentence: str) -> None:
        live.end = (code, sentence)
        live.task.cancel()

    async def sweep(self) -> None:
        """One look at all open consoles: limits here, suspension and termination by one read of the store."""
        if self.live:
            await self._sweep()
        with suppress(StoreUnavailable):
            await self._note_ends()

    async def _sweep(self) -> None:
        """Ends consoles that are open for too long, idle, or no longer their customer's, and says to the store that
        ours live."""
        limits, now = self.context.config.console, self.context.clock.monotonic()
        for live in list(self.live.values()):
            if now - live.since > limits["absolute_h"] * 3600:
                self._end(
                    live,
                    NORMAL,
                    Sentence(
                        "A console stays open for %(n)s hours at most: click CONNECT again.", n=limits["absolute_h"]
                    ),
                )
            elif now - live.input_at > limits["idle_min"] * 60:
                self._end(
                    live,
                    NORMAL,
                    Sentence("Nothing was typed for %(n)s minutes: click CONNECT again.", n=limits["idle_min"]),
                )
        for key, sentence in (await self._in_store(codes.barred, self.owner, self.context.store)).items():
            if key in self.live:
                self._end(self.live[key], REFUSED, sentence)
        if now - self._seen_at > SIGN_OF_LIFE:
            self._seen_at = now
            await self._in_store(self.context.store.see_consoles, self.owner)

    async def _note_ends(self) -> None:
        """Sessions that have ended are closed in the store: an open record would count against the service's limit."""
        for key, reason in list(self.unnoted.items()):
            await self._in_store(self.context.store.close_console, key, reason)
            self.unnoted.pop(key, None)


async def _pump(source: Connection, target: Connection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await target.send(await source.recv(decode=False))


def why(error: Exception, host: str) -> dict[str, str]:
    """For the log: why a screen could not be reached, and what to do about it."""
    if isinstance(error, rfb.RfbError):
        return {"detail": str(error)}
    if isinstance(error, InvalidStatus):
        return {"code": "screen_refused", "detail": f"HTTP {error.response.status_code}"}
    e = fault(error, Peer("the screen's host", host, "the server's endpoint", "the server's ca_file"), False)
    return {"code": e.code, "said": e.sentence, "next": e.next_action}


def reference(live: Live) -> str:
    """What a customer can tell us of a connection: its lines in the log have the number."""
    return f"c{live.session.id}"


def _short(sentence: str, language: str) -> str:
    """A close reason has room for 123 bytes."""
    return in_language(language, sentence).encode()[:120].decode("utf-8", "ignore")


async def run(context: Context, listen: str = "") -> None:
    """Serve until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    relay = Relay(context)
    await relay.start(listen or context.config.console["listen"])
    metrics.saving(context, threading.Event())
    log.info("console_started", owner=relay.owner)
    while not ended.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), SWEEP)
        try:
            await relay.sweep()
        except Exception:
            log.exception("console_sweep_fault")
        alive.notify("READY=1\nWATCHDOG=1")
    await relay.stop()
    log.info("console_stopped", owner=relay.owner)
