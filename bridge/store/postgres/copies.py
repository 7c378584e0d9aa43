"""A store on PostgreSQL as a source or a target of copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from bridge.errors import Refused
from bridge.store.postgres import tables
from bridge.store.postgres.faults import line, told
from bridge.store.sides import Table


def _stream(conn: psycopg.Connection[Any], table: Table) -> Iterator[tuple[Any, ...]]:
    """Row by row: a table may be larger than memory."""
    return conn.cursor().stream(f"SELECT {', '.join(table.columns)} FROM {table.name}".encode())


@contextmanager
def reading(parameters: dict[str, Any]) -> Iterator[Callable[[Table], Iterator[tuple[Any, ...]]]]:
    """Table -> its rows, one by one, all of one moment."""
    with told(), psycopg.connect(**parameters) as conn:
        tables.adapted(conn)
        conn.execute(b"SET idle_in_transaction_session_timeout = 0")
        conn.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield lambda table: _stream(conn, table)
        conn.execute(b"COMMIT")


class _Filling:
    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    def put(self, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
        statement = f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN"
        try:
            with self.conn.cursor().copy(statement.encode()) as into:
                for row in rows:
                    into.write_row(row)
        except (psycopg.DataError, psycopg.IntegrityError) as e:
            said = f"{table.name} has a value that PostgreSQL does not take: {line(e)}"
            raise Refused(f"{said}. Nothing was copied.", code="differs") from None

    def rows(self, table: Table) -> Iterator[tuple[Any, ...]]:
        return _stream(self.conn, table)


@contextmanager
def filling(parameters: dict[str, Any]) -> Iterator[_Filling]:
    """In one transaction, tables and rows. Nobody else may be in it."""
    with told(), psycopg.connect(**parameters) as conn:
        tables.adapted(conn)
        conn.execute(b"SET idle_in_transaction_session_timeout = 0")
        with conn.transaction():
            tables.drop(conn)
            for name in tables.missing(()):
                tables.apply(conn, name, filled=False)
            yield _Filling(conn)
            tables.count_on(conn)
