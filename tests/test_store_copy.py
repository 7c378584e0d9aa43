"""A store goes from a file to PostgreSQL and back: all of it or nothing, and nobody works with two."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet
from sqlite_utils import Database as Utils

from bridge import cli
from bridge.errors import Refused
from bridge.store import Store, copying, opened, sides
from bridge.store.schema import migrations
from tests import postgres, stores
from tests.configs import KEY, REST
from tests.held import HeldClock

pytestmark = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())
NEW = "20270101-000000"


def value(column: Any, number: int) -> Any:
    """One that tells a mixed-up column from the right one."""
    name, kind = column[1], column[2]
    if name in ("package", "build", "data", "uuids"):
        return json.dumps({name: f"ä {number}", "plan": "kvm-s"})
    if name in ("service", "operation") and kind == "INTEGER":
        return 1
    return {"INTEGER": number, "TEXT": f"{name} {number} é\n\t\\N'", "REAL": 1795730001.123456 + number}.get(
        kind, number + 0.5
    )


def filled(path: Path) -> Store:
    """A row in each table that there is, made from its columns."""
    store = stores.opened(path, HeldClock())
    store.close()
    with closing(sqlite3.connect(path)) as conn:
        for table in sides.tables():
            columns = conn.execute(f"PRAGMA table_info({table.name})").fetchall()
            row = [value(c, n) for n, c in enumerate(columns, 2)]
            if "operations" in table.above:  # a key of text
                row[table.columns.index("operation")] = conn.execute("SELECT id FROM operations").fetchone()[0]
            if table.name == "services":
                row[0] = 1
            marks = ", ".join("?" * len(row))
            conn.execute(f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({marks})", row)
        conn.commit()
    return Store(path, KEY, HeldClock())


def rows(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {t.name: store.rows(f"SELECT * FROM {t.name} ORDER BY {t.key[0]}") for t in sides.tables()}


@pytest.fixture
def url() -> str:
    server = postgres.server()
    server.made += 1
    server.command(f"CREATE DATABASE bare{server.made}")
    return server.url(f"bare{server.made}")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Store]:
    store = filled(tmp_path / "old.db")
    yield store
    store.close()


def copy(source: str, target: str, **more: Any) -> dict[str, int]:
    return copying.copy(opened(source), opened(target), **more)


def test_all_of_it_goes_there_and_back(file: Store, url: str, tmp_path: Path) -> None:
    """Each table by the columns that migrations gave it; none is named anywhere, so none can be forgotten."""
    before = rows(file)
    assert all(before.values())
    assert set(before) == set(file.database.tables())
    file.close()
    counts = copy(file.path, url)
    assert counts == {name: len(found) for name, found in before.items()}
    with closing(Store(url, KEY, HeldClock())) as there:
        there.fit()
        assert rows(there) == before
        assert not there.pending_migrations()
        number = there.column("SELECT max(id) FROM outbox")[0]
        assert (
            there.insert(
                "INSERT INTO outbox (dedupe, event, whmcs, payload, due_at, created_at) VALUES ('n', '', '', '', 0, 0)"
            )
            == number + 1
        )
        there.change("DELETE FROM outbox WHERE dedupe = 'n'")
    copy(url, str(tmp_path / "new.db"))
    with closing(Store(tmp_path / "new.db", KEY, HeldClock())) as back:
        assert rows(back) == before
        assert back.migrate() == []
        assert back.path.endswith("new.db")
    assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new.db.lock").exists()


def test_a_copy_that_is_interrupted_leaves_the_target_as_it_was(file: Store, url: str, tmp_path: Path) -> None:
    file.close()

    def stop(line: str) -> None:
        if "services" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(file.path, url, told=stop)
    with closing(Store(url, KEY, HeldClock())) as there:
        assert there.database.tables() == {}
    copy(file.path, url)
    with pytest.raises(KeyboardInterrupt):
        copy(url, str(tmp_path / "new.db"), told=stop)
    assert not [p for p in tmp_path.iterdir() if p.name in ("new.db", "new.db.copying")]


def test_what_is_written_otherwise_than_it_was_read_is_not_kept(
    file: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here by a target that keeps a row less."""
    file.close()
    target: Any = opened(url)
    monkeypatch.setattr("bridge.store.postgres.copies._stream", lambda conn, table: iter(()))
    with pytest.raises(Refused, match="1 rows were read, 0 stand there"):
        copying.copy(opened(file.path), target)
    assert target.tables() == {}
    target.close()


