"""What must not start, and what it says: names that services need, another release, another key, a damaged store."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.fernet import Fernet

from bridge import cli, worker
from bridge.errors import Refused
from bridge.store import Store, condition
from bridge.store.schema import migrations
from bridge.store.sqlite import SQLite
from tests.configs import KEY
from tests.world import World

OTHER_KEY = Fernet.generate_key().decode()
START = ("serve", "web", "worker", "console")
CONFIG = """
[store]
path = "vmbridge.db"
secret_key = "{key}"
[whmcs.{whmcs}]
system_url = "https://billing.example.com"
api_identifier = "id"
api_secret = "api-secret-0123456789"
keys = [{{ id = "main-1", secret = "shim-secret-0123456789" }}]
[servers.{server}]
driver = "proxmox"
endpoint = "https://pve.test:8006"
token_id = "vmbridge@pve!bridge"
token_secret = "sim-secret"
vm_ids = "20000-29999"
[plans.{plan}]
server = "{server}"
cores = 2
ram_mib = 2048
disk_gib = 20
storage = "local-lvm"
pools = ["{pool}"]
templates = ["debian-12"]
[pools.{pool}]
ranges = ["203.0.113.10-203.0.113.250"]
prefix = 24
gateway = "203.0.113.1"
"""
POOL_V6 = """
[pools.public-v6]
ranges = ["2001:db8:40::10-2001:db8:40::ff"]
prefix = 64
gateway = "2001:db8:40::1"
"""
FAR = """
[servers.far]
driver = "proxmox"
endpoint = "https://far.test:8006"
token_id = "vmbridge@pve!bridge"
token_secret = "sim-secret"
vm_ids = "40000-49999"
[plans.far]
server = "far"
cores = 2
ram_mib = 2048
disk_gib = 20
storage = "local-lvm"
templates = ["debian-12"]
pools = []
"""
SECOND = f"""{FAR}
[whmcs.second]
servers = ["far"]
system_url = "https://second.example.com"
api_identifier = "id"
api_secret = "api-secret-0123456789"
keys = [{{ id = "second-1", secret = "shim-secret-9876543210" }}]
"""
NAMES = {"whmcs": "main", "server": "pve1", "plan": "kvm-s", "pool": "public-v4"}


class House:
    """A folder with a store of one running service, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.file = folder, folder / "vmbridge.db", folder / "config.toml"
        world = World(folder)
        world.order("create")
        world.run()
        world.order("terminate", 1043, status="Pending")
        world.close()
        self.write()

    def write(self, key: str = KEY, **names: str) -> None:
        self.file.write_text(CONFIG.format(key=key, **{**NAMES, **names}))

    def run(self, *command: str) -> Result:
        return CliRunner().invoke(cli.main, [*command, "--config", str(self.file)])

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as conn:
            return conn.execute(sql).fetchall()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    def begun(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("it has started")

    for name in ("bridge.worker.run", "subprocess.Popen", "gunicorn.app.wsgiapp.WSGIApplication.run", "asyncio.run"):
        monkeypatch.setattr(name, begun)
    yield House(tmp_path)


def says(result: Result) -> str:
    assert result.exit_code in (1, 2), result
    assert result.exception is None or isinstance(result.exception, SystemExit), result
    assert "Traceback" not in result.output
    return result.output


# -- not begun ------------------------------------------------------------------------------------
def test_before_the_first_migrate_nothing_is_called_damaged_and_nothing_is_written(tmp_path: Path) -> None:
    house = House.__new__(House)
    house.folder, house.path, house.file = tmp_path, tmp_path / "vmbridge.db", tmp_path / "config.toml"
    house.write()
    for command in (["check"], ["operations", "list"], ["findings", "list"], ["audit"], ["events", "list"], ["web"]):
        said = says(house.run(*command))
        assert "there is no database yet" in said, command
        assert "vmbridge migrate" in said, command
    said = says(house.run("backup", str(tmp_path / "copy.db")))
    assert f"There is no store at {house.path}" in said
    assert not list(tmp_path.glob("copy*"))
    assert not Path(f"{house.path}.backups").exists()
    assert house.run("migrate").exit_code == 0


# -- names ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", list(NAMES))
def test_a_name_that_services_need_is_asked_for_and_can_be_changed(house: House, kind: str) -> None:
    """Nothing starts, `check` says it, `rename` puts it right, and every start goes on to its work."""
    old, new = NAMES[kind], "brand-new"
    house.write(**{kind: new})
    for command in START:
        assert f"vmbridge rename {kind} {old} NEW" in says(house.run(command))
    assert f"vmbridge rename {kind} {old} NEW" in says(house.run("check"))
    result = house.run("rename", kind, old, new)
    assert result.exit_code == 0, result.output
    assert "still to do" not in result.output, result.output
    assert isinstance(house.run("worker").exception, AssertionError)
    store = Store(house.path, KEY, threading.local())
    service = store.find_service(new if kind == "whmcs" else "main", 1042)
    assert service
    assert service.package.plan == (new if kind == "plan" else "kvm-s")
    assert service.server == service.package.server == (new if kind == "server" else "pve1")
    assert {a["pool"] for a in store.addresses_of(service.id)} == {new if kind == "pool" else "public-v4"}
    store.close()


@pytest.mark.parametrize(("kind", "column"), [("whmcs", "whmcs"), ("server", "server"), ("pool", "pool")])
def test_no_table_keeps_the_old_name(house: House, kind: str, column: str) -> None:
    with closing(SQLite(house.path)) as database:
        tables = [name for name, columns in database.tables().items() if column in columns]
    with closing(sqlite3.connect(house.path)) as conn:
        assert {"services"} <= set(tables) or kind == "pool"
        if kind == "server":
            assert {"vm_ids", "vm_status", "server_health", "sweeps", "findings", "offers"} <= set(tables)
            conn.execute("INSERT INTO offers VALUES ('pve1', '{}', 0)")
            conn.execute(
                "INSERT INTO server_health (server, ok) VALUES ('brand-new', 1)"
            )  # somebody has looked already
            conn.commit()
    house.write(**{kind: "brand-new"})
    assert house.run("rename", kind, NAMES[kind], "brand-new").exit_code == 0
    for table in tables:
        names = {r[0] for r in house.rows(f"SELECT {column} FROM {table}")}
        assert NAMES[kind] not in names, table
    dump = " ".join(str(r) for t in tables for r in house.rows(f"SELECT * FROM {t}"))
    assert f"'{NAMES[kind]}'" not in dump
    assert f'"{NAMES[kind]}"' not in dump


def test_rename_refuses_what_would_be_lost_or_mixed(house: House) -> None:
    before = house.rows("SELECT * FROM services")
    assert "still stands" in says(house.run("rename", "plan", "kvm-s", "kvm-s"))
    assert "found: public-v4" in says(house.run("rename", "pool", "public-v4", "no-such"))
    house.write(whmcs="second")
    assert "knows no whmcs 'nobody'" in says(house.run("rename", "whmcs", "nobody", "second"))
    with closing(sqlite3.connect(house.path)) as conn:
        conn.execute("INSERT INTO usage_told (whmcs, service_id, month) VALUES ('second', 0, '2026-01')")
        conn.commit()
    assert "two cannot become one" in says(house.run("rename", "whmcs", "main", "second"))
    user = Store(house.path, KEY, threading.local())
    user.hold()
    assert "in use" in says(house.run("rename", "whmcs", "main", "second"))
    user.close()
    assert house.rows("SELECT * FROM services") == before


@pytest.mark.parametrize(
    ("kind", "taken_out", "new", "more", "said"),
    [
        ("pool", "public-v4", "public-v6", POOL_V6, "no longer holds"),
        ("plan", "kvm-s", "far", FAR, "plans.far.server: is 'far', but services with 'kvm-s' are on 'pve1'"),
        ("whmcs", "main", "second", SECOND, "whmcs.second.servers: lacks 'pve1'"),
    ],
)
def test_rename_refuses_a_name_that_is_something_else(
    house: House, kind: str, taken_out: str, new: str, more: str, said: str
) -> None:
    """Two things that became one could not be told apart again: what stands against it is looked for before it is
    kept."""
    before = [house.rows(f"SELECT * FROM {t} ORDER BY 1, 2") for t in ("services", "addresses", "outbox")]
    house.write(**{kind: "brand-new"})
    own = house.file.read_text().replace("system_url", 'servers = ["pve1"]\nsystem_url')
    house.file.write_text(own + more)
    told = says(house.run("rename", kind, taken_out, new))
    assert said in told
    assert "Nothing was changed" in told
    assert before == [house.rows(f"SELECT * FROM {t} ORDER BY 1, 2") for t in ("services", "addresses", "outbox")]
    assert house.run("rename", kind, taken_out, "brand-new").exit_code == 0


def test_rename_leaves_a_store_of_another_key_alone(house: House) -> None:
    house.write(key=Fernet.generate_key().decode(), plan="brand-new")
    assert "is not the key" in says(house.run("rename", "plan", "kvm-s", "brand-new"))


def test_a_retired_plan_leaves_the_choice_and_keeps_its_services(tmp_path: Path) -> None:
    from bridge.orders import packages
    from bridge.staff.doctor import against_store
    from tests.configs import raw_config

    plans = raw_config()["plans"]
    world = World(tmp_path, plans={**plans, "kvm-m": plans["kvm-s"], "kvm-s": {**plans["kvm-s"], "retired": True}})
    assert list(packages.plans_of("pve1", world.config)) == ["kvm-m"]
    world.order("create")
    world.run()
    against_store(world.config, world.store)
    assert world.order("suspend").operation
    assert world.order("unsuspend").operation
    world.close()


# -- release and key --------------------------------------------------------------------------------
@pytest.mark.parametrize("command", [*START, "migrate", "findings list", "operations list"])
def test_an_older_release_does_not_start_on_a_newer_store(house: House, command: str) -> None:
    with closing(sqlite3.connect(house.path)) as conn:
        conn.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('vmbridge', 'ninetieth', '')"
        )
        conn.execute("UPDATE facts SET value = 'ninetieth' WHERE name = 'works_with'")
        conn.commit()
    said = says(house.run(*command.split()))
    assert "ninetieth" in said
    assert migrations._migrations[-1].name in said
    assert "newer release" in said
    assert "ninetieth" in says(house.run("check"))
    assert house.run("backup", str(house.folder / "copy.db")).exit_code == 0


