"""What is around each call to a back end: whether it may change something now, how long it may take, and who waits for
it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from bridge.clock import Clock

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
