"""A store on PostgreSQL: what goes wrong there, in words; what becomes of a change whose end nobody heard; the time
that all machines go by; and the configuration that leads there."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from bridge import cli
from bridge import config as config_module
from bridge.clock import Clock, SharedClock
from bridge.context import open_context
from bridge.errors import ConfigError, Refused, StoreDamaged, StoreUnavailable, StoreUnknown
from bridge.staff import doctor
from bridge.store import Store, opened
from bridge.store.postgres import Postgres
from bridge.store.postgres.faults import meaning
from tests import postgres
from tests.configs import KEY, REST, raw_config
from tests.cutter import AFTER, BEFORE, Cutter
from tests.held import HeldClock

pytestmark = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())
PASSWORD = "hush hush/4711"
WRITTEN = "hush%20hush%2F4711"


@pytest.fixture
def url() -> str:
    return postgres.server().database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    made = Store(url, KEY, HeldClock())
    yield made
    made.close()


def fact(store: Store) -> str | None:
    return next(iter(store.column("SELECT value FROM facts WHERE name = 'x'")), None)


def put(store: Store, value: str) -> None:
    store.change("INSERT INTO facts (name, value) VALUES ('x', ?) ON CONFLICT (name) DO UPDATE SET value = ?1", value)


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def said(url: str) -> str:
    """Why a store there cannot be opened, as its log would say it."""
    store = Store(url, KEY, HeldClock())
    store.patience = 5.0  # told at once all the same, but for what does not answer
    try:
        with pytest.raises((StoreUnavailable, Refused)) as told:
            store.migrate()
        return str(told.value)
    finally:
        store.close()


# -- a change whose end nobody heard ------------------------------------------------------------------
@pytest.mark.parametrize(("where", "stands"), [(BEFORE, "1"), (AFTER, "2")])
def test_a_commit_without_an_answer_is_looked_up(url: str, tmp_path: Path, where: str, stands: str) -> None:
    """The connection breaks in the middle of COMMIT: what was saved counts as saved, else nothing was changed."""
    with Cutter(postgres.server().folder, tmp_path) as way, closing(Store(way.url(name_of(url)), KEY, Clock())) as far:
        told: list[str] = []
        put(far, "1")
        way.arm(where)
        try:
            with far.write():
                put(far, "2")
                far.after(lambda: told.append("saved"))
            saved = True
        except StoreUnavailable as e:
            assert not isinstance(e, StoreUnknown)
            saved = False
        assert way.cuts == [where]
        assert fact(far) == stands
        assert saved == (stands == "2")
        assert told == (["saved"] if saved else [])


def test_a_change_of_which_nobody_can_say_is_not_told_as_undone(url: str, tmp_path: Path) -> None:
    """The database does not come back while the question waits."""
    way = Cutter(postgres.server().folder, tmp_path)
    with closing(Store(way.url(name_of(url)), KEY, Clock())) as far, way:
        far.patience = 0.3
        put(far, "1")
        with pytest.raises(StoreUnknown, match="may have been saved"), far.write():
            put(far, "2")
            way.arm(AFTER)
            way.__exit__()


def test_a_failed_statement_that_nobody_minded_saves_nothing(store: Store) -> None:
    with pytest.raises(StoreUnavailable), store.write() as db:
        put(store, "1")
        with pytest.raises(psycopg.Error):
            db.conn.execute("INSERT INTO facts (name, value) VALUES ('x', 'y')")
    assert fact(store) is None


def test_reads_do_not_wait_for_a_change(store: Store, url: str) -> None:
    """Nor for its lock; and what waits for a connection is told how many there are."""
    with closing(Store(url, KEY, HeldClock(), Postgres(url, connections=2))) as other:
        put(other, "1")
        with store.write():
            put(store, "2")
            assert fact(other) == "1"
        other.patience = 0.1
        taken, free = threading.Event(), threading.Event()

        def take() -> None:
            with other.database._connection(), other.database._connection():
                taken.set()
                free.wait()

        thread = threading.Thread(target=take)
        thread.start()
        taken.wait()
        with pytest.raises(StoreUnavailable, match=r"all 2 connections of this process are in use"):
            fact(other)
        free.set()
        thread.join()
        assert fact(other) == "2"


def test_who_hangs_in_a_change_does_not_hold_all_others_up(store: Store) -> None:
    assert store.column("SELECT current_setting('idle_in_transaction_session_timeout')") == ["15s"]


# -- what goes wrong, in words --------------------------------------------------------------------
def test_what_stands_against_a_connection_is_told_at_once(url: str) -> None:
    name = name_of(url)
    postgres.server().command(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'locked') THEN"
        f" CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE few LOGIN CONNECTION LIMIT 0; END IF; END $$"
    )
    for wrong, words in {
        url.replace("vmbridge@", "nobody@"): 'look at name and password.*role "nobody" does not exist',
        url.replace("vmbridge@", "locked:wrong-one@"): "look at name and password",
        url.replace(f"/{name}", "/not_there"): "createdb -E UTF8",
        url.replace("vmbridge@", "few@"): "raise its max_connections, or lower .store. connections",
        url.replace("localhost", "localhost:1"): "PostgreSQL does not answer",
        url.replace("vmbridge@", f"locked:{WRITTEN}@"): "lacks a right.*permission denied",
    }.items():
        text = said(wrong)
        assert re.search(words, text), text
        assert "hush" not in text
        assert "wrong-one" not in text


def test_a_database_that_does_not_fit_is_refused() -> None:
    postgres.server().command("DROP DATABASE IF EXISTS ascii")
    postgres.server().command("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0")
    assert "has the encoding SQL_ASCII; vmbridge needs UTF8" in said(postgres.server().url("ascii"))


def test_an_older_server_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.store.postgres.OLDEST", 99)
    assert "vmbridge needs 99 or newer" in said(url)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (psycopg.errors.DiskFull, StoreUnavailable, "the disk of PostgreSQL is full"),
        (psycopg.errors.AdminShutdown, StoreUnavailable, "starting or stopping"),
        (psycopg.errors.ReadOnlySqlTransaction, StoreUnavailable, "takes no changes: it is a standby"),
        (psycopg.errors.OutOfMemory, StoreUnavailable, "out of memory"),
        (psycopg.errors.LockNotAvailable, StoreUnavailable, "another change has not ended"),
        (psycopg.errors.IdleInTransactionSessionTimeout, StoreUnavailable, "nothing had been said for long"),
        (psycopg.errors.DataCorrupted, StoreDamaged, "damaged"),
        (psycopg.errors.InsufficientPrivilege, StoreDamaged, "lacks a right"),
        (psycopg.errors.UndefinedTable, StoreDamaged, "vmbridge migrate"),
    ],
)
def test_errors_are_told_in_words(error: type[psycopg.Error], kind: type[Exception], words: str) -> None:
    told = meaning(error("x"))
    assert type(told) is kind
    assert words in str(told)


def test_a_wrong_value_is_its_callers_fault_not_the_stores() -> None:
    assert isinstance(meaning(psycopg.errors.UniqueViolation("x")), psycopg.errors.UniqueViolation)


# -- one time for all machines --------------------------------------------------------------------
def test_times_are_the_databases(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is five minutes wrong does its work at the right time, and `check` tells it."""
    config = config_module.from_dict(raw_config(store={"url": url, "secret_key": KEY}), str(tmp_path / "config.toml"))
    right = open_context(config)
    with closing(right.store):
        right.store.worker_lives()
        assert not [f for f in doctor.check(right) if f.subject == "clock" and f.level != "ok"]
        here = Clock.now
        monkeypatch.setattr(Clock, "now", lambda self: here(self) + 300)
        wrong = open_context(config)
        with closing(wrong.store):
            wrong.store.worker_lives()
            assert abs(wrong.clock.now() - here(wrong.clock)) < 60
            findings = [f for f in doctor.check(wrong) if f.subject == "clock"]
            assert findings[0].level == "warning"
            assert "300 s ahead" in findings[0].text


