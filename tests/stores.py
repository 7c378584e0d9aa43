"""A store as its migrations leave it, on the engine that the test is for. They run once for each process of the tests;
after that what they made is copied."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from bridge.clock import Clock
from bridge.model import Package, Service
from bridge.origin import Origin, origin
from bridge.store import Store
from bridge.store import opened as database_at
from bridge.store.sqlite import SQLite
from tests import postgres
from tests.configs import KEY

SQLITE, POSTGRESQL = "sqlite", "postgresql"
engine = os.environ.get("VMBRIDGE_TEST_ENGINE", SQLITE)  # of tests that do not say which they are for


@contextmanager
def on(name: str) -> Iterator[None]:
    """What is opened meanwhile is on this engine."""
    global engine
    before, engine = engine, name
    try:
        yield
    finally:
        engine = before


_names: dict[Path, str] = {}  # what a test calls a store -> the address of its database


def _database(path: Path) -> str:
    if path not in _names:
        _names[path] = postgres.server().database()
    return _names[path]


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
    """As `Store(path, KEY, clock)` after `migrate()`: what stands there is migrated. On PostgreSQL the path is only the
    name that the test has for its database."""
    if engine == POSTGRESQL:
        return Store(_database(path), KEY, clock)
    if not path.exists():
        place(path)
        return Store(path, KEY, clock)
    store = Store(path, KEY, clock)
    store.migrate()
    return store


def add(store: Store, package: Package, number: int, **other: Any) -> Service:
    """A service as it is ordered, without its machine; `other`: what differs."""
    given = {"whmcs": "main", "generation": 1, "client_id": 7, "desired": "active", "server": "pve1", "mac": ""}
    named = {"hostname": f"vm-{number}", "vm_id": str(30_000 + number), "uuids": ["x"]}
    return store.add_service(package, service_id=number, **{**given, **named, **other})


def months(store: Store, service: int) -> list[dict[str, Any]]:
    """What is booked of a service row, the oldest month first."""
    return store.rows("SELECT * FROM usage WHERE service = ? ORDER BY month", service)


def consoles(store: Store, service: int) -> list[dict[str, Any]]:
    """A service's console sessions, the newest first."""
    return store.rows("SELECT * FROM console_sessions WHERE service = ? ORDER BY id DESC", service)


@contextmanager
def asked_by(who: Origin) -> Iterator[None]:
    """What is written meanwhile was ordered by them."""
    token = origin.set(who)
    try:
        yield
    finally:
        origin.reset(token)


# -- for a copy of the process ----------------------------------------------------------------------------
def state(store: Store) -> object:
    """Another one after each change."""
    if isinstance(store.database, SQLite):
        conn = store.db.conn
        return conn.total_changes, conn.execute("PRAGMA data_version").fetchone()
    return store.column("SELECT CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT)")[0]


def changing(store: Store) -> bool:
    """Whether a change has begun and not ended."""
    database = store.database
    return (
        database.db.conn.in_transaction
        if isinstance(database, SQLite)
        else hasattr(database._local, "change") and (database._local.change is not None)
    )


def copied(store: Store, path: Path) -> None:
    """What is committed, under another path, as a crash leaves it: a file with its log; of PostgreSQL, which copies
    what nobody is connected to, a database."""
    if isinstance(store.database, SQLite):
        for ending in ("", "-wal"):
            file = Path(f"{store.path}{ending}")
            if file.exists():
                Path(f"{path}{ending}").write_bytes(file.read_bytes())
    else:
        store.database.close()
        _names[path] = postgres.server().copy(store.path)


def moved(store: Store, path: Path) -> object:
    """The store works on the copy from here on; what it worked on."""
    old = store.database
    where = str(path) if isinstance(old, SQLite) else _names[path]
    store.database, store.path = database_at(where), where
    return old
