"""Backups of a store on PostgreSQL: real files of pg_dump, taken while it is used, and put back whole or not at all.
What a restore holds back stands in test_restored."""

from __future__ import annotations

import resource
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet
from sqlite_utils import Database as Utils

from bridge import cli
from bridge.errors import Refused
from bridge.store import Store, archive
from bridge.store.postgres import dump
from bridge.store.schema import migrations
from tests import postgres, stores
from tests.configs import KEY, REST
from tests.held import HeldClock

pytestmark = pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store(postgres.server().database(), KEY, HeldClock())
    yield made
    made.close()


def put_back(store: Store, copy: Path, without_key: bool = False, stamp: str = "aside") -> str:
    store.close()
    return store.database.put_back(copy, KEY, {}, 0.0, stamp, None, without_key).moved_to


def test_a_dump_is_private_whole_and_of_one_moment(store: Store, tmp_path: Path) -> None:
    done, counts = threading.Event(), []

    def write() -> None:
        n = 0
        while not done.is_set():
            with store.write():  # each pair belongs together
                store.use_nonce("a", f"{n}")
                store.use_nonce("b", f"{n}")
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(3):
            copy = tmp_path / f"copy{i}"
            size, held = store.database.take(copy, False)
            assert size == copy.stat().st_size
            assert held.services == {}
            counts.append(dump._lines(copy, "nonces")[1])
    finally:
        done.set()
        writer.join()
    for rows in counts:
        keys = [line.split("\t")[0] for line in rows.splitlines()]
        assert keys.count("a") == keys.count("b")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert KEY.encode() not in copy.read_bytes()
    assert not [p for p in tmp_path.iterdir() if "part" in p.name]
    with pytest.raises(Refused, match="exists already"):
        store.database.take(copy, False)
    store.database.take(copy, True)


def test_it_is_refused_while_anybody_uses_it_and_names_who(store: Store, tmp_path: Path) -> None:
    store.database.take(tmp_path / "copy", False)
    with closing(Store(store.path, KEY, HeldClock())) as user:
        user.worker_lives()
        with pytest.raises(Refused, match=r"in use.*machine:process .*:\d+") as told:
            put_back(store, tmp_path / "copy")
        assert told.value.code == "store_in_use"
    with (
        store.database.alone(),
        closing(Store(store.path, KEY, HeldClock())) as user,
        pytest.raises(Refused, match="being restored"),
    ):
        user.worker_lives()
    assert put_back(store, tmp_path / "copy").startswith("the schema public_aside of ")


def cut_short(copy: Path, store: Store) -> None:
    copy.write_bytes(copy.read_bytes()[:-2000])


def rubbish(copy: Path, store: Store) -> None:
    copy.write_text("no dump at all")


def of_a_file(copy: Path, store: Store) -> None:
    copy.unlink()
    file = stores.opened(copy.parent / "file.db", HeldClock())
    file.database.take(copy, False)
    file.close()


def of_another_program(copy: Path, store: Store) -> None:
    copy.unlink()
    postgres.server().command("DROP DATABASE IF EXISTS strange")
    postgres.server().command("CREATE DATABASE strange")
    made = ["-c", "CREATE TABLE services (id int)"]
    url = postgres.server().url("strange")
    subprocess.run([dump.program("psql"), "-q", url, *made], check=True)
    subprocess.run([dump.program("pg_dump"), "-Fc", "-f", str(copy), url], check=True)


def newer(copy: Path, store: Store) -> None:
    store.change("INSERT INTO migrations (name) VALUES ('of_tomorrow')")
    store.database.take(copy, True)
    store.change("DELETE FROM migrations WHERE name = 'of_tomorrow'")


