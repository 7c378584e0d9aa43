"""What one run of an operation has just read of its machine, so that the steps of that run need not read it again.

Every change forgets it, so does a second, and a run ends where it waits for anything. What is about to be destroyed is
read anew all the same. No HTTP here, and nothing that outlives a run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from bridge.clock import Clock

SECONDS = 1.0
Key = tuple[str, ...]


@dataclass
class Looks:
    clock: Clock
    at: dict[Key, tuple[float, Any]] = field(default_factory=dict)  # name -> (when it was read, what)


_kept: ContextVar[Looks | None] = ContextVar("looks", default=None)


@contextmanager
def kept(clock: Clock) -> Iterator[None]:
    """Around one run: inside, `look` keeps what it reads."""
    token = _kept.set(Looks(clock))
    try:
        yield
    finally:
        _kept.reset(token)


def find(key: Key) -> Any:
    """What is kept under this name, or None."""
    looks = _kept.get()
    if not looks or key not in looks.at:
        return None
    at, value = looks.at[key]
    return copy.deepcopy(value) if looks.clock.monotonic() - at < SECONDS else None


def keep(key: Key, value: Any) -> None:
    """Outside of a run nothing is kept."""
    looks = _kept.get()
    if looks:
        looks.at[key] = (looks.clock.monotonic(), copy.deepcopy(value))


def look(key: Key, read: Callable[[], Any]) -> Any:
    """What is kept under this name, else what `read` gives."""
    value = find(key)
    if value is None:
        value = read()
        keep(key, value)
    return value


def forget(of: Callable[[Key], bool] = lambda key: True) -> None:
    """After a change: what it may have touched."""
    looks = _kept.get()
    if looks:
        looks.at = {k: v for k, v in looks.at.items() if not of(k)}
