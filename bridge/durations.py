"""How long the tasks of each step have taken lately, so that the next one is asked for when it has likely ended and not
up to a second later. A guess only: what it gives is a pause. No store, no driver."""

from __future__ import annotations

import statistics
from collections import defaultdict, deque

FAST, FAST_FOR, SLOW = 1.0, 60.0, 5.0  # seconds between two questions, for how long, and after that
AFTER = 0.1  # asked so long after the likely end
SOON = 0.25  # the pause right after it
OVERDUE = 0.6  # for so long
KEPT = 5
OPEN = 1000  # tasks at most; of one whose end another worker saw nobody hears

Key = tuple[str, str, str]  # server, kind of operation, step


class Durations:
    """One per process that asks. Times in seconds since the task began."""

    def __init__(self) -> None:
        self._lately: dict[Key, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._ran: dict[str, float] = {}  # task -> when it was last seen running

    def runs(self, task: str, age: float) -> None:
        if len(self._ran) >= OPEN and task not in self._ran:
            self._ran.clear()
        self._ran[task] = age

    def ended(self, key: Key, task: str, age: float) -> None:
        """It ended between the last look and this one."""
        self._lately[key].append((self._ran.pop(task, 0.0) + age) / 2)

    def pause(self, key: Key, age: float) -> float:
        """Seconds until the next question."""
        usual = FAST if age < FAST_FOR else SLOW
        lately = self._lately.get(key)
        if not lately:
            return usual
        left = statistics.median(lately) + AFTER - age
        if -OVERDUE < left < SOON / 5:
            return SOON
        return left if 0 < left < usual * 1.4 else usual
