"""What one run of an operation has just read of its machine, so that the steps of that run need not read it again.

Every change forgets it, so does a second, and a run ends where it waits for anything. What is about to be destroyed is
read anew all the same. No HTTP here, and nothing that outlives a run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from bridge.clock import Clock

SECONDS = 1.0
CLOCK = Clock()
Key = tuple[str, ...]
_kept: ContextVar[dict[Key, tuple[float, Any]] | None] = ContextVar("looks", default=None)


@contextmanager
def kept() -> Iterator[None]:
    """Around one run: inside, `look` keeps what it reads."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def find(key: Key) -> Any:
    """What is kept under this name, or None."""
    looks = _kept.get()
    if not looks or key not in looks:
        return None
    at, value = looks[key]
    return copy.deepcopy(value) if CLOCK.monotonic() - at < SECONDS else None


def keep(key: Key, value: Any) -> None:
    """Outside of a run nothing is kept."""
    looks = _kept.get()
    if looks is not None:
        looks[key] = (CLOCK.monotonic(), copy.deepcopy(value))


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
    for key in [k for k in looks or {} if of(k)]:
        assert looks is not None
        del looks[key]