@pytest.mark.parametrize("wrong", ["a word in a number's place", "a character that PostgreSQL has not"])
def test_what_postgresql_cannot_hold_is_told(file: Store, url: str, wrong: str) -> None:
    file.change(
        "UPDATE audit SET service = 'x'" if wrong.startswith("a word") else "UPDATE audit SET who = 'a' || char(0)"
    )
    file.close()
    with pytest.raises(Refused, match="audit has a value that PostgreSQL does not take"):
        copy(file.path, url)
    with closing(Store(url, KEY, HeldClock())) as there:
        assert there.database.tables() == {}


def test_a_target_with_anything_in_it_is_left_alone(file: Store, tmp_path: Path) -> None:
    url = postgres.server().database()  # a migrated one has nothing in it yet
    file.close()
    copy(file.path, url)
    with pytest.raises(Refused, match="is not empty"):
        copy(file.path, url)
    other = stores.opened(tmp_path / "other.db", HeldClock())
    other.worker_lives()
    other.close()
    with pytest.raises(Refused, match="is not empty"):
        copy(url, other.path)
    with pytest.raises(Refused, match="is both"):
        copy(url, url)


def test_neither_may_be_in_use(file: Store, url: str, tmp_path: Path) -> None:
    file.hold()
    with pytest.raises(Refused, match="in use"):
        copy(file.path, url)
    file.close()
    with closing(Store(url, KEY, HeldClock())) as user:
        user.database.applied()
        with pytest.raises(Refused, match=r"in use.*machine:process"):
            copy(file.path, url)
    copy(file.path, url)
    with closing(Store(url, KEY, HeldClock())) as user:
        user.fit()
        with pytest.raises(Refused, match=r"in use.*machine:process"):
            copy(url, str(tmp_path / "new.db"))


def test_a_store_of_another_release_is_migrated_first(url: str, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as conn:
        migrations.apply(Utils(conn), stop_before="numbers")
    with pytest.raises(Refused, match="vmbridge migrate"):
        copy(str(old), url)


class House:
    """A configuration, and the commands on it."""

    def __init__(self, folder: Path, store: str) -> None:
        self.file = folder / "config.toml"
        self.file.write_text(f'[store]\n{store}\nsecret_key = "{KEY}"\n{REST}')

    def run(self, *command: str) -> Result:
        return CliRunner().invoke(cli.main, [*command, "--config", str(self.file)])


def test_the_command_moves_an_installation_and_nobody_works_with_both(file: Store, url: str, tmp_path: Path) -> None:
    file.close()
    with closing(sqlite3.connect(file.path)) as conn:  # what the configuration knows
        conn.execute("PRAGMA foreign_keys = OFF")
        conn.execute("DELETE FROM services")
        conn.execute("DELETE FROM addresses")
        conn.execute(
            "UPDATE facts SET value = ? WHERE name = 'key_check'", (Fernet(KEY).encrypt(b"vmbridge").decode(),)
        )
        for table in sides.tables():
            if table.above:
                conn.execute(f"DELETE FROM {table.name}")
        conn.commit()
    house = House(tmp_path, 'path = "old.db"')
    for wrong, words in (
        (url.replace("vmbridge@", "vmbridge:hush-1@"), "leave the password out"),
        ("mysql://x/y", "Must be postgresql://"),
    ):
        done = house.run("store", "copy", file.path, wrong)
        assert done.exit_code == 1
        assert words in done.output
        assert "hush" not in done.output
    done = house.run("store", "copy", file.path, url)
    assert done.exit_code == 0, done.output
    assert "counted and compared" in done.output
    left = house.run("events", "list")
    assert left.exit_code == 1
    assert "was copied to postgresql://localhost/bare" in left.output
    assert House(tmp_path, f'url = "{url}"').run("events", "list").exit_code == 0
    house = House(tmp_path, 'path = "old.db"')
    assert house.run("store", "reopen").exit_code == 0
    assert house.run("events", "list").exit_code == 0


def test_what_whmcs_does_not_take_is_listed(tmp_path: Path) -> None:
    house = House(tmp_path, 'path = "one.db"')
    assert house.run("migrate").exit_code == 0
    assert "WHMCS has taken all" in house.run("events", "list").output
    with closing(sqlite3.connect(tmp_path / "one.db")) as conn, conn:
        conn.execute(
            "INSERT INTO outbox (dedupe, event, whmcs, payload, due_at, created_at, error)"
            " VALUES ('a', 'password', 'main', '', 0, 1700000000, 'Authentication Failed')"
        )
    listed = house.run("events", "list").output
    assert "1 not taken by WHMCS 'main' since 2023-11-14 22:13:20 UTC" in listed
    assert "Authentication Failed" in listed
