"""Copies of a store on PostgreSQL: pg_dump's file, and putting one back by the rules that a file has too.

A copy is put back in one transaction: the tables that stand there go into a schema of their own, new ones are made by
the migrations that the copy has seen, filled, and made ready. Whoever asks meanwhile waits or is refused; what ends
half-way has changed nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.conninfo import make_conninfo

from bridge.errors import Refused
from bridge.store import restored, sides
from bridge.store.archive import DUMP, placing
from bridge.store.database import Cursor
from bridge.store.holdings import Holdings, Ranges, Restored
from bridge.store.postgres import address, tables
from bridge.store.postgres.faults import told
from bridge.store.postgres.text import Plain

FILE_HEAD = b"SQLite format 3\x00"
NO_ROOM = re.compile("No space left on device|Disk quota exceeded|File too large")
DATA = re.compile(r"\d+; \d+ \d+ TABLE DATA \S+ (\S+) ")
COPY = re.compile(r'COPY (?:"?\w+"?\.)?"?\w+"? (\(.*\)) FROM stdin;\n')


class SchemaSide:
    """The tables of one schema, within a transaction that sees several."""

    def __init__(self, conn: psycopg.Connection[Any], schema: str) -> None:
        self.conn, self.schema = conn, schema

    def execute(self, sql: str, args: Sequence[Any] = (), /) -> Cursor:
        tables.look_into(self.conn, self.schema)
        return Plain(self.conn).execute(sql, args)

    def has(self, table: str) -> bool:
        return bool(self.execute("SELECT to_regclass(?) IS NOT NULL", (table,)).fetchone()[0])

    def migrated(self) -> list[str]:
        if not self.has("migrations"):
            return []
        return [str(r[0]) for r in self.execute("SELECT name FROM migrations ORDER BY number").fetchall()]


# -- PostgreSQL's programs ----------------------------------------------------------------------------
def program(name: str) -> str:
    """The newest that is installed here. Raises Refused."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    where = str(debian[-1]) if debian else shutil.which(name)
    if where is None:
        raise Refused(f"{name} is not installed here: Debian has it in postgresql-client.", code="no_program")
    return where


@contextmanager
def _passfile(connected: dict[str, Any]) -> Iterator[tuple[dict[str, str], tuple[int, ...]]]:
    """(environment, open files) for a program that connects: a password stands in memory only, neither in its
    arguments nor in its environment."""
    password = connected.get("password")
    if not password:
        yield {}, ()
        return
    handle = os.memfd_create("passfile")
    try:
        os.fchmod(handle, 0o600)
        escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
        os.write(handle, f"*:*:*:*:{escaped}\n".encode())
        yield {"PGPASSFILE": f"/proc/self/fd/{handle}"}, (handle,)
    finally:
        os.close(handle)


def _line(stderr: str, secrets: list[str]) -> str:
    for secret in secrets:
        stderr = stderr.replace(secret, "***")
    return " ".join(stderr.split())[:300]


class Whole(Protocol):
    """The database of which a copy is taken, or whose place one takes."""

    @property
    def place(self) -> str: ...

    def parameters(self) -> dict[str, Any]: ...

    def alone(self) -> AbstractContextManager[None]: ...


