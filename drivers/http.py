"""What every client of somebody else's HTTP API needs: how long a call may take, which fault of the way it was, and
whether what was asked may have been done. Each class of fault has one sentence, and says what to do. Nothing that was
sent or received is in them: both may hold secrets."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ReadTimeoutError

from bridge.errors import Permanent, Transient, Unknown, Unreachable, UpstreamError
from drivers.calls import before_change, time_left

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0  # a changing call must end before our lease does
LOOKED_UP = "What became of the request is looked up before anything is repeated."
EXPIRED, NOT_YET = 10, 9  # OpenSSL's X509_V_ERR_* codes
OTHER_HOST = (62, 64)
HANDSHAKE = (
    "WRONG_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "ALERT",
    "NO_PROTOCOLS",
    "UNKNOWN_PROTOCOL",
    "HTTP_REQUEST",
    "CERTIFICATE",
)
NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL)


class Rubbish(Exception):
    """A reply that is no answer of the API; the text says in which way, without its content."""


@dataclass(frozen=True)
class Peer:
    """Whom we talk to: its name for people, its address, and where the configuration says so."""

    name: str
    url: str
    where: str
    ca: str = ""  # the key for its certificate's authority, where there is one

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "?"

    @property
    def place(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (80 if parts.scheme in ('http', 'ws') else 443)}"


def time_outs(change: bool) -> tuple[float, float, float | None]:
    """(seconds to connect, seconds to answer, what is left in all or None). Raises Transient when nothing is left."""
    connect, answer = CONNECT_TIMEOUT, READ_TIMEOUT
    guard = before_change.get() if change else None
    if guard:
        answer = min(answer, guard())
    left = time_left.get()
    if left is None:
        return connect, max(1.0, answer), None
    wait = left()
    if wait <= 0:
        raise Transient("There was no time left to ask.", detail="the time for this read is over")
    connect = min(connect, wait / 3)
    return connect, max(1.0, min(answer, wait - connect)), wait  # both together


def fault(error: BaseException, peer: Peer, change: bool, after: str = LOOKED_UP) -> UpstreamError:
    """The error to raise for a call that got no good reply. `change`: the call may have done something, and `after`
    says what follows."""
    chain = list(_causes(error))
    before = _before(chain, peer) or _tls(chain, peer)
    if before:
        return before
    code, sentence, action, detail = _during(error, chain, peer)
    if change:
        return Unknown(f"{sentence} {after}", code=code, detail=detail, next_action=action)
    return Transient(sentence, code=code, detail=detail, next_action=action)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from, however the libraries wrapped it."""
    todo, seen = [error], set()
    while todo:
        e = todo.pop(0)
        if not isinstance(e, BaseException) or id(e) in seen:
            continue
        seen.add(id(e))
        yield e
        todo += [e.__cause__, getattr(e, "reason", None), getattr(e, "original_error", None), *e.args]
        todo += [] if e.__suppress_context__ else [e.__context__]


def _has(chain: list[BaseException], *kinds: type[BaseException]) -> BaseException | None:
    return next((e for e in chain if isinstance(e, kinds)), None)


