"""The store: SQLite through sqlite-utils. The only place where SQL stands.

One connection per thread, WAL, and every change in BEGIN IMMEDIATE, so that two processes wait for
each other instead of failing half-way.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from bridge.clock import Clock
from bridge.store.addresses import Addresses
from bridge.store.archive import Use, opens
from bridge.store.backups import Backups
from bridge.store.budgets import Budgets
from bridge.store.console import Consoles
from bridge.store.findings import Findings
from bridge.store.operations import Operations
from bridge.store.outbox import Outbox
from bridge.store.pointers import PointerWishes
from bridge.store.retention import Retention
from bridge.store.schema import KEY_FACT, KEY_WORDS, migrations
from bridge.store.services import Services
from bridge.store.snapshots import Snapshots
from bridge.store.status import Statuses
from bridge.store.steps import Steps
from bridge.store.tasks import Tasks
from bridge.store.usage import Usages

Row = dict[str, Any]


class Store(
    Services,
    Operations,
    Steps,
    Tasks,
    Addresses,
    Outbox,
    Statuses,
    Findings,
    Retention,
    Snapshots,
    Backups,
    Consoles,
    Budgets,
    PointerWishes,
    Usages,
):
    """One database file. Open it once per process; use it from any thread."""

    def __init__(self, path: str | Path, secret_key: str, clock: Clock) -> None:
        self.path, self.clock = str(path), clock
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._use, self._key = Use(self.path), secret_key
        self.seal_with(secret_key)

    def hold(self) -> None:
        """Say that this process uses the store, until `close`. Raises Refused while it is being replaced."""
        with self._lock:
            self._use.share()

    @property
    def db(self) -> Database:
        """This thread's connection."""
        found: Database | None = getattr(self._local, "db", None)
        if found is None:
            self.hold()
            conn = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
            conn.execute("PRAGMA busy_timeout = 10000")
            conn.execute("PRAGMA synchronous = NORMAL")
            conn.execute("PRAGMA foreign_keys = ON")
            found = self._local.db = Database(conn)
            with self._lock:
                self._connections.append(conn)
        return found

    @contextmanager
    def write(self) -> Iterator[Database]:
        """One change, all or nothing. Nested use joins the outer one."""
        db = self.db
        if getattr(self._local, "depth", 0):
            yield db
            return
        db.conn.execute("BEGIN IMMEDIATE")
        self._local.depth = 1
        try:
            yield db
        except BaseException:
            db.conn.execute("ROLLBACK")
            raise
        else:
            db.conn.execute("COMMIT")
        finally:
            self._local.depth = 0

    def rows(self, sql: str, *args: Any) -> list[Row]:
        cursor = self.db.conn.execute(sql, args)
        names = [c[0] for c in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def row(self, sql: str, *args: Any) -> Row | None:
        found = self.rows(sql, *args)
        return found[0] if found else None

    def column(self, sql: str, *args: Any) -> list[Any]:
        """The first column, without a dict for each row: for thousands of them."""
        return [row[0] for row in self.db.conn.execute(sql, args)]

    def tuples(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows as they come, for thousands of them."""
        return list(self.db.conn.execute(sql, args))

    def change(self, sql: str, *args: Any) -> int:
        """Run one changing statement in its own or the outer transaction; rows touched."""
        with self.write() as db:
            return int(db.conn.execute(sql, args).rowcount)

    def migrate(self) -> list[str]:
        """Bring the file to this release under a lock; names of what was applied."""
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        with open(f"{self.path}.lock", "w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            self.db.conn.execute("PRAGMA journal_mode = WAL")
            todo = [m.name for m in migrations.pending(self.db)]
            migrations.apply(self.db)
            Path(self.path).chmod(0o600)
            self.change("INSERT OR IGNORE INTO facts (name, value) VALUES (?, ?)", KEY_FACT, self.seal(KEY_WORDS))
            return todo

    def key_fits(self) -> bool:
        """Whether what is sealed here can be read with the configured key."""
        row = self.row("SELECT value FROM facts WHERE name = ?", KEY_FACT)
        return row is None or opens(row["value"], self._key)

    def pending_migrations(self) -> list[str]:
        return [m.name for m in migrations.pending(self.db)]

    def close(self) -> None:
        with self._lock:
            for conn in self._connections:
                conn.close()
            self._connections.clear()
            self._use.free()
        self._local = threading.local()
