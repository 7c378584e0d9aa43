"""What the store's queries give has the columns that their row types name: mypy checks the callers by these."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest

from bridge.store import Store
from tests.held import HeldClock
from tests.stores import opened
from tests.world import World

VALUES: dict[str, Any] = {"mark": "vmbridge x", "int": 1, "float": 1.0, "str": "x", "bool": True}
COLUMN = {"TEXT": str, "INTEGER": int, "REAL": float, "DOUBLE PRECISION": float}


def typed_reads() -> list[str]:
    """Every query of the store whose rows have a type."""
    functions = inspect.getmembers(Store, inspect.isfunction)
    return [n for n, f in functions if n != "row_as" and re.search(r"\.rows?_as\(", inspect.getsource(f))]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = opened(tmp_path / "s.db", HeldClock())
    yield made
    made.close()


def some_argument(name: str, parameter: inspect.Parameter) -> Any:
    if name in VALUES:
        return VALUES[name]
    return VALUES.get(str(parameter.annotation), ("x",))


@pytest.mark.parametrize("name", typed_reads())
def test_a_query_gives_the_columns_of_its_row_type(name: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[type] = []
    real = store.rows_as

    def rows_as(kind: type, sql: str, *args: Any) -> list[Any]:
        columns, _ = store._read(sql, args)
        assert sorted(columns) == sorted(get_type_hints(kind)), kind
        asked.append(kind)
        return real(kind, sql, *args)

    monkeypatch.setattr(store, "rows_as", rows_as)
    monkeypatch.setattr(store, "tuples", lambda *_: [(1, "never read")])  # what else is read depends on it
    function = getattr(store, name)
    needed = {
        k: some_argument(k, p)
        for k, p in inspect.signature(function).parameters.items()
        if p.default is inspect.Parameter.empty
    }
    with suppress(KeyError):  # there is no row
        function(**needed)
    assert asked, "no typed query was asked"


def row_types() -> list[type]:
    import sys

    modules = [m for n, m in sys.modules.items() if n.startswith("bridge.store.")]
    types = {k for m in modules for k in vars(m).values() if isinstance(k, type) and hasattr(k, "__total__")}
    return sorted(types, key=lambda k: k.__name__)


def test_a_row_of_a_whole_table_has_its_columns_types(store: Store) -> None:
    """A number is a number, and what may be NULL may be None."""
    checked = []
    for kind in row_types():
        hints = get_type_hints(kind)
        for table in store.column("SELECT name FROM sqlite_master WHERE type = 'table'"):
            columns = store.rows(f"PRAGMA table_info({table})")
            if {c["name"] for c in columns} != hints.keys():
                continue
            checked.append(table)
            for column in columns:
                hint = hints[column["name"]]
                words = get_args(hint) or (hint,)
                if not {str, int, float} & set(words):
                    continue  # JSON that is read before it is given
                assert COLUMN[column["type"]] in words, (kind, column["name"])
                assert (NoneType in words) == (not column["notnull"] and not column["pk"]), (kind, column["name"])
    assert {"snapshots", "backups", "vm_status", "server_health", "dns_records", "outbox", "steps"} <= {*checked}


def test_a_page_asks_the_same_thing_once_and_anew_after_a_change(world: World) -> None:
    world.order("create")
    store, asked = world.store, list[str]()
    read = store.database.read
    store.database.read = lambda sql, args: (asked.append(sql), read(sql, args))[1]
    with store.each_once():
        first = store.service(1)
        assert store.service(1).uuids == first.uuids
        assert len(asked) == 1
        store.update_service(1, hostname="another.example.com")
        assert store.service(1).hostname == "another.example.com" != first.hostname
        with store.write():
            store.update_service(1, hostname="third.example.com")
            assert store.service(1).hostname == "third.example.com"
        assert store.service(1).hostname == "third.example.com"
    store.service(1)
    before = len(asked)
    store.service(1)
    assert len(asked) == before + 1