def _before(chain: list[BaseException], peer: Peer) -> UpstreamError | None:
    """What keeps a request from being sent at all."""
    first = chain[0]
    if isinstance(first, (requests.exceptions.InvalidHeader, UnicodeError)) or type(first) is ValueError:
        return Permanent(
            "A key in the configuration has characters that cannot be sent.",
            code="bad_key",
            next_action=f"Look for line breaks or blanks in the keys beside {peer.where}.",
        )
    if isinstance(
        first, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema)
    ):
        return Permanent(
            f"The address of {peer.name} cannot be used.", code="bad_address", next_action=f"Correct {peer.where}."
        )
    if type(first) is OSError or isinstance(first, (FileNotFoundError, PermissionError)):
        return Permanent(
            f"The file with the certificate's authority of {peer.name} cannot be read.",
            code="ca_file",
            detail=type(first).__name__,
            next_action="Put the authority's certificate (PEM) there, readable for the bridge's user, or correct"
            f" {peer.ca or peer.where}.",
        )
    if _has(chain, requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        return Unreachable(
            f"The proxy on the way to {peer.name} does not work.",
            code="proxy_failed",
            next_action="Correct or remove the environment's HTTPS_PROXY and HTTP_PROXY, or name this host in"
            " NO_PROXY.",
        )
    if _has(chain, socket.gaierror, NameResolutionError):
        return Unreachable(
            f"The name of {peer.name}, {peer.host}, cannot be resolved to an address.",
            code="name_unresolved",
            next_action=f"Correct the name in {peer.where}, or mend this machine's name servers (`getent hosts"
            f" {peer.host}`).",
        )
    if _has(chain, ConnectionRefusedError):
        return Unreachable(
            f"{peer.place} of {peer.name} refuses connections: nothing listens there, or a firewall says no.",
            code="connection_refused",
            next_action=f"See that the service runs and that {peer.where} has its port.",
        )
    if any(isinstance(e, OSError) and e.errno in NO_WAY for e in chain):
        return Unreachable(
            f"There is no way to {peer.name} at {peer.place}: the host is off, or the network between.",
            code="no_route",
            next_action="See that the host is on and that this machine's network reaches it.",
        )
    if _has(chain, requests.exceptions.ConnectTimeout, ConnectTimeoutError):
        return Unreachable(
            f"{peer.name[:1].upper()}{peer.name[1:]} does not take connections at {peer.place}: no answer in time.",
            code="connect_timeout",
            next_action="See that the host is on, that no firewall drops this machine's packets, and that"
            f" {peer.where} is right.",
        )
    if _has(chain, NewConnectionError):
        return Unreachable(
            f"{peer.name[:1].upper()}{peer.name[1:]} cannot be reached at {peer.place}.",
            code="server_unreachable",
            next_action=f"See that the host is on and that {peer.where} is right.",
        )
    return None


def _tls(chain: list[BaseException], peer: Peer) -> UpstreamError | None:
    """A connection that is not to be trusted, or is none. One that breaks later may have carried a request."""
    bad = next((e for e in chain if isinstance(e, ssl.SSLCertVerificationError)), None)
    ca = f", or put its authority into {peer.ca}" if peer.ca else ""
    if bad is not None:
        number = bad.verify_code
        code, sentence, action = {
            EXPIRED: (
                "certificate_expired",
                f"The certificate of {peer.name} has expired.",
                "Renew it there (and see that this machine's clock is right).",
            ),
            NOT_YET: (
                "certificate_not_yet_valid",
                f"The certificate of {peer.name} is not valid yet.",
                "Set the clocks of both machines right.",
            ),
            **dict.fromkeys(
                OTHER_HOST,
                (
                    "certificate_other_host",
                    f"The certificate of {peer.name} is not for {peer.host}.",
                    f"Use a name in {peer.where} that stands in the certificate, or give the host one with this name.",
                ),
            ),
        }.get(
            number,
            (
                "certificate_unknown",
                f"The certificate of {peer.name} is not signed by an authority that is known here: it is"
                " self-signed, or it was changed.",
                f"See that it is really that host; then give it a certificate of a known authority{ca}.",
            ),
        )
        return Unreachable(sentence, code=code, detail=str(bad.verify_message), next_action=action)
    broken = next((e for e in chain if isinstance(e, ssl.SSLError)), None)
    if broken is not None and any(word in str(broken.reason or broken) for word in HANDSHAKE):
        return Unreachable(
            f"{peer.place} of {peer.name} does not speak TLS as it should.",
            code="tls_failed",
            detail=str(broken.reason or "")[:60],
            next_action=f"See that {peer.where} has the port of its HTTPS service, and that this speaks TLS 1.2"
            " or newer.",
        )
    return None


def _during(error: BaseException, chain: list[BaseException], peer: Peer) -> tuple[str, str, str, str]:
    """(code, sentence, what to do, detail) of what went wrong once the request was under way."""
    name = f"{peer.name[:1].upper()}{peer.name[1:]}"
    if isinstance(error, (Rubbish, requests.exceptions.TooManyRedirects, requests.exceptions.ContentDecodingError)):
        return (
            "bad_answer",
            f"{name} answered with something that is not its API's answer.",
            f"See whether something else answers at {peer.place} (a proxy, a login page), and that {peer.where} is"
            " the API's address.",
            str(error) if isinstance(error, Rubbish) else type(error).__name__,
        )
    if _has(chain, requests.exceptions.ReadTimeout, ReadTimeoutError, TimeoutError):
        return (
            "read_timeout",
            f"{name} took the request and did not answer in time.",
            "It may be overloaded: look at its load and its storages.",
            type(error).__name__,
        )
    return (
        "reply_lost",
        f"The connection to {peer.name} broke before its answer was complete.",
        f"If it happens again, look for what ends connections on the way to {peer.place}.",
        _named(error),
    )


def _named(error: BaseException) -> str:
    """The kind of a transport error; its text may hold addresses with tickets, so only its last part is kept."""
    last = str(error).rsplit(":", 1)[-1].strip(" )'\"")
    return f"{type(error).__name__}: {last[:120]}"


def reading(body: Any, status: int) -> Any:
    """What a reply's parsed body is, once its status is known to be good. Raises Rubbish."""
    if not isinstance(body, dict):
        raise Rubbish(f"HTTP {status} with no JSON object")
    return body


def refuse_redirect(response: requests.Response, **_: Any) -> None:
    """A hook for sessions: an API does not move. Following would turn a change into a read, at a place nobody has
    named."""
    if 300 <= response.status_code < 400:
        response.close()
        target = urlsplit(response.headers.get("Location", ""))
        raise Rubbish(
            f"HTTP {response.status_code}, a redirect" + (f" to {target.hostname}" if target.hostname else "")
        )
