"""The embedded database: one SQLite file, through sqlite-utils.

One connection per thread, WAL, and every change in BEGIN IMMEDIATE, so that two processes wait for each other instead
of failing half-way.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet, finalize

from sqlite_utils import Database as Utils

from bridge.errors import Refused, StoreDamaged, StoreUnavailable
from bridge.store import archive, condition, ownership, restored, sqlite_copies
from bridge.store.archive import Use
from bridge.store.database import Rows
from bridge.store.faults import hurried, meaning, read
from bridge.store.holdings import Holdings, Restored
from bridge.store.schema import migrations
from bridge.store.sides import FileSide

BRIEF = 0.05  # seconds that who only looks waits for a place to write


class Connection:
    """A thread's own: closed with the store, or when its thread has ended. Threads that come and go would leave an open
    file each."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.close = finalize(self, _close, conn, os.getpid())
        self.close.atexit = False  # whatever still runs then may be in the middle of a change


_forerunners: list[sqlite3.Connection] = []  # of the process that this one is a copy of: its files stay as they are


def _close(conn: sqlite3.Connection, owner: int) -> None:
    if os.getpid() == owner:
        conn.close()
    else:
        _forerunners.append(conn)


class SQLite:
    """`patience`: seconds that a change waits for its turn."""

    patience = 10.0
    begins_itself = True  # `<path>.lock` tells when there was one

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._local = threading.local()
        self._opened: WeakSet[Connection] = WeakSet()
        self._lock = threading.Lock()
        self._use = Use(self.path)

    @property
    def place(self) -> str:
        return self.path

    def hold(self) -> None:
        """Raises Refused while it is being replaced."""
        with self._lock, condition.files(self.path):
            self._use.share()

    def stands(self) -> None:
        condition.stands(self.path, to_begin=True)

    def whole(self) -> None:
        condition.whole(self.path)

    def told(self, e: StoreUnavailable, key: str, config: str) -> str:
        if isinstance(e, StoreDamaged):
            return condition.told(self.path, e, key, config)
        return (
            f"The database {self.path} takes no changes now ({e.detail}): another process holds it, its disk is full,"
            " or it is read-only."
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        if not Path(self.path).exists():
            raise Refused(f"There is no store at {self.path}.", code="no_store")
        self.close()
        self._use.alone()
        try:
            yield
        finally:
            self.close()

    def tables(self) -> dict[str, list[str]]:
        """Table -> its columns in order, without those that begin with "_"."""
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB '[_]*' ORDER BY name"
        rows = self.read(names, ())[1]
        return {
            str(t): [str(c[1]) for c in self.read(f"PRAGMA table_info({t})", ())[1]]
            for (t,) in rows
            if not str(t).startswith("sqlite_")
        }

    def size(self) -> int:
        return sum(p.stat().st_size for end in ("", "-wal") if (p := Path(self.path + end)).exists())

    @property
    def db(self) -> Utils:
        """This thread's connection."""
        database: Utils | None = getattr(self._local, "db", None)
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
            database = self._local.db = Utils(conn)
            self._local.opened = Connection(conn)
            with self._lock:
                self._opened.add(self._local.opened)
        return database

    @contextmanager
    def write(self) -> Iterator[Utils]:
        db = self.db
        if getattr(self._local, "depth", 0):
            yield db
            return
        try:
            self._begin(db.conn)
            self._local.depth = 1
            try:
                yield db
                db.conn.execute("COMMIT")
            except BaseException:
                if db.conn.in_transaction:  # a full disk has ended it already
                    db.conn.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as e:
            raise meaning(e) from e
        finally:
            self._local.depth = 0

    def _begin(self, conn: sqlite3.Connection) -> None:
        if not hurried():
            conn.execute("BEGIN IMMEDIATE")
            return
        conn.execute(f"PRAGMA busy_timeout = {int(BRIEF * 1000)}")
        try:
            conn.execute("BEGIN IMMEDIATE")
        finally:
            conn.execute(f"PRAGMA busy_timeout = {int(self.patience * 1000)}")

    def read(self, sql: str, args: tuple[Any, ...]) -> tuple[list[str], Rows]:
        """(names of the columns, rows)."""
        with read():
            cursor = self.db.conn.execute(sql, args)
            return [c[0] for c in cursor.description or ()], cursor.fetchall()

    def migrate(self, allowed: Callable[[], None] = lambda: None) -> list[str]:
        """Under a lock; `allowed` raises what stands against it, before anything is touched."""
        lock = Path(f"{self.path}.lock")
        with condition.files(self.path):
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            made = not lock.exists()
            guard = open(lock, "a+")  # noqa: SIM115
            if made:
                ownership.give(lock, ownership.model(self.path))
        with guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            allowed()
            with read():
                self.db.conn.execute("PRAGMA journal_mode = WAL")
                todo = [m.name for m in migrations.pending(self.db)]
                if todo:  # a start without any needs no place to write
                    migrations.apply(self.db)
            with condition.files(self.path):
                Path(self.path).chmod(0o600)
            guard.seek(0)
            if guard.read() != condition.MADE:
                guard.truncate(0)
                guard.write(condition.MADE)
            return todo

    def pending(self) -> list[str]:
        with read():
            return [m.name for m in migrations.pending(self.db)]

    def applied(self) -> list[str]:
        with read():
            return [m.name for m in migrations.applied(self.db)]

    def fits(self, key: str) -> bool:
        with read():
            return restored.fits(FileSide(self.db.conn), key)

    def take(self, target: Path, force: bool) -> tuple[int, Holdings]:
        """Bytes of the copy, and what it holds."""
        size = archive.take(self.path, target, force)
        held = archive.holdings(target)
        condition.remember(self.path, target)
        return size, held

    def put_back(self, copy: Path, *rules: Any) -> Restored:
        key, *others = rules
        return archive.put_back(copy, self.path, key, *others)

    def there(self) -> bool:
        return Path(self.path).exists() and Path(self.path).stat().st_size > 0

    def reading(self) -> Any:
        """Within it a table's rows, one by one, all of one moment."""
        return sqlite_copies.reading(self.path)

    @contextmanager
    def filling(self) -> Iterator[Any]:
        """Within it `put` and `rows` of a table; all of it counts at the end or nothing."""
        with sqlite_copies.filling(self.path) as table:
            yield table
        self.migrate()  # nothing is left to do but to note that there is one
        self.close()

    def close(self) -> None:
        with self._lock:
            for opened in list(self._opened):
                opened.close()
            self._opened.clear()
            self._use.free()
        self._local = threading.local()
