"""The store: SQLite through sqlite-utils. The only place where SQL stands.

One connection per thread, WAL, and every change in BEGIN IMMEDIATE, so that two processes wait for
each other instead of failing half-way.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from bridge.clock import Clock
from bridge.counts import counts
from bridge.errors import Refused, StoreUnavailable
from bridge.store import archive, condition, ownership
from bridge.store.addresses import Addresses
from bridge.store.archive import Use
from bridge.store.backups import Backups
from bridge.store.budgets import Budgets
from bridge.store.console import Consoles
from bridge.store.discs import DiscOrders
from bridge.store.faults import hurried, hurry, meaning, read
from bridge.store.figures import Figures
from bridge.store.firewalls import FirewallChanges
from bridge.store.foreign import ForeignMachines
from bridge.store.pointers import PointerWishes
from bridge.store.queue import Queue
from bridge.store.records import Records
from bridge.store.reports import Reports
from bridge.store.retention import Retention
from bridge.store.schema import KEY_FACT, KEY_WORDS, migrations
from bridge.store.services import Services
from bridge.store.slots import Slots
from bridge.store.snapshots import Snapshots
from bridge.store.status import Statuses
from bridge.store.steps import Steps
from bridge.store.sweeps import Sweeps
from bridge.store.tasks import Tasks
from bridge.store.tokens import Tokens
from bridge.store.told import Told
from bridge.store.usage import Usages
from bridge.store.worklists import Worklists

Row = dict[str, Any]
BRIEF = 0.05  # seconds that who only looks waits for a place to write


class Store(
    Services,
    Queue,
    Slots,
    Worklists,
    Steps,
    Tasks,
    Addresses,
    Told,
    Statuses,
    Sweeps,
    ForeignMachines,
    Retention,
    Snapshots,
    Backups,
    Consoles,
    Budgets,
    PointerWishes,
    Records,
    FirewallChanges,
    DiscOrders,
    Usages,
    Figures,
    Tokens,
    Reports,
):
    """One database file. Open it once per process; use it from any thread. `patience`: seconds that a change waits for
    its turn."""

    patience = 10.0

    def __init__(self, path: str | Path, secret_key: str, clock: Clock) -> None:
        self.path, self.clock = str(path), clock
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._use, self._key = Use(self.path), secret_key
        self.seal_with(secret_key)

    def as_seen_by(self, conn: sqlite3.Connection) -> Store:
        """The same store as this connection sees it, with a change that it has begun; for this thread, to look at
        only."""
        store = Store(self.path, self._key, self.clock)
        store._local.db = Database(conn)
        return store

    def hold(self) -> None:
        """Say that this process uses the store, until `close`. Raises Refused while it is being replaced."""
        with self._lock, condition.files(self.path):
            self._use.share()

    @property
    def db(self) -> Database:
        """This thread's connection."""
        database: Database | None = getattr(self._local, "db", None)
        if database is None:
            self.hold()
            condition.stands(self.path)
            with condition.files(self.path):
                ownership.begin(self.path)
            try:
                conn = sqlite3.connect(self.path, timeout=self.patience, isolation_level=None, check_same_thread=False)
                conn.execute("PRAGMA synchronous = NORMAL")
                conn.execute("PRAGMA foreign_keys = ON")
            except sqlite3.DatabaseError as e:
                raise meaning(e) from e
            database = self._local.db = Database(conn)
            with self._lock:
                self._connections.append(conn)
        return database

    @contextmanager
    def write(self) -> Iterator[Database]:
        """One change, all or nothing. Nested use joins the outer one. Raises StoreUnavailable when nothing can be
        written now."""
        db = self.db
        if getattr(self._local, "depth", 0):
            yield db
            return
        try:
            asked = self.clock.monotonic()
            try:
                self._begin(db.conn)
            finally:
                counts.observe("vmbridge_store_write_wait_seconds", {}, self.clock.monotonic() - asked)
            self._local.depth = 1
            try:
                yield db
                db.conn.execute("COMMIT")
                told, self._local.told = getattr(self._local, "told", []), []
            except BaseException:
                if db.conn.in_transaction:  # a full disk has ended it already
                    db.conn.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as e:
            raise meaning(e) from e
        finally:
            self._local.depth, self._local.told = 0, []
        for call in told:
            call()

    def after(self, told: Callable[[], None]) -> None:
        if not getattr(self._local, "depth", 0):
            told()
            return
        self._local.told = [*getattr(self._local, "told", []), told]

    def _begin(self, conn: sqlite3.Connection) -> None:
        if not hurried():
            conn.execute("BEGIN IMMEDIATE")
            return
        conn.execute(f"PRAGMA busy_timeout = {int(BRIEF * 1000)}")
        try:
            conn.execute("BEGIN IMMEDIATE")
        finally:
            conn.execute(f"PRAGMA busy_timeout = {int(self.patience * 1000)}")

    def _read(self, sql: str, args: tuple[Any, ...]) -> tuple[list[str], list[tuple[Any, ...]]]:
        """(names of the columns, rows)"""
        with read():
            cursor = self.db.conn.execute(sql, args)
            return [c[0] for c in cursor.description or ()], cursor.fetchall()

    def rows(self, sql: str, *args: Any) -> list[Row]:
        names, values = self._read(sql, args)
        return [dict(zip(names, row, strict=True)) for row in values]

    def row(self, sql: str, *args: Any) -> Row | None:
        rows = self.rows(sql, *args)
        return rows[0] if rows else None

    def column(self, sql: str, *args: Any) -> list[Any]:
        """The first column, without a dict for each row: for thousands of them."""
        return [row[0] for row in self._read(sql, args)[1]]

    def tuples(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows as they come, for thousands of them."""
        return self._read(sql, args)[1]

    def change(self, sql: str, *args: Any) -> int:
        """Run one changing statement in its own or the outer transaction; rows touched."""
        with self.write() as db:
            return int(db.conn.execute(sql, args).rowcount)

    def insert(self, sql: str, *args: Any) -> int:
        """Run one INSERT of a row in its own or the outer transaction; the row's `id`."""
        with self.write():
            return int(self.rows(f"{sql} RETURNING id", *args)[0]["id"])

    def note(self, sql: str, *args: Any) -> None:
        """As `change`, of what may be lost: who only looks is neither held up nor refused because it cannot be
        written."""
        with hurry(), suppress(StoreUnavailable):
            self.change(sql, *args)

    def migrate(self) -> list[str]:
        """Bring the file to this release under a lock; names of what was applied."""
        lock = Path(f"{self.path}.lock")
        with condition.files(self.path):
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            made = not lock.exists()
            guard = open(lock, "a+")  # noqa: SIM115
            if made:
                ownership.give(lock, ownership.model(self.path))
        with guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            self.fit()
            with read():
                self.db.conn.execute("PRAGMA journal_mode = WAL")
                todo = [m.name for m in migrations.pending(self.db)]
                if todo:  # a start without any needs no place to write
                    migrations.apply(self.db)
            with condition.files(self.path):
                Path(self.path).chmod(0o600)
            if self.row("SELECT 1 FROM facts WHERE name = ?", KEY_FACT) is None:
                self.change(
                    "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    KEY_FACT,
                    self.seal(KEY_WORDS),
                )
            guard.seek(0)
            if guard.read() != condition.MADE:
                guard.truncate(0)
                guard.write(condition.MADE)
            return todo

    def fit(self) -> None:
        """Raises Refused when this release or the configured key must not work with this store: it is newer, or sealed
        otherwise."""
        newer = self.newer_migrations()
        if newer:
            known = [m.name for m in migrations._migrations]
            raise Refused(
                f"{self.path} is of a newer release of vmbridge: its schema has {', '.join(newer)}, this release"
                f" knows {len(known)} steps up to {known[-1]}. Install that release again, or put a backup from"
                " before it back.",
                code="newer",
            )
        if not self.key_fits():
            raise Refused(
                f"[store] secret_key is not the key that {self.path} was made with: what is sealed there could not"
                " be read, and new orders would be sealed with the wrong one. Put the right key back; where it is"
                " lost, `vmbridge backup FILE` and `vmbridge restore FILE --without-key` give up what is sealed.",
                code="wrong_key",
            )

    def key_fits(self) -> bool:
        """Whether what is sealed here can be read with the configured key; an empty store fits any."""
        with read():
            return archive.fits(self.db.conn, self._key)

    def pending_migrations(self) -> list[str]:
        with read():
            return [m.name for m in migrations.pending(self.db)]

    def newer_migrations(self) -> list[str]:
        """Those that a newer release has applied and this one does not know."""
        known = {m.name for m in migrations._migrations}
        with read():
            return [m.name for m in migrations.applied(self.db) if m.name not in known]

    def close(self) -> None:
        with self._lock:
            for conn in self._connections:
                conn.close()
            self._connections.clear()
            self._use.free()
        self._local = threading.local()
