"""The shared database: PostgreSQL 15 and newer, through psycopg 3 with its pool.

A read outside of a change borrows a connection for one statement; a change has one for itself and begins with an
advisory lock, so that writers come one after the other, as with SQLite: many changes read first and trust that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from bridge.clock import Clock, SharedClock
from bridge.errors import Refused, StoreDamaged, StoreUnavailable, StoreUnknown
from bridge.store.database import Rows
from bridge.store.faults import hurried
from bridge.store.holdings import Holdings, Restored
from bridge.store.postgres import address, copies, dump, tables
from bridge.store.postgres.faults import line, meaning, told
from bridge.store.postgres.text import Plain, numbered
from bridge.store.restored import opens
from bridge.store.schema import KEY_FACT

OLDEST = 15
# advisory locks: of each database, of nobody else's there
WRITER, MIGRATION, USE = 8_612_001, 8_612_002, 8_612_003
BRIEF = 0.05  # seconds that who only looks waits for its turn to write
CONNECTIONS = 8  # of one process, where nobody says otherwise
LEAVING = 2.0  # seconds in which PostgreSQL has noticed that a connection was closed
PIECE = 0.5  # seconds after which is looked why there is no connection
CLOCK_EVERY = 30.0  # seconds until the database is asked for its time again
BEGIN = (
    "BEGIN; SET LOCAL lock_timeout = {wait}; SELECT pg_advisory_xact_lock({writer}); SELECT pg_current_xact_id()::text"
)
CLOCK = Clock()  # of this machine, whatever clock the store goes by: it is sockets that wait
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # what it would say is told by who asked


class _Change:
    def __init__(self, conn: psycopg.Connection[Any], number: str) -> None:
        self.conn, self.number = Plain(conn), number


class Postgres:
    """`patience`: seconds that a change waits for its turn, and anybody for a connection. `password` counts before the
    one in `url`; `clock` is made to follow the database's."""

    patience = 10.0
    begins_itself = False  # nothing beside it would tell that there had been one

    def __init__(
        self, url: str, password: str = "", connections: int = CONNECTIONS, clock: SharedClock | None = None
    ) -> None:
        self.url, self._password, self.connections, self.clock = url, password, connections, clock
        self._local = threading.local()
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Any] | None = None
        self._alone: psycopg.Connection[Any] | None = None
        self._timed = 0.0

    @property
    def place(self) -> str:
        return address.place(self.url)

    # -- connections ------------------------------------------------------------------------------
    def hold(self) -> None:
        """Each connection says it; a process that only supervises others has none that they could inherit."""

    def stands(self) -> None:
        """Raises StoreUnavailable when it does not answer, StoreDamaged when it does not let us in."""
        with told():
            self._opened()

    def parameters(self) -> dict[str, Any]:
        """How psycopg connects, by the words of its `connect`."""
        return address.connecting(self.url, self._password, self.patience)

    def _opened(self) -> ConnectionPool[Any]:
        with self._lock:
            if self._pool is None:
                self._look()
                self._pool = ConnectionPool(
                    min_size=1,
                    max_size=self.connections,
                    open=True,
                    configure=self._prepare,
                    timeout=self.patience,
                    num_workers=1,
                    reconnect_timeout=1.0,  # then the next who asks tries anew, instead of ever more seldom
                    kwargs=self.parameters(),
                )
            return self._pool

    def _look(self) -> None:
        """One connection of its own: what stands against it is told at once, and not as a time that was over."""
        with psycopg.connect(**self.parameters()) as conn:
            self._prepare(conn)
            version = conn.info.server_version // 10000
            if version < OLDEST:
                text = f"{self.place} is PostgreSQL {version}; vmbridge needs {OLDEST} or newer."
                raise Refused(text, code="old_server")
            encoding = conn.info.parameter_status("server_encoding")
            if encoding != "UTF8":
                raise Refused(
                    f"{self.place} has the encoding {encoding}; vmbridge needs UTF8: make the database anew by"
                    " `createdb -E UTF8 -T template0 NAME`.",
                    code="wrong_encoding",
                )

    def _prepare(self, conn: psycopg.Connection[Any]) -> None:
        """Raises Refused while it is being replaced."""
        tables.adapted(conn)
        if self._alone is None and not self._asked(conn, f"SELECT pg_try_advisory_lock_shared({USE})"):
            raise Refused("The store is being restored or copied; start again when this is done.", code="store_in_use")
        self._follow(conn)

    def _asked(self, conn: psycopg.Connection[Any], sql: str) -> Any:
        row = conn.execute(sql.encode()).fetchone()
        return row[0] if row else None

    def _follow(self, conn: psycopg.Connection[Any]) -> None:
        if self.clock:
            asked = CLOCK.monotonic()
            theirs = float(self._asked(conn, "SELECT extract(epoch FROM clock_timestamp())"))
            self.clock.follow(theirs + (CLOCK.monotonic() - asked) / 2)
            self._timed = CLOCK.monotonic()

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        pool = self._opened()
        conn = self._got(pool)
        try:
            if self.clock and CLOCK.monotonic() - self._timed > CLOCK_EVERY:
                with suppress(psycopg.Error):
                    self._follow(conn)
            yield conn
        finally:
            pool.putconn(conn)

    def _got(self, pool: ConnectionPool[Any]) -> psycopg.Connection[Any]:
        """Waits while the server is starting anew. Raises what stands against a connection."""
        until = CLOCK.monotonic() + (BRIEF if hurried() else self.patience)
        while True:
            left = until - CLOCK.monotonic()
            try:
                conn: psycopg.Connection[Any] = pool.getconn(min(PIECE, max(left, 0.01)))
                return conn
            except PoolTimeout:
                try:
                    self._look()
                    why: Exception = StoreUnavailable(
                        detail=f"all {self.connections} connections of this process are in use ([store] connections)"
                    )
                except psycopg.Error as e:
                    why = meaning(e)
                if isinstance(why, StoreDamaged) or left <= PIECE:
                    raise why from None

    # -- reads and changes ------------------------------------------------------------------------
    def read(self, sql: str, args: tuple[Any, ...]) -> tuple[list[str], Rows]:
        """(names of the columns, rows). Once more on a new connection when an idle one has broken."""
        with told():
            mine: _Change | None = getattr(self._local, "change", None)
            if mine:
                return self._rows(mine.conn.real, sql, args)
            with self._connection() as conn:
                try:
                    return self._rows(conn, sql, args)
                except psycopg.OperationalError:
                    if not conn.broken:
                        raise
            self._opened().check()  # the others have broken with it
            with self._connection() as conn:
                return self._rows(conn, sql, args)

    @staticmethod
    def _rows(conn: psycopg.Connection[Any], sql: str, args: tuple[Any, ...]) -> tuple[list[str], Rows]:
        cursor = conn.execute(numbered(sql), args)
        names = [c.name for c in cursor.description or ()]
        return names, cursor.fetchall() if cursor.description else []

    @contextmanager
    def write(self) -> Iterator[_Change]:
        """One transaction; within one it is the same. Raises StoreUnavailable when nothing is saved, StoreUnknown when
        nobody can tell."""
        mine: _Change | None = getattr(self._local, "change", None)
        if mine:
            yield mine
            return
        number = ""
        with told():
            with self._begun() as change:
                try:
                    self._local.change = change
                    yield change
                except BaseException:
                    self._roll_back(change.conn.real)
                    raise
                finally:
                    self._local.change = None
                if change.conn.real.info.transaction_status == TransactionStatus.INERROR:
                    raise StoreUnavailable(detail="a statement of the change had failed")
                try:
                    change.conn.real.execute(b"COMMIT")
                except psycopg.OperationalError:
                    if not change.conn.real.broken:
                        raise
                    number = change.number
            if number and not self._stands_there(number):
                raise StoreUnavailable(detail="the connection to PostgreSQL broke before the change was saved")

    @contextmanager
    def _begun(self) -> Iterator[_Change]:
        """A transaction that holds the writer's lock, on a second connection where the first has broken before it
        began."""
        wait = BRIEF if hurried() else self.patience
        begin = BEGIN.format(wait=max(1, int(wait * 1000)), writer=WRITER).encode()
        for last in (False, True):
            with self._connection() as conn:
                try:
                    cursor = conn.execute(begin)
                    while cursor.nextset():
                        pass
                    number = str(cursor.fetchall()[0][0])
                except psycopg.OperationalError:
                    if last or not conn.broken:
                        self._roll_back(conn)
                        raise
                except BaseException:
                    self._roll_back(conn)
                    raise
                else:
                    yield _Change(conn, number)
                    return
            self._opened().check()  # nothing had begun

    @staticmethod
    def _roll_back(conn: psycopg.Connection[Any]) -> None:
        if not conn.closed and conn.info.transaction_status != TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                conn.execute(b"ROLLBACK")

    def _stands_there(self, number: str) -> bool:
        """Whether a change whose end was not heard has been saved: the database keeps that (pg_xact_status in
        postgresql.org/docs/15/functions-info.html). Raises StoreUnknown when it cannot be asked for long."""
        until, why = CLOCK.monotonic() + self.patience, ""
        while CLOCK.monotonic() < until:
            try:
                self._opened().check()
                with self._connection() as conn:
                    state = self._asked(conn, f"SELECT pg_xact_status('{int(number)}')")
                if state != "in progress":
                    return bool(state == "committed")
                why = "PostgreSQL has not ended it yet"
            except (psycopg.Error, PoolTimeout, StoreUnavailable) as e:
                why = line(e)
            CLOCK.sleep(0.05)
        raise StoreUnknown(detail=f"the connection to PostgreSQL broke while a change was saved ({why})")

    # -- alone ------------------------------------------------------------------------------------
    @contextmanager
    def alone(self) -> Iterator[None]:
        self.close()
        with told(), psycopg.connect(**self.parameters()) as conn:
            tables.adapted(conn)
            until = CLOCK.monotonic() + LEAVING
            while not self._asked(conn, f"SELECT pg_try_advisory_lock({USE})"):
                if CLOCK.monotonic() < until:
                    CLOCK.sleep(0.05)
                    continue
                text = "The store is in use: stop serve, web, worker and every other vmbridge command first"
                raise Refused(f"{text}{self._users(conn)}.", code="store_in_use")
            self._alone = conn
            try:
                yield
            finally:
                self.close()
                self._alone = None

    def _users(self, conn: psycopg.Connection[Any]) -> str:
        """Who holds it, by machine and process."""
        rows = conn.execute(
            b"SELECT DISTINCT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
            b" WHERE l.locktype = 'advisory' AND l.granted AND l.objid = $1 AND l.database ="
            b" (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1",
            (USE,),
        ).fetchall()
        names = [str(r[0]).removeprefix("vmbridge@") for r in rows]
        return f" (it is used by machine:process {', '.join(names)})" if names else ""

    # -- its tables -------------------------------------------------------------------------------
    def migrate(self, allowed: Callable[[], None] = lambda: None) -> list[str]:
        """Under a lock; `allowed` raises what stands against it, before anything is touched."""
        with told(), self._connection() as conn:
            conn.execute(f"SELECT pg_advisory_lock({MIGRATION})".encode())
            try:
                allowed()
                todo = self.pending()
                for name in todo:
                    with conn.transaction():
                        tables.apply(conn, name)
                return todo
            finally:
                if not conn.broken:
                    conn.execute(f"SELECT pg_advisory_unlock({MIGRATION})".encode())

    def pending(self) -> list[str]:
        return tables.missing(self.applied())

    def applied(self) -> list[str]:
        if not self._has("migrations"):
            return []
        return [str(r[0]) for r in self.read("SELECT name FROM migrations ORDER BY number", ())[1]]

    def _has(self, table: str) -> bool:
        return self.read("SELECT to_regclass(?)", (table,))[1][0][0] is not None

    def tables(self) -> dict[str, list[str]]:
        """Table -> its columns in order, without the record of migrations."""
        rows = self.read(
            "SELECT table_name::text, column_name::text FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name <> 'migrations'"
            " ORDER BY table_name, ordinal_position",
            (),
        )[1]
        columns: dict[str, list[str]] = {}
        for table, column in rows:
            columns.setdefault(table, []).append(column)
        return columns

    def size(self) -> int:
        sql = (
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c"
            " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
        )
        return int(self.read(sql, ())[1][0][0])

    def fits(self, key: str) -> bool:
        rows = self.read("SELECT value FROM facts WHERE name = ?", (KEY_FACT,))[1] if self._has("facts") else []
        return not rows or opens(str(rows[0][0]), key)

    # -- copies -----------------------------------------------------------------------------------
    def take(self, target: Path, force: bool) -> tuple[int, Holdings]:
        """Bytes of the copy, and what it holds."""
        return dump.take(self, target, force)

    def put_back(self, copy: Path, *rules: Any) -> Restored:
        return dump.put_back(self, copy, *rules)

    def there(self) -> bool:
        return True

    def reading(self) -> Any:
        """Within it a table's rows, one by one, all of one moment."""
        return copies.reading(self.parameters())

    @contextmanager
    def filling(self) -> Iterator[Any]:
        """Within it `put` and `rows` of a table; all of it counts at the end or nothing."""
        with self.alone(), copies.filling(self.parameters()) as table:
            yield table

    # -- its condition ----------------------------------------------------------------------------
    def whole(self) -> None:
        """PostgreSQL looks at each page that it reads, where it was made with checksums."""
        self.stands()

    def told(self, e: StoreUnavailable, key: str, config: str) -> str:
        if isinstance(e, StoreDamaged):
            return f"The database {self.place} cannot be used: {e.detail}."
        return f"The database {self.place} takes no changes now: {e.detail}."

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None
        self._local = threading.local()
