"""The only place that reads the time or sleeps. Nothing else in the product asks the machine's clock."""

from __future__ import annotations

import select
import socket
import threading
import time


class Clock:
    """The machine's clock. `now()` is seconds since 1970 (UTC), `monotonic()` never goes back."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from some moment on; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    @property
    def ahead(self) -> float:
        """Seconds that this machine's own clock is before the time that is gone by."""
        return 0.0

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for `event` for at most `seconds`; true when it was set."""
        return event.wait(seconds)

    def ready(self, source: socket.socket, seconds: float | None) -> None:
        """Wait until something can be read from `source`, for at most `seconds`; for ever where that is None."""
        select.select([source], [], [], seconds)


class SharedClock(Clock):
    """The clock of a database that several machines share. Between two looks at it this machine's monotonic clock
    counts on, so that nobody who sets a machine's clock moves a lease."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def follow(self, theirs: float) -> None:
        """It is `theirs` now, seconds since 1970."""
        self._offset = theirs - self.monotonic()

    def now(self) -> float:
        """Seconds since 1970 as the processes agree on them."""
        return super().now() if self._offset is None else self.monotonic() + self._offset

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's own clock is ahead of them."""
        return 0.0 if self._offset is None else super().now() - self.now()