def test_a_shared_clock_goes_on_by_itself_and_follows() -> None:
    clock = SharedClock()
    assert abs(clock.now() - Clock().now()) < 5
    clock.follow(1000.0)
    assert 1000.0 <= clock.now() < 1060.0
    assert clock.ahead > 1_000_000


# -- the configuration ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("store", "where", "words"),
    [
        ({"path": "a.db", "url": "postgresql://h/d"}, "store.url", "without path"),
        ({"url": "mysql://h/d"}, "store.url", "Must be postgresql://"),
        ({"url": "postgres://h/d"}, "store.url", "Must begin with postgresql://"),
        ({"url": f"postgresql://u:{PASSWORD}@h/d"}, "store.url", "%XX"),
        ({"url": "postgresql://u:a%zz@h/d"}, "store.url", "%XX"),
        ({"url": "postgresql://u@h/"}, "store.url", "/DATABASE"),
        ({"url": "postgresql://u@h:99999/d"}, "store.url", "port 1 to 65535"),
        ({"url": "postgresql://u@h/d?sslmode=perhaps"}, "store.url", "one of disable"),
        ({"url": "postgresql://u@h/d?password=hush-4711"}, "store.url", "[store] password"),
        ({"url": "postgresql://u@h/d?sslmod=require"}, "store.url", "unknown setting 'sslmod'"),
        ({"url": ""}, "store.url", "Must be postgresql://"),
        ({"path": ""}, "store.path", ""),
        ({"password": "hush-4711"}, "store.password", "only with url"),
        ({"connections": 4}, "store.connections", "only with url"),
        ({"url": "postgresql://h/d", "connections": 1}, "store.connections", "2"),
    ],
)
def test_a_store_is_a_file_or_a_database(store: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        config_module.from_dict(raw_config(store={"secret_key": KEY, **store}))
    (fault,) = [f for f in told.value.faults if f[0] == where]
    assert words in fault[2]
    assert "hush" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///d?host=/run/postgresql",
        "postgresql://u:a%40b@10.0.0.1:5432,db2.example.com:5433/d?target_session_attrs=read-write&sslmode=verify-full",
        "postgresql://u@[2001:db8::1]:5432/d",
        "postgresql://%2Frun%2Fpostgresql/d",
    ],
)
def test_addresses_as_operators_have_them(url: str) -> None:
    config = config_module.from_dict(raw_config(store={"secret_key": KEY, "url": url}))
    assert config.store["url"] == url
    assert config.store["path"] == ""
    if "a%40b" in url:
        assert {"a%40b", "a@b"} <= set(config.secrets())
        assert opened(url).place == ("postgresql://10.0.0.1:5432,db2.example.com:5433/d")


