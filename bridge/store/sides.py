"""One store as what compares or moves two of them sees it: the same statements, whichever engine it is on, and what
only the engine can tell of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

from sqlite_utils import Database as Utils

from bridge.store.database import Cursor
from bridge.store.schema import migrations


class Side(Protocol):
    def execute(self, sql: str, args: Sequence[Any] = ..., /) -> Cursor: ...

    def has(self, table: str) -> bool: ...

    def migrated(self) -> list[str]:
        """Names of the migrations that it has seen, in their order; none where it is no store."""
        ...


class FileSide:
    """A store in a file, or a copy of one."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    def execute(self, sql: str, args: Sequence[Any] = (), /) -> Cursor:
        return self.conn.execute(sql, args)

    def has(self, table: str) -> bool:
        sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self.conn.execute(sql, (table,)).fetchone() is not None

    def migrated(self) -> list[str]:
        sql = f"SELECT name FROM {migrations.migrations_table} WHERE migration_set = ? ORDER BY id"
        return [str(r[0]) for r in self.conn.execute(sql, (migrations.name,))]


class Table:
    """`columns` in their order, `key` those of the primary key, `above` the tables that its rows point to."""

    def __init__(self, name: str, columns: list[str], key: list[str], above: set[str]) -> None:
        self.name, self.columns, self.key, self.above = name, columns, key, above


@cache
def tables(upto: str = "") -> tuple[Table, ...]:
    """Every table of this release, or of the one whose last migration was `upto`; what others point to comes first.
    Read from what the migrations make, so that none can be forgotten."""
    conn = sqlite3.connect(":memory:")
    try:
        migrations.apply(Utils(conn), stop_before=_after(upto))
        names = [r[0] for r in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        left = {n: _table(conn, n) for n in names if not re.match(r"_|sqlite_", n)}
    finally:
        conn.close()
    ordered: list[Table] = []
    while left:
        ready = [t for t in left.values() if not (t.above - {t.name}) & left.keys()]
        ordered += ready
        for table in ready:
            del left[table.name]
    return tuple(ordered)


def _after(upto: str) -> str | None:
    names = [m.name for m in migrations._migrations]
    return (names[names.index(upto) + 1 :] or [None])[0] if upto else None  # type: ignore[list-item]


def _table(conn: sqlite3.Connection, name: str) -> Table:
    columns = conn.execute(f"PRAGMA table_info({name})").fetchall()
    key = [c[1] for c in sorted(columns, key=lambda c: int(c[5])) if c[5]]
    above = {r[2] for r in conn.execute(f"PRAGMA foreign_key_list({name})")}
    return Table(name, [c[1] for c in columns], key, above)
