"""The only place that reads the time or sleeps. Nothing else in the product asks the machine's clock."""

from __future__ import annotations

import threading
import time


class Clock:
    """The machine's clock. `now()` is seconds since 1970 (UTC), `monotonic()` never goes back."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for `event` for at most `seconds`; true when it was set."""
        return event.wait(seconds)
