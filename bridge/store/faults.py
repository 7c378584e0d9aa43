"""What SQLite's errors mean for whoever asked: wait and ask again, or the file is damaged. And who has no time to
wait."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from bridge.errors import StoreDamaged, StoreUnavailable

# primary result codes of sqlite.org/rescode.html
LATER = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_hurried: ContextVar[bool] = ContextVar("hurried", default=False)


def meaning(e: sqlite3.Error) -> Exception:
    """Our own error where the store as a whole is concerned; else the error itself."""
    code = (getattr(e, "sqlite_errorcode", None) or 0) & 0xFF
    if code in DAMAGED:
        return StoreDamaged(detail=str(e))
    return StoreUnavailable(detail=str(e)) if code in LATER else e


@contextmanager
def read() -> Iterator[None]:
    """Around a read: SQLite's errors as our own."""
    try:
        yield
    except sqlite3.DatabaseError as e:
        raise meaning(e) from e


@contextmanager
def hurry() -> Iterator[None]:
    """Who only looks does not wait for a place to write: what cannot be noted at once is not."""
    token = _hurried.set(True)
    try:
        yield
    finally:
        _hurried.reset(token)


def hurried() -> bool:
    return _hurried.get()