def other_key(copy: Path, store: Store) -> None:
    had = store.column("SELECT value FROM facts WHERE name = 'key_check'")[0]
    other = Fernet(Fernet.generate_key()).encrypt(b"vmbridge").decode()
    store.change("UPDATE facts SET value = ? WHERE name = 'key_check'", other)
    store.database.take(copy, True)
    store.change("UPDATE facts SET value = ? WHERE name = 'key_check'", had)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (cut_short, "damaged"),
        (rubbish, "not_a_store"),
        (of_a_file, "of_a_file"),
        (of_another_program, "not_a_store"),
        (newer, "newer"),
        (other_key, "wrong_key"),
        (lambda copy, store: copy.unlink(), "no_copy"),
    ],
)
def test_what_must_not_be_put_back_changes_nothing(
    store: Store, tmp_path: Path, spoil: Callable[[Path, Store], None], code: str
) -> None:
    copy = tmp_path / "copy"
    store.database.take(copy, False)
    spoil(copy, store)
    store.change("INSERT INTO vm_ids (server, next) VALUES ('pve1', 20007)")
    with pytest.raises(Refused) as told:
        put_back(store, copy)
    assert told.value.code == code
    assert store.column("SELECT next FROM vm_ids") == [20007]
    schemas = store.column("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'public%'")
    assert schemas == ["public"]
    if code == "wrong_key":
        assert put_back(store, copy, without_key=True)
        assert store.key_fits()


def test_a_dump_of_an_earlier_release_is_brought_to_this_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it lacks is made when it is put back, and its rows are taken along."""
    store.change("INSERT INTO told (whmcs, event, at) VALUES ('main', 'x', 1)")
    store.database.take(tmp_path / "copy", False)

    def later(db: Utils) -> None:
        db.execute("CREATE TABLE of_tomorrow (id INTEGER PRIMARY KEY, event TEXT NOT NULL)")
        db.execute("INSERT INTO of_tomorrow (event) SELECT event FROM told")

    more = [*migrations._migrations, type(migrations._migrations[0])("of_tomorrow", later)]
    monkeypatch.setattr(migrations, "_migrations", more)
    put_back(store, tmp_path / "copy")
    assert store.pending_migrations() == []
    assert store.column("SELECT event FROM of_tomorrow") == ["x"]


def test_a_file_of_a_database_is_not_taken_for_one_of_a_file(store: Store, tmp_path: Path) -> None:
    store.database.take(tmp_path / "copy", False)
    file = stores.opened(tmp_path / "file.db", HeldClock())
    file.close()
    with pytest.raises(Refused, match="is a dump of PostgreSQL"):
        archive.put_back(tmp_path / "copy", file.path, KEY, {}, 0, "aside")


def test_a_dump_that_cannot_be_written_says_so_of_the_dump(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"cannot be written: No such file or directory"):
        store.database.take(tmp_path / "none/copy", False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(Refused):
            store.database.take(tmp_path / "copy", False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_its_program_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(Refused, match="Debian has it in postgresql-client"):
        dump.program("pg_dump")


def test_a_password_reaches_the_program_in_memory_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its role has one, and the server asks for it."""
    postgres.server().command(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'locked') THEN"
        " CREATE ROLE locked LOGIN PASSWORD 'hush:h\\ush'; END IF; ALTER ROLE locked PASSWORD 'hush:h\\ush'; END $$"
    )
    url = postgres.server().database()
    postgres.server().command(f"ALTER DATABASE {url.partition('?')[0].rpartition('/')[2]} OWNER TO locked")
    with closing(Store(url, KEY, HeldClock())) as owner, owner.write() as db:
        db.conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO locked")
        db.conn.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO locked")
    ran: list[tuple[list[str], dict[str, str]]] = []
    real = subprocess.run

    def run(command: list[str], **more: object) -> object:
        ran.append((command, more.get("env", {})))
        return real(command, **more)

    monkeypatch.setattr(subprocess, "run", run)
    config = tmp_path / "config.toml"
    lines = (f'url = "{url.replace("vmbridge@", "locked@")}"', "password = 'hush:h\\ush'", f'secret_key = "{KEY}"')
    config.write_text("[store]\n" + "\n".join(lines) + REST)
    done = CliRunner().invoke(cli.main, ["backup", str(tmp_path / "copy"), "--config", str(config)])
    assert done.exit_code == 0, done.output
    assert "services: none" in done.output
    assert len(ran) == 1
    assert "ush" not in " ".join(ran[0][0])
    assert "h\\ush" not in " ".join(ran[0][1].values())
