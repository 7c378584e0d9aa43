"""The tables of a store on PostgreSQL: made by our migrations, moved aside, counted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from bridge.store import sides
from bridge.store.postgres.text import Defining, adapt
from bridge.store.schema import migrations

NOTED = (
    b"CREATE TABLE IF NOT EXISTS migrations (number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    b" name TEXT NOT NULL UNIQUE, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
)
COUNTED = (
    b"SELECT c.table_name::text, pg_get_serial_sequence(quote_ident(c.table_name), c.column_name)"
    b" FROM information_schema.columns c WHERE c.table_schema = current_schema() AND c.is_identity = 'YES'"
    b" AND c.table_name <> 'migrations'"
)


def adapted(conn: psycopg.Connection[Any]) -> None:
    conn.autocommit = True
    adapt(conn)


def look_into(conn: psycopg.Connection[Any], schema: str) -> None:
    """Names without a schema are looked up there, for the rest of the transaction."""
    conn.execute(f'SET LOCAL search_path TO "{schema}"'.encode())


def missing(applied: Sequence[str]) -> list[str]:
    """Those of this release that are not among them."""
    return [m.name for m in migrations._migrations if m.name not in applied]


def apply(conn: psycopg.Connection[Any], name: str, filled: bool = True) -> None:
    """Within a transaction. `filled` false: its rows will come from elsewhere, as they are after it. What moved rows
    before PostgreSQL was known is in SQLite's words, and has none to move here."""
    names = [m.name for m in migrations._migrations]
    at = names.index(name)
    rows = filled and at > names.index("numbers")
    migrations._migrations[at].fn(Defining(conn, rows))  # type: ignore[arg-type]
    conn.execute(NOTED)
    conn.execute(b"INSERT INTO migrations (name) VALUES ($1)", (name,))


def move(conn: psycopg.Connection[Any], schema: str, aside: str) -> list[str]:
    """Every table of ours into a schema of its own; their names, none where there is no store."""
    rows = conn.execute(
        b"SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        b" WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY 1",
        (schema,),
    ).fetchall()
    names = [str(r[0]) for r in rows]
    if "migrations" not in names:
        return []
    conn.execute(f'CREATE SCHEMA "{aside}"'.encode())
    for name in names:
        conn.execute(f'ALTER TABLE "{schema}"."{name}" SET SCHEMA "{aside}"'.encode())
    return names


def drop(conn: psycopg.Connection[Any]) -> None:
    """Those of a store that has nothing in it."""
    sql = (
        b"SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
        b" AND c.relkind = 'r'"
    )
    ours = {"migrations", *(t.name for t in sides.tables())}
    if names := [str(r[0]) for r in conn.execute(sql).fetchall() if r[0] in ours]:
        conn.execute(f"DROP TABLE {', '.join(names)}".encode())


def count_on(conn: psycopg.Connection[Any]) -> None:
    """The next row of each table gets a number behind the last."""
    for table, sequence in conn.execute(COUNTED).fetchall():
        sql = f"SELECT setval('{sequence}', coalesce((SELECT max(id) FROM {table}), 0) + 1, false)"
        conn.execute(sql.encode())
