"""Looking never needs a place to write: what stands in the store is shown while its lock is held or its disk is full,
and what cannot be saved is refused with a sentence."""

from __future__ import annotations

import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.app import create_app
from bridge.errors import StoreDamaged, StoreUnavailable
from bridge.model import State
from bridge.store import Store, archive, condition, faults
from bridge.web.auth import Guard
from tests.configs import KEY
from tests.test_admin_pages import ADMIN, Staff
from tests.test_signature import code
from tests.world import World

CUSTOMER = "client=7&language=english&theme=bs4"
PAGES = ("overview", "charts", "snapshots", "backups", "reinstall", "reset_password", "console")
ADMIN_PAGES = ("overview", "operations", "servers", "pools", "findings", "service")


@contextmanager
def locked(world: World) -> Iterator[None]:
    """Another process holds the write lock and does not let go."""
    with closing(sqlite3.connect(world.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(world: World) -> Iterator[None]:
    """No file grows beyond what the write-ahead log has now."""
    conn, log = world.store.db.conn, Path(f"{world.path}-wal")
    conn.execute("PRAGMA wal_autocheckpoint = 0")
    while log.stat().st_size < 4 * 2**20:
        conn.execute("INSERT OR REPLACE INTO facts VALUES ('filler', ?)", ("x" * 2**20,))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(world: World) -> Iterator[None]:
    world.store.db.conn.execute("PRAGMA query_only = ON")
    yield
    world.store.db.conn.execute("PRAGMA query_only = OFF")


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[World]:
    """One running machine, and a second that waits for its worker."""
    world = World(tmp_path, web={"public_url": "https://billing.example.com/vmbridge"})
    world.store.close()
    world.store.patience = 0.05
    world.order("create")
    world.run()
    yield world
    world.close()


def gets() -> list[str]:
    customer = [f"/v1/services/1042/pages/{p}?{CUSTOMER}" for p in PAGES]
    staff = [f"/v1/admin/{p}?id=1042&" + "&".join(f"actor_{k}={v}" for k, v in ADMIN.items()) for p in ADMIN_PAGES]
    return [
        *customer,
        *staff,
        f"/v1/services/1042/pages/overview?{CUSTOMER}&ask=stop",
        "/v1/services/1042/pages/admin?client=7&admin=1",
        f"/v1/services/1042/charts?period=hour&{CUSTOMER}",
        "/status/v1/services/1042?client=7",
    ]


@pytest.mark.parametrize("state", [locked, full, read_only])
def test_every_page_and_poll_answers_from_what_is_stored(busy: World, state: Any) -> None:
    shim = Staff(create_app(busy.context).test_client(), busy.clock)
    before = {target: shim.send("GET", target).status_code for target in gets()}
    assert set(before.values()) == {200}
    service = busy.store.find_service("main", 1042)
    assert service
    token = {"Authorization": f"Bearer {Guard(busy.context).issue(service)}"}
    busy.clock.time += 40  # looks are due to be noted again
    with state(busy):
        for target in gets():
            assert shim.send("GET", target).status_code == 200, target
        reply = shim.client.get("/status/v1/services/1042", headers=token)
        assert reply.status_code == 200
        assert reply.get_json()["status"] == "running"
        assert shim.client.get("/health").get_json() == {"status": "ok"}


@pytest.mark.parametrize("server", ["pve1", "pve2"])
def test_a_server_that_nobody_has_looked_at_needs_no_row(tmp_path: Path, server: str) -> None:
    from tests.configs import raw_config

    both = raw_config()["servers"]
    world = World(tmp_path, servers={**both, "pve2": {**both["pve1"], "vm_ids": "30000-30009"}})
    world.store.db.conn.execute("PRAGMA query_only = ON")
    assert world.store.health(server)["ok"]
    assert world.store.polled(1, server, "1")["wanted_at"] == 0
    world.close()


def test_a_server_without_a_row_has_every_column_of_one(busy: World) -> None:
    busy.store.change("DELETE FROM server_health")
    new = busy.store.health("pve1")
    busy.store.set_maintenance("pve1", "")  # begins the row
    assert new.keys() == busy.store.health("pve1").keys()


def test_questions_that_are_posted_are_answered_too(busy: World) -> None:
    shim = Staff(create_app(busy.context).test_client(), busy.clock)
    params = {"params": {"serviceid": 1042, "userid": 7, "configoption1": "kvm-s"}}
    ask = {"params": {"serviceid": 1042, "userid": 7}, "form": {"do": "hard_stop", "from": "overview"}}
    with locked(busy):
        assert shim.send("POST", "/v1/services/1042/preview", params).status_code == 200
        assert "unsaved data is lost" in shim.send("POST", "/v1/services/1042/pages/power", ask).get_json()["html"]
        for what in ("test", "plans", "accounts", "usage"):
            assert shim.send("POST", f"/v1/servers/pve1/{what}", {}).status_code in (200, 409), what
        assert code(shim.send("POST", "/v1/servers/pve1/usage", {"billed": True})) == (503, "store_unavailable")


@pytest.mark.parametrize("state", [locked, full, read_only])
def test_what_cannot_be_saved_is_refused_with_a_sentence(busy: World, state: Any) -> None:
    shim = Staff(create_app(busy.context).test_client(), busy.clock)
    form = {"params": {"serviceid": 1042, "userid": 7}, "actor": {"kind": "client", "id": 7}}
    stop = {**form, "form": {"do": "stop", "from": "overview"}}
    with state(busy):
        replies = [
            shim.order("suspend", 1042),
            shim.send("POST", "/v1/services/1042/pages/power", stop),
            shim.form("servers", do="maintenance", server="pve1", switch="on"),
        ]
    for reply in replies:
        assert code(reply) == (503, "store_unavailable")
        assert reply.headers["Retry-After"] == "10"
        assert "Nothing was changed" in reply.get_json()["error"]["message"]
    service = busy.store.find_service("main", 1042)
    assert service
    assert service.desired.value == "active"
    assert busy.store.newest(service.id).kind == "create"
    assert shim.order("suspend", 1042).status_code == 202  # and works when there is room again


def test_a_replay_is_refused_as_soon_as_it_can_be_known(busy: World) -> None:
    shim = Staff(create_app(busy.context).test_client(), busy.clock)
    body, nonce = {"params": {"serviceid": 1042, "userid": 7}}, "ab" * 16
    assert shim.send("POST", "/v1/services/1042/stop", body, nonce=nonce).status_code == 202
    busy.run()
    with locked(busy):
        assert code(shim.send("POST", "/v1/services/1042/stop", body, nonce=nonce))[1] == "replayed"
    assert code(shim.send("POST", "/v1/services/1042/stop", body, nonce=nonce))[1] == "replayed"


def test_a_step_that_could_not_be_saved_is_taken_up_again(busy: World) -> None:
    """As after a crash: nothing is called failed because another process held the lock."""
    key = busy.order("stop").operation
    op = busy.engine._claim()
    assert op
    assert op.id == key
    with locked(busy), pytest.raises(StoreUnavailable):
        busy.engine._steps(op)
    assert busy.store.operation(key).state is State.RUNNING
    busy.restart()
    busy.run()
    assert busy.store.operation(key).state is State.DONE


# -- ready ----------------------------------------------------------------------------------------
def test_ready_names_what_is_lacking(busy: World) -> None:
    client = create_app(busy.context).test_client()
    reply = client.get("/ready")
    assert reply.status_code == 503
    assert "worker" in reply.get_json()["lacks"][0]
    busy.store.worker_lives()
    busy.clock.time += 5
    reply = client.get("/ready")
    assert (reply.status_code, reply.get_json()) == (
        200,
        {
            "status": "ready",
            "lacks": [],
            "store": "ok",
            "worker_age": 5.0,
            "servers": {"pve1": "new"},
        },
    )
    for state in (locked, full, read_only):
        with state(busy):
            reply = client.get("/ready")
            assert reply.status_code == 503
            assert reply.get_json()["store"] == "not_writable"
            assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 200
    busy.clock.time += 120
    assert client.get("/ready").status_code == 503
    busy.store.worker_lives()
    busy.store.set_maintenance("pve1", "soon")
    busy.store.refresh_failed("pve1", "no route", True)
    busy.store.refresh_failed("pve1", "no route", True)
    reply = client.get("/ready")  # one that is down is told, and is no reason: its orders wait
    assert reply.status_code == 200
    assert reply.get_json()["servers"] == {"pve1": "down"}
    assert "no route" not in reply.get_data(as_text=True)
    busy.store.change("DELETE FROM _sqlite_migrations WHERE name = 'sixth'")
    assert client.get("/ready").get_json()["store"] == "migrate"
    assert client.get("/health").status_code == 200


def test_what_sqlite_means() -> None:
    def error(number: int) -> Any:
        e = sqlite3.OperationalError("text")
        e.sqlite_errorcode = number
        return faults.meaning(e)

    assert type(error(sqlite3.SQLITE_CORRUPT)) is StoreDamaged
    assert type(error(sqlite3.SQLITE_NOTADB)) is StoreDamaged
    assert type(error(sqlite3.SQLITE_IOERR | 10 << 8)) is StoreUnavailable
    assert isinstance(error(sqlite3.SQLITE_ERROR), sqlite3.OperationalError)


def test_a_file_system_that_became_read_only_is_still_read_by_new_threads(
    busy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = os.access
    monkeypatch.setattr("os.access", lambda p, mode: allowed(p, mode) and not mode & os.W_OK)
    counts: list[int] = []
    target = gets()[0]
    app = create_app(busy.context)
    thread = threading.Thread(
        target=lambda: counts.append(Staff(app.test_client(), busy.clock).send("GET", target).status_code)
    )
    thread.start()
    thread.join()
    assert counts == [200]


def test_a_store_that_breaks_while_it_is_served_is_told_calmly(busy: World) -> None:
    app = create_app(busy.context)
    busy.store.close()
    Path(busy.path).write_bytes(b"rubbish" * 1000)
    for end in ("-wal", "-shm"):
        Path(f"{busy.path}{end}").unlink(missing_ok=True)
    for target in gets():
        reply = Staff(app.test_client(), busy.clock).send("GET", target)
        assert code(reply) == (503, "store_damaged")
        assert "cannot be read just now" in reply.get_data(as_text=True)
    ready = app.test_client().get("/ready")
    assert ready.status_code == 503
    assert ready.get_json()["store"] == "store_damaged"
    assert app.test_client().get("/health").status_code == 200


def test_nobody_but_sqlite_opens_the_file_of_a_store_in_use(busy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing any handle of it would drop the locks that SQLite holds for this whole process, and two writers would
    write at once."""
    opened: list[str] = []
    real, low = open, os.open
    monkeypatch.setattr("builtins.open", lambda f, *a, **k: opened.append(str(f)) or real(f, *a, **k))
    monkeypatch.setattr("os.open", lambda f, *a, **k: opened.append(str(f)) or low(f, *a, **k))
    again = Store(busy.path, KEY, busy.clock)
    assert again.find_service("main", 1042)
    assert again.migrate() == []
    again.close()
    condition.stands(str(busy.path), to_begin=True)
    condition.whole(str(busy.path))
    archive.take(str(busy.path), busy.path.parent / "copy.db")
    condition.newest_backup(str(busy.path), KEY)
    assert opened
    assert str(busy.path) not in opened
