"""The HTTP client: hcloud with our time-outs and error mapping, and without its retries. No knowledge of machines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from hcloud import APIException, Client

from bridge.clock import Clock
from bridge.errors import Transient, Unknown, Waiting
from drivers.answers import bound
from drivers.calls import Counted, background, calling
from drivers.hetzner import replies
from drivers.hetzner.errors import BROKEN, from_reply
from drivers.http import Peer, Rubbish, fault, reading, refuse_redirect, time_outs

PER_PAGE = 50  # the most there is


class Api:
    """Calls of one project. Safe for threads: one session per thread."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        clock: Clock,
        prepare: Callable[[requests.Session], None] | None = None,
        budget: Callable[[], Counted | None] = lambda: None,
        server: str = "",
    ) -> None:
        where = f"[servers.{server}]" if server else "the server's"
        self._peer = Peer("the provider's API", settings["endpoint"], f"{where} endpoint", f"{where} ca_file")
        self._settings, self._clock, self._prepare, self._budget = settings, clock, prepare, budget
        self._server = server
        self._local = threading.local()
        self.wrote_at = 0.0  # when a change was last taken
        self.ahead = 0.0  # seconds of the provider's clock before ours

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = Client(
                self._settings["token"],
                api_endpoint=self._settings["endpoint"].rstrip("/"),
                application_name="vmbridge",
            )
            # a POST that is sent again after a lost reply makes a second paid thing: we look before we repeat
            client._client._retry_max_retries = 0
            session = client._client._session
            session.trust_env = False
            bound(session)
            if self._settings.get("ca_file"):
                session.verify = self._settings["ca_file"]
            session.hooks["response"] += [self._counted, refuse_redirect]
            if self._prepare:
                self._prepare(session)
        return client

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return self._clock.now()

    def _counted(self, response: requests.Response, **_: Any) -> None:
        with suppress(KeyError, ValueError, TypeError):  # something else's answer may say anything
            self.ahead = parsedate_to_datetime(response.headers["Date"]).timestamp() - self._clock.now()
        left, budget = response.headers.get("RateLimit-Remaining", ""), self._budget()
        if budget and left.isdigit():
            budget.told(int(left))

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The reply's JSON, its shape checked. Raises UpstreamError or NotFound."""
        return self._call("GET", path, params=params)

    def pages(self, path: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every row of a list, page after page."""
        page: int | None = 1
        while page:
            reply = self.get(path, page=page, per_page=PER_PAGE, **params)
            yield from reply[key]
            following = reply["meta"]["pagination"]["next_page"]
            if following is not None and int(following) <= page:  # a list without an end
                raise fault(Rubbish(f"{path}: its pages go round"), self._peer, False)
            page = following and int(following)

    def post(self, path: str, **values: Any) -> dict[str, Any]:
        """As `get`; raises Unknown when nobody can tell whether it was done."""
        return self._call("POST", path, json=values)

    def put(self, path: str, **values: Any) -> dict[str, Any]:
        """As `post`."""
        return self._call("PUT", path, json=values)

    def delete(self, path: str) -> dict[str, Any]:
        """As `post`; empty where the provider has nothing to say."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        with calling(self._server, method, path, method != "GET"):
            return self._ask(method, path, **more)

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """Raises the errors of drivers.hetzner.errors, and those of the way. What is no answer of the API is none: a
        read is asked again, after a change its effect is looked up."""
        change = method != "GET"
        connect, answer, _ = time_outs(change)
        budget = self._budget()
        if budget and (pause := budget.spend(background.get())):
            raise Waiting(pause)
        try:
            reply: dict[str, Any] = reading(self._request(method, path, timeout=(connect, answer), **more), 200)
            if said := replies.fault(method, path, reply):
                raise Rubbish(f"{path}: {said}"[:200])
            self.wrote_at = self._clock.now() if change else self.wrote_at
            return reply
        except APIException as e:
            error = from_reply(e.code, str(e.message), e.correlation_id or "", e.details)
        except (Rubbish, requests.exceptions.RequestException, OSError, ValueError) as e:
            raise fault(e, self._peer, change) from None
        if isinstance(error, Unknown) and not change:  # a read has no effect: nothing to look up
            raise Transient(BROKEN, code=error.code, detail=error.detail, next_action=error.next_action)
        raise error

    def _request(self, method: str, path: str, **more: Any) -> Any:
        """The library believes that an error is always one of the API's own."""
        try:
            return self._client().request(method, path, **more)
        except APIException as e:
            if isinstance(e.code, int) and e.code < 400:
                raise Rubbish(f"HTTP {e.code} without JSON") from None
            if not isinstance(e.code, (int, str)):
                raise Rubbish("an error without a code") from None
            raise
        except (KeyError, TypeError, AttributeError) as e:
            raise Rubbish(f"an error of another form ({type(e).__name__})") from None
