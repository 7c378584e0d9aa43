"""A store as its migrations leave it. They run once for each process of the tests; after that what they made is
copied."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from bridge.clock import Clock
from bridge.store import Store
from tests.configs import KEY


@cache
def _made() -> dict[str, bytes]:
    """What follows the store's own name -> the content of that file."""
    with tempfile.TemporaryDirectory(prefix="vmbridge-store-") as folder:
        store = Store(Path(folder) / "s.db", KEY, Clock())
        store.migrate()
        store.close()
        return {file.name.removeprefix("s.db"): file.read_bytes() for file in Path(folder).iterdir()}


def place(path: Path) -> None:
    """An empty store under KEY, migrated and closed, where there is none yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for ending, content in _made().items():
        file = Path(f"{path}{ending}")
        file.touch(0o600, exist_ok=False)
        file.write_bytes(content)


def opened(path: Path, clock: Clock) -> Store:
    """As `Store(path, KEY, clock)` after `migrate()`: what stands there is migrated."""
    if not path.exists():
        place(path)
        return Store(path, KEY, clock)
    store = Store(path, KEY, clock)
    store.migrate()
    return store
