"""What the console process answers before a websocket: the page for a code, or a refusal as a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jinja2
import structlog
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from bridge import assets
from bridge.console import codes
from bridge.console.front import Front
from bridge.context import Context
from bridge.errors import VmbridgeError
from bridge.languages import accepted, direction_of, in_language
from bridge.model import Sentence

log = structlog.get_logger()
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src"
    " {socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Pages:
    """`in_store(call, *args)` runs what asks the store beside the loop."""

    def __init__(self, context: Context, in_store: Callable[..., Awaitable[Any]]) -> None:
        self.context, self._in_store = context, in_store
        public = context.config.web["public_url"]
        self.origin = codes.origin(public)
        self.base = urlsplit(public).path.rstrip("/")
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"), autoescape=True
        )

    async def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """What is answered before the upgrade to a websocket: the page, or a refusal as a page; None goes on to the
        socket."""
        assert isinstance(connection, Front)
        path = request.path.partition("?")[0]
        if path == "/console/socket" and connection.form is None:
            if not self.origin or request.headers.get_all("Origin") != [self.origin]:
                return self._page(
                    HTTPStatus.FORBIDDEN,
                    Sentence("This address is only for the console's own page."),
                    guessed_language(request),
                )
            return None
        if path != "/console":
            return self._page(HTTPStatus.NOT_FOUND, Sentence("There is no such page."), guessed_language(request))
        if connection.form is None:
            return self._page(
                HTTPStatus.METHOD_NOT_ALLOWED,
                Sentence("Open the console with CONNECT on your server's page."),
                guessed_language(request),
            )
        code = parse_qs(connection.form.decode("utf-8", "replace")).get("code", [""])[0]
        try:
            service, nonce, language = await self._in_store(
                codes.exchange, code, self.context.store, self.context.config
            )
        except VmbridgeError as e:
            log.info("console_refused", code=e.code)
            return self._page(HTTPStatus.FORBIDDEN, e.sentence, guessed_language(request))
        return self._page(HTTPStatus.OK, "", language, nonce=nonce, vm=service.vm_id, name=service.hostname)

    def _page(self, status: HTTPStatus, sentence: str, language: str, **more: str) -> Response:
        """The console's page with a sentence on it, or with the screen where there is none to say."""
        said = partial(in_language, language)
        built = assets.built("novnc/core/rfb.js")
        html = (
            self._templates.get_template("console_page.html")
            .render(
                sentence=said(
                    sentence
                    or (
                        ""
                        if built
                        else Sentence("The console's files were not built on this installation: run `make assets`.")
                    )
                ),
                _=said,
                language=language.replace("_", "-"),
                direction=direction_of(language),
                assets=f"{self.base}/assets/{assets.version()}",
                **(more if built else {}),
            )
            .encode()
        )
        socket = self.origin.replace("http", "ws", 1) or "'none'"
        return Response(
            status.value,
            status.phrase,
            Headers(
                {
                    "Content-Type": "text/html; charset=utf-8",
                    "Content-Length": str(len(html)),
                    "Connection": "close",
                    "Cache-Control": "no-store",
                    "Content-Security-Policy": POLICY.format(socket=socket),
                    "Referrer-Policy": "no-referrer",
                    "X-Content-Type-Options": "nosniff",
                    "X-Frame-Options": "DENY",
                    "Cross-Origin-Opener-Policy": "same-origin",
                }
            ),
            html,
        )


def guessed_language(request: Request) -> str:
    """The browser's language, where no key tells the client's."""
    return accepted(",".join(request.headers.get_all("Accept-Language")))
