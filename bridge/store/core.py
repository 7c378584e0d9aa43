"""What the query classes of each noun stand on. No queries here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from cryptography.fernet import Fernet, InvalidToken

from bridge.clock import Clock
from bridge.model import Webhook
from bridge.store.database import Writing

Row = dict[str, Any]  # of a query that is read where it stands; what others read has a class with its columns
Kind = TypeVar("Kind")
Value = TypeVar("Value")
TRUE = "('1', 'true')"  # what `->>` says of JSON's true: SQLite the number 1, PostgreSQL the word
MANY = 5000  # values that one statement names; SQLite takes 32766 (sqlite.org/limits.html), PostgreSQL 65535


def marks(values: Sized) -> str:
    """A placeholder for each, for `IN (...)`. Not of none: `IN ()` is no SQL."""
    return ", ".join("?" * len(values))


def bunches(values: Iterable[Value]) -> Iterator[tuple[Value, ...]]:
    """What one statement after the other names; nothing of none."""
    every = tuple(values)
    for at in range(0, len(every), MANY):
        yield every[at : at + MANY]


class Core:
    """Promises of Store, and sealing of secrets (Fernet)."""

    clock: Clock
    webhooks: tuple[Webhook, ...] = ()  # who is told what happens
    _fernet: Fernet

    def write(self) -> AbstractContextManager[Writing]:
        raise NotImplementedError

    def after(self, told: Callable[[], None]) -> None:
        """Call it once the change that is under way stands in the store; not at all when it does not come to that."""
        raise NotImplementedError

    def rows(self, sql: str, *args: Any) -> list[Row]:
        raise NotImplementedError

    def row(self, sql: str, *args: Any) -> Row | None:
        raise NotImplementedError

    def rows_as(self, kind: type[Kind], sql: str, *args: Any) -> list[Kind]:
        """Rows by the TypedDict that names the columns of the query, each of them and no other."""
        return cast(list[Kind], self.rows(sql, *args))

    def row_as(self, kind: type[Kind], sql: str, *args: Any) -> Kind | None:
        rows = self.rows_as(kind, sql, *args)
        return rows[0] if rows else None

    def column(self, sql: str, *args: Any) -> list[Any]:
        """The first value of each row."""
        raise NotImplementedError

    def tuples(self, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows as the engine gives them, without names."""
        raise NotImplementedError

    def change(self, sql: str, *args: Any) -> int:
        raise NotImplementedError

    def insert(self, sql: str, *args: Any) -> int:
        raise NotImplementedError

    def note(self, sql: str, *args: Any) -> None:
        raise NotImplementedError

    def seal_with(self, key: str) -> None:
        self._fernet = Fernet(key)

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def unseal(self, text: str) -> str:
        """The clear text; empty when it was sealed with another key."""
        try:
            return self._fernet.decrypt(text.encode()).decode()
        except InvalidToken:
            return ""
