"""The store: its queries by noun, on SQLite (one file, the default) or PostgreSQL (shared by several machines). The
only place where SQL stands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlite_utils import Database as Utils

from bridge.clock import Clock, SharedClock
from bridge.counts import counts
from bridge.errors import Refused, StoreUnavailable
from bridge.store import schema
from bridge.store.addresses import Addresses
from bridge.store.backups import Backups
from bridge.store.budgets import Budgets
from bridge.store.console import Consoles
from bridge.store.copying import MOVED
from bridge.store.database import Database, Rows, Writing
from bridge.store.discs import DiscOrders
from bridge.store.faults import hurry
from bridge.store.figures import Figures
from bridge.store.firewalls import FirewallChanges
from bridge.store.foreign import ForeignMachines
from bridge.store.lookups import Lookups
from bridge.store.pointers import PointerWishes
from bridge.store.queue import Queue
from bridge.store.records import Records
from bridge.store.reports import Reports
from bridge.store.retention import Retention
from bridge.store.schema import KEY_FACT, KEY_WORDS, NEEDED_FACT, migrations
from bridge.store.services import Services
from bridge.store.slots import Slots
from bridge.store.snapshots import Snapshots
from bridge.store.sqlite import SQLite
from bridge.store.status import Statuses
from bridge.store.steps import Steps
from bridge.store.sweeps import Sweeps
from bridge.store.tasks import Tasks
from bridge.store.tokens import Tokens
from bridge.store.told import Told
from bridge.store.usage import Usages
from bridge.store.worklists import Worklists

Row = dict[str, Any]


def opened(where: str, password: str = "", connections: int = 0, clock: Clock | None = None) -> Database:
    """By the address of a database, else the path of a file. Raises Refused where what PostgreSQL needs is not
    installed."""
    if not where.startswith("postgresql://"):
        return SQLite(where)
    try:  # an extra: psycopg need not be installed
        from bridge.store.postgres import CONNECTIONS, Postgres
    except ImportError:
        text = "[store] url needs psycopg: install it by `pip install 'vmbridge[postgresql]'`."
        raise Refused(text, code="no_psycopg") from None
    shared = clock if isinstance(clock, SharedClock) else None
    return Postgres(where, password, connections or CONNECTIONS, shared)


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
    Lookups,
    FirewallChanges,
    DiscOrders,
    Usages,
    Figures,
    Tokens,
    Reports,
):
    """One store, by the path of its file or by the address of its database. Open it once per process; use it from any
    thread."""

    def __init__(self, where: str | Path, secret_key: str, clock: Clock, database: Database | None = None) -> None:
        self.clock, self._key = clock, secret_key
        self.database = database or opened(str(where))
        self.path = str(where)
        self._local = threading.local()
        self.seal_with(secret_key)

    @property
    def place(self) -> str:
        """What people know it by; never with a password."""
        return self.database.place

    @property
    def patience(self) -> float:
        """Seconds that a change waits for its turn."""
        return self.database.patience

    @patience.setter
    def patience(self, seconds: float) -> None:
        self.database.patience = seconds

    @property
    def db(self) -> Utils:
        """This thread's connection to a file, for what only SQLite knows."""
        assert isinstance(self.database, SQLite)
        return self.database.db

    def hold(self) -> None:
        """Say that this process uses the store, until `close`. Raises Refused while it is being replaced."""
        self.database.hold()

    @contextmanager
    def write(self) -> Iterator[Writing]:
        """One change, all or nothing. Nested use joins the outer one. Raises StoreUnavailable when nothing can be
        written now."""
        if getattr(self._local, "depth", 0):
            with self.database.write() as db:
                yield db
            return
        with ExitStack() as change:
            asked = self.clock.monotonic()
            try:
                db = change.enter_context(self.database.write())
            finally:
                counts.observe("vmbridge_store_write_wait_seconds", {}, self.clock.monotonic() - asked)
            self._local.depth = 1
            try:
                if getattr(self._local, "asked", None):
                    self._local.asked = {}
                yield db
            finally:
                told = getattr(self._local, "told", [])
                self._local.depth, self._local.told = 0, []
        for call in told:
            call()

    def after(self, told: Callable[[], None]) -> None:
        if not getattr(self._local, "depth", 0):
            told()
            return
        self._local.told = [*getattr(self._local, "told", []), told]

    @contextmanager
    def each_once(self) -> Iterator[None]:
        """Inside, this thread asks the same thing only once, until it changes something: a page tells of one state of
        things, and its parts may each ask for what they need."""
        if getattr(self._local, "asked", None) is not None:
            yield
            return
        self._local.asked = {}
        try:
            yield
        finally:
            self._local.asked = None

    def _read(self, sql: str, args: tuple[Any, ...]) -> tuple[list[str], Rows]:
        """(names of the columns, rows)"""
        asked: dict[Any, tuple[list[str], Rows]] | None = getattr(self._local, "asked", None)
        if asked is None or getattr(self._local, "depth", 0) > 0:
            return self.database.read(sql, args)
        if (sql, args) not in asked:
            asked[sql, args] = self.database.read(sql, args)
        names, rows = asked[sql, args]
        return names, list(rows)

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
        """Bring the store to this release under a lock; names of what was applied."""
        done = self.database.migrate(self._may_migrate)
        if self.row("SELECT 1 FROM facts WHERE name = ?", KEY_FACT) is None:
            self.change(
                "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", KEY_FACT, self.seal(KEY_WORDS)
            )
        self._say_what_is_needed()
        return done

    def _may_migrate(self) -> None:
        """Older releases hear that they cannot go on before anything is taken from them."""
        self.fit()
        if "facts" in self.database.tables():
            self._say_what_is_needed()

    def _say_what_is_needed(self) -> None:
        known = [m.name for m in migrations._migrations]
        row = self.row("SELECT value FROM facts WHERE name = ?", NEEDED_FACT)
        if row is None or (row["value"] in known and known.index(row["value"]) < known.index(schema.NEEDED)):
            self.change(
                "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                NEEDED_FACT,
                schema.NEEDED,
            )

    def fit(self) -> None:
        """Raises Refused when this release or the configured key must not work with this store: it is newer, or sealed
        otherwise."""
        newer = self.too_new()
        if newer:
            known = [m.name for m in migrations._migrations]
            raise Refused(
                f"{self.database.place} is of a newer release of vmbridge: its schema has {', '.join(newer)}, this"
                f" release knows {len(known)} steps up to {known[-1]}. Install that release again, or put a backup from"
                " before it back.",
                code="newer",
            )
        if not self.key_fits():
            raise Refused(
                f"[store] secret_key is not the key that {self.database.place} was made with: what is sealed there"
                " could not be read, and new orders would be sealed with the wrong one. Put the right key back; where"
                " it is lost, `vmbridge backup FILE` and `vmbridge restore FILE --without-key` give up what is sealed.",
                code="wrong_key",
            )
        self._not_left()

    def _not_left(self) -> None:
        """Two stores of the same services, each worked with, would make every machine twice."""
        row = None if self.database.pending() else self.row("SELECT value FROM facts WHERE name = ?", MOVED)
        if row:
            raise Refused(
                f"{self.place} was copied to {row['value']}, where it goes on: name that one in [store]. To go on with"
                " this one after all, while nothing works with the other, run `vmbridge store reopen`.",
                code="moved",
            )

    def leave(self, place: str) -> None:
        """It goes on there; an empty word: it goes on here after all."""
        self.change("DELETE FROM facts WHERE name = ?", MOVED)
        if place:
            self.change("INSERT INTO facts (name, value) VALUES (?, ?)", MOVED, place)

    def key_fits(self) -> bool:
        """Whether what is sealed here can be read with the configured key; an empty store fits any."""
        return self.database.fits(self._key)

    def pending_migrations(self) -> list[str]:
        return self.database.pending()

    def begun(self) -> bool:
        """Whether any release has made its tables here."""
        return bool(self.database.applied())

    def newer_migrations(self) -> list[str]:
        """Those that a newer release has applied and this one does not know."""
        known = {m.name for m in migrations._migrations}
        return [name for name in self.database.applied() if name not in known]

    def too_new(self) -> list[str]:
        """Of those, all, where this release cannot work beside them."""
        newer = self.newer_migrations()
        if newer and "facts" in self.database.tables():
            row = self.row("SELECT value FROM facts WHERE name = ?", NEEDED_FACT)
            if row and row["value"] in {m.name for m in migrations._migrations}:
                return []
        return newer

    def close(self) -> None:
        self.database.close()