def test_nothing_is_said_of_a_password(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in what a command prints nor in what its exception would show; the password has a key of its own too."""
    monkeypatch.setenv("PGPASSWORD", "also-hush-1")
    lines = [f"{k} = {json.dumps(v)}" for k, v in {"url": url, "password": PASSWORD, "secret_key": KEY}.items()]
    raw = raw_config(store={"url": url, "password": PASSWORD, "secret_key": KEY})
    assert {PASSWORD, "also-hush-1"} <= set(config_module.from_dict(raw).secrets())
    file = tmp_path / "config.toml"
    file.write_text("[store]\n" + "\n".join(lines) + REST)
    for broken in ("", "/not_there"):
        text = file.read_text().replace(f"/{name_of(url)}", broken) if broken else file.read_text()
        file.write_text(text)
        for command in (["migrate"], ["check"], ["events", "list"], ["serve"] if broken else ["audit"]):
            done = CliRunner().invoke(cli.main, [*command, "--config", str(file)])
            assert "hush" not in done.output
            assert done.exit_code in ((1, 2) if broken else (0, 1)), done.output


def test_serve_does_not_begin_an_empty_database_by_itself(tmp_path: Path) -> None:
    """Nothing would tell a database that was made anew from a first start, and VM ids would count from the start."""
    postgres.server().command("DROP DATABASE IF EXISTS empty")
    postgres.server().command("CREATE DATABASE empty")
    file = tmp_path / "config.toml"
    file.write_text(f'[store]\nurl = "{postgres.server().url("empty")}"\nsecret_key = "{KEY}"\n' + REST)
    done = CliRunner().invoke(cli.main, ["serve", "--config", str(file)])
    assert done.exit_code == 1
    assert "`vmbridge migrate` begins there, without any services" in done.output
