"""Who may call: signatures of the shim and status tokens of browsers. Knows no route."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Response, current_app, g, request
from itsdangerous import BadData, BadSignature, SignatureExpired, URLSafeTimedSerializer

from bridge import logs
from bridge.context import Context
from bridge.errors import BadRequest, NotFound, StoreUnavailable, Unauthorized
from bridge.model import Service
from bridge.origin import Origin, origin
from bridge.store.faults import hurry

WINDOW = 300
TOKEN_SECONDS = 600
NONCE, STAMP = re.compile("[0-9a-f]{32}"), re.compile("[0-9]{1,12}")
WIDEST = 2**63 - 1  # of the store's whole numbers
F = TypeVar("F")


def string_to_sign(method: str, target: str, timestamp: str, nonce: str, body: bytes) -> bytes:
    """`target` is the raw path with its query, as sent."""
    return "\n".join(["v1", method, target, timestamp, nonce, hashlib.sha256(body).hexdigest()]).encode()


def sign(secret: str, method: str, target: str, timestamp: str, nonce: str, body: bytes) -> str:
    return hmac.digest(secret.encode(), string_to_sign(method, target, timestamp, nonce, body), "sha256").hex()


@dataclass(frozen=True)
class Token:
    whmcs: str
    service: int
    client: int


class Guard:
    def __init__(self, context: Context) -> None:
        self.context = context
        key = hashlib.sha256(b"status token" + context.config.store["secret_key"].encode()).hexdigest()
        self._tokens = URLSafeTimedSerializer(key)

    def signed(self) -> tuple[str, str, str]:
        """(WHMCS's name, key, nonce) of a validly signed request; whether the nonce is new is not asked yet. Raises
        Unauthorized."""
        sent = request.environ
        key_id, stamp, nonce = (
            sent.get("HTTP_VMBRIDGE_KEY", ""),
            sent.get("HTTP_VMBRIDGE_TIMESTAMP", ""),
            sent.get("HTTP_VMBRIDGE_NONCE", ""),
        )
        known = self.context.config.key(key_id)
        secret = known[1] if known else "x" * 32
        target = sent.get("RAW_URI") or sent.get("REQUEST_URI") or request.full_path.rstrip("?")
        expected = sign(secret, request.method, target, stamp, nonce, request.get_data(cache=True))
        good = hmac.compare_digest(expected.encode(), sent.get("HTTP_VMBRIDGE_SIGNATURE", "").encode())
        if not (known and good and NONCE.fullmatch(nonce) and STAMP.fullmatch(stamp)):
            raise Unauthorized(code="bad_signature")
        now = self.context.clock.now()
        if abs(now - int(stamp)) > WINDOW:
            raise Unauthorized(
                "The clocks of WHMCS and the bridge differ by more than five minutes.",
                code="stale_timestamp",
                time=int(now),
            )
        self._known(known[0], nonce)
        return known[0], key_id, nonce

    def _known(self, whmcs: str, nonce: str) -> None:
        """What this request does is found by the beginning of its nonce: in our log, in WHMCS's, in the operation."""
        g.reference = nonce[:12]
        origin.set(Origin("system", "", request.remote_addr or "", g.reference))
        logs.bind(request=g.reference, whmcs=whmcs)

    def use_up(self, key_id: str, nonce: str) -> None:
        """Raises Unauthorized when it was used before, StoreUnavailable when that cannot be noted."""
        if not self.context.store.use_nonce(key_id, nonce):
            raise Unauthorized("This request was seen before.", code="replayed")

    def issue(self, service: Service) -> str:
        return str(self._tokens.dumps([service.whmcs, service.id, service.client_id]))

    def token(self) -> Token:
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        try:
            if kind != "Bearer":
                raise BadSignature("no token")
            whmcs, service, client = self._tokens.loads(text, max_age=TOKEN_SECONDS)
        except SignatureExpired:
            raise Unauthorized("The status token has expired.", code="token_expired") from None
        except BadData:
            raise Unauthorized("A status token is needed.", code="bad_token") from None
        return Token(whmcs, service, client)


def context() -> Context:
    """Of a signed request what its installation may see and change, and nothing else; of others everything."""
    if (own := g.get("own")) is not None:  # a page asks some thirty times
        return cast(Context, own)
    whole, whmcs = cast(Context, current_app.extensions["vmbridge"]), g.get("whmcs")
    if whmcs is None:
        return whole
    g.own = whole.of(whmcs)
    return cast(Context, g.own)


def guard() -> Guard:
    return cast(Guard, current_app.extensions["vmbridge_guard"])


def signed(view: F) -> F:
    """Only for the shim; sets g.whmcs. A GET waits for no place to write; anything else needs its nonce noted before it
    begins."""

    @wraps(cast(Any, view))
    def inner(*args: Any, **kwargs: Any) -> Any:
        g.whmcs, key_id, nonce = guard().signed()
        if request.method == "GET":
            with hurry():
                return cast(Any, view)(*args, **kwargs)
        guard().use_up(key_id, nonce)
        return cast(Any, view)(*args, **kwargs)

    return cast(F, inner)


def signed_look(view: F) -> F:
    """As `signed`, for a POST that may only look: then its nonce is noted where it can be. Before anything is changed
    the view calls `acts`."""

    @wraps(cast(Any, view))
    def inner(*args: Any, **kwargs: Any) -> Any:
        g.whmcs, key_id, nonce = guard().signed()
        g.owed = None
        try:
            with hurry():
                guard().use_up(key_id, nonce)
        except StoreUnavailable:
            g.owed = (key_id, nonce)
        return cast(Any, view)(*args, **kwargs)

    return cast(F, inner)


def deed(name: str, service_id: int | None = None, subject: str = "") -> None:
    """What this request does, for the audit log."""
    g.deed = (name, service_id, subject)


def refused(code: str) -> None:
    """What it came to, where the answer itself is a page."""
    g.refused = code


def write_down(reply: Response) -> Response:
    """A line in the audit log for what was asked; none where what was done has one already. What cannot be written
    down any more is done all the same."""
    asked, who, failed = g.get("deed"), origin.get(), g.get("refused")
    if asked and who and (failed or not who.noted):
        name, service_id, subject = asked
        with suppress(StoreUnavailable), hurry():
            store = cast(Context, current_app.extensions["vmbridge"]).store
            store.audit(name, f"refused {failed}" if failed else "done", g.whmcs, service_id, subject)
    return reply


def acts() -> None:
    """This request changes something: its nonce has to be noted first. Raises StoreUnavailable or Unauthorized."""
    if g.owed:
        guard().use_up(*g.owed)
        g.owed = None


def body() -> dict[str, Any]:
    """The JSON body as an object of texts that can be stored and numbers that are numbers. Raises BadRequest."""
    try:
        raw = (request.get_data(cache=True) or b"{}").decode("utf-8")
        beyond: list[TooWide] = []
        parsed = json.loads(
            raw,
            parse_int=lambda text: _whole(text, beyond),
            parse_float=lambda text: _finite(text, beyond),
            parse_constant=lambda text: _finite(text, beyond),
        )
        if "\\u" in raw:  # half of a pair is no text: it can neither be stored nor sent on
            json.dumps(parsed, ensure_ascii=False, default=str).encode("utf-8")
        wide = _too_wide(parsed) if beyond else None  # the walk is for its name alone
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON with valid text and numbers.", code="not_json") from None
    if wide is not None:
        raise BadRequest(
            f"{wide or 'the body'}: is a number beyond 64 bits, which nothing here has.", code="number_too_large"
        )
    if not isinstance(parsed, dict):
        raise BadRequest("The body must be an object.", code="not_json")
    return parsed


class TooWide:
    """In the place of a number that nothing of ours can be, until its field can be named."""


def _whole(text: str, beyond: list[TooWide]) -> int | TooWide:
    return int(text) if len(text) <= 20 and abs(int(text)) <= WIDEST else _noted(beyond)


def _finite(text: str, beyond: list[TooWide]) -> float | TooWide:
    return float(text) if math.isfinite(float(text)) else _noted(beyond)


def _noted(beyond: list[TooWide]) -> TooWide:
    beyond.append(TooWide())
    return beyond[-1]


def _too_wide(value: Any, name: str = "") -> str | None:
    """The field of the first such number, as `params.configoptions.RAM`; None when there is none. Names are shortened:
    they are not ours."""
    if isinstance(value, TooWide):
        return name
    if isinstance(value, dict):
        rows = [(f"{name}.{str(k)[:60]}".lstrip("."), v) for k, v in value.items()]
    elif isinstance(value, list):
        rows = [(f"{name}[{i}]", v) for i, v in enumerate(value)]
    else:
        return None
    return next((field for n, v in rows if (field := _too_wide(v, n)) is not None), None)


def known_server(name: str) -> None:
    """Raises NotFound, naming the access hash: that is where WHMCS says which server it means."""
    known = context().config.servers
    if name not in known:
        raise NotFound(
            f"The access hash {name[:60]!r} is not a server of the bridge; known:"
            f" {', '.join(sorted(known)) or 'none'}.",
            code="unknown_server",
        )


def service_for(service_id: int) -> Service:
    """The service of this installation; asked for by a client, it must be theirs. One that has ended, and whose server
    or plan the configuration does not have any more, is as unknown as any other."""
    at, client = context(), request.args.get("client")
    service = at.store.find_service(g.whmcs, service_id)
    if service and (service.server not in at.config.servers or service.package.plan not in at.config.plans):
        service = None
    if service is None or (client is not None and client != str(service.client_id)):
        raise NotFound(f"Service {service_id} is unknown to the bridge.", code="unknown_service")
    return service
