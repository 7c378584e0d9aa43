"""A whole store, moved from one engine or place to another: every table of the release, counted and compared.

Both are used by nobody else meanwhile. The target is either filled whole or as empty as before: it becomes visible by
one COMMIT or one rename."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from bridge.errors import Refused
from bridge.store.database import Database
from bridge.store.schema import KEY_FACT, NEEDED_FACT
from bridge.store.sides import Table, tables

Row = tuple[Any, ...]
OF_ITSELF = ("facts",)  # where a migrated store without anything in it has rows: its key's, its release's
MOVED = "moved_to"  # the fact of a store that was copied: where it is worked with since


class Filling(Protocol):
    """A target that is being filled."""

    def put(self, table: Table, rows: Iterable[Row]) -> None: ...

    def rows(self, table: Table) -> Iterator[Row]: ...


class Place(Database, Protocol):
    """A database as a source or a target of copies."""

    def there(self) -> bool:
        """Whether there is anything yet that could be looked at."""
        ...

    def reading(self) -> AbstractContextManager[Callable[[Table], Iterator[Row]]]:
        """Its rows by table, all as of one moment."""
        ...

    def filling(self) -> AbstractContextManager[Filling]:
        """Its tables, made anew and empty; there for everybody once this has ended well, else not at all."""
        ...


def copy(source: Place, target: Place, told: Callable[[str], None] = lambda line: None) -> dict[str, int]:
    """{table: rows}. Raises Refused when one of them is in use, the source is not of this release, the target is not
    empty, or what was written is not what was read; the target is as it was then."""
    if source.place == target.place:
        raise Refused(f"{source.place} is both: name two places.", code="same_place")
    _empty(target)
    counts: dict[str, int] = {}
    with source.alone():
        _of_this_release(source)
        with source.reading() as read, target.filling() as filling:
            for table in tables():
                wanted = _Sum(read(table))
                filling.put(table, wanted)
                there = _Sum(filling.rows(table))
                for _ in there:
                    pass
                if wanted.told() != there.told():
                    text = f"{table.name}: {wanted.count} rows were read, {there.count} stand there, or differ"
                    raise Refused(f"{text}. {target.place} is as it was.", code="differs")
                counts[table.name] = wanted.count
                told(f"{table.name}: {wanted.count}")
    return counts


def _of_this_release(source: Place) -> None:
    applied, pending = source.applied(), source.pending()
    if not applied or pending:
        raise Refused(f"{source.place} is not of this release: run `vmbridge migrate` there first.", code="migrate")
    missing = {t.name: t.columns for t in tables()}
    if {name: sorted(columns) for name, columns in source.tables().items()} != {
        name: sorted(columns) for name, columns in missing.items()
    }:
        raise Refused(f"{source.place} has other tables than this release makes.", code="other_tables")


def _empty(target: Place) -> None:
    """A store that was migrated and has nothing in it yet counts as empty."""
    if not target.there():
        return
    for name in target.tables():
        where = f" WHERE name NOT IN ('{KEY_FACT}', '{NEEDED_FACT}')" if name in OF_ITSELF else ""
        if target.read(f"SELECT 1 FROM {name}{where} LIMIT 1", ())[1]:
            raise Refused(f"{target.place} is not empty ({name}); it is left as it is.", code="not_empty")
    target.close()


class _Sum:
    """Rows as they pass by, counted and summed up whatever their order."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows, self.count, self._sum = rows, 0, 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            self._sum += int.from_bytes(hashlib.sha256(repr([_plain(v) for v in row]).encode()).digest())
            yield row

    def told(self) -> tuple[int, int]:
        return self.count, self._sum


def _plain(value: Any) -> Any:
    """The same of both engines: a whole number may be kept as a fraction."""
    return int(value) if isinstance(value, (bool, float)) and value == value // 1 else value
