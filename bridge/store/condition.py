"""A store that cannot be opened: what is wrong with its file, since when, and which backup puts it back. Asks files,
never the store."""

from __future__ import annotations

import errno
import json
import os
import pwd
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bridge.errors import Refused, StoreDamaged, VmbridgeError
from bridge.store import archive, ownership

MADE = "made\n"  # in `<path>.lock` once there was a store: an empty one must not take the place of one that is gone
HEAD = b"SQLite format 3\x00"
KEPT, LOOKED_AT = 20, 50  # backups whose places are remembered; files that are looked at
NOT_DAMAGED = ("store_denied", "store_read_only", "no_folder")


@contextmanager
def files(path: str) -> Iterator[None]:
    """Around what touches the store's files: the system's refusals as our own, which say what to do. Raises
    StoreDamaged."""
    try:
        yield
    except FileNotFoundError as e:
        folder = Path(path).absolute().parent
        if folder.is_dir():
            raise StoreDamaged(detail=str(e)) from e
        said = f"the folder {folder} does not exist: make it for the service's user, or mend [store] path"
        raise StoreDamaged(said, code="no_folder") from e
    except OSError as e:
        if e.errno == errno.EROFS:
            said = f"{path} is on a file system that is read-only: mount it for writing, then start again"
            raise StoreDamaged(said, code="store_read_only") from e
        if e.errno in (errno.EACCES, errno.EPERM):
            raise StoreDamaged(denied(path), code="store_denied") from e
        raise StoreDamaged(detail=str(e)) from e


def denied(path: str) -> str:
    """Who may open it, and who tries."""
    me, place = _user(os.geteuid()), Path(path)
    with suppress(OSError):
        while not place.exists():
            place = place.parent
    try:
        row = place.stat()
    except OSError:
        return f"{path} may not be opened by user {me}: run this as the service's user"
    whose, mode = _user(row.st_uid), f"{row.st_mode & 0o777:o}"
    return (
        f"{path} may not be opened by user {me}: {place} belongs to {whose} (mode {mode});"
        f" run this as {whose}, or give it back to the service's user by chown"
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def stands(path: str, to_begin: bool = False) -> None:
    """Raises StoreDamaged when the store was here and is not any more, or may not be opened; who begins to work with it
    must be able to write, who runs already goes on showing what stands there.

    The file itself is not opened here: closing it would drop the locks that SQLite holds on it in this process
    (fcntl(2), "advisory record locks"; sqlite.org/howtocorrupt.html, section 2.2)."""
    with files(path):
        made = Path(f"{path}.lock").exists() and Path(f"{path}.lock").read_text("utf-8", "replace") == MADE
        size = Path(path).stat().st_size if Path(path).exists() else -1
        if size <= 0 and made:
            what = "it is empty" if size == 0 else "it is gone"
            raise StoreDamaged(detail=f"{what}; to begin without any services, remove {path}.lock")
        place = path if size >= 0 else str(Path(path).absolute().parent)
        if to_begin and os.statvfs(place).f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if size >= 0 and not os.access(path, os.R_OK | os.W_OK if to_begin else os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def whole(path: str) -> None:
    """Every page is looked at; a store that is not made yet has none. Raises StoreDamaged."""
    if not Path(path).exists():
        return
    try:
        with closing(archive.connect(path)) as conn:
            faults = [r[0] for r in conn.execute("PRAGMA quick_check(1)")]
    except sqlite3.DatabaseError as e:
        raise StoreDamaged(detail=str(e)) from e
    if faults != ["ok"]:
        raise StoreDamaged(detail=" ".join(faults[0].split())[:200])


# -- backups --------------------------------------------------------------------------------------
def remember(path: str, copy: Path) -> None:
    """Where a backup was written: beside the store, so that it is known when the store cannot be read."""
    with suppress(OSError):
        rows = [r for r in _remembered(path) if r != str(copy.absolute())]
        file = Path(f"{path}.backups")
        file.write_text(json.dumps([*rows, str(copy.absolute())][-KEPT:]), "utf-8")
        file.chmod(0o600)
        ownership.give(file, ownership.model(path))


def _remembered(path: str) -> list[str]:
    try:
        return [str(r) for r in json.loads(Path(f"{path}.backups").read_text("utf-8"))]
    except (OSError, ValueError):
        return []


def newest_backup(path: str, key: str) -> tuple[Path, float] | None:
    """(file, last change that it holds) of the newest whole copy that this key opens: beside the store, and where
    backups were written. A store that a restore has moved aside only when there is no other."""
    named = [Path(r) for r in _remembered(path)]
    folders = list(dict.fromkeys([Path(path).absolute().parent, *(n.parent for n in named)]))
    times: dict[Path, float] = {}
    for file in [*named, *(f for folder in folders for f in _files(folder))]:
        with suppress(OSError):
            if file.is_file() and not _same(file, path) and _head(file) == HEAD:
                times[file] = file.stat().st_mtime
    rows = []
    for file in sorted(times, key=lambda f: -times[f])[:LOOKED_AT]:
        with suppress(VmbridgeError, OSError):
            rows.append((not _aside(file, path), archive.holdings(file).at or times[file], times[file], file))
    for _, at, _, file in sorted(rows, reverse=True):
        with suppress(Refused, OSError):
            archive.examine(file, key)
            return file, at
    return None


def _head(file: Path) -> bytes:
    with file.open("rb") as f:
        return f.read(len(HEAD))


def _files(folder: Path) -> list[Path]:
    try:
        return [f for f in folder.iterdir() if not f.name.endswith(("-wal", "-shm", "-journal", ".new"))]
    except OSError:
        return []


def _same(file: Path, path: str) -> bool:
    return file.resolve() == Path(path).resolve() or (Path(path).exists() and file.samefile(path))


def _aside(file: Path, path: str) -> bool:
    return file.name.startswith(f"{Path(path).name}.2") and file.parent.resolve() == Path(path).resolve().parent


# -- what a person reads --------------------------------------------------------------------------
def told(path: str, e: StoreDamaged, key: str, config: str) -> str:
    """One line: what is wrong, since when, which backup is the newest, and the command that puts it back."""
    if e.code in NOT_DAMAGED:
        return e.sentence
    written = [f.stat().st_mtime for f in (Path(path), Path(f"{path}-wal")) if f.exists()]
    since = f", last written {_moment(max(written))}" if written else ""
    said = f"The database {path} is damaged ({e.detail or 'it cannot be read'}){since}."
    backup = newest_backup(path, key)
    if backup is None:
        return (
            f"{said} No backup was found beside it or where `vmbridge backup` last wrote: stop everything and put"
            " one back by `vmbridge restore FILE`."
        )
    file, at = backup
    command = f"vmbridge restore {shlex.quote(str(file))} --config {shlex.quote(config)}"
    return (
        f"{said} The newest backup is {file} with changes until {_moment(at)}: stop everything, then `{command}`"
        " puts it back."
    )


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
