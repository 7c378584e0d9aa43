"""Direct reads and edits: a page asks the back end while somebody waits. Few at once, a short deadline, and never of a
server that is down."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

import structlog

from bridge.clock import Clock
from bridge.errors import (
    Busy,
    Limit,
    NotOurs,
    StorageAway,
    StoreUnavailable,
    Transient,
    Unknown,
    Unreachable,
    UpstreamError,
    VmbridgeError,
)
from bridge.model import Sentence, Service, TaskResult
from bridge.store import Store
from drivers.calls import time_left, within
from drivers.optional import Keeper

log = structlog.get_logger()
SECONDS = 10.0
PER_NODE, PER_PROCESS = 2, 8
PER_CLIENT = 3  # reads and edits of one client's pages that are under way or waited for
SEATS = 16  # and of all together; never more than half of the process's threads, so that everything else goes on
MOST_KEPT = 200
DOWN = Sentence(
    "The host does not answer just now. Your server itself may well be running. This page tries again by itself."
)
CROWDED = Sentence("Many people look at this host just now. This page tries again by itself in a moment.")
SEVERAL = Sentence("Several of your pages ask the host just now. This page tries again by itself in a moment.")
NOT_READ = Sentence("This could not be read just now. This page tries again by itself.")
FOREIGN = Sentence("This could not be read. Our staff can tell more.")
NOT_NOW = Sentence("This cannot be done just now. Please try again in a minute.")
HELD = Sentence("Another task holds your server just now. Please try again in a minute.")
HOST_DOWN = Sentence("The host does not answer just now, so nothing was changed. Please try again in a few minutes.")
LOST = Sentence("The answer was lost. Look here how it is now, and try again if that is not what you wanted.")
NOT_TAKEN = Sentence("The host of your server refused this change. Our staff can tell why.")
LIMITED = Sentence(
    "A limit of our own account is reached, so nothing was changed. Please open a ticket: our staff can have it raised."
)
STORAGE_AWAY = Sentence(
    "The storage does not answer just now, so nothing was changed. Please try again in a few minutes."
)
FOR_STAFF = frozenset({NOT_TAKEN, LIMITED})  # what a page answers with a reference and a ticket
LOOKS = (0.3, 0.7, 1.0, 1.5, 2.0)  # pauses while somebody waits for a task
Found = TypeVar("Found")
wait_ends: ContextVar[float | None] = ContextVar("wait_ends", default=None)  # of a request with several turns
seated: ContextVar[bool] = ContextVar("seated", default=False)


class Flight(threading.Event):
    """A read under way, for which others wait."""

    failed = False


class Reads:
    """Of one process: who reads now, and what was read lately. Safe for threads."""

    def __init__(self, clock: Clock, threads: int = 2 * SEATS) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._seats: Counter[str] = Counter()
        self._most = max(1, min(SEATS, threads // 2))
        self._at: Counter[tuple[str, str]] = Counter()
        self._kept: dict[tuple[object, ...], tuple[float, object]] = {}
        self._flights: dict[tuple[object, ...], Flight] = {}

    @contextmanager
    def one_wait(self) -> Iterator[None]:
        """All turns inside end together within SECONDS: an edit, and the page that answers it."""
        token = wait_ends.set(self._clock.monotonic() + SECONDS)
        try:
            yield
        finally:
            wait_ends.reset(token)

    @contextmanager
    def seat(self, client: str) -> Iterator[None]:
        """The right to hold a thread while a back end is asked, or while somebody else's answer is waited for. Raises
        Transient at once, with the sentence for the page. Nested use joins the outer one."""
        if seated.get():
            yield
            return
        with self._lock:
            if self._seats[client] >= PER_CLIENT:
                raise Transient(SEVERAL, code="too_many_of_one")
            if self._seats.total() >= self._most:
                raise Transient(CROWDED, code="too_many_reads")
            self._seats[client] += 1
        token = seated.set(True)
        try:
            yield
        finally:
            seated.reset(token)
            with self._lock:
                self._seats[client] -= 1
                self._seats += Counter()  # without those of nobody

    @contextmanager
    def turn(self, server: str, node: str, store: Store) -> Iterator[None]:
        """The right to read now; the driver's calls inside end within SECONDS. Raises Unreachable or Transient at once,
        with the sentence for the page."""
        if not store.health(server)["ok"]:
            raise Unreachable(DOWN, code="server_down")
        place = (server, node)
        with self._lock:
            if self._at[place] >= PER_NODE or self._at.total() >= PER_PROCESS:
                raise Transient(CROWDED, code="too_many_reads")
            self._at[place] += 1
        ends = wait_ends.get()
        try:
            with within(SECONDS if ends is None else ends - self._clock.monotonic(), self._clock):
                yield
        finally:
            with self._lock:
                self._at[place] -= 1

    def turn_of(self, service: Service, keeper: Keeper, store: Store) -> AbstractContextManager[None]:
        """`turn` for what a look at the service's machine loads."""
        return self.turn(service.server, place(service, keeper.shared_hosts), store)

    @contextmanager
    def edit_of(self, service: Service, keeper: Keeper, store: Store) -> Iterator[None]:
        """The seat of the service's client and a turn, for a change that somebody waits for."""
        with self.seat(whose(service)), self.turn_of(service, keeper, store):
            yield

    def shared(self, key: tuple[object, ...], keep: float, read: Callable[[], Found], client: str = "") -> Found:
        """What `read` returned less than `keep` seconds ago; viewers who come meanwhile wait for the one who reads, a
        few of each client's. What fails is not kept."""
        with self._lock:
            until, value = self._kept.get(key, (0.0, None))
            if self._clock.monotonic() < until:
                return value  # type: ignore[return-value]
        with self.seat(client):
            return self._read_once(key, keep, read)

    def _read_once(self, key: tuple[object, ...], keep: float, read: Callable[[], Found]) -> Found:
        """The kept answer, or one read for all who ask at the same time; who waits for another's read gets its answer.
        Raises Transient when it takes too long or has failed."""
        while True:
            with self._lock:
                until, value = self._kept.get(key, (0.0, None))
                if self._clock.monotonic() < until:
                    return value  # type: ignore[return-value]
                flight = self._flights.get(key)
                if flight is None:
                    mine = self._flights[key] = Flight()
                    break
            left = time_left.get()
            if not self._clock.wait(flight, left() if left else SECONDS):
                raise Transient(CROWDED, code="too_many_reads")
            if flight.failed:  # not everybody in turn
                raise Transient(NOT_READ, code="not_read")
        try:
            answer = read()
            with self._lock:
                self._keep(key, self._clock.monotonic() + keep, answer)
            return answer
        except BaseException:
            mine.failed = True
            raise
        finally:
            with self._lock:
                del self._flights[key]
            mine.set()

    def _keep(self, key: tuple[object, ...], until: float, value: object) -> None:
        self._kept.pop(key, None)
        while len(self._kept) >= MOST_KEPT:  # what is asked for anew soonest anyway; what serves many for long stays
            del self._kept[min(self._kept, key=lambda k: self._kept[k][0])]
        self._kept[key] = (until, value)


