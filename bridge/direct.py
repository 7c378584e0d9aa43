"""Direct reads: a page asks the back end while somebody waits. Few at once, a short deadline, and never of a server that is down."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

from bridge.clock import Clock
from bridge.errors import NotOurs, Transient, Unreachable, UpstreamError
from bridge.model import Sentence
from bridge.store import Store
from drivers.base import within

log = structlog.get_logger()
SECONDS = 10.0
PER_NODE, PER_PROCESS = 2, 8
MOST_KEPT = 200
DOWN = Sentence("The host does not answer just now. Your server itself may well be running. This page tries again by itself.")
CROWDED = Sentence("Many people look at this host just now. This page tries again by itself in a moment.")
NOT_READ = Sentence("This could not be read just now. This page tries again by itself.")
FOREIGN = Sentence("This could not be read. Our staff can tell more.")
Found = TypeVar("Found")


class Flight(threading.Event):
    """A read under way, for which others wait."""

    failed = False


class Reads:
    """Of one process: who reads now, and what was read lately. Safe for threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._at: Counter[tuple[str, str]] = Counter()
        self._kept: dict[tuple[object, ...], tuple[float, object]] = {}
        self._flights: dict[tuple[object, ...], Flight] = {}

    @contextmanager
    def turn(self, server: str, node: str, store: Store) -> Iterator[None]:
        """The right to read now; the driver's calls inside end within SECONDS. Raises Unreachable or Transient at once, with the
        sentence for the page."""
        if not store.health(server)["ok"]:
            raise Unreachable(DOWN, code="server_down")
        place = (server, node)
        with self._lock:
            if self._at[place] >= PER_NODE or self._at.total() >= PER_PROCESS:
                raise Transient(CROWDED, code="too_many_reads")
            self._at[place] += 1
        try:
            with within(SECONDS, self._clock):
                yield
        finally:
            with self._lock:
                self._at[place] -= 1

    def shared(self, key: tuple[object, ...], keep: float, read: Callable[[], Found]) -> Found:
        """What `read` returned less than `keep` seconds ago; viewers who come meanwhile wait for the one who reads. What fails is
        not kept."""
        while True:
            with self._lock:
                until, value = self._kept.get(key, (0.0, None))
                if self._clock.monotonic() < until:
                    return value  # type: ignore[return-value]
                flight = self._flights.get(key)
                if flight is None:
                    mine = self._flights[key] = Flight()
                    break
            if not self._clock.wait(flight, SECONDS):
                raise Transient(CROWDED, code="too_many_reads")
            if flight.failed:  # not everybody in turn
                raise Transient(NOT_READ, code="not_read")
        try:
            found = read()
            with self._lock:
                self._keep(key, self._clock.monotonic() + keep, found)
            return found
        except BaseException:
            mine.failed = True
            raise
        finally:
            with self._lock:
                del self._flights[key]
            mine.set()

    def _keep(self, key: tuple[object, ...], until: float, value: object) -> None:
        self._kept.pop(key, None)
        while len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (until, value)


def sentence(e: UpstreamError) -> str:
    """What the page says of a read that failed: never the back end's own words."""
    log.warning("direct_read_failed", code=e.code, detail=e.detail)
    if e.sentence in (DOWN, CROWDED, NOT_READ):
        return e.sentence
    if isinstance(e, Unreachable):
        return DOWN
    return NOT_READ if e.retryable and not isinstance(e, NotOurs) else FOREIGN
