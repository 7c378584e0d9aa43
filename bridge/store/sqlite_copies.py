"""A store in a file as a source or a target of copies."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database as Utils

from bridge.errors import Refused
from bridge.store import archive, condition, ownership
from bridge.store.schema import migrations
from bridge.store.sides import Table

MANY = 1000


@contextmanager
def reading(path: str) -> Iterator[Callable[[Table], Iterator[tuple[Any, ...]]]]:
    """Table -> its rows, one by one, all of one moment."""
    with closing(archive.connect(path)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield lambda table: iter(conn.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}"))


class _Filling:
    def __init__(self, conn: sqlite3.Connection) -> None:
        self.conn = conn

    def put(self, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
        self.conn.execute(f"DELETE FROM {table.name}")  # what a migration has put there is among the rows
        marks = ", ".join("?" * len(table.columns))
        self.conn.executemany(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", rows)

    def rows(self, table: Table) -> Iterator[tuple[Any, ...]]:
        return iter(self.conn.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}"))


@contextmanager
def filling(path: str) -> Iterator[_Filling]:
    """In a file beside it, which takes its place at the end."""
    place = Path(path)
    with condition.files(path):
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(f"{path}.copying")
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{fresh}{end}").unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        ownership.give(fresh, ownership.model(path))
    use = archive.Use(path)
    use.alone()
    try:
        with closing(archive.connect(fresh)) as conn:
            migrations.apply(Utils(conn))
            conn.execute("BEGIN IMMEDIATE")
            yield _Filling(conn)
            if wrong := conn.execute("PRAGMA foreign_key_check").fetchone():
                raise Refused(f"{path}: a row of {wrong[0]} points to none of {wrong[2]}.", code="differs")
            conn.execute("COMMIT")
        archive.sync(fresh)
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        os.replace(fresh, place)
        archive.sync(place.parent)
    finally:
        fresh.unlink(missing_ok=True)
        use.free()
