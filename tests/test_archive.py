"""Copies of the store: taken while it is in use, put back with nothing given twice and nothing running on stale
knowledge."""

from __future__ import annotations

import resource
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from bridge.errors import Refused
from bridge.store import Store, archive
from bridge.store.holdings import Restored
from tests.configs import KEY
from tests.held import HeldClock
from tests.world import World

RANGES = {"pve1": [(20000, 29999)]}


def back(world: World, copy: Path) -> Restored:
    """Everything is stopped, the copy is put back, everything is started again."""
    world.store.close()
    put_back = archive.put_back(copy, str(world.path), KEY, {**RANGES, "cloud": []}, world.clock.now(), "aside")
    world.store.migrate()
    world.restart()
    return put_back


def test_a_copy_holds_all_and_is_private(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.run()
    copy = tmp_path / "copy.db"
    size = archive.take(str(world.path), copy)
    assert size == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    held = archive.holdings(copy)
    assert (held.services, held.operations, held.open_operations, held.addresses, held.vm_ids) == (
        {"active": 1},
        1,
        0,
        1,
        {"pve1": 20001},
    )
    assert KEY.encode() not in copy.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_a_copy_never_replaces_a_file_unless_forced(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("mine")
    with pytest.raises(Refused, match="exists already"):
        archive.take(str(world.path), copy)
    assert copy.read_text() == "mine"
    archive.take(str(world.path), copy, force=True)
    assert archive.holdings(copy).services == {}
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    for itself in (world.path, Path(f"{world.path}-wal")):
        with pytest.raises(Refused, match="is the store itself"):
            archive.take(str(world.path), itself, force=True)


def test_a_copy_is_whole_while_others_write(tmp_path: Path) -> None:
    path, done, counts = tmp_path / "vmbridge.db", threading.Event(), []
    store = Store(path, KEY, HeldClock())
    store.migrate()

    def write() -> None:
        n = 0
        while not done.is_set():
            with store.write():  # each pair belongs together
                store.change("INSERT INTO nonces VALUES ('a', ?, 0)", f"{n}")
                store.change("INSERT INTO nonces VALUES ('b', ?, 0)", f"{n}")
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for i in range(5):
            archive.take(str(path), tmp_path / f"copy{i}")
            with sqlite3.connect(tmp_path / f"copy{i}") as conn:
                counts.append(dict(conn.execute("SELECT key_id, count(*) FROM nonces GROUP BY 1").fetchall()))
            conn.close()
    finally:
        done.set()
        writer.join()
        store.close()
    assert all(c.get("a") == c.get("b") for c in counts)
    assert len(counts) == 5


def test_restore_goes_back_and_moves_the_present_store_aside(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.run()
    archive.take(str(world.path), tmp_path / "copy.db")
    world.order("suspend")
    world.run()
    put_back = back(world, tmp_path / "copy.db")
    assert put_back.moved_to == f"{world.path}.aside"
    assert put_back.replaced_readable
    assert put_back.skipped == 0
    assert world.store.service(1).desired == "active"
    aside = Store(put_back.moved_to, KEY, world.clock)
    assert aside.service(1).desired == "suspended"
    aside.close()
    assert [(s["desired"], s["here"]) for s in put_back.changed_services] == [("suspended", "active")]
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("who", ["holds", "reads"])
def test_restore_is_refused_while_the_store_is_in_use(world: World, tmp_path: Path, who: str) -> None:
    archive.take(str(world.path), tmp_path / "copy.db")
    world.store.close()
    user = Store(world.path, KEY, world.clock)
    user.hold() if who == "holds" else user.find_service("main", 1)
    with pytest.raises(Refused, match="is in use") as caught:
        archive.put_back(tmp_path / "copy.db", str(world.path), KEY, RANGES, 0, "aside")
    assert caught.value.code == "store_in_use"
    assert not Path(f"{world.path}.aside").exists()
    user.close()
    archive.put_back(tmp_path / "copy.db", str(world.path), KEY, RANGES, 0, "aside")


def test_nobody_opens_the_store_while_it_is_replaced(world: World) -> None:
    world.store.close()
    use = archive.Use(str(world.path))
    use.alone()
    with pytest.raises(Refused, match="is being restored"):
        world.store.find_service("main", 1)
    use.free()
    assert world.store.find_service("main", 1) is None


def damaged(copy: Path) -> None:
    raw = bytearray(copy.read_bytes())
    raw[8192:20480] = b"\xff" * 12288
    copy.write_bytes(raw)


def other_database(copy: Path) -> None:
    copy.unlink()
    with sqlite3.connect(copy) as conn:
        conn.execute("CREATE TABLE services (id INTEGER)")
    conn.close()


def newer(copy: Path) -> None:
    with sqlite3.connect(copy) as conn:
        conn.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('vmbridge', 'of_tomorrow', '')"
        )
    conn.close()


def other_key(copy: Path) -> None:
    with sqlite3.connect(copy) as conn:
        conn.execute("UPDATE facts SET value = ?", (Fernet(Fernet.generate_key()).encrypt(b"vmbridge").decode(),))
    conn.close()


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (damaged, ("damaged", "not_a_store")),
        (other_database, ("not_a_store",)),
        (newer, ("newer",)),
        (other_key, ("wrong_key",)),
        (lambda copy: copy.write_text("no database at all"), ("not_a_store",)),
        (lambda copy: copy.unlink(), ("no_copy",)),
    ],
)
def test_what_must_not_be_put_back_changes_nothing(
    world: World, tmp_path: Path, spoil: Any, codes: tuple[str, ...]
) -> None:
    world.order("create")
    world.run()
    copy = tmp_path / "copy.db"
    archive.take(str(world.path), copy)
    spoil(copy)
    world.store.close()
    before = world.path.read_bytes()
    with pytest.raises(Refused) as caught:
        archive.put_back(copy, str(world.path), KEY, RANGES, 0, "aside")
    assert caught.value.code in codes
    assert world.path.read_bytes() == before
    assert not [p for p in tmp_path.iterdir() if p.name.endswith((".aside", ".new"))]


def test_a_lost_key_gives_up_what_is_sealed_and_nothing_else(world: World, tmp_path: Path) -> None:
    world.order("create")
    world.store.emit("staff_notice", "main", None, "n", subject="s", text="t", reference="r")
    archive.take(str(world.path), tmp_path / "copy.db")
    world.store.close()
    new_key = Fernet.generate_key().decode()
    archive.put_back(tmp_path / "copy.db", str(world.path), new_key, RANGES, 0, "aside", without_key=True)
    store = Store(world.path, new_key, world.clock)
    assert store.key_fits()
    assert store.password(1) == ""
    assert store.events() == []
    assert store.service(1).vm_id == "20000"
    store.close()


def test_the_configured_key_is_checked(world: World) -> None:
    assert world.store.key_fits()
    stranger = Store(world.path, Fernet.generate_key().decode(), world.clock)
    assert not stranger.key_fits()
    stranger.close()


def test_a_copy_that_cannot_be_written_says_so_of_the_copy(world: World, tmp_path: Path) -> None:
    """Not of the store, whose disk may have room."""
    with pytest.raises(Refused, match=r"/none/copy.db cannot be written: No such file or directory"):
        archive.take(str(world.path), tmp_path / "none/copy.db")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, hard))
    try:
        with pytest.raises(Refused, match=r"copy.db could not be written: look at its disk"):
            archive.take(str(world.path), tmp_path / "copy.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [f for f in tmp_path.iterdir() if "copy" in f.name]