def place(service: Service, shared_hosts: bool) -> str:
    """What a look at a machine loads: its node, where nodes are the operator's own; else only the machine."""
    return service.node if shared_hosts else f"machine {service.vm_id}"


def whose(service: Service) -> str:
    """The client that a read or an edit of this service's pages counts for."""
    return f"{service.whmcs} {service.client_id}"


def settled(keeper: Keeper, task: str, clock: Clock) -> TaskResult:
    """How a short task ended; `running` when it has not within some seconds, or nobody can tell."""
    result, left = TaskResult("running" if task else "done"), time_left.get()
    for pause in LOOKS if task else ():
        if left and left() < pause + 1.0:
            break
        clock.sleep(pause)
        try:
            result = keeper.poll([task])[task]
        except UpstreamError as e:
            log.warning("task_not_read", code=e.code, detail=e.detail)
            return TaskResult("running")
        if result.state != "running":
            break
    return result


def not_done(e: VmbridgeError) -> str:
    """What the page says of an edit that failed: never the back end's own words."""
    log.warning("direct_edit_failed", code=e.code, detail=e.detail)
    for kind, said in (
        (StorageAway, STORAGE_AWAY),
        (Unreachable, HOST_DOWN),
        (Limit, LIMITED),
        (Busy, HELD),
        (Unknown, LOST),
    ):
        if isinstance(e, kind):
            return said
    return NOT_NOW if isinstance(e, UpstreamError) and e.retryable else NOT_TAKEN


def sentence(e: VmbridgeError) -> str:
    """What the page says of a read that failed: never the back end's own words."""
    log.warning("direct_read_failed", code=e.code, detail=e.detail)
    if e.sentence in (DOWN, CROWDED, SEVERAL, NOT_READ):
        return e.sentence
    if isinstance(e, Unreachable):
        return DOWN
    if isinstance(e, StoreUnavailable):  # its call could not be counted
        return NOT_READ
    return NOT_READ if isinstance(e, UpstreamError) and e.retryable and not isinstance(e, NotOurs) else FOREIGN
