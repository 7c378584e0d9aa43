"""What this process has counted since somebody last took it: calls, retries, waits. The worker's metrics are of all
processes, so each adds what it has to the store from time to time."""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from collections.abc import Mapping

from drivers.calls import Call, after_call

# Upper bounds of each histogram, in seconds; what is above the last counts as +Inf
BOUNDS: dict[str, tuple[float, ...]] = {
    "vmbridge_operation_duration_seconds": (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 21600),
    "vmbridge_upstream_call_duration_seconds": (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
    "vmbridge_store_write_wait_seconds": (0.001, 0.01, 0.1, 1, 5, 10),
}
Key = tuple[str, str]  # (name, labels as JSON with sorted names)


class Counts:
    """Numbers that only grow. Labels come from the configuration and from this code, never from orders."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[Key, float] = {}

    def add(self, name: str, labels: Mapping[str, str], by: float = 1.0) -> None:
        """Add to a counter."""
        key = (name, json.dumps(labels, sort_keys=True))
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + by

    def observe(self, name: str, labels: Mapping[str, str], seconds: float) -> None:
        """One value of a histogram of BOUNDS: in the bucket where it belongs, in no other, and in the sum."""
        bounds = BOUNDS[name]
        place = bisect_left(bounds, seconds)
        bound = f"{float(bounds[place])}" if place < len(bounds) else "+Inf"
        self.add(f"{name}_bucket", {**labels, "le": bound})
        self.add(f"{name}_sum", labels, max(0.0, seconds))

    def take(self) -> dict[Key, float]:
        """All of it; what is counted from now on is counted anew."""
        with self._lock:
            taken, self._values = self._values, {}
        return taken

    def give_back(self, taken: Mapping[Key, float]) -> None:
        """What could not be saved: it counts the next time."""
        with self._lock:
            for key, value in taken.items():
                self._values[key] = self._values.get(key, 0.0) + value


counts = Counts()


def _called(call: Call) -> None:
    labels = {"server": call.server, "method": call.method}
    counts.add("vmbridge_upstream_calls", {**labels, "class": call.outcome})
    counts.observe("vmbridge_upstream_call_duration_seconds", labels, call.seconds)


after_call.append(_called)