@pytest.mark.parametrize("command", [*START, "migrate", "findings list"])
def test_a_wrong_key_does_not_start(house: House, command: str) -> None:
    house.write(key=OTHER_KEY)
    assert "[store] secret_key is not the key" in says(house.run(*command.split()))
    assert "secret_key" in says(house.run("check"))
    copy = house.folder / "copy.db"
    assert house.run("backup", str(copy)).exit_code == 0  # the way out when the key is lost
    assert "secret_key" in says(house.run("restore", str(copy)))
    assert house.run("restore", str(copy), "--without-key").exit_code == 0
    assert isinstance(house.run("worker").exception, AssertionError)


def test_a_gunicorn_of_its_own_does_not_start_either(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge.wsgi import application

    house.write(key=OTHER_KEY)
    monkeypatch.setenv("VMBRIDGE_CONFIG", str(house.file))
    with pytest.raises(Refused) as e:
        application()
    assert e.value.code == "wrong_key"


# -- a damaged store --------------------------------------------------------------------------------
def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:8192] = os.urandom(4096)  # the second page: a table's root
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut short": cut,
    "not a database": lambda p: p.write_bytes(b"<html>" * 1000),
    "noise": lambda p: p.write_bytes(os.urandom(100_000)),
    "emptied": lambda p: p.write_bytes(b""),
    "gone": lambda p: p.unlink(),
    "a page of noise": scribbled,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_ends_every_command_with_one_line(house: House, damage: str) -> None:
    elsewhere = house.folder / "copies"
    elsewhere.mkdir()
    for folder, name in ((house.folder, "older.db"), (elsewhere, "newer.db")):
        assert house.run("backup", str(folder / name)).exit_code == 0
        os.utime(folder / name, (1_700_000_000, 1_700_000_000) if name == "older.db" else None)
    (elsewhere / "newest-but-broken.db").write_bytes((elsewhere / "newer.db").read_bytes()[:9000])
    DAMAGES[damage](house.path)
    commands = ["serve", "check"]
    if damage != "a page of noise":  # which only shows where it is read
        commands += ["web", "worker", "console", "migrate", "findings list", "operations list", "events list"]
    for command in commands:
        said = says(house.run(*command.split()))
        assert said.count("\n") == 1, (command, said)
        assert "damaged" in said, said
        assert f"vmbridge restore {elsewhere / 'newer.db'} --config {house.file}" in said, said
        assert "last written 20" in said or damage == "gone"
    assert "restore" in says(house.run("backup", str(house.folder / "third.db")))
    assert not (house.folder / "third.db").exists()
    result = house.run("restore", str(elsewhere / "newer.db"))
    assert result.exit_code == 0, result.output
    assert isinstance(house.run("worker").exception, AssertionError)


