"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

from bridge.clock import Clock

START = 1_800_000_000.0


class HeldClock(Clock):
    def __init__(self, start: float = START) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.time += seconds
        return event.is_set()
