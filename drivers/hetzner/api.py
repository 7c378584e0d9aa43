"""The HTTP client: hcloud with our time-outs and error mapping, and without its retries. No knowledge of machines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from hcloud import APIException, Client

from bridge.clock import Clock
from bridge.errors import Transient, Unknown, Unreachable, Waiting
from drivers.base import Counted, background, before_change, time_left
from drivers.hetzner.errors import from_reply

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 20.0
PER_PAGE = 50  # the most there is


class Api:
    """Calls of one project. Safe for threads: one session per thread."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        clock: Clock,
        prepare: Callable[[requests.Session], None] | None = None,
        budget: Callable[[], Counted | None] = lambda: None,
    ) -> None:
        self._settings, self._clock, self._prepare, self._budget = settings, clock, prepare, budget
        self._local = threading.local()
        self.ahead = 0.0  # seconds of the provider's clock before ours

    def _client(self) -> Client:
        found: Client | None = getattr(self._local, "client", None)
        if found is None:
            found = self._local.client = Client(
                self._settings["token"],
                api_endpoint=self._settings["endpoint"].rstrip("/"),
                application_name="vmbridge",
            )
            # a POST that is sent again after a lost reply makes a second paid thing: we look before we repeat
            found._client._retry_max_retries = 0
            session = found._client._session
            session.trust_env = False
            if self._settings.get("ca_file"):
                session.verify = self._settings["ca_file"]
            session.hooks["response"].append(self._counted)
            if self._prepare:
                self._prepare(session)
        return found

    def _counted(self, response: requests.Response, **_: Any) -> None:
        if date := response.headers.get("Date"):
            self.ahead = parsedate_to_datetime(date).timestamp() - self._clock.now()
        left, budget = response.headers.get("RateLimit-Remaining", ""), self._budget()
        if budget and left.isdigit():
            budget.told(int(left))

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        try:
            return self._call("GET", path, params=params)
        except Unknown as e:  # a read has no effect: nothing to look up
            raise Transient(detail=e.detail) from None

    def pages(self, path: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every row of a list, page after page."""
        page: int | None = 1
        while page:
            found = self.get(path, page=page, per_page=PER_PAGE, **params)
            yield from found[key]
            page = found["meta"]["pagination"]["next_page"]

    def post(self, path: str, **values: Any) -> dict[str, Any]:
        return self._call("POST", path, json=values)

    def put(self, path: str, **values: Any) -> dict[str, Any]:
        return self._call("PUT", path, json=values)

    def delete(self, path: str) -> dict[str, Any]:
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """Raises the errors of drivers.hetzner.errors."""
        connect, timeout = CONNECT_TIMEOUT, READ_TIMEOUT
        guard = before_change.get() if method != "GET" else None
        if guard:
            timeout = min(timeout, guard())
        left = time_left.get()
        if left:
            wait = left()
            if wait <= 0:
                raise Transient(detail="the time for this read is over")
            connect = min(connect, wait / 3)
            timeout = min(timeout, wait - connect)
        budget = self._budget()
        if budget and (pause := budget.spend(background.get())):
            raise Waiting(pause)
        try:
            return self._client().request(method, path, timeout=(connect, max(1.0, timeout)), **more)
        except APIException as e:
            raise from_reply(e.code, str(e.message), e.correlation_id or "") from None
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError) as e:
            raise Unreachable(detail=type(e).__name__) from None
        except requests.exceptions.ConnectionError as e:
            if "NewConnectionError" in repr(e) or "Failed to establish" in str(e):
                raise Unreachable(detail=type(e).__name__) from None
            raise Unknown(detail=type(e).__name__) from None
        except requests.exceptions.RequestException as e:
            raise Unknown(detail=type(e).__name__) from None