def test_a_store_that_is_gone_is_not_begun_anew_but_a_first_one_is(house: House, tmp_path: Path) -> None:
    house.path.unlink()
    said = says(house.run("migrate"))
    assert "it is gone" in said
    assert f"remove {house.path}.lock" in said
    assert not house.path.exists()
    assert "No backup was found" in said
    Path(f"{house.path}.lock").unlink()
    assert house.run("migrate").exit_code == 0
    assert house.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("state", "words"),
    [("no folder", "does not exist"), ("denied", "may not be opened by user"), ("read-only", "read-only")],
)
def test_a_store_that_cannot_be_opened_says_why(
    house: House, monkeypatch: pytest.MonkeyPatch, state: str, words: str
) -> None:
    if state == "no folder":
        house.file.write_text(house.file.read_text().replace('"vmbridge.db"', '"none/vmbridge.db"'))
    else:
        denied = state == "denied"
        allowed, room = os.access, os.statvfs(house.folder)
        flags = os.statvfs_result((*room[:8], room.f_flag | (0 if denied else os.ST_RDONLY), room[9]))
        monkeypatch.setattr(
            "os.access", lambda p, mode: allowed(p, mode) and not (denied and str(p) == str(house.path))
        )
        monkeypatch.setattr("os.statvfs", lambda p: flags)
    for command in ("serve", "check", "worker", "findings list"):
        said = says(house.run(*command.split()))
        assert words in said, said
        assert said.count("\n") == 1, said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_does_leaves_the_store_to_its_owner(house: House) -> None:
    for file in house.folder.iterdir():
        os.chown(file, 12345, 12346)
    os.chown(house.folder, 12345, 12346)
    for end in (".use", ".lock"):
        Path(f"{house.path}{end}").unlink(missing_ok=True)
    house.path.chmod(0o640)
    copy = house.folder / "copy.db"
    assert house.run("backup", str(copy)).exit_code == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    assert house.run("restore", str(copy)).exit_code == 0
    assert house.path.stat().st_mode & 0o777 == 0o640
    assert house.run("findings", "list").exit_code == 0
    assert house.run("migrate").exit_code == 0
    mine = {
        f.name: (f.stat().st_uid, f.stat().st_gid) for f in house.folder.iterdir() if f.name.startswith(("vmb", "copy"))
    }
    assert set(mine.values()) == {(12345, 12346)}, mine
    for file in house.folder.glob("vmbridge.db*"):
        file.unlink()
    copy.unlink()
    assert house.run("migrate").exit_code == 0  # a first start
    assert {(f.stat().st_uid, f.stat().st_gid) for f in house.folder.glob("vmbridge.db*")} == {(12345, 12346)}


