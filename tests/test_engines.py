"""What the store promises of a change, on both engines; and what only PostgreSQL can do to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import Refused, StoreUnavailable
from bridge.store import Store
from bridge.store.faults import hurry
from bridge.store.schema import migrations
from tests import postgres, stores
from tests.configs import KEY
from tests.held import HeldClock

ON_POSTGRESQL = pytest.mark.parametrize("engine", [stores.POSTGRESQL], indirect=True)
AN_EPOCH = 1_795_730_001.123456


@pytest.fixture
def store(engine: str, tmp_path: Path) -> Iterator[Store]:
    made = stores.opened(tmp_path / "s.db", HeldClock())
    yield made
    made.close()


def fact(store: Store, name: str = "x") -> str | None:
    return next(iter(store.column("SELECT value FROM facts WHERE name = ?", name)), None)


def add(store: Store) -> None:
    """Reads first and trusts that nobody else writes meanwhile, as many changes do."""
    with store.write():
        count = int(fact(store) or 0)
        store.change(
            "INSERT INTO facts (name, value) VALUES ('x', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            str(count + 1),
        )


def test_who_reads_first_in_a_change_may_trust_what_it_read(store: Store, tmp_path: Path) -> None:
    """Two writers, each with connections of its own, at the same row."""
    others = [stores.opened(tmp_path / "s.db", HeldClock()) for _ in range(2)]
    threads = [threading.Thread(target=lambda s=s: [add(s) for _ in range(20)]) for s in (*others, others[0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fact(store) == "60"
    for other in others:
        other.close()


def test_a_change_is_all_or_nothing_and_nobody_sees_half_of_it(store: Store, tmp_path: Path) -> None:
    other = stores.opened(tmp_path / "s.db", HeldClock())
    with pytest.raises(KeyError), store.write():
        add(store)
        assert fact(store) == "1"
        assert fact(other) is None
        raise KeyError("x")
    assert fact(store) is None
    add(store)
    assert fact(other) == "1"
    other.close()


def test_a_change_waits_for_its_turn_no_longer_than_it_has_patience(store: Store, tmp_path: Path) -> None:
    other = stores.opened(tmp_path / "s.db", HeldClock())
    other.patience = 0.05
    with store.write():
        add(store)
        with pytest.raises(StoreUnavailable):
            add(other)
        other.patience = 600.0
        with pytest.raises(StoreUnavailable), hurry():
            add(other)
        other.note("UPDATE facts SET value = '7' WHERE name = 'x'")
    assert fact(other) == "1"
    add(other)
    assert fact(store) == "2"
    other.close()


def test_values_come_back_as_they_were(store: Store) -> None:
    with store.write() as db:
        db.conn.execute("INSERT INTO budgets (account, tokens, at) VALUES (?, ?, ?)", ("it's ? é", True, AN_EPOCH))
        db.conn.executemany("INSERT INTO told (whmcs, event, at) VALUES (?, ?, ?)", [("m", w, 0) for w in "bA_a1"])
        assert db.conn.execute("UPDATE told SET at = 1 WHERE event <> ?", ("A",)).rowcount == 4
    assert store.row("SELECT account, tokens, at FROM budgets WHERE at = ?", AN_EPOCH) == {
        "account": "it's ? é",
        "tokens": 1.0,
        "at": AN_EPOCH,
    }
    assert store.column("SELECT event FROM told ORDER BY event") == ["1", "A", "_", "a", "b"]
    assert store.tuples(
        "SELECT sum(at), count(*), count(*) FILTER (WHERE at = ?2 AND '?' <> ?1) FROM told", "x", 1
    ) == [(4.0, 5, 4)]
    store.change("INSERT INTO vm_ids (server, next) VALUES ('a', ?), ('b', ?)", 2**61, 5)
    total = store.column("SELECT sum(next) FROM vm_ids")[0]
    assert type(total) is int
    assert total == 2**61 + 5


def test_a_store_of_a_newer_release_or_another_key_is_refused(store: Store) -> None:
    assert store.migrate() == store.pending_migrations() == store.newer_migrations() == []
    other = Store(store.path, KEY[::-1].replace("=", "") + "=", HeldClock())
    with pytest.raises(Refused, match="secret_key is not the key"):
        other.migrate()
    other.close()
    if isinstance(store.database, stores.SQLite):
        store.change("INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('vmbridge', 'x', '')")
    else:
        store.change("INSERT INTO migrations (name) VALUES ('x')")
    store.change("UPDATE facts SET value = 'x' WHERE name = 'works_with'")
    with pytest.raises(Refused, match="newer release"):
        store.migrate()


def test_an_older_release_goes_on_beside_a_newer_one_where_that_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines are updated one after the other: what the newer one has added first does not stop the older."""
    added = type(migrations._migrations[0])("of_tomorrow", lambda db: db.execute("CREATE TABLE more (x INTEGER)"))
    for needed, goes_on in (("numbers", True), ("of_tomorrow", False)):
        with monkeypatch.context() as newer:
            newer.setattr(migrations, "_migrations", [*migrations._migrations, added])
            newer.setattr("bridge.store.schema.NEEDED", needed)
            store.note("DELETE FROM facts WHERE name = 'works_with'")
            store.migrate()
        assert store.newer_migrations() == ["of_tomorrow"]
        if goes_on:
            store.fit()
        else:
            with pytest.raises(Refused, match="newer release"):
                store.fit()


# -- of PostgreSQL alone ------------------------------------------------------------------------------
def cut(store: Store) -> None:
    """Every connection to the store's database ends at once, as when the server is restarted."""
    name = store.column("SELECT current_database()")[0]
    postgres.server().command(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


@ON_POSTGRESQL
def test_a_cut_connection_costs_one_change_and_no_read(store: Store) -> None:
    add(store)
    cut(store)
    assert fact(store) == "1"
    with pytest.raises(StoreUnavailable), store.write():
        add(store)
        cut(store)
        add(store)
    assert fact(store) == "1"
    with pytest.raises(StoreUnavailable), store.write():  # at its end
        add(store)
        cut(store)
    add(store)
    assert fact(store) == "2"


@ON_POSTGRESQL
def test_a_database_that_takes_no_changes_is_read(store: Store) -> None:
    add(store)
    name = store.column("SELECT current_database()")[0]
    postgres.server().command(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store.close()
    assert fact(store) == "1"
    assert not store.writable()
    with pytest.raises(StoreUnavailable):
        add(store)


@ON_POSTGRESQL
def test_a_server_that_is_not_there_is_told_without_its_password(engine: str, tmp_path: Path) -> None:
    store = Store(f"postgresql://me:hush@localhost/none?host={tmp_path}", KEY, HeldClock())
    store.patience = 0.2
    with pytest.raises(StoreUnavailable) as told:
        store.migrate()
    assert "hush" not in f"{told.value} {told.value.detail}"
    assert "hush" not in store.database.place
    store.close()