# -- take -----------------------------------------------------------------------------------------
def take(database: Whole, target: Path, force: bool) -> tuple[int, Holdings]:
    """Dump it as of one moment, while it is used; bytes written and what they hold. Raises Refused."""
    command = program("pg_dump")
    connected = database.parameters()
    with told(), psycopg.connect(**connected) as conn, placing(target, force) as part:
        tables.adapted(conn)
        conn.execute(b"SET idle_in_transaction_session_timeout = 0")
        conn.execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        schema, moment = conn.execute(b"SELECT current_schema()::text, pg_export_snapshot()").fetchone() or ("", "")
        side = SchemaSide(conn, schema)
        if not side.has("services"):
            raise Refused(f"There is no store at {database.place}.", code="no_store")
        holds = restored.holdings(side)
        words = {k: v for k, v in connected.items() if k not in ("password", "options", "client_encoding")}
        with _passfile(connected) as (environment, files):
            done = subprocess.run(
                [
                    command,
                    f"--dbname={make_conninfo(**words)}",
                    "--format=custom",
                    "--no-owner",
                    "--no-privileges",
                    f"--schema={schema}",
                    f"--snapshot={moment}",
                    f"--file={part}",
                ],
                env={**os.environ, **environment},
                pass_fds=files,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        if done.returncode:
            said = _line(done.stderr, address.passwords(connected))
            if NO_ROOM.search(done.stderr):
                text = f"{target} could not be written: look at its disk ({said}). The store itself is not affected."
                raise Refused(text, code="no_room_for_copy")
            raise Refused(f"pg_dump could not copy {database.place}: {said}", code="no_copy")
        conn.execute(b"COMMIT")
    return target.stat().st_size, holds


# -- look -----------------------------------------------------------------------------------------
def _read(copy: Path, *words: str) -> str:
    done = subprocess.run([program("pg_restore"), *words, str(copy)], capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = _line(done.stderr.decode("utf-8", "replace"), [])
        raise Refused(
            f"{copy} is damaged, or of a newer PostgreSQL than is installed here.", code="damaged", detail=said
        )
    return done.stdout.decode("utf-8", "replace")


def contents(copy: Path) -> set[str]:
    """The tables of which a copy has rows or may have. Raises Refused when it is none."""
    if not copy.is_file():
        raise Refused(f"There is no file {copy}.", code="no_copy")
    with copy.open("rb") as file:
        head = file.read(len(FILE_HEAD))
    if head == FILE_HEAD:
        raise Refused(
            f"{copy} is the copy of a store in a file: put it back with [store] path, then bring that file over by"
            " `vmbridge store copy`.",
            code="of_a_file",
        )
    if not head.startswith(DUMP):
        raise Refused(f"{copy} is not a store of vmbridge.", code="not_a_store")
    return set(DATA.findall(_read(copy, "--list")))


def _lines(copy: Path, table: str) -> tuple[str, str]:
    """(columns, rows) of a table, as COPY writes them."""
    script = _read(copy, "--data-only", f"--table={table}", "--file=-")
    match = COPY.search(script)
    if match is None:
        return "", ""
    rows, end, _ = script[match.end() :].partition("\\.\n")
    if not end:
        raise Refused(f"{copy} is damaged.", code="damaged", detail=f"table {table} breaks off")
    return match[1], rows


def _seen(copy: Path) -> list[str]:
    """The migrations that it has seen."""
    columns, rows = _lines(copy, "migrations")
    names = [c.strip() for c in columns.strip("()").split(",")]
    cells = [line.split("\t") for line in rows.splitlines()]
    ordered = sorted(cells, key=lambda row: int(row[names.index("number")]))
    return [row[names.index("name")] for row in ordered]


# -- put back -------------------------------------------------------------------------------------
def put_back(
    database: Whole,
    copy: Path,
    key: str,
    ranges: Ranges,
    now: float,
    stamp: str,
    skip: int | None,
    without_key: bool,
) -> Restored:
    """As archive.put_back; the replaced tables stand in a schema whose name `stamp` ends. Raises Refused, and has then
    changed nothing."""
    has = contents(copy)
    held = _seen(copy) if "migrations" in has else []
    restored.may_be_put_back(str(copy), held, True)
    ours = {t.name for t in sides.tables(held[-1])} | {"migrations"}
    if has != ours:
        wrong = ", ".join(sorted(has ^ ours))
        raise Refused(f"{copy} is not a whole store of vmbridge.", code="not_a_store", detail=wrong)
    with database.alone(), told(), psycopg.connect(**database.parameters()) as conn:
        tables.adapted(conn)
        schema = str((conn.execute(b"SELECT current_schema()::text").fetchone() or ("public",))[0])
        aside = f"{schema}_{stamp.replace('-', '_')}"
        conn.execute(b"SET idle_in_transaction_session_timeout = 0")
        with conn.transaction():
            old, fresh = SchemaSide(conn, aside), SchemaSide(conn, schema)
            if conn.execute(b"SELECT 1 FROM pg_namespace WHERE nspname = $1", (aside,)).fetchone():
                raise Refused(f"The schema {aside} exists already; try again in a second.", code="exists")
            moved = tables.move(conn, schema, aside)
            tables.look_into(conn, schema)
            for name in held:
                tables.apply(conn, name, filled=False)
            for table in sides.tables(held[-1]):
                _fill(conn, copy, table.name)
            tables.count_on(conn)
            restored.may_be_put_back(str(copy), held, without_key or restored.fits(fresh, key))
            done = Restored(restored.holdings(fresh))
            for name in tables.missing(held):
                tables.apply(conn, name)
            done.replaced_readable = bool(moved)
            done.skipped = skip if skip is not None else 0 if moved else 1000
            restored.prepare(fresh, old if moved else None, done, key, ranges, now, without_key)
            done.moved_to = f"the schema {aside} of {database.place}" if moved else ""
        return done


def _fill(conn: psycopg.Connection[Any], copy: Path, table: str) -> None:
    columns, rows = _lines(copy, table)
    if not columns:
        return
    try:
        with conn.cursor().copy(f"COPY {table} {columns} FROM STDIN".encode()) as into:
            into.write(rows)
    except psycopg.DataError as e:
        raise Refused(f"{copy} is damaged.", code="damaged", detail=f"table {table}: {_line(str(e), [])}") from None