def test_a_worker_whose_store_breaks_ends_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    stop, faults = threading.Event(), []
    worker.live(world.context, stop, faults)
    assert not stop.is_set()
    assert world.store.worker_seen() == world.clock.time
    world.store.close()
    Path(world.path).write_bytes(b"rubbish" * 1000)
    for end in ("-wal", "-shm"):
        Path(f"{world.path}{end}").unlink(missing_ok=True)
    worker.live(world.context, stop, faults)
    assert stop.is_set()
    assert "vmbridge restore" in condition.told(str(world.path), faults[0], KEY, "config.toml")
    world.close()


def test_backups_that_another_key_made_are_not_named(house: House) -> None:
    assert house.run("backup", str(house.folder / "copy.db")).exit_code == 0
    assert condition.newest_backup(str(house.path), OTHER_KEY) is None
    assert condition.newest_backup(str(house.path), KEY)[0].name == "copy.db"
    assert json.loads(Path(f"{house.path}.backups").read_text()) == [str(house.folder / "copy.db")]


def test_a_store_that_was_moved_aside_is_named_only_without_a_backup(house: House) -> None:
    copy = house.folder / "copy.db"
    assert house.run("backup", str(copy)).exit_code == 0
    assert house.run("restore", str(copy)).exit_code == 0
    assert condition.newest_backup(str(house.path), KEY)[0] == copy
    copy.unlink()
    assert condition.newest_backup(str(house.path), KEY)[0].name.startswith("vmbridge.db.2")


def test_threads_that_come_and_go_leave_no_open_file(world: World) -> None:
    def open_files() -> int:
        every = (Path(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd"))
        return len([f for f in every if f.is_symlink() and os.readlink(f).startswith(str(world.path))])

    def looks() -> None:
        world.store.health("pve1")
        seen.append(open_files())

    seen: list[int] = []
    world.store.health("pve1")
    before = open_files()
    for _ in range(5):
        thread = threading.Thread(target=looks)
        thread.start()
        thread.join()
    assert min(seen) > before
    assert open_files() <= before + 1  # SQLite keeps one for its next connection
