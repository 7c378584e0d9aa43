"""The HTTP side of providers: one call, its time-outs, and what a status means where all providers mean the same by
it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from bridge.errors import Permanent, Transient, Unknown, UpstreamError, Waiting
from drivers.answers import bound
from drivers.calls import calling
from drivers.dns.contract import NO_KEY
from drivers.http import Peer, Rubbish, fault, refuse_redirect, time_outs

WAIT = 300.0  # seconds, where a provider says that we ask too often and not for how long
ANSWER = 10.0  # seconds for one answer: a page or a worker's turn waits behind it
BROKEN = "The DNS provider has a fault just now."
LARGEST = 16 * 1024 * 1024  # bytes of an answer: a whole zone of some ten thousand names


@dataclass(frozen=True)
class Reply:
    """`body` is the parsed JSON, None where it is none; `text` its beginning, not for people."""

    status: int
    body: Any
    text: str
    headers: Mapping[str, str]


class Web:
    """Calls of one zone's provider. Safe for threads: one session per thread."""

    def __init__(
        self,
        peer: Peer,
        headers: Mapping[str, str] | None = None,
        ca_file: str = "",
        prepare: Callable[[requests.Session], None] | None = None,
    ) -> None:
        self.peer, self._headers, self._ca, self._prepare = peer, dict(headers or {}), ca_file, prepare
        self._local = threading.local()
        self._named = peer.where.partition("]")[0].replace('[dns."', "dns:").replace('"', "")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
            bound(session)
            session.headers.update({"Accept": "application/json", **self._headers})
            session.hooks["response"].append(refuse_redirect)
            if self._ca:
                session.verify = self._ca
            if self._prepare:
                self._prepare(session)
        return session

    def call(self, method: str, path: str, change: bool, **more: Any) -> Reply:
        """One answer, of whatever status. Raises what the way itself means; after a change that may have been done,
        Unknown."""
        with calling(self._named, method.upper(), path.partition("?")[0], change):
            return self._ask(method, path, change, **more)

    def _ask(self, method: str, path: str, change: bool, **more: Any) -> Reply:
        connect, answer, _ = time_outs(change)
        try:
            with self._session().request(
                method, f"{self.peer.url.rstrip('/')}{path}", timeout=(connect, min(answer, ANSWER)), **more
            ) as got:
                if len(got.content) > LARGEST:
                    raise Rubbish(f"HTTP {got.status_code} of {len(got.content)} bytes")
                return Reply(got.status_code, _json(got), got.text[:200], got.headers)
        except (Rubbish, requests.exceptions.RequestException, OSError, ValueError) as e:
            raise fault(e, self.peer, change) from None

    def refused(self, reply: Reply, change: bool, said: str = "") -> UpstreamError:
        """The error for a status that no provider uses for anything else. `said`: the server's own words, for staff."""
        detail = f"HTTP {reply.status}" + (f": {said[:160]}" if said else "")
        if reply.status == 429:
            return Waiting(after(reply))
        if reply.status >= 500:
            kind: type[UpstreamError] = Unknown if change else Transient
            return kind(BROKEN, code="provider_fault", detail=detail, next_action="Look at the provider's own log.")
        if reply.status in (401, 403):
            return Permanent(
                f"{self.peer.name[:1].upper()}{self.peer.name[1:]} does not take our key.",
                code=NO_KEY,
                detail=detail,
                next_action=f"Correct the key beside {self.peer.where}.",
            )
        return Permanent(detail=detail, next_action=f"See that {self.peer.where} is the API's address.")

    def rubbish(self, reply: Reply, change: bool) -> UpstreamError:
        """For an answer that is none of the API's, though its status is good."""
        return fault(Rubbish(f"HTTP {reply.status} of another form"), self.peer, change)


def _json(got: requests.Response) -> Any:
    try:
        return got.json() if got.content else None
    except (ValueError, RecursionError):
        return None


def after(reply: Reply) -> float:
    """Seconds until a provider that was asked too often wants to be asked again."""
    text = reply.headers.get("Retry-After", "")
    return float(min(int(text), 3600)) if text.isascii() and text.isdigit() and int(text) else WAIT
