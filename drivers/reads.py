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
class Reads:
    clock: Clock
    at: dict[Key, tuple[float, Any]] = field(default_factory=dict)  # name -> (when it was read, what)


_kept: ContextVar[Reads | None] = ContextVar("reads", default=None)


@contextmanager
def kept(clock: Clock) -> Iterator[None]:
    """Around one run: inside, `once` keeps what it reads."""
    token = _kept.set(Reads(clock))
    try:
        yield
    finally:
        _kept.reset(token)


def find(key: Key) -> Any:
    """What is kept under this name, or None."""
    reads = _kept.get()
    if not reads or key not in reads.at:
        return None
    at, value = reads.at[key]
    return copy.deepcopy(value) if reads.clock.monotonic() - at < SECONDS else None


def keep(key: Key, value: Any) -> None:
    """Outside of a run nothing is kept."""
    reads = _kept.get()
    if reads:
        reads.at[key] = (reads.clock.monotonic(), copy.deepcopy(value))


def once(key: Key, read: Callable[[], Any]) -> Any:
    """What is kept under this name, else what `read` gives."""
    value = find(key)
    if value is None:
        value = read()
        keep(key, value)
    return value


def forget(of: Callable[[Key], bool] = lambda key: True) -> None:
    """After a change: what it may have touched."""
    reads = _kept.get()
    if reads:
        reads.at = {k: v for k, v in reads.at.items() if not of(k)}
