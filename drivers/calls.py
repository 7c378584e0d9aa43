"""What is around each call to a back end: whether it may change something now, how long it may take, who waits for it,
and who is told how it went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from bridge.clock import Clock
from bridge.errors import VmbridgeError

# Called before each changing call; returns how many seconds the call may take at most, or raises LeaseLost.
before_change: ContextVar[Callable[[], float] | None] = ContextVar("before_change", default=None)
# Seconds that are left for a read on behalf of a page that waits; None: the driver's own time-outs hold.
time_left: ContextVar[Callable[[], float] | None] = ContextVar("time_left", default=None)
# True while nobody waits for the answer: such calls leave a reserve where the provider counts them.
background: ContextVar[bool] = ContextVar("background", default=False)


@contextmanager
def in_background() -> Iterator[None]:
    token = background.set(True)
    try:
        yield
    finally:
        background.reset(token)


@contextmanager
def within(seconds: float, clock: Clock) -> Iterator[None]:
    """The driver's reads inside end within so many seconds, all together."""
    end = clock.monotonic() + seconds
    token = time_left.set(lambda: end - clock.monotonic())
    try:
        yield
    finally:
        time_left.reset(token)


class Counted(Protocol):
    """The calls that a provider still allows."""

    def spend(self, background: bool) -> float: ...

    def told(self, remaining: int) -> None: ...


@dataclass(frozen=True)
class Call:
    """One call of somebody else's API that has ended. `server` is the name in the configuration (`whmcs:NAME` of an
    installation, `dns:ZONE` of a zone); `path` holds no secret; `outcome` is ok or the class of the error; `code` is
    the error's, else empty. `seconds` with the wait for a place among the server's calls."""

    server: str
    method: str
    path: str
    outcome: str
    code: str
    seconds: float
    change: bool


after_call: list[Callable[[Call], None]] = []  # who is told of each; they must not raise
CLOCK = Clock()


@contextmanager
def calling(server: str, method: str, path: str, change: bool) -> Iterator[None]:
    """Around one call: it is counted and logged, whatever becomes of it."""
    begun, outcome, code = CLOCK.monotonic(), "ok", ""
    try:
        yield
    except VmbridgeError as e:
        outcome, code = type(e).__name__, e.code
        raise
    except BaseException as e:
        outcome = type(e).__name__
        raise
    finally:
        call = Call(server, method, path, outcome, code, CLOCK.monotonic() - begun, change)
        for told in after_call:
            told(call)
