"""Copies of the whole store: take one while it is in use, and put one back.

A copy is one SQLite file. Putting it back is prepared beside the store and takes its place in one rename; the store
that stood there is moved aside, never deleted. Nobody may use the store meanwhile: see `Use`."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlite_utils import Database as Utils

from bridge.errors import Refused
from bridge.store import faults, ownership, restored
from bridge.store.holdings import Holdings, Ranges, Restored
from bridge.store.schema import migrations
from bridge.store.sides import FileSide

BESIDE = ("", "-wal", "-shm")  # the files that one store may consist of
DUMP = b"PGDMP"  # how pg_dump's own format begins
NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,  # without a further word: a write that was cut short; reads say which they are
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
)  # a copy reads the store and writes only itself


class Use:
    """Who uses a store holds `<path>.use` shared, who replaces it alone; the kernel lets go when a process ends."""

    def __init__(self, path: str) -> None:
        self.path, self._handle = f"{path}.use", -1

    def share(self) -> None:
        """Raises Refused while the store is being replaced."""
        self._take(fcntl.LOCK_SH, "The store is being restored; start again when this is done.")

    def alone(self) -> None:
        """Raises Refused while anybody uses the store."""
        self._take(
            fcntl.LOCK_EX, "The store is in use: stop serve, web, worker and every other vmbridge command first."
        )

    def _take(self, how: int, refusal: str) -> None:
        if self._handle >= 0:
            return
        # for reading: any user of the folder may hold it, whoever made the file
        made = not Path(self.path).exists()
        handle = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if made:
            ownership.give(self.path, ownership.model(self.path.removesuffix(".use")))
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise Refused(refusal, code="store_in_use") from None
        self._handle = handle

    def free(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def connect(path: str | Path, mode: str = "rw") -> sqlite3.Connection:
    uri = f"{Path(path).resolve().as_uri()}?mode={mode}"
    conn = sqlite3.connect(uri, uri=True, timeout=10, isolation_level=None)
    conn.execute("PRAGMA busy_timeout = 10000")
    return conn


# -- take -----------------------------------------------------------------------------------------
def take(path: str, target: Path, force: bool = False, mode: str = "rw") -> int:
    """Copy the store at `path`, which may be in use, into `target`; bytes written. Raises Refused when `target` exists
    (without `force`) or is the store itself."""
    if not Path(path).exists():
        raise Refused(f"There is no store at {path}.", code="no_store")
    if any(_same(target, Path(path + end)) for end in (*BESIDE, ".use", ".lock")):
        raise Refused(f"{target} is the store itself.", code="same_file")
    with placing(target, force) as part:
        with faults.read(), closing(connect(path, mode)) as conn:
            _copy(conn, part, target)
        with closing(connect(part, "ro")) as conn:
            if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'services'").fetchone():
                raise Refused(f"There is no store at {path}.", code="no_store")  # it was opened and never migrated
        ownership.give(part, ownership.model(path))
    return target.stat().st_size


@contextmanager
def placing(target: Path, force: bool = False) -> Iterator[Path]:
    """An empty file that becomes `target` when all went well, else nothing does. Raises Refused when `target` exists
    (without `force`) or cannot be written."""
    if target.exists() and (not force or target.is_dir()):
        raise Refused(f"{target} exists already; it is kept.", code="exists")
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as e:
        raise Refused(f"{target} cannot be written: {e.strerror}.", code="no_place") from e
    try:
        yield part
        sync(part)
        if force:
            os.replace(part, target)
        else:
            _place(part, target)
    finally:
        part.unlink(missing_ok=True)
    sync(target.parent)


def _copy(conn: sqlite3.Connection, part: Path, target: Path) -> None:
    """What stands against the copy is not the store's: a full disk is the copy's."""
    try:
        conn.execute("VACUUM INTO ?", (str(part),))
    except sqlite3.OperationalError as e:
        if e.sqlite_errorcode not in NO_ROOM:
            raise
        text = (
            f"{target} could not be written: look at its disk and at the folder for temporary files ({e}). The store"
            " itself is not affected."
        )
        raise Refused(text, code="no_room_for_copy") from e


def _place(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # fails when somebody made it meanwhile
    except FileExistsError:
        raise Refused(f"{target} exists already; it is kept.", code="exists") from None
    except OSError:  # a file system without hard links
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.replace(part, target)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- look -----------------------------------------------------------------------------------------
def holdings(path: str | Path) -> Holdings:
    """What a store or a copy holds. Raises Refused when it is none."""
    try:
        with closing(connect(path, "ro")) as conn:
            return restored.holdings(FileSide(conn))
    except sqlite3.DatabaseError as e:
        raise Refused(f"{path} is not a store of vmbridge.", code="not_a_store", detail=str(e)) from None


def examine(copy: Path, key: str, without_key: bool = False) -> Holdings:
    """Whether a copy may be put back. Raises Refused: not whole, not a store, of a newer release, or sealed with
    another key."""
    if not copy.is_file():
        raise Refused(f"There is no file {copy}.", code="no_copy")
    with copy.open("rb") as file:
        if file.read(len(DUMP)) == DUMP:
            raise Refused(
                f"{copy} is a dump of PostgreSQL: put it back with [store] url, then bring that store over by `vmbridge"
                " store copy`.",
                code="of_a_database",
            )
    try:
        with closing(connect(copy, "ro")) as conn:
            wrong = [r[0] for r in conn.execute("PRAGMA integrity_check(5)").fetchall()]
            if wrong != ["ok"]:
                raise Refused(f"{copy} is damaged.", code="damaged", detail="; ".join(wrong))
            side = FileSide(conn)
            held = restored.holdings(side)
            restored.may_be_put_back(str(copy), held.migrations, without_key or restored.fits(side, key))
            return held
    except sqlite3.DatabaseError as e:
        raise Refused(f"{copy} is not a store of vmbridge, or damaged.", code="not_a_store", detail=str(e)) from None


# -- put back -------------------------------------------------------------------------------------
def put_back(
    copy: Path,
    path: str,
    key: str,
    ranges: Ranges,
    now: float,
    stamp: str,
    skip: int | None = None,
    without_key: bool = False,
) -> Restored:
    """Replace the store at `path` by a copy. `ranges` are the configured VM ids per server, `stamp` ends the name that
    the replaced store gets. Raises Refused, and has then changed nothing."""
    if _same(copy, Path(path)):
        raise Refused(f"{copy} is the store itself.", code="same_file")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    use = Use(path)
    use.alone()
    try:
        done = Restored(examine(copy, key, without_key))
        aside = Path(f"{path}.{stamp}")
        if any(Path(f"{aside}{end}").exists() for end in BESIDE):
            raise Refused(f"{aside} exists already; try again in a second.", code="exists")
        fresh = Path(f"{path}.new")
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{fresh}{end}").unlink(missing_ok=True)
        take(str(copy), fresh, mode="ro")
        old = _readable(path)
        done.replaced_readable = old is not None
        done.skipped = skip if skip is not None else 0 if old else 1000
        try:
            with closing(connect(fresh)) as conn:
                migrations.apply(Utils(conn))
                conn.execute("BEGIN IMMEDIATE")
                replaced = FileSide(old) if old else None
                restored.prepare(FileSide(conn), replaced, done, key, ranges, now, without_key)
                conn.execute("COMMIT")
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        finally:
            if old:
                old.close()
        sync(fresh)
        _belongs(fresh, Path(path))
        done.moved_to = _swap(Path(path), fresh, aside)
        return done
    finally:
        use.free()


def _belongs(fresh: Path, path: Path) -> None:
    """The new file has the owner and the mode of the one whose place it takes; so have the files beside it."""
    like = ownership.model(path)
    os.chmod(fresh, path.stat().st_mode & 0o777 if path.exists() else 0o600)
    for file in (fresh, Path(f"{path}.use"), Path(f"{path}.lock")):
        if file.exists():
            ownership.give(file, like)


def _readable(path: str) -> sqlite3.Connection | None:
    """The store that is replaced, when it is one and whole. Its log is written back first, so that one file holds all
    of it."""
    if not Path(path).exists():
        return None
    try:
        conn = connect(path)
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = [r[0] for r in conn.execute("PRAGMA integrity_check(1)").fetchall()] == ["ok"]
        if whole and FileSide(conn).migrated():
            return conn
        conn.close()
    except sqlite3.DatabaseError:
        pass
    return None


def _swap(path: Path, fresh: Path, aside: Path) -> str:
    """At no moment is there no store at `path`: an empty one would be made there and count VM ids from the start."""
    moved = ""
    if path.exists():
        try:
            os.link(path, aside)
        except OSError:
            os.rename(path, aside)  # a file system without hard links
        moved = str(aside)
    for end in ("-wal", "-shm"):
        if Path(f"{path}{end}").exists():
            os.rename(f"{path}{end}", f"{aside}{end}")
    os.replace(fresh, path)
    sync(path.parent)
    return moved
